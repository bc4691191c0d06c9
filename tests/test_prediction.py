"""What a network predicts: eps, v or x_0, one loss and one sampler for all three."""

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ddim_edu.commands import sample as sample_command
from ddim_edu.commands import train as train_command
from ddim_edu.exact import GaussianMixture
from ddim_edu.forward import as_eps, eps_to_v, mix, q_sample, said_to_eps, unmix_x0, v_to_eps
from ddim_edu.losses import gamma_of_prediction, loss_gamma, loss_simple, min_snr_gamma
from ddim_edu.models import CheckpointError, load, save
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.sampler import ddim_path, sample
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.training.recipes import RECIPES
from ddim_edu.training.run_folder import RunFolder
from ddim_edu.training.trainer import Trainer

LINEAR, COSINE = NoiseSchedule.linear(), NoiseSchedule.cosine()
OTHERS = ("v", "x0")
NET = UNetConfig(
    image_size=8, image_channels=1, ch=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), groups=4, classes=10
)
TINY = replace(RECIPES["digits"], unet=NET, batch=16, steps=8, warmup=2, log_every=2, sample_every=8, save_every=4)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def mixture(schedule):
    return GaussianMixture([0.3, 0.7], [[-1.0, 0.0], [1.0, 0.5]], 0.05, schedule)


def saying(data, prediction):
    """A network that knows the data exactly, and says v or x_0."""

    def network(x_t, t):
        eps, abar = data.eps(x_t, t), data.schedule.abar(t)
        return {"v": eps_to_v, "x0": lambda e, x, a: unmix_x0(x, e, a)}[prediction](eps, x_t, abar)

    return network


# ---------------------------------------------------------------- the conversion


