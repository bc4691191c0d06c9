"""Weights of the same U-Net in other libraries' layouts: the official DDIM code's, and diffusers'.

The network of :mod:`ddim_edu.nets.unet` is that of the official code (github.com/ermongroup/ddim,
``models/diffusion.py``) and, with the right settings, diffusers' ``UNet2DModel``. Only names differ, the order of the
levels on the way up, and whether an attention's queries, keys and values come from one convolution or from three. So
converting computes nothing and loses nothing.

**Levels of noise count from 0 there.** Both libraries train and sample with t = 0..T-1, where t = 1..T here: their
network, given t - 1, predicts the noise at our level t. The conversions don't touch this; :func:`shift_levels` does, in
the weights::

    weights = shift_levels(from_official(config, theirs), -1)      # theirs into a network that takes t in 1..T
    theirs = to_official(config, shift_levels(weights, +1))        # a network trained here for their sampler

A network with the shifted weights is one like any other here: it can be saved, sampled from by the command, or trained
further.

**Classes** are diffusers' ``num_class_embeds``, one more than there are: the last label is the null label, *any class*.
Both networks add the label's row to the embedding of t. The official network knows no labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ddim_edu.nets.unet import UNet, UNetConfig, time_embedding

Rules = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]

# From a tensor's name here to its name there: substitutions, applied in order. {} stands for q, k and v in turn.
OFFICIAL: Rules = (
    (r"^time_mlp\.0", "temb.dense.0"),
    (r"^time_mlp\.2", "temb.dense.1"),
    (r"^middle\.0\.res", "mid.block_1"),
    (r"^middle\.0\.attention", "mid.attn_1"),
    (r"^middle\.1", "mid.block_2"),
    (r"\.(\d+)\.res\.", r".block.\1."),
    (r"\.(\d+)\.attention\.", r".attn.\1."),
    (r"^(down|up)\.(\d+)\.\d+\.conv\.", r"\1.\2.\1sample.conv."),
    (r"\.time\.", ".temb_proj."),
    (r"\.shortcut\.", ".nin_shortcut."),
    (r"\.qkv\.", ".{}."),
    (r"\.project\.", ".proj_out."),
)
DIFFUSERS: Rules = (
    (r"^time_mlp\.0", "time_embedding.linear_1"),
    (r"^time_mlp\.2", "time_embedding.linear_2"),
    (r"^label_embedding\.", "class_embedding."),
    (r"^norm_out", "conv_norm_out"),
    (r"^middle\.(0)\.", r"mid_block.\1."),
    (r"^middle\.1", "mid_block.resnets.1"),
    (r"\.attention\.norm\.", ".attention.group_norm."),
    (r"\.(\d+)\.res\.", r".resnets.\1."),
    (r"\.(\d+)\.attention\.", r".attentions.\1."),
    (r"^(down|up)\.(\d+)\.\d+\.conv\.", r"\1.\2.\1samplers.0.conv."),
    (r"^(down|up)\.", r"\1_blocks."),
    (r"\.time\.", ".time_emb_proj."),
    (r"\.shortcut\.", ".conv_shortcut."),
    (r"\.qkv\.", ".to_{}."),
    (r"\.project\.", ".to_out.0."),
)
# Older checkpoints, such as google/ddpm-cifar10-32, name an attention's parts so.
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

# A diffusers configuration that means our network. Where its own default is another value, the field must be there:
NEEDED = {
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
# and where it is diffusers' default, it may be absent.
IMPLIED = {
    "center_input_sample": False, "time_embedding_type": "positional", "time_embedding_dim": None,
    "mid_block_type": "UNetMidBlock2D", "mid_block_scale_factor": 1, "downsample_type": "conv", "upsample_type": "conv",
    "act_fn": "silu", "attn_norm_num_groups": None, "resnet_time_scale_shift": "default", "add_attention": True,
    "class_embed_type": None,
}  # fmt: skip
# Fields that UNetConfig has in its own words, with diffusers' defaults (None: must be given).
SHAPE = {
    "sample_size": None, "in_channels": 3, "out_channels": 3, "block_out_channels": None, "layers_per_block": 2,
    "down_block_types": None, "up_block_types": None, "dropout": 0.0, "norm_num_groups": 32, "num_class_embeds": 0,
}  # fmt: skip


def from_official(
    config: UNetConfig | Mapping[str, Tensor] | Sequence[Any], state: Mapping[str, Tensor] | Sequence[Any] | None = None
) -> dict[str, Tensor]:
    """The official code's weights under our names: ``from_official(torch.load("ckpt.pth", weights_only=True))``.

    Args:
        config: The network's shape, as in the official configuration file; always with 32 groups. It may be left out,
            with the state as the only argument: names and shapes show all of it but the size of the images, which the
            weights don't depend on. :func:`official_config` is what is read off.
        state: The official model's ``state_dict()``, also one saved from ``DataParallel`` ("module." before each name);
            or all that its training saves, see :func:`official_state`.

    Returns:
        A state dict for ``UNet(config)``. It takes t in 0..T-1, see :func:`shift_levels`.

    Raises:
        ValueError: In one line, if the weights don't fit the configuration, or are none of the official code.
    """
    if state is None:
        if isinstance(config, UNetConfig):
            raise ValueError("from_official(config, state) lacks the state: the official model's state dict")
        state = official_state(config)
        config = official_config(state, 16 * 2 ** len(_attends(state)))  # any size at which all levels are whole
    if not isinstance(config, UNetConfig):
        raise ValueError("from_official(config, state) takes a UNetConfig first, or the state alone")
    return _ours(config, official_state(state), _official(config))


def official_state(saved: Mapping[str, Tensor] | Sequence[Any]) -> dict[str, Tensor]:
    """The weights in what the official code saves, without "module." before their names.

    Args:
        saved: A ``state_dict()``, or what its training writes to ``ckpt.pth``: a list of the model's state, the
            optimiser's, the epoch, the step and, where it keeps one, the averaged state. That one is taken if it is
            there.

    Raises:
        ValueError: If it is neither.
    """
    states = [saved[i] for i in (4, 0) if i < len(saved)] if isinstance(saved, list) else [saved]
    for state in states:
        if isinstance(state, Mapping) and all(isinstance(value, Tensor) for value in state.values()):
            return {name.removeprefix("module."): value for name, value in state.items()}
    raise ValueError("this is neither a state dict of the official code nor the list that its training saves")


def official_config(state: Mapping[str, Tensor] | Sequence[Any], image_size: int | None = None) -> UNetConfig:
    """The shape of an official network, read off its weights; without dropout, which they don't show.

    Args:
        state: As for :func:`from_official`.
        image_size: Side of its images. Weights don't show it; None takes the size at which attention works on 16x16, as
            in all of the official configuration files.

    Raises:
        ValueError: In one line, if these are no weights of the official code, or the size is not given and can't be
            told.
    """
    state = official_state(state)
    if "conv_in.weight" not in state or "down.0.block.0.conv1.weight" not in state:
        raise ValueError(
            "the weights are not those of the official code's network: they lack conv_in or down.0.block.0"
        )
    ch, channels = state["conv_in.weight"].shape[:2]
    widths = [len(state.get(f"down.{level}.block.0.conv1.weight", ())) for level in range(len(_attends(state)))]
    attends = [level for level, has in enumerate(_attends(state)) if has]
    if image_size is None and len(attends) != 1:
        raise ValueError(
            f"attention on {len(attends)} levels does not tell the size of the images: give it (--image-size)"
        )
    side = 16 * 2 ** attends[0] if image_size is None else image_size
    return UNetConfig(
        image_size=side,
        image_channels=channels,
        ch=ch,
        ch_mult=tuple(width // ch for width in widths),
        num_res_blocks=len({name.split(".")[3] for name in state if name.startswith("down.0.block.")}),
        attn_resolutions=tuple(side // 2**level for level in attends),
        dropout=0.0,
    )


def _attends(state: Mapping[str, Tensor]) -> list[bool]:
    """Of each level of an official network, from the finest: whether it has attention."""
    levels = len({name.split(".")[1] for name in state if name.startswith("down.")})
    return [f"down.{level}.attn.0.norm.weight" in state for level in range(levels)]


def to_official(config: UNetConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`from_official`: our weights under the official code's names.

    Raises:
        ValueError: In one line, if the weights don't fit the configuration, or it doesn't have 32 groups.
    """
    return _theirs(config, state, _official(config))


