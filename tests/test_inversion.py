"""Exact inversion against the papers' formulas, written out here in float64, and against closed forms."""

from itertools import pairwise

import pytest
import torch

from ddim_edu.apps.edit import DAMPING, translate, translate_exactly
from ddim_edu.data.registry import load_data
from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.guidance import guided, of_class
from ddim_edu.inversion import (
    Pair,
    balanced_mixing,
    bdia_decode,
    bdia_encode,
    edict_decode,
    edict_encode,
    fixed_point_invert,
    fixed_point_iterates,
    record,
    replay,
)
from ddim_edu.models import load
from ddim_edu.sampler import decode, invert
from ddim_edu.schedule import NoiseSchedule, make_tau

SCHEDULE = NoiseSchedule.linear()
ALL = GaussianMixture([0.5, 0.5], [[-0.5, 0.2], [0.5, -0.2]], 0.2, SCHEDULE)
ONE = of_class(ALL, 0)
X = ONE.sample(50, torch.Generator().manual_seed(0))
TAU = make_tau(900, 10, "trailing")
SCALES = pytest.mark.parametrize("scale", [1.0, 7.5])


def ab(t, s):
    """x_s = a x_t + b eps, as both papers write DDIM."""
    abar = SCHEDULE.alpha_bar
    a = (abar[s] / abar[t]).sqrt()
    return a, (1 - abar[s]).sqrt() - a * (1 - abar[t]).sqrt()


def eps(x, t, scale):
    level = torch.full((len(x),), max(int(t), 1))
    free = ALL.eps(x, level)
    return free + scale * (ONE.eps(x, level) - free)


def near(ours, theirs, off=1e-10):
    assert (ours - theirs).abs().max() < off * max(1, theirs.abs().max())


@SCALES
@pytest.mark.parametrize("p", [0.93, 0.7])
def test_edict_is_the_papers_sixteen_lines(scale, p):
    """Equations: eq:edict, eq:edict-inverse"""
    f = guided(ONE.eps, ALL.eps, scale)
    x = y = X
    for s, t in pairwise(TAU.tolist()):
        a, b = ab(t, s)
        y = (y - (1 - p) * x) / p
        x = (x - (1 - p) * y) / p
        y = (y - b * eps(x, t, scale)) / a
        x = (x - b * eps(y, t, scale)) / a
    pair = edict_encode(f, X, SCHEDULE, TAU, p)
    near(pair.x, x), near(pair.y, y)
    start = Pair(0.3 * X, 0.2 * X)
    x, y = start
    for t, s in pairwise(TAU.tolist()[::-1]):
        a, b = ab(t, s)
        x = a * x + b * eps(y, t, scale)
        y = a * y + b * eps(x, t, scale)
        x = p * x + (1 - p) * y
        y = p * y + (1 - p) * x
    pair = edict_decode(f, start, SCHEDULE, TAU, p)
    near(pair.x, x), near(pair.y, y)


@SCALES
@pytest.mark.parametrize("gamma", [1.0, 0.6])
def test_bdia_is_the_papers_recurrence(scale, gamma):
    """z_{i-1} = gamma (z_{i+1} - z_i) - gamma (up - z_i) + a z_i + b eps, and its inverse.

    Equations: eq:bdia, eq:bdia-inverse
    """
    f, levels = guided(ONE.eps, ALL.eps, scale), TAU.tolist()

    def parts(z, i):
        e, (a, b), (c, d) = eps(z, levels[i], scale), ab(levels[i], levels[i - 1]), ab(levels[i + 1], levels[i])
        return a * z + b * e, z / c - d / c * e

    a, b = ab(levels[0], levels[1])
    z = {0: X, 1: a * X + b * eps(X, 1, scale)}
    for i in range(1, 10):
        down, up = parts(z[i], i)
        z[i + 1] = z[i - 1] / gamma - down / gamma + up
    pair = bdia_encode(f, X, SCHEDULE, TAU, gamma)
    near(pair.x, z[10]), near(pair.y, z[9])
    a, b = ab(900, levels[9])
    z = {10: X, 9: a * X + b * eps(X, 900, scale)}
    for i in range(9, 0, -1):
        down, up = parts(z[i], i)
        z[i - 1] = gamma * (z[i + 1] - z[i]) - gamma * (up - z[i]) + down
    near(bdia_decode(f, X, SCHEDULE, TAU, gamma), z[0])