@pytest.mark.parametrize("prediction", OTHERS)
@pytest.mark.parametrize("schedule", [LINEAR, COSINE], ids=["linear", "cosine"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_what_is_said_does_not_change_the_samples(prediction, schedule, eta):
    data, tau = mixture(schedule), make_tau(1000, 20, "trailing")
    how = {"eta": eta, "dtype": torch.float64}
    ours = sample(data.eps, (500, 2), schedule, tau, generator=torch.Generator().manual_seed(0), **how)
    network = as_eps(saying(data, prediction), prediction, schedule)
    assert torch.allclose(
        sample(network, (500, 2), schedule, tau, generator=torch.Generator().manual_seed(0), **how), ours, atol=1e-8
    )


def test_and_in_float32_to_1e_5_where_the_schedule_is_mild():
    data, tau = mixture(LINEAR), make_tau(1000, 20, "trailing")
    ours = sample(data.eps, (500, 2), LINEAR, tau, generator=torch.Generator().manual_seed(0))
    v = as_eps(saying(data, "v"), "v", LINEAR)
    assert (sample(v, (500, 2), LINEAR, tau, generator=torch.Generator().manual_seed(0)) - ours).abs().max() < 1e-5


def test_the_order_of_convergence_is_that_of_eps():
    """Euler's, 1: halving the steps halves the error, up to a tenth."""
    data, x_T = mixture(LINEAR), normal(300, 2)
    eps_theta = as_eps(saying(data, "v"), "v", LINEAR)

    def end(S):
        *_, last = ddim_path(eps_theta, x_T, LINEAR, make_tau(1000, S, "trailing"))
        return last.x_s

    truth, errors = end(1000), []
    for S in (25, 50, 100):  # far enough from 1,000 that the truth's own error is a tenth of the last
        errors.append((end(S) - truth).abs().median())
    assert 1.7 < errors[0] / errors[1] < 2.6 and 1.7 < errors[1] / errors[2] < 2.6


@pytest.mark.parametrize(("t", "most"), [(1000, 1e-2), (900, 1e-4), (500, 1e-5)])
def test_the_picture_by_way_of_eps_is_vs_own(t, most):
    """x_0 = sqrt(abar) x_t - sqrt(1 - abar) v. By way of eps, float32's rounding is multiplied by nu, 20,291 at level
    T.
    """
    abar = COSINE.alpha_bar[t].item()
    x_0, eps = normal(64, 3, 8, 8).clamp(-1, 1).float(), normal(64, 3, 8, 8, seed=1).float()
    x_t = mix(x_0, eps, abar)
    v = math.sqrt(abar) * eps - math.sqrt(1 - abar) * x_0 + 0.1 * normal(64, 3, 8, 8, seed=2).float()
    own = math.sqrt(abar) * x_t - math.sqrt(1 - abar) * v
    assert (unmix_x0(x_t, said_to_eps(v, x_t, abar, "v"), abar) - own).abs().max() < most


def test_a_network_in_bf16_is_converted_in_float32():
    x_t, said = normal(8, 2, dtype=torch.float32), normal(8, 2, seed=1, dtype=torch.float32).bfloat16()
    found = as_eps(lambda x, t: said, "v", COSINE)(x_t, torch.full((8,), 700))
    assert found.dtype == torch.float32
    assert torch.equal(found, v_to_eps(said.float(), x_t, COSINE.alpha_bar[700]))


def test_what_can_not_be_converted():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="prediction = 'noise': a network predicts eps, v or x0"):
        said_to_eps(x, x, 0.5, "noise")
    with pytest.raises(ValueError, match=r"returned \(3, 1\)"):  # it would be broadcast
        said_to_eps(x[:, :1], x, 0.5, "v")
    with pytest.raises(ValueError, match="eps, v or x0"):
        gamma_of_prediction(LINEAR, "noise")


# ---------------------------------------------------------------- the loss


def errors_of(prediction, eps_hat, eps, x_0, x_t, abar):
    """Squared errors of what is said, from its definition."""
    a = abar[:, None]
    x0_hat = (x_t - (1 - a).sqrt() * eps_hat) / a.sqrt()
    said = {"eps": eps_hat, "x0": x0_hat, "v": a.sqrt() * eps_hat - (1 - a).sqrt() * x0_hat}[prediction]
    true = {"eps": eps, "x0": x_0, "v": a.sqrt() * eps - (1 - a).sqrt() * x_0}[prediction]
    return (said - true).square().mean(1)


@pytest.mark.parametrize("prediction", ["eps", *OTHERS])
@pytest.mark.parametrize("schedule", [LINEAR, COSINE], ids=["linear", "cosine"])
def test_the_error_of_what_is_said_is_a_weighted_error_of_the_noise(prediction, schedule):
    """Equations: eq:error-scale"""
    t = torch.arange(1, 1001)
    x_0, eps, eps_hat, abar = normal(1000, 4), normal(1000, 4, seed=1), normal(1000, 4, seed=2), schedule.alpha_bar[t]
    x_t = q_sample(x_0, t, schedule, eps)
    own = errors_of(prediction, eps_hat, eps, x_0, x_t, abar)
    found = loss_gamma(lambda x, t: eps_hat, x_0, t, eps, schedule, gamma_of_prediction(schedule, prediction))
    assert found == pytest.approx(own.mean().item(), rel=1e-9)
    snr = abar / (1 - abar)
    papers = {"eps": snr.clamp(max=5) / snr, "x0": snr.clamp(max=5), "v": snr.clamp(max=5) / (snr + 1)}[prediction]
    found = loss_gamma(lambda x, t: eps_hat, x_0, t, eps, schedule, min_snr_gamma(schedule))
    assert found == pytest.approx((papers * own).mean().item(), rel=1e-9)


def test_for_eps_the_own_weights_are_those_of_l_simple():
    x_0, eps, t = normal(50, 3), normal(50, 3, seed=1), torch.arange(1, 1001, 20)
    gamma = gamma_of_prediction(LINEAR, "eps")
    zero = torch.zeros_like
    assert loss_gamma(lambda x, t: zero(x), x_0, t, eps, LINEAR, gamma) == loss_simple(
        lambda x, t: zero(x), x_0, t, eps, LINEAR
    )


# ---------------------------------------------------------------- recipes, runs and files


def run(folder, recipe):
    folder.mkdir()
    trainer = Trainer.start(recipe, folder)
    list(trainer.run())
    return trainer


@pytest.mark.parametrize("prediction", OTHERS)
def test_training_minimises_what_the_recipe_says(tmp_path, prediction):
    """The first step's loss is that of a new network, which says 0: the mean square of v, or of x_0."""
    recipe = replace(TINY, prediction=prediction, batch=512, steps=1)
    (tmp_path / "a").mkdir()
    trainer = Trainer.start(recipe, tmp_path / "a")
    (first,) = trainer.run()
    images = trainer.data.floats(trainer.data.train).double()
    abar = trainer.schedule.alpha_bar[1:].mean()
    expected = {"x0": images.square().mean(), "v": abar + (1 - abar) * images.square().mean()}[prediction]
    assert first.loss.item() == pytest.approx(expected.item(), rel=0.02)
    assert load(tmp_path / "a").prediction == prediction
    with torch.no_grad():  # the same, but for one step of the averaged weights
        assert trainer.heldout_loss() == pytest.approx(expected.item(), rel=0.05)


@pytest.mark.slow
def test_a_run_with_v_learns_samples_and_resumes(tmp_path, capsys):
    words = [
        "digits",
        "--prediction",
        "v",
        "--steps",
        "60",
        "--sample-every",
        "30",
        "--save-every",
        "30",
        "--log-every",
        "10",
    ]
    words += ["--unet.ch", "8", "--unet.groups", "4", "--threads", "1"]
    assert train_command.main([*words, "--out", str(tmp_path / "v")]) == 0
    model = load(tmp_path / "v")
    assert model.prediction == "v" and RunFolder(tmp_path / "v").recipe().prediction == "v"
    # The command's samples are the package's, of the noise predictor and not of what the network says.
    assert sample_command.main([str(tmp_path / "v"), "--steps", "4", "-n", "3", "--out", str(tmp_path / "a.png")]) == 0
    x, t = normal(2, 1, 8, 8, dtype=torch.float32), torch.tensor([10, 1000])
    with torch.no_grad():
        expected = v_to_eps(model.network(x, t), x, model.schedule.alpha_bar[t])
    assert torch.equal(model.model(x, t), expected) and torch.equal(model.eps_theta()(x, t), expected)
    capsys.readouterr()
    assert train_command.main(["--resume", str(tmp_path / "v"), "--steps", "70", "--prediction", "eps"]) == 2
    message = capsys.readouterr().err
    assert "prediction v -> eps" in message and message.strip().count("\n") == 0


def test_an_interrupted_run_with_v_is_no_other(tmp_path):
    recipe = replace(TINY, prediction="v")
    run(tmp_path / "whole", recipe)
    (tmp_path / "cut").mkdir()
    for record in Trainer.start(recipe, tmp_path / "cut").run():
        if record.step == 6:
            break
    list(Trainer.resume(tmp_path / "cut").run())
    one, two = (load(tmp_path / name).network.state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prediction": "v", "loss": "published"}, "prediction = v is none"),
        ({"prediction": "x0", "loss": "mended"}, "prediction = x0 is none"),
        ({"prediction": "v", "loss": "mended", "weighting": "min-snr"}, "prediction = v is none"),
    ],
)
def test_losses_of_the_noise_want_a_network_that_predicts_it(change, words):
    with pytest.raises(ValueError, match=words):
        replace(RECIPES["cifar10-64"], **change)


