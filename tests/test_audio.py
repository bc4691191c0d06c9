"""Sound to spectrogram and back: against closed forms, an independent implementation, and what the methods promise."""

import io
import math
import struct
import time
import tracemalloc

import numpy as np
import pytest
import torch
from scipy.io import wavfile
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from ddim_edu.data import spectrograms
from ddim_edu.data.spectrograms import (
    BANDS,
    FRAMES,
    HOP,
    LEAD,
    LENGTH,
    RATE,
    WINDOW,
    griffin_lim,
    griffin_lim_path,
    hertz_to_mel,
    istft,
    log_mel,
    magnitude,
    mel_filters,
    mel_to_hertz,
    norm,
    pad_or_trim,
    read_wav,
    spectral_convergence,
    stft,
    to_sound,
    write_wav,
)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def tone(hertz, seconds=0.5, rate=RATE):
    return torch.sin(2 * torch.pi * hertz * torch.arange(int(seconds * rate), dtype=torch.float64) / rate)


def wav(path, samples, rate=RATE):
    wavfile.write(path, rate, np.asarray(samples))
    return path


def refused(call, *words):
    with pytest.raises(ValueError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


# ---- files


@pytest.mark.parametrize(
    "dtype, scale, offset",
    [(np.int16, 2**15, 0), (np.int32, 2**31, 0), (np.uint8, 2**7, 128), (np.float32, 1, 0), (np.float64, 1, 0)],
)
def test_samples_of_every_type_are_brought_to_the_same_range(tmp_path, dtype, scale, offset):
    wanted = np.array([0, 0.5, -0.5, 0.25, -1])
    found = read_wav(wav(tmp_path / "a.wav", (wanted * scale + offset).astype(dtype)))
    assert found.sound.dtype == torch.float32 and found.notes == ()
    np.testing.assert_allclose(found.sound, wanted, atol=1e-7)


def test_stereo_is_mixed_down_and_said(tmp_path):
    left, right = np.full(100, 0.5, np.float32), np.full(100, -0.25, np.float32)
    found = read_wav(wav(tmp_path / "a.wav", np.stack([left, right], 1)))
    np.testing.assert_allclose(found.sound, np.full(100, 0.125))
    assert found.notes == ("2 channels mixed down to one",)
    assert read_wav(wav(tmp_path / "b.wav", left[:, None])).notes == ()


@pytest.mark.parametrize("rate", [44_100, 48_000, 16_000, 11_025, 4000])
def test_other_rates_are_resampled_and_said(tmp_path, rate):
    """A tone that both rates can hold is the same tone after it, but for the ends."""
    found = read_wav(wav(tmp_path / "a.wav", tone(700, 0.5, rate).float().numpy(), rate))
    assert found.notes == (f"resampled from {rate} Hz to 8000 Hz",)
    assert abs(len(found.sound) - 4000) <= 1
    inner = slice(400, 3600)
    assert (found.sound[inner] - tone(700)[inner]).abs().max() < 0.01


def test_what_the_new_rate_cannot_hold_is_removed_not_folded(tmp_path):
    found = read_wav(wav(tmp_path / "a.wav", tone(6000, 0.5, 44_100).float().numpy(), 44_100))
    assert found.sound[400:3600].abs().max() < 0.01  # folded, it would be a tone of 2,000 Hz


def test_files_that_are_no_sound(tmp_path):
    (tmp_path / "text.wav").write_text("not a sound")
    good = wav(tmp_path / "good.wav", np.zeros(1000, np.int16))
    (tmp_path / "cut.wav").write_bytes(good.read_bytes()[:20])
    (tmp_path / "nothing.wav").write_bytes(b"")
    for name in ("text", "cut", "nothing"):
        refused(lambda name=name: read_wav(tmp_path / f"{name}.wav"), f"{name}.wav is not a wav file")
    refused(lambda: read_wav(tmp_path / "none.wav"), "there is no file", "none.wav")
    refused(lambda: read_wav(wav(tmp_path / "empty.wav", np.zeros(0, np.int16))), "empty.wav")
    refused(lambda: read_wav(wav(tmp_path / "nan.wav", np.array([0, np.nan], np.float32))), "not finite")
    refused(lambda: read_wav(io.BytesIO(b"RIFF"), name="inner.wav"), "inner.wav is not a wav file")
    refused(lambda: read_wav(tmp_path), "is not a wav file")


def test_writing_and_reading_back(tmp_path):
    sound = noise(500) * 0.2
    write_wav(tmp_path / "a.wav", sound)
    assert (read_wav(tmp_path / "a.wav").sound - sound).abs().max() < 1e-4
    write_wav(tmp_path / "b.wav", sound, peak=0.9)
    assert read_wav(tmp_path / "b.wav").sound.abs().max() == pytest.approx(0.9, abs=1e-3)
    write_wav(tmp_path / "c.wav", torch.tensor([2.0, -3.0]))
    assert read_wav(tmp_path / "c.wav").sound.tolist() == pytest.approx([1, -1], abs=1e-4)
    write_wav(tmp_path / "d.wav", torch.zeros(10), peak=0.9)
    assert not read_wav(tmp_path / "d.wav").sound.any()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "b.wav", "c.wav", "d.wav"]


