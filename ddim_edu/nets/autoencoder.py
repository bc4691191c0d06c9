"""A small convolutional autoencoder: pictures to a few numbers and back, the first stage of a latent diffusion.

The latents come out with mean 0 and variance 1 in every channel, as diffusion wants its data, since batch normalisation
is the encoder's last layer. In training, noise is added to them: the decoder learns to forgive a latent that is a
little off, as every sampled one is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddim_edu.nets.bounds import check_bounds


@dataclass(frozen=True)
class AutoencoderConfig:
    """Everything that determines the shape of an :class:`Autoencoder`.

    Raises:
        ValueError: If a field is out of range, or the levels don't fit the pictures.
    """

    # Side of the (square) pictures, in pixels.
    image_size: int
    # Their channels.
    image_channels: int
    # Channels of the levels, finest first; each level halves the side.
    channels: tuple[int, ...]
    # Channels of the latent.
    latent_channels: int
    # Standard deviation of the noise that training adds to the latents.
    noise: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))  # lists come from JSON
        check_bounds(self, BOUNDS)
        if not self.channels or any(c < 1 or c % GROUPS for c in self.channels):
            raise ValueError(f"channels = {self.channels}: give a multiple of {GROUPS} for each level")
        if self.image_size % 2 ** len(self.channels):
            raise ValueError(f"image_size = {self.image_size} is not divisible by 2 to the {len(self.channels)} levels")
        if isinstance(self.noise, bool) or not isinstance(self.noise, int | float) or not 0 <= self.noise < 1e6:
            raise ValueError(f"noise = {self.noise}: give at least 0")

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a latent."""
        side = self.image_size // 2 ** len(self.channels)
        return (self.latent_channels, side, side)


GROUPS = 8  # of every GroupNorm
BOUNDS = {"image_size": (1, 1024), "image_channels": (1, 256), "channels": (1, 4096), "latent_channels": (1, 4096)}


class Autoencoder(nn.Module):
    """Pictures to latents, :meth:`encode`, and back, :meth:`decode`.

    A level of the encoder is two 3x3 convolutions, the first of stride 2, each with group normalisation and SiLU. A
    level of the decoder is a convolution of that kind and one whose channels, four at a time, become squares of 2 x 2
    pixels (Shi et al. 2016). So nothing is convolved at full size, which would cost as much as all the rest.

    Args:
        config: The shape of the network.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        down, c_in = [], config.image_channels
        for c in config.channels:
            down += [*_convolution(c_in, c, stride=2), *_convolution(c, c)]
            c_in = c
        self.encoder = nn.Sequential(*down, nn.Conv2d(c_in, config.latent_channels, 1))
        self.normalise = nn.BatchNorm2d(config.latent_channels, affine=False)
        up = [*_convolution(config.latent_channels, c_in)]
        for c in (*config.channels[-2::-1], config.image_channels):
            up += [*_convolution(c_in, c_in), nn.Conv2d(c_in, 4 * c, 3, padding=1), nn.PixelShuffle(2)]
            c_in = c
        self.decoder = nn.Sequential(*up)

    def encode(self, x: Tensor) -> Tensor:
        """Latents with mean 0 and variance 1 in each channel, over the pictures it was trained on.

        Args:
            x: Pictures in [-1, 1], shape (B, C, H, W).

        Returns:
            ``(B, *latent_shape)``.

        Raises:
            ValueError: If the pictures have another shape than the network takes.

        Equations: eq:unit-latents
        """
        shape = (self.config.image_channels, self.config.image_size, self.config.image_size)
        if x.ndim != 4 or tuple(x.shape[1:]) != shape:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: this autoencoder takes pictures of shape "
                f"(B, {', '.join(map(str, shape))})"
            )
        return self.normalise(self.encoder(x))

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures, which may reach a little beyond [-1, 1].

        Args:
            latents: ``(B, *latent_shape)``.

        Returns:
            Shape (B, C, H, W).

        Raises:
            ValueError: If the latents have another shape.
        """
        shape = self.config.latent_shape
        if latents.ndim != 4 or tuple(latents.shape[1:]) != shape:
            raise ValueError(
                f"latents have shape {tuple(latents.shape)}: this autoencoder's are (B, {', '.join(map(str, shape))})"
            )
        return self.decoder(latents)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """There and back.

        Args:
            x: Pictures in [-1, 1], shape (B, C, H, W).
            noise: Standard normal, of the latents' shape; ``config.noise`` times it is added to them.
        """
        latents = self.encode(x)
        return self.decode(latents if noise is None else torch.add(latents, noise, alpha=self.config.noise))


def _convolution(c_in: int, c: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c, 3, stride=stride, padding=1, bias=False), nn.GroupNorm(GROUPS, c), nn.SiLU()]
