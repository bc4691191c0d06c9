"""Guidance as it is done now, against closed forms, implementations written here, and diffusers."""

import math

import pytest
import torch

from ddim_edu.commands import apply, sample
from ddim_edu.conventions import SCALES, interval_of_sigma, interval_of_steps
from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.guidance import (
    Tilted,
    cfgpp_path,
    cfgpp_scale,
    decode_cfgpp,
    guided,
    guided_between,
    of_class,
    rescaled,
    tilting_weights,
)
from ddim_edu.guides import check_guide, guide_named, guide_of_walk
from ddim_edu.models import load, save
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.randomness import draw, image_generators
from ddim_edu.sampler import ddim_step, decode
from ddim_edu.schedule import NoiseSchedule, make_tau

SCHEDULE = NoiseSchedule.linear()
LINE = GaussianMixture([0.4, 0.2, 0.4], [[-1.2], [0.0], [1.2]], 0.2, SCHEDULE)
ONE = of_class(LINE, 1)
PLANE = GaussianMixture([0.3, 0.7], [[-1.0, 0.4], [0.6, 0.0]], [0.1, 0.05], SCHEDULE)
STATES = torch.linspace(-2, 2, 12, dtype=torch.float64).view(6, 2)


def starts(n=9):
    return torch.linspace(-2, 2, n, dtype=torch.float64)[:, None]


def test_an_interval_of_all_levels_is_plain_guidance():
    """Equations: eq:guide-interval"""
    tau = make_tau(1000, 20)
    inside = decode(guided_between(ONE.eps, LINE.eps, 3.0, (1, 1000), SCHEDULE), starts(), SCHEDULE, tau)
    assert torch.equal(inside, decode(guided(ONE.eps, LINE.eps, 3.0), starts(), SCHEDULE, tau))


@pytest.mark.parametrize("t, within", [(199, False), (200, True), (700, True), (701, False)])
def test_an_interval_has_both_its_ends(t, within):
    """Equations: eq:guide-interval"""
    eps_theta = guided_between(ONE.eps, LINE.eps, 3.0, (200, 700), SCHEDULE)
    x, levels = starts(), torch.full((9,), t)
    u, c = LINE.eps(x, levels), ONE.eps(x, levels)
    torch.testing.assert_close(eps_theta(x, levels), u + 3 * (c - u) if within else c)


def test_a_batch_of_several_levels():
    levels = torch.tensor([100, 200, 300, 699, 700, 701, 900, 1, 1000])
    found = guided_between(ONE.eps, LINE.eps, 3.0, (200, 700), SCHEDULE)(starts(), levels)
    for i, t in enumerate(levels.tolist()):
        x, at = starts()[i : i + 1], levels[i : i + 1]
        u, c = LINE.eps(x, at), ONE.eps(x, at)
        torch.testing.assert_close(found[i : i + 1], u + 3 * (c - u) if 200 <= t <= 700 else c)


def test_a_batch_of_several_levels_with_a_label_for_each():
    """A predictor that is bound to labels takes whole batches only."""
    labels, levels = torch.arange(9), torch.tensor([100, 200, 300, 699, 700, 701, 900, 1, 1000])

    def conditional(x, t):
        assert len(x) == len(labels)
        return x + labels[:, None]

    found = guided_between(conditional, LINE.eps, 3.0, (200, 700), SCHEDULE)(starts(), levels)
    full = guided(conditional, LINE.eps, 3.0)(starts(), levels)
    within = ((levels >= 200) & (levels <= 700))[:, None]
    assert torch.equal(found, torch.where(within, full, conditional(starts(), levels)))


def test_outside_the_interval_one_predictor_is_called():
    calls = []

    def unconditional(x, t):
        calls.append(int(t[0]))
        return LINE.eps(x, t)

    tau = make_tau(1000, 10)
    decode(guided_between(ONE.eps, unconditional, 3.0, (200, 700), SCHEDULE), starts(), SCHEDULE, tau)
    assert calls == [t for t in reversed(tau[1:].tolist()) if 200 <= t <= 700]


