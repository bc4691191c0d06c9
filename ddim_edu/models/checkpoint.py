"""Saved models: one file from which network and schedule are rebuilt.

A checkpoint is a safetensors file. Its tensors are the averaged (EMA) weights and the schedule's betas; its metadata
holds the network's configuration, what the network predicts (none said means eps), the recipe it was trained with, the
step, the names of its classes, of a student by whom and for how many steps it was taught (none said means that it is
none), and the version that wrote it. The data, and the autoencoder of a latent model, are not
in it: it names them, with their place and hash (:mod:`ddim_edu.strangers`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ddim_edu.files import first_line
from ddim_edu.forward import EpsTheta, Prediction, said_to_eps
from ddim_edu.guides import guide_named
from ddim_edu.models import foreign
from ddim_edu.models.about import Student, class_names_of, plain_recipe, student_of, whole_step
from ddim_edu.models.weights import CheckpointError, Kind, build
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.precision import Precision
from ddim_edu.processes import is_first_process
from ddim_edu.sampling import Sampler, Sampling
from ddim_edu.schedule import NoiseSchedule
from ddim_edu.streams import say

UNET = Kind("unet", "a checkpoint", "", "ddim_edu.train")
NAME = "checkpoint.safetensors"  # in a run folder


class NoisePredictor(nn.Module):
    """A network, whatever it says, as the noise predictor that samplers call.

    Args:
        network: What was trained.
        prediction: What it says: eps, v or x0.
        schedule: The noise schedule it was trained with.
    """

    def __init__(self, network: UNet, prediction: Prediction, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.network, self.prediction, self.schedule = network, prediction, schedule

    def forward(self, x_t: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """The noise in ``x_t``, in its type; arguments as for :class:`~ddim_edu.nets.unet.UNet`."""
        said = self.network(x_t, t, labels)
        abar = 0.0 if self.prediction == "eps" else self.schedule.abar(t)
        return said_to_eps(said, x_t, abar, self.prediction)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What :func:`load` returns.

    Attributes:
        network: The network with its averaged weights, in evaluation mode and without gradients. It says what
            ``prediction`` names.
        prediction: What the network was trained to predict: eps, v or x0.
        config: The network's configuration.
        schedule: The noise schedule it was trained with.
        recipe: The recipe it was trained with, as plain values.
        step: Number of training steps behind it.
        path: The file it came from.
        classes: Names of the labels 0, 1, ...; empty if it has none, or the file does not say.
        places: Where what the recipe names lay, and its hash: ``{"data": ..., "autoencoder": ...}``, from
            :func:`ddim_edu.strangers.place_of`; those of what comes with the package have a hash alone.
        student: What it was taught, if it is a student; None for all others.
        model: The noise predictor around the network, called as ``model(x_t, t)``; of any class unless it is given
            labels.
    """

    network: UNet
    prediction: Prediction
    config: UNetConfig
    schedule: NoiseSchedule
    recipe: dict[str, Any]
    step: int
    path: Path
    classes: tuple[str, ...] = ()
    places: dict[str, Any] = field(default_factory=dict)
    student: Student | None = None
    model: NoisePredictor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", NoisePredictor(self.network, self.prediction, self.schedule).eval())

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that the model makes."""
        return (self.config.image_channels, self.config.image_size, self.config.image_size)

    def of_pictures(self) -> Checkpoint:
        """This model, for whom only one of pictures will do.

        Raises:
            CheckpointError: If it works in the latent space of an autoencoder.
        """
        if self.recipe.get("autoencoder") is not None:
            raise CheckpointError(
                f"{self.path} makes latents of sounds, not pictures; to hear them: python -m ddim_edu.apps sound"
            )
        return self

    def with_paths(self) -> Checkpoint:
        """This model, for whom only a noise predictor at every level will do: to invert, to edit, to restore.

        Raises:
            CheckpointError: If it is a student.
        """
        if self.student is not None:
            raise CheckpointError(
                f"{self.path} is {self.student}, and no noise predictor at the levels between: there is no path to "
                f"follow; take its teacher"
            )
        return self

    def sample(
        self, n: int = 16, *, batch: int = 256, precision: Precision | Literal["auto"] = "auto", **options: Any
    ) -> Tensor:
        """New pictures: ``load("fashion-mnist").sample(16, steps=20, label=3)``.

        Args:
            n: How many.
            batch: Pictures in memory at a time.
            precision: Arithmetic of the network; "auto" as for :func:`ddim_edu.precision.choose`.
            options: The other fields of :class:`ddim_edu.sampling.Sampling`: steps, eta, spacing, clip, seed, label,
                scale, solver, guidance, as ``python -m ddim_edu.sample`` has them; guidance ``auto:CHECKPOINT`` loads
                the weaker model. A student takes its own steps by default.

        Returns:
            ``(n, C, H, W)`` float32 in [-1, 1], on the model's device.

        Raises:
            CheckpointError: If the model makes latents, not pictures.
            ValueError: If it can't be sampled so.
        """
        if self.student is not None:
            options = {"steps": self.student.steps} | options
        sampling = Sampling(n, **options).with_number(self.classes)
        sampling.check_with(self.of_pictures())
        weaker = weaker_of(sampling.guidance, next(self.model.parameters()).device)
        return Sampler(self, batch, precision, compile=False, weaker=weaker).draw(sampling).clamp(-1, 1)

    def eps_theta(self, labels: Tensor | int | None = None) -> EpsTheta:
        """The model as a function of (x_t, t) alone, as samplers call it.

        Args:
            labels: ``(B,)`` int64, a class for each image of the batches to come; or one class for all; None is any
                class.

        Raises:
            ValueError: When it is called with another number of images.
        """
        if labels is None:
            return self.model

        def eps_theta(x_t: Tensor, t: Tensor) -> Tensor:
            classes = torch.as_tensor(labels, device=t.device)
            if classes.numel() not in (1, len(t)):
                raise ValueError(f"{classes.numel()} labels for a batch of {len(t)}; give one for all or one for each")
            return self.model(x_t, t, classes.expand(t.shape))

        return eps_theta


def save(
    path: Path | str,
    weights: Mapping[str, Tensor],
    config: UNetConfig,
    schedule: NoiseSchedule,
    *,
    prediction: Prediction = "eps",
    recipe: Mapping[str, Any] | None = None,
    step: int = 0,
    classes: Sequence[str] = (),
    places: Mapping[str, Any] | None = None,
    student: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a checkpoint; the file is whole or not there.

    Args:
        path: The file to make or to replace.
        weights: The network's ``state_dict()``.
        config: Its configuration.
        schedule: The schedule it was trained with.
        prediction: What it predicts: eps, v or x0.
        recipe: How it was trained, as values that JSON can hold.
        step: Number of training steps behind it.
        classes: Names of the labels; empty if there are none.
        places: Where what the recipe names lies; see :class:`Checkpoint`.
        student: The fields of :class:`~ddim_edu.models.about.Student`, if it is one.
        dtype: What to store the weights as, such as ``torch.float16`` for half the size; by default as they are.
    """
    tensors = {f"model.{name}": value.to("cpu", dtype) for name, value in weights.items()}
    tensors["schedule.beta"] = schedule.beta[1:]
    more: dict[str, Any] = {"classes": list(classes)} if classes else {}
    more |= {"places": dict(places)} if places else {}
    more |= {"student": dict(student)} if student else {}
    UNET.write(path, tensors, config, prediction=prediction, recipe=dict(recipe or {}), step=step, **more)