def from_diffusers(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> tuple[UNetConfig, dict[str, Tensor]]:
    """A ``UNet2DModel`` of diffusers as a network of ours.

    Args:
        config: Its configuration, as in the ``config.json`` beside its weights.
        state: Its ``state_dict()``, with the attention's names of today or those of older versions.

    Returns:
        The configuration and a state dict for ``UNet`` of it. It takes t in 0..T-1, see :func:`shift_levels`.

    Raises:
        ValueError: In one line that names the field, if our U-Net has nothing like it; or if the weights don't fit.
    """
    ours = _config(config)
    old = "|".join(OLD_ATTENTION)
    state = {
        re.sub(rf"(?<=\.)({old})(?=\.)", lambda part: OLD_ATTENTION[part[0]], name): value
        for name, value in state.items()
    }
    return ours, _ours(ours, state, DIFFUSERS)


def to_diffusers(config: UNetConfig, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The inverse of :func:`from_diffusers`.

    Returns:
        The arguments of a ``UNet2DModel``, as values that JSON can hold, and its state dict.

    Raises:
        ValueError: In one line, if the weights don't fit the configuration, or diffusers has nothing like it.
    """
    if config.ch_mult[0] != 1:
        raise ValueError(
            f"ch_mult = {config.ch_mult}: begin with 1, as diffusers' first level is as wide as its first convolution"
        )
    attends = ["Attn" * (resolution in config.attn_resolutions) for resolution in config.resolutions]
    shape = {
        "sample_size": config.image_size,
        "in_channels": config.image_channels,
        "out_channels": config.image_channels,
        "block_out_channels": [config.ch * mult for mult in config.ch_mult],
        "layers_per_block": config.num_res_blocks,
        "down_block_types": [f"{kind}DownBlock2D" for kind in attends],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(attends)],
        "dropout": config.dropout,
        "norm_num_groups": config.groups,
    }
    if config.classes:
        shape["num_class_embeds"] = config.classes + 1  # the last is the null label
    theirs = _theirs(config, state, DIFFUSERS)
    # In its attention diffusers has linear layers where we have 1x1 convolutions.
    return NEEDED | shape, {
        name: value.flatten(1) if ".to_" in name and value.ndim == 4 else value for name, value in theirs.items()
    }


def shift_levels(state: Mapping[str, Tensor], by: int) -> dict[str, Tensor]:
    """Weights with which a ``UNet`` computes at level t what it computed at level ``t + by``.

    The network sees t as sin(w t) and cos(w t) at several frequencies w. By the addition theorems those of ``t + by``
    are a rotation of those of t, and the rotation goes into the first layer's weights. So the shift is exact but for
    rounding (of float32: angles near 1000 radian are only good to 3e-5). ``lambda x_t, t: network(x_t, t + by)`` is
    exact to the bit, but can't be saved.

    Args:
        state: A network's ``state_dict()``.
        by: How far to shift: -1 for a network that counts from 0 and is to be used here, +1 for the way back.

    Returns:
        The weights; all but one tensor are those given.
    """
    weight = state["time_mlp.0.weight"]
    half = weight.shape[1] // 2
    of_sin, of_cos, rest = weight.double().split([half, half, weight.shape[1] - 2 * half], dim=1)
    sin, cos = time_embedding(torch.tensor([by], device=weight.device), 2 * half)[0].double().chunk(2)
    shifted = torch.cat([of_sin * cos - of_cos * sin, of_sin * sin + of_cos * cos, rest], dim=1)
    return {**state, "time_mlp.0.weight": shifted.to(weight.dtype)}


def build_in_label(config: UNetConfig, state: Mapping[str, Tensor], label: int) -> tuple[UNetConfig, dict[str, Tensor]]:
    """A network without labels that computes what one with classes computes for one of them.

    The label's row is added to the embedding of t, behind its last layer: so it goes into that layer's bias.

    Args:
        config: The configuration of a network with classes.
        state: Its ``state_dict()``.
        label: The class, or ``config.classes`` for any class.

    Returns:
        The configuration and the weights of the network without labels.
    """
    weights = dict(state)
    weights["time_mlp.2.bias"] = weights["time_mlp.2.bias"] + weights.pop("label_embedding.weight")[label]
    return replace(config, classes=0), weights


def _official(config: UNetConfig) -> Rules:
    """The rules of the official layout, whose way up counts its levels from the finest."""
    if config.classes:
        raise ValueError(f"classes = {config.classes}: the official network takes no labels")
    if config.groups != 32:
        raise ValueError(f"groups = {config.groups}: the official network always has 32")
    last = len(config.ch_mult) - 1
    return (*OFFICIAL, (r"^up\.(\d+)", lambda level: f"up.{last - int(level[1])}"))


def _names(config: UNetConfig, rules: Rules) -> dict[str, tuple[list[str], torch.Size]]:
    """For every tensor of ``UNet(config)``: its names there (three for queries, keys, values), and its shape here."""
    # Without an embedding: the first that is made on this device loads torch's compiler, which takes two seconds.
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in UNet(replace(config, classes=0)).state_dict().items()}
    if config.classes:
        shapes["label_embedding.weight"] = torch.Size([config.classes + 1, 4 * config.ch])
    if config.patch != 1:
        raise ValueError(f"patch = {config.patch}: no network there takes squares of pixels; --format onnx writes it")
    names = {}
    for name, shape in shapes.items():
        there = name
        for pattern, new in rules:
            there = re.sub(pattern, new, there)
        names[name] = ([there.format(part) for part in "qkv"] if "{}" in there else [there], shape)
    return names


def _ours(config: UNetConfig, state: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    names = _names(config, rules)
    _check_fit({part: (shape[0] // len(parts), *shape[1:]) for parts, shape in names.values() for part in parts}, state)
    return {name: torch.cat([state[part] for part in parts]).reshape(shape) for name, (parts, shape) in names.items()}


def _theirs(config: UNetConfig, state: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    names = _names(config, rules)
    _check_fit({name: tuple(shape) for name, (_, shape) in names.items()}, state)
    pieces = {
        part: piece for name, (parts, _) in names.items() for part, piece in zip(parts, state[name].chunk(len(parts)))
    }
    # Copies, which share no memory.
    return {part: piece.clone(memory_format=torch.contiguous_format) for part, piece in pieces.items()}


def _check_fit(shapes: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> None:
    """Refuse weights with other names or shapes; (c, c) may stand for (c, c, 1, 1)."""
    wrong = {
        "lack": [name for name in shapes if name not in state],
        "have no place for": [name for name in state if name not in shapes],
        "have another shape for": [
            name
            for name in shapes
            if name in state and (*state[name].shape, *(1,) * (len(shapes[name]) - state[name].ndim)) != shapes[name]
        ],
    }
    found = [f"{verb} {len(names)} tensors (such as {names[0]})" for verb, names in wrong.items() if names]
    if found:
        raise ValueError(f"the weights {', '.join(found)}: check the configuration, and that they are of this layout")


def _config(config: Mapping[str, Any]) -> UNetConfig:
    """The :class:`UNetConfig` that a ``UNet2DModel``'s configuration means."""
    c = SHAPE | dict(config)
    for field, default in SHAPE.items():
        if c[field] is None and default is None:
            raise ValueError(f"{field} is missing: give the whole configuration of a UNet2DModel")
    known = {*SHAPE, *NEEDED, *IMPLIED, "num_train_timesteps"}  # the last says nothing about the network
    for field, value in config.items():
        if field not in known and not field.startswith("_"):
            raise ValueError(f"{field} = {value!r}: not a field of a UNet2DModel that can be converted")
    channels = list(c["block_out_channels"])
    kinds = [kind.removesuffix("DownBlock2D") for kind in c["down_block_types"]]
    # Other words for what we have. One head is as wide as its level, so only one width of levels that attend can be
    # named.
    widths = {width for width, kind in zip(channels, kinds) if kind == "Attn"} | {channels[-1]}
    same = {
        "act_fn": ["swish"],
        "attention_head_dim": [channels[-1]] if len(widths) == 1 else [],
        "attn_norm_num_groups": [c["norm_num_groups"]],
        "time_embedding_dim": [4 * channels[0]],
    }
    for field, wanted in (NEEDED | IMPLIED).items():
        value = c.get(field, IMPLIED.get(field, "diffusers' default"))
        if value != wanted and value not in same.get(field, ()):
            raise ValueError(f"{field} = {value!r}: our U-Net has only {wanted!r}")
    size = c["sample_size"]
    side, *other = size if isinstance(size, list | tuple) else [size]
    refused = {
        "sample_size": other not in ([], [side]) and "our U-Net takes square images",
        "num_class_embeds": c["num_class_embeds"] == 1 and "give one more than there are classes, for the null label",
        "out_channels": c["out_channels"] != c["in_channels"]
        and f"our U-Net gives as many as it takes, {c['in_channels']}",
        "block_out_channels": any(width % channels[0] for width in channels) and "our U-Net has multiples of the first",
        "down_block_types": (
            len(kinds) != len(channels) or not {*c["down_block_types"]} <= {"DownBlock2D", "AttnDownBlock2D"}
        )
        and "our U-Net has one DownBlock2D or AttnDownBlock2D for each of block_out_channels",
        "up_block_types": list(c["up_block_types"]) != [f"{kind}UpBlock2D" for kind in reversed(kinds)]
        and "our way up has attention where the way down has it",
    }
    for field, reason in refused.items():
        if reason:
            raise ValueError(f"{field} = {c[field]}: {reason}")
    return UNetConfig(
        image_size=side,
        image_channels=c["in_channels"],
        ch=channels[0],
        ch_mult=tuple(width // channels[0] for width in channels),
        num_res_blocks=c["layers_per_block"],
        attn_resolutions=tuple(side // 2**level for level, kind in enumerate(kinds) if kind == "Attn"),
        dropout=c["dropout"],
        groups=c["norm_num_groups"],
        classes=max((c["num_class_embeds"] or 0) - 1, 0),
    )
