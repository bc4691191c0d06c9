"""Notes made by formulas: what is asked for is in the sound, measured by other means than made it."""

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from ddim_edu.apps.playing import FARTHEST, Player, levels, loudness_of, moved, onset_of, silenced
from ddim_edu.commands import sound as command
from ddim_edu.data import notes
from ddim_edu.data.note_set import ATTRIBUTES, attributes_of, read_notes, sounds_of
from ddim_edu.data.notes import INSTRUMENTS, RATE, SAMPLES, STRUCK, TIME, Note, draw_note, hertz, render
from ddim_edu.data.phases import nearest_peak, running_phases
from ddim_edu.data.spectrograms import griffin_lim, istft, log_mel, mel_filters, spectral_convergence, stft
from ddim_edu.models import load, load_autoencoder
from ddim_edu.randomness import generator_for

SOME = [(i, part) for i in range(3, 20_000, 739) for part in ("train", "heldout")]


def a_note(instrument, pitch=57, **how):
    short = instrument in STRUCK
    return Note(instrument, pitch, **{"attack": 0.004 if short else 0.05, "decay": 0.5 if short else 0.2, **how})


def period_cents(sound, note):
    """How far the period is from the wanted one, in cents: the peak of the autocorrelation, by a parabola."""
    start = round((note.onset + 0.12) * RATE)
    x = sound[start : start + 3200].astype(float)
    power = np.abs(np.fft.rfft(x, 8192)) ** 2
    r = np.fft.irfft(power)[:400] / (len(x) - np.arange(400))
    wanted = RATE / hertz(note.pitch)
    low = int(0.85 * wanted)
    k = low + int(np.argmax(r[low : int(1.18 * wanted) + 2]))
    shift = 0.5 * (r[k - 1] - r[k + 1]) / (r[k - 1] - 2 * r[k] + r[k + 1])
    return 1200 * np.log2(wanted / (k + shift))


def line(sound, f, width=0.03):
    """Frequency of the largest peak near f, by a parabola through the logarithms of a windowed spectrum."""
    n = 1 << 17
    spectrum = np.log(np.abs(np.fft.rfft(sound * np.blackman(len(sound)), n)) + 1e-12)
    low, high = round((1 - width) * f * n / RATE), round((1 + width) * f * n / RATE)
    k = low + int(np.argmax(spectrum[low:high]))
    a, b, c = spectrum[k - 1 : k + 2]
    return (k + 0.5 * (a - c) / (a - 2 * b + c)) * RATE / n


# ---- every instrument


@pytest.mark.parametrize("instrument", INSTRUMENTS)
@pytest.mark.parametrize("pitch", [48, 55.5, 63, 72])
def test_the_pitch_is_the_asked_one(instrument, pitch):
    note = a_note(instrument, pitch)
    sound = render(note, 3)
    if instrument == "bell":  # its sound has no period; its prime is where it should be
        assert abs(1200 * np.log2(line(sound, hertz(pitch)) / hertz(pitch))) < 3
    else:
        assert abs(period_cents(sound, note)) < (16 if instrument == "bar" else 8)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_loudness_peaks_and_ends(instrument):
    for pitch, wanted in ((48, -16.0), (60, -23.5), (72, -36.0)):
        sound = render(a_note(instrument, pitch, loudness=wanted), 5).astype(float)
        frames = np.lib.stride_tricks.sliding_window_view(sound, 800)[::8]
        assert 10 * np.log10((frames**2).mean(1).max()) == pytest.approx(wanted, abs=0.05)
        peak = np.abs(sound).max()
        assert sound.shape == (SAMPLES,) and peak < 0.8
        assert not sound[: round(0.1 * RATE)].any()  # until its onset
        assert abs(sound[-1]) < 1e-6 and np.abs(sound[-16:]).max() < 2e-3 * peak  # it has died away
        begin = round(0.1 * RATE)
        assert np.abs(sound[begin : begin + 4]).max() < 0.05 * peak  # and doesn't begin with a step


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_the_onset(instrument):
    early, late = (render(a_note(instrument, onset=onset), 2) for onset in (0.1, 0.25))
    shift = round(0.15 * RATE)
    level = [np.flatnonzero(np.abs(x) > 0.1 * np.abs(x).max())[0] for x in (early, late)]
    assert abs(level[1] - level[0] - shift) < 0.02 * RATE
    assert (level[0] / RATE - 0.1) < (0.01 if instrument in STRUCK else 0.06)


