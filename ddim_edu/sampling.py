"""Asking a model for samples: one set of options, one place that draws them, and the names of solvers.

Sample i of a seed is a function of (seed, i) alone: its noise comes from a generator of its own on the CPU, so that
neither the batch, nor the number of processes, nor the device changes which picture it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from operator import index
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor

from ddim_edu.distillation import consistency
from ddim_edu.forward import EpsTheta
from ddim_edu.guidance import decode_cfgpp, guided
from ddim_edu.guides import PLAIN, Guide, check_guide, guide_named
from ddim_edu.nets.unet import UNet, UNetConfig
from ddim_edu.plugins import named
from ddim_edu.precision import Precision, choose, in_precision
from ddim_edu.processes import gather, process_count, process_index, progress
from ddim_edu.randomness import draw, image_generators
from ddim_edu.ranges import Checked, Clip, Eta, NotNegative, Positive, closest
from ddim_edu.sampler import clipped, ddim_path, decode
from ddim_edu.schedule import NoiseSchedule, Spacing, make_tau
from ddim_edu.solvers import dpm_solver_2m, heun

Solver = Callable[..., Tensor]
"""``solver(eps_theta, x_T, schedule, tau) -> x_0``: from ``x_T (B, ...)`` at level ``tau[-1]`` down to the data.

One that adds noise on the way also has parameters ``eta`` and ``generator``; one that clips the predicted data itself
has ``clip`` (a number or None). For all others the clipping is done around ``eps_theta``.
"""


GIVEN = ("eta", "generator", "clip")  # what a solver is given besides, if it takes it


SOLVERS: dict[str, Solver] = {
    "ddim": decode,
    "heun": heun,
    "heun-reuse": partial(heun, reuse=True),
    "dpm-solver-2m": dpm_solver_2m,
    "consistency": consistency,
}
"""The solvers that have a short name; for others see :func:`solver_named`."""


def solver_named(name: str) -> Solver:
    """The solver of :data:`SOLVERS`, of the entry points ``ddim_edu.solvers``, or of ``file:function``.

    Raises:
        ValueError: If there is none.
    """
    return named(name, SOLVERS, "solver", "ddim_edu.solvers")


class Model(Protocol):
    """What samples are drawn from; :class:`ddim_edu.models.checkpoint.Checkpoint` is one."""

    @property
    def network(self) -> UNet:
        """What computes, whatever it says."""

    @property
    def config(self) -> UNetConfig:
        """The network's configuration, of which the classes count here."""

    @property
    def schedule(self) -> NoiseSchedule:
        """The schedule it was trained with."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe it was trained with, or as much as is known."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a sample."""

    def eps_theta(self, labels: Tensor | int | None = None) -> EpsTheta:
        """Its noise predictor for ``(B,)`` labels, or one label for all; None is any class."""


