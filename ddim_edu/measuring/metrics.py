"""Measuring images: distances between sets of them, and errors between pairs.

Sets of images are compared by features, ``(N, F)`` tensors of N images that some fixed network computed:
:func:`frechet_distance` (of their mean and covariance), :func:`kid`, and :func:`precision_recall`. With the features of
the Inception network the first is called FID. With those of the small classifiers that come with the package it is
:func:`classifier_distance`, which a laptop computes in seconds; it is **not** FID, has another scale, and can be
compared only with itself: the same classifier, the same reference images, the same N.

Pairs of images are compared pixel by pixel: :func:`reconstruction_error`, :func:`psnr`, :func:`ssim`. :func:`sharpness`
looks at one image at a time. All these take images in [-1, 1], shape ``(B, C, H, W)``, and return a number per image,
so that a mean can be given with its uncertainty. Every function computes in float64.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ddim_edu.models import SavedClassifier, classifier_features, load_classifier


def mean_and_cov(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of features, all that a Frechet distance sees of them.

    Args:
        features: ``(N, F)``, finite, N at least 2. N samples span N - 1 dimensions: a covariance of fewer than F + 1
            samples is singular, and a warning says so.

    Returns:
        Mean ``(F,)`` and covariance ``(F, F)``, unbiased (divided by N - 1), both float64.

    Raises:
        ValueError: If there are fewer than 2 samples, the shape is another, or a feature is not finite.
    """
    features = _features(features, "features", least=2)
    n, f = features.shape
    if n <= f:
        warnings.warn(
            f"{n} samples of {f} features: their covariance has rank {n - 1} at most, so that a Frechet distance "
            f"computed from it is far too large, and measures the number of samples; use many times {f} samples",
            stacklevel=2,
        )
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / (n - 1)


def frechet_distance(mu1: Tensor, cov1: Tensor, mu2: Tensor, cov2: Tensor) -> float:
    """Squared Frechet (2-Wasserstein) distance between two Gaussians.

    ``|mu1 - mu2|^2 + tr(C1 + C2 - 2 (C1^(1/2) C2 C1^(1/2))^(1/2))``

    (Dowson and Landau, 1982; as a measure of samples: Heusel et al., 2017, equation 6). The last trace is the sum of
    the singular values of ``C1^(1/2) C2^(1/2)``, whose factors come from the eigenvectors of the two symmetric
    matrices. That needs no square root of a matrix that is not symmetric, and holds for singular covariances too.

    The distance of sample statistics is biased upwards: estimates from N samples exceed the true value by about a
    constant over N (Chong and Forsyth, 2020). Compare only distances of the same N.

    Args:
        mu1: Mean, ``(F,)``.
        cov1: Covariance, ``(F, F)``, symmetric and positive semi-definite.
        mu2: Mean, ``(F,)``.
        cov2: Covariance, ``(F, F)``.

    Returns:
        The squared distance, at least 0, in units of the squared features.

    Raises:
        ValueError: If the shapes don't fit together, a number is not finite, or a matrix is not a covariance.

    Equations: eq:frechet, eq:frechet-bias
    """
    mu1, mu2 = torch.as_tensor(mu1).double().cpu(), torch.as_tensor(mu2).double().cpu()
    if mu1.ndim != 1 or mu1.shape != mu2.shape:
        shapes = f"{tuple(mu1.shape)} and {tuple(mu2.shape)}"
        raise ValueError(f"the means have shapes {shapes}: give two of the same number of features, (F,)")
    if not (mu1.isfinite().all() and mu2.isfinite().all()):
        raise ValueError("a mean has entries that are not finite")
    root1, trace1 = _root(cov1, len(mu1), "cov1")
    root2, trace2 = _root(cov2, len(mu1), "cov2")
    cross = torch.linalg.svdvals(root1 @ root2).sum()
    return max(0.0, ((mu1 - mu2).square().sum() + trace1 + trace2 - 2 * cross).item())


