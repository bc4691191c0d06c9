import math
import warnings

import pytest
import torch

from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.posterior import q_sigma
from ddim_edu.randomness import draw, image_generators
from ddim_edu.sampler import ddim_path, ddim_step, decode, invert, sample
from ddim_edu.schedule import NoiseSchedule, make_tau

LINEAR = NoiseSchedule.linear()
MIXTURE = GaussianMixture(
    [0.3, 0.7], [[-1.0, 0.5], [1.0, -0.25]], [[[0.05, 0.02], [0.02, 0.04]], [[0.1, 0.0], [0.0, 0.02]]], LINEAR
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_a_step_is_equation_12():
    """Equations: eq:generative-step"""
    x_t, eps, z = normal(3, 4, seed=1), normal(3, 4, seed=2), normal(3, 4, seed=3)
    abar_t, abar_s, sigma = 0.2, 0.6, 0.3
    x0_hat = (x_t - math.sqrt(0.8) * eps) / math.sqrt(0.2)
    expected = math.sqrt(0.6) * x0_hat + math.sqrt(1 - 0.6 - 0.09) * eps + 0.3 * z
    assert torch.allclose(ddim_step(x_t, eps, abar_t, abar_s, sigma, z), expected, rtol=1e-13)


def test_a_step_with_the_true_noise_is_the_posterior():
    x_0, eps, z = normal(5, 2, seed=4), normal(5, 2, seed=5), normal(5, 2, seed=6)
    t, s = 700, 300
    abar_t, abar_s, sigma = LINEAR.alpha_bar[t], LINEAR.alpha_bar[s], LINEAR.sigma(t, s, 0.6)
    x_t = abar_t.sqrt() * x_0 + (1 - abar_t).sqrt() * eps
    posterior = q_sigma(x_t, x_0, abar_t, abar_s, sigma)
    assert torch.allclose(ddim_step(x_t, eps, abar_t, abar_s, sigma, z), posterior.mean + posterior.std * z, atol=1e-12)


# --- against diffusers' scheduler, an independent implementation
# ---------------------------------------------------------------


def a_model(x, t):
    """Any function of x and t, in float64: not a good predictor, so that mistakes don't cancel. t counts from 1."""
    t = torch.as_tensor(t, dtype=torch.float64).reshape(-1, *[1] * (x.ndim - 1))
    return torch.tanh(1.3 * x + 0.2 * torch.sin(t / 50)) - 0.1 * x.roll(1, -1)


def test_a_step_takes_data_that_was_predicted_or_edited_before():
    x_t, eps, z = normal(3, 4, seed=1), normal(3, 4, seed=2), normal(3, 4, seed=3)
    edited = ((x_t - math.sqrt(0.8) * eps) / math.sqrt(0.2)).clamp(-1, 1)
    expected = math.sqrt(0.6) * edited + math.sqrt(1 - 0.6 - 0.09) * eps + 0.3 * z
    assert torch.allclose(ddim_step(x_t, eps, 0.2, 0.6, 0.3, z, x0_hat=edited), expected, rtol=1e-13)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("S", [10, 50])
@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_whole_trajectories_equal_diffusers(eta, clip, S, beta_schedule):
    diffusers = pytest.importorskip("diffusers")
    their = diffusers.DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule=beta_schedule,
        clip_sample=clip is not None,
    )
    their.set_timesteps(S)
    their.alphas_cumprod = their.alphas_cumprod.double()
    ours = {
        "linear": lambda: NoiseSchedule.linear(),
        "scaled_linear": lambda: NoiseSchedule.scaled_linear(1000, 1e-4, 0.02),
        "squaredcos_cap_v2": lambda: NoiseSchedule.cosine(1000),
    }[beta_schedule]()
    assert torch.allclose(ours.alpha_bar[1:], their.alphas_cumprod, rtol=3e-5)  # theirs is a float32 product
    # Take their rounded alpha-bar, so that what is compared is the sampler alone.
    ours = NoiseSchedule.from_betas(
        1 - their.alphas_cumprod / torch.cat([torch.ones(1).double(), their.alphas_cumprod[:-1]])
    )

    x = normal(2, 3, 4, 4, seed=7)
    noise = generator(8)
    their_x, path = (
        x,
        ddim_path(a_model, x, ours, make_tau(1000, S, "leading"), eta=eta, generator=generator(8), clip=clip),
    )
    for step, their_t in zip(path, their.timesteps, strict=True):
        out = their.step(
            a_model(their_x, their_t + 1),
            their_t,
            their_x,
            eta=eta,
            generator=noise,
            use_clipped_model_output=clip is not None,
        )
        assert step.t == their_t + 1
        if eta > 0 and step.s == 0:  # diffusers draws a noise that it multiplies by zero
            assert LINEAR.sigma(step.t, 0, eta) == 0
        assert torch.allclose(step.x0_hat, out.pred_original_sample, rtol=1e-7, atol=1e-7)
        assert torch.allclose(step.x_s, out.prev_sample, rtol=1e-7, atol=1e-7)
        their_x = out.prev_sample
    assert step.s == 0


