"""Wav files as the world has them: what their headers say, and where in a recording the sound is."""

import io
import struct
import time
import tracemalloc

import numpy as np
import pytest
import torch
from errors import one_line
from sound_files import noise, tone, wav

from ddim_edu.data.spectrograms import LEAD, LENGTH, RATE, pad_or_trim, read_wav

# ---- what headers say


def riff(*chunks, head=b"RIFF", order="<", whole=None):
    """A file of chunks, ``(name, content)`` or ``(name, content, length that it claims)``; padded where odd."""
    body = b"WAVE"
    for name, content, *length in chunks:
        body += name + struct.pack(f"{order}I", length[0] if length else len(content)) + content
        body += b"\0" * (len(content) % 2)
    return io.BytesIO(head + struct.pack(f"{order}I", len(body) if whole is None else whole) + body)


def form(coding=1, channels=1, rate=RATE, bits=16, step=None, order="<", more=b""):
    step = channels * bits // 8 if step is None else step
    return b"fmt ", struct.pack(f"{order}HHIIHH", coding, channels, rate, rate * step, step, bits) + more


def whole_numbers(values, width, order="little"):
    return b"".join(round(v * 2 ** (8 * width - 1)).to_bytes(width, order, signed=True) for v in values)


WANTED = [0, 0.5, -0.5, 0.25, -1, 0.125]


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("order, head", [("<", b"RIFF"), (">", b"RIFX")])
@pytest.mark.parametrize("extensible", [False, True])
def test_whole_numbers_of_every_form(width, order, head, extensible):
    data = b"data", whole_numbers(WANTED, width, "little" if order == "<" else "big")
    about = form(bits=8 * width, order=order)
    if extensible:
        more = struct.pack(f"{order}HHIIHH8s", 22, 8 * width, 4, 1, 0, 16, bytes.fromhex("800000aa00389b71"))
        about = form(0xFFFE, bits=8 * width, order=order, more=more)
    found = read_wav(riff(about, data, head=head, order=order), name="a.wav")
    np.testing.assert_allclose(found.sound, WANTED, atol=1e-6)


def test_chunks_beside_the_sound():
    """Before it and after it, of odd length, padded or not; lengths that a program never came back to write."""
    data = b"data", whole_numbers(WANTED, 2)
    odd = b"LIST", b"INFOx"
    for file in (
        riff((b"JUNK", bytes(28)), odd, form(), (b"fact", b"1234"), data, (b"id3 ", b"xyz")),
        riff(form(), (b"data", data[1], 0xFFFFFFFF), whole=0xFFFFFFFF),
        riff(form(), (b"data", data[1], 0), whole=0),
        riff(form(), (b"data", data[1], len(data[1]) + 36)),
        riff(form(), (b"data", data[1] + b"\x7f")),
        riff((b"ds64", bytes(28)), form(), (b"data", data[1], 0xFFFFFFFF), head=b"RF64", whole=0xFFFFFFFF),
    ):
        np.testing.assert_allclose(read_wav(file, name="a.wav").sound, WANTED)
    content = riff(odd, form(), data).getvalue().replace(b"INFOx\0", b"INFOx")
    np.testing.assert_allclose(read_wav(io.BytesIO(content), name="a.wav").sound, WANTED)


def test_many_channels(tmp_path):
    """5.1, where one speaker's sound is a sixth of the mean, and channels that cancel: none of them is silence."""
    sound = tone(300, 0.25).numpy()
    surround = np.zeros((2000, 6), np.float32)
    surround[:, 2] = sound
    found = read_wav(wav(tmp_path / "a.wav", surround))
    np.testing.assert_allclose(found.sound, sound / 6, atol=1e-6)
    assert found.notes == ("6 channels mixed down to one",)
    for right in (-1.0, -0.9):
        both = np.stack([sound, right * sound], 1).astype(np.float32)
        found = read_wav(wav(tmp_path / "b.wav", both))
        np.testing.assert_allclose(found.sound, sound, atol=1e-6)
        assert found.notes == ("2 channels that would cancel each other: the loudest was taken",)
        pad_or_trim(found)


