"""The U-Net of DDPM and DDIM: the network behind every eps_theta(x_t, t) for images.

The architecture is that of DDPM (Ho, Jain, Abbeel 2020, appendix B) as the DDIM authors ported it to
PyTorch, layer for layer, so that the parameter counts of the published models come out exactly.

Reading order: :class:`UNetConfig`, then :class:`UNet`, then the four parts it is made of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ddim_edu.nets.bounds import MOST_CLASSES, check_bounds, check_share

MOST_ATTENDED = 192  # pixels a side: attention compares each with all others


@dataclass(frozen=True)
class UNetConfig:
    """Everything that determines the shape of a :class:`UNet`.

    Level ``i`` works at resolution ``image_size / patch / 2**i`` with ``ch * ch_mult[i]`` channels.

    Raises:
        ValueError: If a field is out of range, or two fields do not fit together.
    """

    # Side of the (square) images, in pixels.
    image_size: int = 32
    # Colour channels of the images: 1 for grey, 3 for RGB.
    image_channels: int = 3
    # Base number of channels.
    ch: int = 128
    # Channel multiplier of each level, finest level first.
    ch_mult: tuple[int, ...] = (1, 2, 2, 2)
    # Residual blocks per level on the way down (one more on the way up).
    num_res_blocks: int = 2
    # Resolutions that get self-attention, in pixels (the middle always has it).
    attn_resolutions: tuple[int, ...] = (16,)
    # Dropout inside the residual blocks, a probability.
    dropout: float = 0.1
    # Groups of every GroupNorm; must divide the channels of every level.
    groups: int = 32
    # Number of classes whose labels the network takes; 0 for a network without labels.
    classes: int = 0
    # Side of the squares of pixels that become channels at the entrance, and pixels again at the exit
    # (space-to-depth); 1, the papers' network, takes pixels one by one.
    patch: int = 1

    def __post_init__(self) -> None:
        # Lists come from JSON; tuples keep the configuration hashable and comparable.
        object.__setattr__(self, "ch_mult", tuple(self.ch_mult))
        object.__setattr__(self, "attn_resolutions", tuple(self.attn_resolutions))
        check_bounds(self, BOUNDS)
        check_share(self, "dropout")
        if not self.ch_mult:
            raise ValueError(f"ch_mult = {self.ch_mult}: give one multiplier >= 1 per level")
        if self.ch < 4:
            raise ValueError(f"ch = {self.ch}: give at least 4, the time embedding needs sin and cos")
        factor = self.patch * 2 ** (len(self.ch_mult) - 1)
        if self.image_size % factor:
            raise ValueError(
                f"image_size = {self.image_size} is not divisible by {factor}, which the "
                f"{len(self.ch_mult)} levels of ch_mult = {self.ch_mult}"
                + f" behind patches of {self.patch}" * (self.patch > 1)
                + " need: drop a level or pad"
            )
        # A level that starts with `in + skip` channels normalises sums of the levels' channels, so
        # divisibility of each level's channels is enough for the sums too.
        for mult in {1, *self.ch_mult}:
            if (self.ch * mult) % self.groups:
                raise ValueError(
                    f"groups = {self.groups} does not divide ch * {mult} = {self.ch * mult}: "
                    f"give a common divisor, such as {math.gcd(self.ch, 32)}"
                )
        for resolution in self.attn_resolutions:
            if resolution not in self.resolutions:
                raise ValueError(f"attn_resolutions has {resolution}, but the levels work at {self.resolutions}")
        attended = max([*self.attn_resolutions, self.resolutions[-1]])
        if attended > MOST_ATTENDED:
            raise ValueError(
                f"attention over {attended} x {attended} pixels: give at most {MOST_ATTENDED}, by more levels (the "
                "middle always has attention) or fewer attn_resolutions"
            )

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Side of the feature maps at each level, finest first, in pixels."""
        return tuple(self.image_size // self.patch // 2**i for i in range(len(self.ch_mult)))


# The least and the most that a field may be: what has been trained anywhere, with room.
BOUNDS = {
    "image_size": (1, 1024), "image_channels": (1, 256), "ch": (1, 2048), "ch_mult": (1, 64), "num_res_blocks": (1, 16),
    "attn_resolutions": (1, 1024), "groups": (1, 2048), "classes": (0, MOST_CLASSES), "patch": (1, 64),
}  # fmt: skip


class UNet(nn.Module):
    """eps_theta(x_t, t): predicts the noise in a noisy image (DDPM, appendix B).

    A new network predicts exactly zero: its last convolution starts at zero, as do the last layers
    of all residual and attention blocks (DDPM's TensorFlow code does the same with a scale of 1e-10).

    Args:
        config: The shape of the network.

    Equations: eq:new-network-loss
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        ch, levels = config.ch, len(config.ch_mult)
        time_ch = 4 * ch
        blocks = config.num_res_blocks

        def res(c_in: int, c_out: int) -> ResBlock:
            return ResBlock(c_in, c_out, time_ch, config.groups, config.dropout)

        def maybe_attention(resolution: int, c: int) -> nn.Module:
            here = resolution in config.attn_resolutions
            return Attention(c, config.groups) if here else nn.Identity()

        self.time_mlp = nn.Sequential(nn.Linear(ch, time_ch), nn.SiLU(), nn.Linear(time_ch, time_ch))
        # One row more than there are classes: the last is the null label, "any class".
        self.label_embedding = nn.Embedding(config.classes + 1, time_ch) if config.classes else None
        depth = config.image_channels * config.patch**2
        self.conv_in = nn.Conv2d(depth, ch, 3, padding=1)

        # Way down. `skips` lists the channels of every feature map that the way up will read again.
        self.down = nn.ModuleList()
        skips, c = [ch], ch
        for level, (resolution, mult) in enumerate(zip(config.resolutions, config.ch_mult)):
            stage = nn.ModuleList()
            for _ in range(blocks):
                stage.append(Block(res(c, ch * mult), maybe_attention(resolution, ch * mult)))
                c = ch * mult
                skips.append(c)
            if level < levels - 1:
                stage.append(Downsample(c))
                skips.append(c)
            self.down.append(stage)

        self.middle = nn.ModuleList([Block(res(c, c), Attention(c, config.groups)), res(c, c)])

        # Way up: one block more per level, because the downsampled map is a skip connection too.
        self.up = nn.ModuleList()
        for level in reversed(range(levels)):
            resolution, c_out = config.resolutions[level], ch * config.ch_mult[level]
            stage = nn.ModuleList()
            for _ in range(blocks + 1):
                stage.append(Block(res(c + skips.pop(), c_out), maybe_attention(resolution, c_out)))
                c = c_out
            if level > 0:
                stage.append(Upsample(c))
            self.up.append(stage)

        self.norm_out = Norm(config.groups, c, eps=1e-6)
        self.conv_out = nn.Conv2d(c, depth, 3, padding=1)
        self._initialise()

    def _initialise(self) -> None:
        """DDPM's initialisation: fan-average uniform, zero biases, zero last layers."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, ResBlock):
                nn.init.zeros_(module.conv2.weight)
            elif isinstance(module, Attention):
                for part in module.qkv.weight.chunk(3):  # as three layers of their own
                    nn.init.xavier_uniform_(part)
                nn.init.zeros_(module.project.weight)
        nn.init.zeros_(self.conv_out.weight)
        if self.label_embedding is not None:  # a new network treats all classes alike
            nn.init.zeros_(self.label_embedding.weight)

    @property
    def null_label(self) -> int:
        """The number of classes, which is the label of *any class*, since labels begin at 0."""
        return self.config.classes

    def forward(self, x_t: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict the noise in ``x_t``.

        Args:
            x_t: Noisy images, shape (B, C, H, W), with C, H and W as configured.
            t: The noise level of each image, shape (B,), integers in 1..T.
            labels: The class of each image, shape (B,), integers in 0..classes; :attr:`null_label` is any class, and
                None is that for all of them. Only for networks with classes.

        Returns:
            The predicted noise, shape (B, C, H, W).

        Raises:
            ValueError: If a shape does not fit the configuration, or a label is outside 0..classes. (On a GPU labels
                are not looked at.)
        """
        cfg = self.config
        if x_t.shape[1:] != (cfg.image_channels, cfg.image_size, cfg.image_size):
            raise ValueError(
                f"x_t has shape {tuple(x_t.shape)}: this network takes (B, {cfg.image_channels}, {cfg.image_size}, "
                f"{cfg.image_size})"
            )
        if t.shape != x_t.shape[:1]:
            raise ValueError(f"t has shape {tuple(t.shape)}: give one level per image, shape ({len(x_t)},)")
        emb = self.time_mlp(time_embedding(t, cfg.ch).to(x_t.dtype))
        if self.label_embedding is not None:
            labels = torch.full_like(t, self.null_label) if labels is None else labels
            if labels.shape != t.shape:
                raise ValueError(
                    f"labels have shape {tuple(labels.shape)}: give one label per image, shape ({len(x_t)},)"
                )
            # On a GPU the check would wait for the device at every step; a network that is compiled or exported has no
            # values to look at.
            looked_at = labels.device.type == "cpu" and labels.numel() and not torch.compiler.is_compiling()
            if looked_at and not 0 <= int(labels.min()) <= int(labels.max()) <= cfg.classes:
                raise ValueError(f"a label is outside 0..{cfg.classes}; {cfg.classes} stands for any class")
            emb = emb + self.label_embedding(labels)
        elif labels is not None:
            raise ValueError(
                "labels given to a network without classes: leave them out, or set classes in its configuration"
            )
        # Every residual block starts by the same SiLU of the embedding: apply it once.
        emb = F.silu(emb)

        h = self.conv_in(F.pixel_unshuffle(x_t, cfg.patch))
        skips = [h]
        for stage in self.down:
            for layer in stage:
                h = layer(h, emb)
                skips.append(h)
        for layer in self.middle:
            h = layer(h, emb)
        for stage in self.up:
            for layer in stage:
                if isinstance(layer, Block):
                    h = torch.cat([h, skips.pop()], dim=1)
                h = layer(h, emb)
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(h))), cfg.patch)


def time_embedding(t: Tensor, dim: int) -> Tensor:
    """Sines and cosines of t at ``dim // 2`` frequencies, from 1 down to 1/10000 radian per level.

    Args:
        t: Noise levels, shape (B,).
        dim: Size of the embedding, at least 4.

    Returns:
        The embedding, float32, shape (B, dim): sines first, then cosines; an odd ``dim`` ends in 0.

    Raises:
        ValueError: If ``dim`` is below 4.

    Equations: eq:time-embedding, eq:time-distance
    """
    if dim < 4:
        raise ValueError(f"dim = {dim}: give at least 4, for two frequencies")
    half = dim // 2
    exponents = -math.log(10_000) * torch.arange(half, dtype=torch.float32, device=t.device) / (half - 1)
    angles = t.float()[:, None] * exponents.exp()
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, dim - 2 * half))


class Norm(nn.GroupNorm):
    """GroupNorm in the type of its own weights, so in float32 where the layers around it compute in bf16.

    Sums over thousands of pixels are what 8 bits are too few for; and on CPUs the bf16 form is slower (a quarter of a
    training step).
    """

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (B, C, H, W)."""
        return super().forward(x.to(self.weight.dtype))


class ResBlock(nn.Module):
    """x + conv(dropout(silu(norm(conv(silu(norm(x))) + time)))), with a 1x1 convolution on the
    shortcut where the number of channels changes.

    Args:
        c_in: Channels in.
        c_out: Channels out.
        time_ch: Size of the time embedding.
        groups: Groups of the two norms.
        dropout: Probability of dropping an activation before the second convolution.

    Equations: eq:res-block, eq:group-norm
    """

    def __init__(self, c_in: int, c_out: int, time_ch: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = Norm(groups, c_in, eps=1e-6)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time = nn.Linear(time_ch, c_out)
        self.norm2 = Norm(groups, c_out, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.shortcut = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """``x``: (B, c_in, H, W); ``emb``: the activated time embedding, (B, time_ch)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time(emb)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return self.shortcut(x) + h


class Attention(nn.Module):
    """Self-attention with one head over all pixels, and a residual connection.

    Args:
        c: Channels.
        groups: Groups of the norm.

    Equations: eq:attention
    """

    def __init__(self, c: int, groups: int) -> None:
        super().__init__()
        self.norm = Norm(groups, c, eps=1e-6)
        self.qkv = nn.Conv2d(c, 3 * c, 1)
        self.project = nn.Conv2d(c, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (B, C, H, W)."""
        # The 1 is the head: scaled_dot_product_attention wants (batch, heads, tokens, channels).
        q, k, v = rearrange(self.qkv(self.norm(x)), "b (n c) h w -> n b 1 (h w) c", n=3)
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.project(rearrange(h, "b 1 (h w) c -> b c h w", h=x.shape[2]))


class Block(nn.Module):
    """A residual block and, at some resolutions, attention behind it.

    Args:
        res: The residual block.
        attention: :class:`Attention`, or an identity.
    """

    def __init__(self, res: ResBlock, attention: nn.Module) -> None:
        super().__init__()
        self.res = res
        self.attention = attention

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """As :meth:`ResBlock.forward`."""
        return self.attention(self.res(x, emb))


class Downsample(nn.Module):
    """Halve the resolution by a strided convolution.

    Args:
        c: Channels.
    """

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride=2)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """``x``: (B, C, H, W) -> (B, C, H/2, W/2); ``emb`` is not used."""
        # Padded right and below only: TensorFlow's "same" padding, which the published weights expect.
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double the resolution: repeat pixels, then convolve.

    Args:
        c: Channels.
    """

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """``x``: (B, C, H, W) -> (B, C, 2H, 2W); ``emb`` is not used."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