def test_one_step_equals_diffusers_without_the_recomputed_noise():
    """Their default keeps the noise of the unclipped prediction; ddim_step given that noise and no clip agrees too."""
    diffusers = pytest.importorskip("diffusers")
    their = diffusers.DDIMScheduler(num_train_timesteps=1000, clip_sample=False)
    their.set_timesteps(20)
    their.alphas_cumprod = their.alphas_cumprod.double()
    x, eps = normal(4, 1, 3, 3, seed=9), normal(4, 1, 3, 3, seed=10)
    out = their.step(eps, 500, x, eta=0.0).prev_sample
    assert torch.allclose(ddim_step(x, eps, their.alphas_cumprod[500], their.alphas_cumprod[450]), out, rtol=1e-10)


# --- against the truth
# -----------------------------------------------------------------------------------------------------------


def test_sigma_hat_is_ddpms_ancestral_step():
    """eta = "hat" with tau = 0..T: x_{t-1} = (x_t - beta_t / sqrt(1 - abar_t) eps) / sqrt(1 - beta_t) + sqrt(beta_t) z.

    Equations: eq:mean-from-eps
    """
    schedule = NoiseSchedule.linear(T=20)
    x, noise = normal(3, 2, seed=11), generator(12)
    for step in ddim_path(a_model, x, schedule, range(21), eta="hat", generator=generator(12)):
        t = step.t
        eps = a_model(x, torch.full((3,), t))
        mean = (x - schedule.beta[t] / (1 - schedule.alpha_bar[t]).sqrt() * eps) / (1 - schedule.beta[t]).sqrt()
        z = torch.randn(3, 2, generator=noise, dtype=torch.float64) if t > 1 else 0.0
        x = mean + schedule.beta[t].sqrt() * z
        assert torch.allclose(step.x_s, x, atol=1e-12)


def test_eta_1_is_ddpms_step_with_the_posterior_variance():
    schedule = NoiseSchedule.linear(T=20)
    x, noise = normal(3, 2, seed=13), generator(14)
    for step in ddim_path(a_model, x, schedule, range(21), eta=1.0, generator=generator(14)):
        t = step.t
        abar_t, abar_s, beta = schedule.alpha_bar[t], schedule.alpha_bar[t - 1], schedule.beta[t]
        mean = (x - beta / (1 - abar_t).sqrt() * a_model(x, torch.full((3,), t))) / (1 - beta).sqrt()
        z = torch.randn(3, 2, generator=noise, dtype=torch.float64) if t > 1 else 0.0
        x = mean + ((1 - abar_s) / (1 - abar_t) * beta).sqrt() * z
        assert torch.allclose(step.x_s, x, atol=1e-12)


def gaussian_flow(x_T, abar_T, mean, cov):
    """Closed-form end of the ODE from level abar_T to the data N(mean, cov): whiten at the start, colour at the end."""
    variances, axes = torch.linalg.eigh(cov)
    z = ((x_T - abar_T.sqrt() * mean) @ axes) / (abar_T * variances + 1 - abar_T).sqrt()
    return mean + (z * variances.sqrt()) @ axes.T


@pytest.mark.parametrize("spacing", ["linspace", "trailing", "quadratic-full"])
def test_ddim_converges_at_first_order_to_the_closed_form(spacing):
    """Halving the step halves the error. T is large, so that levels are not what limits it.

    Equations: eq:gaussian-flow, eq:clock-step
    """
    schedule = NoiseSchedule.linear(T=16000, beta_start=1e-4 / 16, beta_end=0.02 / 16)
    mean, cov = (
        torch.tensor([0.5, -0.3], dtype=torch.float64),
        torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64),
    )
    exact = Gaussian(mean, cov, schedule)
    x_T = normal(64, 2, seed=15)
    truth = gaussian_flow(x_T, schedule.alpha_bar[-1], mean, cov)
    errors = []
    for S in (200, 400, 800):
        *_, last = ddim_path(exact.eps, x_T, schedule, make_tau(16000, S, spacing))
        errors.append((last.x_s - truth).square().mean().sqrt().item())
    orders = [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]
    assert errors[-1] < 5e-3 and all(0.9 < order < 1.1 for order in orders), (errors, orders)