@pytest.mark.parametrize("low, high, says", [(0, 5, "1..1000"), (5, 1001, "1..1000"), (7, 5, "empty")])
def test_intervals_that_are_none(low, high, says):
    with pytest.raises(ValueError, match=says):
        guided_between(ONE.eps, LINE.eps, 3.0, (low, high), SCHEDULE)


def test_scale_1_is_no_guidance():
    for eps_theta in (
        guided_between(ONE.eps, LINE.eps, 1.0, (200, 700), SCHEDULE),
        rescaled(ONE.eps, LINE.eps, 1.0, 0.7, SCHEDULE),
    ):
        levels = torch.full((9,), 400)
        assert torch.equal(eps_theta(starts(), levels), ONE.eps(starts(), levels))


# ---------------------------------------------------------------- rescaling


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_rescaling_of_eps_is_that_of_diffusers(share):
    """Equations: eq:guide-rescale"""
    guider_utils = pytest.importorskip("diffusers.guiders.guider_utils")
    levels, one = torch.full((6,), 400), of_class(PLANE, 1)
    u, c = PLANE.eps(STATES, levels), one.eps(STATES, levels)
    theirs = guider_utils.rescale_noise_cfg(u + 4 * (c - u), c, share)
    ours = rescaled(one.eps, PLANE.eps, 4.0, share, SCHEDULE, of="eps")(STATES, levels)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("of", ["v", "x0"])
def test_rescaling_by_hand(of):
    """Equations: eq:guide-rescale"""
    levels, one, abar = torch.full((6,), 400), of_class(PLANE, 1), SCHEDULE.alpha_bar[400]
    signal, noise = abar.sqrt(), (1 - abar).sqrt()

    def said(eps):
        x0 = (STATES - noise * eps) / signal
        return x0 if of == "x0" else signal * eps - noise * x0

    u, c = (said(p.eps(STATES, levels)) for p in (PLANE, one))
    pressed = u + 4 * (c - u)
    wanted = 0.7 * pressed * c.std(1, keepdim=True) / pressed.std(1, keepdim=True) + 0.3 * pressed
    ours = said(rescaled(one.eps, PLANE.eps, 4.0, 0.7, SCHEDULE, of=of)(STATES, levels))
    torch.testing.assert_close(ours, wanted)


def test_what_can_not_be_rescaled():
    with pytest.raises(ValueError, match="share = 1.5"):
        rescaled(ONE.eps, LINE.eps, 2.0, 1.5, SCHEDULE)
    with pytest.raises(ValueError, match="two elements"):
        rescaled(ONE.eps, LINE.eps, 2.0, 0.7, SCHEDULE)(starts(), torch.full((9,), 400))


def test_what_is_constant_has_no_size_to_put_back():
    flat = rescaled(lambda x, t: 0 * x + 1, lambda x, t: 0 * x, 2.0, 0.7, SCHEDULE, of="eps")
    x = starts().T.contiguous()
    torch.testing.assert_close(flat(x, torch.tensor([400])), 0 * x + 2)


# ---------------------------------------------------------------- CFG++


def cfgpp_by_hand(conditional, unconditional, x, lam, tau):
    """Written anew from the paper's algorithm, in the coordinates x / sqrt(abar)."""
    nu = ((1 - SCHEDULE.alpha_bar) / SCHEDULE.alpha_bar).sqrt().tolist()
    root = SCHEDULE.alpha_bar.sqrt().tolist()
    y = x / root[tau[-1]]
    for t, s in zip(tau[:0:-1], tau[-2::-1]):
        level = torch.full((len(y),), t)
        u, c = (p(y * root[t], level) for p in (unconditional, conditional))
        y = y - nu[t] * ((1 - lam) * u + lam * c) + nu[s] * u
    return y * root[tau[0]]


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_cfgpp_is_an_independent_one(lam):
    """Equations: eq:guide-cfgpp"""
    tau, one = make_tau(1000, 12).tolist(), of_class(PLANE, 1)
    ours = decode_cfgpp(one.eps, PLANE.eps, STATES, SCHEDULE, tau, scale=lam)
    torch.testing.assert_close(ours, cfgpp_by_hand(one.eps, PLANE.eps, STATES, lam, tau), rtol=1e-10, atol=1e-10)


