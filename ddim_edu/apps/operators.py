r"""What takes part of an image away: a mask, a coarser grid, the loss of colour (chapter 13).

Each is a linear map :math:`A` with its Moore-Penrose inverse :math:`A^+`. Every image splits in two,
:math:`x = A^+ A x + (I - A^+ A)\, x`: the first part, in the range of :math:`A^+`, is what the observation :math:`y = A
x` fixes; the second, in the null space of :math:`A`, is what it says nothing about. :meth:`Operator.correct` puts the
observed first part into an image and leaves the second as it is (Wang, Yu and Zhang 2023, *Zero-Shot Image Restoration
Using Denoising Diffusion Null-Space Model*, section 3.1), which is all that :mod:`ddim_edu.apps.restore` asks of an
operator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BT601 = (0.299, 0.587, 0.114)
"""What red, green and blue count in the luma of ITU-R BT.601, by which :mod:`ddim_edu.data.decoding` reads colours as
grey.
"""


class Operator:
    """A linear map A of images, with its pseudo-inverse. A new kind needs the first two methods only."""

    def forward(self, x: Tensor) -> Tensor:
        """The observation ``A x`` of images ``x``, ``(B, ...)``."""
        raise NotImplementedError

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """``A^+ y``: of all images that give the observation, the one with the smallest norm; ``(B, ...)``, of the
        shape of images.

        Equations: eq:pseudo-inverse, eq:range-null
        """
        raise NotImplementedError

    def correct(self, x_0: Tensor, y: Tensor) -> Tensor:
        """The image nearest to ``x_0`` that gives the observation ``y``: ``x_0 + A^+ (y - A x_0)``.

        Args:
            x_0: ``(B, ...)`` images.
            y: what :meth:`forward` gave, ``(B, ...)``.

        Equations: eq:nearest-image
        """
        return x_0 + self.pseudo_inverse(y - self.forward(x_0))

    def show(self, y: Tensor) -> Tensor:
        """An observation as something to look at, of the shape of images."""
        return self.pseudo_inverse(y)


class Mask(Operator):
    """Some pixels are known, the others not: inpainting. The observation is an image that is 0 where nothing is known.

    Here A is its own pseudo-inverse.

    Args:
        known: bool, of the shape of an image without its batch, or of one that broadcasts to it, such as ``(H, W)``.

    Raises:
        ValueError: if ``known`` is not of type bool, so that nobody has to guess what a 1 stands for.
    """

    def __init__(self, known: Tensor) -> None:
        if known.dtype != torch.bool:
            raise ValueError(f"a mask of type {known.dtype}: give bool, True where the pixel is known")
        self.known = known

    def forward(self, x: Tensor) -> Tensor:
        """The image with zeros (middle grey) where the mask is False.

        Raises:
            ValueError: if the mask does not fit the images.
        """
        shape = self.known.shape
        if len(shape) >= x.ndim or any(a not in (1, b) for a, b in zip(reversed(shape), reversed(x.shape))):
            raise ValueError(
                f"a mask of shape {tuple(shape)} for images of shape {tuple(x.shape[1:])}: give one of their shape"
            )
        return x * self.known.to(x)

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """The same."""
        return self.forward(y)


class AveragePool(Operator):
    """Squares of factor x factor pixels become one, their mean: super-resolution.

    The pseudo-inverse repeats each pixel, factor times in both directions.

    Args:
        factor: a whole number of at least 2.

    Raises:
        ValueError: if it is another.
    """

    def __init__(self, factor: int) -> None:
        if not 2 <= factor < float("inf") or factor != int(factor):
            raise ValueError(f"factor = {factor}: give a whole number of at least 2")
        self.factor = int(factor)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H / factor, W / factor)``.

        Raises:
            ValueError: if the factor does not divide H and W.
        """
        if x.ndim != 4 or x.shape[-1] % self.factor or x.shape[-2] % self.factor:
            raise ValueError(
                f"factor = {self.factor} does not divide images of {' x '.join(map(str, x.shape[-2:]))} pixels"
            )
        return F.avg_pool2d(x, self.factor)

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """``(B, C, H, W)``."""
        return y.repeat_interleave(self.factor, -1).repeat_interleave(self.factor, -2)


class Grey(Operator):
    """Three channels become one: colourisation.

    Args:
        weights: what red, green and blue count; by default BT.601's luma. DDNM has a third for each.

    Raises:
        ValueError: if these are not three finite numbers with a sum that is, beyond rounding, other than 0.
    """

    def __init__(self, weights: tuple[float, float, float] = BT601) -> None:
        if len(weights) != 3 or not 1e-9 * sum(map(abs, weights)) < abs(sum(weights)) < float("inf"):
            raise ValueError(f"weights = {weights}: give three numbers whose sum is not 0, for red, green and blue")
        self.weights = torch.tensor(weights, dtype=torch.float64) / sum(weights)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 1, H, W)``.

        Raises:
            ValueError: if the images have not three channels, or are not floats.
        """
        if not x.is_floating_point():
            raise ValueError(f"images of type {x.dtype}: give floats in [-1, 1]")
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"images of shape {tuple(x.shape[1:])} have no colour to lose: give (B, 3, H, W)")
        return (x * self._column(x)).sum(1, keepdim=True)

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """``(B, 3, H, W)``. It is not grey where the weights differ: green counts most, so a little green gives most
        luma.
        """
        return y * self._column(y) / self.weights.square().sum().item()

    def show(self, y: Tensor) -> Tensor:
        """The grey image, in three channels."""
        return y.expand(-1, 3, -1, -1)

    def _column(self, x: Tensor) -> Tensor:
        return self.weights.to(x.dtype).to(x.device).view(1, 3, 1, 1)
