"""Conversions: the same outputs in every layout, exact round trips, and refusals in one line."""

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ddim_edu.models.convert import (
    from_diffusers,
    from_official,
    official_config,
    official_state,
    shift_levels,
    to_diffusers,
    to_official,
)
from ddim_edu.nets.unet import UNet, UNetConfig

SHAPES = {
    "attention twice, colour": dict(
        image_size=16, image_channels=3, ch_mult=(1, 2, 2), num_res_blocks=2, attn_resolutions=(16, 8)
    ),
    "one width, grey": dict(image_size=8, image_channels=1, ch_mult=(1, 1), num_res_blocks=1, attn_resolutions=()),
    "attention lowest": dict(image_size=8, image_channels=1, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(4,)),
    "one level": dict(image_size=7, image_channels=3, ch_mult=(1,), num_res_blocks=2, attn_resolutions=(7,)),
}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
precisions = pytest.mark.parametrize(
    "dtype, close", [(torch.float32, 1e-5), (torch.float64, 1e-9)], ids=["float32", "float64"]
)


class Official(nn.Module):
    """The official network, written from its description: the names of its parameters are the official ones."""

    def __init__(self, config):
        super().__init__()
        self.config, ch = config, config.ch
        widths = [ch * mult for mult in config.ch_mult]
        resolutions = [config.image_size >> level for level in range(len(widths))]
        self.temb = nn.ModuleDict({"dense": nn.ModuleList([nn.Linear(ch, 4 * ch), nn.Linear(4 * ch, 4 * ch)])})
        self.conv_in = nn.Conv2d(config.image_channels, ch, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before = [ch, *widths]
        for level, width in enumerate(widths):
            last, attends = level == len(widths) - 1, resolutions[level] in config.attn_resolutions
            inputs = [before[level]] + [width] * (config.num_res_blocks - 1)
            stage = {"block": [OfficialBlock(c, width, 4 * ch) for c in inputs]}
            stage["attn"] = [OfficialAttention(width) for _ in inputs if attends]
            down = nn.ModuleDict({name: nn.ModuleList(parts) for name, parts in stage.items()})
            if not last:
                down["downsample"] = nn.ModuleDict({"conv": nn.Conv2d(width, width, 3, stride=2)})
            self.down.append(down)
            # What comes from below, and then what this level made, joined with the skips: this level's and, at the end,
            # the finer one's.
            below = width if last else widths[level + 1]
            inputs = [below, *[width] * config.num_res_blocks]
            skips = [*[width] * config.num_res_blocks, before[level]]
            stage = {"block": [OfficialBlock(c + skip, width, 4 * ch) for c, skip in zip(inputs, skips)]}
            stage["attn"] = [OfficialAttention(width) for _ in inputs if attends]
            up = nn.ModuleDict({name: nn.ModuleList(parts) for name, parts in stage.items()})
            if level > 0:
                up["upsample"] = nn.ModuleDict({"conv": nn.Conv2d(width, width, 3, padding=1)})
            self.up.append(up)
        c = widths[-1]
        self.mid = nn.ModuleDict(
            {
                "block_1": OfficialBlock(c, c, 4 * ch),
                "attn_1": OfficialAttention(c),
                "block_2": OfficialBlock(c, c, 4 * ch),
            }
        )
        self.norm_out = nn.GroupNorm(32, widths[0], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[0], config.image_channels, 3, padding=1)

    def forward(self, x, t):
        half = self.config.ch // 2
        # The official code divides first, which moves the float32 frequencies by up to 1e-6 of their size and the sines
        # at t = 1000 by up to 3e-5. In float64, where the comparison is to 1e-9, this multiplies first, as our network
        # and diffusers do.
        i, log = torch.arange(half, dtype=torch.float32), math.log(10000)
        w = torch.exp(i * -(log / (half - 1)) if x.dtype == torch.float32 else -log * i / (half - 1))
        angles = t.float()[:, None] * w[None]
        temb = torch.cat([torch.sin(angles), torch.cos(angles)], 1).to(x.dtype)
        first, second = self.temb["dense"]
        temb = second(F.silu(first(temb)))
        memory = [self.conv_in(x)]
        for stage in self.down:
            for j, block in enumerate(stage["block"]):
                h = block(memory[-1], temb)
                memory.append(stage["attn"][j](h) if len(stage["attn"]) else h)
            if "downsample" in stage:
                memory.append(stage["downsample"]["conv"](F.pad(memory[-1], (0, 1, 0, 1))))
        h = self.mid["block_1"](memory[-1], temb)
        h = self.mid["block_2"](self.mid["attn_1"](h), temb)
        for stage in reversed(self.up):
            for j, block in enumerate(stage["block"]):
                h = block(torch.cat([h, memory.pop()], 1), temb)
                h = stage["attn"][j](h) if len(stage["attn"]) else h
            if "upsample" in stage:
                h = stage["upsample"]["conv"](h.repeat_interleave(2, 2).repeat_interleave(2, 3))
        return self.conv_out(F.silu(self.norm_out(h)))


class OfficialBlock(nn.Module):
    def __init__(self, c_in, c_out, temb):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(32, c_in, eps=1e-6), nn.GroupNorm(32, c_out, eps=1e-6)
        self.conv1, self.conv2 = nn.Conv2d(c_in, c_out, 3, padding=1), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.temb_proj = nn.Linear(temb, c_out)
        if c_in != c_out:
            self.nin_shortcut = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x))) + self.temb_proj(F.silu(temb))[..., None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class OfficialAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = nn.GroupNorm(32, c, eps=1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(c, c, 1) for _ in range(4))

    def forward(self, x):
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2) for layer in (self.q, self.k, self.v))
        weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k) / math.sqrt(x.shape[1]), dim=2)
        return x + self.proj_out(torch.einsum("bij,bcj->bci", weights, v).view_as(x))


