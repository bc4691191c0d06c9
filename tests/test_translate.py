"""The same process elsewhere is the same process: against diffusers itself and other libraries' formulas."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from ddim_edu.commands.translate import main
from ddim_edu.conventions import (
    LIBRARIES,
    Process,
    from_diffusers,
    table,
    to_azula,
    to_diffusers,
    to_edm,
    to_flow,
    to_logsnr,
    to_smalldiffusion,
)
from ddim_edu.exact import GaussianMixture
from ddim_edu.forward import eps_to_v, unmix_x0
from ddim_edu.sampler import ddim_path

MEANS = [[-1.5, 0.5], [1.0, -0.25]]


def start(n=16):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def ours(p, data, x):
    *_, last = ddim_path(
        data.eps, x, p.noise, p.tau, eta=p.eta, clip=p.clip, generator=torch.Generator().manual_seed(1)
    )
    return last.x_s


@pytest.mark.parametrize("schedule", ["linear", "scaled-linear", "cosine"])
@pytest.mark.parametrize("S, spacing", [(10, "leading"), (7, "leading"), (20, "trailing")])
@pytest.mark.parametrize(
    "predicts, eta, clip", [("eps", 0.0, None), ("v", 0.0, None), ("x0", 0.0, 1.0), ("eps", 0.7, 1.0)]
)
def test_diffusers_draws_the_same(schedule, S, spacing, predicts, eta, clip):
    from diffusers import DDIMScheduler

    p = Process(schedule, 1000, S, spacing, eta, predicts, clip)
    theirs = to_diffusers(p)
    data = GaussianMixture([0.3, 0.7], MEANS, 0.05, p.noise)
    scheduler = DDIMScheduler(**theirs["DDIMScheduler"])
    scheduler.alphas_cumprod = p.noise.alpha_bar[1:]  # theirs are in float32
    scheduler.set_timesteps(theirs["set_timesteps"])
    assert scheduler.timesteps.tolist() == theirs["timesteps"]
    x, generator = start(), torch.Generator().manual_seed(1)
    for t in scheduler.timesteps:
        abar = p.noise.alpha_bar[t + 1].item()
        eps = data.eps(x, int(t) + 1)
        output = {"eps": eps, "v": eps_to_v(eps, x, abar), "x0": unmix_x0(x, eps, abar)}[predicts]
        x = scheduler.step(output, t, x, generator=generator, **theirs["step"]).prev_sample
    assert torch.allclose(x, ours(p, data, start()), atol=1e-7)
    assert from_diffusers(scheduler.config, S, eta, clip is not None) == p


def test_euler_in_edms_sigma_is_eta_0():
    p = Process(S=20, spacing="trailing")
    data, x = GaussianMixture([0.3, 0.7], MEANS, 0.05, p.noise), start()
    sigmas = to_edm(p)["sigmas"]
    y = x * (1 + sigmas[0] ** 2) ** 0.5
    for t, (a, b) in zip(p.tau[:0:-1], pairwise(sigmas)):
        x_0 = y - a * data.eps(y / (1 + a**2) ** 0.5, t)
        y = y + (b - a) * (y - x_0) / a
    assert torch.allclose(y, ours(p, data, x), atol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_smalldiffusions_family_and_azulas_eta(eta):
    """smalldiffusion: sig_p = (sig'/sig^mu)^(1/(1-mu)) is kept and sqrt(sig'^2 - sig_p^2) is fresh. azula: (sqrt of
    eta) times DDPM's.
    """
    p = Process(S=10, spacing="trailing", eta=eta)
    theirs = to_smalldiffusion(p)
    azula = to_azula(p)
    for (a, b), (t, s) in zip(pairwise(theirs["sigmas"]), pairwise(p.tau[::-1])):
        kept = (b / a ** theirs["mu"]) ** (1 / (1 - theirs["mu"]))
        sigma = p.noise.sigma(t, s, eta).item()
        assert (b**2 - kept**2) ** 0.5 * p.noise.alpha_bar[s].item() ** 0.5 == pytest.approx(sigma, abs=1e-12)
        assert azula["eta"] ** 0.5 * p.noise.sigma(t, s, 1.0).item() == pytest.approx(sigma)
    assert to_azula(Process(eta=0.5))["eta"] == 0.25
    assert all(a**2 + b**2 == pytest.approx(1) for a, b in zip(azula["alpha"], azula["sigma"]))


def test_flow_matching_and_log_snr():
    p = Process(S=10, spacing="trailing")
    data, x = GaussianMixture([0.3, 0.7], MEANS, 0.05, p.noise), start()
    u = to_flow(p)["r"]
    assert u[-1] == 0 and all(a > b for a, b in pairwise(u))
    y = x * (1 - u[0]) / p.noise.alpha_bar[p.tau[-1]].sqrt()
    for t, (a, b) in zip(p.tau[:0:-1], pairwise(u)):  # Euler along the straight path: velocity eps - x_0
        abar = p.noise.alpha_bar[t]
        eps = data.eps(y * abar.sqrt() / (1 - a), t)
        y = y + (b - a) * (eps - (y - a * eps) / (1 - a))
    assert torch.allclose(y, ours(p, data, x), atol=1e-9)
    log_snr = to_logsnr(p)["log_snr"]
    assert log_snr[-1] == float("inf") and all(a < b for a, b in pairwise(log_snr))
    assert all(
        n == pytest.approx(-0.5 * s)
        for n, s in zip((torch.tensor(to_edm(p)["sigmas"][:-1]).log().tolist()), log_snr[:-1])
    )


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_every_library_by_command(library, capsys):
    assert main([library, "-T", "20", "--steps", "20", "--eta", "1"]) == 0
    assert json.loads(capsys.readouterr().out.replace("Infinity", "1e999"))


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["ddpm", "--steps", "10"], "all T steps"),
        (["diffusers", "--spacing", "linspace", "--steps", "10"], "t - T//S"),
        (["diffusers", "--spacing", "trailing", "--steps", "7"], "t - T//S"),
        (["smalldiffusion", "--eta", "0.5"], "eta = 0 and eta = 1 only"),
        ([], "whose words?"),
        (["diffuser"], "did you mean diffusers?"),
        (["book", "--schedule", "square"], "'square'"),
        (["book", "--steps", "2000"], "S = 2000"),
        (["book", "--steps", "0"], "steps = 0: give at least 1"),
        (["book", "--eta", "-1"], "eta = -1: give at least 0"),
        (["book", "--clip", "0"], "clip = 0: give a number above 0"),
    ],
)
def test_what_cannot_be_said_is_one_line_and_2(arguments, says, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and says in said


def test_a_process_refuses_what_none_is():
    for wrong, says in (
        ({"schedule": "square"}, "schedule 'square' is unknown"),
        ({"predicts": "noise"}, "choose eps, v or x0"),
        ({"S": 2000}, "S = 2000"),
        ({"T": 0}, "T = 0"),
        ({"eta": float("nan")}, "eta = nan"),
        ({"clip": 0.0}, "clip = 0"),
    ):
        with pytest.raises(ValueError, match=says):
            Process(**wrong)


def test_settings_of_diffusers_without_a_word_here_are_named():
    for config, says in (
        ({"steps_offset": 1}, "steps_offset"),
        ({"set_alpha_to_one": False}, "set_alpha_to_one"),
        ({}, "clip_sample"),
        ({"beta_end": 0.5}, "from_betas"),
        ({"prediction_type": "flow"}, "prediction_type = flow"),
    ):
        with pytest.raises(ValueError, match=says):
            from_diffusers(config, 10)


def test_the_table_of_the_book_is_the_generated_one():
    page = (Path(__file__).parent.parent / "book" / "notation.md").read_text(encoding="utf8")
    assert table() in page
