"""A small network that tells classes of small images apart: what measures the samples of the small data sets.

What it computes just before its logits, one number per feature, describes an image as its classes need it. Two sets of
images are compared by these features (:mod:`ddim_edu.measuring.metrics`), as FID compares them by those of the
Inception network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ddim_edu.nets.bounds import MOST_CLASSES, check_bounds, check_share


@dataclass(frozen=True)
class ClassifierConfig:
    """Everything that determines the shape of a :class:`Classifier`.

    Raises:
        ValueError: If a field is out of range.
    """

    # Side of the (square) images, in pixels.
    image_size: int
    # Colour channels of the images: 1 for grey, 3 for RGB.
    image_channels: int
    # Channels of each level, finest first; each level halves the side.
    channels: tuple[int, ...]
    # Number of features, what the network computes just before its logits.
    feature_size: int
    # Number of classes, at least 2.
    classes: int
    # Share of the features that each training step leaves out, in [0, 1).
    dropout: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))  # lists come from JSON
        check_bounds(self, BOUNDS)
        check_share(self, "dropout")
        if not self.channels:
            raise ValueError(f"channels = {self.channels}: give one number of channels >= 1 per level")


BOUNDS = {
    "image_size": (1, 1024), "image_channels": (1, 256), "channels": (1, 4096), "feature_size": (1, 65_536),
    "classes": (2, MOST_CLASSES),
}  # fmt: skip


class Classifier(nn.Module):
    """Convolutions, then two linear layers; between the two stand the features.

    A level is two 3x3 convolutions, of which the first has stride 2. Batch normalisation and SiLU follow each
    convolution and the first linear layer, which sees all that the last level holds.

    Args:
        config: The shape of the network.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        layers, c_in, side = [], config.image_channels, config.image_size
        for c in config.channels:
            for stride in (2, 1):
                layers += [nn.Conv2d(c_in, c, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(c), nn.SiLU()]
                c_in = c
            side = (side + 1) // 2
        self.convolutions = nn.Sequential(*layers)
        f = config.feature_size
        self.to_features = nn.Sequential(nn.Linear(c_in * side**2, f, bias=False), nn.BatchNorm1d(f), nn.SiLU())
        self.to_logits = nn.Linear(f, config.classes)

    def features(self, x: Tensor) -> Tensor:
        """What the network sees in each image.

        Args:
            x: Images in [-1, 1], shape (B, C, H, W), of the type of the network's weights.

        Returns:
            Features, shape (B, F), F = ``config.feature_size``.

        Raises:
            ValueError: If the images have another shape than the network takes.
        """
        shape = (self.config.image_channels, self.config.image_size, self.config.image_size)
        if x.ndim != 4 or tuple(x.shape[1:]) != shape:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: this classifier takes images of shape (B, {', '.join(map(str, shape))})"
            )
        return self.to_features(self.convolutions(x).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the classes.

        Args:
            x: Images in [-1, 1], shape (B, C, H, W), of the type of the network's weights.

        Returns:
            Logits, shape (B, classes).

        Raises:
            ValueError: If the images have another shape than the network takes.
        """
        return self.to_logits(F.dropout(self.features(x), self.config.dropout, self.training))