def test_cfgpp_at_0_is_unconditional_and_at_1_not_the_class():
    tau, one = make_tau(1000, 12), of_class(PLANE, 1)
    none, full = (decode_cfgpp(one.eps, PLANE.eps, STATES, SCHEDULE, tau, scale=lam) for lam in (0.0, 1.0))
    torch.testing.assert_close(none, decode(PLANE.eps, STATES, SCHEDULE, tau))
    assert (full - decode(one.eps, STATES, SCHEDULE, tau)).abs().max() > 0.05


def test_a_step_of_cfgpp_is_one_of_plain_guidance_with_another_scale():
    """Equations: eq:guide-cfgpp-scale"""
    tau, one = make_tau(1000, 7), of_class(PLANE, 1)
    for step in cfgpp_path(one.eps, PLANE.eps, STATES, SCHEDULE, tau, scale=0.4):
        levels = torch.full((6,), step.t)
        eps = guided(one.eps, PLANE.eps, cfgpp_scale(0.4, step.t, step.s, SCHEDULE))(step.x_t, levels)
        plain = ddim_step(step.x_t, eps, *(SCHEDULE.alpha_bar[i].item() for i in (step.t, step.s)))
        torch.testing.assert_close(step.x_s, plain, rtol=1e-9, atol=1e-9)
    assert cfgpp_scale(0.4, 100, 0, SCHEDULE) == pytest.approx(0.4)


def test_what_cfgpp_refuses():
    with pytest.raises(ValueError, match="clip = 0"):
        cfgpp_path(ONE.eps, LINE.eps, starts(), SCHEDULE, make_tau(1000, 5), scale=1.0, clip=0)
    with pytest.raises(ValueError, match="scale = nan"):
        cfgpp_path(ONE.eps, LINE.eps, starts(), SCHEDULE, make_tau(1000, 5), scale=math.nan)
    with pytest.raises(ValueError, match="0 <= s < t <= 1000"):
        cfgpp_scale(0.4, 5, 5, SCHEDULE)
    clipped = decode_cfgpp(ONE.eps, LINE.eps, 9 * starts(), SCHEDULE, make_tau(1000, 5), scale=1.0, clip=0.1)
    assert clipped.abs().max() <= 0.1


# ---------------------------------------------------------------- autoguidance


def test_autoguidance_by_itself_is_the_model():
    levels = torch.full((9,), 300)
    torch.testing.assert_close(guided(ONE.eps, ONE.eps, 3.0)(starts(), levels), ONE.eps(starts(), levels))


def test_autoguidance_of_two_gaussians_has_a_closed_form():
    """Two models that are too wide, 1.2 and 1.6 for 1: at s = ln 1.6 / ln(1.6/1.2) the truth comes out.

    Equations: eq:guide-auto
    """
    strong, weak = (Gaussian(torch.zeros(1), v, SCHEDULE) for v in (1.2, 1.6))
    s = math.log(1.6) / math.log(1.6 / 1.2)
    x = decode(guided(strong.eps, weak.eps, s), torch.ones(1, 1).double(), SCHEDULE, make_tau(1000, 1000))
    assert x.item() ** 2 == pytest.approx(1.0, rel=0.01)


# ---------------------------------------------------------------- what plain guidance lacks


