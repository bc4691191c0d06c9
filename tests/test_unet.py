"""The U-Net: published sizes, an independent implementation, and what a noise predictor must do."""

import math
from dataclasses import replace

import pytest
import torch
from einops import rearrange

from ddim_edu.models.convert import to_diffusers
from ddim_edu.nets.unet import Attention, ResBlock, UNet, UNetConfig, time_embedding

TINY = UNetConfig(
    image_size=8, image_channels=2, ch=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(4,), dropout=0.0, groups=4
)


def parameters(config):
    with torch.device("meta"):
        return sum(p.numel() for p in UNet(config).parameters())


def randomised(config, seed=0):
    """A float64 network in which no layer is zero, as in a trained one."""
    torch.manual_seed(seed)
    net = UNet(config).double().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(0, 0.2) if p.ndim > 1 else p.normal_(0.5, 0.2)
    return net


def batch(config, n=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(
        n, config.image_channels, config.image_size, config.image_size, generator=generator, dtype=torch.float64
    )
    return x, torch.randint(1, 1001, (n,), generator=generator)


@pytest.mark.parametrize(
    "published, config",
    [  # the official code's models
        (35_746_307, UNetConfig()),
        (8_952_067, UNetConfig(ch=64)),
        (78_700_803, UNetConfig(image_size=64, ch_mult=(1, 2, 2, 2, 4))),
        (113_673_219, UNetConfig(image_size=256, ch_mult=(1, 1, 2, 2, 4, 4), dropout=0.0)),
    ],
)
def test_parameter_counts_of_the_published_models(published, config):
    assert parameters(config) == published


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        UNetConfig(image_size=16, image_channels=3, ch=8, ch_mult=(1, 2, 1), attn_resolutions=(8, 4), groups=2),
    ],
    ids=["tiny", "three levels"],
)
def test_equals_an_independent_implementation(config):
    """Equations: eq:res-block, eq:group-norm, eq:attention, eq:time-embedding"""
    diffusers = pytest.importorskip("diffusers")
    net = randomised(config)
    arguments, weights = to_diffusers(config, net.state_dict())
    twin = diffusers.UNet2DModel(**arguments).double().eval()
    twin.load_state_dict(weights)
    x, t = batch(config)
    with torch.no_grad():
        ours, theirs = net(x, t), twin(x, t).sample
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_new_network_predicts_zero():
    """And so its loss is the variance of the noise, within 5 standard errors.

    Equations: eq:new-network-loss
    """
    x, t = batch(TINY)
    out = UNet(TINY).double()(x, t)
    assert out.abs().max() == 0
    eps = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert abs((out - eps).square().mean() - 1) < 5 * (2 / eps.numel()) ** 0.5


