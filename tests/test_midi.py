"""Tunes from MIDI files. The files are written here byte by byte, after the Standard MIDI Files Specification 1.0."""

from __future__ import annotations

import struct
import sys
import time

import pytest
import torch

from ddim_edu.apps.midi import MOST_BYTES, read_tune
from ddim_edu.commands.apply import main
from ddim_edu.data.spectrograms import read_wav
from ddim_edu.measuring.notes import pitch_of

RATE = 16_000
BEAT = 96  # ticks


def number(value: int) -> bytes:
    """A variable-length quantity: seven bits a byte, the highest first, the top bit set on all but the last."""
    parts = [value & 127]
    while value := value >> 7:
        parts.append(value & 127 | 128)
    return bytes(reversed(parts))


def test_the_numbers_of_the_specification():
    for value, text in (
        (0, "00"),
        (0x40, "40"),
        (0x7F, "7f"),
        (0x80, "81 00"),
        (0x2000, "c0 00"),
        (0x1FFFFF, "ff ff 7f"),
    ):
        assert number(value) == bytes.fromhex(text)


def track(*events: tuple[int, str | bytes], ends: bool = True) -> bytes:
    """A track: ticks since the event before, and the event in hexadecimal."""
    body = b"".join(number(d) + (bytes.fromhex(e) if isinstance(e, str) else e) for d, e in events)
    body += b"\x00\xff\x2f\x00" if ends else b""
    return b"MTrk" + struct.pack(">I", len(body)) + body


def midi(*tracks: bytes, form: int | None = None, per_beat: int = BEAT) -> bytes:
    form = int(len(tracks) > 1) if form is None else form
    return b"MThd" + struct.pack(">IHHh", 6, form, len(tracks), per_beat) + b"".join(tracks)


