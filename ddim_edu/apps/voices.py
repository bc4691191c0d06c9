"""A latent diffusion of sounds, by the names of its words and speakers (chapter 15): it speaks, and changes what a
recording says or who says it. The command around it is :mod:`ddim_edu.commands.sound`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Generator, Tensor

from ddim_edu.apps.edit import translate
from ddim_edu.data.recordings import split_classes
from ddim_edu.data.spectrograms import RATE, to_sound
from ddim_edu.files import sha256_of
from ddim_edu.forward import EpsTheta
from ddim_edu.guides import PLAIN, Guide
from ddim_edu.models import Checkpoint, load_autoencoder, load_classifier
from ddim_edu.models.small import AUTOENCODER
from ddim_edu.processes import counted
from ddim_edu.randomness import Generators
from ddim_edu.ranges import closest
from ddim_edu.sampler import sample
from ddim_edu.schedule import make_tau
from ddim_edu.strangers import find

HEARD = (10, 6)  # words and speakers that the shipped classifiers know
# The predicted latent is kept within so many standard deviations when a sound is made from nothing: one number of a
# thousand lies beyond in recordings, and the first step, which leaves from nearly pure noise, would otherwise multiply
# the network's error there.
CLIP = 4.0

Tick = Callable[[], object] | None
"""What to call at each step, such as the ``update`` of a progress bar."""


class Voices:
    """A latent diffusion of sounds: the network, its autoencoder, and the names of its classes.

    Args:
        model: The network, from :func:`ddim_edu.models.checkpoint.load`.
        autoencoder: The file of its autoencoder, where that is not what the model's file leads to.

    Attributes:
        rate: Samples a second of its sounds.
        words: What it says; empty where it was trained without.
        speakers: Who says it.

    Raises:
        ValueError: If it is not one of sounds.
    """

    rate = RATE

    def __init__(self, model: Checkpoint, autoencoder: str = "") -> None:
        name = model.recipe.get("autoencoder")
        if name is None:
            raise ValueError(f"{model.path} makes pictures: name a model of sounds, such as spoken-digits")
        self.model = model
        self.device = next(model.model.parameters()).device
        place, remedy = model.places.get("autoencoder"), "put it beside the checkpoint, or name it with --autoencoder"
        lies = autoencoder or find(name, AUTOENCODER.shipped(), model.path, place, remedy)
        self.autoencoder = load_autoencoder(lies, self.device)
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

    def eps_theta(
        self, labels: Tensor | int | None, scale: float = 1.0, tick: Tick = None, guide: Guide = PLAIN
    ) -> EpsTheta:
        """The noise predictor for some classes, with guidance; None is any class."""
        predictor = self.model.eps_theta()
        if labels is not None and self.model.config.classes:
            predictor = guide.predictor(self.model.eps_theta(labels), predictor, scale, self.model.schedule)
        return predictor if tick is None else counted(predictor, tick)

    def speak(
        self,
        labels: Tensor | None,
        n: int,
        steps: int,
        *,
        scale: float = 1.0,
        eta: float = 0.0,
        generator: Generators = None,
        tick: Tick = None,
        guide: Guide = PLAIN,
    ) -> Tensor:
        """New spectrograms.

        Args:
            labels: ``(n,)`` int64, or None for any.
            n: How many.
            steps: S.
            scale: Of guidance.
            eta: 0 is DDIM.
            generator: As for :func:`ddim_edu.sampler.sample`.
            tick: Called at each of the S steps.
            guide: How the scale is used.

        Returns:
            ``(n, 1, 64, 64)`` in [-1, 1].
        """
        tau = make_tau(self.top(0.99), steps, "trailing")
        shape, schedule = (n, *self.model.image_shape), self.model.schedule
        eps_theta = self.eps_theta(labels, scale, tick, guide)
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
        tick: Tick = None,
        guide: Guide = PLAIN,
    ) -> Tensor:
        """Spectrograms as another class says them: up by inversion under one class, down under another.

        Args:
            pictures: ``(N, 1, 64, 64)`` in [-1, 1].
            source: What they are: a class for all or one for each, or None for any.
            target: What they are to become.
            steps: S, of each way.
            strength: How far up, as a share of the steps.
            scale: Of guidance, on the way down.
            tick: Called at each of the steps, S up and S down.
            guide: How the scale is used.
        """
        # Where a latent is to come back, the top is lower, as everywhere in apps: the cosine schedule's last steps
        # multiply errors.
        tau = make_tau(self.top(0.9), steps, "trailing")
        latents = self.autoencoder.encode(pictures)
        up, down = self.eps_theta(source, tick=tick), self.eps_theta(target, scale, tick, guide)
        return self.autoencoder.decode(translate(up, down, latents, self.model.schedule, tau, strength))

    def sounds(self, pictures: Tensor, generator: Generator | None = None) -> Tensor:
        """The sounds of spectrograms, ``(B, L)`` on the CPU, from first phases that a generator draws."""
        return to_sound(pictures.cpu(), generator=generator)

    def top(self, share: float) -> int:
        """The highest level to use, a share of T."""
        return max(1, int(share * self.model.schedule.T))

    @property
    def heard(self) -> bool:
        """Whether these are the words and speakers that the shipped classifiers know."""
        return (len(self.words), len(self.speakers)) == HEARD

    def hear(self, pictures: Tensor) -> list[tuple[str, str]]:
        """The word and the speaker of each spectrogram, as :func:`listen` hears them."""
        words, speakers = listen(pictures)
        return [(self.words[int(w)], self.speakers[int(s)]) for w, s in zip(words, speakers)]


def listen(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """What the two shipped classifiers hear in spectrograms: the numbers of words, and of speakers, ``(N,)`` each."""
    words, speakers = (load_classifier(f"spoken-{part}").model(pictures.cpu()) for part in ("word", "speaker"))
    return words.argmax(1), speakers.argmax(1)
