"""Speaking, and changing a recording's word or voice: ``python -m ddim_edu.apps sound`` (chapter 15).

Without a recording it speaks. With one (wav in, wav out) it goes up by inversion under the class that the recording is
of, and comes down under another; what is not named stays as it was. Exit codes: as for the other applications.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from ddim_edu.apps.edit import translate
from ddim_edu.commands.options import closest, distinct, fail, parse
from ddim_edu.data.pictures import check_picture, save_grid
from ddim_edu.data.recordings import NAMED, find_recording, split_classes
from ddim_edu.data.spectrograms import log_mel, pad_or_trim, read_wav, to_sound, write_wav
from ddim_edu.files import check_writable, sha256_of
from ddim_edu.forward import EpsTheta
from ddim_edu.guidance import guided
from ddim_edu.models import Checkpoint, SavedAutoencoder, load, load_autoencoder, load_classifier
from ddim_edu.models.small import AUTOENCODER
from ddim_edu.processes import pick_device
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.sampler import sample
from ddim_edu.schedule import make_tau
from ddim_edu.strangers import find

PROG = "python -m ddim_edu.apps sound"
SHIPPED = (10, 6)  # words and speakers that the shipped classifiers know
# The predicted latent is kept within so many standard deviations when a sound is made from nothing: one number of a
# thousand lies beyond in recordings, and the first step, which leaves from nearly pure noise, would otherwise multiply
# the network's error there.
CLIP = 4.0
PAUSE = 1600  # samples between two sounds of a file


@dataclasses.dataclass(frozen=True)
class SoundOptions:
    """Speak a word in a voice, or change the word or the voice of a recording.

    Raises:
        ValueError: If a value is out of range.
    """

    # A run folder, a checkpoint file, or the name of a shipped model of sounds.
    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN_OR_CHECKPOINT")] = "spoken-digits"
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
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1
    # The sound to write: a .wav file with 8,000 samples a second.
    out: Path = Path("result.wav")
    # Write the spectrograms too, that of the recording first: a picture file.
    picture: Path | None = None
    # Number of sampling steps S.
    steps: int = 50
    # How far up a recording goes, from 0 (only through the autoencoder) to 1.
    strength: float = 1.0
    # Classifier-free guidance on the way down: 0 ignores the class, 1 takes it as trained, more presses it.
    scale: float = 2.0
    # 0 is DDIM, 1 is DDPM; for speaking.
    eta: float = 0.0
    # Noise is a function of the seed and of the sound's number.
    seed: int = 0
    # What to compute on: auto, cpu, cuda, cuda:1, mps.
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.n <= 1000:
            raise ValueError(f"n = {self.n}: give 1 to 1000 sounds")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength = {self.strength}: give a share in [0, 1]")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta = {self.eta}: give a number in [0, 1]")
        if self.seed < 0:
            raise ValueError(f"seed = {self.seed}: give at least 0")
        if self.out.suffix.lower() != ".wav":
            raise ValueError(f"{self.out} does not end like a sound: use .wav")
        if self.input is None and (self.from_word or self.from_speaker):
            raise ValueError("--from-word and --from-speaker describe a recording: name it with --input")
        if self.input is not None and self.n > 1:
            raise ValueError(f"n = {self.n}: a recording becomes one sound, the latent that it has leads to no other")


class Voices:
    """A latent diffusion of sounds: the network, its autoencoder, and the names of its classes.

    Args:
        model: The network, from :func:`ddim_edu.models.checkpoint.load`.

    Raises:
        ValueError: If it is not one of sounds.
    """

    def __init__(self, model: Checkpoint) -> None:
        name = model.recipe.get("autoencoder")
        if name is None:
            raise ValueError(f"{model.path} makes pictures: name a model of sounds, such as spoken-digits")
        self.model = model
        self.device = next(model.model.parameters()).device
        place = model.places.get("autoencoder")
        self.autoencoder: SavedAutoencoder = load_autoencoder(
            find(name, AUTOENCODER.shipped(), model.path, place, "put it beside the checkpoint"), self.device
        )
        if isinstance(place, dict) and place.get("sha256") != sha256_of(self.autoencoder.path):
            raise ValueError(f"{model.path} was trained with another autoencoder than {self.autoencoder.path}")
        self.words, self.speakers = split_classes(self.autoencoder.classes)
        if model.config.classes not in (0, len(self.words) * len(self.speakers)):
            raise ValueError(
                f"{model.path} has {model.config.classes} classes, and its autoencoder {len(self.autoencoder.classes)}"
            )

    def label(self, word: str, speaker: str) -> int:
        """The class of a word by a speaker.

        Raises:
            ValueError: If the model doesn't know one of them.
        """
        for what, name, known in (("word", word, self.words), ("speaker", speaker, self.speakers)):
            if not known:
                raise ValueError(f"{self.model.path} was trained without words and speakers: leave them out")
            if name not in known:
                raise ValueError(f"there is no {what} {name!r}{closest(name, known)} (known: {', '.join(known)})")
        return self.words.index(word) * len(self.speakers) + self.speakers.index(speaker)

    def eps_theta(self, labels: Tensor | int | None, scale: float = 1.0) -> EpsTheta:
        """The noise predictor for some classes, with guidance; None is any class."""
        if labels is None or not self.model.config.classes:
            return self.model.eps_theta()
        return guided(self.model.eps_theta(labels), self.model.eps_theta(), scale)

    def speak(
        self, labels: Tensor | None, n: int, steps: int, *, scale: float = 1.0, eta: float = 0.0, generator=None
    ) -> Tensor:
        """New spectrograms.

        Args:
            labels: ``(n,)`` int64, or None for any.
            n: How many.
            steps: S.
            scale: Of guidance.
            eta: 0 is DDIM.
            generator: As for :func:`ddim_edu.sampler.sample`.

        Returns:
            ``(n, 1, 64, 64)`` in [-1, 1].
        """
        tau = make_tau(self.top(0.99), steps, "trailing")
        shape, schedule = (n, *self.model.image_shape), self.model.schedule
        eps_theta = self.eps_theta(labels, scale)
        latents = sample(eps_theta, shape, schedule, tau, eta=eta, generator=generator, device=self.device, clip=CLIP)
        return self.autoencoder.decode(latents)

    def change(
        self,
        pictures: Tensor,
        source: Tensor | int | None,
        target: Tensor | int | None,
        steps: int,
        *,
        strength: float = 1.0,
        scale: float = 1.0,
    ) -> Tensor:
        """Spectrograms as another class says them: up by inversion under one class, down under another.

        Args:
            pictures: ``(N, 1, 64, 64)`` in [-1, 1].
            source: What they are: a class for all or one for each, or None for any.
            target: What they are to become.
            steps: S, of each way.
            strength: How far up, as a share of the steps.
            scale: Of guidance, on the way down.
        """
        # Where a latent is to come back, the top is lower, as everywhere in apps: the cosine schedule's last steps
        # multiply errors.
        tau = make_tau(self.top(0.9), steps, "trailing")
        latents = self.autoencoder.encode(pictures)
        up, down = self.eps_theta(source), self.eps_theta(target, scale)
        return self.autoencoder.decode(translate(up, down, latents, self.model.schedule, tau, strength))

    def top(self, share: float) -> int:
        """The highest level to use, a share of T."""
        return max(1, int(share * self.model.schedule.T))


def listen(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """What the two shipped classifiers hear in spectrograms: the numbers of words, and of speakers, ``(N,)`` each."""
    return tuple(load_classifier(f"spoken-{part}").model(pictures.cpu()).argmax(1) for part in ("word", "speaker"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after ``sound``; those of the process if None.

    Returns:
        The exit code.
    """
    try:
        options = parse(
            SoundOptions(),
            sys.argv[1:] if arguments is None else arguments,
            prog=PROG,
            description=SoundOptions.__doc__.splitlines()[0],
        )
        check_writable(options.out)
        distinct([options.out, options.picture], [options.input])
        if options.picture is not None:
            check_picture(options.picture)
        make_tau(1000, options.steps, "trailing")
        voices = Voices(load(options.checkpoint, pick_device(options.device)))
        began = time.perf_counter()
        pictures, said = (speak if options.input is None else change)(voices, options)
        sounds = to_sound(pictures.cpu(), generator=generator_for(options.seed, Stream.SOUND, 1))
        pause = torch.zeros(len(sounds), PAUSE)
        write_wav(options.out, torch.cat([sounds, pause], 1).flatten()[:-PAUSE])
    except (ValueError, OSError) as error:
        return fail(error)
    except KeyboardInterrupt:
        return 130
    print(f"{options.out}: {said}; S = {options.steps}, {time.perf_counter() - began:.1f} s")
    return 0