def test_seeds_change_the_noise_alone():
    for instrument in INSTRUMENTS:
        note = a_note(instrument)
        one, again, other = render(note, 1), render(note, 1), render(note, 2)
        assert np.array_equal(one, again) and not np.array_equal(one, other)
        a, b = notes.picture(torch.from_numpy(np.stack([one, other])))
        assert (a - b).abs().mean() < 0.1, instrument  # the pictures look alike


# ---- one instrument at a time


def test_the_string_is_karplus_and_strongs_loop():
    """Sample by sample, as they wrote it, with the three taps that tune it."""
    note = Note("string", 60, loudness=-16, decay=0.4, onset=0.1, attack=0.002)
    ours = notes.plucked(note, TIME - note.onset, np.random.default_rng(0))
    period = RATE / hertz(60) - 0.5
    P, s = int(period), period - int(period)
    start = round(note.onset * RATE)
    rest = ours[start + 2 * P :]
    loss = 10 ** (-1 / (0.4 * hertz(60)))
    y = list(ours[start : start + 2 * P])
    for n in range(2 * P, len(ours) - start):
        y.append(loss * ((1 - s) / 2 * y[n - P] + y[n - P - 1] / 2 + s / 2 * y[n - P - 2]))
    np.testing.assert_allclose(rest, y[2 * P :], atol=1e-12)


def test_the_modes_of_a_bar():
    """cos(k) cosh(k) = 1 gives a free bar's k; frequencies go as their squares. Each mode falls as it is said to."""
    k = np.array([4.730040745, 7.853204624, 10.995607838, 14.137165491])
    assert np.allclose(np.cos(k) * np.cosh(k), 1, atol=1e-3)
    note = Note("bar", 50, loudness=-16, decay=0.4, attack=0.002)
    sound = render(note, 1).astype(float)
    for ratio in (k / k[0]) ** 2:
        assert line(sound, ratio * hertz(50)) == pytest.approx(ratio * hertz(50), rel=2e-3)
    f, n = hertz(50), 1600

    def size(start, f):
        t = np.arange(n) / RATE
        return np.abs((sound[start : start + n] * np.hanning(n) * np.exp(-2j * np.pi * f * t)).sum())

    fall = 20 * np.log10(size(4800, f) / size(4800 + 3200, f))
    assert fall == pytest.approx(20 * 0.2 / 0.4, abs=0.2)


def test_modes_by_coarse_and_fine_steps():
    note, ratios, sizes = Note("bell", 60, decay=0.5, onset=0.0), (0.5, 1, 2.757), (0.3, 1, 0.5)
    ours = notes.struck(note, np.random.default_rng(0), ratios, sizes, 0.7)
    phases, t, plain = np.random.default_rng(0).random(3), np.arange(SAMPLES) / RATE, 0
    hard = 0.4 + 0.6 * (-20 + 36) / 20
    for r, a, p in zip(ratios, sizes, phases):
        fall = 10 ** (-t / 0.5 * r**0.7)
        plain = plain + a * hard ** max(0, r - 1) * fall * np.sin(2 * np.pi * (r * hertz(60) * t + p))
    np.testing.assert_allclose(ours, plain, atol=1e-9)


def test_the_table_of_a_turn():
    sizes, phase = np.array([1, 0.5, 0, 0.25]), np.linspace(0, 30, 999)
    plain = sum(a * np.sin((k + 1) * phase) for k, a in enumerate(sizes))
    np.testing.assert_allclose(notes.harmonics(sizes, phase), plain, atol=1e-4)


def test_the_geometric_series_of_the_brass():
    note = Note("brass", 60, loudness=-16, attack=0.05, length=0.6)
    t = TIME - note.onset
    ours = notes.brass(note, t, np.random.default_rng(0))
    phase, strength = notes.phase_of(note, t), notes.held(note, t)
    b = 0.85 * strength**0.5
    tone = strength * sum(b ** (k - 1) * np.sin(k * phase) for k in range(1, int(0.45 * RATE / hertz(61)) + 1))
    breath = 0.02 * strength * notes.coloured(np.random.default_rng(0), 800, 600)
    np.testing.assert_allclose(ours, tone + breath, atol=1e-9)


