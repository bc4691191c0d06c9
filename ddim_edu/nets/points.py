"""A small network for points in the plane, or in any number of dimensions that is not large: eps_theta(x_t, t) in a few
seconds.

It has the protocol of every model of the book and none of the cost of a U-Net: on one CPU thread it learns a
two-dimensional data set in about ten seconds (chapter 3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddim_edu.nets.unet import time_embedding


class PointNet(nn.Module):
    """eps_theta(x_t, t) for points: a multilayer perceptron in which every hidden layer is told the level.

    Each hidden layer computes ``silu(W h + V e + b)``, where ``e`` is :func:`~ddim_edu.nets.unet.time_embedding` of t;
    from the second on, its input is added to the result (a residual connection). A new network predicts exactly zero:
    its last layer starts at zero.

    Args:
        dim: Coordinates of a point, at least 1.
        width: Size of the hidden layers, at least 1.
        depth: Number of hidden layers, at least 1.
        time_dim: Size of the time embedding, at least 4.

    Raises:
        ValueError: If an argument is below its minimum.
    """

    def __init__(self, dim: int = 2, width: int = 128, depth: int = 3, time_dim: int = 32) -> None:
        super().__init__()
        for name, value, least in (
            ("dim", dim, 1),
            ("width", width, 1),
            ("depth", depth, 1),
            ("time_dim", time_dim, 4),
        ):
            if value < least:
                raise ValueError(f"{name} = {value}: give at least {least}")
        self.dim, self.time_dim = dim, time_dim
        self.layers = nn.ModuleList(nn.Linear(dim if i == 0 else width, width) for i in range(depth))
        self.times = nn.ModuleList(nn.Linear(time_dim, width, bias=False) for _ in range(depth))
        self.out = nn.Linear(width, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predict the noise in ``x_t``.

        Args:
            x_t: Noisy points, shape (B, dim), of the type of the network's weights.
            t: The level of each point, shape (B,), integers in 1..T.

        Returns:
            The predicted noise, shape (B, dim).

        Raises:
            ValueError: If a shape does not fit, or t does not hold integers.
        """
        if x_t.ndim != 2 or x_t.shape[1] != self.dim:
            raise ValueError(f"x_t has shape {tuple(x_t.shape)}: this network takes (B, {self.dim})")
        if t.shape != x_t.shape[:1]:
            raise ValueError(f"t has shape {tuple(t.shape)}: give one level per point, shape ({len(x_t)},)")
        if t.is_floating_point() or t.dtype == torch.bool:
            raise ValueError(f"t has type {t.dtype}: give levels, integers in 1..T")
        e = time_embedding(t, self.time_dim).to(x_t.dtype)
        h = x_t
        for i, (layer, time) in enumerate(zip(self.layers, self.times)):
            new = F.silu(layer(h) + time(e))
            h = new if i == 0 else h + new
        return self.out(h)