def notes(*midis: int, length: int = BEAT, channel: int = 0) -> list[tuple[int, str]]:
    """Notes of a length, one after the other."""
    on_off = [[(0, f"{144 + channel:02x} {m:02x} 40"), (length, f"{128 + channel:02x} {m:02x} 00")] for m in midis]
    return [event for pair in on_off for event in pair]


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Writes a file ``tune.mid`` into the working folder; skips without mido."""
    pytest.importorskip("mido", reason="the extra midi is not installed")
    monkeypatch.chdir(tmp_path)

    def save(content: bytes) -> str:
        (tmp_path / "tune.mid").write_bytes(content)
        return "tune.mid"

    return save


WHOLE = bytes.fromhex("""
4d 54 68 64 00 00 00 06 00 00 00 01 00 60
4d 54 72 6b 00 00 00 2e
00 ff 03 01 41
00 ff 51 03 09 27 c0
30 90 3c 40
60 3c 00
00 40 40
60 80 40 00
60 90 43 40
81 40 80 43 00
00 b0 40 7f
00 c0 05
00 ff 2f 00
""")  # named "A", 100 beats a minute; half a beat of silence; C4, E4 (both by running status), a rest, G4 of two beats


def test_a_file_written_by_hand(saved):
    tune = read_tune(saved(WHOLE))
    assert [tuple(tone) for tone in tune.tones] == [(60, 1), (64, 1), (None, 1), (67, 2)]
    assert tune.tempo == pytest.approx(100)


def test_padding_after_the_tracks_is_no_fault(saved):
    assert read_tune(saved(WHOLE + bytes(5) + b"\x1a")) == read_tune(saved(WHOLE))


def of(saved, content, **how):
    return [tuple(tone) for tone in read_tune(saved(content), **how).tones]


def test_how_notes_are_played_is_not_a_rest(saved):
    """Staccato by less than an eighth of a beat, and legato that reaches up to a quarter into the next."""
    short = [(0, "90 3c 40"), (86, "80 3c 00"), (10, "90 40 40"), (84, "80 40 00"), (12, "90 41 40"), (96, "80 41 00")]
    assert of(saved, midi(track(*short))) == [(60, 1), (64, 0.875), (None, 0.125), (65, 1)]
    long = [(0, "90 3c 40"), (96, "90 40 40"), (24, "80 3c 00"), (72, "80 40 00")]
    assert of(saved, midi(track(*long))) == [(60, 1), (64, 1)]


def test_a_note_that_never_ends_lasts_to_the_next_or_to_the_end(saved):
    same = [(0, "90 3c 40"), (96, "90 3c 40"), (0, "80 3c 00"), (96, "ff 2f 00")]
    assert of(saved, midi(track(*same, ends=False))) == [(60, 1), (60, 1)]


def test_a_change_of_tempo_is_kept_in_the_lengths(saved):
    """Half the speed in the middle of the second note, written in a track of its own."""
    tempos = track((0, "ff 51 03 07 a1 20"), (144, "ff 51 03 0f 42 40"))
    tune = read_tune(saved(midi(tempos, track(*notes(60, 62, 64)))))
    assert tune.tempo == pytest.approx(120)
    assert [tuple(tone) for tone in tune.tones] == [(60, 1), (62, 1.5), (64, 2)]


def test_parts_are_named_and_chosen(saved):
    melody = track((0, b"\xff\x03\x06Melody"), *notes(60, 62))
    bass = track(*notes(48, channel=1), *notes(50, channel=2))
    drums = track(*notes(40, 40, channel=9))
    content = midi(track(), melody, bass, drums)
    with pytest.raises(ValueError) as error:
        of(saved, content)
    assert str(error.value) == (
        "tune.mid: it has 3 parts, name one with --part (1: track 2 'Melody', 2 notes; "
        "2: track 3, channel 2, 1 notes; 3: track 3, channel 3, 1 notes)"
    )
    assert [of(saved, content, part=i) for i in (1, 2, 3)] == [[(60, 1), (62, 1)], [(48, 1)], [(50, 1)]]
    with pytest.raises(ValueError, match="it has 3 parts"):
        of(saved, content, part=4)
    with pytest.raises(ValueError, match="it has one part, name one with --part"):
        of(saved, midi(melody), part=2)


def test_pitches_are_moved(saved):
    content = midi(track(*notes(60, 76, 74)))
    with pytest.raises(ValueError) as error:
        of(saved, content, lowest=48, highest=72)
    assert str(error.value) == (
        "tune.mid: note 2 of 3, E5 at beat 2, is out of range: give C3 to C5 (--transpose -12 brings all of it there)"
    )
    assert of(saved, content, shift=-12, lowest=48, highest=72) == [(48, 1), (64, 1), (62, 1)]
    with pytest.raises(ValueError, match="--transpose -12 brings"):
        of(saved, content, shift=24, lowest=48, highest=72)
    with pytest.raises(ValueError, match="--transpose -5 brings"):
        of(saved, midi(track(*notes(54, 77))), lowest=48, highest=72)
    with pytest.raises(ValueError, match="its notes span more than that"):
        of(saved, midi(track(*notes(48, 90))), lowest=48, highest=72)


CHORD = [(0, "90 3c 40"), (0, "90 40 40"), (96, "80 3c 00"), (0, "80 40 00")]
DRONE = [(0, "90 3c 40"), (96, "90 40 40"), (96, "80 40 00"), (0, "80 3c 00")]
BAD = {
    "no MIDI": (b"RIFF" + bytes(60), "it is no MIDI file"),
    "empty": (b"", "it is no MIDI file"),
    "header alone": (WHOLE[:10], "the MIDI file is cut off"),
    "cut": (WHOLE[:-9], "the MIDI file is cut off"),
    "a track that says too little": (WHOLE[:21] + b"\x10" + WHOLE[22:], "30 bytes stand after its last track"),
    "large": (WHOLE + bytes(MOST_BYTES), "more than 1,048,576 bytes"),
    "type 2": (midi(track(*notes(60)), form=2), "it is of type 2, whose tracks are tunes of their own"),
    "type 7": (midi(track(*notes(60)), form=7), "it is of type 7"),
    "frames": (midi(track(*notes(60)), per_beat=-25 * 256 + 40), "it counts in frames of film"),
    "no ticks": (midi(track(*notes(60)), per_beat=0), "it counts in frames of film"),
    "no notes": (midi(track()), "there is no note in it"),
    "no tracks": (midi(), "there is no note in it"),
    "drums alone": (midi(track(*notes(60, channel=9))), "there is no note in it (drums"),
    "chord": (midi(track(*notes(60), *CHORD)), "C4 and E4 sound together at beat 2"),
    "drone": (midi(track(*DRONE)), "C4 and E4 sound together at beat 2"),
    "out of range": (midi(track(*notes(60, 100, 20))), "note 2 of 3, E7 at beat 2, is out of range"),
    "many notes": (midi(track(*notes(*[60] * 1001, length=10))), "a tune of 1,001 notes: give at most 1,000"),
    "no time": (midi(track(*notes(60, length=0))), "note 1 of 1: C4 lasts 0 beats"),
    "long note": (midi(track(*notes(60, length=65 * BEAT))), "note 1 of 1: C4 lasts 65 beats"),
    "long rest": (
        midi(track(*notes(60), (65 * BEAT, "90 3c 40"), (96, "80 3c 00"))),
        "note 1 of 2: a rest after it lasts 65 beats",
    ),
    "tempo 0": (midi(track((0, "ff 51 03 00 00 00"), *notes(60))), "the tempo at beat 1 is"),
    "slow": (midi(track(*notes(60), (0, "ff 51 03 ff ff ff"))), "the tempo at beat 2 is 3.576 beats a minute"),
    "data byte": (midi(track((0, "90 c0 40"))), "it is no MIDI file that can be read"),
    "running status of nothing": (midi(track((0, "3c 40"))), "it is no MIDI file that can be read"),
    "key signature": (midi(track((0, "ff 59 02 70 05"), *notes(60))), "it is no MIDI file that can be read"),
    "short tempo": (midi(track((0, "ff 51 01 00"), *notes(60))), "MIDI file"),
    "a pause of ages": (midi(track((0, "90 3c 40"), (2**70, "80 3c 00"))), "it is no MIDI file that can be read"),
    "a number without end": (midi(track((0, b"\xff" * 9000))), "it is no MIDI file"),
    "a message that claims a gigabyte": (midi(track((0, b"\xf0" + number(2**30)))), "it is no MIDI file that can be"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_strangers_file_is_one_line(saved, capsys, name):
    content, said = BAD[name]
    saved(content)
    began = time.process_time()
    assert main(["melody", "tune.mid", "--truth", "--out", "tune.wav"]) == 2
    assert time.process_time() - began < 10
    error = capsys.readouterr().err
    assert said in error and "tune.mid: " in error and error.count("\n") == 1 and len(error) < 300


def test_every_cut_and_every_changed_byte_is_a_tune_or_one_line(saved):
    for i in range(len(WHOLE)):
        for content in (WHOLE[:i], WHOLE[:i] + bytes([WHOLE[i] ^ 0x55]) + WHOLE[i + 1 :]):
            try:
                assert read_tune(saved(content)).tones
            except ValueError as error:
                assert "\n" not in str(error) and str(error).startswith("tune.mid: ")


def test_the_command_plays_a_file(saved, capsys, tmp_path):
    """Heard again: a C4 of a beat, E4, a rest and G4, at the file's tempo, and twice as fast an octave lower."""
    words = ["melody", saved(WHOLE), "--truth", "--instrument", "flute", "--out", "tune.wav"]
    for more, beat, down in (([], 0.6, 0), (["--tempo", "200", "--transpose", "-12"], 0.3, 12)):
        assert main([*words, *more]) == 0
        assert "3 notes on the flute" in capsys.readouterr().out
        sound = read_wav(tmp_path / "tune.wav", rate=RATE).sound
        assert len(sound) / RATE == pytest.approx(5 * beat + 0.08, abs=0.01)
        parts = [sound[round((b * beat + 0.05) * RATE) :][: round(beat * RATE)] for b in (0, 1, 3)]
        heard = pitch_of(torch.stack(parts)).midi
        assert (heard - torch.tensor([60.0, 64, 67]) + down).abs().max() < 0.2
        rest = sound[round((2.2 * beat + 0.05) * RATE) : round((2.9 * beat + 0.05) * RATE)]
        assert rest.square().mean() < 1e-3 * sound.square().mean()


@pytest.mark.parametrize(
    "words, said",
    [
        (["none.mid"], "none.mid"),
        (["C4", "--part", "1"], "--part is of a MIDI file"),
        (["tune.mid", "--part", "0"], "part"),
        (["tune.mid", "--part", "2"], "it has one part"),
        (["tune.mid", "--transpose", "200"], "transpose"),
        (["tune.mid", "--transpose", "12"], "out of range: give C3 to C5 (--transpose 0 brings"),
        (["C4 E4", "--transpose", "12"], "note 2 of 2: 'E4' is out of range: give C2 to C4"),
        (["tune.mid", "--tempo", "1"], "tempo"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(saved, capsys, words, said):
    saved(WHOLE)
    assert main(["melody", *words, "--truth", "--out", "tune.wav"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_without_mido_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mido", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tune.mid").write_bytes(WHOLE)
    assert main(["melody", "tune.mid", "--truth"]) == 2
    error = capsys.readouterr().err
    assert 'pip install "ddim_edu[midi]"' in error and error.count("\n") == 1