def test_spectra_open_with_loudness():
    def centre(instrument, loudness):
        power = np.abs(np.fft.rfft(render(a_note(instrument, 55, loudness=loudness), 1))) ** 2
        return (np.fft.rfftfreq(SAMPLES, 1 / RATE) * power).sum() / power.sum()

    for instrument in ("string", "bar", "brass", "epiano", "flute", "organ"):
        assert centre(instrument, -16) > 1.1 * centre(instrument, -36), instrument
    assert centre("brass", -16) > 1.5 * centre("brass", -36)


def test_the_ranks_of_the_organ():
    """Pipes of 1, 2, 3, 4, 6 and 8 times the frequency, nearly in tune, of three partials each: no fifth, no seventh.
    The softer it is played, the less is heard of the small pipes.
    """

    def sizes(loudness):
        note = Note("organ", 50, loudness=loudness, attack=0.05, length=0.8, onset=0.0, decay=0.1)
        sound = render(note, 2).astype(float)
        spectrum = np.abs(np.fft.rfft(sound * np.blackman(SAMPLES), 1 << 17))
        near = [round((k - 0.1) * hertz(50) * (1 << 17) / RATE) for k in range(1, 26)]
        found = np.array([spectrum[i : i + round(0.2 * hertz(50) * (1 << 17) / RATE)].max() for i in near])
        return sound, found / found[0]

    partials = sorted({rank * k for rank in (1, 2, 3, 4, 6, 8) for k in (1, 2, 3)})
    sound, loud = sizes(-16)
    for k in partials:
        assert abs(1200 * np.log2(line(sound, k * hertz(50), 0.02) / (k * hertz(50)))) < 1.5 and loud[k - 1] > 0.02, k
    assert all(loud[k - 1] < 0.002 for k in range(1, 26) if k not in partials)
    soft = sizes(-36)[1]
    assert soft[7] < 0.5 * loud[7] and soft[2] < 0.8 * loud[2]


def test_the_vibrato():
    note = Note("bowed", 60, vibrato=40, onset=0.0)
    speed = np.diff(notes.phase_of(note, TIME)) * RATE / (2 * np.pi)
    cents = 1200 * np.log2(speed / hertz(60))
    assert cents.max() == pytest.approx(40, abs=0.2) and cents.min() == pytest.approx(-40, abs=0.2)
    crossings = np.flatnonzero((cents[1:] > 0) & (cents[:-1] <= 0))
    assert RATE / np.diff(crossings).mean() == pytest.approx(5.5, rel=1e-2)


def test_nothing_folds_back():
    """Twice the rate, halved, is the same sound: no partial lies beyond half the rate."""
    for instrument in ("bowed", "voice", "brass", "organ"):
        power = np.abs(np.fft.rfft(render(a_note(instrument, 72, loudness=-16, vibrato=20), 1) * np.hanning(SAMPLES)))
        f = np.fft.rfftfreq(SAMPLES, 1 / RATE)
        distance = np.abs(f / hertz(72) - np.round(f / hertz(72)))
        between = power[(distance > 0.25) & (f > 200)].max() / power.max()
        assert between < 0.01, instrument


# ---- names and ranges


def test_names_of_pitches():
    assert [notes.pitch_name(p) for p in (48, 49, 60, 69, 72)] == ["C3", "C#3", "C4", "A4", "C5"]
    assert [notes.parse_pitch(x) for x in ("C3", "c4", "Bb3", "A#3", "B#3", "60", "A4", "Cb4")] == [
        48, 60, 58, 58, 60, 60, 69, 59,
    ]  # fmt: skip
    assert hertz(69) == 440 and hertz(60) == pytest.approx(261.6256, rel=1e-6)
    for p in range(48, 73):
        assert notes.parse_pitch(notes.pitch_name(p)) == p