@pytest.mark.parametrize("s", [1.5, 2.0, 4.0])
def test_weights_lead_from_the_guided_density_to_the_tilted_one(s):
    """Equations: eq:guide-weight"""
    z = torch.linspace(-7, 7, 1401, dtype=torch.float64)[:, None]
    x, log_w = tilting_weights(ONE.eps, LINE.eps, s, z, SCHEDULE, make_tau(1000, 1000))
    log_density = -(z[1:-1, 0] ** 2) / 2 - ((x[2:] - x[:-2])[:, 0] / 0.02).log()
    tilted = (1 - s) * LINE.log_prob(x) + s * ONE.log_prob(x)
    off = (log_w + 0)[1:-1] + log_density - tilted[1:-1]
    near = x[1:-1, 0].abs() < 1
    plain = (log_density - tilted[1:-1])[near]
    assert off[near].max() - off[near].min() < 0.1 * (plain.max() - plain.min())
    mean = Tilted(LINE, 1, s).mean
    assert abs(mean) < 1e-6


def test_weights_of_two_gaussians():
    """v = 2 and 1 at s = 3: the guided density is N(0, 1/4) and the tilted one N(0, 1/2), so ln w = x^2.

    Equations: eq:guide-weight
    """
    every, one = (Gaussian(torch.zeros(1), v, SCHEDULE) for v in (2.0, 1.0))
    x, log_w = tilting_weights(one.eps, every.eps, 3.0, starts(), SCHEDULE, make_tau(1000, 1000))
    torch.testing.assert_close(log_w - log_w.min(), x[:, 0] ** 2, rtol=0.03, atol=1e-3)


# ---------------------------------------------------------------- other programs' numbers


@pytest.mark.parametrize("original", [False, True])
def test_scales_and_steps_of_diffusers(original):
    """Of which steps are guided, and by how much, its guider is asked itself."""
    guiders = pytest.importorskip("diffusers.guiders")
    theirs = guiders.ClassifierFreeGuidance(2.5, 0.0, original, start=0.25, stop=0.8)
    tau = make_tau(1000, 10)
    low, high = interval_of_steps(tau.tolist(), 0.25, 0.8)
    s = SCALES["diffusers-original" if original else "diffusers"](2.5)
    ours = guided_between(ONE.eps, LINE.eps, s, (low, high), SCHEDULE)
    for i, t in enumerate(reversed(tau[1:].tolist())):
        levels = torch.full((9,), t)
        theirs.set_state(i, 10, levels)
        said = theirs.forward(ONE.eps(starts(), levels), LINE.eps(starts(), levels)).pred
        torch.testing.assert_close(ours(starts(), levels), said)


def test_intervals_elsewhere():
    low, high = interval_of_sigma(SCHEDULE, 0.3, 3.0)
    assert SCHEDULE.nsr[low - 1] < 0.3 <= SCHEDULE.nsr[low] and SCHEDULE.nsr[high] <= 3.0 < SCHEDULE.nsr[high + 1]
    with pytest.raises(ValueError, match="no level"):
        interval_of_sigma(SCHEDULE, 1e6, 1e7)
    with pytest.raises(ValueError, match="start = 1"):
        interval_of_steps(range(11), 1.0, 1.0)
    with pytest.raises(ValueError, match="none of 10 steps"):
        interval_of_steps(range(11), 0.5, 0.5)


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    "words, says",
    [
        ("interval:700-200", "interval 700-200: it is empty"),
        ("interval:0-200", "interval 0-200: levels begin at 1"),
        ("interval", "as in interval:200-700"),
        ("interval:1.5-3", "as in interval:200-700"),
        ("rescale:2", "a share from 0 to 1"),
        ("rescale:much", "a share from 0 to 1"),
        ("rescale:nan", "a share from 0 to 1"),
        ("auto", "name a weaker model"),
        ("cfg++:2", "is unknown"),
        ("intervall:2-3", "did you mean interval"),
    ],
)
def test_words_that_name_no_guidance(words, says):
    with pytest.raises(ValueError, match=says):
        guide_named(words)


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match=r"levels are 1\.\.100"):
        check_guide(guide_named("interval:20-101"), 2.0, 100)
    with pytest.raises(ValueError, match="at scale 1 changes nothing"):
        check_guide(guide_named("rescale:0.7"), 1.0, 100)
    for words in ("cfg++", "auto:digits"):
        with pytest.raises(ValueError, match="this command takes"):
            guide_of_walk(words)
    with pytest.raises(ValueError, match="steps of its own"):
        guide_named("cfg++").predictor(ONE.eps, LINE.eps, 2.0, SCHEDULE)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"guidance": "interval:200-1001", "scale": 2.0}, r"levels are 1\.\.1000"),
        ({"guidance": "interval:200-700"}, "changes nothing"),
        ({"guidance": "cfg++", "scale": 0.5, "eta": 1.0}, "leave out --solver and --eta"),
        ({"guidance": "cfg++", "scale": 0.5, "label": "any"}, "there is none"),
        ({"guidance": "auto:faces", "scale": 2.0}, "other pictures"),
    ],
)
def test_what_a_model_can_not_draw(options, says):
    with pytest.raises(ValueError, match=says):
        load("digits").sample(2, steps=2, **options)