@pytest.mark.slow
def test_ddim_converges_at_first_order_on_a_mixture():
    """No closed form here: against the same sampler with all 4,000 levels of a fine schedule."""
    schedule = NoiseSchedule.linear(T=4000, beta_start=1e-4 / 4, beta_end=0.02 / 4)
    exact = GaussianMixture(MIXTURE.weights, MIXTURE.means, MIXTURE.covs, schedule)
    x_T = normal(64, 2, seed=16)

    def end(S):
        *_, last = ddim_path(exact.eps, x_T, schedule, make_tau(4000, S, "trailing"))
        return last.x_s

    truth = 2 * end(4000) - end(2000)  # Richardson: the first-order part cancels
    errors = [(end(S) - truth).abs().mean().item() for S in (125, 250, 500)]
    orders = [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]
    assert all(0.85 < order < 1.15 for order in orders), (errors, orders)


@pytest.mark.slow
@pytest.mark.parametrize("eta", [0.3, 1.0, "hat"])
def test_stochastic_samples_have_the_mixtures_moments(eta):
    """S = T = 1000: mean, covariance and the first component's share within four standard errors and a small bias."""
    n = 8_000
    x = sample(MIXTURE.eps, (n, 2), LINEAR, make_tau(1000, 1000), eta=eta, generator=generator(17), dtype=torch.float64)
    mean = MIXTURE.weights @ MIXTURE.means
    centred = MIXTURE.means - mean
    cov = torch.einsum("k,kij->ij", MIXTURE.weights, MIXTURE.covs + centred[:, :, None] * centred[:, None])
    se_mean = (cov.diagonal() / n).sqrt()
    assert ((x.mean(0) - mean).abs() < 4 * se_mean + 0.005).all()
    fourth = ((x - mean) ** 4).mean(0)
    se_var = ((fourth - cov.diagonal() ** 2) / n).sqrt()
    assert ((x.var(0) - cov.diagonal()).abs() < 4 * se_var + 0.005).all()
    first = (x[:, 0] < 0).double().mean().item()
    assert abs(first - 0.3) < 4 * math.sqrt(0.21 / n) + 0.005


def test_invert_then_sample_returns_the_start_at_first_order():
    x_0 = MIXTURE.sample(200, generator(18))
    errors = []
    for S in (100, 200, 400):
        tau = make_tau(1000, S, "quadratic-full")
        x_T = invert(MIXTURE.eps, x_0, LINEAR, tau)
        *_, last = ddim_path(MIXTURE.eps, x_T, LINEAR, tau)
        errors.append((last.x_s - x_0).abs().mean().item())
    assert errors[-1] < 0.01 and 0.7 < math.log2(errors[0] / errors[1]) and 0.7 < math.log2(errors[1] / errors[2]), (
        errors
    )
    assert abs(x_T.mean()) < 0.25 and abs(x_T.std() - 1) < 0.15  # what it is encoded as looks like x_T


def test_inversion_asks_the_network_at_the_level_it_leaves():
    seen = []

    def model(x, t):
        seen.append(t[0].item())
        return a_model(x, t)

    tau = make_tau(1000, 6, "trailing")
    invert(model, normal(2, 3), LINEAR, tau)
    assert seen == [1, *tau[1:-1].tolist()]  # and level 1 in the place of 0, which no network knows


def test_one_inversion_step_up_and_down_with_the_same_noise_is_exact():
    x, eps = normal(4, 3, seed=19), normal(4, 3, seed=20)
    up = ddim_step(x, eps, 0.9, 0.1)
    assert torch.allclose(ddim_step(up, eps, 0.1, 0.9), x, atol=1e-13)


# --- the hooks and the noise
# -----------------------------------------------------------------------------------------------------


def test_each_step_reads_one_from_the_other():
    steps = list(ddim_path(MIXTURE.eps, normal(3, 2), LINEAR, make_tau(1000, 7)))
    assert [a.t for a in steps] == make_tau(1000, 7)[1:].flip(0).tolist()
    assert [a.s for a in steps[:-1]] == [b.t for b in steps[1:]] and steps[-1].s == 0
    assert all(torch.equal(a.x_s, b.x_t) for a, b in zip(steps, steps[1:], strict=False))
    assert torch.equal(steps[-1].x_s, steps[-1].x0_hat)  # the last step returns the prediction


