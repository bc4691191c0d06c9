"""The judges of notes against sounds whose pitch, level and onset are known because the test made them."""

import numpy as np
import pytest
import torch

from ddim_edu.data import notes as data
from ddim_edu.measuring import notes

RATE = 16_000
PITCHES = np.arange(48, 73)


def harmonic(midi, weights, rate=RATE, seconds=1.0, phases=None):
    """A sum of harmonics, by numpy alone."""
    t = np.arange(int(rate * seconds)) / rate
    f = 440.0 * 2 ** ((midi - 69) / 12)
    phases = np.zeros(len(weights)) if phases is None else phases
    parts = [
        w * np.sin(2 * np.pi * f * k * t + p) for k, (w, p) in enumerate(zip(weights, phases), 1) if f * k < rate / 2
    ]
    return torch.from_numpy(np.sum(parts, 0))


def off(sounds, asked, rate=RATE):
    return notes.cents(notes.pitch_of(torch.stack(sounds), rate).midi, torch.as_tensor(asked, dtype=torch.float64))


def test_midi_and_hertz():
    assert notes.midi_to_hertz(69) == 440 and notes.midi_to_hertz(57) == 220
    assert notes.midi_to_hertz(60).item() == pytest.approx(261.6256, abs=1e-4)  # middle C, in every table
    back = notes.hertz_to_midi(notes.midi_to_hertz(torch.arange(48.0, 73)))
    assert torch.allclose(back, torch.arange(48.0, 73, dtype=torch.float64), atol=1e-12)


def test_difference_function_is_the_sum_that_defines_it():
    x = np.random.default_rng(0).normal(size=(2, 90))
    by_hand = np.array([[sum((row[j] - row[j + lag]) ** 2 for j in range(60)) for lag in range(31)] for row in x])
    found = notes.difference_function(torch.from_numpy(x), 30)
    assert found.shape == (2, 31) and np.allclose(found, by_hand, atol=1e-9)
    running = np.array([[1] + [row[lag] / row[1 : lag + 1].mean() for lag in range(1, 31)] for row in by_hand])
    assert np.allclose(notes.normalised_difference(found), running, atol=1e-9)
    assert (notes.normalised_difference(torch.zeros(1, 5)) == 1).all()


def test_the_first_dip_and_not_the_deepest():
    d = torch.tensor([1, 0.9, 0.5, 0.10, 0.4, 0.9, 0.4, 0.05, 0.4]).double()
    assert notes.first_dip(d, 1, 0.15) == 3
    assert notes.first_dip(d, 4, 0.15) == 7  # the shortest period that is allowed
    assert notes.first_dip(d, 1, 0.01) == 7  # none below the threshold: the lowest
    assert notes.first_dip(d, 1, 0.07) == 7


def test_a_parabola_is_found_exactly():
    at = torch.arange(9).double()
    for true in (3.6, 4.0, 4.49):
        assert notes.between_samples((at - true) ** 2, torch.tensor(4)).item() == pytest.approx(true - 4, abs=1e-12)
    assert notes.between_samples(torch.zeros(5).double(), torch.tensor(2)) == 0


@pytest.mark.parametrize(
    "weights, within",
    [([1], 3), ([1, 0.5, 0.25, 0.125], 3), (1 / np.arange(1, 12), 6), ([0, 1, 1, 1], 3), ([0.02, 1, 0.5, 0.7], 3)],
    ids=["sine", "four harmonics", "sawtooth", "missing fundamental", "weak fundamental"],
)
def test_pitch_of_harmonic_sounds(weights, within):
    """In cents, at every pitch of the two octaves and a quarter tone above: an octave error would be 1,200."""
    asked = np.concatenate([PITCHES, PITCHES[:-1] + 0.5])
    rng = np.random.default_rng(1)
    sounds = [harmonic(m, weights, phases=rng.uniform(0, 6.28, len(weights))) for m in asked]
    assert off(sounds, asked).abs().max() < within
    assert notes.pitch_of(torch.stack(sounds)).aperiodicity.max() < 0.05


def test_another_rate_is_not_another_pitch():
    """The same tone in 22,050 samples a second; and with the rate forgotten it is a fourth or more off."""
    sounds = [harmonic(m, [1, 0.5, 0.3], rate=22_050) for m in PITCHES]
    assert off(sounds, PITCHES, 22_050).abs().max() < 3
    slip = 1200 * np.log2(16_000 / 22_050)
    assert (off(sounds, PITCHES) - slip).abs().max() < 5


def test_vibrato_noise_and_an_offset():
    """Half a semitone of vibrato averages out to a few cents; noise 20 dB below and an offset change little."""
    t = np.arange(RATE) / RATE
    phase = 2 * np.pi * 220 * t + 220 * (2 ** (0.5 / 12) - 1) / 5 * np.sin(2 * np.pi * 5 * t)
    assert off([torch.from_numpy(np.sin(phase))], [57]).abs().max() < 20
    clean = harmonic(57, [1, 0.5, 0.3])
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=RATE)) * clean.std() * 0.1
    assert off([clean + noise, clean + 2], [57, 57]).abs().max() < 5