@pytest.fixture
def without_classes(tmp_path):
    config = UNetConfig(8, 1, ch=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), dropout=0.0, groups=4)
    path = tmp_path / "plain.safetensors"
    save(path, UNet(config).state_dict(), config, NoiseSchedule.linear(T=60))
    return str(path)


@pytest.mark.parametrize(
    "command, words, says",
    [
        (sample, "digits --scale 3 --guidance interval:200-1700", "interval 200-1700: levels are 1..1000"),
        (sample, "digits --scale 3 --guidance interval:0-700", "interval 0-700: levels begin at 1"),
        (sample, "digits --scale 3 --guidance interval:700-200", "give the lower level first"),
        (sample, "digits --scale 2 --guidance auto:digits-distill", "is a student of"),
        (sample, "PLAIN --scale 3", "guidance is towards a class, and there is none"),
        (sample, "PLAIN --scale 3 --guidance interval:2-7", "guidance is towards a class, and there is none"),
        (apply, "edit digits --target 3 --guidance interval:200-1700", "interval 200-1700: levels are 1..1000"),
        (apply, "edit digits --target 3 --by exact --guidance interval:0-9", "interval 0-9: levels begin at 1"),
        (apply, "edit PLAIN --by exact", "knows no classes"),
        (apply, "edit digits-distill --target 3 --by exact", "no path to follow; take its teacher"),
    ],
)
def test_a_mistake_at_the_command_line_is_one_line(
    command, words, says, without_classes, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    number = ["-n", "2"] if command is apply else ["--n", "2"]
    assert command.main([*words.replace("PLAIN", without_classes).split(), *number, "--out", "a.png"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ") and says in said and "\n" not in said and not (tmp_path / "a.png").exists()


def test_samples_of_a_model_are_those_of_the_functions():
    model = load("digits")
    told, every = model.eps_theta(torch.arange(4)), model.eps_theta()
    tau = make_tau(1000, 5)
    x_T = draw(torch.empty(4, 1, 8, 8), image_generators(0, 0, 4))
    how = {"steps": 5, "clip": "off", "precision": "float32"}
    interval = decode(guided_between(told, every, 2.0, (200, 700), model.schedule), x_T, model.schedule, tau)
    plus = decode_cfgpp(told, every, x_T, model.schedule, tau, scale=0.5)
    for guidance, scale, wanted in (("interval:200-700", 2.0, interval), ("cfg++", 0.5, plus)):
        found = model.sample(4, guidance=guidance, scale=scale, **how)
        torch.testing.assert_close(found, wanted.clamp(-1, 1), rtol=1e-4, atol=1e-3)
    same = model.sample(4, guidance="auto:digits", scale=3.0, **how)
    torch.testing.assert_close(same, model.sample(4, **how), rtol=1e-3, atol=1e-2)