@pytest.mark.parametrize(
    "text", ["", "H2", "C", "C##4", "-60", "4", "47", "73", "C6", "B2", "99999999", "C４", "６０", "60.5"]
)
def test_what_is_no_pitch(text):
    with pytest.raises(ValueError) as error:
        notes.parse_pitch(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 120


@pytest.mark.parametrize(
    "change",
    [
        {"instrument": "tuba"}, {"pitch": 47.9}, {"pitch": 73}, {"pitch": float("nan")}, {"loudness": -15},
        {"loudness": -40}, {"attack": 0}, {"decay": 3}, {"vibrato": 200}, {"onset": 0.6}, {"length": 0.05},
    ],
    ids=str,
)  # fmt: skip
def test_notes_out_of_range(change):
    with pytest.raises(ValueError) as error:
        Note(**{"instrument": "bell", "pitch": 60, **change})
    assert "\n" not in str(error.value) and str(next(iter(change.values()))) in str(error.value)


# ---- the data set


def test_notes_are_functions_of_their_numbers():
    for index, part in SOME:
        note = draw_note(index, part)
        assert note == draw_note(index, part) and note != draw_note(index, "heldout" if part == "train" else "train")
        assert notes.CLASSES[notes.label_of(note)] == f"{note.instrument} {notes.pitch_name(note.pitch)}"
        assert notes.label_of(note) == index % 225
        row = dict(zip(ATTRIBUTES, attributes_of(note)))
        assert row["pitch"] == 100 * note.pitch and row["loudness"] == pytest.approx(100 * note.loudness, abs=0.51)
        assert row["onset"] == pytest.approx(1e4 * note.onset, abs=0.51)
    for bad in ((-1, "train"), (0, "test")):
        with pytest.raises(ValueError, match="give a number from 0"):
            draw_note(*bad)


def test_draws_fill_their_ranges_evenly():
    drawn = [draw_note(i) for i in range(2000)]
    for name, low, high in (("loudness", -36, -16), ("onset", 0.05, 0.3)):
        values = np.array([getattr(note, name) for note in drawn])
        counts = np.histogram(values, 5, (low, high))[0]
        assert counts.sum() == 2000 and np.abs(counts - 400).max() < 80
    assert np.corrcoef([n.loudness for n in drawn], [n.onset for n in drawn])[0, 1] == pytest.approx(0, abs=0.08)


def test_the_set_and_its_cache(tmp_path, capsys):
    (pixels, labels, n_train, classes, _), table = read_notes(n_train=6, n_heldout=3, cache_dir=tmp_path)
    assert pixels.shape == (9, 1, 64, 64) and n_train == 6 and len(classes) == 225
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2] and table.shape == (9, len(ATTRIBUTES))
    own = notes.picture(sounds_of([1], "heldout"))
    assert np.abs(pixels[7] / 127.5 - 1 - own[0].numpy()).max() <= 0.5 / 127.5 + 1e-6
    again, _ = read_notes(n_train=6, n_heldout=3, cache_dir=tmp_path)
    assert np.array_equal(again.pixels, pixels)
    (file,) = tmp_path.glob("*.pixels")
    file.write_bytes(b"\0" + file.read_bytes()[1:-1] + b"\1")
    repaired, _ = read_notes(n_train=6, n_heldout=3, cache_dir=tmp_path)
    assert np.array_equal(repaired.pixels, pixels) and "damaged" in capsys.readouterr().err


# ---- pictures


def test_the_picture_tells_loudness_and_onset():
    drawn = [draw_note(*one) for one in SOME]
    pictures = notes.picture(torch.from_numpy(np.stack([render(note, i) for i, note in enumerate(drawn)])))
    loud = loudness_of(pictures) - torch.tensor([note.loudness for note in drawn])
    assert loud.abs().max() < 2.5 and loud.abs().mean() < 0.4
    late = onset_of(pictures) - torch.tensor([note.onset for note in drawn])
    assert late.abs().max() < 0.06 and late.mean().abs() < 0.01
    assert pictures.max() < 1 and (pictures == -1).float().mean() > 0.4


def test_the_level_of_a_sine():
    """-9 dB of amplitude are -12 dB of root mean square, whatever the frequency."""
    t = torch.arange(SAMPLES) / RATE
    for f in (150.0, 700.0, 3000.0):
        x = 10 ** (-9 / 20) * torch.sin(2 * torch.pi * f * t)
        picture = log_mel(x[None], RATE, 1e3 * notes.BRIGHTEST)  # so bright that nothing is cut off
        found = levels(picture + 0)[0, 8:-8] + 30
        assert (found + 12.01).abs().max() < 0.1, f