@pytest.mark.parametrize("rate", [1000, 8000, 22_050, 96_000, 192_000, 767_999])
def test_rates_of_recorders(tmp_path, rate):
    began = time.perf_counter()
    found = read_wav(wav(tmp_path / "a.wav", tone(200, 0.5, rate).float().numpy(), rate))
    inner = slice(800, 3200)
    assert (found.sound[inner] - tone(200)[inner]).abs().max() < 0.01
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    "file, words",
    [
        (riff(form(rate=200_000_003), (b"data", bytes(100))), "200,000,003 samples a second"),
        (riff(form(rate=0), (b"data", bytes(100))), "0 samples a second"),
        (riff(form(rate=999), (b"data", bytes(100))), "fewer than 1,000"),
        (riff(form(), (b"data", b"")), "0 samples long"),
        (riff(form(), (b"data", b"1")), "0 samples long"),
        (riff(form(), (b"data", bytes(100), 7_000_000)), "cut short: 7,000,000 bytes"),
        (riff(form(channels=0), (b"data", bytes(100))), "16 bits in 0 bytes for 0 channels"),
        (riff(form(channels=65535, step=2), (b"data", bytes(100))), "65535 channels"),
        (riff(form(bits=0), (b"data", bytes(100))), "0 bits"),
        (riff(form(bits=16, step=5), (b"data", bytes(100))), "in 5 bytes"),
        (riff(form(coding=6, bits=8), (b"data", bytes(100))), "A-law: convert it"),
        (riff(form(coding=85), (b"data", bytes(100))), "MP3"),
        (riff(form(coding=999), (b"data", bytes(100))), "number 999"),
        (riff(form(coding=0xFFFE), (b"data", bytes(100))), "ends within a header"),
        (riff(form(coding=0xFFFE, more=bytes(24)), (b"data", bytes(100))), "coding is none that is known"),
        (riff((b"data", bytes(100)), form()), "before what says how"),
        (riff(form()), "no chunk of sound"),
        (riff(*[(b"JUNK", b"")] * 5000, form(), (b"data", bytes(100))), "no chunk of sound"),
        (riff(form(), (b"LIST", b"", 0x7FFFFFFF), (b"data", bytes(100))), "no chunk of sound"),
        (io.BytesIO(b""), "it is empty"),
        (io.BytesIO(b"fLaC" + bytes(100)), "does not begin like one"),
        (riff(form(3, bits=32), (b"data", struct.pack("<2f", 1.0, 1e30))), "as large as 1e+30"),
        (riff(form(3, bits=64), (b"data", struct.pack("<2d", 1.0, float("inf")))), "not finite"),
    ],
)  # fmt: skip
def test_headers_that_cannot_be(file, words):
    file.seek(0)
    one_line(lambda: read_wav(file, name="a.wav"), "a.wav", words)


def test_recordings_of_hours_are_not_read(tmp_path):
    """Their length is taken from the header: these files have holes, and no memory is asked for."""
    for name, about, size in (
        ("hour", form(), 8000 * 2 * 3600),
        ("wide", form(channels=1000, rate=96_000), 2**31 - 2**20),
    ):
        with open(tmp_path / f"{name}.wav", "wb") as file:
            file.write(riff(about, (b"data", b"", size)).getvalue())
            file.truncate(file.tell() + size)
        tracemalloc.start()
        one_line(lambda name=name: read_wav(tmp_path / f"{name}.wav"), "minutes", "cut out the second")
        assert tracemalloc.get_traced_memory()[1] < 1e6
        tracemalloc.stop()
    fits = np.zeros(8000 * 590, np.uint8)
    fits[:100] = 255
    assert len(read_wav(wav(tmp_path / "long.wav", fits)).sound) == len(fits)


def test_damaged_headers_are_a_line(tmp_path):
    """Whatever three bytes of a header are changed to: a sound, or one line."""
    rng = np.random.default_rng(0)
    whole = wav(tmp_path / "a.wav", (rng.normal(size=2000) * 3000).astype(np.int16)).read_bytes()
    for _ in range(300):
        changed = bytearray(whole)
        for at in rng.integers(0, 44, 3):
            changed[at] = rng.integers(256)
        try:
            pad_or_trim(read_wav(io.BytesIO(changed), name="a.wav"))
        except ValueError as error:
            assert "\n" not in str(error)


# ---- where the sound is


def spoken(seed=0):
    """Something like a word: a third of a second of harmonics that swell and fade."""
    envelope = torch.hann_window(2600, dtype=torch.float64)
    return (envelope * sum(tone(150 * k, 0.325) / k for k in range(1, 9)) * 0.2).float()


def recorded(seconds=3.0, at=11_000, hiss=0.01):
    """That word in faint noise, whose standard deviation is a share of the word's peak."""
    word = spoken()
    sound = hiss * word.abs().max() * noise(int(seconds * RATE), seed=1).float()
    sound[at : at + len(word)] += word
    return sound


