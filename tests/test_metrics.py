"""Distances between sets of images against closed forms and independent implementations, and whether they grow when
images get worse.
"""

import math
import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from errors import one_line
from torchvision.transforms.functional import gaussian_blur

from ddim_edu.data.registry import load_data
from ddim_edu.measuring.metrics import (
    classifier_distance,
    frechet_distance,
    kid,
    mean_and_cov,
    precision_recall,
    psnr,
    reconstruction_error,
    sharpness,
    ssim,
)
from ddim_edu.models import classifier_features, load_classifier


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def covariance(f, rank=None, seed=0):
    """A covariance with eigenvalues over two orders of magnitude, `rank` of them not zero."""
    basis = torch.linalg.qr(normal(f, f, seed=seed)).Q
    values = torch.logspace(-1, 1, f, dtype=torch.float64)
    values[rank or f :] = 0
    return basis @ values.diag() @ basis.T


def images(*shape, seed=0):
    return torch.rand(shape, generator=seeded(seed), dtype=torch.float64) * 2 - 1


# ---------------------------------------------------------------- statistics


def test_mean_and_cov_are_numpys():
    features = normal(50, 7) * torch.arange(1, 8) + 1e3
    mean, cov = mean_and_cov(features)
    np.testing.assert_allclose(mean, features.numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(cov, np.cov(features.numpy(), rowvar=False), rtol=1e-9)
    assert mean.dtype == cov.dtype == torch.float64


def test_float32_features_are_added_up_in_float64():
    features = (normal(1000, 3) + 1e4).float()
    _, cov = mean_and_cov(features)
    np.testing.assert_allclose(cov, np.cov(features.double().numpy(), rowvar=False), rtol=1e-9)


def test_too_few_samples_warn_and_say_why():
    with pytest.warns(UserWarning, match="8 samples of 8 features.*rank 7.*far too large"):
        mean_and_cov(normal(8, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean_and_cov(normal(9, 8))
    one_line(lambda: mean_and_cov(normal(1, 8)), "1 samples", "at least 2")
    one_line(lambda: mean_and_cov(normal(0, 8)), "0 samples")
    one_line(lambda: mean_and_cov(normal(8)), "(8,)")
    one_line(lambda: mean_and_cov(normal(9, 2).index_fill(0, torch.tensor(3), math.nan)), "not finite")


# ---------------------------------------------------------------- the Frechet distance


def test_one_dimension():
    # two Gaussians on a line: (m1 - m2)^2 + (s1 - s2)^2
    d = frechet_distance(torch.tensor([1.0]), torch.tensor([[4.0]]), torch.tensor([-2.0]), torch.tensor([[0.25]]))
    assert d == pytest.approx(3.0**2 + 1.5**2, rel=1e-14)


def test_equal_covariances_leave_the_means():
    mu1, mu2, cov = normal(12), normal(12, seed=1), covariance(12)
    assert frechet_distance(mu1, cov, mu2, cov) == pytest.approx((mu1 - mu2).square().sum().item(), rel=1e-12)


def test_diagonal_covariances():
    v1, v2 = normal(20).square(), normal(20, seed=1).square()
    v1[:3] = 0
    mu = torch.zeros(20)
    assert frechet_distance(mu, v1.diag(), mu, v2.diag()) == pytest.approx(
        (v1.sqrt() - v2.sqrt()).square().sum().item(), rel=1e-12
    )


def test_covariances_that_commute():
    # the same axes: root of the product is the product of the roots
    basis = torch.linalg.qr(normal(15, 15)).Q
    v1, v2 = normal(15, seed=1).square(), normal(15, seed=2).square()
    mu1, mu2 = normal(15, seed=3), normal(15, seed=4)
    expected = (mu1 - mu2).square().sum() + (v1.sqrt() - v2.sqrt()).square().sum()
    d = frechet_distance(mu1, basis @ v1.diag() @ basis.T, mu2, basis @ v2.diag() @ basis.T)
    assert d == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("f", [2, 10, 60])
def test_covariances_that_do_not_commute_against_scipy(f):
    """Equations: eq:frechet"""
    mu1, mu2, c1, c2 = normal(f), normal(f, seed=1), covariance(f), covariance(f, seed=2)
    assert (c1 @ c2 - c2 @ c1).abs().max() > 0.1
    root = scipy.linalg.sqrtm((c1 @ c2).numpy())
    expected = (mu1 - mu2).square().sum().item() + np.trace(c1 + c2) - 2 * np.trace(root).real
    d = frechet_distance(mu1, c1, mu2, c2)
    assert d == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(mu2, c2, mu1, c1) == pytest.approx(d, rel=1e-12)


def test_singular_covariances():
    # C2 = A C1 A with the symmetric map A: the best plan moves x to A x, at a cost of tr((A - 1) C1 (A - 1)) (Dowson
    # and Landau).
    f, mu = 40, torch.zeros(40)
    c1, a = covariance(f, rank=5), covariance(f, seed=1)
    expected = torch.trace((a - torch.eye(f)) @ c1 @ (a - torch.eye(f))).item()
    assert torch.linalg.matrix_rank(c1) == 5
    assert frechet_distance(mu, c1, mu, a @ c1 @ a) == pytest.approx(expected, rel=1e-7)
    # disjoint ranges: nothing in common, the traces add
    left, right = torch.zeros(f, f).double(), torch.zeros(f, f).double()
    left[:20, :20], right[20:, 20:] = covariance(20), covariance(20, seed=1)
    assert frechet_distance(mu, left, mu, right) == pytest.approx((left.trace() + right.trace()).item(), rel=1e-12)
    assert frechet_distance(mu, c1, mu, torch.zeros(f, f)) == pytest.approx(c1.trace().item(), rel=1e-12)
    assert frechet_distance(mu, torch.zeros(f, f), mu, torch.zeros(f, f)) == 0


@pytest.mark.parametrize("n", [20, 100, 2000])
def test_a_set_against_itself(n):
    features = normal(n, 64) @ covariance(64, rank=30)  # near-singular, and singular for n = 20
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mu, cov = mean_and_cov(features)
    assert 0 <= frechet_distance(mu, cov, mu, cov) < 1e-10 * cov.trace()


def test_float32_statistics_of_a_singular_covariance():
    # as saved by others: rounding makes them asymmetric and indefinite by a little
    mu, cov = torch.zeros(64), covariance(64, rank=30)
    rounded = cov.float()
    rounded[0, 1] *= 1 + 1e-6
    assert torch.linalg.eigvalsh(rounded.double()).min() < -1e-9
    assert frechet_distance(mu, rounded, mu, cov) < 1e-4 * cov.trace()


def test_samples_of_two_gaussians_approach_the_distance_from_above():
    mu1, mu2, c1, c2 = torch.zeros(8), torch.full((8,), 0.3), covariance(8), covariance(8, seed=1)
    truth = frechet_distance(mu1, c1, mu2, c2)
    found = []
    for n in (50, 500, 5000):
        pairs = []
        for seed in range(6):
            a = normal(n, 8, seed=2 * seed) @ torch.linalg.cholesky(c1).T
            b = normal(n, 8, seed=2 * seed + 1) @ torch.linalg.cholesky(c2).T + mu2
            pairs.append(frechet_distance(*mean_and_cov(a), *mean_and_cov(b)))
        found.append(np.mean(pairs))
    assert found[0] > found[1] > found[2] and abs(found[2] - truth) < 0.05 * truth and found[0] > 1.1 * truth


def test_bias_of_sample_statistics():
    """Of order 1/N, by the eigenvalues of the covariance, for N normal draws against the truth.

    Equations: eq:frechet-bias
    """
    mu, cov = normal(5), covariance(5)
    values = torch.linalg.eigvalsh(cov)
    pairs = values[:, None] * values / (values[:, None] + values)
    b = values.sum() + (pairs.sum() + pairs.diag().sum()) / 2
    root = torch.linalg.cholesky(cov).T
    for n in (300, 1200):
        found = torch.tensor(
            [frechet_distance(*mean_and_cov(normal(n, 5, seed=s) @ root + mu), mu, cov) for s in range(300)]
        )
        assert abs(found.mean() - b / n) < 4 * found.std() / 300**0.5
    assert b > 1.2 * values.sum()  # without the covariance's part the check would fail


def test_statistics_that_are_none():
    mu, cov = torch.zeros(3), torch.eye(3)
    one_line(lambda: frechet_distance(mu, cov, torch.zeros(4), torch.eye(4)), "(3,)", "(4,)")
    one_line(lambda: frechet_distance(mu, cov, mu, torch.eye(4)), "cov2", "(4, 4)")
    one_line(
        lambda: frechet_distance(mu, cov, mu, torch.tensor([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 1]])),
        "cov2",
        "not symmetric",
    )
    one_line(lambda: frechet_distance(mu, -cov, mu, cov), "cov1", "eigenvalue -1")
    one_line(lambda: frechet_distance(mu / 0, cov, mu, cov), "mean", "not finite")
    one_line(lambda: frechet_distance(mu, cov / 0, mu, cov), "cov1", "not finite")


# ---------------------------------------------------------------- KID


def by_definition(a, b):
    """Unbiased squared MMD, in loops."""

    def k(x, y):
        return (sum(p * q for p, q in zip(x, y)) / len(x) + 1) ** 3

    n = len(a)
    within = sum(k(z[i], z[j]) for z in (a, b) for i in range(n) for j in range(n) if i != j)
    return within / (n * (n - 1)) - 2 * sum(k(x, y) for x in a for y in b) / n**2


def test_kid_is_the_mean_over_subsets():
    """Equations: eq:kid"""
    a, b = normal(12, 3), normal(17, 3, seed=1) + 0.5
    generator = seeded(5)
    values = []
    for _ in range(4):
        x, y = a[torch.randperm(12, generator=generator)[:6]], b[torch.randperm(17, generator=generator)[:6]]
        values.append(by_definition(x.tolist(), y.tolist()))
    mean, error = kid(a, b, subsets=4, subset_size=6, generator=seeded(5))
    assert mean == pytest.approx(np.mean(values), rel=1e-9)
    assert error == pytest.approx(np.std(values, ddof=1) * math.sqrt(6 / (12 - 6) + 1 / 4), rel=1e-9)


def test_kid_is_unbiased_and_its_error_honest():
    # x ~ N(0, 1), y ~ N(m, 1) on a line; k = (x y + 1)^3, so E k(x, y) = sum of binomials times products of moments
    m = 0.5
    moments_x, moments_y = (1, 0, 1, 0), (1, m, m**2 + 1, m**3 + 3 * m)
    mean_k = lambda p, q: sum(math.comb(3, i) * p[i] * q[i] for i in range(4))  # noqa: E731
    truth = mean_k(moments_x, moments_x) + mean_k(moments_y, moments_y) - 2 * mean_k(moments_x, moments_y)
    runs = [
        kid(
            normal(200, 1, seed=2 * s),
            normal(200, 1, seed=2 * s + 1) + m,
            subsets=40,
            subset_size=50,
            generator=seeded(s),
        )
        for s in range(80)
    ]
    means, errors = np.array(runs).T
    spread = means.std(ddof=1)
    assert abs(means.mean() - truth) < 4 * spread / math.sqrt(len(runs))
    assert 0.8 < np.sqrt((errors**2).mean()) / spread < 1.25
    naive = [e / math.sqrt(50 / 150 + 1 / 40) / math.sqrt(40) for e in errors]
    assert np.mean(naive) < 0.4 * spread  # what the spread of subsets over the root of their number would claim


def test_kid_of_one_distribution_is_zero_on_average():
    runs = [
        kid(normal(100, 4, seed=2 * s), normal(100, 4, seed=2 * s + 1), subsets=20, subset_size=50, generator=seeded(s))
        for s in range(60)
    ]
    means, errors = np.array(runs).T
    assert abs(means.mean()) < 4 * means.std(ddof=1) / math.sqrt(60) and means.min() < 0 < means.max()
    too_large = np.sqrt((errors**2).mean()) / means.std(ddof=1)  # sqrt(1 + 100 / 50), says the docstring
    assert too_large == pytest.approx(math.sqrt(3), rel=0.25)


def test_kid_of_what_can_not_be_compared():
    def call(n, m, subsets=5, size=10, f=3):
        return lambda: kid(normal(n, 3), normal(m, f), subsets=subsets, subset_size=size, generator=seeded())

    call(20, 40)()
    one_line(call(19, 40), "subset_size = 10", "2 to 9")
    one_line(call(40, 0), "at least 4")
    one_line(call(20, 40, size=1), "subset_size = 1")
    one_line(call(20, 40, subsets=1), "subsets = 1")
    one_line(call(20, 40, f=4), "3 and of 4 features")


# ---------------------------------------------------------------- precision and recall


def covered(points, centres, k):
    radii = [sorted(math.dist(a, b) for j, b in enumerate(centres) if j != i)[k - 1] for i, a in enumerate(centres)]
    return sum(any(math.dist(p, c) <= r for c, r in zip(centres, radii)) for p in points) / len(points)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_by_definition(k):
    """Equations: eq:precision"""
    real, fake = normal(40, 2), 0.4 * normal(30, 2, seed=1)
    expected = covered(fake.tolist(), real.tolist(), k), covered(real.tolist(), fake.tolist(), k)
    assert precision_recall(real, fake, k) == pytest.approx(expected, abs=1e-15)
    assert expected[0] > expected[1] + 0.1  # samples near the middle: like data, but they don't cover them


def test_precision_of_what_lies_close_together_and_far_away():
    """Where products of coordinates lose all digits of a distance, and points lie on the rim of a ball."""
    real, fake = 1e5 + 1e-4 * normal(60, 3), 1e5 + 1e-4 * normal(50, 3, seed=1)
    real, fake = torch.cat([real, real[:9], real[:9], real[:2] + 1e6]), torch.cat([fake, real[:20]])
    expected = covered(fake.tolist(), real.tolist(), 3), covered(real.tolist(), fake.tolist(), 3)
    assert precision_recall(real, fake) == pytest.approx(expected, abs=1e-15) and 0.3 < expected[0] < 1


def test_two_clusters_of_which_one_is_missed():
    a, b = normal(200, 2), normal(200, 2, seed=1) + 100
    assert precision_recall(torch.cat([a, b]), normal(300, 2, seed=2)) == pytest.approx((1, 0.5), abs=0.05)
    assert precision_recall(a, torch.cat([normal(300, 2, seed=2), b])) == pytest.approx((0.6, 1), abs=0.05)
    assert precision_recall(a, b) == (0, 0)


def test_equal_sets_and_copies():
    a = normal(700, 5, seed=1) + 1e3
    assert precision_recall(a, a) == (1, 1)
    twice = a[:10].repeat(8, 1)  # all balls have radius 0
    assert precision_recall(twice, a[:10]) == (1, 1)
    assert precision_recall(twice, a[:10] + 1e-6)[0] == 0
    assert precision_recall(normal(600, 2), normal(600, 2, seed=1)) == precision_recall(
        normal(600, 2).float().double(), normal(600, 2, seed=1)
    )


def test_precision_of_too_few():
    one_line(lambda: precision_recall(normal(3, 2), normal(9, 2)), "features_real", "at least 4")
    one_line(lambda: precision_recall(normal(9, 2), normal(0, 2)), "features_fake", "at least 4")
    one_line(lambda: precision_recall(normal(9, 2), normal(9, 2), k=0), "k = 0")
    one_line(lambda: precision_recall(normal(9, 2), normal(9, 3)), "2 and of 3 features")


# ---------------------------------------------------------------- pairs of images


def test_reconstruction_error_is_in_units_of_zero_to_one():
    x, y = images(4, 3, 5, 6), images(4, 3, 5, 6, seed=1)
    unit = lambda z: ((z + 1) / 2).numpy()  # noqa: E731
    expected = ((unit(x) - unit(y)) ** 2).reshape(4, -1).mean(1)
    np.testing.assert_allclose(reconstruction_error(x, y), expected, rtol=1e-12)
    assert reconstruction_error(torch.ones(1, 1, 2, 2), -torch.ones(1, 1, 2, 2)).item() == 1


def test_psnr():
    x = torch.zeros(3, 1, 4, 4)
    y = torch.stack([torch.full((1, 4, 4), v) for v in (2.0, 0.2, 0.0)])
    assert psnr(x, y).tolist() == pytest.approx([0, 20, math.inf], abs=1e-6)


def ssim_by_definition(x, y, window):
    """Equation 13 in loops, at every place of the window."""
    half = window // 2
    w = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * 1.5**2))
    w = np.outer(w, w) / np.outer(w, w).sum()
    c1, c2 = 0.01**2, 0.03**2
    found = []
    for a, b in zip(x, y):
        for i in range(half, a.shape[0] - half):
            for j in range(half, a.shape[1] - half):
                p, q = (z[i - half : i + half + 1, j - half : j + half + 1] for z in (a, b))
                mp, mq = (w * p).sum(), (w * q).sum()
                vp, vq, vpq = (w * (p - mp) ** 2).sum(), (w * (q - mq) ** 2).sum(), (w * (p - mp) * (q - mq)).sum()
                found.append((2 * mp * mq + c1) * (2 * vpq + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(found)


@pytest.mark.parametrize("window", [11, 7])
def test_ssim_by_definition(window):
    x = images(2, 3, 14, 12)
    y = (0.7 * x + 0.3 * images(2, 3, 14, 12, seed=1)) ** 3
    expected = [ssim_by_definition(a, b, window) for a, b in zip((x.numpy() + 1) / 2, (y.numpy() + 1) / 2)]
    np.testing.assert_allclose(ssim(x, y, window=window), expected, rtol=1e-9)
    assert 0.1 < expected[0] < 0.95


def test_ssim_of_equal_and_opposite_images():
    x = images(2, 1, 16, 16)
    assert ssim(x, x).tolist() == pytest.approx([1, 1], abs=1e-12)
    assert (ssim(x, -x) < -0.8).all()
    assert ssim(torch.ones(1, 1, 11, 11), torch.ones(1, 1, 11, 11)).item() == pytest.approx(1, abs=1e-12)
    assert torch.equal(ssim(x, -x), ssim(-x, x))


def test_pairs_that_are_none():
    x = images(2, 1, 8, 8)
    for measure in (reconstruction_error, psnr, lambda a, b: ssim(a, b, window=3)):
        one_line(lambda: measure(x, images(2, 1, 8, 9)), "(2, 1, 8, 8)", "(2, 1, 8, 9)")  # noqa: B023
        one_line(lambda: measure(x, x[:1]), "(1, 1, 8, 8)")  # noqa: B023
        one_line(lambda: measure(x[0], x[0]), "(B, C, H, W)")  # noqa: B023
        one_line(lambda: measure(x.to(torch.uint8), x.to(torch.uint8)), "uint8")  # noqa: B023
    one_line(lambda: ssim(x, x), "window = 11", "8 x 8", "at most 7")
    one_line(lambda: ssim(x, x, window=4), "window = 4", "odd")
    assert ssim(x, x, window=7).shape == (2,)


# ---------------------------------------------------------------- single images


def test_sharpness_is_the_mean_squared_laplacian():
    x = images(3, 2, 5, 6)
    unit = ((x + 1) / 2).numpy()
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    for image, found in zip(unit, sharpness(x)):
        values = [
            (kernel * c[i - 1 : i + 2, j - 1 : j + 2]).sum() for c in image for i in range(1, 4) for j in range(1, 5)
        ]
        assert found.item() == pytest.approx(np.mean(np.square(values)), rel=1e-12)


def test_sharpness_of_known_images():
    i, j = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    plane, board = (0.1 * i - 0.05 * j)[None, None], (2 * ((i + j) % 2) - 1)[None, None]
    assert sharpness(plane).item() == pytest.approx(0, abs=1e-10) and sharpness(board).item() == pytest.approx(16)
    noise = 0.2 * normal(400, 1, 16, 16)  # of variance 0.01 where images are in [0, 1]
    assert sharpness(noise).mean().item() == pytest.approx(20 * 0.01, rel=0.05)
    digits = load_data("digits")
    x = digits.floats(digits.heldout)
    assert (sharpness(gaussian_blur(x, 3, 0.7)) < sharpness(x)).all()


def test_sharpness_needs_inner_pixels():
    one_line(lambda: sharpness(images(1, 1, 2, 9)), "2 x 9")
    one_line(lambda: sharpness(images(1, 9, 9)), "(1, 9, 9)")


# ---------------------------------------------------------------- the classifiers' distance


@pytest.fixture(scope="module", params=["digits", "fashion-mnist"])
def yardstick(request):
    """Distance of images from the training set, and held-out images with their labels."""
    classifier = load_classifier(request.param)
    try:
        data = load_data(request.param, data_dir="/nowhere") if request.param == "digits" else fashion_mnist_if_here()
    except ValueError as error:
        pytest.skip(str(error))
    reference = mean_and_cov(classifier_features(data.floats(data.train[:2000]), classifier))
    x, labels = data.floats(data.heldout[:1000]), data.heldout_labels[:1000]
    return (lambda images: classifier_distance(images, reference, classifier)), x, labels


def fashion_mnist_if_here():
    """The data set from this machine; a test downloads nothing."""
    from ddim_edu.data.named import DEBIAN_FASHION_MNIST
    from ddim_edu.data.source import default_data_dir

    if not DEBIAN_FASHION_MNIST.is_dir() and not default_data_dir().is_dir():
        pytest.skip("Fashion-MNIST is not on this machine")
    return load_data("fashion-mnist")


def rises(values, total):
    """Each step up, and all together by a factor."""
    assert all(a < b for a, b in zip(values, values[1:])), values
    assert values[-1] > total * values[0], values


def test_the_distance_rises_with_noise(yardstick):
    distance, x, _ = yardstick
    noise = torch.randn(x.shape, generator=seeded(1))
    rises([distance((x + s * noise).clamp(-1, 1)) for s in (0, 0.15, 0.3, 0.5, 0.8)], 10)


def test_the_distance_rises_with_blur(yardstick):
    distance, x, _ = yardstick
    rises([distance(x)] + [distance(gaussian_blur(x, 5, s)) for s in (0.5, 0.7, 1.0, 1.5)], 10)


def test_the_distance_rises_with_dropped_classes(yardstick):
    distance, x, labels = yardstick
    rises([distance(x[labels >= dropped]) for dropped in (0, 1, 2, 4, 6)], 10)


def test_the_distance_rises_with_other_data_mixed_in(yardstick):
    distance, x, _ = yardstick
    other = x.flip(0).transpose(2, 3)  # lying on their sides
    rises(
        [distance(torch.cat([x[n:], other[:n]])) for n in (len(x) * torch.tensor([0, 0.1, 0.25, 0.5, 1.0])).long()], 10
    )


def test_the_distance_of_samples_from_a_worse_model_rises_too(yardstick):
    """Images of the mean and covariance of the data, in pixels: right in every second moment, and yet not clothes or
    digits.
    """
    distance, x, _ = yardstick
    flat = x.flatten(1).double()
    mean, cov = flat.mean(0), flat.T.cov()
    values, vectors = torch.linalg.eigh(cov)
    drawn = torch.randn(len(x), len(mean), generator=seeded(2), dtype=torch.float64)
    fake = mean + drawn @ (vectors * values.clamp_min(0).sqrt()).T
    assert distance(fake.clamp(-1, 1).view(x.shape).float()) > 5 * distance(x)


def test_a_reference_of_images_is_as_good_as_its_statistics():
    data = load_data("digits")
    x, reference = data.floats(data.heldout), data.floats(data.train)
    classifier = load_classifier("digits")
    by_images = classifier_distance(x, reference, "digits")
    by_statistics = classifier_distance(
        x, mean_and_cov(classifier_features(reference, classifier)), classifier, batch=64
    )
    assert by_images == pytest.approx(by_statistics, rel=1e-5) and by_images > 0.1
    assert classifier_distance(reference, reference, "digits") == pytest.approx(0, abs=1e-9)


def test_images_held_out_are_no_further_than_as_many_trained_on():
    """Otherwise the classifier would tell images that it has learnt by heart from others, and the distance would
    measure that.
    """
    data = load_data("digits")
    classifier = load_classifier("digits")
    reference = mean_and_cov(classifier_features(data.floats(data.train), classifier))
    trained_on = [data.floats(data.train[torch.randperm(1597, generator=seeded(s))[:200]]) for s in range(20)]
    distances = [classifier_distance(x, reference, classifier) for x in trained_on]
    assert classifier_distance(data.floats(data.heldout), reference, classifier) < 2 * np.mean(distances)


def test_sets_that_can_not_be_compared():
    data = load_data("digits")
    x = data.floats(data.heldout)
    one_line(lambda: classifier_distance(x[:0], x, "digits"), "images", "no images")
    one_line(lambda: classifier_distance(x, x[:0], "digits"), "the reference", "no images")
    one_line(lambda: classifier_distance(x, torch.zeros(99, 1, 9, 9), "digits"), "(99, 1, 9, 9)")
    one_line(lambda: classifier_distance(torch.zeros(99, 3, 8, 8), x, "digits"), "(99, 3, 8, 8)")
    one_line(lambda: classifier_distance(x, x, "letters"), "letters", "digits")
    with pytest.warns(UserWarning, match="64 samples of 64 features"):
        classifier_distance(x[:64], x, "digits")
