"""Speaking, and changing a recording's word or voice: ``python -m ddim_edu.apps sound`` (chapter 15).

Without a recording it speaks. With one (wav in, wav out) it goes up by inversion under the class that the recording is
of, and comes down under another; what is not named stays as it was. Asked for an instrument, a pitch, a loudness or an
onset it plays notes (chapter 21). Exit codes: as for the other applications.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from ddim_edu.apps.playing import Player, check_wanted
from ddim_edu.apps.voices import Voices
from ddim_edu.commands.options import carry_out, distinct, parse
from ddim_edu.data.notes import INSTRUMENTS, parse_pitch
from ddim_edu.data.pictures import check_picture, save_grid
from ddim_edu.data.recordings import NAMED, find_recording
from ddim_edu.data.spectrograms import RATE, log_mel, pad_or_trim, read_wav, write_wav
from ddim_edu.files import check_writable
from ddim_edu.guides import check_guide, guide_of_walk
from ddim_edu.models import load
from ddim_edu.processes import pick_device, progress
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.ranges import Checked, NotNegative, Positive, Range, Share, closest
from ddim_edu.streams import say

PROG = "python -m ddim_edu.apps sound"
PAUSE = 1600  # samples of 1/8000 s between two sounds of a file


@dataclasses.dataclass(frozen=True)
class SoundOptions(Checked):
    """Speak a word in a voice, change the word or the voice of a recording, or play notes."""

    # A run folder, a checkpoint file, or the name of a shipped model of sounds; by default spoken-digits, or notes if
    # one of its options is given.
    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN_OR_CHECKPOINT")] = ""
    # The file of its autoencoder; by default what the checkpoint says, if that lies where it lay.
    autoencoder: str = ""
    # The word to say; by default that of the recording, or all in turn.
    word: str = ""
    # Who is to say it; by default the one in the recording, or all in turn.
    speaker: str = ""
    # The instrument to play: string, bar, bell, flute, brass, epiano, bowed, voice, organ; by default all in turn.
    instrument: str = ""
    # Its pitch, C3 to C5, such as F#3, or a MIDI number; by default C4.
    pitch: str = ""
    # How loud it is: root mean square of the loudest 50 ms in dB, -36 to -16. By default the noise decides.
    loudness: float | None = None
    # When it begins: seconds, 0.05 to 0.3. By default the noise decides.
    onset: float | None = None
    # A recording to change: a wav file, or the name of one that comes with the package, such as 3_nicolas_0.
    input: Path | None = None
    # What is said in the recording. By default its file's name tells (word_speaker_number.wav), or else a classifier
    # that listens.
    from_word: str = ""
    # Who speaks in the recording; by default likewise.
    from_speaker: str = ""
    # How many sounds, one after the other; with a recording, one.
    n: Annotated[int, Range(1, 1000), tyro.conf.arg(aliases=["-n"])] = 1
    # The sound to write: a .wav file with 8,000 samples a second, or 16,000 of notes.
    out: Path = Path("result.wav")
    # Write the spectrograms too, that of the recording first: a picture file.
    picture: Path | None = None
    # Number of sampling steps S.
    steps: Positive = 50
    # How far up a recording goes, from 0 (only through the autoencoder) to 1.
    strength: Share = 1.0
    # Classifier-free guidance on the way down: 0 ignores the class, 1 takes it as trained, more presses it.
    scale: float = 2.0
    # How the scale is used: plain; interval:200-700, at these levels only; rescale:0.7, with its size put back.
    guidance: str = "plain"
    # 0 is DDIM, 1 is DDPM; for speaking.
    eta: Share = 0.0
    # Noise is a function of the seed and of the sound's number.
    seed: NotNegative = 0
    # What to compute on: auto, cpu, cuda, cuda:1, mps.
    device: str = "auto"

    def check(self) -> None:
        """What depends on more than one option, and on the ending of a file."""
        if self.out.suffix.lower() != ".wav":
            raise ValueError(f"{self.out} does not end like a sound: use .wav")
        if self.input is None and (self.from_word or self.from_speaker):
            raise ValueError("--from-word and --from-speaker describe a recording: name it with --input")
        spoken = {"--word": self.word, "--speaker": self.speaker, "--input": self.input}
        given = [name for name, value in spoken.items() if value]
        if self.musical and given:
            raise ValueError(f"{given[0]} is of speech, and --instrument, --pitch, --loudness and --onset are of notes")
        if self.instrument and self.instrument not in INSTRUMENTS:
            known = f"{closest(self.instrument, INSTRUMENTS)} (known: {', '.join(INSTRUMENTS)})"
            raise ValueError(f"there is no instrument {self.instrument!r}{known}")
        parse_pitch(self.pitch or "C4")
        check_wanted(self.wanted)
        if self.input is not None and self.n > 1:
            raise ValueError(f"n = {self.n}: a recording becomes one sound, the latent that it has leads to no other")

    @property
    def wanted(self) -> dict[str, float]:
        """Of loudness and onset, what is asked for."""
        return {name: value for name in ("loudness", "onset") if (value := getattr(self, name)) is not None}

    @property
    def musical(self) -> bool:
        """Whether something is asked for that only notes have."""
        return bool(self.instrument or self.pitch or self.wanted)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after ``sound``; those of the process if None.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if arguments is None else arguments
    return carry_out(lambda: _run(parse(SoundOptions(), words, prog=PROG, description=SoundOptions.__doc__ or "")))


def _run(options: SoundOptions) -> None:
    check_writable(options.out)
    distinct([options.out, options.picture], [options.input])
    if options.picture is not None:
        check_picture(options.picture)
    guide = guide_of_walk(options.guidance)
    model = load(options.checkpoint or ("notes" if options.musical else "spoken-digits"), pick_device(options.device))
    notes = options.musical or model.recipe.get("data") == "notes"
    voices = (Player if notes else Voices)(model, options.autoencoder)
    check_guide(guide, options.scale, voices.model.schedule.T)
    if guide.kind != "plain" and not voices.model.config.classes:
        raise ValueError(f"guidance = {options.guidance}: {model.path} knows no classes to guide towards")
    began = time.perf_counter()
    if isinstance(voices, Player):
        given, made, said = play(voices, options)
    else:
        given, made, said = (speak if options.input is None else change)(voices, options)
    if not bool(made.isfinite().all()):
        raise ValueError(f"the sound for {options.out} holds values that are not finite: a smaller scale helps")
    if options.picture is not None:  # low bands at the bottom, as one draws them
        save_grid(torch.cat([given, made]).flip(-2), options.picture, side=128)
    phases = generator_for(options.seed, Stream.SOUND, 1)
    sounds = voices.sounds(made, phases)
    pause = torch.zeros(len(sounds), PAUSE * voices.rate // RATE)
    write_wav(options.out, torch.cat([sounds, pause], 1).flatten()[: -pause.shape[1]], voices.rate)
    heard = _in_short([f"{w} {s}" for w, s in voices.hear(made)]) if voices.heard else ""
    said += heard and f"; the classifiers hear {heard}"
    say(f"{options.out}: {said}; S = {options.steps}, {time.perf_counter() - began:.1f} s")


def speak(voices: Voices, options: SoundOptions) -> tuple[Tensor, Tensor, str]:
    """New sounds.

    Returns:
        The spectrograms given (none) and made, on the CPU, and what was done, for the last line.

    Raises:
        ValueError: One line, for what can't be done so.
    """
    n, labels, names = options.n, None, ["any"] * options.n
    if voices.model.config.classes:
        words = [options.word or voices.words[i % len(voices.words)] for i in range(n)]
        speakers = [options.speaker or voices.speakers[i % len(voices.speakers)] for i in range(n)]
        labels = torch.tensor([voices.label(w, s) for w, s in zip(words, speakers)], device=voices.device)
        names = [f"{w} {s}" for w, s in zip(words, speakers)]
    elif options.word or options.speaker:
        voices.label(options.word, options.speaker)  # says what is wrong
    noise = [generator_for(options.seed, Stream.SOUND, 0, i) for i in range(n)]
    with progress(options.steps, "step") as bar:
        how = partial(voices.speak, scale=options.scale, guide=guide_of_walk(options.guidance), eta=options.eta)
        made = how(labels, n, options.steps, generator=noise, tick=bar.update).cpu()
    return made[:0], made, f"{_in_short(names)} ({n} sound{'s' if n > 1 else ''})"


def play(player: Player, options: SoundOptions) -> tuple[Tensor, Tensor, str]:
    """New notes; returns and raises as :func:`speak`."""
    if options.word or options.speaker or options.input is not None:
        raise ValueError(f"{player.model.path} plays notes: ask for --instrument, --pitch, --loudness, --onset")
    n, pitch = options.n, options.pitch or "C4"
    names = [options.instrument or INSTRUMENTS[i % len(INSTRUMENTS)] for i in range(n)]
    labels = torch.tensor([player.class_of(name, pitch) for name in names], device=player.device)
    noise = [generator_for(options.seed, Stream.SOUND, 0, i) for i in range(n)]
    how: dict[str, Any] = {**options.wanted, "scale": options.scale, "eta": options.eta, "generator": noise}
    with progress(options.steps, "step") as bar:
        made = player.play(labels, options.steps, **how, guide=guide_of_walk(options.guidance), tick=bar.update).cpu()
    return made[:0], made, f"{_in_short([f'{name} {pitch}' for name in names])} ({n} note{'s' if n > 1 else ''})"


def change(voices: Voices, options: SoundOptions) -> tuple[Tensor, Tensor, str]:
    """A recording changed; returns and raises as :func:`speak`."""
    assert options.input is not None  # or there would be nothing to change
    path = find_recording(options.input)
    recording = read_wav(path)
    try:
        clip = pad_or_trim(recording)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    given = log_mel(clip.sound[None])
    source, target, what = None, None, "no classes"
    if voices.model.config.classes:
        word, speaker, by_ear = _told(voices, options, path, given)
        source = voices.label(word, speaker)
        new = options.word or word, options.speaker or speaker
        target = voices.label(*new)
        what = f"{word} {speaker}{' (by ear)' if by_ear else ''} -> {' '.join(new)}"
    elif options.word or options.speaker:
        voices.label(options.word, options.speaker)  # as above
    for note in clip.notes:
        say(f"{path}: {note}", file=sys.stderr)
    how: dict[str, Any] = {
        "strength": options.strength,
        "scale": options.scale,
        "guide": guide_of_walk(options.guidance),
    }
    with progress(2 * round(options.strength * options.steps), "step") as bar:
        made = voices.change(given.to(voices.device), source, target, options.steps, **how, tick=bar.update).cpu()
    return given, made, what


def _told(voices: Voices, options: SoundOptions, path: Path, picture: Tensor) -> tuple[str, str, bool]:
    """Word and speaker of a recording, from the options, its name, or by ear; and whether it was by ear."""
    named = NAMED.fullmatch(path.name)
    word = options.from_word or (named["word"] if named else "")
    speaker = options.from_speaker or (named["speaker"] if named else "")
    if (options.from_word and options.from_speaker) or (word in voices.words and speaker in voices.speakers):
        return word, speaker, False
    if not voices.heard:
        raise ValueError(f"what is {path}, and who speaks? say so with --from-word and --from-speaker")
    ((word, speaker),) = voices.hear(picture)
    return options.from_word or word, options.from_speaker or speaker, True


def _in_short(names: list[str]) -> str:
    return f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