def test_at_another_rate_the_window_lasts_as_long():
    filters = mel_filters(RATE)
    assert filters.shape == (64, 513) and filters.sum(0)[4:490].sub(1).abs().max() < 1e-9
    x = torch.sin(2 * torch.pi * 1000 * torch.arange(SAMPLES) / RATE)[None]
    spectra = stft(x, 1024).abs()[0, :, 8:-8]
    assert spectra.shape == (513, 48) and (spectra.argmax(0) == 64).all()  # 15.6 Hz each, as at 8,000 a second
    torch.testing.assert_close(spectra[64], torch.full((48,), 256.0), rtol=1e-4, atol=0)


def test_the_way_back_keeps_loudness_and_pitch():
    drawn = [a_note(name, 57, onset=0.1, loudness=-20) for name in ("string", "flute", "voice")]
    pictures = notes.picture(torch.from_numpy(np.stack([render(note) for note in drawn])))
    sounds = notes.sound_of(pictures, generator=torch.Generator().manual_seed(0))
    assert sounds.shape == (3, SAMPLES) and sounds.abs().max() < 1
    for note, sound in zip(drawn, sounds.numpy()):
        assert notes.loudness(sound) == pytest.approx(-20, abs=1.5)
        assert abs(period_cents(sound, note)) < 50


# ---- control


def test_the_least_move_that_gives_a_measure_its_value():
    """For a linear measure: along the gradient, all of the way, each member for itself, but not too far."""
    x, w = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(0)), torch.randn(2, 8)
    wanted = (x * w).sum((1, 2)) + torch.tensor([0.1, -0.2, 1000.0])
    y = moved(x, lambda x: (x * w).sum((1, 2))[:, None], wanted[:, None])
    lack = wanted - (x * w).sum((1, 2))
    assert (((y * w).sum((1, 2)) - wanted).abs() < 2e-3 * lack.abs())[:2].all()
    for i in range(3):
        step = (y - x)[i].flatten()
        assert abs(torch.nn.functional.cosine_similarity(step, w.flatten(), 0)) > 0.9999
    assert (y - x)[2].square().mean().sqrt() == pytest.approx(FARTHEST, rel=1e-4)
    assert not y.requires_grad

    def both(x):  # of very different units
        return torch.stack([(x * w).sum((1, 2)), 1e-3 * x[:, 0].sum(1)], 1)

    wanted = both(x) + torch.tensor([[0.1, 1e-4]])
    y = moved(x, both, wanted)
    assert ((both(y) - wanted).abs() < 0.01 * torch.tensor([0.1, 1e-4])).all()
    rows = torch.stack([w.flatten(), torch.cat([torch.full((8,), 1e-3), torch.zeros(8)])])
    least = torch.linalg.pinv(rows) @ torch.tensor([0.1, 1e-4])
    torch.testing.assert_close((y - x)[0].flatten(), least, atol=1e-3, rtol=2e-2)


def test_the_shipped_autoencoder_of_notes():
    """On held-out notes, and as large as it may be together with the network."""
    shipped = load_autoencoder("notes")
    pictures = notes.picture(sounds_of(range(0, 1600, 29), "heldout"))
    coded = shipped.decode(shipped.encode(pictures))
    assert (coded - pictures).square().mean().sqrt() < 1.3 * shipped.error < 0.06
    assert shipped.classes == notes.CLASSES
    assert (onset_of(coded) - onset_of(pictures)).abs().median() < 0.01
    files = [shipped.path, load("notes").path]
    assert sum(file.stat().st_size for file in files) < 5_000_000


def test_the_player_plays_what_is_asked():
    """Instrument by instrument; loudness and onset are measured on the sounds, and are elsewhere if not asked for."""
    player = Player(load("notes"))
    labels = torch.tensor([player.class_of(name, 57) for name in INSTRUMENTS])
    n = len(INSTRUMENTS)
    noise = [generator_for(0, 21, i) for i in range(n)]
    loud, onset = torch.linspace(-34, -18, n), torch.linspace(0.08, 0.26, n).flip(0)
    sounds = player.sounds(player.play(labels, 10, loudness=loud, onset=onset, generator=noise))
    assert sounds.shape == (n, SAMPLES) and sounds.abs().max() < 1
    levels_off = torch.tensor([notes.loudness(x) for x in sounds.numpy()]) - loud
    late = onset_of(notes.picture(sounds)) - onset
    assert levels_off.abs().median() < 2.5 and late.abs().median() < 0.03
    cents = [period_cents(x, a_note(n, 57)) for x, n in zip(sounds.numpy(), INSTRUMENTS) if n != "bell"]
    assert np.median(np.abs(cents)) < 35
    free = player.sounds(player.play(labels, 10, generator=noise))
    others = torch.tensor([notes.loudness(x) for x in free.numpy()]) - loud
    assert others.abs().median() > 1.5 * levels_off.abs().median()
    for wrong in ({"loudness": -10}, {"onset": 0.5}, {"loudness": torch.tensor([-20.0, float("nan")])}):
        with pytest.raises(ValueError, match="give "):
            player.play(labels[:2], 2, **wrong)