def weaker_of(guidance: str, device: torch.device | str = "cpu") -> Checkpoint | None:
    """The weaker model that guidance ``auto:CHECKPOINT`` names, loaded; None for other guidance.

    Raises:
        ValueError: If the words name no guidance.
        CheckpointError: As :func:`load`; and if it is a student, which knows few levels.
    """
    guide = guide_named(guidance)
    return load(guide.weaker, device).of_pictures().with_paths() if guide.kind == "auto" else None


def load(name_or_path: Path | str, device: torch.device | str = "cpu", *, image_size: int | None = None) -> Checkpoint:
    """Read a model back.

    Models of other libraries are read too (:mod:`ddim_edu.models.foreign`); a line on stderr then says what was
    recognised.

    Args:
        name_or_path: The name of a model that comes with the package (such as ``"digits"``), a run folder, or a
            checkpoint file. To read a folder that has the name of a shipped model, write ``"./digits"``. Or a folder of
            diffusers with a ``UNet2DModel`` and its scheduler, such as ``python -m ddim_edu.export`` writes; or a
            ``.pth`` or ``.ckpt`` of the official DDIM code.
        device: Where to put the model.
        image_size: Side of the images, for a file of the official code that doesn't show it.

    Returns:
        The model and what it was made with.

    Raises:
        CheckpointError: In one line, if there is no such checkpoint, or it is damaged, of another kind, or from a newer
            version.
    """
    path = find(name_or_path)
    if foreign.is_foreign(path):
        return _load_foreign(path, device, image_size)
    with UNET.opened(path) as (about, tensors):
        config = UNetConfig(**about["config"])
        if image_size not in (None, config.image_size):
            raise ValueError(f"image_size = {image_size}: it says itself that its images have {config.image_size}")
        prediction = about.get("prediction", "eps")  # files of older versions don't say
        if prediction not in get_args(Prediction):
            raise ValueError(
                f"its network predicts {prediction!r}, and this version knows {', '.join(get_args(Prediction))}"
            )
        recipe, places, step = plain_recipe(about["recipe"]), about.get("places", {}), whole_step(about["step"])
        if not isinstance(places, dict):
            raise ValueError("its places are none")
        beta = tensors.pop("schedule.beta")
        if not beta.is_floating_point():
            raise ValueError(f"its betas are of type {beta.dtype}")
        schedule = NoiseSchedule.from_betas(beta)
        network = _network(config, {name.removeprefix("model."): value for name, value in tensors.items()}, device)
        classes = class_names_of(about.get("classes", ()), config.classes)
        student = student_of(about.get("student"), schedule.T)
        return Checkpoint(network, prediction, config, schedule, recipe, step, path, classes, places, student)


