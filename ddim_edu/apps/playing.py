r"""A latent diffusion of notes: it plays an instrument and a pitch, as loud and as soon as asked (chapter 21).

Instrument and pitch are the classes that the network was trained with. Loudness and onset are not: they are measured on
the decoded spectrogram, and the predicted latent is moved by the least that makes the measures what is asked, to first
order. For measures m, wanted values y and the gradients of m in the latent as rows of J,

.. math:: \hat x_0 \leftarrow \hat x_0 - J^\top (J J^\top)^{-1} (m(\hat x_0) - y),

at every step, so that the steps below it make a note of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ddim_edu.apps.voices import CLIP, Tick, Voices
from ddim_edu.data.notes import BRIGHTEST, INSTRUMENTS, LOUDEST, LOWEST, PITCHES, QUIETEST, RATE, parse_pitch, sound_of
from ddim_edu.data.spectrograms import RANGE_DB, window_of
from ddim_edu.guides import PLAIN, Guide
from ddim_edu.models import Checkpoint
from ddim_edu.randomness import Generators
from ddim_edu.ranges import closest
from ddim_edu.sampler import sample
from ddim_edu.schedule import make_tau

FRAME = window_of(RATE) / 4 / RATE  # seconds from a frame to the next, 16 ms
BELOW = 20.0  # decibels below the loudest frame at which a note has begun
SOFT = 2.0  # decibels over which that is blurred, for the gradient's sake
GATE = 0.1  # of a picture's 2 that its 60 dB are
FARTHEST = 0.3  # root mean square that one correction may move a latent, whose own is 1; chosen on notes to train on
EARLIEST, LATEST = 0.05, 0.3  # seconds: the onsets that the model has heard


def levels(pictures: Tensor) -> Tensor:
    """The level of each frame in dB, 0 dB being a root mean square of 1: ``(B, 1, 64, 64)`` to ``(B, 64)``.

    The bands of a frame add up to its power, since their filters add up to 1. By Parseval's theorem that is the sum of
    squares of the samples under the window, times half of the window's length.
    """
    window = window_of(RATE)
    heard = silenced(pictures)[:, 0]
    power = BRIGHTEST * 10 ** ((heard - 1) * RANGE_DB / 20) * (heard > -1)  # the floor stands for silence
    return 10 * torch.log10(power.sum(1).clamp(min=1e-12) / (window / 2 * window * 3 / 8))


def loudness_of(pictures: Tensor) -> Tensor:
    """The level of the loudest frame in dB, ``(B,)``: what :func:`ddim_edu.data.notes.loudness` is of the sound."""
    return levels(pictures).amax(1)


def onset_of(pictures: Tensor) -> Tensor:
    """When a note begins, in seconds, ``(B,)``: the first frame that is at most 20 dB below the loudest, blurred.

    A frame counts as begun to a degree, and the onset is the expected number of frames before the first that has. A
    window hears a struck note before its middle reaches it, by 10 ms; a held one takes time to come within 20 dB, so
    that its measure is 15 ms late.
    """
    level = levels(pictures)
    begun = torch.sigmoid((level - level.amax(1, keepdim=True) + BELOW) / SOFT)
    return (1 - begun).cumprod(1).sum(1) * FRAME


MEASURES: Mapping[str, Callable[[Tensor], Tensor]] = {"loudness": loudness_of, "onset": onset_of}


class Player(Voices):
    """A latent diffusion of notes, by instrument and pitch.

    Args:
        model: The network, from :func:`ddim_edu.models.checkpoint.load`.
        autoencoder: The file of its autoencoder, where that is not what the model's file leads to.

    Raises:
        ValueError: If it is not one of notes.
    """

    rate = RATE

    def __init__(self, model: Checkpoint, autoencoder: str = "") -> None:
        super().__init__(model, autoencoder)
        if self.words != INSTRUMENTS or len(self.speakers) != len(PITCHES):
            raise ValueError(f"{model.path} plays no notes: name a model that does, such as notes")

    def class_of(self, instrument: str, pitch: str | int) -> int:
        """The class of an instrument and a pitch, by its name or its MIDI number.

        Raises:
            ValueError: One line, if there is no such instrument, or the pitch is out of range.
        """
        if instrument not in INSTRUMENTS:
            known = ", ".join(INSTRUMENTS)
            raise ValueError(
                f"there is no instrument {instrument!r}{closest(instrument, INSTRUMENTS)} (known: {known})"
            )
        return INSTRUMENTS.index(instrument) * len(PITCHES) + parse_pitch(str(pitch)) - LOWEST

    def play(
        self,
        labels: Tensor,
        steps: int,
        *,
        loudness: float | Tensor | None = None,
        onset: float | Tensor | None = None,
        scale: float = 1.0,
        eta: float = 0.0,
        generator: Generators = None,
        tick: Tick = None,
        guide: Guide = PLAIN,
    ) -> Tensor:
        """New notes.

        Args:
            labels: ``(n,)`` int64.
            steps: S.
            loudness: In dB, for all or ``(n,)``; None leaves it to the noise.
            onset: In seconds, likewise.
            scale, eta, generator, tick, guide: As for :meth:`ddim_edu.apps.voices.Voices.speak`.

        Returns:
            Spectrograms ``(n, 1, 64, 64)`` in [-1, 1], for :meth:`sounds`.

        Raises:
            ValueError: One line, if loudness or onset is out of range.
        """
        wanted = {name: value for name, value in (("loudness", loudness), ("onset", onset)) if value is not None}
        check_wanted(wanted)
        tau, shape = make_tau(self.top(0.99), steps, "trailing"), (len(labels), *self.model.image_shape)
        eps_theta = self.eps_theta(labels, scale, tick, guide)
        how: dict[str, Any] = {"eta": eta, "generator": generator, "device": self.device, "clip": CLIP}
        latents = sample(eps_theta, shape, self.model.schedule, tau, **how, edit_x0=self.correction(wanted))
        return self.autoencoder.decode(latents)

    def correction(self, wanted: Mapping[str, float | Tensor]) -> Callable[[Tensor, int], Tensor] | None:
        """The edit of the predicted latent that brings measures to wanted values; None if nothing is wanted."""
        if not wanted:
            return None
        decode = self.autoencoder.model.decode

        def measure(x: Tensor) -> Tensor:
            pictures = decode(x)
            return torch.stack([MEASURES[name](pictures) for name in wanted], 1)

        def edit(x0_hat: Tensor, t: int) -> Tensor:
            values = [torch.as_tensor(value).to(x0_hat).expand(len(x0_hat)) for value in wanted.values()]
            return moved(x0_hat, measure, torch.stack(values, 1))

        return edit

    def sounds(self, pictures: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """As :meth:`ddim_edu.apps.voices.Voices.sounds`, as loud as the spectrograms say, without the decoder's hiss;
        no phase is drawn.
        """
        return sound_of(silenced(pictures.cpu()))


def silenced(pictures: Tensor) -> Tensor:
    """Spectrograms whose floor is silence again: a decoder leaves a little above it, which would be heard as a hiss at
    -60 dB. What is within 3 dB of the floor is brought down to it.
    """
    return pictures.where(pictures > -1 + GATE, -torch.ones_like(pictures))


def check_wanted(wanted: Mapping[str, float | Tensor]) -> None:
    """A check of what is asked of a note.

    Raises:
        ValueError: One line, if something is out of the range of the notes to train on.
    """
    ranges = {"loudness": (QUIETEST, LOUDEST, "dB"), "onset": (EARLIEST, LATEST, "s")}
    for name, value in wanted.items():
        low, high, unit = ranges[name]
        values: Sequence[float] = torch.as_tensor(value).flatten().tolist()
        bad = [x for x in values if not (math.isfinite(x) and low <= x <= high)]
        if bad:
            raise ValueError(f"{name} = {bad[0]:g}: give {low:g} to {high:g} {unit}")


def moved(x: Tensor, measure: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """The nearest place where some measures have given values, to first order, but not farther than ``FARTHEST``.

    Args:
        x: ``(B, ...)``.
        measure: Of x, ``(B, K)``, each row of its own member; K small.
        values: Wanted, ``(B, K)``.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        found = measure(x)
        gradients = [torch.autograd.grad(m.sum(), x, retain_graph=True)[0].flatten(1) for m in found.unbind(1)]
    g, lack = torch.stack(gradients, 1), (values - found.detach())[..., None]
    gram = g @ g.mT
    size = gram.diagonal(dim1=1, dim2=2).clamp(min=1e-12).sqrt()
    gram = gram / (size[:, :, None] * size[:, None, :])  # measures have units: compare directions
    gram = gram + 1e-3 * torch.eye(g.shape[1]).to(x)  # two measures may pull the same way
    step = (g.mT @ (torch.linalg.solve(gram, lack / size[..., None]) / size[..., None]))[..., 0]
    length = step.square().mean(1, keepdim=True).sqrt()
    return x.detach() + (step * (FARTHEST / length.clamp(min=FARTHEST))).view_as(x)