def official(shape):
    return UNetConfig(**shape, ch=32, dropout=0.0, groups=32)


def small(shape):
    return UNetConfig(**shape, ch=8, dropout=0.0, groups=4)


def randomised(net, dtype=torch.float64):
    """No layer is zero, none is the same as another, and activations stay near 1."""
    generator = torch.Generator().manual_seed(0)
    net = net.to(dtype).eval().requires_grad_(False)
    for p in net.parameters():
        p.copy_(torch.randn(p.shape, generator=generator, dtype=dtype) * (p[0].numel() ** -0.5 if p.ndim > 1 else 0.2))
    for module in net.modules():
        if isinstance(module, nn.GroupNorm):
            module.weight.add_(1)
    return net


def loaded(net, state, dtype=torch.float64):
    net = net.to(dtype).eval().requires_grad_(False)
    net.load_state_dict(state)
    return net


def batch(config, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, config.image_channels, config.image_size, config.image_size, generator=generator, dtype=dtype)
    return x, torch.tensor([1, 300, 1000])


def assert_equal_states(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]), name


def unet2d(arguments):
    return pytest.importorskip("diffusers").UNet2DModel(**arguments)


def assert_close(a, b, close):
    assert b.std() > 0.1
    torch.testing.assert_close(a, b, rtol=close, atol=close)


@shapes
@precisions
def test_official_both_ways(shape, dtype, close):
    config = official(shape)
    x, t = batch(config, dtype)
    theirs = randomised(Official(config), dtype)
    state = from_official(config, theirs.state_dict())
    assert_close(loaded(UNet(config), state, dtype)(x, t), theirs(x, t), close)
    assert_equal_states(to_official(config, state), theirs.state_dict())

    ours = randomised(UNet(config), dtype)
    state = to_official(config, ours.state_dict())
    assert_close(loaded(Official(config), state, dtype)(x, t), ours(x, t), close)
    assert_equal_states(from_official(config, state), ours.state_dict())


@shapes
@precisions
def test_diffusers_both_ways(shape, dtype, close):
    config = small(shape)
    x, t = batch(config, dtype)
    ours = randomised(UNet(config), dtype)
    arguments, state = to_diffusers(config, ours.state_dict())
    assert json.loads(json.dumps(arguments)) == arguments
    assert_close(loaded(unet2d(arguments), state, dtype)(x, t).sample, ours(x, t), close)
    again, back = from_diffusers(arguments, state)
    assert again == config
    assert_equal_states(back, ours.state_dict())

    theirs = randomised(unet2d(arguments), dtype)
    config, state = from_diffusers(dict(theirs.config), theirs.state_dict())  # as diffusers stores it, every field
    assert_close(loaded(UNet(config), state, dtype)(x, t), theirs(x, t).sample, close)
    assert_equal_states(to_diffusers(config, state)[1], theirs.state_dict())


