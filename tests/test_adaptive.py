import math

import numpy as np
import pytest
import torch

from ddim_edu.adaptive import (
    adaptive_step_loss,
    adaptive_step_size,
    complexity,
    loss_adaptive,
    mended_loss,
    pixel_complexity,
)
from ddim_edu.forward import q_sample, unmix_eps, unmix_x0
from ddim_edu.losses import loss_simple
from ddim_edu.schedule import NoiseSchedule

LINEAR = NoiseSchedule.linear()
ZEROS = torch.zeros(1, 1, 2, 2)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---------------------------------------------------------------- as published, against the formulas written out


def complexity_by_hand(x):
    """Every difference written out, in numpy: entry (i, j) looks at the padded picture's rows i, i + 1 and columns j, j
    + 1.
    """
    B, C, H, W = x.shape
    framed = np.zeros((B, C, H + 2, W + 2))
    framed[:, :, 1:-1, 1:-1] = x
    size = np.zeros((B, C, H + 1, W + 1))
    for i in range(H + 1):
        for j in range(W + 1):
            here, right, below = framed[:, :, i, j], framed[:, :, i, j + 1], framed[:, :, i + 1, j]
            size[:, :, i, j] = np.sqrt((right - here) ** 2 + (below - here) ** 2)
    return size / (np.sqrt((size**2).sum()) + 1e-8)


def resize_by_hand(a, H, W):
    """Bilinear, pixel centres at halves: target (i + 1/2) / H of the height is where the source is read."""

    def weights(n_from, n_to):
        matrix = np.zeros((n_to, n_from))
        for i in range(n_to):
            at = min(max((i + 0.5) * n_from / n_to - 0.5, 0), n_from - 1)
            low = min(int(at), n_from - 2)
            matrix[i, low], matrix[i, low + 1] = 1 - (at - low), at - low
        return matrix

    return np.einsum("ih,bchw,jw->bcij", weights(a.shape[2], H), a, weights(a.shape[3], W))


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 1, 5, 9), (3, 1, 1, 4), (1, 2, 1, 1)])
def test_published_formulas(shape):
    """Square, single-channel, not square, one pixel; a batch of one and of more.

    Equations: eq:published-complexity, eq:published-step, eq:published-loss
    """
    x, eps, eps_hat = normal(*shape, seed=1), normal(*shape, seed=2), normal(*shape, seed=3)
    expected = complexity_by_hand(x.numpy())
    found = complexity(x)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-14)
    assert found.square().sum().item() == pytest.approx(1, abs=1e-6)
    with np.errstate(divide="ignore"):
        steps = np.minimum(np.maximum(0.05 / expected, 0.1), 0.9)
    np.testing.assert_allclose(adaptive_step_size(found, 0.05, 0.1, 0.9).numpy(), steps, rtol=1e-9)
    error = (eps_hat - eps).numpy()
    loss = (error**2).mean() + 0.3 * (resize_by_hand(expected, *shape[2:]) * abs(error)).mean()
    assert adaptive_step_loss(eps_hat, eps, x, 0.3).item() == pytest.approx(loss, rel=1e-9)


def test_published_lambda_is_a_tenth_by_default():
    x, eps, eps_hat = normal(1, 1, 4, 4), normal(1, 1, 4, 4, seed=1), normal(1, 1, 4, 4, seed=2)
    mse = (eps_hat - eps).square().mean()
    term = adaptive_step_loss(eps_hat, eps, x) - mse
    torch.testing.assert_close(adaptive_step_loss(eps_hat, eps, x, 1.0) - mse, 10 * term)
    assert adaptive_step_loss(eps_hat, eps, x, 0.0) == mse


def test_published_complexity_shrinks_with_the_number_of_elements():
    x = normal(1, 3, 8, 8)
    for n in (4, 100):
        torch.testing.assert_close(
            complexity(x.expand(n, -1, -1, -1))[:1], complexity(x) / math.sqrt(n), rtol=1e-6, atol=0
        )


def test_published_on_constant_pictures():
    """A black frame is an edge for it; where nothing changes the complexity is 0 and the step the largest."""
    flat = complexity(torch.full((1, 1, 4, 4), 0.5))
    assert (flat[..., 1:-1, 1:-1] == 0).all() and (flat[..., 0, 1:] > 0).all()
    zero = complexity(torch.zeros(2, 1, 4, 4))
    assert (zero == 0).all()
    assert (adaptive_step_size(zero, max_step=7.0) == 7.0).all()
    eps = torch.ones(2, 1, 4, 4)
    assert adaptive_step_loss(torch.zeros_like(eps), eps, torch.zeros_like(eps)) == 1.0


# ---------------------------------------------------------------- mended


def test_pixel_complexity_by_hand():
    """Equations: eq:pixel-complexity"""
    x = normal(2, 3, 4, 6)
    framed = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    expected = np.zeros((2, 1, 4, 6))
    for i in range(4):
        for j in range(6):
            right = (framed[:, :, i + 1, j + 2] - framed[:, :, i + 1, j]) / 2
            down = (framed[:, :, i + 2, j + 1] - framed[:, :, i, j + 1]) / 2
            expected[:, 0, i, j] = np.sqrt((right**2 + down**2).sum(1))
    expected /= expected.mean((2, 3), keepdims=True)
    np.testing.assert_allclose(pixel_complexity(x).numpy(), expected, rtol=1e-12)