@dataclass(frozen=True)
class Sampling(Checked):
    """Which samples: all that decides what they are, and nothing else.

    Raises:
        ValueError: If a value is out of range.
    """

    remedies: ClassVar = {"clip": "such as 1, or off"}

    # How many images.
    n: Positive = 64
    # Number of sampling steps S, from 1 to the model's T.
    steps: Positive = 20
    # 0 is DDIM (deterministic), 1 is DDPM, "hat" is DDPM with its larger noise.
    eta: Eta = 0.0
    # Which of the T levels the steps visit. The default asks the network at level T first, whose noise is what sampling
    # starts from; leading is the official code's, and starts below T.
    spacing: Spacing = "trailing"
    # Keep the predicted image within [-clip, clip] at every step; "off" lets it go where it goes. Where the first step
    # leaves from nearly pure noise (cosine schedule, spacings that start at T), samples need it; elsewhere it changes
    # little.
    clip: Clip = 1.0
    # Image i of a seed is the same image whatever the number of images, the batch and the device are.
    seed: NotNegative = 0
    # Of models that know classes: the class to draw, by its number or name; "turn" for each in turn; "any" for open.
    label: int | str = "turn"
    # Classifier-free guidance: 1 draws the class as trained, more presses towards it, 0 is any class. Other than 0 and
    # 1 it calls the network twice.
    scale: float = 1.0
    # What walks the levels: ddim, heun, heun-reuse, dpm-solver-2m; consistency, for students; or yours, file:function.
    solver: str = "ddim"
    # How the scale is used: plain; interval:200-700, at these levels only; cfg++, whose scales are of 0 to 1;
    # rescale:0.7, with its size put back; auto:CHECKPOINT, away from a weaker model of the same class.
    guidance: str = "plain"

    @property
    def bound(self) -> float | None:
        """``clip`` as samplers take it: None for none."""
        return None if self.clip == "off" else self.clip

    def with_number(self, classes: Sequence[str]) -> Self:
        """The same with a class by its number, where ``label`` is one of these names; see :func:`label_number`."""
        return replace(self, label=label_number(self.label, classes))

    def about(self) -> dict[str, Any]:
        """What a protocol says of the sampling. The youngest fields stand there only where they are not as ever, so
        that results without them compare.
        """
        young = ("scale", "solver", "guidance")
        said = [f for f in fields(Sampling) if f.name not in young or getattr(self, f.name) != f.default]
        return {f.name: getattr(self, f.name) for f in said} | {"clip": self.bound}

    def check_with(self, model: Model) -> None:
        """A check, before any work, that a model can be sampled so.

        Raises:
            ValueError: In one line, if it can't.
        """
        self._check_student(model)
        check_label(model, self.label)
        guided(model.eps_theta(), model.eps_theta(), self.scale)  # checks the scale
        guide = guide_named(self.guidance)
        check_guide(guide, self.scale, model.schedule.T)
        if guide.kind == "cfg++" and (self.solver != "ddim" or self.eta != 0):
            raise ValueError("guidance cfg++ is a step of ddim with eta = 0: leave out --solver and --eta")
        if guide.kind != "auto" and (self.scale != 1 or guide.kind == "cfg++"):
            if not model.config.classes or self.label == "any":
                raise ValueError(f"scale = {self.scale:g}: guidance is towards a class, and there is none")
            if model.recipe.get("label_dropout") == 0:
                raise ValueError(
                    f"scale = {self.scale:g}: the model was trained with --label-dropout 0, and guidance "
                    "needs what it predicts for any class"
                )
        signature = inspect.signature(solver_named(self.solver))
        takes = list(signature.parameters)
        try:
            signature.bind(*range(4), **dict.fromkeys(name for name in GIVEN if name in takes))
        except TypeError:
            raise ValueError(
                f"solver {self.solver} takes ({', '.join(takes)}): give (eps_theta, x_T, schedule, tau), and all else "
                "a default"
            ) from None
        if self.eta != 0 and "eta" not in takes:
            raise ValueError(f"eta = {self.eta}: solver {self.solver} adds no noise, give 0")
        tau = make_tau(model.schedule.T, self.steps, self.spacing)
        ddim_path(model.eps_theta(), torch.empty(0), model.schedule, tau, eta=self.eta)  # eta fits; takes no step

    def _check_student(self, model: Model) -> None:
        """A student knows the steps that it was taught, and no others."""
        student = getattr(model, "student", None)
        if student is None:
            return
        anywhere = self.solver == "consistency" and (
            student.taught == "consistency" or self.steps == student.steps == 1
        )
        own = self.steps == student.steps and self.solver == "ddim"
        if not (anywhere or own) or self.spacing != "trailing" or self.eta != 0:
            more = " or --solver consistency" if student.taught == "consistency" else ""
            raise ValueError(
                f"the model is {student}, and no noise predictor at other levels: give --steps {student.steps}{more}, "
                "with --eta 0 and --spacing trailing"
            )


def label_number(label: int | str, classes: Sequence[str], words: Sequence[str] = ("turn", "any")) -> int | str:
    """A label by its number.

    Args:
        label: A number; or the name of a class; or ``"name:x"`` or ``"number:x"``, where a name looks like a number or
            like one of the words; or one of the words.
        classes: Names of the labels 0, 1, ...; empty if they have none.
        words: What else a label can be.

    Returns:
        The number, or the word; without names, what was given.

    Raises:
        ValueError: In one line, if no class has that name, or it could be meant in two ways.
    """
    try:
        label = label if isinstance(label, str) else index(label)  # also NumPy's whole numbers and torch's
    except TypeError:
        raise ValueError(f"label = {label!r}: give one class, turn or any") from None
    classes = list(classes)
    kind, _, said = label.partition(":") if isinstance(label, str) and label not in classes else ("", "", str(label))
    if kind == "number" and said.isdecimal():
        return int(said)
    if not classes or (label in words and label not in classes):
        return label
    name = said if kind == "name" else str(label)
    number = classes.index(name) if name in classes else None
    other = label if isinstance(label, int) else f"the word {label}" if label in words else None
    if number is not None and other not in (None, number) and kind != "name":
        raise ValueError(
            f"label = {label}: this is the name of class {number}, and can be meant as {other}: "
            f"write name:{label}{f' or number:{label}' if isinstance(label, int) else ''}"
        )
    if number is None and not isinstance(label, int):
        known = f"{', '.join(classes[:10])}{', ...' if len(classes) > 10 else ''}"
        raise ValueError(f"label = {label!r}: there is no such class{closest(name, classes) or f'; known: {known}'}")
    return label if number is None else number