def classifier_distance(
    images: Tensor, reference: Tensor | tuple[Tensor, Tensor], classifier: SavedClassifier | str, *, batch: int = 500
) -> float:
    """Frechet distance between two sets of images in the features of a small classifier. It is not FID.

    It depends on N: the 200 held-out digits lie at about 1 from those to train on, and so do 200 of these. It rises
    with noise, blur, missing classes and foreign images mixed in (tests check it), as long as something is left to see:
    beyond noise of standard deviation 0.8, Fashion-MNIST is not recognised any more, and the distance stays where it
    is.

    Args:
        images: ``(N, C, H, W)`` in [-1, 1], clipped and rounded as they would be saved; N more than the number of
            features.
        reference: ``(M, C, H, W)``; or, to save time when it is used again, its mean and covariance,
            ``mean_and_cov(classifier_features(reference, classifier))``.
        classifier: From :func:`ddim_edu.models.small.load_classifier`, or its name, such as ``"digits"``.
        batch: Images in memory at a time.

    Returns:
        The squared distance; divided by nothing.

    Raises:
        ValueError: If either set is empty, or of another size than the classifier takes.
    """
    if isinstance(classifier, str):
        classifier = load_classifier(classifier)
    for what, these in (("images", images), ("the reference", reference)):
        if not len(these):
            raise ValueError(f"{what}: a set of no images can't be compared")
    if isinstance(reference, Tensor):
        reference = mean_and_cov(classifier_features(reference, classifier, batch))
    return frechet_distance(*mean_and_cov(classifier_features(images, classifier, batch)), *reference)


def kid(
    features_a: Tensor, features_b: Tensor, *, subsets: int, subset_size: int, generator: torch.Generator
) -> tuple[float, float]:
    """Kernel distance: the squared maximum mean discrepancy, unbiased, under the kernel ``k(x, y) = (x.y / F + 1)^3``.

    With Inception features this is KID (Binkowski et al., 2018, section 4). It is 0 on average when both sets follow
    the same distribution, whatever their sizes, and can be negative. As published it is the mean over random subsets of
    both sets, each of

    ``sum_{i != j} k(a_i, a_j) / (n (n - 1)) + sum_{i != j} k(b_i, b_j) / (n (n - 1)) - 2 sum_{i, j} k(a_i, b_j) /
    n^2``.

    The spread of the subsets is often published as the uncertainty. But subsets share images: their spread, divided by
    the square root of their number, can be made as small as one likes, without a single new image. The standard error
    here is that of the images: with N the size of the smaller set, n that of the subsets, m their number and s the
    standard deviation over them, it is ``s sqrt(n / (N - n) + 1 / m)``, the delete-d jackknife (Shao and Wu, 1989) plus
    what is left of the choice of subsets. Where both sets follow the same distribution it is too large, by ``sqrt(1 + N
    / n)`` if they are of equal size.

    Args:
        features_a: ``(N, F)``, finite.
        features_b: ``(M, F)``, finite.
        subsets: How many subsets m, at least 2; 100 are customary.
        subset_size: Samples n of each set in a subset, at least 2 and at most half of the smaller set; 1000 are
            customary.
        generator: Draws the subsets; on the CPU.

    Returns:
        The mean over the subsets, and its standard error.

    Raises:
        ValueError: If a set is too small for the subsets, the numbers of features differ, or a feature is not finite.

    Equations: eq:kid
    """
    a, b = _features(features_a, "features_a", least=4), _features(features_b, "features_b", least=4)
    _same_size(a, b)
    if subsets < 2:
        raise ValueError(f"subsets = {subsets}: give at least 2, for the standard error")
    smaller = min(len(a), len(b))
    if not 2 <= subset_size <= smaller // 2:
        sets = f"sets of {len(a):,} and {len(b):,} samples"
        raise ValueError(f"subset_size = {subset_size}: give 2 to {smaller // 2}, half of the smaller of {sets}")
    values = []
    for _ in range(subsets):
        x, y = (z[torch.randperm(len(z), generator=generator)[:subset_size]] for z in (a, b))
        values.append(_mmd2(x, y))
    found = torch.stack(values)
    error = found.std() * math.sqrt(subset_size / (smaller - subset_size) + 1 / subsets)
    return found.mean().item(), error.item()