def test_pixel_complexity_lies_on_the_pixels():
    """A picture mirrored has its map mirrored: the published one's is not, it lies half a pixel beside the picture."""
    x = normal(1, 2, 5, 7)
    for axis in (2, 3):
        torch.testing.assert_close(pixel_complexity(x.flip(axis)), pixel_complexity(x).flip(axis))
        assert not torch.allclose(complexity(x.flip(axis)), complexity(x).flip(axis))
    point = torch.zeros(1, 1, 5, 5)
    point[..., 2, 2] = 1
    around = pixel_complexity(point)[0, 0]
    assert around.nonzero().tolist() == [[1, 2], [2, 1], [2, 3], [3, 2]]


def test_pixel_complexity_knows_no_batch_contrast_or_brightness():
    x = normal(3, 1, 6, 6)
    whole = pixel_complexity(x)
    torch.testing.assert_close(whole.mean((1, 2, 3)), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(pixel_complexity(x[1:2]), whole[1:2])
    for scale in (1e-30, 1e-3, 1e30):
        torch.testing.assert_close(pixel_complexity((scale * x).float()), whole.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pixel_complexity(5 - x), whole)


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (2, 3, 1, 5), (1, 1, 1, 1)])
def test_constant_pictures_have_complexity_one(shape):
    assert (pixel_complexity(torch.full(shape, 0.3)) == 1).all()
    eps_hat, eps = normal(*shape), normal(*shape, seed=1)
    torch.testing.assert_close(mended_loss(eps_hat, eps, torch.zeros_like(eps), 5.0), (eps_hat - eps).square().mean())


def test_one_constant_picture_in_a_batch():
    x = torch.cat([torch.zeros(1, 1, 4, 4), normal(1, 1, 4, 4).float()])
    found = pixel_complexity(x)
    assert (found[0] == 1).all() and found[1].std() > 0.1 and found.isfinite().all()


def test_mended_loss_by_hand():
    """Equations: eq:mended-loss"""
    eps_hat, eps, x = normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=1), normal(2, 3, 4, 4, seed=2)
    weight = (1 + 3 * pixel_complexity(x)) / 4
    places = [(b, c, i, j) for b in range(2) for c in range(3) for i in range(4) for j in range(4)]
    expected = sum(weight[b, 0, i, j] * (eps_hat - eps)[b, c, i, j] ** 2 for b, c, i, j in places)
    assert mended_loss(eps_hat, eps, x, 3.0).item() == pytest.approx(expected.item() / 96, rel=1e-12)
    assert mended_loss(eps_hat, eps, x, 0.0) == (eps_hat - eps).square().mean()


def test_mended_loss_is_on_the_scale_of_the_mse():
    """An error that knows nothing of the picture: the weights have mean 1, at every lambda and batch size."""
    x = normal(500, 1, 8, 8)
    eps_hat, eps = torch.zeros_like(x), normal(500, 1, 8, 8, seed=1)
    for lam in (0.1, 1.0, 100.0):
        assert mended_loss(eps_hat, eps, x, lam).item() == pytest.approx(1, abs=0.04)


# Two pictures, one flat and one busy, and an x_t between: what was mixed in is one of two noises, with known
# probabilities.
PICTURES = torch.tensor([[0.1, 0.1, 0.1, 0.1], [0.9, -0.7, 0.8, -0.9]], dtype=torch.float64).view(2, 1, 2, 2)


def losses_of(kind, eps_hat, x_t, abar):
    """The expected loss at x_t over the posterior of (x_0, eps), and that posterior's mean and median noise."""
    share = (-(x_t - math.sqrt(abar) * PICTURES).square().sum((1, 2, 3)) / (2 * (1 - abar))).softmax(0)
    noises = [unmix_eps(x_t, PICTURES[k : k + 1], abar) for k in range(2)]
    total = 0
    for k in range(2):
        if kind == "mended":
            one = mended_loss(eps_hat, noises[k], unmix_x0(x_t, eps_hat, abar), 3.0)
        elif kind == "clean":  # the mended loss with the complexity of the clean picture
            one = mended_loss(eps_hat, noises[k], PICTURES[k : k + 1], 3.0)
        elif kind == "published":
            one = adaptive_step_loss(eps_hat, noises[k], PICTURES[k : k + 1], 0.3)
        else:
            one = (eps_hat - noises[k]).square().mean()
        total = total + share[k] * one
    return total, sum(share[k] * noises[k] for k in range(2))


