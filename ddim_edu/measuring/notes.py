r"""What a musical note is, measured from its sound: pitch, level, onset, and which instrument (chapter 21).

Pitch is found by YIN (de Cheveigné and Kawahara 2002): a sound of period :math:`\tau` equals itself :math:`\tau`
samples later, so that the *difference function*

.. math:: d(\tau) = \sum_{j=1}^{W} (x_j - x_{j+\tau})^2

has a minimum there. It has one at every multiple too, and a trivial one at 0; dividing by its own running mean,

.. math:: d'(\tau) = d(\tau) \Big/ \frac{1}{\tau} \sum_{k=1}^{\tau} d(k),

removes the one at 0, and taking the *first* minimum below a threshold removes the multiples. A parabola through that
minimum and its neighbours finds it between two samples. Nothing here looks at a spectrum: a fundamental that is missing
is found, since the period is there without it. A bell has no period, and d' stays high: :attr:`Pitch.aperiodicity` says
so.

Sounds are float tensors ``(B, L)``; pitch is in MIDI numbers, 69 for 440 Hz, where 0.01 is a cent.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

RATE = 16_000
WINDOW = 1024  # samples that YIN compares with their neighbours, 64 ms
HOP = 512
LOWEST, HIGHEST = 60.0, 1200.0  # Hz: an octave beyond the notes on either side, so that an octave error can be seen
THRESHOLD = 0.15  # of d', below which a minimum counts as the period
STRONG_DB = 20.0  # frames that are so much below the loudest say nothing of the pitch
LEVEL_WINDOW = 0.05  # seconds over which a level is a mean
ONSET_WINDOW = 0.004  # seconds
ONSET_DB = 30.0  # the note has begun where it is so much below its loudest


class Pitch(NamedTuple):
    """What :func:`pitch_of` returns."""

    midi: Tensor
    """``(B,)`` float64; nan of silence."""
    aperiodicity: Tensor
    """``(B,)`` float64: d' at the period, 0 of a sound that repeats exactly and about 1 of noise."""


def midi_to_hertz(midi: Tensor | float) -> Tensor:
    """The frequency of a MIDI number, equal temperament with 440 Hz at 69; in float64."""
    return 440 * 2 ** ((torch.as_tensor(midi, dtype=torch.float64) - 69) / 12)


def hertz_to_midi(hertz: Tensor | float) -> Tensor:
    """Undo :func:`midi_to_hertz`."""
    return 69 + 12 * torch.log2(torch.as_tensor(hertz, dtype=torch.float64) / 440)


def difference_function(frames: Tensor, longest: int) -> Tensor:
    r""":math:`d(\tau)` of frames, for :math:`\tau = 0, \dots, \text{longest}`.

    The square is expanded, :math:`\sum x_j^2 + \sum x_{j+\tau}^2 - 2 \sum x_j x_{j+\tau}`; the first two sums come from
    a running total, the third from Fourier transforms.

    Args:
        frames: ``(..., W + longest)``: the window, and what follows it.
        longest: the largest lag.

    Returns:
        ``(..., longest + 1)`` float64.

    Equations: eq:yin-difference
    """
    x = frames.double()
    window = x.shape[-1] - longest
    total = torch.nn.functional.pad(x.square().cumsum(-1), (1, 0))
    energy = total[..., window:] - total[..., : longest + 1]
    n = 1 << (x.shape[-1] - 1).bit_length()  # no lag that is asked for wraps around
    spectra = torch.fft.rfft(x[..., :window], n).conj() * torch.fft.rfft(x, n)
    products = torch.fft.irfft(spectra, n)[..., : longest + 1]
    return (energy[..., :1] + energy - 2 * products).clamp(min=0)


def normalised_difference(d: Tensor) -> Tensor:
    r""":math:`d'(\tau)`, which is 1 at 0 by definition; where all of d so far is 0, as in silence, it is 1 too.

    Args:
        d: ``(..., n)`` from :func:`difference_function`.

    Equations: eq:yin-normalised
    """
    lags = torch.arange(1, d.shape[-1], dtype=d.dtype, device=d.device)
    running = d[..., 1:].cumsum(-1) / lags
    ratio = torch.where(running > 0, d[..., 1:] / running.clamp(min=torch.finfo(d.dtype).tiny), 1.0)
    return torch.cat([torch.ones_like(d[..., :1]), ratio], -1)


def first_dip(normalised: Tensor, shortest: int, threshold: float = THRESHOLD) -> Tensor:
    """The lag of the first local minimum below a threshold, or of the lowest point where there is none.

    Args:
        normalised: ``(..., n)`` from :func:`normalised_difference`.
        shortest: the least lag that counts.
        threshold: see above.

    Returns:
        ``(...)`` int64, from ``shortest`` to n - 2.
    """
    here, left, right = normalised[..., 1:-1], normalised[..., :-2], normalised[..., 2:]
    lag = torch.arange(1, normalised.shape[-1] - 1, device=normalised.device)
    dips = (here < threshold) & (here <= left) & (here < right) & (lag >= shortest)
    lowest = torch.where(lag >= shortest, here, torch.inf).argmin(-1)
    return torch.where(dips.any(-1), dips.int().argmax(-1), lowest) + 1


