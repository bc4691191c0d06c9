"""The training loop, as a generator.

:class:`Trainer` keeps the state of a run and writes its folder; :meth:`Trainer.run` yields a record after every step,
and whoever iterates decides what to print and when to stop. A run folder holds::

    config.json             the recipe, and what it ran on
    log.csv                 a line every ``log_every`` steps
    checkpoint.safetensors  the averaged weights: what one samples from
    state.pt                the rest of the state, for resuming
    samples.png             the latest grid of samples; samples/ has all of them

All that is random at a step is a function of (seed, step), and drawn for the whole batch, of which each process then
takes its part. So a run that was stopped and resumed makes the same weights as one that never stopped, bit for bit on
the same machine with the same number of threads; and several processes make the same weights as one, but for the order
of additions. (Dropout is the exception to the second: each process drops its own.) Processes, mixed precision and
trackers are accelerate's.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

with warnings.catch_warnings():  # accelerate warns of optional packages that nobody asked for
    warnings.simplefilter("ignore")
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.tracking import get_available_trackers

from ddim_edu import __version__
from ddim_edu.adaptive import loss_adaptive
from ddim_edu.data.batches import Shuffle, fair_sample, mirror
from ddim_edu.data.pictures import save_grid
from ddim_edu.data.registry import load_data_for
from ddim_edu.data.source import ImageData, encoded
from ddim_edu.files import replacing
from ddim_edu.forward import EpsTheta, as_eps
from ddim_edu.losses import draw_t, eps_error, gamma_of_prediction, loss_gamma, min_snr_gamma, weight_at
from ddim_edu.models import checkpoint, load_autoencoder
from ddim_edu.nets.unet import UNet
from ddim_edu.precision import Precision, choose, gradient_seconds, is_large
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.sampler import sample
from ddim_edu.schedule import make_tau
from ddim_edu.training.recipes import Recipe, recipe_from_dict, recipe_to_dict

STATE = "state.pt"
LOG = ("step", "loss", "lr", "grad_norm", "images_per_s", "heldout_loss", "seconds")
GRID_IMAGES = 64  # 16 of images beyond 64 pixels, whose grids cost more than the training between them
GRID_STEPS = 20  # S of the sample grids, eta = 0
HELDOUT_MOST = 400  # held-out images in the loss: a look at it should cost seconds
COMPILE_FROM = 3600  # seconds that a run should last on a CPU to be compiled there
HELDOUT_DRAWS = 5  # (t, eps) pairs per held-out image

# Second word of the random streams' keys, after the seed; 0 is the shuffling of Shuffle.

# What may differ between a run and its continuation: how long and how often, but nothing that the weights so far depend
# on.
MAY_CHANGE = ("steps", "log_every", "sample_every", "save_every")


class NonFiniteLoss(ValueError):
    """Training blew up: the loss, or a weight, is not a finite number any more."""


@dataclass(frozen=True)
class Progress:
    """One step of training, as :meth:`Trainer.run` yields it.

    Attributes:
        step: Steps done, counted from the first start of the run.
        loss: The batch's loss, 0-d. Reading it as a float waits for the device.
        lr: The learning rate that the step was done with.
        mean_loss: The mean loss since the last line of the log, at steps that write a line; otherwise None.
        images_per_s: Images trained on per second since that line, likewise.
        heldout_loss: The averaged weights' loss on held-out images, at steps that draw samples; otherwise None.
        grid: The picture of samples written at this step, or None.
    """

    step: int
    loss: Tensor
    lr: float
    mean_loss: float | None = None
    images_per_s: float | None = None
    heldout_loss: float | None = None
    grid: Path | None = None


def ema_update(decay: float) -> Any:
    """The averaging rule for :class:`torch.optim.swa_utils.AveragedModel`.

    After n updates the decay is ``min(decay, (1 + n) / (10 + n))``: without that rise the average would remember the
    first weights for some multiple of ``1 / (1 - decay)`` steps, which is most of a short run. Buffers are copied, not
    averaged.

    Equations: eq:ema, eq:ema-weights, eq:ema-variance, eq:ema-rise
    """

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], n: Tensor | int) -> None:
        d = min(decay, (1 + int(n)) / (10 + int(n)))
        torch._foreach_lerp_(averaged, current, 1 - d)

    return update


class Trainer:
    """A training run and its folder.

    Make one with :meth:`start` or :meth:`resume`. Under ``accelerate launch`` or ``torchrun`` every process makes one,
    with the same arguments; only the main process writes.

    Args:
        recipe: What to train.
        folder: The run folder, which exists.
        device: Where to train; with several processes on GPUs each takes its own, whatever the index here.
        data_dir: Where data sets lie, or are downloaded to.
        tracker: A tracker that accelerate knows, such as ``"tensorboard"``, to log to besides log.csv; it writes into
            the folder.
        precision: The arithmetic of a run that is resumed; by default what the recipe asks for.
        data: The images, where they are in memory already; by default what the recipe names is loaded.

    Attributes:
        lr_at: The learning rate of a step: the recipe's, unless another function is put here before the first step.

    Raises:
        ValueError: If the network does not fit the data, the batch can't be shared out evenly, or the tracker is not
            installed.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        device: torch.device,
        data_dir: Path | str | None = None,
        tracker: str | None = None,
        precision: Precision | None = None,
        data: ImageData | None = None,
    ) -> None:
        self.recipe, self.folder, self.data_dir = recipe, folder, data_dir
        with torch.random.fork_rng(devices=[]):  # layers draw their first weights from torch's own generator
            torch.manual_seed(generator_for(recipe.seed, Stream.INIT).initial_seed())
            # Measured on two cores with the digits' network: channels-last convolutions are a third faster.
            model = UNet(recipe.unet).to(memory_format=torch.channels_last)
        # Several processes are to choose alike, and so do without a trial.
        self.precision = precision or choose(recipe.precision, device, model, trial="WORLD_SIZE" not in os.environ)
        self.accelerator = _accelerator(self.precision, folder, device, tracker)
        self.device = device = self.accelerator.device
        self.writes = self.accelerator.is_main_process
        parts = self.accelerator.num_processes * recipe.accumulate
        if recipe.batch % parts:
            raise ValueError(
                f"batch = {recipe.batch} can't be shared out evenly: {self.accelerator.num_processes} processes times "
                f"accumulate = {recipe.accumulate} is {parts}"
            )
        with self.accelerator.main_process_first():  # it fills the cache that the others then read
            net = recipe.unet
            first = None if recipe.autoencoder is None else load_autoencoder(recipe.autoencoder, device)
            like = net if first is None else first.model.config
            self.data = data or load_data_for(
                like, recipe.data, data_dir=data_dir, crop=recipe.crop, max_bad=recipe.max_bad
            ).to(device)
            if first is not None:
                self.data = encoded(self.data, first)
        shape = tuple(self.data.train.shape[1:])
        if shape != (net.image_channels, net.image_size, net.image_size):
            raise ValueError(
                f"unet.image_channels = {net.image_channels} and unet.image_size = {net.image_size} don't fit the data set "
                f"{recipe.data!r}, whose images are {shape[0]} x {shape[1]} x {shape[2]}"
            )
        classes = len(self.data.classes)
        if net.classes and classes != net.classes:
            better = classes if classes > 1 else 0
            raise ValueError(
                f"unet.classes = {net.classes}, but the data set has {classes}: set --unet.classes {better}"
            )
        self.schedule = recipe.noise_schedule()
        if device.type != "mps":  # which has no float64
            self.schedule = self.schedule.to(device)
        self.own = gamma_of_prediction(
            self.schedule, recipe.prediction
        )  # of the squared error of what the network says
        self.gamma = {
            "uniform": self.own,
            "eps": gamma_of_prediction(self.schedule, "eps"),
            "min-snr": min_snr_gamma(self.schedule),
        }[recipe.weighting]
        self.model = model.to(device).train()
        self.averaged = AveragedModel(self.model, multi_avg_fn=ema_update(recipe.ema)).requires_grad_(False).eval()
        self.optimizer = _optimizer(recipe, self.model)
        # What is called in training, perhaps shared between processes; `model` stays the plain network inside of it.
        self.network, self.stepper = self.accelerator.prepare(self.model, self.optimizer)
        self.compiled = recipe.compile == "on" or (recipe.compile == "auto" and self._compiling_pays())
        if self.compiled:
            self._compile(recipe.batch // parts)
        self.train_labels = self.data.train_labels.cpu()  # looked up by the shuffle's indices, which are there
        self.shuffle = Shuffle(len(self.data.train), recipe.batch, recipe.seed)
        self.lr_at = recipe.lr_at
        self.step = 0
        self.step_seconds = 0.0  # how long the latest step took
        self.saved_step: int | None = None
        self._window: list[tuple[Tensor, Tensor]] = []  # (loss, gradient norm) since the last line of the log
        self._heldout = self._fixed_draws()

    @classmethod
    def start(
        cls,
        recipe: Recipe,
        folder: Path | str,
        device: torch.device | str = "cpu",
        *,
        data_dir: Path | str | None = None,
        tracker: str | None = None,
        data: ImageData | None = None,
    ) -> Trainer:
        """Begin a run in an existing, empty folder, and describe it in ``config.json``; arguments as for the class."""
        trainer = cls(recipe, Path(folder), torch.device(device), data_dir, tracker, data=data)
        trainer._write_config()
        trainer._write_log([])
        return trainer

    @classmethod
    def resume(
        cls,
        folder: Path | str,
        device: torch.device | str = "cpu",
        recipe: Recipe | None = None,
        *,
        data_dir: Path | str | None = None,
        tracker: str | None = None,
    ) -> Trainer:
        """Go on with a run from its last checkpoint.

        Args:
            folder: The run folder.
            device: Where to train.
            recipe: The run's recipe, changed in fields of ``MAY_CHANGE``; None leaves it as it is.
            data_dir: Where data sets lie; by default where they lay when the run began.
            tracker: As for the class.

        Raises:
            ValueError: If the folder holds no run, its state can't be read, or the recipe changes what may not change.
        """
        folder = Path(folder)
        old = read_recipe(folder)
        recipe = recipe or old
        like_old = replace(recipe, **{name: getattr(old, name) for name in MAY_CHANGE})
        if like_old != old:
            changed = "; ".join(changes(old, like_old))
            raise ValueError(
                f"on resuming, only {', '.join(MAY_CHANGE)} may change, not {changed}: start a new run instead"
            )
        config, device = _read_config(folder), torch.device(device)
        # Runs of older versions did not write it down, and were in float32 on every CPU.
        precision = config.get("precision") or (
            "float32" if device.type == "cpu" and recipe.precision == "auto" else None
        )
        trainer = cls(recipe, folder, device, data_dir or config.get("data_dir"), tracker, precision)
        trainer._read_state()
        count = config.get("train_images")
        if count != len(trainer.data.train):
            raise ValueError(
                f"the run trained on {count} images, and {recipe.data} now holds {len(trainer.data.train)}: start a new run"
            )
        if trainer.step >= recipe.steps:
            raise ValueError(
                f"{folder} is finished: it has done {trainer.step} of {recipe.steps} steps. --steps {2 * trainer.step} goes on"
            )
        trainer._write_config()
        trainer._write_log([row for row in trainer._read_log() if int(row["step"]) <= trainer.step])
        return trainer

    def run(self) -> Iterator[Progress]:
        """Train until the recipe's last step.

        The caller may stop iterating after any record; :meth:`save` then keeps what was done.

        Yields:
            A record after each step.

        Raises:
            NonFiniteLoss: If the loss stops being a finite number. The last good checkpoint is left as it was.
        """
        recipe = self.recipe
        log = self._read_log()
        seconds = float(log[-1]["seconds"]) if log else 0.0
        images, since = 0, time.perf_counter()
        while self.step < recipe.steps:
            began = time.perf_counter()
            lr, loss, norm = self._train_step()
            self.step_seconds = time.perf_counter() - began
            self.step += 1
            images += recipe.batch
            self._window.append((loss, norm))
            last = self.step == recipe.steps
            logs = last or self.step % recipe.log_every == 0
            shows = last or self.step % recipe.sample_every == 0
            mean_loss, rate, heldout, grid = None, None, None, None
            if logs or shows:
                mean_loss, mean_norm = self._check_window()
                self._window.clear()
                elapsed = time.perf_counter() - since  # the check has waited for the device
                if shows and self.writes:
                    heldout, grid = self.heldout_loss(), self._draw_grid()
                rate = images / elapsed
                seconds += time.perf_counter() - since
                values = (self.step, mean_loss, lr, mean_norm, rate, "" if heldout is None else heldout, seconds)
                self._append_log([f"{v:.6g}" if isinstance(v, float) else str(v) for v in values])
                self._track(values, grid)
                images, since = 0, time.perf_counter()
            if last or self.step % recipe.save_every == 0:
                self.save()
            yield Progress(self.step, loss, lr, mean_loss, rate, heldout, grid)

    def close(self) -> None:
        """Finish what the tracker has to write, and part from the other processes."""
        self.accelerator.end_training()

    def save(self) -> None:
        """Write the checkpoint and the state for resuming, each whole or not at all.

        Raises:
            NonFiniteLoss: If a loss or a weight is not finite; nothing is written then.
        """
        self._check_window()
        if not self.writes:
            self.saved_step = self.step
            return
        weights = self.averaged.module.state_dict()
        for state in (weights, self.model.state_dict()):
            if not all(bool(w.isfinite().all()) for w in state.values()):
                raise self._blown_up("a weight is not a finite number")
        checkpoint.save(
            self.folder / checkpoint.NAME,
            weights,
            self.recipe.unet,
            self.schedule,
            prediction=self.recipe.prediction,
            recipe=recipe_to_dict(self.recipe),
            step=self.step,
        )
        state = {
            "version": __version__,
            "recipe": recipe_to_dict(self.recipe),
            "step": self.step,  # with the seed, the state of all random streams
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
        }
        with (
            replacing(self.folder / STATE) as temporary,
            open(temporary, "wb") as file,
        ):  # given a name, torch hides what the system says
            torch.save(state, file)
        self.saved_step = self.step

    @torch.no_grad()
    def heldout_loss(self) -> float:
        """Mean squared error of what the averaged weights predict (eps, v or x0) on held-out images, all levels alike.

        Images, noise and levels are the same at every call.
        """
        x, t, eps, labels = self._heldout
        total = 0.0
        for i in range(0, len(x), 512):
            part = slice(i, i + 512)
            eps_theta = self.eps_theta(self.averaged, None if labels is None else labels[part])
            error = eps_error(eps_theta, x[part], t[part], eps[part], self.schedule)
            total += (weight_at(self.own, t[part], error) * error).sum().item()
        return total / len(x)

    def eps_theta(self, network: nn.Module, labels: Tensor | None = None) -> EpsTheta:
        """A network of this run as a noise predictor, for images of these classes."""
        return as_eps(with_labels(network, labels), self.recipe.prediction, self.schedule)

    def samples(self, n: int | None = None, S: int = GRID_STEPS) -> Tensor:
        """Draw images with the averaged weights, DDIM (eta = 0), from the same noise at every call.

        Returns:
            ``(n, C, H, W)`` in [-1, 1].
        """
        tau = make_tau(self.schedule.T, min(S, self.schedule.T))
        n = n or (GRID_IMAGES if self.recipe.unet.image_size <= 64 else GRID_IMAGES // 4)
        shape = (n, *self.data.train.shape[1:])
        generator = generator_for(self.recipe.seed, Stream.GRID)
        classes = min(8, self.recipe.unet.classes)  # a row of each, where the grid has eight
        labels = torch.arange(n, device=self.device) * classes // n if classes else None
        clip = 1.0 if self.recipe.autoencoder is None else None  # latents have no bounds
        eps_theta = self.eps_theta(self.averaged, labels)
        x = sample(eps_theta, shape, self.schedule, tau, generator=generator, device=self.device, clip=clip)
        return self.data.pictures(x)

    def agree(self, stop: bool) -> bool:
        """Whether any process wants to stop. A process alone knows; several ask each other, every tenth step."""
        if self.accelerator.num_processes == 1:
            return stop
        if self.step % 10:
            return False
        return bool(self.accelerator.reduce(torch.tensor(float(stop), device=self.device), "sum") > 0)

    def _compiling_pays(self) -> bool:
        """Always on CUDA; on a CPU it takes minutes and gains a tenth, so for long runs of large networks only."""
        if self.device.type != "cpu":
            return self.device.type == "cuda"
        if self.accelerator.num_processes > 1 or not is_large(self.model):
            return False
        each = min(gradient_seconds(self.model, self.precision) for _ in range(2)) / 4
        return each * self.recipe.batch * self.recipe.steps > COMPILE_FROM

    def _compile(self, batch: int) -> None:
        """Compile the network, by a first call; a machine that can't goes on without, unless it was told to."""
        if self.device.type == "cuda":
            self.model.compile()
            return
        try:
            self.model.compile()
            gradient_seconds(self.model, self.precision, batch)
        except Exception as error:  # the compiler's: no C++ compiler, no headers, no room in its cache
            self.model._compiled_call_impl, self.compiled = None, False
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
            if self.recipe.compile == "on":
                raise ValueError(
                    f"compile = on: this machine can't ({reason}): choose --compile off, or auto"
                ) from None
            if self.writes:
                print(f"not compiled, this machine can't ({reason})", file=sys.stderr)

    def _train_step(self) -> tuple[float, Tensor, Tensor]:
        recipe, device = self.recipe, self.device
        generator = generator_for(recipe.seed, Stream.STEP, self.step, device=device)
        t = draw_t(recipe.batch, recipe.T, generator=generator, antithetic=recipe.antithetic, device=device)
        eps = torch.randn((recipe.batch, *self.data.train.shape[1:]), generator=generator, device=device)
        chosen = self.shuffle(self.step)
        labels = hidden = None
        if recipe.unet.classes:
            hidden = torch.rand(recipe.batch, generator=generator, device=device) < recipe.label_dropout
        mirrored = None
        if recipe.flip:
            mirrored = torch.rand(recipe.batch, generator=generator, device=device) < 0.5
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        if recipe.unet.dropout:  # dropout draws from torch's own generator and can't be given another
            torch.manual_seed(generator.initial_seed() + rank)
        lr = self.lr_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.stepper.zero_grad(set_to_none=True)
        total = torch.zeros((), device=device)
        for i in range(recipe.accumulate):
            # Every n-th image, not a run of them: draw_t puts mirrored levels half a batch apart.
            part = slice(rank * recipe.accumulate + i, None, processes * recipe.accumulate)
            images = self.data.batch(chosen[part], device)
            x_0 = self.data.floats(images if mirrored is None else mirror(images, mirrored[part]))
            if hidden is not None:
                labels = self.train_labels[chosen[part]].to(device).masked_fill(hidden[part], self.model.null_label)
            eps_theta, last = self.eps_theta(self.network, labels), i == recipe.accumulate - 1
            with (
                contextlib.nullcontext() if last else self.accelerator.no_sync(self.network)
            ):  # gradients meet once a step
                loss = self._loss(eps_theta, x_0, t[part], eps[part])
                self.accelerator.backward(loss / recipe.accumulate)
            total = total + loss.detach() / recipe.accumulate
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), recipe.grad_clip)
        self.stepper.step()
        if (
            self.stepper.step_was_skipped
        ):  # float16's way: gradients overflowed, so the loss is scaled down and nothing moves
            norm = torch.zeros_like(norm)
        else:
            self.averaged.update_parameters(self.model)
        return lr, total, norm

    def _loss(self, eps_theta: EpsTheta, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        recipe = self.recipe
        if recipe.loss != "mse":
            return loss_adaptive(eps_theta, x_0, t, eps, self.schedule, recipe.loss, recipe.lam)
        return loss_gamma(eps_theta, x_0, t, eps, self.schedule, self.gamma)

    def _check_window(self) -> tuple[float, float]:
        """Means of loss and gradient norm since the last line of the log; raises if one of them is not finite."""
        if not self._window:
            return float("nan"), float("nan")
        window = torch.stack([torch.stack([v.float() for v in pair]) for pair in self._window])
        window = self.accelerator.reduce(window, "mean").double().cpu()  # every process decides the same
        losses, norms = window.T
        for name, values in (("loss", losses), ("gradient", norms)):
            if not values.isfinite().all():
                raise self._blown_up(f"the {name} is {values[~values.isfinite()][0]:g}")
        return float(losses.mean()), float(norms.mean())

    def _blown_up(self, what: str) -> NonFiniteLoss:
        if self.saved_step is None:
            kept = "no checkpoint had been written"
        else:
            kept = f"{self.folder / checkpoint.NAME} keeps step {self.saved_step}"
        return NonFiniteLoss(
            f"{what} near step {self.step}, so training stopped; {kept}. Try a lower learning rate, such as --lr {self.recipe.lr / 4:g}"
        )

    def _fixed_draws(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Held-out images, each at several levels that together cover 1..T evenly, with their noise."""
        chosen = fair_sample(self.data.heldout_labels, HELDOUT_MOST, generator_for(0, Stream.HELDOUT, 0))
        x = self.data.floats(self.data.heldout[chosen].to(self.device))
        x = x.repeat(HELDOUT_DRAWS, *[1] * (x.ndim - 1))
        generator = generator_for(0, Stream.HELDOUT)  # not the recipe's seed: runs are to be compared
        t = torch.linspace(1, self.recipe.T, len(x)).round().long()[torch.randperm(len(x), generator=generator)]
        labels = (
            self.data.heldout_labels[chosen].repeat(HELDOUT_DRAWS).to(self.device) if self.recipe.unet.classes else None
        )
        return x, t.to(self.device), torch.randn(x.shape, generator=generator).to(self.device), labels

    def _draw_grid(self) -> Path:
        images = self.samples()
        path = self.folder / "samples" / f"step_{self.step:0{len(str(self.recipe.steps))}d}.png"
        save_grid(images, path)
        save_grid(images, self.folder / "samples.png")
        return path

    def _read_state(self) -> None:
        path = self.folder / STATE
        if not path.is_file():
            raise ValueError(f"{self.folder} holds no {STATE}: it stopped before its first checkpoint, start anew")
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            self.step = self.saved_step = int(state["step"])
        except Exception as error:  # a damaged pickle can raise nearly anything
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(f"{path} can't be read ({reason[:100]}): the run can't be resumed, start anew") from None

    def _read_log(self) -> list[dict[str, str]]:
        path = self.folder / "log.csv"
        if not path.is_file():
            return []
        with open(path, newline="", encoding="utf8") as file:
            return [row for row in csv.DictReader(file) if row["seconds"]]

    def _write_log(self, rows: list[dict[str, str]]) -> None:
        if not self.writes:
            return
        with replacing(self.folder / "log.csv") as temporary, open(temporary, "w", newline="", encoding="utf8") as file:
            writer = csv.DictWriter(file, LOG)
            writer.writeheader()
            writer.writerows(rows)

    def _append_log(self, values: list[str]) -> None:
        if not self.writes:
            return
        with open(self.folder / "log.csv", "a", newline="", encoding="utf8") as file:
            csv.writer(file).writerow(values)

    def _track(self, values: tuple[Any, ...], grid: Path | None) -> None:
        """Give a line of the log to the tracker, if there is one."""
        if self.accelerator.log_with:
            self.accelerator.log({k: v for k, v in zip(LOG[1:], values[1:]) if v != ""}, step=self.step)
            if grid is not None:
                for tracker in self.accelerator.trackers:
                    if tracker.name == "tensorboard":  # the others take images in ways of their own
                        with Image.open(grid) as picture:
                            tracker.log_images(
                                {"samples": np.asarray(picture)[None]}, step=self.step, dataformats="NHWC"
                            )

    def _write_config(self) -> None:
        if not self.writes:
            return
        (self.folder / "samples").mkdir(exist_ok=True)
        config = {
            "recipe": recipe_to_dict(self.recipe),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "train_images": len(self.data.train),
            "heldout_images": len(self.data.heldout),
            "data_dir": None if self.data_dir is None else str(self.data_dir),
            "device": str(self.device),
            "precision": self.precision,
            "compiled": self.compiled,
            "processes": self.accelerator.num_processes,
            "versions": {"ddim_edu": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }
        with replacing(self.folder / "config.json") as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf8")


def with_labels(model: nn.Module, labels: Tensor | None) -> EpsTheta:
    """The model as an ``eps_theta(x_t, t)`` that knows each image's class; None leaves it as it is."""
    return model if labels is None else lambda x_t, t: model(x_t, t, labels)


class Threads:
    """Keeps the number of CPU threads at which a step is quickest, by trying it out.

    More threads are not always faster. The layers of a small network take microseconds, after each of which all threads
    wait for the slowest: on two cores of which another program wants one, two threads were measured at a tenth of the
    speed of one.

    Args:
        trainer: What to time; its weights are left as they are.
        most: The most threads to use, by default those that torch would.
    """

    def __init__(self, trainer: Trainer, most: int | None = None) -> None:
        self.trainer = trainer
        self.most = most or torch.get_num_threads()
        self.number, self.seconds, self._picked_at, self._patience = 1, 0.0, trainer.step, 100
        self.pick()

    def pick(self) -> int:
        """Time 1, 2, 4, ... threads and keep the best number.

        Returns:
            That number.
        """
        best, before = float("inf"), self.number
        for number in sorted({*(2**i for i in range(self.most.bit_length())), self.most}):
            torch.set_num_threads(number)
            seconds = self._time(give_up=2 * best)
            if seconds < 0.9 * best:  # a thread more should be worth it
                best, self.number = seconds, number
        torch.set_num_threads(self.number)
        self.seconds, self._picked_at = best, self.trainer.step
        self._patience = 2 * self._patience if self.number == before else 100
        return self.number

    def after_step(self) -> None:
        """Try again if the latest step was far slower than it should be, and now and then while fewer than all threads
        run.
        """
        since = self.trainer.step - self._picked_at
        slow = self.trainer.step_seconds > 4 * self.seconds
        if self.most > 1 and ((slow and since >= 10) or (self.number < self.most and since >= self._patience)):
            self.pick()

    def _time(self, give_up: float) -> float:
        """Seconds for the gradient of a batch: the better of two after a first, unless the first already takes too
        long.
        """
        trainer = self.trainer
        share = min(trainer.recipe.batch // trainer.recipe.accumulate, len(trainer.data.train))
        x_0 = trainer.data.floats(trainer.data.batch(torch.arange(share), trainer.device))
        t = torch.full((len(x_0),), trainer.recipe.T, dtype=torch.int64)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            loss = eps_error(trainer.eps_theta(trainer.model), x_0, t, x_0, trainer.schedule).mean()
            torch.autograd.grad(loss, list(trainer.model.parameters()))
            times.append(time.perf_counter() - began)
            if times[0] > give_up and not trainer.compiled:  # whose first call compiles
                return times[0]
        return min(times[1:])


def changes(old: Recipe, new: Recipe) -> list[str]:
    """What differs between two recipes, a field each: ``"lr 0.004 -> 0.001"``."""

    def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in values.items():
            found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        return found

    before, after = flat(recipe_to_dict(old)), flat(recipe_to_dict(new))
    return [f"{name} {before[name]} -> {value}" for name, value in after.items() if before[name] != value]


def read_recipe(folder: Path | str) -> Recipe:
    """The recipe of a run, from its ``config.json``.

    Raises:
        ValueError: If the folder holds no run, or the file can't be understood.
    """
    config = _read_config(folder)
    try:
        return recipe_from_dict(config["recipe"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{Path(folder) / 'config.json'} can't be understood ({error}): start a new run") from None


def _read_config(folder: Path | str) -> dict[str, Any]:
    path = Path(folder) / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{folder} is not a run folder: it holds no config.json") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} can't be understood ({error}): start a new run") from None


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return kind(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused)


def _accelerator(precision: Precision, folder: Path, device: torch.device, tracker: str | None) -> Accelerator:
    """The processes that take part, their devices and their arithmetic."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if "WORLD_SIZE" not in os.environ:  # alone: forget the settings of an earlier trainer of this process
        AcceleratorState._reset_state(reset_partial_state=True)
    if tracker is not None and tracker not in {str(t) for t in get_available_trackers()}:
        raise ValueError(f"tracker {tracker!r} is not installed or not known to accelerate: pip install {tracker}")
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="no" if precision == "float32" else precision,
        log_with=tracker,
        project_dir=folder,
    )
    if tracker is not None:
        accelerator.init_trackers("tracker")
    return accelerator