def precision_recall(features_real: Tensor, features_fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Precision and recall (Kynkaanniemi et al., 2019, equations 1 and 2): are the samples like data, and is all data
    covered?

    Around every real sample lies a ball that reaches its k-th nearest neighbour among the real samples. Precision is
    the share of the fake samples that lie in one of these balls; recall is the same with the roles exchanged. Both
    depend on the numbers of samples: compare at equal ones. The memory is of the order of N + M, the time of (N + M)^2.

    Args:
        features_real: ``(N, F)``, finite, N more than k.
        features_fake: ``(M, F)``, finite, M more than k.
        k: Which neighbour, at least 1; 3 in the paper.

    Returns:
        Precision and recall, each in [0, 1].

    Raises:
        ValueError: If a set is too small, the numbers of features differ, or a feature is not finite.

    Equations: eq:precision
    """
    if k < 1:
        raise ValueError(f"k = {k}: give at least 1")
    real = _features(features_real, "features_real", least=k + 1)
    fake = _features(features_fake, "features_fake", least=k + 1)
    _same_size(real, fake)
    return _covered(fake, real, k), _covered(real, fake, k)


def reconstruction_error(images: Tensor, reference: Tensor) -> Tensor:
    """Squared error per dimension with images in [0, 1]: what Table 2 of the DDIM paper reports, for each image.

    ``mean over C, H, W of ((images - reference) / 2)^2``; the halves bring [-1, 1] to the length of [0, 1].

    Args:
        images: ``(B, C, H, W)`` in [-1, 1].
        reference: Of the same shape.

    Returns:
        ``(B,)`` float64, in [0, 1] if the images are in [-1, 1].

    Raises:
        ValueError: If the shapes differ or are not those of images.
    """
    images, reference = _pair(images, reference)
    return ((images - reference) / 2).square().mean((1, 2, 3))


def psnr(images: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibels: ``10 log10(range^2 / mean squared error)``, with a range of 2 from -1 to
    1.

    Args:
        images: ``(B, C, H, W)`` in [-1, 1].
        reference: Of the same shape.

    Returns:
        ``(B,)`` float64, in dB; infinite where an image equals its reference.

    Raises:
        ValueError: If the shapes differ or are not those of images.
    """
    return -10 * reconstruction_error(images, reference).log10()


def ssim(images: Tensor, reference: Tensor, *, window: int = 11) -> Tensor:
    """Structural similarity (Wang, Bovik, Sheikh and Simoncelli, 2004, equation 13).

    ``(2 m_x m_y + c1) (2 s_xy + c2) / ((m_x^2 + m_y^2 + c1) (s_x^2 + s_y^2 + c2))``

    with means, variances and the covariance under a Gaussian window of standard deviation 1.5 pixels, ``c1 = 0.01^2``
    and ``c2 = 0.03^2``; averaged over all places where the window lies within the image, and over the colour channels.
    The images are brought to [0, 1] first: the formula is made for brightness that is not negative.

    Args:
        images: ``(B, C, H, W)`` in [-1, 1].
        reference: Of the same shape.
        window: Side of the window in pixels, odd. The paper's is 11; images with a smaller side, such as the digits,
            need a smaller one.

    Returns:
        ``(B,)`` float64, in [-1, 1]; 1 where an image equals its reference.

    Raises:
        ValueError: If the shapes differ or are not those of images, or the window is even or larger than the images.
    """
    x, y = ((z + 1) / 2 for z in _pair(images, reference))
    side = min(x.shape[2:])
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window = {window}: give an odd number of pixels")
    if window > side:
        of, most = f"images of {x.shape[2]} x {x.shape[3]}", side - (side + 1) % 2
        raise ValueError(f"window = {window} does not fit into {of}: give at most {most}")
    offsets = torch.arange(window, dtype=torch.float64, device=x.device) - window // 2
    weights = torch.exp(-(offsets**2) / (2 * 1.5**2))
    weights = weights / weights.sum()

    def average(z: Tensor) -> Tensor:
        z = F.conv2d(z.flatten(0, 1)[:, None], weights[None, None, None, :])
        return F.conv2d(z, weights[None, None, :, None])

    m_x, m_y = average(x), average(y)
    # Variances can't be negative; their differences, rounded, can.
    s_xx, s_yy = (average(x * x) - m_x**2).clamp_min(0), (average(y * y) - m_y**2).clamp_min(0)
    s_xy = average(x * y) - m_x * m_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * m_x * m_y + c1) * (2 * s_xy + c2) / ((m_x**2 + m_y**2 + c1) * (s_xx + s_yy + c2))
    return similarity.unflatten(0, x.shape[:2]).mean((1, 2, 3, 4))


def sharpness(images: Tensor) -> Tensor:
    """How much fine detail an image has: the mean square of its discrete Laplacian.

    ``mean over channels and inner pixels of (left + right + up + down - 4 centre)^2``, with images brought to [0, 1].
    Blurring lowers it, and noise raises it: white noise of variance v (in [0, 1] units) adds 20 v. It is 0 for a plane
    and at most 16.

    Args:
        images: ``(B, C, H, W)`` in [-1, 1], at least 3 x 3 pixels.

    Returns:
        ``(B,)`` float64.

    Raises:
        ValueError: If the shape is not that of images of at least 3 x 3 pixels.
    """
    x = _images(images, "images") / 2
    if min(x.shape[2:]) < 3:
        raise ValueError(f"images of {x.shape[2]} x {x.shape[3]} pixels have no inner pixels: give at least 3 x 3")
    laplacian = x[..., 1:-1, :-2] + x[..., 1:-1, 2:] + x[..., :-2, 1:-1] + x[..., 2:, 1:-1] - 4 * x[..., 1:-1, 1:-1]
    return laplacian.square().mean((1, 2, 3))