@SCALES
def test_there_and_back_to_1e_12_on_the_mixture(scale):
    """Equations: eq:record"""
    f = guided(ONE.eps, ALL.eps, scale)
    pair = edict_decode(f, edict_encode(f, X, SCHEDULE, TAU), SCHEDULE, TAU)
    back = [*pair, bdia_decode(f, bdia_encode(f, X, SCHEDULE, TAU), SCHEDULE, TAU)]
    for chained in (False, True):
        notes = record(f, X, SCHEDULE, TAU, chained=chained, generator=torch.Generator().manual_seed(1))
        back.append(replay(f, notes, SCHEDULE, TAU))
    assert max((y - X).abs().max() for y in back) < 1e-12
    assert (decode(f, invert(f, X, SCHEDULE, TAU), SCHEDULE, TAU) - X).abs().max() > 0.01


@SCALES
@pytest.mark.parametrize("name", ["digits", "fashion-mnist"])
def test_there_and_back_to_1e_12_on_shipped_networks(name, scale):
    model = load(name)
    model.model.double()
    x = torch.rand(2, *model.image_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    f, walk = guided(model.eps_theta(torch.tensor([3, 8])), model.eps_theta(), scale), (model.schedule, TAU)
    back = [*edict_decode(f, edict_encode(f, x, *walk), *walk), bdia_decode(f, bdia_encode(f, x, *walk), *walk)]
    assert max((y - x).abs().max() for y in back) < 1e-12


def test_the_fixed_point_contracts_at_the_rate_of_the_text():
    """On N(0, v) the gap to the fixed point shrinks by (1 - nu_s / nu_t) nu_t^2 / (v + nu_t^2), with turning sign.

    Equations: eq:fixed-point, eq:fixed-contraction
    """
    v, t, s = 0.3, 400, 300
    exact = Gaussian(torch.zeros(1), v, SCHEDULE)
    nu_t, nu_s = SCHEDULE.nsr[t], SCHEDULE.nsr[s]
    factor = (1 - nu_s / nu_t) * nu_t**2 / (v + nu_t**2)
    guesses = fixed_point_iterates(exact.eps, torch.ones(1, 1).double(), SCHEDULE, t, s)
    x = torch.stack([next(guesses) for _ in range(40)]).flatten()
    gaps = x[:8] - x[-1]
    assert torch.allclose(gaps[1:] / gaps[:-1], factor.expand(7), rtol=1e-6)


def test_the_fixed_point_comes_back_and_its_first_guess_is_invert():
    tau = make_tau(900, 40, "trailing")
    assert torch.equal(fixed_point_invert(ALL.eps, X, SCHEDULE, tau, 0), invert(ALL.eps, X, SCHEDULE, tau))
    off = []
    for iterations in (0, 3, 30):
        latent = fixed_point_invert(ALL.eps, X, SCHEDULE, tau, iterations)
        off.append((decode(ALL.eps, latent, SCHEDULE, tau) - X).abs().max())
    assert off[0] > 20 * off[1] and off[2] < 1e-8


def test_volumes_of_pairs():
    """Jacobians by autograd: BDIA's determinant is (-gamma)^S a coordinate, EDICT's p^(2S) / abar_T.

    Equations: eq:pair-volumes, eq:edict-balance
    """
    gamma, p, f = 0.8, 0.9, guided(ONE.eps, ALL.eps, 3.0)
    start = torch.cat([X[:1], 0.9 * X[:1]]).flatten()

    def by(decoded):
        return torch.linalg.det(torch.autograd.functional.jacobian(decoded, start)).abs()

    def edict(z, q=p):
        return torch.cat(edict_decode.__wrapped__(f, Pair(z[None, :2], z[None, 2:]), SCHEDULE, TAU, q), 1)[0]

    def bdia(z):
        before, x = z[None, :2], z[None, 2:]
        for u, t, s in zip(TAU.tolist()[::-1], TAU.tolist()[-2::-1], TAU.tolist()[-3::-1]):
            e, (a, b), (c, d) = f(x, torch.tensor([t])), ab(t, s), ab(u, t)
            before, x = x, a * x + b * e + gamma * (before - (x - d * e) / c)
        return torch.cat([x, before], 1)[0]

    assert torch.isclose(by(bdia), torch.tensor(gamma**9).double() ** 2)
    assert torch.isclose(by(edict), (p**20 / SCHEDULE.alpha_bar[900]) ** 2)
    assert torch.isclose(by(lambda z: edict(z, balanced_mixing(SCHEDULE, TAU))), torch.ones(()).double())


def test_a_record_has_the_states_marginals():
    """Each state has the variance of its level, by either way, and a record of another length is refused."""
    x = torch.full((20_000, 1), 0.7).double()
    zero = lambda x_t, t: torch.zeros_like(x_t)  # noqa: E731
    for chained in (False, True):
        notes = record(zero, x, SCHEDULE, TAU, chained=chained, generator=torch.Generator().manual_seed(0))
        abar = SCHEDULE.alpha_bar[900]
        assert abs(notes.x_T.var() / (1 - abar) - 1) < 0.05 and abs(notes.x_T.mean() - 0.7 * abar**0.5) < 0.03
        first = notes.x_T * (SCHEDULE.alpha_bar[TAU[-2]] / abar).sqrt() + notes.missed[0]
        assert abs(first.var() / (1 - SCHEDULE.alpha_bar[TAU[-2]]) - 1) < 0.05
    with pytest.raises(ValueError, match="10 steps can't be replayed in 5"):
        replay(zero, notes, SCHEDULE, TAU[::2])


def test_exact_editing_comes_back_where_naive_does_not():
    """Encoder as decoder under guidance; and another class changes the picture."""
    model, x = load("digits"), torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    f = guided(model.eps_theta(3), model.eps_theta(), 4.0)
    exact = translate_exactly(f, f, x, model.schedule, TAU)
    assert (exact - x).abs().max() < 1e-3 < (translate(f, f, x, model.schedule, TAU) - x).abs().max()
    assert (translate_exactly(f, model.eps_theta(5), x, model.schedule, TAU) - x).abs().max() > 0.1
    assert torch.equal(translate_exactly(f, f, x, model.schedule, TAU, 0.0), x)


def test_damping_keeps_faces_under_another_class_in_range():
    """At gamma = 1 nothing damps what another class does to the old state."""
    model = load("faces")
    data = load_data("faces")
    x, tau = data.floats(data.heldout[:3]), make_tau(900, 20, "trailing")
    up, down = model.eps_theta(), guided(model.eps_theta(2), model.eps_theta(), 2.0)
    beyond, rough = {}, {}
    for gamma in (None, 1.0):
        y = translate_exactly(up, down, x, model.schedule, tau, gamma=gamma)
        beyond[gamma] = (y.abs() > 1.1).double().mean()
        rough[gamma] = (y[..., 1:] - y[..., :-1]).abs().mean() / (x[..., 1:] - x[..., :-1]).abs().mean()
    assert beyond[None] < beyond[1.0] / 2 and rough[None] < rough[1.0]
    assert DAMPING ** (1 / 20) == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("S", [20, 100, 250])
def test_damping_does_not_grow_with_the_steps(S):
    model, x = load("digits"), torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    f = guided(model.eps_theta(3), model.eps_theta(), 4.0)
    back = translate_exactly(f, f, x, model.schedule, make_tau(900, S, "trailing"))
    assert (back - x).abs().max() < 2e-3


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: edict_encode(ALL.eps, X, SCHEDULE, TAU, 0.0), "mixing = 0"),
        (lambda: edict_decode(ALL.eps, X, SCHEDULE, TAU, 1.1), "mixing = 1.1"),
        (lambda: bdia_encode(ALL.eps, X, SCHEDULE, TAU, 0.0), "gamma = 0"),
        (lambda: bdia_decode(ALL.eps, X, SCHEDULE, TAU, 2.0), "gamma = 2"),
        (lambda: fixed_point_invert(ALL.eps, X, SCHEDULE, TAU, -1), "iterations = -1"),
        (lambda: record(ALL.eps, X, SCHEDULE, TAU, eta=1.5), "eta = 1.5"),
        (lambda: translate_exactly(ALL.eps, ALL.eps, 255 * X.abs(), SCHEDULE, TAU), r"give them in \[-1, 1\]"),
        (lambda: translate_exactly(ALL.eps, ALL.eps, X.clamp(-1, 1), SCHEDULE, TAU, 0.1), "one step"),
    ],
)
def test_what_is_out_of_range_is_said(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize("tau", [[0, 1001], [0], [], [0, 5, -1], [0, 2.5], [0, float("inf")], [0, float("nan")]])
def test_levels_that_do_not_fit(tau):
    schedule, x = NoiseSchedule.linear(), torch.zeros(1, 1, 2, 2)
    eps = lambda x_t, t: x_t  # noqa: E731
    for way in (
        lambda: record(eps, x, schedule, tau, generator=torch.Generator()),
        lambda: edict_encode(eps, x, schedule, tau),
        lambda: edict_decode(eps, x, schedule, tau),
        lambda: balanced_mixing(schedule, tau),
    ):
        with pytest.raises(ValueError, match="^tau "):
            way()