def test_the_network_is_called_once_a_step_at_the_levels_of_tau():
    seen = []

    def model(x, t):
        assert t.dtype == torch.int64 and t.shape == (3,)
        seen.append(t[0].item())
        return x

    tau = make_tau(1000, 13, "quadratic")
    sample(model, (3, 2), LINEAR, tau)
    assert seen == tau[1:].flip(0).tolist()


@pytest.mark.parametrize("S", [1, 7, 10, 20, 300])
def test_the_default_asks_the_network_at_level_T_first(S):
    """Where its x_T is what was drawn; the official code's spacing first asks below T, what the network knows of data
    under noise.
    """
    seen = []

    def model(x, t):
        seen.append((t[0].item(), x))
        return a_model(x, t)

    sample(model, (3, 2), LINEAR, make_tau(1000, S), generator=generator(3), dtype=torch.float64)
    assert seen[0][0] == LINEAR.T > make_tau(1000, S, "leading")[-1]
    assert torch.equal(seen[0][1], normal(3, 2, seed=3))


def test_clipping_keeps_x_t_noise_and_data_consistent():
    for step in ddim_path(a_model, 3 * normal(5, 2), LINEAR, make_tau(1000, 10), clip=1.0):
        assert step.x0_hat.abs().max() <= 1
        a = LINEAR.alpha_bar[step.t]
        assert torch.allclose(a.sqrt() * step.x0_hat + (1 - a).sqrt() * step.eps_hat, step.x_t, atol=1e-12)


def test_edit_x0_sees_the_level_and_decides_the_result():
    target, levels = normal(2, 3, seed=21), []

    def edit(x0_hat, t):
        levels.append(t)
        return target

    x = sample(a_model, (2, 3), LINEAR, make_tau(1000, 5), edit_x0=edit, dtype=torch.float64)
    assert torch.equal(x, target) and levels == make_tau(1000, 5)[1:].flip(0).tolist()


@pytest.mark.parametrize("eta", [0.0, 0.5, "hat"])
def test_an_image_does_not_depend_on_its_batch(eta):
    tau = make_tau(1000, 8)

    def draw_range(start, stop):
        return sample(
            a_model,
            (stop - start, 3),
            LINEAR,
            tau,
            eta=eta,
            generator=image_generators(3, start, stop),
            dtype=torch.float64,
        )

    whole = draw_range(0, 10)
    assert torch.equal(whole, torch.cat([draw_range(0, 4), draw_range(4, 10)]))
    assert len({tuple(row.tolist()) for row in whole}) == 10


@pytest.mark.parametrize("one_each", [False, True])
def test_every_step_gets_fresh_standard_noise(one_each):
    """Read back from the states: where the model predicts 0, x_s = sqrt(abar_s / abar_t) x_t + sigma z. 40 steps:
    several blocks.
    """
    source = image_generators(0, 0, 50) if one_each else generator()
    found = []
    for step in ddim_path(
        lambda x, t: torch.zeros_like(x), normal(50, 4), LINEAR, make_tau(1000, 40), eta=1.0, generator=source
    ):
        if step.s > 0:
            kept = (LINEAR.alpha_bar[step.s] / LINEAR.alpha_bar[step.t]).sqrt()
            found.append((step.x_s - kept * step.x_t) / LINEAR.sigma(step.t, step.s, 1.0))
    z = torch.stack(found).flatten(1)  # (39, 200)
    assert abs(z.mean()) < 4 / z.numel() ** 0.5 and abs(z.var() - 1) < 4 * (2 / z.numel()) ** 0.5
    apart = torch.corrcoef(z) - torch.eye(39, dtype=torch.float64)
    assert apart.abs().max() < 0.4  # about 0.07 each: no step reuses another's noise


def test_seeds_do_not_share_images():
    first = {g.initial_seed() for seed in range(20) for g in image_generators(seed, 0, 50)}
    assert len(first) == 1000


def test_the_same_generator_gives_the_same_noise_and_dtype():
    like = torch.empty(3, 2, dtype=torch.float64)
    assert torch.equal(draw(like, generator(5)), draw(like, generator(5))) and draw(like).dtype == torch.float64
    assert not torch.equal(draw(like, generator(5)), draw(like, generator(6)))


