"""Speaking, and changing a recording's word or voice: ``python -m ddim_edu.apps sound`` (chapter 15).

Without a recording it speaks. With one (wav in, wav out) it goes up by inversion under the class that the recording is
of, and comes down under another; what is not named stays as it was. Exit codes: as for the other applications.
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

from ddim_edu.apps.voices import Voices
from ddim_edu.commands.options import carry_out, distinct, parse
from ddim_edu.data.pictures import check_picture, save_grid
from ddim_edu.data.recordings import NAMED, find_recording
from ddim_edu.data.spectrograms import log_mel, pad_or_trim, read_wav, to_sound, write_wav
from ddim_edu.files import check_writable
from ddim_edu.guides import check_guide, guide_of_walk
from ddim_edu.models import load
from ddim_edu.processes import pick_device, progress
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.ranges import Checked, NotNegative, Positive, Range, Share
from ddim_edu.streams import say

PROG = "python -m ddim_edu.apps sound"
PAUSE = 1600  # samples between two sounds of a file


@dataclasses.dataclass(frozen=True)
class SoundOptions(Checked):
    """Speak a word in a voice, or change the word or the voice of a recording."""

    # A run folder, a checkpoint file, or the name of a shipped model of sounds.
    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN_OR_CHECKPOINT")] = "spoken-digits"
    # The file of its autoencoder; by default what the checkpoint says, if that lies where it lay.
    autoencoder: str = ""
    # The word to say; by default that of the recording, or all in turn.
    word: str = ""
    # Who is to say it; by default the one in the recording, or all in turn.
    speaker: str = ""
    # A recording to change: a wav file, or the name of one that comes with the package, such as 3_nicolas_0.
    input: Path | None = None
    # What is said in the recording. By default its file's name tells (word_speaker_number.wav), or else a classifier
    # that listens.
    from_word: str = ""
    # Who speaks in the recording; by default likewise.
    from_speaker: str = ""
    # How many sounds, one after the other; with a recording, one.
    n: Annotated[int, Range(1, 1000), tyro.conf.arg(aliases=["-n"])] = 1
    # The sound to write: a .wav file with 8,000 samples a second.
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
        if self.input is not None and self.n > 1:
            raise ValueError(f"n = {self.n}: a recording becomes one sound, the latent that it has leads to no other")


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
    voices = Voices(load(options.checkpoint, pick_device(options.device)), options.autoencoder)
    check_guide(guide, options.scale, voices.model.schedule.T)
    if guide.kind != "plain" and not voices.model.config.classes:
        raise ValueError(f"guidance = {options.guidance}: {options.checkpoint} knows no classes to guide towards")
    began = time.perf_counter()
    given, made, said = (speak if options.input is None else change)(voices, options)
    if options.picture is not None:  # low bands at the bottom, as one draws them
        save_grid(torch.cat([given, made]).flip(-2), options.picture, side=128)
    sounds = to_sound(made, generator=generator_for(options.seed, Stream.SOUND, 1))
    pause = torch.zeros(len(sounds), PAUSE)
    write_wav(options.out, torch.cat([sounds, pause], 1).flatten()[:-PAUSE])
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