def test_the_published_configuration_and_the_old_names_of_attention():
    """google/ddpm-cifar10-32's config.json, and the names in its weights."""
    kinds = ["Attn" if level == 1 else "" for level in range(4)]
    published = {
        "_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", "act_fn": "silu", "attention_head_dim": None,
        "block_out_channels": [128, 256, 256, 256], "center_input_sample": False,
        "down_block_types": [f"{k}DownBlock2D" for k in kinds], "downsample_padding": 0, "flip_sin_to_cos": False,
        "freq_shift": 1, "in_channels": 3, "layers_per_block": 2,
        "mid_block_scale_factor": 1, "norm_eps": 1e-06, "norm_num_groups": 32, "out_channels": 3, "sample_size": 32,
        "time_embedding_type": "positional", "up_block_types": [f"{k}UpBlock2D" for k in reversed(kinds)],
    }  # fmt: skip
    with torch.device("meta"):
        weights = UNet(UNetConfig()).state_dict()
    _, today = to_diffusers(UNetConfig(dropout=0.0), weights)
    old = {}
    for name, value in today.items():
        for new, before in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
            name = name.replace(f".{new}.", f".{before}.")
        old[name] = value
    assert old.keys() != today.keys()
    config, state = from_diffusers(published, old)
    assert config == UNetConfig(dropout=0.0)
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in weights.items()
    }


def test_old_names_carry_the_same_weights():
    config = small(SHAPES["attention twice, colour"])
    ours = randomised(UNet(config)).state_dict()
    arguments, state = to_diffusers(config, ours)
    old = {}
    for name, value in state.items():
        for new, before in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
            name = name.replace(f".{new}.", f".{before}.")
        old[name] = value
    assert_equal_states(from_diffusers(arguments, old)[1], ours)


def test_weights_saved_from_data_parallel():
    config = official(SHAPES["one level"])
    state = randomised(Official(config)).state_dict()
    assert_equal_states(
        from_official(config, {f"module.{name}": value for name, value in state.items()}), from_official(config, state)
    )


@pytest.mark.parametrize("ch", [8, 9])
@precisions
def test_shifted_weights_see_another_level(ch, dtype, close):
    """t there is t - 1 here. The embedding's angles are float32 in every precision, so the comparison is at 1e-5 in
    both.
    """
    config = UNetConfig(**SHAPES["attention lowest"], ch=ch, dropout=0.0, groups=1)
    net = randomised(UNet(config), dtype)
    x, t = batch(config, dtype)
    shifted = loaded(UNet(config), shift_levels(net.state_dict(), -1), dtype)
    assert_close(shifted(x, t), net(x, t - 1), 1e-5)
    assert (shifted(x, t) - net(x, t)).abs().amax((1, 2, 3)).min() > 1e-3
    back = shift_levels(shifted.state_dict(), +1)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(back[name], value, rtol=0, atol=1e-6)


def test_the_shift_is_the_addition_theorem():
    """In float64 throughout: the rotated first layer, at t, is the first layer at t + by."""
    weight = torch.randn(5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w = torch.exp(-math.log(10000) * torch.arange(4, dtype=torch.float64) / 3)
    for by in (-1, 1, 7):
        rotated = shift_levels({"time_mlp.0.weight": weight}, by)["time_mlp.0.weight"]
        for t in (1, 300, 1000):
            before, after = torch.cat([(t + by) * w, (t + by) * w]), torch.cat([t * w, t * w])
            there, here = (torch.cat([angle[:4].sin(), angle[4:].cos()]) for angle in (before, after))
            torch.testing.assert_close(rotated @ here, weight @ there, rtol=0, atol=1e-6)  # by's own angles are float32


@pytest.mark.parametrize(
    "change",
    [
        {"attention_head_dim": 4},
        {"attention_head_dim": [8, 16]},
        {"act_fn": "gelu"},
        {"resnet_time_scale_shift": "scale_shift"},
        {"add_attention": False},
        {"center_input_sample": True},
        {"downsample_padding": 1},
        {"flip_sin_to_cos": True},
        {"freq_shift": 0},
        {"norm_eps": 1e-5},
        {"time_embedding_type": "fourier"},
        {"mid_block_type": None},
        {"num_class_embeds": 1},
        {"class_embed_type": "timestep"},
        {"attn_norm_num_groups": 2},
        {"up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D"]},
        {"down_block_types": ["DownBlock2D", "ResnetDownsampleBlock2D"]},
        {"down_block_types": ["AttnDownBlock2D"]},
        {"down_block_types": ["DownBlock2D", "Attn"]},
        {"block_out_channels": [8, 12]},
        {"out_channels": 2},
        {"sample_size": [8, 16]},
        {"sample_size": None},
        {"cross_attention_dim": 768},
    ],
    ids=lambda change: "-".join(map(str, next(iter(change.items())))),
)
def test_what_our_network_cannot_be_is_refused_by_name(change):
    arguments, state = to_diffusers(
        small(SHAPES["attention lowest"]), UNet(small(SHAPES["attention lowest"])).state_dict()
    )
    with pytest.raises(ValueError, match=next(iter(change))) as error:
        from_diffusers({**arguments, **change}, state)
    assert "\n" not in str(error.value)


