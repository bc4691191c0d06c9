"""Sound to spectrogram and back: against closed forms, an independent implementation, and what the methods promise."""

import io
import math

import numpy as np
import pytest
import torch
from errors import one_line
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann
from sound_files import noise, tone, wav

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
        one_line(lambda name=name: read_wav(tmp_path / f"{name}.wav"), f"{name}.wav is not a wav file")
    one_line(lambda: read_wav(tmp_path / "none.wav"), "there is no file", "none.wav")
    one_line(lambda: read_wav(wav(tmp_path / "empty.wav", np.zeros(0, np.int16))), "empty.wav")
    one_line(lambda: read_wav(wav(tmp_path / "nan.wav", np.array([0, np.nan], np.float32))), "not finite")
    one_line(lambda: read_wav(io.BytesIO(b"RIFF"), name="inner.wav"), "inner.wav is not a wav file")
    one_line(lambda: read_wav(tmp_path), "is not a wav file")


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
    one_line(lambda: pad_or_trim(torch.zeros(5000)), "silent")
    one_line(lambda: pad_or_trim(torch.zeros(0)), "silent")
    one_line(lambda: pad_or_trim(1e-5 * noise(500)), "silent")
    picture = log_mel(torch.zeros(2, LENGTH))
    assert (picture == -1).all()
    assert not to_sound(picture).any()


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