def test_the_papers_recipes_predict_noise():
    papers = ("cifar10-64", "cifar10-128", "cifar10-64-adaptive", "celeba-64", "celeba-hq-256")
    assert all(RECIPES[name].prediction == "eps" for name in papers)


def test_a_file_that_says_nothing_is_of_eps(tmp_path):
    import json

    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = tmp_path / "a.safetensors"
    save(path, UNet(NET).state_dict(), NET, COSINE, prediction="v")
    assert load(path).prediction == "v"
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["ddim_edu"])
    tensors = load_file(path)
    for change, said in (({"prediction": None}, None), ({}, "eps")):
        new = {k: v for k, v in {**about, **change}.items() if k != "prediction" or change}
        save_file(tensors, path, metadata={"ddim_edu": json.dumps(new)})
        if said:
            assert load(path).prediction == said
        else:
            with pytest.raises(CheckpointError, match="predicts None") as error:
                load(path)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("prediction", ["eps", *OTHERS])
def test_the_exported_network_gives_eps_whatever_was_trained(tmp_path, prediction):
    """The page's sampler asks for noise; the conversion is in the file, in float32, at both ends of the cosine
    schedule.
    """
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    tool = Path(__file__).parent.parent / "book" / "_tools" / "export_onnx.py"
    spec = importlib.util.spec_from_file_location("export_onnx_of_prediction", tool)
    export_onnx = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(export_onnx)
    net = UNet(NET)
    generator = torch.Generator().manual_seed(0)
    weights = {name: 0.1 * torch.randn(w.shape, generator=generator) for name, w in net.state_dict().items()}
    save(tmp_path / "a.safetensors", weights, NET, COSINE, prediction=prediction)
    model = load(tmp_path / "a.safetensors")
    asked = ReferenceEvaluator(onnx.load_from_string(export_onnx.export(model)))
    eps_theta, x_T = model.eps_theta(3), normal(2, 1, 8, 8, dtype=torch.float32)

    def theirs(x, t):
        inputs = {"x": x.numpy(), "t": t.numpy(), "label": torch.full_like(t, 3).numpy()}
        return torch.from_numpy(asked.run(None, inputs)[0])

    tau = make_tau(1000, 8, "trailing")
    with torch.no_grad():
        paths = [list(ddim_path(e, x_T, COSINE, tau, clip=1.0)) for e in (eps_theta, theirs)]
    for one, two in zip(*paths, strict=True):
        assert (one.x_s - two.x_s).abs().max() < 1e-3, one.t