def keeps_the_word(sound, most=0.5):
    """That the clip holds the whole word, soon after its beginning, and at most so many seconds."""
    clip = pad_or_trim(sound).sound.double()
    word = spoken().double()
    match = torch.nn.functional.conv1d(clip[None, None], word[None, None])[0, 0]
    at = int(match.argmax())
    assert match[at] > 0.95 * word.square().sum(), "a part of the word is missing"
    assert LEAD - 250 <= at < LEAD + 0.25 * RATE  # it begins softly, below the cut
    assert int(clip.nonzero()[-1]) - LEAD < most * RATE + 1000
    assert clip[: LEAD - 1].abs().max() == 0
    return clip


@pytest.mark.parametrize("hiss", [0.0, 0.01, 0.02, 0.05])
@pytest.mark.parametrize("at", [100, 11_000, 21_000])
def test_a_word_in_seconds_of_noise_is_kept(hiss, at):
    keeps_the_word(recorded(at=at, hiss=hiss), most=0.95 if at == 100 else 0.5)


@pytest.mark.parametrize("offset", [-0.3, 0.02, 0.5])
@pytest.mark.parametrize("seconds", [0.9, 3.0])
def test_a_word_on_an_offset_is_kept_without_it(offset, seconds):
    sound = recorded(seconds, at=3000 if seconds < 1 else 11_000, hiss=0.002)
    clip = pad_or_trim(sound + offset).sound if seconds < 1 else keeps_the_word(sound + offset)
    assert abs(clip[LEAD : LEAD + 100].mean()) < 0.012 or abs(offset) < 0.05


@pytest.mark.parametrize("length, loud", [(1, 1.0), (40, 1.0), (160, 0.5)])
@pytest.mark.parametrize("at", [500, 23_000])
def test_a_word_beside_a_click_is_kept(length, loud, at):
    sound = recorded(hiss=0.003)
    sound[at : at + length] += loud
    keeps_the_word(sound)


def test_a_word_beside_a_hum_a_drift_or_digital_silence_is_kept():
    sound, time = recorded(hiss=0.003), torch.arange(24_000) / RATE
    keeps_the_word(sound + 0.03 * torch.sin(2 * torch.pi * 50 * time))
    keeps_the_word(sound + torch.linspace(-0.3, 0.3, 24_000))
    sound = recorded(hiss=0.03)
    sound[:4000] = 0
    keeps_the_word(sound)


def test_of_several_sounds_the_longest_is_kept_and_said():
    sound = recorded(hiss=0.003)
    sound[1000:2200] += 0.05 * noise(1200, seed=2).float()
    clip = pad_or_trim(sound)
    assert "several sounds, trimmed to the loudest" in clip.notes[0]
    keeps_the_word(sound)
    sound = recorded(hiss=0.003, at=11_000)
    for start in (14_600, 1000):  # one a tenth of a second behind the word, which fits, and one that doesn't
        sound[start : start + 1200] += 0.05 * noise(1200, seed=2).float()
    clip = pad_or_trim(sound)
    assert "trimmed to the loudest 0.5" in clip.notes[0]
    assert clip.sound[LEAD + 3700 : LEAD + 4400].abs().mean() > 0.02 and not clip.sound[LEAD + 5500 :].any()


def test_silence_on_an_offset_and_clicks_alone():
    one_line(lambda: pad_or_trim(torch.full((30_000,), 0.5)), "silent")
    one_line(lambda: pad_or_trim(torch.full((3000,), 0.5)), "silent")
    sound = torch.zeros(30_000)
    sound[7000], sound[25_000] = 1.0, 0.5
    assert pad_or_trim(sound).sound[LEAD] == 1


def test_what_was_trimmed_rightly_stays_what_it_was():
    """The cut by single samples, which the shipped models were trained on: kept where it holds what the frames show."""
    sound = torch.zeros(20_000)
    sound[5000:9000] = 0.2 * noise(4000).float()
    sound[4000] = sound[10_500] = 0.1  # clicks within reach
    assert torch.equal(pad_or_trim(sound).sound[LEAD : LEAD + 6501], sound[4000:10_501])
    sound[15_000] = 0.1  # and one beyond
    assert torch.equal(pad_or_trim(sound).sound[LEAD:], sound[4000 : 4000 + LENGTH - LEAD])