def _features(features: Tensor, what: str, least: int = 1) -> Tensor:
    if features.ndim != 2 or not features.shape[1]:
        raise ValueError(f"{what} has shape {tuple(features.shape)}: give (N, F), a row per sample")
    if len(features) < least:
        raise ValueError(f"{what} holds {len(features)} samples: give at least {least}")
    features = features.detach().double().cpu()
    if not features.isfinite().all():
        raise ValueError(f"{what} has entries that are not finite")
    return features


def _same_size(a: Tensor, b: Tensor) -> None:
    if a.shape[1] != b.shape[1]:
        sizes = f"{a.shape[1]} and of {b.shape[1]} features"
        raise ValueError(f"samples of {sizes} can't be compared: use the same network for both")


def _root(cov: Tensor, f: int, what: str) -> tuple[Tensor, Tensor]:
    """The symmetric square root of a covariance, and the covariance's trace."""
    cov = torch.as_tensor(cov).double().cpu()
    if cov.shape != (f, f):
        raise ValueError(f"{what} has shape {tuple(cov.shape)}: give ({f}, {f}), to go with the means")
    if not cov.isfinite().all():
        raise ValueError(f"{what} has entries that are not finite")
    scale = cov.abs().max()
    # Saved statistics may be float32, whose rounding makes a singular matrix slightly asymmetric and slightly
    # indefinite.
    if (cov - cov.T).abs().max() > 1e-5 * scale:
        raise ValueError(f"{what} is not symmetric, and so no covariance")
    values, vectors = torch.linalg.eigh((cov + cov.T) / 2)
    if values[0] < -1e-5 * values[-1].abs():
        raise ValueError(f"{what} has the eigenvalue {values[0]:.3g}, and so is no covariance")
    # Eigenvalues that are zero but for rounding (of 1e-16) would have roots that are not (of 1e-8).
    values = values.where(values > f * torch.finfo(torch.float64).eps * values[-1], 0.0)
    return (vectors * values.sqrt()) @ vectors.T, values.sum()


def _mmd2(x: Tensor, y: Tensor) -> Tensor:
    n, f = x.shape
    k_xx, k_yy, k_xy = ((p @ q.T / f + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
    within = (k_xx.sum() - k_xx.trace() + k_yy.sum() - k_yy.trace()) / (n * (n - 1))
    return within - 2 * k_xy.mean()


def _covered(points: Tensor, centres: Tensor, k: int, rows: int = 512) -> float:
    """Share of the points that lie within the k-nearest-neighbour balls of the centres."""
    # Distances by products are twice as fast but off by roundings, and those of equal points must be exactly 0. So
    # products choose, and where a rounding could matter, differences decide.
    middle = centres.mean(0)
    slack = 1e-6 * ((points - middle).norm(dim=1).max() + (centres - middle).norm(dim=1).max())
    exactly: dict[str, Any] = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    fast: dict[str, Any] = {"x2": centres - middle, "compute_mode": "use_mm_for_euclid_dist"}
    each, inside = [], []
    for part in centres.split(rows):  # the k-th neighbour is the (k + 1)-th nearest: a centre is its own nearest
        away = torch.cdist(part - middle, **fast)
        values, near = away.topk(min(k + 4, len(centres)), largest=False)
        radius = (part[:, None] - centres[near]).norm(dim=2).kthvalue(k + 1).values
        crowded = (away <= values[:, k : k + 1] + 2 * slack).sum(1) > near.shape[1]
        if crowded.any():
            radius[crowded] = torch.cdist(part[crowded], centres, **exactly).kthvalue(k + 1).values
        each.append(radius)
    radii = torch.cat(each)
    for part in points.split(rows):
        away = torch.cdist(part - middle, **fast)
        sure, open_ = (away <= radii - slack).any(1), (away <= radii + slack).any(1)
        open_ &= ~sure
        if open_.any():
            sure[open_] = (torch.cdist(part[open_], centres, **exactly) <= radii).any(1)
        inside.append(sure)
    return torch.cat(inside).double().mean().item()


def _images(images: Tensor, what: str) -> Tensor:
    if images.ndim != 4:
        raise ValueError(f"{what} has shape {tuple(images.shape)}: give (B, C, H, W)")
    if not images.is_floating_point():
        raise ValueError(f"{what} has type {images.dtype}: give floating-point images in [-1, 1]")
    return images.detach().double()


def _pair(images: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    images, reference = _images(images, "images"), _images(reference, "reference")
    if images.shape != reference.shape:
        shapes = f"{tuple(images.shape)} and {tuple(reference.shape)}"
        raise ValueError(f"images of shape {shapes} can't be compared pair by pair")
    return images, reference