def test_a_bell_has_no_period():
    """Partials that are no multiples of one frequency: YIN names some pitch, and its aperiodicity warns."""
    ratios = (1, 2.76, 5.40, 8.93)  # of a free bar
    t, f = np.arange(RATE) / RATE, 220.0
    bar = torch.from_numpy(sum(np.sin(2 * np.pi * f * r * t) / r for r in ratios))
    found = notes.pitch_of(bar[None])
    assert found.aperiodicity > 0.1 > 10 * notes.pitch_of(harmonic(57, [1, 0.5])[None]).aperiodicity
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(1, RATE)))
    assert notes.pitch_of(noise).aperiodicity > 0.5


def test_silence_and_wrong_shapes():
    silence = torch.zeros(2, RATE)
    assert notes.pitch_of(silence).midi.isnan().all() and notes.onset_of(silence).isnan().all()
    assert (notes.level_of(silence) == -torch.inf).all()
    for wrong in (torch.zeros(RATE), torch.zeros(1, 500)):
        with pytest.raises(ValueError, match="give"):
            notes.pitch_of(wrong)


def test_only_the_strong_part_of_a_note_is_heard():
    """A struck note that dies out into hum of another pitch."""
    t = np.arange(RATE) / RATE
    note = harmonic(60, [1, 0.5]) * torch.from_numpy(np.exp(-8 * t)) + 0.003 * harmonic(50, [1, 1, 1])
    assert off([note], [60]).abs().max() < 5


@pytest.mark.parametrize("level", [-40.0, -20.0, -3.0])
def test_level_of_a_sine(level):
    """A sine of amplitude a has mean square a^2/2; a note of 100 ms in a second of silence is as loud as a long one."""
    amplitude = 2**0.5 * 10 ** (level / 20)
    long = amplitude * harmonic(69, [1])
    short = torch.zeros(RATE, dtype=torch.float64)
    short[4000:5600] = long[:1600]
    assert notes.level_of(torch.stack([long, short])).tolist() == pytest.approx([level] * 2, abs=0.05)
    assert notes.level_of(long[None, ::2], RATE // 2).item() == pytest.approx(level, abs=0.05)


@pytest.mark.parametrize("begin", [0.0, 0.05, 0.2])
def test_onset_of_notes_that_begin_at_once(begin):
    """Within three milliseconds, whatever the level and the rate; a slow attack is late by what the text says."""
    for rate in (8000, RATE):
        note = torch.zeros(rate)
        first = int(begin * rate)
        note[first:] = harmonic(69, [1, 0.5], rate)[: rate - first].float()
        found = notes.onset_of(torch.stack([note, 0.01 * note]), rate)
        assert (found - begin).abs().max() < 0.003
    ramp = torch.from_numpy(np.clip((np.arange(RATE) / RATE - begin) / 0.1, 0, 1)) * harmonic(69, [1])
    # 30 dB below the loudest an attack of 0.1 s is at its 32nd part
    assert begin <= notes.onset_of(ramp[None]).item() < begin + 0.1 / 31.6 + 0.004


def test_true_notes_of_all_instruments():
    """Every second pitch on each of nine instruments: what is known of a note is what the judges hear.

    Pitch within 15 cents, vibrato included; of the bell, whose partials have two octaves below what is asked for in
    common, up to octaves. Level exactly. The onset within 3 ms of a struck note, and late by half its attack of a held
    one.
    """
    every = [data.Note(name, pitch, -22, onset=0.2) for name in data.INSTRUMENTS for pitch in range(49, 73, 4)]
    sounds = torch.from_numpy(np.stack([data.render(note, i) for i, note in enumerate(every)]))
    found = notes.pitch_of(sounds)
    cents = notes.cents(found.midi, torch.tensor([note.pitch for note in every]).double())
    bell = torch.tensor([note.instrument == "bell" for note in every])
    assert cents[~bell].abs().max() < 15
    assert notes.fold(cents[bell]).abs().median() < 50 and cents[bell].abs().max() > 1100
    assert found.aperiodicity[bell].median() > 3 * found.aperiodicity[~bell].median()
    assert (notes.level_of(sounds) + 22).abs().max() < 0.01
    late = notes.onset_of(sounds) - 0.2
    assert late.min() > -0.003 and late.max() < 0.01


def test_folding_forgets_octaves_and_nothing_else():
    given = torch.tensor([0.0, 1200, -1190, 700, -2500, 30]).double()
    assert notes.fold(given).tolist() == [0, 0, 10, -500, -100, 30]