def test_a_clip_is_silence_sound_silence():
    sound = noise(3000).float()
    clip = pad_or_trim(sound)
    assert len(clip.sound) == LENGTH and clip.notes == ()
    assert not clip.sound[:LEAD].any() and not clip.sound[LEAD + 3000 :].any()
    assert torch.equal(clip.sound[LEAD : LEAD + 3000], sound)


def test_a_long_recording_loses_its_silence_then_its_end():
    word = noise(4000).float()
    quiet = torch.cat([torch.zeros(6000), word, 0.001 * noise(6000, seed=1).float()])
    clip = pad_or_trim(quiet)
    assert clip.notes == ()
    start = LEAD - int((word.abs() > 0.02 * word.abs().max()).nonzero()[0])
    assert torch.equal(clip.sound[LEAD : LEAD + 3900], word[LEAD - start : LEAD - start + 3900])
    long = noise(20_000).float()
    clip = pad_or_trim(spectrograms.Recording(long, ("said before",)))
    assert clip.notes[0] == "said before" and clip.notes[1].endswith("s of sound, trimmed to the first 0.94")
    assert len(clip.sound) == LENGTH


def test_silence_is_refused_and_has_a_picture():
    refused(lambda: pad_or_trim(torch.zeros(5000)), "silent")
    refused(lambda: pad_or_trim(torch.zeros(0)), "silent")
    refused(lambda: pad_or_trim(1e-5 * noise(500)), "silent")
    picture = log_mel(torch.zeros(2, LENGTH))
    assert (picture == -1).all()
    assert not to_sound(picture).any()


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
    refused(lambda: read_wav(file, name="a.wav"), "a.wav", words)


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
        refused(lambda name=name: read_wav(tmp_path / f"{name}.wav"), "minutes", "cut out the second")
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
    sound = recorded(hiss=0.0, at=8000)
    sound[11_600:12_800] += 0.2 * noise(1200, seed=2).float()  # a quarter of a second behind it: together they fit
    clip = pad_or_trim(sound)
    assert clip.notes == () and torch.equal(clip.sound[LEAD + 4000 : LEAD + 4500], sound[11_996:12_496])


def test_silence_on_an_offset_and_clicks_alone():
    refused(lambda: pad_or_trim(torch.full((30_000,), 0.5)), "silent")
    refused(lambda: pad_or_trim(torch.full((3000,), 0.5)), "silent")
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


# ---- spectra


def test_the_transform_is_scipys():
    x = noise(LENGTH)
    ours = stft(x[None])[0]
    assert ours.shape == (WINDOW // 2 + 1, FRAMES)
    theirs = ShortTimeFFT(hann(WINDOW, sym=False), HOP, RATE, scale_to=None, phase_shift=None).stft(
        x.numpy(), p0=0, p1=FRAMES
    )
    # Theirs puts a frame's phases at its first sample, as ours does.
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-9)