def test_a_field_left_to_another_default_is_refused():
    config = small(SHAPES["attention lowest"])
    arguments, state = to_diffusers(config, UNet(config).state_dict())
    for field in (
        "attention_head_dim",
        "downsample_padding",
        "flip_sin_to_cos",
        "freq_shift",
        "norm_eps",
        "block_out_channels",
    ):
        with pytest.raises(ValueError, match=field):
            from_diffusers({name: value for name, value in arguments.items() if name != field}, state)


def test_other_words_for_the_same_network():
    config = small(SHAPES["attention lowest"])
    arguments, state = to_diffusers(config, UNet(config).state_dict())
    same = {
        "act_fn": "swish",
        "attention_head_dim": 16,
        "attn_norm_num_groups": 4,
        "time_embedding_dim": 32,
        "sample_size": [8, 8],
    }
    assert from_diffusers({**arguments, **same}, state)[0] == config


@pytest.mark.parametrize("layout", ["official", "diffusers", "ours to official", "ours to diffusers"])
def test_weights_that_do_not_fit_are_refused_in_one_line(layout):
    config = official(SHAPES["attention lowest"])
    ours = UNet(config).state_dict()
    arguments, theirs = to_diffusers(config, ours)
    state, convert = {
        "official": (to_official(config, ours), lambda state: from_official(config, state)),
        "diffusers": (theirs, lambda state: from_diffusers(arguments, state)),
        "ours to official": (ours, lambda state: to_official(config, state)),
        "ours to diffusers": (ours, lambda state: to_diffusers(config, state)),
    }[layout]
    convert(state)
    first, *rest = state
    for wrong, says in [
        ({name: state[name] for name in rest}, f"lack 1 tensors .such as {first}"),
        ({**state, "logvar": torch.zeros(3)}, "have no place for 1 tensors .such as logvar"),
        ({**state, first: state[first][:-1]}, f"have another shape for 1 tensors .such as {first}"),
        ({}, f"lack {len(state)} tensors"),
    ]:
        with pytest.raises(ValueError, match=says) as error:
            convert(wrong)
        assert "\n" not in str(error.value)


def test_configurations_that_the_others_lack_are_refused():
    config = small(SHAPES["one width, grey"])
    for convert in (from_official, to_official):
        with pytest.raises(ValueError, match="groups = 4"):
            convert(config, UNet(config).state_dict())
    wide = replace(config, ch_mult=(2, 2))
    with pytest.raises(ValueError, match=r"ch_mult = \(2, 2\)"):
        to_diffusers(wide, UNet(wide).state_dict())
    deep = replace(official(SHAPES["one width, grey"]), patch=2)
    for convert in (from_official, to_official, to_diffusers):
        with pytest.raises(ValueError, match="patch = 2"):
            convert(deep, UNet(deep).state_dict())


def test_the_official_network_takes_no_labels():
    config = official(SHAPES["one level"])
    labelled = replace(config, classes=10)
    for convert in (to_official, from_official):
        with pytest.raises(ValueError, match="classes = 10"):
            convert(labelled, UNet(config).state_dict())


