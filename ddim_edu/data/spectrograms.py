r"""Sound as a picture, and back (chapter 15).

A recording becomes a *log-mel spectrogram*: 64 bands of frequency by 64 moments, in decibels, scaled to [-1, 1], the
form in which a network can take sounds for grey images. Nothing here knows of networks.

There::

    read_wav -> pad_or_trim -> log_mel    8,064 samples of 8,000 a second -> (1, 64, 64)

and back, where two things have been lost and must be guessed. The bands have averaged over frequencies:
:func:`magnitude` finds the spectrum that is nowhere negative and fits them best. And the phases are gone:
:func:`griffin_lim` finds some that agree with each other::

    magnitude -> griffin_lim -> write_wav

Sounds are float tensors ``(B, L)`` in about [-1, 1].

At other rates a window lasts as long, and has other numbers of samples; ``WINDOW`` and ``HOP`` are those of ``RATE``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ddim_edu.data.trimming import find_sound
from ddim_edu.data.wav import read_samples
from ddim_edu.files import first_line, replacing

RATE = 8000  # samples a second
WINDOW = 512  # samples of a frame, 64 ms
HOP = 128  # samples from a frame to the next, 16 ms
BANDS = 64
FRAMES = 64
LENGTH = (FRAMES - 1) * HOP  # samples of a clip, about a second
LEAD = 512  # samples of silence at its beginning
RANGE_DB = 60.0  # of the spectrogram: -1 is so far below its loudest place, which is 1
SILENCE = 1e-4  # a recording that stays below is silent: three of the 32,768 steps of 16 bits
LARGEST = 2.0**31  # of a sample: some programs write floats in steps of 16 or 32 bits
OFFSET, OFFSET_LONG = 0.2, 0.02  # a mean so large beside the peak is an offset, in short and in long recordings
MOST_DOWN = 10_000  # of a ratio of rates: the filter of a prime one would have millions of numbers, for 1e-8 of pitch
CANCEL = 0.05  # channels cancel if less of their power is left in their mean


class Recording(NamedTuple):
    """What :func:`read_wav` and :func:`pad_or_trim` return.

    Attributes:
        sound: ``(L,)`` float32.
        notes: What was done to it that its owner should know, such as "resampled from 44100 Hz".
    """

    sound: Tensor
    notes: tuple[str, ...] = ()


# ---- files


def read_wav(source: Path | str | BinaryIO, rate: int = RATE, name: str = "") -> Recording:
    """A wav file as one channel of a given rate.

    Whole numbers are brought to [-1, 1]; several channels are averaged, or where they cancel the loudest is taken;
    another rate is resampled by a polyphase filter, which also removes what the new rate can't hold.

    Args:
        source: The file.
        rate: Samples a second of the result.
        name: What to call an open file in an error.

    Raises:
        ValueError: In one line, if there is no such file, it is no wav file within the bounds of
            :mod:`ddim_edu.data.wav`, or it holds no sound.
    """
    name = name or str(source)
    try:
        own, channels = read_samples(source)
    except FileNotFoundError:
        raise ValueError(f"there is no file {name}") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"{name} is not a wav file that can be read ({first_line(error)})") from None
    if not len(channels):
        raise ValueError(f"{name} holds no sound: it is 0 samples long")
    if not np.isfinite(channels).all():
        raise ValueError(f"{name} holds samples that are not finite numbers")
    if np.abs(channels).max() > LARGEST:
        raise ValueError(f"{name} holds samples as large as {np.abs(channels).max():.1g}: they should lie in [-1, 1]")
    samples, notes = _mixed(channels)
    if own != rate:
        from scipy.signal import resample_poly  # half a second of imports

        notes.append(f"resampled from {own} Hz to {rate} Hz")
        ratio = Fraction(rate, own).limit_denominator(MOST_DOWN)
        samples = resample_poly(samples, ratio.numerator, ratio.denominator)
    return Recording(torch.from_numpy(samples).float(), tuple(notes))


def _mixed(channels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """``(L, channels)`` as ``(L,)``, and a note of what was done if there were several."""
    n = channels.shape[1]
    if n == 1:
        return channels[:, 0], []
    mean, power = channels.mean(1), channels.var(0)
    if mean.var() >= CANCEL * power.mean():
        return mean, [f"{n} channels mixed down to one"]
    return channels[:, power.argmax()], [f"{n} channels that would cancel each other: the loudest was taken"]


def write_wav(path: Path | str, sound: Tensor, rate: int = RATE, peak: float | None = None) -> None:
    """Write a sound as 16 bits; the file is whole or not there.

    Args:
        path: The file to make or to replace.
        sound: ``(L,)``; beyond [-1, 1] it is clipped.
        rate: Samples a second.
        peak: Scale the sound to this largest absolute value first; silence stays silence.

    Raises:
        ValueError: If a sample is not a finite number.
    """
    from scipy.io import wavfile

    if not bool(sound.isfinite().all()):
        raise ValueError(f"the sound for {path} holds samples that are not finite numbers")
    sound = sound.detach().cpu().double()
    if peak is not None and sound.abs().max() > 0:
        sound = sound * (peak / sound.abs().max())
    with replacing(path) as temporary:
        wavfile.write(temporary, rate, (sound.clamp(-1, 1) * 32767).round().short().numpy())


def pad_or_trim(recording: Recording | Tensor, length: int = LENGTH, lead: int = LEAD) -> Recording:
    """A recording brought to the length of a clip: a little silence, the sound, and silence after it.

    One that is too long loses what is quiet at its ends (:mod:`ddim_edu.data.trimming`), and after that its end. A
    constant offset goes too, where it is large.

    Args:
        recording: From :func:`read_wav`, or ``(L,)``.
        length: Samples of the result.
        lead: Samples of silence before the sound, fewer than ``length``.

    Raises:
        ValueError: If the recording is silent, or the clip has no room beside its lead.
    """
    if not 0 <= lead < length:
        raise ValueError(f"lead = {lead} of length = {length}: give 0 <= lead < length")
    sound, notes = recording if isinstance(recording, Recording) else (recording, ())
    offset = sound.mean() if len(sound) else torch.zeros(())
    loudest = (sound - offset).abs().max().item() if len(sound) else 0.0
    if not loudest > SILENCE:
        raise ValueError(f"the recording is silent (its largest sample is {loudest:.1g} of 1)")
    room = length - lead
    long = len(sound) > room
    # A word's own mean may be a tenth of its peak; over the silence of a long recording little of that is left.
    if offset.abs() > (OFFSET_LONG if long else OFFSET) * loudest:
        sound = sound - offset
    if long:
        start, stop, alone = find_sound(sound, room)
        found, sound = sound[start:stop], sound[start : min(stop, start + room)]
        if len(found) > room:
            notes = (*notes, f"{len(found) / RATE:.2f} s of sound, trimmed to the first {room / RATE:.2f}")
        elif not alone:
            notes = (*notes, f"several sounds, trimmed to the loudest {len(found) / RATE:.2f} s")
    result = torch.zeros(length)
    result[lead : lead + len(sound)] = sound
    return Recording(result, notes)


# ---- spectra


def window_of(rate: int) -> int:
    """Samples of a window at a rate, a multiple of 250; four times those of a hop."""
    return rate * WINDOW // RATE


def stft(sound: Tensor, window: int = WINDOW) -> Tensor:
    """The short-time Fourier transform: at every ``HOP``-th sample, the spectrum of the ``WINDOW`` samples around it,
    Hann-weighted.

    Beyond its ends the sound is taken to be silent.

    Args:
        sound: ``(B, L)`` with L a multiple of HOP; the samples after the last moment could not be found again.
        window: Samples of a window, and four times those of a hop.

    Returns:
        ``(B, WINDOW / 2 + 1, L / HOP + 1)`` complex: frequencies from 0 to half the rate, by moments.
    """
    how: dict[str, Any] = {"center": True, "pad_mode": "constant", "return_complex": True}
    return torch.stft(sound, window, window // 4, window=_hann(sound.dtype, window), **how)


def istft(spectra: Tensor) -> Tensor:
    r"""The sound whose transform lies nearest to given spectra, in the sense of :func:`norm` (Griffin and Lim 1984, eq.
    6).

    If they are the transform of a sound, that is the sound. Most spectra aren't: neighbouring frames share three
    quarters of their samples, and would have to agree on them.

    Args:
        spectra: ``(B, WINDOW / 2 + 1, M)`` complex.

    Returns:
        ``(B, (M - 1) HOP)``.

    Equations: eq:least-squares-sound
    """
    window = _window(spectra)
    length = (spectra.shape[-1] - 1) * window // 4
    weights = _hann(spectra.real.dtype, window)
    return torch.istft(spectra, window, window // 4, window=weights, center=True, length=length)


def norm(spectra: Tensor) -> Tensor:
    """Root of the sum of squares of each member's spectra, ``(B,)``, with negative frequencies, which are left out of
    ``stft``, counted.

    They are the conjugates of the positive ones, so that all but the first and the last frequency count twice.
    """
    squares = spectra.abs().square().sum(-1)
    return (2 * squares.sum(-1) - squares[..., 0] - squares[..., -1]).sqrt()


def spectral_convergence(sound: Tensor, magnitudes: Tensor) -> Tensor:
    r"""How far a sound's magnitudes are from wanted ones A, relative to these: :math:`\| |X| - A \| / \|A\|`, ``(B,)``.

    Args:
        sound: ``(B, L)``.
        magnitudes: ``(B, WINDOW / 2 + 1, L / HOP + 1)``, not negative.
    """
    return norm(stft(sound, _window(magnitudes)).abs() - magnitudes) / norm(magnitudes)


def griffin_lim_path(
    magnitudes: Tensor,
    iterations: int = 60,
    momentum: float = 0.99,
    generator: torch.Generator | None = None,
    start: Tensor | None = None,
) -> Iterator[Tensor]:
    r"""Sounds whose magnitudes come nearer and nearer to given ones (Griffin and Lim 1984; fast: Perraudin, Balazs,
    Søndergaard 2013).

    Two demands are met in turns: to be the transform of some sound (:math:`C_n`, the :func:`stft` of an
    :func:`istft`), and to have the magnitudes A (keep the phases of :math:`T_n`, replace its magnitudes by A), where

    .. math:: T_n = C_n + \gamma\, (C_n - C_{n-1}) .

    With momentum :math:`\gamma = 0` both are nearest points and the distance between them never grows, which is the
    method of 1984. :math:`\gamma` near 1 leaves that guarantee, and mostly ends nearer.

    Args:
        magnitudes: ``(B, WINDOW / 2 + 1, M)``, not negative.
        iterations: how many turns; there is one sound more.
        momentum: :math:`\gamma`.
        generator: of the first phases, which are random.
        start: or the first phases, in radians, of the shape of the magnitudes.

    Yields:
        ``(B, (M - 1) HOP)``: the first from the first phases, then one for each turn.

    Equations: eq:griffin-lim, eq:fast-griffin-lim
    """
    if start is None:
        start = 2 * torch.pi * torch.rand(magnitudes.shape, generator=generator, dtype=magnitudes.dtype)
    phases = torch.polar(torch.ones_like(start), start).to(magnitudes.device)
    before = None
    for _ in range(iterations + 1):
        sound = istft(magnitudes * phases)
        yield sound
        consistent = stft(sound, _window(magnitudes))
        towards = consistent if before is None else consistent + momentum * (consistent - before)
        phases = towards / towards.abs().clamp(min=torch.finfo(magnitudes.dtype).tiny)
        before = consistent


def griffin_lim(magnitudes: Tensor, *how: Any, **named: Any) -> Tensor:
    """The last sound of :func:`griffin_lim_path`; arguments as there."""
    return deque(griffin_lim_path(magnitudes, *how, **named), maxlen=1)[0]


# ---- mel bands


def hertz_to_mel(hertz: Tensor | float) -> Tensor:
    """The mel scale: about linear up to 1,000 Hz and logarithmic above, as pitch is heard (O'Shaughnessy's formula).

    Equations: eq:mel
    """
    return 2595 * torch.log10(1 + torch.as_tensor(hertz, dtype=torch.float64) / 700)


def mel_to_hertz(mel: Tensor | float) -> Tensor:
    """Undo :func:`hertz_to_mel`."""
    return 700 * (10 ** (torch.as_tensor(mel, dtype=torch.float64) / 2595) - 1)


@lru_cache
def mel_filters(rate: int = RATE) -> Tensor:
    """What each band takes of each frequency: ``(BANDS, WINDOW / 2 + 1)`` float64, not negative.

    Triangles that stand evenly on the mel scale from 0 to half the rate. Each reaches from its left neighbour's peak to
    its right neighbour's, so that between the first and the last peak the bands add up to 1 at every frequency.
    """
    peaks = mel_to_hertz(torch.linspace(0, hertz_to_mel(rate / 2).item(), BANDS + 2, dtype=torch.float64))
    hertz = torch.linspace(0, rate / 2, window_of(rate) // 2 + 1, dtype=torch.float64)
    width = peaks.diff()
    rising = (hertz - peaks[:-2, None]) / width[:-1, None]
    falling = (peaks[2:, None] - hertz) / width[1:, None]
    return torch.minimum(rising, falling).clamp(min=0)


def log_mel(sound: Tensor, rate: int = RATE, loudest: float | None = None) -> Tensor:
    """The picture of a sound.

    The power of each band in decibels below the clip's loudest place, cut off at ``RANGE_DB`` and scaled to [-1, 1]. So
    it does not depend on how loud the recording is. Silence is -1 everywhere.

    Args:
        sound: ``(B, L)`` with L a multiple of HOP.
        rate: Its samples a second.
        loudest: The power that is 1, the same for all, so that the picture tells how loud a sound is.

    Returns:
        ``(B, 1, BANDS, L / HOP + 1)`` in [-1, 1], low bands first.

    Equations: eq:log-mel
    """
    power = mel_filters(rate).to(sound) @ stft(sound, window_of(rate)).abs().square()
    top = power.amax((-2, -1), keepdim=True) if loudest is None else power.new_tensor(loudest)
    tiny = torch.finfo(power.dtype).tiny
    decibels = 10 * torch.log10((power / top.clamp(min=tiny)).clamp(min=tiny))
    return (1 + 2 * decibels / RANGE_DB).clamp(-1, 1)[:, None]


def magnitude(picture: Tensor, iterations: int = 100, rate: int = RATE) -> Tensor:
    r"""Spectra that have the bands of a log-mel spectrogram, with the loudest band at 1.

    There are four times as many frequencies as bands, so that many spectra fit. This finds one by the multiplicative
    updates of Lee and Seung (2001) from an even start: for filters F and powers m of the bands,

    .. math:: p \leftarrow p \cdot \frac{F^\top m}{F^\top F p},

    which keeps p nowhere negative and never raises :math:`\|F p - m\|`.

    Args:
        picture: ``(B, 1, BANDS, M)``; beyond [-1, 1] it is clamped.
        iterations: number of updates.
        rate: Samples a second of the sound.

    Returns:
        ``(B, WINDOW / 2 + 1, M)``, not negative.

    Equations: eq:lee-seung
    """
    filters = mel_filters(rate).to(picture)
    decibels = (picture[:, 0].clamp(-1, 1) - 1) * RANGE_DB / 2
    bands = 10 ** (decibels / 10) * (picture[:, 0] > -1)  # the floor stands for silence
    wanted = filters.T @ bands
    power = torch.ones_like(wanted) * bands.mean(-2, keepdim=True)
    gram = filters.T @ filters
    for _ in range(iterations):
        power = power * wanted / (gram @ power).clamp(min=1e-12)
    return power.sqrt()


def to_sound(
    picture: Tensor, iterations: int = 60, momentum: float = 0.99, generator: torch.Generator | None = None
) -> Tensor:
    """Sound with the log-mel spectrograms of a batch of pictures: :func:`magnitude`, then :func:`griffin_lim`.

    Args:
        picture: ``(B, 1, BANDS, M)``.
        iterations, momentum, generator: as for :func:`griffin_lim_path`.

    Returns:
        ``(B, (M - 1) HOP)``, each scaled to a largest absolute value of 0.9; silence stays silence.
    """
    sound = griffin_lim(magnitude(picture), iterations, momentum, generator)
    return 0.9 * sound / sound.abs().amax(1, keepdim=True).clamp(min=1e-8)


def _window(spectra: Tensor) -> int:
    """Samples of the window that spectra ``(B, window / 2 + 1, M)`` are of."""
    return 2 * (spectra.shape[-2] - 1)


@lru_cache
def _hann(dtype: torch.dtype, window: int) -> Tensor:
    return torch.hann_window(window, dtype=dtype)
