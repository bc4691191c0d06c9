"""Tunes as words, and notes joined in time."""

from fractions import Fraction

import pytest
import torch

from ddim_edu.apps.melody import aligned, join, midi_of, parse_tune
from ddim_edu.commands.apply import main
from ddim_edu.data.notes import pitch_name
from ddim_edu.data.spectrograms import read_wav
from ddim_edu.measuring.notes import hertz_to_midi, pitch_of, yin

RATE = 16_000


def numbers(text):
    return [tone.midi for tone in parse_tune(text)]


def test_names_against_the_frequencies_of_a_piano():
    """Scientific pitch: A0 27.5 Hz is the lowest key, C8 4186 Hz the highest, C4 261.6 Hz in the middle."""
    hertz = {"A0": 27.5, "C4": 261.6256, "E4": 329.6276, "Bb3": 233.0819, "F#4": 369.9944, "A4": 440, "C8": 4186.009}
    for name, frequency in hertz.items():
        assert midi_of(name) == round(hertz_to_midi(frequency).item(), 3), name
    assert [midi_of(pitch_name(midi)) for midi in range(128)] == list(range(128))
    assert midi_of("C-1") == 0 and midi_of("G9") == 127


@pytest.mark.parametrize(
    "text, midi",
    [
        ("C4 E4 G4", [60, 64, 67]),
        ("c4,e4 | g4|c5", [60, 64, 67, 72]),
        ("Cb4 B3 B#3 C4", [59, 59, 60, 60]),
        ("F##4 Gbb4 F♯4 G♭4", [67, 65, 66, 66]),
        ("bb3 Bb3 b3", [58, 58, 59]),
        ("R C4 r:2", [None, 60, None]),
        ("  C4\nD4\t", [60, 62]),
    ],
)
def test_tunes(text, midi):
    assert numbers(text) == midi


def test_durations():
    tones = parse_tune("C4 D4:2 E4:1/2 F4:1.5 R:3/4")
    assert [tone.beats for tone in tones] == [1, 2, Fraction(1, 2), Fraction(3, 2), Fraction(3, 4)]


@pytest.mark.parametrize(
    "text, said",
    [
        ("C4 D4 H4 E4", "note 3 of 4: 'H4' has no letter from A to G (H in German is B)"),
        ("C4 X4", "note 2 of 2: 'X4' has no letter"),
        ("C4 D", "note 2 of 2: 'D' has no octave"),
        ("4C", "note 1 of 1: '4C' is no note"),
        ("C4 E4:0", "note 2 of 2: 'E4:0' lasts 0 beats"),
        ("C4:", "note 1 of 1: 'C4:' lasts '' beats"),
        ("C4:1/0", "note 1 of 1: 'C4:1/0' lasts '1/0' beats"),
        ("C4:-1", "lasts '-1' beats"),
        ("C4:nan", "lasts 'nan' beats"),
        ("C4:65", "at most 64"),
        ("C99999999999", "out of range"),
        ("C4#", "is no note"),
        ("R R", "there is no note"),
        ("", "there is no note"),
        ("C4 " * 1001, "at most 1,000"),
    ],
)
def test_the_place_of_an_error_is_named(text, said):
    with pytest.raises(ValueError) as error:
        parse_tune(text)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_range():
    assert numbers("C3 C5") == [48, 72] and len(parse_tune("C3 C5", 48, 72)) == 2
    with pytest.raises(ValueError, match="note 2 of 2: 'B2' is out of range: give C3 to C5"):
        parse_tune("C3 B2", 48, 72)


def tone(midi, n=RATE, lead=0):
    t = torch.arange(n).double() / RATE
    sound = 0.3 * torch.sin(2 * torch.pi * 440 * 2 ** ((midi - 69) / 12) * t)
    return torch.cat([torch.zeros(lead).double(), sound[: n - lead]])