def test_the_floor_is_silence_again():
    x = torch.tensor([-1.0, -0.95, -0.89, 0.3])
    assert silenced(x).equal(torch.tensor([-1.0, -1.0, -0.89, 0.3]))


def test_the_command_plays(tmp_path, capsys):
    out = tmp_path / "a.wav"
    words = [
        "--instrument",
        "bell",
        "--pitch",
        "F#3",
        "--loudness",
        "-20",
        "-n",
        "2",
        "--steps",
        "5",
        "--out",
        str(out),
    ]
    assert command.main([*words, "--picture", str(tmp_path / "a.png")]) == 0
    rate, sound = wavfile.read(out)
    assert rate == RATE and len(sound) == 2 * SAMPLES + 3200 and (tmp_path / "a.png").is_file()
    assert notes.loudness(sound / 32768) == pytest.approx(-20, abs=3)
    assert "bell F#3" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, said",
    [
        ("--instrument tuba", "there is no instrument 'tuba'"),
        ("--instrument brasss", "brass"),
        ("--pitch C7", "out of range"),
        ("--pitch H4", "is no pitch"),
        ("--loudness -50", "loudness = -50: give -36 to -16 dB"),
        ("--loudness nan", "loudness = nan"),
        ("--onset 2", "onset = 2: give 0.05 to 0.3 s"),
        ("--instrument bell --word 3", "--word is of speech"),
        ("--pitch C4 --input x.wav", "--input is of speech"),
        ("spoken-digits --instrument bell", "plays no notes"),
    ],
)
def test_what_can_not_be_played(words, said, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert command.main(words.split()) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


# ---- phases


def test_phases_that_run_on():
    """Of a steady sine they are its own, but for a constant: Griffin and Lim's method has nothing to do."""
    t = torch.arange(SAMPLES, dtype=torch.float64) / RATE
    for f in (440.0, 1003.7):
        wanted = stft(torch.sin(2 * torch.pi * f * t)[None], 1024).abs()
        running = running_phases(wanted)
        x = istft(wanted * torch.polar(torch.ones_like(running), running))
        assert line(x[0].numpy(), f) == pytest.approx(f, rel=6e-4)  # a cent
        assert spectral_convergence(x, wanted) < 0.05
        random = (
            2 * torch.pi * torch.rand(wanted.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        )
        assert spectral_convergence(istft(wanted * torch.polar(torch.ones_like(random), random)), wanted) > 0.3


def test_the_nearest_peak_is_the_one_by_search():
    peaks = torch.rand(2, 40, 30, generator=torch.Generator().manual_seed(0)) < 0.1
    peaks[0, :, 3] = False
    found = nearest_peak(peaks)
    for b, m in ((0, 0), (1, 7), (0, 29)):
        where = torch.nonzero(peaks[b, :, m])[:, 0]
        for k in range(40):
            assert (where - k).abs().min() == (found[b, k, m] - k).abs()
            assert peaks[b, found[b, k, m], m]
    assert (found[0, :, 3] == 39).all()


def test_a_better_start_is_nearer_after_as_many_turns():
    drawn = [a_note(name, 55, loudness=-20) for name in ("string", "bell", "epiano", "brass")]
    wanted = stft(torch.from_numpy(np.stack([render(note) for note in drawn])), 1024).abs()
    generator = torch.Generator().manual_seed(0)
    for turns in (0, 15):
        random = spectral_convergence(griffin_lim(wanted, turns, generator=generator), wanted).mean()
        running = spectral_convergence(griffin_lim(wanted, turns, start=running_phases(wanted)), wanted).mean()
        assert running < 0.8 * random