def speak(voices: Voices, options: SoundOptions) -> tuple[Tensor, str]:
    """New sounds.

    Returns:
        Their spectrograms, and what was done, for the last line.

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
    generators = [generator_for(options.seed, Stream.SOUND, 0, i) for i in range(n)]
    with Bar(voices, options.steps * (2 if labels is not None and options.scale not in (0, 1) else 1)):
        pictures = voices.speak(labels, n, options.steps, scale=options.scale, eta=options.eta, generator=generators)
    _show(pictures, options)
    return (
        pictures,
        f"{', '.join(names[:3])}{', ...' if n > 3 else ''} ({n} sound{'s' if n > 1 else ''}){_heard(voices, pictures)}",
    )


def change(voices: Voices, options: SoundOptions) -> tuple[Tensor, str]:
    """A recording changed; returns and raises as :func:`speak`."""
    path = find_recording(options.input)
    recording = read_wav(path)
    try:
        clip = pad_or_trim(recording)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    picture = log_mel(clip.sound[None])
    source = target = None
    what = "no classes"
    if voices.model.config.classes:
        named = NAMED.fullmatch(path.name)
        told = [
            options.from_word or (named["word"] if named else ""),
            options.from_speaker or (named["speaker"] if named else ""),
        ]
        known = (voices.words, voices.speakers)
        guessed = not (options.from_word and options.from_speaker) and any(
            name not in names for name, names in zip(told, known)
        )
        if guessed:
            if (len(voices.words), len(voices.speakers)) != SHIPPED:
                raise ValueError(f"what is {path}, and who speaks? say so with --from-word and --from-speaker")
            heard = [names[int(i)] for names, i in zip(known, listen(picture))]
            told = [options.from_word or heard[0], options.from_speaker or heard[1]]
        word, speaker = told
        source = voices.label(word, speaker)
        target = voices.label(options.word or word, options.speaker or speaker)
        what = (
            f"{word} {speaker}{' (by ear)' if guessed else ''} -> {options.word or word} {options.speaker or speaker}"
        )
    elif options.word or options.speaker:
        voices.label(options.word, options.speaker)
    for note in clip.notes:
        print(f"{path}: {note}", file=sys.stderr)
    with Bar(voices, options.steps * (3 if target is not None and options.scale not in (0, 1) else 2)):
        changed = voices.change(
            picture.to(voices.device), source, target, options.steps, strength=options.strength, scale=options.scale
        )
    _show(torch.cat([picture, changed.cpu()]), options)
    return changed, what + _heard(voices, changed)


def _heard(voices: Voices, pictures: Tensor) -> str:
    """What the classifiers hear, for the last line; nothing for models of other words."""
    if (len(voices.words), len(voices.speakers)) != SHIPPED:
        return ""
    words, speakers = listen(pictures)
    names = [f"{voices.words[int(w)]} {voices.speakers[int(s)]}" for w, s in zip(words, speakers)]
    return f"; the classifiers hear {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def _show(pictures: Tensor, options: SoundOptions) -> None:
    if options.picture is not None:
        save_grid(pictures.flip(-2), options.picture, side=128)  # low bands at the bottom, as one draws them


class Bar:
    """A progress bar over the network's calls, on a terminal only."""

    def __init__(self, voices: Voices, calls: int) -> None:
        self.network, self.calls = voices.model.model, calls

    def __enter__(self) -> None:
        self.bar = bar = tqdm(total=self.calls, unit="step", disable=None, leave=False)
        self.hook = self.network.register_forward_hook(lambda *_: bar.update() and None)

    def __exit__(self, *_: object) -> None:
        self.hook.remove()
        self.bar.close()