def test_notes_lie_on_their_beats():
    """Pulses are found where the beats are, rests and uneven durations included, and the lead is laid before them."""
    tones, lead = parse_tune("C4 R:1/2 D4:2 E4:1/2 F4"), 800
    pulses = torch.zeros(4, RATE)
    pulses[:, lead] = 1
    tune = join(pulses, tones, 120, RATE, lead / RATE)
    beats = torch.tensor([0, 1.5, 3.5, 4.0]) * 0.5  # seconds
    assert (tune == 1).nonzero()[:, 0].tolist() == [int(b * RATE) + lead for b in beats]


def test_a_tune_is_heard_as_written():
    text = "C4 C4 G4 G4 A4 A4 G4:2"  # two bars that everybody knows
    tones = parse_tune(text)
    tune = join(torch.stack([tone(t.midi) for t in tones]), tones, 150, RATE)
    hertz, _, _ = yin(tune[None].clone())
    seconds = torch.arange(hertz.shape[1]) * 512 / RATE
    starts = torch.tensor([0.0, 1, 2, 3, 4, 5, 6]) * 0.4
    for t, start in zip(tones, starts):
        inside = (seconds > start + 0.05) & (seconds < start + 0.25)
        assert (hertz_to_midi(hertz[0, inside]) - t.midi).abs().max() < 0.05


def test_no_clicks_where_notes_meet():
    """No step between samples is larger than within a note, twice where two overlap."""
    tones = parse_tune("C4 G4:1/2 E4")
    sounds = torch.stack([tone(t.midi) for t in tones])
    tune = join(sounds, tones, 100, RATE)
    assert tune.diff().abs().max() < 2.1 * sounds.diff(dim=1).abs().max()
    assert tune[-1] == 0


def test_short_notes_leave_silence_and_wrong_numbers_are_said():
    tones = parse_tune("C4:4 D4")
    tune = join(torch.stack([tone(60), tone(62)]), tones, 60, RATE)
    assert tune[RATE + 10 : 4 * RATE].abs().max() == 0 and tune[4 * RATE :].abs().max() > 0.2
    with pytest.raises(ValueError, match="1 sounds for 2 notes"):
        join(torch.zeros(1, 10), tones, 60, RATE)
    with pytest.raises(ValueError, match="faster"):
        join(torch.zeros(2, 10), tones, 0.1, RATE)


def test_notes_are_brought_to_one_onset():
    late, early = tone(60, lead=4000), tone(60, lead=100)
    sounds = torch.stack([late, early, torch.zeros(RATE).double()])
    moved = aligned(sounds, RATE, 0.05)
    begin = [(sound.abs() > 1e-3).nonzero()[0].item() for sound in moved[:2]]
    assert all(abs(b - 800) < 60 for b in begin) and moved[2].abs().max() == 0


@pytest.mark.parametrize("instrument", ["flute", "string"])
def test_the_command_plays_the_formulas(tmp_path, capsys, instrument):
    """Heard again note by note, in the wav that it wrote."""
    out = tmp_path / "tune.wav"
    words = ["melody", "C4 E4 G4:2", "--truth", "--instrument", instrument, "--tempo", "60", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"3 notes on the {instrument}" in said and "by formula" in said
    sound = read_wav(out, rate=RATE)
    assert not sound.notes  # it has the rate that it should
    parts = torch.stack([sound.sound[i * RATE : (i + 1) * RATE] for i in range(3)])
    assert (pitch_of(parts).midi - torch.tensor([60.0, 64, 67])).abs().max() < 0.1
    before = out.read_bytes()
    assert main(words) == 0 and out.read_bytes() == before


@pytest.mark.parametrize(
    "words, said",
    [
        (["C4 H4", "--truth"], "note 2 of 2: 'H4' has no letter"),
        (["C4 C6", "--truth"], "note 2 of 2: 'C6' is out of range: give C3 to C5"),
        ([], "which tune?"),
        (["C4", "--instrument", "flut", "--truth"], "there is no instrument 'flut'; did you mean flute?"),
        (["C4", "--out", "x.mp3", "--truth"], "x.mp3 does not end like a sound: use .wav"),
        (["C4", "--tempo", "0", "--truth"], "tempo"),
        (["C4", "--loudness", "3", "--truth"], "loudness"),
        (["C4", "--model", "digits"], "makes pictures"),
        (["C4", "--model", "spoken-digits"], "plays no notes"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(["melody", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
