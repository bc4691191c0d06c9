r"""Notes made by formulas: nine instruments, of which everything is known (chapter 21).

A :class:`Note` says what is to be heard, :func:`render` makes the sound, numpy alone. Each instrument is the simplest
physics that one recognises it by:

=========== =======================================================================================================
``string``  plucked: a burst of noise runs round a delay line and is averaged (Karplus and Strong 1983)
``bar``     struck: the modes of a free bar, 1 : 2.76 : 5.40 : 8.93 (Euler and Bernoulli)
``bell``    struck: the partials that founders tune, with hum, tierce, quint and nominal
``flute``   few harmonics, and breath around them
``brass``   harmonics in a geometric series; the louder, the more of them (Risset and Mathews 1969)
``epiano``  frequency modulation with a falling index (Chowning 1973)
``bowed``   a sawtooth with vibrato, through the resonances of a body
``voice``   pulses through the formants of "ah" (Peterson and Barney 1952)
``organ``   ranks of pipes sound together: the note, its octave, its twelfth and more
=========== =======================================================================================================

Sounds have 16,000 samples a second and last 1.008 s, so that :func:`picture` makes 64 x 64 of them. :func:`draw_note`
is the data set: note ``i`` of a part is a function of its number alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ddim_edu.data.phases import running_phases
from ddim_edu.data.spectrograms import FRAMES, griffin_lim, log_mel, magnitude, window_of

RATE = 16_000  # samples a second
SAMPLES = (FRAMES - 1) * window_of(RATE) // 4  # 16,128
TIME = np.arange(SAMPLES) / RATE
FINE = 128  # a divisor of SAMPLES
LOWEST, HIGHEST = 48, 72  # MIDI numbers: C3, 131 Hz, to C5, 523 Hz
QUIETEST, LOUDEST = -36.0, -16.0  # dB
FADE = 0.03  # seconds in which the end of a clip falls to silence
LEVEL_WINDOW = 800  # samples, 50 ms, over which loudness is measured
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
# Power of a band that is 1 in a picture: a sine of amplitude 0.25, -12 dB, has it at the peak of its band.
BRIGHTEST = (0.25 * window_of(RATE) / 4) ** 2


@dataclass(frozen=True)
class Note:
    """What is to be heard.

    Raises:
        ValueError: In one line, if a value is out of range.
    """

    # One of INSTRUMENTS.
    instrument: str
    # MIDI number, 48 to 72: 69 is A4, 440 Hz, and 1 is a semitone. Fractions are allowed.
    pitch: float
    # Root mean square of the loudest 50 ms in dB, -36 to -16; 0 dB is a root mean square of 1.
    loudness: float = -20.0
    # Seconds from the onset to full strength, 0.001 to 0.2.
    attack: float = 0.02
    # Seconds in which a struck or plucked note falls by 20 dB, and a held one after its end by 60; 0.05 to 2.
    decay: float = 0.3
    # Largest deviation of pitch in cents, 0 to 100, five and a half times a second; for those that have a vibrato.
    vibrato: float = 0.0
    # Seconds of silence before it, 0 to 0.5.
    onset: float = 0.1
    # Seconds that a held note is held, 0.1 to 0.8; of no meaning for struck and plucked ones.
    length: float = 0.5

    def __post_init__(self) -> None:
        if self.instrument not in INSTRUMENTS:
            raise ValueError(f"there is no instrument {self.instrument!r} (known: {', '.join(INSTRUMENTS)})")
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} = {getattr(self, name)}: give {low:g} to {high:g}")


RANGES: dict[str, tuple[float, float]] = {
    "pitch": (LOWEST, HIGHEST), "loudness": (QUIETEST, LOUDEST), "attack": (0.001, 0.2), "decay": (0.05, 2.0),
    "vibrato": (0.0, 100.0), "onset": (0.0, 0.5), "length": (0.1, 0.8),
}  # fmt: skip


def hertz(pitch: float) -> float:
    """The frequency of a MIDI number, equally tempered, A4 at 440 Hz."""
    return 440 * 2 ** ((pitch - 69) / 12)


def pitch_name(pitch: int) -> str:
    """``60`` is ``"C4"``."""
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}"


def parse_pitch(text: str) -> int:
    """The MIDI number of a pitch's name, with sharps or flats, or of digits: ``"C4"``, ``"Bb3"``, ``"60"``.

    Raises:
        ValueError: In one line, if it names none, or one outside the two octaves.
    """
    letter, rest = text[:1].upper(), text[1:]
    shift = {"#": 1, "b": -1}.get(rest[:1], 0)
    octave = rest[1:] if shift else rest
    if text.isascii() and text.isdigit() and len(text) < 5:
        pitch = int(text)
    elif letter in tuple("CDEFGAB") and len(octave) == 1 and octave.isascii() and octave.isdigit():
        pitch = NAMES.index(letter) + shift + 12 * (int(octave) + 1)
    else:
        raise ValueError(f"{text!r} is no pitch: give a name such as C4, F#3 or Bb3, or a MIDI number")
    if not LOWEST <= pitch <= HIGHEST:
        low, high = pitch_name(LOWEST), pitch_name(HIGHEST)
        raise ValueError(f"pitch {text} is out of range: give {low} to {high}, that is {LOWEST} to {HIGHEST}")
    return pitch


# ---- the physics
#
# Each takes the note, the time since its onset (negative before it) and random numbers, and gives a sound of any size.


def plucked(note: Note, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each period is the one before, averaged over neighbouring samples, so that high harmonics die first."""
    period = RATE / hertz(note.pitch)
    whole = int(period - 0.5)
    part = period - 0.5 - whole  # three taps delay by half a sample and this
    loss = 10 ** (-1 / (note.decay * hertz(note.pitch)))
    taps = loss * np.array([(1 - part) / 2, 0.5, part / 2])
    # The louder it is plucked, the less round the burst; a fifth of the string from its end, so without every fifth.
    burst = np.convolve(rng.uniform(-1, 1, whole + 8), np.hanning(9 - round(5 * effort(note))), "same")[:whole]
    burst = burst - burst.mean()
    sound = np.zeros(whole + 2 + SAMPLES + whole)
    sound[whole + 2 : 2 * whole + 2] = burst - np.roll(burst, whole // 5)
    for start in range(2 * whole + 2, len(sound) - whole + 1, whole):
        before = sound[start - whole - 2 : start]
        sound[start : start + whole] += taps @ np.stack([before[2:], before[1:-1], before[:-2]])
    return delayed(sound[whole + 2 : whole + 2 + SAMPLES], note.onset) * rise(note, t)


def struck(
    note: Note, rng: np.random.Generator, ratios: Sequence[float], sizes: Sequence[float], fall: float
) -> np.ndarray:
    """A sum of modes at frequencies that no string or pipe has: each dies the sooner, the higher it is."""
    r, size = np.array(ratios), np.array(sizes)
    size = size * (0.4 + 0.6 * effort(note)) ** np.maximum(0, r - 1) * (r * hertz(note.pitch) < 0.45 * RATE)
    speed = 2j * np.pi * r * hertz(note.pitch) - math.log(10) / note.decay * r**fall
    start = size * np.exp(2j * np.pi * rng.random(len(r)))
    # exp(speed t) with t = t1 + t2: coarse steps times fine ones, so that few exponentials make many.
    coarse, fine = TIME[::FINE, None] * speed, TIME[:FINE] * speed[:, None]
    return delayed(((start * np.exp(coarse)) @ np.exp(fine)).imag.ravel(), note.onset)


def bar(note: Note, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Free at both ends, struck by a mallet that is heard for some milliseconds."""
    knock = 0.3 * rng.standard_normal(SAMPLES) * 10 ** (-np.maximum(t, 0) / 0.006)
    return (struck(note, rng, (1, 2.757, 5.404, 8.933), (1, 0.5, 0.35, 0.2), 1.0) + knock) * rise(note, t)


def bell(note: Note, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every partial is two, since no bell is quite round; so they beat."""
    ratios, sizes = (0.5, 1, 1.2, 1.5, 2, 2.5, 2.67, 3, 4, 5.33), (0.12, 1, 0.35, 0.2, 0.6, 0.25, 0.25, 0.3, 0.3, 0.2)
    split = [r * (1 + d) for r in ratios for d in (-0.0008, 0.0008)]
    return struck(note, rng, split, [s * w for s in sizes for w in (0.65, 0.35)], 0.7) * rise(note, t)


def flute(note: Note, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The breath swells a little before the tone."""
    phase = phase_of(note, t)
    louder = effort(note)
    sizes = np.array([1, 0.25 + 0.35 * louder, 0.08 + 0.25 * louder, 0.03 + 0.1 * louder, 0.02, 0.01])
    tremor = 1 + 0.004 * note.vibrato * np.sin(2 * np.pi * 5.5 * t)
    breath = coloured(rng, 1200, 900)
    around = coloured(rng, 0, 60) * np.cos(phase) + 0.5 * coloured(rng, 0, 60) * np.cos(2 * phase)
    return tremor * held(note, t) * harmonics(sizes, phase) + 0.04 * held(note, t, 0.5) * (breath + 2 * around)


def brass(note: Note, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Harmonic k has the size b^(k-1), and b follows the strength of the moment."""
    strength = held(note, t)
    phase = phase_of(note, t)
    count = math.floor(0.45 * RATE / hertz(note.pitch + 1))
    b = (0.45 + 0.4 * effort(note)) * strength**0.5
    turn = np.exp(1j * phase)
    series = turn * (1 - (b * turn) ** count) / (1 - b * turn)
    return strength * series.imag + 0.02 * strength * coloured(rng, 800, 600)


def epiano(note: Note, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One oscillator bends another of its own frequency; a tine an octave and more above rings at the beginning."""
    phase, fall = phase_of(note, t), 10 ** (-np.maximum(t, 0) / note.decay)
    index = (0.6 + 1.8 * effort(note)) * 10 ** (-np.maximum(t, 0) / (0.5 * note.decay))
    tine = 0.25 * np.sin(7 * phase + rng.random()) * 10 ** (-np.maximum(t, 0) / 0.12)
    return (np.sin(phase + index * np.sin(phase)) * fall + (0.3 + 0.7 * effort(note)) * tine) * rise(note, t)


def bowed(note: Note, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stick and slip make a sawtooth, 1/k; the body rings at some frequencies, and the bow scratches."""
    wave = filtered(
        note, t, lambda k, f: 1 / k * (0.3 + resonances(f, (290, 460, 1100, 2600), (60, 80, 300, 900), (1, 1, 1, 1)))
    )
    shiver = 1 + 0.05 * coloured(rng, 0, 12)
    return held(note, t) * (shiver * wave + 0.015 * coloured(rng, 2500, 1500))


def voice(note: Note, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The throat shapes what the vocal cords give, whose harmonics fall as k^-1.3; the vowel differs a little."""
    formants = [c * rng.uniform(0.93, 1.07) for c in (730, 1090, 2440, 3400)]
    wave = filtered(
        note, t, lambda k, f: k**-1.3 * (0.01 + resonances(f, formants, (90, 110, 160, 250), (1, 0.6, 0.35, 0.2)))
    )
    return held(note, t) * (wave + 0.01 * coloured(rng, 1500, 1200))


def organ(note: Note, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A key opens a pipe of every rank, of few harmonics each; no rank is quite in tune, and wind sets them off."""
    f, phase, sound = hertz(note.pitch), phase_of(note, t), np.zeros(SAMPLES)
    for rank, drawn in {1: 1.0, 2: 0.8, 3: 0.45, 4: 0.6, 6: 0.3, 8: 0.35}.items():
        # The swell box: the softer, the less is heard of the small pipes. What is too high for the rate is left out.
        size = drawn * (0.5 + 0.5 * effort(note)) ** math.log2(rank)
        pipe = np.array([1, 0.3, 0.12]) * (rank * np.arange(1, 4) * f < 0.45 * RATE)
        detuned = rank * phase * (1 + rng.uniform(-4e-4, 4e-4)) if rank > 1 else phase
        sound += size * harmonics(pipe, detuned + 2 * np.pi * rng.random())
    chiff = 0.5 * coloured(rng, 3 * f, 400) * 10 ** (-np.maximum(t, 0) / 0.06)
    return held(note, t) * (sound + chiff)


PHYSICS: dict[str, Callable[[Note, np.ndarray, np.random.Generator], np.ndarray]] = {
    "string": plucked, "bar": bar, "bell": bell, "flute": flute, "brass": brass,
    "epiano": epiano, "bowed": bowed, "voice": voice, "organ": organ,
}  # fmt: skip
INSTRUMENTS: tuple[str, ...] = tuple(PHYSICS)
STRUCK = ("string", "bar", "bell", "epiano")  # sound as long as they sound; the others are held


def effort(note: Note) -> float:
    """How hard it is played, from 0 to 1: more than the level alone, as spectra open with it."""
    return (note.loudness - QUIETEST) / (LOUDEST - QUIETEST)


def rise(note: Note, t: np.ndarray) -> np.ndarray:
    """From 0 at the onset to 1 after the attack, along half a cosine."""
    return (1 - np.cos(np.pi * np.clip(t / note.attack, 0, 1))) / 2


def held(note: Note, t: np.ndarray, sooner: float = 1.0) -> np.ndarray:
    """The strength of a note that is held, and dies away when it is left."""
    up = (1 - np.cos(np.pi * np.clip(t / (sooner * note.attack), 0, 1))) / 2
    return up * 10 ** (-3 * np.maximum(t - note.length, 0) / note.decay)


def phase_of(note: Note, t: np.ndarray) -> np.ndarray:
    """The angle of the fundamental; the vibrato, as players do it, sets in within 0.2 s."""
    cents = note.vibrato * np.sin(2 * np.pi * 5.5 * t) * np.clip(t / 0.2, 0, 1)
    return 2 * np.pi * np.cumsum(hertz(note.pitch) * 2 ** (cents / 1200)) / RATE


def harmonics(sizes: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """A sum of sines of whole multiples of a phase, read from a table of one turn."""
    spectrum = np.zeros(2049, complex)
    spectrum[1 : len(sizes) + 1] = -2048j * sizes
    table = np.append(np.fft.irfft(spectrum, 4096), 0)
    table[-1] = table[0]
    return np.interp(phase / (2 * np.pi) % 1 * 4096, np.arange(4097), table)


def filtered(note: Note, t: np.ndarray, size: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """All harmonics below half the rate, each of a size that its number and its frequency decide."""
    k = np.arange(1, math.floor(0.45 * RATE / hertz(note.pitch + 1)) + 1)
    return harmonics(size(k, k * hertz(note.pitch)), phase_of(note, t))


def resonances(f: np.ndarray, centres: Sequence[float], widths: Sequence[float], sizes: Sequence[float]) -> np.ndarray:
    """The gain of resonators side by side; each has its size at its centre."""
    return np.sum([g / np.hypot(1, 2 * (f - c) / w) for c, w, g in zip(centres, widths, sizes)], axis=0)


def coloured(rng: np.random.Generator, centre: float, width: float) -> np.ndarray:
    """Noise of variance 1 around a frequency, with a Gaussian band."""
    f = np.fft.rfftfreq(SAMPLES, 1 / RATE)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(SAMPLES)) * np.exp(-0.5 * ((f - centre) / width) ** 2))
    return noise / noise.std()


def delayed(sound: np.ndarray, seconds: float) -> np.ndarray:
    """A sound after some silence, to the nearest sample."""
    silence = round(seconds * RATE)
    return np.concatenate([np.zeros(silence), sound])[:SAMPLES]


# ---- sounds and pictures


def render(note: Note, seed: int | Sequence[int] = 0) -> np.ndarray:
    """The sound of a note.

    Args:
        note: What is to be heard.
        seed: Of the noise in it: the pluck, the breath, the phases of modes.

    Returns:
        ``(SAMPLES,)`` float32, its loudness that of the note; below 1 throughout, 0 at both ends.
    """
    t = TIME - note.onset
    sound = PHYSICS[note.instrument](note, t, np.random.default_rng(seed)) * (t >= 0)
    sound = sound * (1 - np.cos(np.pi * np.clip((TIME[-1] - TIME) / FADE, 0, 1))) / 2
    return (sound * 10 ** ((note.loudness - loudness(sound)) / 20)).astype(np.float32)


def loudness(sound: np.ndarray) -> float:
    """Root mean square of the loudest 50 ms of a sound ``(L,)``, in dB; 0 dB is 1."""
    power = np.cumsum(np.append(0, np.asarray(sound, float) ** 2))
    return float(10 * np.log10((power[LEVEL_WINDOW:] - power[:-LEVEL_WINDOW]).max() / LEVEL_WINDOW + 1e-20))


def picture(sounds: Tensor) -> Tensor:
    """Log-mel spectrograms that keep the loudness: ``(B, SAMPLES)`` to ``(B, 1, 64, 64)`` in [-1, 1]."""
    return log_mel(sounds, RATE, BRIGHTEST)


def sound_of(
    pictures: Tensor, iterations: int = 60, momentum: float = 0.99, generator: torch.Generator | None = None
) -> Tensor:
    """The way back, ``(B, SAMPLES)``: magnitudes from bands, and phases by turns.

    Args:
        pictures: ``(B, 1, 64, 64)``.
        iterations, momentum: As for :func:`ddim_edu.data.spectrograms.griffin_lim_path`.
        generator: Of random first phases; None begins with partials that run on, and needs fewer turns.
    """
    wanted = BRIGHTEST**0.5 * magnitude(pictures, rate=RATE)
    start = running_phases(wanted) if generator is None else None
    return griffin_lim(wanted, iterations, momentum, generator, start)


# ---- the data set

TRAIN, HELDOUT = 20_000, 2_000
PARTS = {"train": 0, "heldout": 1}
PITCHES = range(LOWEST, HIGHEST + 1)


def draw_note(index: int, part: str = "train") -> Note:
    """Note ``index`` of a part: instruments and pitches take turns, the rest is drawn evenly from a range.

    Loudness: all of it. Onset: 0.05 to 0.3 s. Struck and plucked: attack 2 to 8 ms, decay (20 dB) 0.2 to 0.8 s. Held:
    attack 20 to 120 ms, decay (60 dB) 0.1 to 0.3 s, length 0.3 to 0.6 s; vibrato 0 to 40 cents, the brass half of it,
    the organ none.

    Raises:
        ValueError: If there is no such part, or the index is negative.
    """
    if part not in PARTS or index < 0:
        raise ValueError(f"note {index} of {part!r}: give a number from 0 and one of {', '.join(PARTS)}")
    instrument, step = divmod(index % (len(INSTRUMENTS) * len(PITCHES)), len(PITCHES))
    name = INSTRUMENTS[instrument]
    u = np.random.default_rng([PARTS[part], index]).random(6)
    short = name in STRUCK
    between = lambda i, low, high: float(low + (high - low) * u[i])  # noqa: E731
    return Note(
        name,
        LOWEST + step,
        loudness=between(0, QUIETEST, LOUDEST),
        attack=between(1, 0.002, 0.008) if short else between(1, 0.02, 0.12),
        decay=between(2, 0.2, 0.8) if short else between(2, 0.1, 0.3),
        vibrato=0.0 if short or name == "organ" else between(3, 0, 20 if name == "brass" else 40),
        onset=between(4, 0.05, 0.3),
        length=between(5, 0.3, 0.6),
    )


def label_of(note: Note) -> int:
    """The class of a note: ``instrument * 25 + semitone``."""
    return INSTRUMENTS.index(note.instrument) * len(PITCHES) + round(note.pitch) - LOWEST


CLASSES: tuple[str, ...] = tuple(f"{name} {pitch_name(pitch)}" for name in INSTRUMENTS for pitch in PITCHES)