def _load_foreign(path: Path, device: torch.device | str, image_size: int | None) -> Checkpoint:
    found = foreign.read(path, image_size)
    try:
        network, recipe = _network(found.config, found.weights, device), plain_recipe(found.recipe)
    except ValueError as error:
        raise CheckpointError(f"{path} can't be used: {first_line(error)}") from None
    if is_first_process():
        say(found.recognised, file=sys.stderr)
    return Checkpoint(network, found.prediction, found.config, found.schedule, recipe, whole_step(found.step), path)


def _network(config: UNetConfig, weights: Mapping[str, Tensor], device: torch.device | str) -> UNet:
    network = build(UNet, config, weights, device)
    if torch.device(device).type == "cpu":
        network.to(memory_format=torch.channels_last)  # a third faster there
    return network


def find(name_or_path: Path | str) -> Path:
    """The checkpoint file that a name, a run folder, a folder of diffusers or a path stands for.

    Raises:
        CheckpointError: If there is none.
    """
    folder = Path(name_or_path)
    if str(name_or_path) in UNET.shipped() or not folder.is_dir():
        return UNET.find(name_or_path)
    if (folder / NAME).is_file():
        return folder / NAME
    weights = foreign.find_weights(folder)
    if weights is None:
        raise CheckpointError(
            f"the folder {folder} holds no {NAME} (and no unet/config.json): "
            "name one that a training run has written into"
        )
    return weights