def group_norm_by_hand(x, norm):
    groups = []
    for group in x.chunk(norm.num_groups, dim=1):
        n = group[0].numel()
        mean = torch.stack([image.sum() / n for image in group]).view(-1, 1, 1, 1)
        variance = torch.stack([image.square().sum() / n for image in group - mean]).view(-1, 1, 1, 1)
        groups.append((group - mean) / torch.sqrt(variance + 1e-6))
    return torch.cat(groups, 1) * norm.weight[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize("c_out", [8, 12])
def test_a_residual_block_by_hand(c_out):
    """Equations: eq:res-block, eq:group-norm"""
    torch.manual_seed(0)
    block = ResBlock(8, c_out, 16, groups=4, dropout=0.0).double()
    for p in block.parameters():
        torch.nn.init.normal_(p, 0.5, 0.5)
    x, emb = torch.randn(2, 8, 5, 5, dtype=torch.float64) * 3 + 1, torch.randn(2, 16, dtype=torch.float64)

    def silu(u):
        return u / (1 + torch.exp(-u))

    def conv(u, layer):
        u = torch.nn.functional.pad(u, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1)
        return torch.einsum("bihwkl,oikl->bohw", u, layer.weight) + layer.bias[:, None, None]

    h = conv(silu(group_norm_by_hand(x, block.norm1)), block.conv1)
    h = h + (emb @ block.time.weight.T + block.time.bias)[:, :, None, None]
    h = conv(silu(group_norm_by_hand(h, block.norm2)), block.conv2)
    if c_out != 8:
        x_out = torch.einsum("bihw,oi->bohw", x, block.shortcut.weight[:, :, 0, 0]) + block.shortcut.bias[:, None, None]
    torch.testing.assert_close(block(x, emb), h + (x if c_out == 8 else x_out), rtol=1e-9, atol=1e-9)


def test_attention_by_hand():
    """Equations: eq:attention"""
    torch.manual_seed(0)
    c, attention = 6, Attention(6, groups=2).double()
    for p in attention.parameters():
        torch.nn.init.normal_(p, 0.0, 1.0)
    x = torch.randn(2, c, 3, 4, dtype=torch.float64)
    tokens = group_norm_by_hand(x, attention.norm).flatten(2).transpose(1, 2)
    q, k, v = (tokens @ attention.qkv.weight[:, :, 0, 0].T + attention.qkv.bias).split(c, dim=2)
    received = torch.zeros_like(tokens)
    for b in range(2):
        for i in range(12):
            weights = torch.stack([torch.exp(q[b, i] @ k[b, j] / c**0.5) for j in range(12)])
            received[b, i] = sum(weights[j] / weights.sum() * v[b, j] for j in range(12))
    out = received @ attention.project.weight[:, :, 0, 0].T + attention.project.bias
    torch.testing.assert_close(attention(x), x + out.transpose(1, 2).view_as(x), rtol=1e-9, atol=1e-9)


def test_every_parameter_learns():
    """Layers that start at zero hold back the gradient of those before them, but only for a step or two."""
    torch.manual_seed(0)
    net = UNet(TINY).double()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    x, t = batch(TINY, n=8)
    for _ in range(3):
        optimizer.zero_grad()
        (net(x, t) - x).square().mean().backward()
        optimizer.step()
    # (By tensor: the keys' third of an attention's bias never learns, since softmax doesn't see a constant added to all
    # scores.)
    asleep = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert asleep == []


def test_t_matters_everywhere():
    net = randomised(TINY)
    x, _ = batch(TINY, n=1)
    out = net(x.expand(4, -1, -1, -1), torch.tensor([1, 2, 500, 1000]))
    gaps = torch.pdist(out.flatten(1))
    assert gaps.min() > 1e-4 * out.norm()


def test_images_of_a_batch_do_not_mix():
    net = randomised(TINY)
    x, t = batch(TINY, n=4)
    alone = torch.cat([net(x[i : i + 1], t[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(net(x, t), alone, rtol=1e-12, atol=1e-12)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(net(x, t)[0].square().sum(), x)
    assert gradient[0].abs().min() > 0 and gradient[1:].abs().max() == 0


def test_every_pixel_sees_every_pixel():
    net = randomised(TINY)
    x, t = batch(TINY, n=1)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(net(x, t)[0, 0, 0, 0], x)
    assert (gradient != 0).all()


def test_evaluation_is_deterministic_and_dropout_is_for_training():
    net = randomised(replace(TINY, dropout=0.5))
    x, t = batch(TINY)
    assert torch.equal(net(x, t), net(x, t))
    net.train()
    assert not torch.equal(net(x, t), net(x, t))


@pytest.mark.parametrize(
    "config",
    [
        UNetConfig(image_size=7, image_channels=1, ch=4, ch_mult=(2,), num_res_blocks=1, attn_resolutions=(), groups=1),
        UNetConfig(
            image_size=8, image_channels=1, ch=9, ch_mult=(1, 3), num_res_blocks=1, attn_resolutions=(8,), groups=3
        ),
        UNetConfig(
            image_size=16,
            image_channels=3,
            ch=8,
            ch_mult=(2, 1, 3, 1, 1),
            num_res_blocks=2,
            attn_resolutions=(1, 16),
            groups=8,
        ),
        replace(TINY, image_size=3 * TINY.image_size, image_channels=2, patch=3),
    ],
    ids=["one level, odd side", "odd channels", "down to one pixel", "patches of 3 x 3"],
)
def test_other_shapes(config):
    x, t = batch(config, n=2)
    out = randomised(config)(x, t)
    assert out.shape == x.shape and out.isfinite().all() and out.std() > 0


def test_patches_are_the_plain_network_between_two_rearrangements():
    small = replace(TINY, image_channels=12)
    whole = replace(TINY, image_size=2 * TINY.image_size, image_channels=3, patch=2)
    net, plain = randomised(whole), UNet(small).double().eval()
    plain.load_state_dict(net.state_dict())  # the same parameters, in the same shapes
    x, t = batch(whole)
    deep = rearrange(x, "b c (h p) (w q) -> b (c p q) h w", p=2, q=2)
    expected = rearrange(plain(deep, t), "b (c p q) h w -> b c (h p) (w q)", p=2, q=2)
    torch.testing.assert_close(net(x, t), expected, rtol=0, atol=0)
    assert whole.resolutions == small.resolutions


def test_time_embedding_is_sines_and_cosines():
    """Equations: eq:time-embedding"""
    t = torch.tensor([1, 500, 1000])
    out = time_embedding(t, 9)
    for row, level in zip(out.double(), t.tolist()):
        angles = [level / 10_000 ** (i / 3) for i in range(4)]
        expected = torch.tensor([*map(math.sin, angles), *map(math.cos, angles), 0.0], dtype=torch.float64)
        torch.testing.assert_close(row, expected, rtol=0, atol=1e-4)  # float32 angles up to 1000 radians


def test_likeness_of_embeddings_depends_on_the_distance_of_levels_only():
    """Equations: eq:time-distance"""
    first, second = torch.tensor([1, 301, 963, 500]), torch.tensor([38, 338, 1000, 463])
    products = (time_embedding(first, 16).double() * time_embedding(second, 16).double()).sum(1)
    expected = sum(math.cos(37 / 10_000 ** (k / 7)) for k in range(8))
    torch.testing.assert_close(products, torch.full((4,), expected, dtype=torch.float64), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"groups": 3}, "groups = 3"),
        ({"image_size": 9}, "image_size = 9"),
        ({"image_size": 0}, "image_size = 0"),
        ({"attn_resolutions": (16,)}, "16"),
        ({"ch_mult": ()}, "ch_mult"),
        ({"ch_mult": (1, 0)}, "ch_mult"),
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"dropout": -0.1}, "dropout = -0.1"),
        ({"num_res_blocks": 0}, "num_res_blocks = 0"),
        ({"ch": 2, "groups": 1}, "ch = 2"),
        ({"patch": 0}, "patch = 0"),
        ({"patch": 3}, "divisible by 6"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(change, says):
    with pytest.raises(ValueError) as error:
        replace(TINY, **change)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_inputs_that_do_not_fit_are_refused():
    net = UNet(TINY)
    with pytest.raises(ValueError, match=r"\(B, 2, 8, 8\)"):
        net(torch.zeros(3, 1, 8, 8), torch.ones(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        net(torch.zeros(3, 2, 8, 8), torch.ones(1, dtype=torch.int64))


# ---- classes

LABELLED = UNetConfig(
    image_size=8,
    image_channels=1,
    ch=8,
    ch_mult=(1, 2),
    num_res_blocks=1,
    attn_resolutions=(),
    dropout=0.0,
    groups=4,
    classes=3,
)


@pytest.fixture
def labelled():
    model = UNet(LABELLED).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.2
    return model


def test_a_label_changes_its_own_image_only(labelled):
    x, t = torch.randn(4, 1, 8, 8, dtype=torch.float64), torch.tensor([3, 30, 300, 900])
    one = labelled(x, t, torch.tensor([0, 1, 2, 3]))
    two = labelled(x, t, torch.tensor([0, 2, 2, 3]))
    differs = (one - two).abs().flatten(1).amax(1) > 1e-6
    assert differs.tolist() == [False, True, False, False]


def test_no_labels_mean_the_null_label(labelled):
    x, t = torch.randn(4, 1, 8, 8, dtype=torch.float64), torch.tensor([3, 30, 300, 900])
    assert labelled.null_label == 3
    assert torch.equal(labelled(x, t), labelled(x, t, torch.full((4,), 3)))
    assert not torch.allclose(labelled(x, t), labelled(x, t, torch.zeros(4, dtype=torch.int64)))


def test_a_new_network_treats_all_classes_alike():
    model = UNet(LABELLED)
    torch.nn.init.normal_(model.conv_out.weight)
    x, t = torch.randn(4, 1, 8, 8), torch.tensor([3, 30, 300, 900])
    assert torch.equal(model(x, t, torch.arange(4)), model(x, t))


def test_classes_cost_one_embedding():
    counts = [sum(p.numel() for p in UNet(replace(LABELLED, classes=n)).parameters()) for n in (0, 3)]
    assert counts[1] - counts[0] == (3 + 1) * 4 * LABELLED.ch


def test_labels_that_do_not_fit(labelled):
    x, t = torch.randn(2, 1, 8, 8, dtype=torch.float64), torch.tensor([3, 30])
    with pytest.raises(ValueError, match="labels have shape"):
        labelled(x, t, torch.tensor([1]))
    with pytest.raises(ValueError, match="without classes"):
        UNet(replace(LABELLED, classes=0)).double()(x, t, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="classes = -1"):
        replace(LABELLED, classes=-1)


@pytest.mark.parametrize("wrong", [{"ch": 32.0}, {"classes": 2.5}, {"classes": True}])
def test_sizes_are_whole_numbers(wrong):
    with pytest.raises(ValueError, match="whole number"):
        UNetConfig(
            **{"image_size": 8, "image_channels": 1, "ch": 32, "ch_mult": (1, 2), "attn_resolutions": (), **wrong}
        )


def test_labels_outside_the_classes_are_named():
    config = UNetConfig(image_size=8, image_channels=1, ch=8, ch_mult=(1, 2), attn_resolutions=(), groups=4, classes=10)
    net, x, t = UNet(config), torch.zeros(2, 1, 8, 8), torch.tensor([1, 2])
    net(x, t, torch.tensor([0, 10]))
    for label in (-1, 11):
        with pytest.raises(ValueError, match="0..10"):
            net(x, t, torch.tensor([0, label]))


def test_a_time_embedding_needs_two_frequencies():
    with pytest.raises(ValueError, match="at least 4"):
        time_embedding(torch.tensor([1]), 3)
