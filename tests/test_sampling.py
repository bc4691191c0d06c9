"""Asking a model for samples, against the same samples drawn by hand; solvers from outside the package."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from ddim_edu import sampling
from ddim_edu.commands import sample as command
from ddim_edu.models import CheckpointError, load, save
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.plugins import named
from ddim_edu.randomness import draw, image_generators
from ddim_edu.sampler import clipped, decode, sample
from ddim_edu.sampling import SOLVERS, Sampler, Sampling
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.solvers import heun

NET = UNetConfig(image_size=8, image_channels=1, ch=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), groups=4)
T, N = 50, 5

SOLVER = '''
def euler(eps_theta, x_T, schedule, tau):
    """Euler's method in the clock of DDIM."""
    levels, abar, clock = tau.tolist(), schedule.alpha_bar.tolist(), schedule.nsr.tolist()
    x = x_T / abar[levels[-1]] ** 0.5
    for s, t in reversed(list(zip(levels, levels[1:]))):
        level = torch.full((len(x),), t, device=x.device)
        x = x + (clock[s] - clock[t]) * eps_theta(x * abar[t] ** 0.5, level)
    return x
'''


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A network of ten classes, untrained: it has an opinion, and one for each class."""
    torch.manual_seed(0)
    net = replace(NET, classes=10)
    weights = {name: w + 0.1 * torch.randn_like(w) for name, w in UNet(net).state_dict().items()}
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save(path, weights, net, NoiseSchedule.linear(T, 1e-3, 0.2))
    return path


@pytest.fixture
def model(path):
    return load(path)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a solver in a file; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch.py").write_text("import torch\n" + SOLVER)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def by_hand(model, eps_theta, steps, n=N, seed=0, **how):
    shape, generators = (n, *model.image_shape), image_generators(seed, 0, n)
    return sample(eps_theta, shape, model.schedule, make_tau(T, steps), generator=generators, **how)


def same(a, b, atol=1e-5):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


# ---------------------------------------------------------------- which samples


def test_the_short_door_is_the_sampler(model):
    x = model.sample(N, steps=4, label=3)
    assert x.shape == (N, 1, 8, 8) and x.dtype == torch.float32 and x.abs().max() <= 1
    same(x, by_hand(model, model.eps_theta(3), 4, clip=1.0))
    same(model.sample(N, steps=4, label=3, seed=7), by_hand(model, model.eps_theta(3), 4, seed=7, clip=1.0))
    turn = by_hand(model, model.eps_theta(torch.arange(N)), 6, eta=0.5, clip=1.0)
    same(model.sample(N, steps=6, eta=0.5, batch=2), turn)
    free = by_hand(model, model.eps_theta(), 4)
    assert free.abs().max() > 1, "nothing to clip"
    same(model.sample(N, steps=4, label="any", clip="off"), free.clamp(-1, 1))


@pytest.mark.parametrize("label", [np.int64(3), torch.tensor(3)])
def test_whole_numbers_of_other_libraries_are_labels(model, label):
    same(model.sample(N, steps=2, label=label), model.sample(N, steps=2, label=3), 0)


@pytest.mark.parametrize("label", [None, 2.0, [1, 2], torch.tensor([1, 2]), torch.tensor(2.5), b"any", "x", 10, -1])
def test_what_is_no_label_is_said_in_one_line(model, label):
    with pytest.raises(ValueError, match=r"^label.*(class|the model knows labels 0\.\.9)") as caught:
        model.sample(N, steps=2, label=label)
    assert "\n" not in str(caught.value)


def test_a_part_is_a_part_of_the_whole(model):
    asked = Sampling(N, steps=3, eta=1.0, seed=2)
    whole = Sampler(model).draw(asked)
    same(Sampler(model, 2).draw(asked, 1, 4), whole[1:4])
    same(Sampler(model, 2).draw_together(asked), whole)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guidance(model, scale):
    def eps_theta(x, t):
        of_any = model.model(x, t)
        return of_any + scale * (model.model(x, t, torch.full_like(t, 4)) - of_any)

    same(model.sample(N, steps=4, label=4, scale=scale), by_hand(model, eps_theta, 4, clip=1.0))
    assert not torch.allclose(
        model.sample(N, steps=4, label=4, scale=scale + 1), model.sample(N, steps=4, label=4, scale=scale)
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_one_seed_is_one_picture_on_every_device(path, model):
    there = load(path, "cuda")
    same(there.sample(N, steps=4, eta=1.0, precision="float32").cpu(), model.sample(N, steps=4, eta=1.0), 1e-3)


def test_noise_comes_from_the_cpu(model, monkeypatch):
    """Every generator that is asked for lives there, whatever the device: seen here without a GPU."""
    asked = []
    monkeypatch.setattr(sampling, "image_generators", lambda *where: asked.append(where) or image_generators(*where))
    model.sample(2, steps=2)
    assert asked == [(0, 0, 2)] and Sampler(model).about()["noise"] == "generators on cpu, one for each image"


def test_memory_that_is_too_small_halves_the_batch(model, monkeypatch):
    asked, sizes = Sampling(7, steps=2), []
    whole = Sampler(model).draw(asked)

    def tight(eps_theta, x_T, schedule, tau, *, eta, generator, clip):
        sizes.append(len(x_T))
        eps_theta(x_T, torch.full((len(x_T),), T))  # calls that make no image don't count
        if len(x_T) > 3:
            raise torch.OutOfMemoryError("no room")
        return decode(eps_theta, x_T, schedule, tau, eta=eta, generator=generator, clip=clip)

    monkeypatch.setitem(SOLVERS, "ddim", tight)
    sampler = Sampler(model, 8)
    same(sampler.draw(asked), whole)
    assert sizes == [7, 4, 2, 2, 2, 1] and sampler.batch == 2 and sampler.calls_per_image(asked) == 3
    monkeypatch.setitem(SOLVERS, "ddim", lambda *_, **__: (_ for _ in ()).throw(torch.OutOfMemoryError("none")))
    with pytest.raises(torch.OutOfMemoryError):
        Sampler(model, 4).draw(asked)


def test_what_a_protocol_says():
    """Results that are older than guidance and solvers compare with those that use neither."""
    old = {"n": 3, "steps": 2, "eta": 0.0, "spacing": "trailing", "clip": None, "seed": 0, "label": "turn"}
    assert Sampling(3, 2, clip="off").about() == old
    assert Sampling(3, 2, clip="off", scale=2.0, solver="heun").about() == old | {"scale": 2.0, "solver": "heun"}
    assert command.SampleOptions(n=3, steps=2, clip="off", batch=9).about() == old


# ---------------------------------------------------------------- solvers


@pytest.mark.parametrize("solver, calls", [("ddim", 6), ("heun", 11), ("heun-reuse", 6), ("dpm-solver-2m", 6)])
def test_calls_are_counted(model, solver, calls):
    asked, sampler, seen = Sampling(N, steps=6, solver=solver, label=1), Sampler(model, 2), []
    hook = model.model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    assert sampler.calls_per_image(asked) is None
    sampler.draw(asked)
    assert sampler.calls_per_image(asked) == calls == sum(seen) / N
    sampler.draw(replace(asked, scale=3.0))
    assert sampler.calls_per_image(replace(asked, scale=3.0)) == 2 * calls
    hook.remove()


def test_a_solver_is_called_as_its_own_function(model):
    x_T = draw(torch.empty(N, *model.image_shape), image_generators(0, 0, N))
    tau = make_tau(T, 5)
    found = model.sample(N, steps=5, label=2, solver="heun")
    same(found, heun(clipped(model.eps_theta(2), 1.0, model.schedule), x_T, model.schedule, tau).clamp(-1, 1))
    free = model.sample(N, steps=5, label=2, solver="heun", clip="off")
    same(free, heun(model.eps_theta(2), x_T, model.schedule, tau).clamp(-1, 1))
    assert not torch.allclose(found, free, atol=1e-3)


def test_a_solver_in_a_file_of_ones_own(here, path, model, capsys):
    """Euler in the clock is DDIM (chapter 7), and clipping around it is the sampler's."""
    for clip in (1.0, "off"):
        same(model.sample(N, steps=8, clip=clip, solver="scratch:euler"), model.sample(N, steps=8, clip=clip), 1e-4)
    same(model.sample(2, steps=3, solver="scratch.py:euler"), model.sample(2, steps=3, solver="scratch:euler"))
    words = [str(path), "-n", "4", "--steps", "8", "--label", "2", "--solver", "scratch:euler", "--scale", "2"]
    assert command.main(words) == 0
    said = capsys.readouterr().out
    assert said.endswith("S = 8, eta = 0, trailing spacing, scale = 2, solver scratch:euler, 16 network calls each\n")


def test_a_solver_that_adds_noise(here, model):
    """It says so by its parameters, and gets a generator for each image."""
    (here / "noisy.py").write_text(
        "from ddim_edu.randomness import draw\n"
        "def solve(eps_theta, x_T, schedule, tau, *, eta, generator):\n"
        "    return 0.1 * eta * draw(x_T, generator)\n"
    )
    found = model.sample(3, solver="noisy:solve", eta=0.5)
    generators = image_generators(0, 0, 3)
    draw(found, generators)
    same(found, 0.05 * draw(found, generators))


def test_a_solver_of_an_installed_package(here, model, monkeypatch):
    about = here / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[ddim_edu.solvers]\nmine = scratch:euler\n")
    monkeypatch.syspath_prepend(here)
    same(model.sample(N, steps=8, solver="mine"), model.sample(N, steps=8), 1e-4)
    with pytest.raises(
        ValueError, match="no solver 'mien' .known: ddim, heun, heun-reuse, dpm-solver-2m, consistency, mine;"
    ):
        named("mien", SOLVERS, "solver", "ddim_edu.solvers")


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "options, says",
    [
        ({"n": 0}, "n = 0: give at least 1"),
        ({"steps": 0}, "steps = 0"),
        ({"steps": 51}, "S = 51 is outside 1..50"),
        ({"eta": -0.5}, "eta = -0.5"),
        ({"eta": 30.0}, "it can be at most"),
        ({"clip": 0.0}, "clip = 0: give a number above 0, such as 1, or off"),
        ({"seed": -1}, "seed = -1"),
        ({"spacing": "even"}, "'even' is unknown"),
        ({"label": 10}, "label = 10: the model knows labels 0..9"),
        ({"label": -1}, "label = -1"),
        ({"label": "all"}, "label = 'all'"),
        ({"scale": float("nan")}, "scale = nan"),
        ({"scale": 2.0, "label": "any"}, "scale = 2: guidance is towards a class"),
        ({"solver": "hean"}, "there is no solver 'hean' .known: ddim, heun"),
        ({"solver": "heun", "eta": 1.0}, "solver heun adds no noise"),
        ({"solver": "heun", "eta": "hat"}, "eta = hat: solver heun adds no noise"),
        ({"solver": "nowhere:euler"}, "can't import nowhere .no such file here"),
        ({"solver": "scratch:eular"}, "scratch has no eular to call"),
        ({"solver": "scratch:torch"}, "scratch has no torch to call"),
        ({"solver": "broken:solve"}, "can't import broken .ZeroDivisionError: division by zero"),
        ({"solver": "ends:solve"}, "can't import ends .SystemExit: 0"),
        ({"solver": "moves:solve"}, "can't import moves .ZeroDivisionError: division by zero"),
        ({"solver": "short:solve"}, r"short:solve takes \(x_T\): give \(eps_theta, x_T, schedule, tau\)"),
        ({"solver": "short:none"}, r"solver short:none returned NoneType for x_T, torch.float32 \(16, 1, 8, 8\)"),
        ({"solver": "short:whole"}, r"solver short:whole returned torch.int64 \(16, 1, 8, 8\) for x_T, torch.float32"),
        ({"solver": "short:nan"}, "solver short:nan made values that are not finite"),
        ({"solver": "short:inf"}, "solver short:inf made values that are not finite"),
        (
            {"solver": "short:more"},
            r"more takes \(eps_theta, x_T, schedule, tau, more\): .* all else a default",
        ),
        ({"solver": "short:fifth"}, r"fifth takes \(a, b, c, d, e\): give"),
        ({"solver": "short:early"}, r"early takes \(eps_theta, x_T, schedule, eta, tau\): give"),
        ({"seed": 2**63}, r"seed = 9223372036854775808: give at least 0, and less than 2\*\*63"),
    ],
)
def test_what_can_not_be_drawn(here, model, options, says):
    (here / "broken.py").write_text("1 / 0")
    (here / "ends.py").write_text("import sys\nsys.exit(0)\n")  # as scripts do
    (here / "moves.py").write_text("import os\nos.chdir('/')\n1 / 0\n")
    (here / "short.py").write_text(
        "def solve(x_T):\n    return x_T\ndef none(eps_theta, x_T, schedule, tau):\n    pass\n"
        "def whole(a, b, c, d):\n    return b.long()\n"
        "def nan(a, b, c, d):\n    return b * float('nan')\n"
        "def inf(a, b, c, d):\n    return b.exp().index_fill(0, b.new_zeros(1).long(), float('inf'))\n"
        "def more(eps_theta, x_T, schedule, tau, *, more):\n    return x_T\n"
        "def fifth(a, b, c, d, e):\n    return b\n"
        "def early(eps_theta, x_T, schedule, eta, tau):\n    return x_T\n"
    )
    with pytest.raises(ValueError, match=says):
        model.sample(**options)


def test_a_file_in_the_working_directory_may_be_named_with_its_dot(here, model):
    (here / "dotted.py").write_text("def still(a, b, c, d, unasked=1, *rest, **more):\n    return b\n")
    same(model.sample(2, solver="./dotted:still"), model.sample(2, solver="dotted.py:still"))
    (here / "sub").mkdir()
    (here / "sub" / "deep.py").write_text("import beside\nstill = beside.still\n")
    (here / "sub" / "beside.py").write_text((here / "dotted.py").read_text())
    for name in ("sub/deep.py:still", f"{here}/sub/deep.py:still"):
        same(model.sample(2, solver=name), model.sample(2, solver="dotted:still"))


def test_guidance_needs_classes_and_a_network_that_knows_any(tmp_path):
    torch.manual_seed(0)
    for name, net, recipe in (("plain", NET, {}), ("all", replace(NET, classes=3), {"label_dropout": 0.0})):
        save(tmp_path / f"{name}.safetensors", UNet(net).state_dict(), net, NoiseSchedule.linear(T), recipe=recipe)
    plain, never_any = load(tmp_path / "plain.safetensors"), load(tmp_path / "all.safetensors")
    with pytest.raises(ValueError, match="scale = 2: guidance is towards a class"):
        plain.sample(2, scale=2.0)
    with pytest.raises(ValueError, match="label = 1: the model knows no classes"):
        plain.sample(2, label=1)
    with pytest.raises(ValueError, match="--label-dropout 0"):
        never_any.sample(2, scale=2.0)
    assert plain.sample(2, steps=2).shape == never_any.sample(2, steps=2).shape == (2, 1, 8, 8)


def test_latents_are_no_pictures():
    with pytest.raises(CheckpointError, match="latents of sounds, not pictures; to hear them: python -m"):
        load("spoken-digits").sample(2)


def test_a_typo_is_no_option(model):
    with pytest.raises(TypeError, match="stps"):
        model.sample(2, stps=3)