@precisions
def test_class_labels_in_diffusers(dtype, close):
    """The null label is the last of diffusers' rows."""
    config = replace(small(SHAPES["attention lowest"]), classes=5)
    x, t = batch(config, dtype)
    ours = randomised(UNet(config), dtype)
    arguments, state = to_diffusers(config, ours.state_dict())
    assert arguments["num_class_embeds"] == 6
    theirs = loaded(unet2d(arguments), state, dtype)
    labels = torch.tensor([0, 4, 5])
    assert_close(theirs(x, t, class_labels=labels).sample, ours(x, t, labels), close)
    assert_close(theirs(x, t, class_labels=torch.full_like(t, 5)).sample, ours(x, t), close)
    again, back = from_diffusers(dict(theirs.config), theirs.state_dict())
    assert again == config
    assert_equal_states(back, ours.state_dict())
    with pytest.raises(ValueError, match=r"lack 1 tensors .such as class_embedding.weight"):
        from_diffusers(arguments, {name: value for name, value in state.items() if "class" not in name})


def test_what_the_official_training_saves():
    """A list of the model's state, the optimiser's, epoch, step and the averaged state: its runners/diffusion.py."""
    config = official(SHAPES["attention twice, colour"])
    plain, averaged = (randomised(Official(config)).state_dict() for _ in range(2))
    averaged = {name: value + 1 for name, value in averaged.items()}
    saved = [{f"module.{name}": value for name, value in state.items()} for state in (plain, averaged)]
    full = [saved[0], {"state": {}, "param_groups": []}, 3, 5000, saved[1]]
    assert_equal_states(from_official(config, full), from_official(config, averaged))
    assert_equal_states(from_official(config, full[:4]), from_official(config, plain))
    assert official_config(full, image_size=16) == config
    with pytest.raises(ValueError, match="--image-size"):
        official_config(full)
    for nothing in ([], [1, 2], {"a": 1}, 7):
        with pytest.raises(ValueError, match="neither a state dict"):
            official_state(nothing)
    with pytest.raises(ValueError, match="not those of the official"):
        official_config({"a": torch.zeros(1)})


@shapes
def test_the_configuration_may_be_left_out(shape, tmp_path):
    """At 7e13358: 'list' object has no attribute 'items'."""
    config = official(shape)
    state = randomised(Official(config)).state_dict()
    path, expected = tmp_path / "ckpt.pth", from_official(config, state)
    for saved in (state, {f"module.{name}": value for name, value in state.items()}, [state, {"state": {}}, 3, 5000]):
        torch.save(saved, path)
        assert_equal_states(from_official(torch.load(path, weights_only=True)), expected)
    UNet(config).load_state_dict(from_official(torch.load(path, weights_only=True)))


def test_what_does_not_say_its_configuration_is_refused_in_one_line():
    config = official(SHAPES["attention twice, colour"])
    state = randomised(Official(config)).state_dict()
    for wrong, words in [
        ([], "neither a state dict of the official code nor the list"),
        ([1, 2], "neither a state dict of the official code nor the list"),
        (UNet(config).state_dict(), "not those of the official code's network: they lack conv_in or"),
        (
            {name: value for name, value in state.items() if "mid.attn_1" not in name},
            "lack 10 tensors .such as mid.attn",
        ),
        (config, "lacks the state"),
    ]:
        with pytest.raises(ValueError, match=words) as error:
            from_official(wrong)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="takes a UNetConfig first, or the state alone"):
        from_official(state, config)


@pytest.mark.parametrize(
    "size, mult, level", [(32, (1, 2, 2, 2), 1), (64, (1, 2, 2, 2, 4), 2), (256, (1, 1, 2, 2, 4, 4), 4)]
)
def test_the_size_of_images_of_the_official_configurations(size, mult, level):
    config = UNetConfig(image_size=size, ch=32, ch_mult=mult, num_res_blocks=2, attn_resolutions=(16,), dropout=0.0)
    assert size // 2**level == 16
    with torch.device("meta"):
        state = to_official(config, UNet(config).state_dict())
    assert official_config(state) == config


def test_converted_weights_share_no_memory():
    config = small(SHAPES["one level"])
    state = randomised(UNet(config)).state_dict()
    arguments, theirs = to_diffusers(config, state)
    _, back = from_diffusers(arguments, theirs)
    storages = [value.untyped_storage().data_ptr() for part in (state, theirs, back) for value in part.values()]
    assert len(set(storages)) == len(storages)