@pytest.mark.parametrize("eta", [0.0, 0.5, "hat"])
def test_a_sample_is_a_draw_decoded(eta):
    drawn = generator(3)
    x_T = draw(torch.empty(3, 2, dtype=torch.float64), drawn)
    how = {"eta": eta, "clip": 0.8, "edit_x0": lambda x0_hat, t: 0.9 * x0_hat}
    *_, last = ddim_path(a_model, x_T, LINEAR, make_tau(1000, 9), generator=generator(4), **how)
    assert torch.equal(decode(a_model, x_T, LINEAR, make_tau(1000, 9), generator=generator(4), **how), last.x_s)
    found = sample(a_model, (3, 2), LINEAR, make_tau(1000, 9), generator=generator(3), dtype=torch.float64, **how)
    assert torch.equal(found, decode(a_model, x_T, LINEAR, make_tau(1000, 9), generator=drawn, **how))


def test_float32_throughout():
    x = sample(MIXTURE.eps, (3, 2), LINEAR, make_tau(1000, 5), eta=0.5, generator=generator())
    assert x.dtype == torch.float32
    assert invert(MIXTURE.eps, x, LINEAR, make_tau(1000, 5)).dtype == torch.float32


X = torch.zeros(2, 2)


def test_the_largest_eta_that_the_message_names_is_allowed():
    with pytest.raises(ValueError) as error:
        ddim_path(a_model, X, LINEAR, [0, 990, 1000], eta=3.0)
    most = float(str(error.value).split()[-1])
    assert 1 < most < 3 and len(list(ddim_path(a_model, X, LINEAR, [0, 990, 1000], eta=most - 1e-3))) == 2


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: ddim_path(a_model, X, LINEAR, [0, 5], eta=-0.5), "eta = -0.5"),
        (lambda: ddim_path(a_model, X, LINEAR, [0, 5], eta="big"), "eta = big"),
        (lambda: ddim_path(a_model, X, LINEAR, [1, 5]), "from 0"),
        (lambda: ddim_path(a_model, X, LINEAR, [0, 5, 5]), "rise strictly"),
        (lambda: ddim_path(a_model, X, LINEAR, [0]), "make_tau"),
        (lambda: ddim_path(a_model, X, LINEAR, [0, 1001]), "1001"),
        (lambda: ddim_path(a_model, X, LINEAR, [0, 5], clip=-1), "clip = -1"),
        (lambda: ddim_path(a_model, X, LINEAR, [0, 500, 1000], eta=3.0), "eta = 3.0 asks for more"),
        (lambda: ddim_step(X, X, 0.2, 0.5, 0.1), "needs noise"),
        (
            lambda: sample(a_model, (2, 2), LINEAR, [0, 5], generator=image_generators(0, 0, 3)),
            "3 generators for a batch of 2",
        ),
        (lambda: image_generators(-1, 0, 1), "seed = -1"),
        (lambda: invert(a_model, X, LINEAR, [0, 2000]), "2000"),
    ],
)
def test_bad_input_is_named_in_one_line(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "schedule, tau, says",
    [
        (NoiseSchedule.cosine(1000), make_tau(1000, 200, "trailing"), r"from level 995 to 1000.*make_tau\(\d+, S\)"),
        (NoiseSchedule.cosine(1000), make_tau(1000, 1000, "leading"), "from level 999 to 1000"),
        (NoiseSchedule.cosine(1000), make_tau(1000, 20, "trailing"), "from level 950 to 1000"),
        (LINEAR, make_tau(1000, 2, "trailing"), "from level 500 to 1000"),
    ],
)
def test_inversion_says_that_its_last_step_is_too_long(schedule, tau, says):
    data = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.01, schedule)
    with pytest.warns(UserWarning, match=says) as told:
        invert(data.eps, torch.ones(3, 1, dtype=torch.float64), schedule, tau)
    assert len(told) == 1 and told[0].filename == __file__
    # The remedy is one: what it names is taken in silence, and comes back better.
    top = int(str(told[0].message).split("make_tau(")[1].split(",")[0])
    assert top < tau[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        invert(
            data.eps,
            torch.ones(3, 1, dtype=torch.float64),
            schedule,
            make_tau(top, min(top, max(len(tau) - 1, 5)), "trailing"),
        )


@pytest.mark.parametrize(
    "schedule, tau",
    [(NoiseSchedule.cosine(1000), make_tau(top, S, "trailing")) for top in (900, 990) for S in (10, 20, 200)]
    + [(LINEAR, make_tau(1000, S, spacing)) for S in (5, 10, 1000) for spacing in ("leading", "trailing")]
    + [(NoiseSchedule.cosine(1000), make_tau(1000, S, "leading")) for S in (10, 50, 200)],
)
def test_inversion_is_silent_in_normal_use(schedule, tau):
    data = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.01, schedule)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        invert(data.eps, torch.ones(3, 1, dtype=torch.float64), schedule, tau)