def check_label(model: Model, label: int | str, name: str = "label") -> None:
    """A check that a label is one that the model knows, or ``turn`` or ``any``.

    Args:
        model: The model.
        label: The label.
        name: The option that gave it, for the message.

    Raises:
        ValueError: If it isn't.
    """
    if isinstance(label, str) and label not in ("turn", "any"):
        raise ValueError(f"{name} = {label!r}: give a class, turn or any")
    if not isinstance(label, str) and not 0 <= label < model.config.classes:
        known = f"labels 0..{model.config.classes - 1}" if model.config.classes else "no classes"
        raise ValueError(f"{name} = {label}: the model knows {known}")


class Sampler:
    """A model made ready to draw many samples: on its device, in bf16 and compiled where that is faster.

    Args:
        model: The model, on the device to compute on.
        batch: Images at a time; halved when the device's memory turns out too small.
        precision: "float32" or "bf16"; for "auto" see :func:`ddim_edu.precision.choose`.
        compile: Whether to compile the network; None compiles on CUDA.
        weaker: The weaker model of guidance ``auto``; its words in a sampling name a file, and this is what was loaded.

    Raises:
        ValueError: If the batch is not positive, the device can't compute in this precision, or the weaker model is
            not of the same pictures, classes and schedule.
    """

    def __init__(
        self,
        model: Model,
        batch: int = 256,
        precision: Precision | Literal["auto"] = "auto",
        compile: bool | None = None,
        weaker: Model | None = None,
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch = {batch}: give at least 1")
        if weaker is not None:
            check_weaker(model, weaker)
        self.model, self.batch, self.weaker = model, batch, weaker
        self.device = next(model.network.parameters()).device
        self.precision = choose(precision, self.device, model.network)
        self.compiled = self.device.type == "cuda" if compile is None else compile
        if self.compiled:
            model.network.compile()
        self._calls = 0  # of the network, for one image each: a batch of 8 counts 8
        self._cost: dict[Sampling, tuple[int, int]] = {}  # calls, and images that they made

    def eps_theta(self, labels: Tensor | int | None = None, scale: float = 1.0, guide: Guide = PLAIN) -> EpsTheta:
        """The network in this precision, with guidance; labels as for :class:`Model`, where None is any class."""
        weaker = guide.kind == "auto"
        if weaker and self.weaker is None:
            raise ValueError("guidance auto needs the weaker model itself: Sampler(model, weaker=load(...))")
        other = self._counted(labels, self.weaker) if weaker else self._counted(None)
        scale = 1.0 if labels is None and not weaker else scale
        return guide.predictor(self._counted(labels), other, scale, self.model.schedule)

    def draw(self, sampling: Sampling, start: int = 0, stop: int | None = None) -> Tensor:
        """Samples ``start`` to ``stop - 1`` of a sampling; by default all.

        Returns:
            ``(stop - start, C, H, W)`` float32 on the device, within [-1, 1] where the clipping keeps them there.

        Raises:
            ValueError: If the solver makes no such thing.
            torch.OutOfMemoryError: If there is no memory even for one.
        """
        parts, stop = [], sampling.n if stop is None else stop
        while start < stop:
            end, before = min(start + self.batch, stop), self._calls
            try:
                parts.append(self._batch(sampling, start, end))
            except torch.OutOfMemoryError:
                if self.batch == 1:
                    raise
                self.batch = (self.batch + 1) // 2
                continue
            calls, images = self._cost.get(sampling, (0, 0))
            self._cost[sampling] = calls + self._calls - before, images + end - start
            start = end
        return torch.cat(parts)

    def draw_together(self, sampling: Sampling) -> Tensor:
        """All samples, under a progress bar; of several processes, each draws its share.

        Returns:
            ``(n, C, H, W)`` on the CPU, the same in every process.
        """
        parts, spans = [], [(i, min(i + self.batch, sampling.n)) for i in range(0, sampling.n, self.batch)]
        with progress(sampling.n, "image") as bar:
            for start, stop in spans[process_index() :: process_count()]:
                parts.append((start, self.draw(sampling, start, stop).cpu()))
                bar.update((stop - start) * process_count())
        return torch.cat([images for _, images in sorted(gather(parts, self.device), key=lambda part: part[0])])

    def calls_per_image(self, sampling: Sampling) -> float | None:
        """How often the network was asked about each image of a sampling that this process drew, on average: counted,
        not computed. None if it drew none.
        """
        calls, images = self._cost.get(sampling, (0, 0))
        return None if not images else calls / images if calls % images else calls // images

    def about(self) -> dict[str, Any]:
        """What a protocol says of the computing."""
        return {"precision": self.precision, "noise": "generators on cpu, one for each image"}

    def _counted(self, labels: Tensor | int | None, model: Model | None = None) -> EpsTheta:
        eps_theta = in_precision((self.model if model is None else model).eps_theta(labels), self.precision)

        def count(x_t: Tensor, t: Tensor) -> Tensor:
            self._calls += len(x_t)
            return eps_theta(x_t, t)

        return count

    @torch.no_grad()
    def _batch(self, sampling: Sampling, start: int, stop: int) -> Tensor:
        model, solver, clip = self.model, solver_named(sampling.solver), sampling.bound
        generators = image_generators(sampling.seed, start, stop)
        given = {"eta": sampling.eta, "generator": generators, "clip": clip}
        given = {name: given[name] for name in GIVEN if name in inspect.signature(solver).parameters}
        labels: Any = None if sampling.label == "any" or not model.config.classes else sampling.label
        if labels == "turn":
            labels = torch.arange(start, stop, device=self.device) % model.config.classes
        guide, tau = guide_named(sampling.guidance), make_tau(model.schedule.T, sampling.steps, sampling.spacing)
        x_T = draw(torch.empty(stop - start, *model.image_shape, device=self.device), generators)
        if guide.kind == "cfg++":
            two = self._counted(labels), self._counted(None)
            return decode_cfgpp(*two, x_T, model.schedule, tau, scale=sampling.scale, clip=clip)
        eps_theta = self.eps_theta(labels, sampling.scale, guide)
        if clip is not None and "clip" not in given:
            eps_theta = clipped(eps_theta, clip, model.schedule)
        x_0 = solver(eps_theta, x_T, model.schedule, tau, **given)
        _check_made(sampling.solver, x_0, x_T)
        return x_0


def check_weaker(model: Model, weaker: Model) -> None:
    """A check that a weaker model can guide another: they have to speak of the same pictures, classes and levels.

    Raises:
        ValueError: In one line, if they don't.
    """
    for what, ours, theirs in (
        ("pictures (channels, height, width)", model.image_shape, weaker.image_shape),
        ("classes", model.config.classes, weaker.config.classes),
        ("levels T", model.schedule.T, weaker.schedule.T),
    ):
        if ours != theirs:
            raise ValueError(f"guidance auto: the weaker model has other {what}, {theirs} and not {ours}")
    if not torch.allclose(model.schedule.alpha_bar, weaker.schedule.alpha_bar.to(model.schedule.alpha_bar.device)):
        raise ValueError("guidance auto: the weaker model was trained on another noise schedule")


def _check_made(name: str, x_0: Any, x_T: Tensor) -> None:
    """A check that a solver made pictures: nan would be saved as black, and measured."""
    if not isinstance(x_0, Tensor) or x_0.shape != x_T.shape or not x_0.is_floating_point():
        made = f"{x_0.dtype} {tuple(x_0.shape)}" if isinstance(x_0, Tensor) else type(x_0).__name__
        raise ValueError(f"solver {name} returned {made} for x_T, {x_T.dtype} {tuple(x_T.shape)}")
    if not bool(x_0.isfinite().all()):
        raise ValueError(f"solver {name} made values that are not finite")