def between_samples(values: Tensor, at: Tensor) -> Tensor:
    """How far the minimum of the parabola through a point and its neighbours lies from the point, in [-1/2, 1/2].

    Args:
        values: ``(..., n)``.
        at: ``(...)`` int64, from 1 to n - 2.

    Equations: eq:parabola
    """
    left, here, right = (values.gather(-1, (at + i)[..., None])[..., 0] for i in (-1, 0, 1))
    bend = left - 2 * here + right
    return torch.where(bend > 0, (left - right) / (2 * bend.clamp(min=1e-300)), 0.0).clamp(-0.5, 0.5)


def yin(sound: Tensor, rate: int = RATE, threshold: float = THRESHOLD) -> tuple[Tensor, Tensor, Tensor]:
    """Frequency by frequency along a sound.

    Args:
        sound: ``(B, L)``, of at least ``WINDOW`` samples and the longest period.
        rate: samples a second.
        threshold: of d'.

    Returns:
        For each of the F frames, ``HOP`` samples apart: the frequency in Hz, d' there, and the frame's energy,
        ``(B, F)`` float64 each.

    Raises:
        ValueError: If the sound is too short, or has another shape.

    Source: A. de Cheveigné and H. Kawahara, *YIN, a fundamental frequency estimator for speech and music*, 2002.
    """
    longest, shortest = int(rate / LOWEST), int(rate / HIGHEST)
    if sound.ndim != 2 or sound.shape[1] < WINDOW + longest:
        raise ValueError(
            f"sounds of shape {tuple(sound.shape)}: give (B, L) with L of at least {WINDOW + longest} samples"
        )
    frames = sound.double().unfold(1, WINDOW + longest, HOP)
    frames = frames - frames.mean(-1, keepdim=True)  # an offset has every period
    d = difference_function(frames, longest)
    normalised = normalised_difference(d)
    lag = first_dip(normalised, shortest, threshold)
    period = lag + between_samples(d, lag)
    return rate / period, normalised.gather(-1, lag[..., None])[..., 0], frames[..., :WINDOW].square().sum(-1)


def pitch_of(sound: Tensor, rate: int = RATE) -> Pitch:
    """The pitch of notes, one for each: the median over their strong frames, so that vibrato averages out.

    Args:
        sound: ``(B, L)``.
        rate: samples a second.

    Raises:
        ValueError: As :func:`yin`.
    """
    parts = [yin(part, rate) for part in sound.split(100)]
    hertz, aperiodicity, energy = (torch.cat(values) for values in zip(*parts, strict=True))
    loudest = energy.amax(1, keepdim=True)
    strong = (energy >= loudest * 10 ** (-STRONG_DB / 10)) & (loudest > 0)
    nothing = torch.full_like(hertz, torch.nan)
    midi = torch.where(strong, hertz_to_midi(hertz), nothing).nanmedian(1).values
    return Pitch(midi, torch.where(strong, aperiodicity, nothing).nanmedian(1).values)


def cents(found: Tensor, asked: Tensor) -> Tensor:
    """How far a pitch is from another, both in MIDI numbers: 100 is a semitone, 1200 an octave."""
    return 100 * (found - asked)


def fold(values: Tensor) -> Tensor:
    """Cents without their octaves: -600 up to 600."""
    return (values + 600) % 1200 - 600


def _energy(sound: Tensor, samples: int) -> Tensor:
    """Mean square of ``samples`` samples around each, ``(B, L + 1)`` float64; beyond its ends the sound is silent."""
    padded = torch.nn.functional.pad(sound.double().square(), (samples // 2, samples - samples // 2))
    total = torch.nn.functional.pad(padded.cumsum(1), (1, 0))
    return ((total[:, samples:] - total[:, :-samples]) / samples).clamp(min=0)


def level_of(sound: Tensor, rate: int = RATE) -> Tensor:
    """The level of a note at its loudest: mean square over 50 ms, in decibels below a sample of 1.

    Args:
        sound: ``(B, L)``.
        rate: samples a second.

    Returns:
        ``(B,)`` float64; -inf of silence.
    """
    return 10 * torch.log10(_energy(sound, max(1, round(LEVEL_WINDOW * rate))).amax(1))


def onset_of(sound: Tensor, rate: int = RATE) -> Tensor:
    """When a note begins: the first moment at which the energy of 4 ms is within 30 dB of that at its loudest.

    A note that swells slowly is found late, by the time that it takes to get there.

    Args:
        sound: ``(B, L)``.
        rate: samples a second.

    Returns:
        Seconds, ``(B,)`` float64; nan of silence.
    """
    energy = _energy(sound, max(1, round(ONSET_WINDOW * rate)))
    loudest = energy.amax(1, keepdim=True)
    begun = (energy >= loudest * 10 ** (-ONSET_DB / 10)) & (loudest > 0)
    return torch.where(begun.any(1), begun.int().argmax(1).double() / rate, torch.nan)