@pytest.mark.parametrize("kind, unbiased", [("mse", True), ("mended", True), ("clean", False), ("published", False)])
def test_where_the_optimum_lies(kind, unbiased):
    """At E[eps | x_t] the slope of the expected loss is 0 for the MSE and for the mended loss; the published one is
    minimised elsewhere, and so is a squared error whose weight looks at the clean picture.

    Equations: eq:weighted-optimum
    """
    abar = 0.3
    x_t = 0.4 * PICTURES.sum(0, keepdim=True) + 0.3 * normal(1, 1, 2, 2, seed=5)
    eps_hat = losses_of("mse", torch.zeros(1, 1, 2, 2, dtype=torch.float64), x_t, abar)[1].requires_grad_()
    (slope,) = torch.autograd.grad(losses_of(kind, eps_hat, x_t, abar)[0], eps_hat)
    assert (slope.norm() < 1e-12) == unbiased
    assert unbiased or slope.norm() > 1e-3


# ---------------------------------------------------------------- the losses that recipes name


def test_losses_by_name():
    x_0, eps, t = normal(3, 1, 4, 4), normal(3, 1, 4, 4, seed=1), torch.tensor([1, 400, 1000])

    def eps_theta(x_t, t):
        assert t.tolist() == [1, 400, 1000]
        return 0.5 * x_t

    x_t = q_sample(x_0, t, LINEAR, eps)
    eps_hat = 0.5 * x_t
    arguments = (eps_theta, x_0, t, eps, LINEAR)
    assert loss_adaptive(*arguments, "published") == adaptive_step_loss(eps_hat, eps, x_0, 0.1)
    x0_hat = unmix_x0(x_t, eps_hat, LINEAR.alpha_bar[t])
    assert loss_adaptive(*arguments, "mended") == mended_loss(eps_hat, eps, x0_hat, 1.0)
    assert loss_adaptive(*arguments, "mended", 7.0) == mended_loss(eps_hat, eps, x0_hat, 7.0)
    for kind in ("published", "mended"):
        torch.testing.assert_close(loss_adaptive(*arguments, kind, 0.0), loss_simple(*arguments))


@pytest.mark.parametrize("kind", ["published", "mended"])
@pytest.mark.parametrize("answer", [lambda x, t: x[:1], lambda x, t: x[..., :1]])
def test_an_answer_of_another_shape_is_refused_as_by_the_plain_loss(kind, answer):
    x_0, eps, t = normal(3, 1, 4, 4), normal(3, 1, 4, 4, seed=1), torch.tensor([1, 400, 1000])
    with pytest.raises(ValueError, match="eps_theta returned"):
        loss_adaptive(answer, x_0, t, eps, LINEAR, kind)
    with pytest.raises(ValueError, match="noise of shape"):
        loss_adaptive(lambda x, t: x, x_0, t, eps[:1], LINEAR, kind)


def test_no_gradient_goes_through_the_weights():
    x_t, eps = normal(1, 1, 4, 4), normal(1, 1, 4, 4, seed=1)
    eps_hat = normal(1, 1, 4, 4, seed=2).requires_grad_()
    x0_hat = unmix_x0(x_t, eps_hat, 0.5)
    (found,) = torch.autograd.grad(mended_loss(eps_hat, eps, x0_hat, 2.0), eps_hat)
    weight = (1 + 2 * pixel_complexity(x0_hat.detach())) / 3
    torch.testing.assert_close(found, weight * 2 * (eps_hat - eps).detach() / 16)


@pytest.mark.parametrize("lam", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("loss", [adaptive_step_loss, mended_loss])
def test_lambda_is_checked(loss, lam):
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="lambda = "):
        loss(x, x, x, lam)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: complexity(torch.zeros(4, 4)), "give \\(B, C, H, W\\)"),
        (lambda: pixel_complexity(torch.zeros(0, 1, 4, 4)), "give \\(B, C, H, W\\)"),
        (lambda: adaptive_step_size(torch.ones(3), base_step=0.0), "base_step = 0.0"),
        (lambda: adaptive_step_size(torch.ones(3), min_step=2.0, max_step=1.0), "min_step = 2.0"),
        (lambda: adaptive_step_size(torch.ones(3), max_step=math.nan), "max_step = nan"),
        (lambda: mended_loss(ZEROS, ZEROS, torch.zeros(1, 1, 3, 2)), "differ in shape"),
        (lambda: loss_adaptive(lambda x, t: x, ZEROS, torch.tensor([1]), ZEROS, LINEAR, "l1"), "kind = 'l1'"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_flat_pictures_in_half_precision():
    assert torch.equal(complexity(torch.zeros(1, 1, 2, 2).half()), torch.zeros(1, 1, 3, 3).half())


def test_no_gradient_flows_into_the_published_weight():
    """The root of the map has none where a pixel equals both its neighbours: there it would be nan."""
    generator = torch.Generator().manual_seed(0)
    x, eps = (torch.randn(1, 1, 4, 4, generator=generator) for _ in range(2))
    x = x.clone().requires_grad_()
    adaptive_step_loss(x, eps, x, lam=0.1).backward()
    plain = x.detach().clone().requires_grad_()
    adaptive_step_loss(plain, eps, x.detach(), lam=0.1).backward()
    assert x.grad.isfinite().all() and torch.equal(x.grad, plain.grad)
