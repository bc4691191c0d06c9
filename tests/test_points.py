"""The network for points: its formula written out again, what a noise predictor must do, and that it learns."""

import math

import numpy as np
import pytest
import torch

from ddim_edu.exact import GaussianMixture
from ddim_edu.forward import q_sample
from ddim_edu.losses import draw_t, loss_simple
from ddim_edu.nets.points import PointNet
from ddim_edu.randomness import draw
from ddim_edu.sampler import sample
from ddim_edu.schedule import NoiseSchedule, make_tau


def randomised(dim=2, width=16, depth=3, time_dim=8, seed=0):
    """A float64 network in which no layer is zero, as in a trained one."""
    torch.manual_seed(seed)
    net = PointNet(dim, width, depth, time_dim).double()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(0, 0.5)
    return net


def batch(dim=2, n=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    return x, torch.randint(1, 1001, (n,), generator=generator)


def by_formula(weights, depth, time_dim, x, t):
    """The class's docstring in NumPy, from the weights alone, one point at a time."""
    w = {name: p.numpy() for name, p in weights.items()}
    half, rows = time_dim // 2, []
    for point, level in zip(x.numpy(), t.tolist()):
        angles = [level / 10_000 ** (i / (half - 1)) for i in range(half)]
        e = np.array([*map(math.sin, angles), *map(math.cos, angles)] + [0.0] * (time_dim - 2 * half))
        h = point
        for i in range(depth):
            a = w[f"layers.{i}.weight"] @ h + w[f"layers.{i}.bias"] + w[f"times.{i}.weight"] @ e
            h = a / (1 + np.exp(-a)) + (h if i > 0 else 0)
        rows.append(w["out.weight"] @ h + w["out.bias"])
    return torch.tensor(np.array(rows))


@pytest.mark.parametrize("dim, width, depth, time_dim", [(2, 16, 3, 8), (1, 5, 1, 4), (3, 3, 4, 9)])
def test_equals_its_formula(dim, width, depth, time_dim):
    net, (x, t) = randomised(dim, width, depth, time_dim), batch(dim)
    expected = by_formula(net.state_dict(), depth, time_dim, x, t)
    with torch.no_grad():
        ours = net(x, t)
    assert ours.std() > 0.01
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-3)  # float32 angles up to 1000 radians


def test_parameter_count():
    dim, width, depth, time_dim = 2, 128, 3, 32  # the defaults
    hidden = (dim + 1) * width + (depth - 1) * (width + 1) * width + depth * time_dim * width
    assert sum(p.numel() for p in PointNet().parameters()) == hidden + (width + 1) * dim


def test_a_new_network_predicts_zero():
    x, t = batch()
    assert PointNet().double()(x, t).abs().max() == 0


def test_every_parameter_learns():
    torch.manual_seed(0)
    net = PointNet(width=16).double()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    x, t = batch(n=32)
    for _ in range(2):  # the last layer starts at zero and holds back the gradient of the first step
        optimizer.zero_grad()
        (net(x, t) - x).square().mean().backward()
        optimizer.step()
    asleep = [name for name, p in net.named_parameters() if p.grad is None or (p.grad == 0).all()]
    assert asleep == []


def test_t_matters_everywhere():
    net = randomised(time_dim=32)
    x, _ = batch(n=1)
    out = net(x.expand(4, -1), torch.tensor([1, 2, 500, 1000]))
    assert torch.pdist(out).min() > 1e-3 * out.norm()


def test_points_of_a_batch_do_not_mix():
    net = randomised()
    x, t = batch()
    alone = torch.cat([net(x[i : i + 1], t[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(net(x, t), alone, rtol=1e-12, atol=1e-12)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(net(x, t)[0].square().sum(), x)
    assert gradient[0].abs().min() > 0 and gradient[1:].abs().max() == 0


def test_every_coordinate_sees_every_coordinate():
    net = randomised(dim=3)
    x, t = batch(dim=3, n=1)
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x, t)[0], x)[:, 0]
    assert (jacobian != 0).all() and torch.linalg.matrix_rank(jacobian) == 3


def test_learns_the_exact_predictor():
    """Two peaks on a line: after two seconds of training the loss's excess over the best possible is small at every
    level.
    """
    schedule = NoiseSchedule.linear(T=100, beta_start=1e-3, beta_end=0.2)
    peaks = GaussianMixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05], schedule)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = PointNet(dim=1, width=64)
    steps = 600
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x_0 = peaks.sample(256, generator).float()
        loss = loss_simple(net, x_0, draw_t(256, 100, generator=generator), draw(x_0, generator), schedule)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    with torch.no_grad():
        for t in (5, 20, 40, 70, 100):
            x_0 = peaks.sample(5_000, generator)
            x_t = q_sample(x_0, t, schedule, draw(x_0, generator))
            best = peaks.eps(x_t, t)
            excess = (net(x_t.float(), torch.full((5_000,), t)) - best).square().mean()
            assert excess < 0.06 and excess < 0.2 * best.square().mean()
    x = sample(net, (4_000, 1), schedule, make_tau(100, 100), eta=1.0, generator=generator)
    assert abs((x < -0.2).double().mean() - 0.3) < 0.06  # standard error 0.007, and a network's own error


@pytest.mark.parametrize(
    "arguments, says",
    [
        ({"dim": 0}, "dim = 0"),
        ({"width": 0}, "width = 0"),
        ({"depth": 0}, "depth = 0"),
        ({"time_dim": 3}, "time_dim = 3"),
    ],
)
def test_a_size_that_is_too_small_is_refused(arguments, says):
    with pytest.raises(ValueError) as error:
        PointNet(**arguments)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "x_shape, t, says",
    [
        ((3, 1), torch.ones(3, dtype=torch.int64), r"\(B, 2\)"),
        ((2,), torch.ones(2, dtype=torch.int64), r"\(B, 2\)"),
        ((3, 2), torch.ones(1, dtype=torch.int64), r"shape \(3,\)"),
        ((3, 2), torch.ones(3, 1, dtype=torch.int64), r"shape \(3,\)"),
        ((3, 2), torch.full((3,), 0.5), "integers in 1..T"),
        ((3, 2), torch.ones(3, dtype=torch.bool), "integers in 1..T"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x_shape, t, says):
    with pytest.raises(ValueError, match=says) as error:
        PointNet()(torch.zeros(x_shape), t)
    assert "\n" not in str(error.value)