def test_a_tone_stands_in_its_band():
    """At a frequency of the transform, a Hann window puts N/4 of the amplitude there and half of that beside it."""
    k = 40
    spectra = stft(tone(k * RATE / WINDOW, 1.0)[None, :LENGTH])[0].abs()
    inner = spectra[:, 5:-5]
    np.testing.assert_allclose(inner[k], WINDOW / 4, rtol=1e-9)
    np.testing.assert_allclose(inner[k - 1], WINDOW / 8, rtol=1e-9)
    assert inner[k + 2 :].max() < 1e-9


def test_there_and_back():
    x = noise(3, LENGTH)
    assert (istft(stft(x)) - x).abs().max() < 1e-12


def test_the_norm_counts_both_halves():
    x = noise(2, LENGTH)
    frames = torch.nn.functional.pad(x, (WINDOW // 2, WINDOW // 2)).unfold(1, WINDOW, HOP) * torch.hann_window(
        WINDOW, dtype=x.dtype
    )
    torch.testing.assert_close(norm(stft(x)), torch.fft.fft(frames).abs().square().sum((1, 2)).sqrt())


def test_the_inverse_is_the_least_squares_sound():
    """No sound's transform lies nearer to arbitrary spectra: the difference is at right angles to every transform.

    Equations: eq:least-squares-sound
    """
    spectra = torch.complex(noise(1, WINDOW // 2 + 1, FRAMES), noise(1, WINDOW // 2 + 1, FRAMES, seed=1))
    spectra[:, [0, -1]] = spectra[:, [0, -1]].real.to(spectra.dtype)  # as real sounds have them
    best = istft(spectra)
    left = norm(stft(best) - spectra)
    for seed in range(3):
        for size in (1e-3, 0.1):
            other = norm(stft(best + size * noise(1, LENGTH, seed=seed)) - spectra)
            off = norm(stft(size * noise(1, LENGTH, seed=seed)))
            torch.testing.assert_close(other.square(), left.square() + off.square())  # Pythagoras


# ---- phases


def test_griffin_lim_never_gets_worse():
    """Equations: eq:griffin-lim"""
    wanted = stft(noise(2, LENGTH)).abs() + 0.3  # the magnitudes of no sound
    errors = torch.stack([spectral_convergence(x, wanted) for x in griffin_lim_path(wanted, 30, momentum=0)])
    assert (errors.diff(dim=0) <= 1e-12).all()
    assert (errors[-1] < 0.8 * errors[0]).all()


def test_griffin_lim_by_hand():
    """Equations: eq:griffin-lim, eq:fast-griffin-lim"""
    wanted = stft(noise(1, LENGTH)).abs()
    for momentum in (0.0, 0.99):
        generator = torch.Generator().manual_seed(3)
        phase = torch.exp(2j * torch.pi * torch.rand(wanted.shape, generator=generator, dtype=torch.float64))
        before = None
        path = griffin_lim_path(wanted, 5, momentum, torch.Generator().manual_seed(3))
        for found in path:
            x = istft(wanted * phase)
            assert (x - found).abs().max() < 1e-9
            c = stft(x)
            t = c if before is None else c + momentum * (c - before)
            phase, before = torch.exp(1j * t.angle()), c


def test_the_fast_one_ends_nearer():
    """Equations: eq:fast-griffin-lim"""
    wanted = stft(sum(tone(f, 1.1)[None, :LENGTH] * noise(1, LENGTH, seed=f).cumsum(1) for f in (300, 1100))).abs()
    ends = []
    for momentum in (0.0, 0.99):
        ends.append(
            spectral_convergence(griffin_lim(wanted, 60, momentum, torch.Generator().manual_seed(0)), wanted).item()
        )
    assert ends[1] < 0.9 * ends[0]


def test_right_phases_are_a_fixed_point_and_seeds_repeat():
    x = noise(1, LENGTH)
    wanted = stft(x).abs()
    phases = stft(x) / wanted
    again = istft(wanted * phases)
    assert (again - x).abs().max() < 1e-9
    assert spectral_convergence(x, wanted).item() < 1e-12
    a, b, c = (griffin_lim(wanted, 3, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


# ---- bands


def test_the_mel_scale():
    """1,000 Hz is 1,000 mel, and the scale can be undone.

    Equations: eq:mel
    """
    assert hertz_to_mel(1000).item() == pytest.approx(1000, abs=0.1)
    assert hertz_to_mel(0).item() == 0
    assert hertz_to_mel(4000).item() == pytest.approx(2595 / math.log(10) * math.log(1 + 4000 / 700))
    hertz = torch.linspace(0, 4000, 50, dtype=torch.float64)
    torch.testing.assert_close(mel_to_hertz(hertz_to_mel(hertz)), hertz)


def test_the_bands_share_out_every_frequency():
    filters = mel_filters()
    assert filters.shape == (BANDS, WINDOW // 2 + 1) and (filters >= 0).all()
    assert (filters.sum(1) > 0).all(), "an empty band"
    peaks = mel_to_hertz(torch.linspace(0, hertz_to_mel(4000).item(), BANDS + 2, dtype=torch.float64))
    hertz = torch.arange(WINDOW // 2 + 1) * RATE / WINDOW
    between = (hertz >= peaks[1]) & (hertz <= peaks[-2])
    torch.testing.assert_close(filters.sum(0)[between], torch.ones(int(between.sum()), dtype=torch.float64))


def test_the_picture_is_what_its_docstring_says():
    """Equations: eq:log-mel"""
    x = noise(2, LENGTH) * torch.linspace(0, 1, LENGTH, dtype=torch.float64)
    power = torch.einsum("bf,nfm->nbm", mel_filters(), stft(x).abs() ** 2)
    for picture, own in zip(log_mel(x)[:, 0], power):
        decibels = 10 * (own / own.max()).log10()
        torch.testing.assert_close(picture, (decibels.clamp(min=-60) + 30) / 30)
    assert log_mel(x).amax().item() == 1
    torch.testing.assert_close(log_mel(x * 0.01), log_mel(x))  # however loud


def test_magnitudes_have_the_bands_that_were_asked_for():
    """Equations: eq:lee-seung"""
    picture = log_mel(noise(2, LENGTH).cumsum(1))
    filters, bands = mel_filters(), 10 ** (3 * (picture[:, 0] - 1)) * (picture[:, 0] > -1)
    errors = [(filters @ magnitude(picture, n) ** 2 - bands).norm().item() for n in (0, 1, 2, 5, 20, 100)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.02 * bands.norm()
    assert (magnitude(picture) >= 0).all()
    assert magnitude(3 * picture).isfinite().all()  # beyond [-1, 1] it is clamped


def test_to_sound_has_the_picture_and_repeats():
    picture = log_mel(
        sum(tone(f, 1.1)[None, :LENGTH] for f in (300, 1100)) * torch.hann_window(LENGTH, dtype=torch.float64)
    )
    found = to_sound(picture, generator=torch.Generator().manual_seed(0))
    assert found.abs().max().item() == pytest.approx(0.9)
    assert (log_mel(found) - picture).abs().mean() < 0.05
    assert torch.equal(found, to_sound(picture, generator=torch.Generator().manual_seed(0)))


def test_sounds_that_cannot_be_made_are_named(tmp_path):
    with pytest.raises(ValueError, match="finite"):
        spectrograms.write_wav(tmp_path / "x.wav", torch.tensor([0.0, float("nan")]))
    assert not (tmp_path / "x.wav").exists()
    with pytest.raises(ValueError, match="lead"):
        spectrograms.pad_or_trim(torch.ones(10), length=8, lead=8)
