"""The training loop, as a generator; read :meth:`Trainer.run` and what it calls from top to bottom.

:class:`Trainer` keeps the state of a run; :meth:`Trainer.run` yields a record after every step, and whoever iterates
decides what to print and when to stop. All numbers to choose stand in :mod:`ddim_edu.training.recipes`;
the files are :mod:`ddim_edu.training.run_folder`'s.

All that is random at a step is a function of (seed, step), and drawn for the whole batch, of which each process then
takes its part. So a run that was stopped and resumed makes the same weights as one that never stopped, bit for bit on
the same machine with the same number of threads; and several processes make the same weights as one, but for the order
of additions. (Dropout is the exception to the second: each process drops its own.) Processes, mixed precision and
trackers are accelerate's.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ddim_edu import __version__
from ddim_edu.adaptive import loss_adaptive
from ddim_edu.data.batches import Shuffle, mirror
from ddim_edu.data.source import ImageData
from ddim_edu.forward import EpsTheta, as_eps
from ddim_edu.losses import loss_gamma
from ddim_edu.models import checkpoint
from ddim_edu.models.about import whole_step
from ddim_edu.precision import Precision, choose
from ddim_edu.training.beginning import lies_at, model_before, take_weights
from ddim_edu.training.draws import Draws, draws_at
from ddim_edu.training.grid import STEPS, draw_grid
from ddim_edu.training.heldout import HeldOut
from ddim_edu.training.machine import alone, batch_share, compiled, join_processes, track
from ddim_edu.training.parts import check_fit, ema_update, gamma_of_levels, new_network, new_optimizer, training_data
from ddim_edu.training.places import check_state, data_dir_of, places_of, to_go_on
from ddim_edu.training.recipes import Recipe
from ddim_edu.training.run_folder import COLUMNS, RunFolder
from ddim_edu.training.teaching import Teaching, check_end, is_taught
from ddim_edu.training.watch import Watch


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
        lies: The recipe with the places where its data and its autoencoder lie now, from
            :func:`ddim_edu.training.places.located`; by default they are where it says.

    Attributes:
        folder: The run's files.
        data: The images.
        model: The plain network.
        averaged: The average of its weights.
        step: Steps done.
        lr_at: The learning rate of a step: the recipe's, unless another function is put here before the first step.

    Raises:
        ValueError: If the network does not fit the data, the batch can't be shared out evenly, or the tracker is not
            installed.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path | str,
        device: torch.device,
        data_dir: Path | str | None = None,
        tracker: str | None = None,
        precision: Precision | None = None,
        data: ImageData | None = None,
        lies: Recipe | None = None,
    ) -> None:
        self.recipe, self.data_dir = recipe, data_dir
        model = new_network(recipe)
        # Several processes are to choose alike, and so do without a trial.
        self.precision = precision or choose(recipe.precision, device, model, trial=alone())
        self.accelerator = join_processes(self.precision, Path(folder), device, tracker)
        self.device = self.accelerator.device
        self.folder = RunFolder(folder, writes=self.accelerator.is_main_process)
        share = batch_share(recipe, self.accelerator.num_processes)
        with self.accelerator.main_process_first():  # it fills the cache that the others then read
            self.data = training_data(lies or recipe, self.device, data_dir, data)
        check_fit(recipe, self.data)
        self.places = places_of(lies or recipe, self.folder.path, data is None) if self.folder.writes else {}
        self.schedule = recipe.noise_schedule()
        if self.device.type != "mps":  # which has no float64
            self.schedule = self.schedule.to(self.device)
        self.gamma = gamma_of_levels(recipe, self.schedule)
        self.model = model.to(self.device).train()
        self.averaged = AveragedModel(self.model, multi_avg_fn=ema_update(recipe.ema)).requires_grad_(False).eval()
        self.optimizer = new_optimizer(recipe, self.model)
        self.teaching = Teaching(recipe, self.schedule, self.model) if is_taught(recipe) else None
        # What is called in training, perhaps shared between processes; `model` stays the plain network inside of it.
        self.network, self.stepper = self.accelerator.prepare(self.model, self.optimizer)
        self.compiled = compiled(recipe, self.model, self.precision, self.accelerator, share)
        self.train_labels = self.data.train_labels.cpu()  # looked up by the shuffle's indices, which are there
        self.shuffle = Shuffle(len(self.data.train), recipe.batch, recipe.seed)
        self.heldout = HeldOut(self.data, recipe.T, self.device)
        self.lr_at: Callable[[int], float] = self.teaching.lr_at if self.teaching else recipe.lr_at
        self.step = 0
        self.step_seconds = 0.0  # how long the latest step took
        self.watch = Watch(
            lambda values: self.accelerator.reduce(values, "mean"), self.folder.path / checkpoint.NAME, recipe.lr
        )

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
        before = model_before(recipe)  # what doesn't fit is said before any data are read
        trainer = cls(recipe, folder, torch.device(device), data_dir, tracker, data=data)
        if trainer.teaching:
            trainer.places["teacher"] = trainer.teaching.read_teacher(trainer.folder.path)
        if before is not None:
            take_weights(before, recipe.unet.classes, trainer.model, trainer.averaged.module)
            trainer.places["init_from"] = lies_at(before, trainer.folder.path)
        trainer.folder.write_config(recipe, trainer._ran_on())
        trainer.folder.cut_log(0)
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
        given: Collection[str] = (),
    ) -> Trainer:
        """Go on with a run from its last checkpoint.

        Args:
            folder: The run folder.
            device: Where to train.
            recipe: The run's recipe, changed in fields of ``run_folder.MAY_CHANGE``, or in
                ``data`` and ``autoencoder`` where the same lie elsewhere now; None leaves it as it is.
            data_dir: Where data sets lie; by default where they lay when the run began.
            tracker: As for the class.
            given: Which of ``data`` and ``autoencoder`` the command line names. What the folder alone says is followed
                with care, see :mod:`ddim_edu.strangers`.

        Raises:
            ValueError: If the folder holds no run, its state can't be read, or the recipe changes what may not change.
        """
        device = torch.device(device)
        recipe, lies, config = to_go_on(RunFolder(folder), recipe, given)
        # Runs of older versions did not write it down, and were in float32 on every CPU.
        plain = "float32" if device.type == "cpu" and recipe.precision == "auto" else None
        precision: Any = config.get("precision") or plain
        with data_dir_of(config, data_dir) as data_dir:
            trainer = cls(recipe, folder, device, data_dir, tracker, precision, lies=lies)
        trainer._read_state()
        if trainer.teaching:  # its weights are in the state: a name in a file opens nothing
            check_end(config["recipe"]["steps"], recipe, trainer.step)
        begun = {k: v for k, v in (config.get("places") or {}).items() if k in ("teacher", "init_from")}
        trainer.places |= begun
        before, now = config.get("train_images"), len(trainer.data.train)
        if before != now:
            raise ValueError(f"the run trained on {before} images, and {recipe.data} now holds {now}: start a new run")
        if trainer.step >= recipe.steps:
            more = trainer.step // 4 if trainer.teaching else trainer.step  # a student's stages may not move
            raise ValueError(
                f"{folder} is finished: it has done {trainer.step} of {recipe.steps} steps. "
                f"--steps {trainer.step + more} goes on"
            )
        trainer.folder.write_config(recipe, trainer._ran_on())
        trainer.folder.cut_log(trainer.step)
        return trainer

    def run(self) -> Iterator[Progress]:
        """Train until the recipe's last step.

        The caller may stop iterating after any record; :meth:`save` then keeps what was done.

        Yields:
            A record after each step.

        Raises:
            NonFiniteLoss: If the loss stops being a finite number. The last good checkpoint is left as it was.
        """
        recipe, log = self.recipe, self.folder.log()
        seconds = float(log[-1]["seconds"]) if log else 0.0
        images, since = 0, time.perf_counter()
        while self.step < recipe.steps:
            began = time.perf_counter()
            lr, loss, norm = self.train_step()
            self.step_seconds = time.perf_counter() - began
            self.step += 1
            images += recipe.batch
            self.watch.add(loss, norm)
            record = Progress(self.step, loss, lr)
            last = self.step == recipe.steps
            shows = last or self.step % recipe.sample_every == 0
            if shows or self.step % recipe.log_every == 0:
                mean_loss, mean_norm = self.watch.means(self.step)
                self.watch.begin_line()
                rate = images / (time.perf_counter() - since)  # the check has waited for the device
                look = (self.heldout_loss(), self._write_grid()) if shows and self.folder.writes else (None, None)
                record = Progress(self.step, loss, lr, mean_loss, rate, *look)
                seconds += time.perf_counter() - since
                self._log(record, mean_norm, seconds)
                images, since = 0, time.perf_counter()
            if last or self.step % recipe.save_every == 0:
                self.save()
            yield record

    def train_step(self) -> tuple[float, Tensor, Tensor]:
        """One step: draw, loss and gradient, clip, move the weights, and let the average follow.

        Returns:
            The learning rate, the loss and the norm of the gradient, both 0-d.
        """
        recipe, accelerator = self.recipe, self.accelerator
        if self.teaching:
            self.teaching.begin(self.step, self.model, self.averaged)
        lr = self.lr_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.stepper.zero_grad(set_to_none=True)
        rank, shape, total = accelerator.process_index, self.data.train.shape[1:], torch.zeros((), device=self.device)
        draws = draws_at(self.step, recipe, self.shuffle, shape, self.device, rank)
        for i in range(recipe.accumulate):
            # Every n-th image, not a run of them: draw_t puts mirrored levels half a batch apart.
            part = slice(rank * recipe.accumulate + i, None, accelerator.num_processes * recipe.accumulate)
            last = i == recipe.accumulate - 1
            # Gradients of several processes meet once a step.
            with contextlib.nullcontext() if last else accelerator.no_sync(self.network):
                loss = self._loss(draws, part) / recipe.accumulate
                accelerator.backward(loss)
            total = total + loss.detach()
        norm = accelerator.clip_grad_norm_(self.network.parameters(), recipe.grad_clip)
        self.stepper.step()
        if self.stepper.step_was_skipped:  # float16's way: gradients overflowed, so nothing moves
            return lr, total, torch.zeros_like(norm)
        self.averaged.update_parameters(self.model)
        return lr, total, norm

    def _loss(self, draws: Draws, part: slice) -> Tensor:
        """The loss of a part of the batch."""
        recipe, chosen, labels = self.recipe, draws.images[part], None
        images = self.data.batch(chosen, self.device)
        x_0 = self.data.floats(images if draws.mirrored is None else mirror(images, draws.mirrored[part]))
        if draws.hidden is not None:
            labels = self.train_labels[chosen].to(self.device).masked_fill(draws.hidden[part], self.model.null_label)
        if self.teaching:
            networks = self.network, self.averaged
            return self.teaching.loss(networks, x_0, draws.t[part], draws.eps[part], labels, self.step)
        eps_theta, t, eps = self.eps_theta(self.network, labels), draws.t[part], draws.eps[part]
        if recipe.loss == "published" or recipe.loss == "mended":
            return loss_adaptive(eps_theta, x_0, t, eps, self.schedule, recipe.loss, recipe.lam)
        return loss_gamma(eps_theta, x_0, t, eps, self.schedule, self.gamma)

    def eps_theta(self, network: nn.Module, labels: Tensor | None = None) -> EpsTheta:
        """A network of this run as a noise predictor, for images of these classes if it has classes."""
        conditional = labels is not None and self.recipe.unet.classes
        said = (lambda x_t, t: network(x_t, t, labels)) if conditional else network
        return as_eps(said, self.recipe.prediction, self.schedule)

    def heldout_loss(self) -> float:
        """Mean squared error of what the averaged weights predict (eps, v or x0) on held-out images, all levels alike;
        of a student, its loss there.

        Images, noise and levels are the same at every call.
        """
        if self.teaching:
            return self.teaching.heldout_loss(self.averaged, self.heldout, self.step)
        return self.heldout.loss(lambda y: self.eps_theta(self.averaged, y), self.recipe.prediction, self.schedule)

    def samples(self, n: int | None = None, S: int = STEPS) -> Tensor:
        """Draw images with the averaged weights, DDIM (eta = 0), from the same noise at every call.

        Returns:
            ``(n, C, H, W)`` in [-1, 1].
        """
        S = self.teaching.student_steps(self.step) if self.teaching else S
        eps_theta = partial(self.eps_theta, self.averaged)
        return draw_grid(eps_theta, self.recipe, self.schedule, self.data, self.device, n, S)

    def _write_grid(self) -> Path:
        return self.folder.write_grid(self.samples(), f"step_{self.step:0{len(str(self.recipe.steps))}d}.png")

    def _log(self, record: Progress, norm: float, seconds: float) -> None:
        """Write a line of the log, and give it to the tracker, if there is one."""
        values = (self.step, record.mean_loss, record.lr, norm, record.images_per_s, record.heldout_loss, seconds)
        self.folder.add_to_log(values)
        if self.accelerator.log_with:
            said = {name: value for name, value in zip(COLUMNS[1:], values[1:]) if value is not None}
            track(self.accelerator, self.step, said, record.grid)

    def save(self) -> None:
        """Write the checkpoint and the state for resuming, each whole or not at all.

        Raises:
            NonFiniteLoss: If a loss or a weight is not finite; nothing is written then.
        """
        self.watch.means(self.step)
        if self.folder.writes:
            weights = self.averaged.module.state_dict()
            self.watch.check([*weights.values(), *self.model.state_dict().values()], self.step)
            classes = self.data.classes if self.recipe.unet.classes else ()
            about = {"student": self.teaching.about(self.step)} if self.teaching else {}
            self.folder.write_checkpoint(weights, self.recipe, self.schedule, self.step, classes, self.places, **about)
            parts = {name: None if part is None else part.state_dict() for name, part in self._parts().items()}
            self.folder.write_state(self.recipe, self.step, parts)  # step and seed are the state of all random streams
        self.watch.saved_step = self.step

    def _read_state(self) -> None:
        with self.folder.state(self.device) as state:
            for name, part in self._parts().items():
                if part is not None:
                    part.load_state_dict(state[name])
            check_state(self.optimizer)
            self.step = self.watch.saved_step = whole_step(state["step"])

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own; the scaler is float16's."""
        scaler = self.accelerator.scaler
        parts = {"model": self.model, "averaged": self.averaged, "optimizer": self.optimizer, "scaler": scaler}
        return parts | ({"teacher": self.teaching.network} if self.teaching else {})

    def _ran_on(self) -> dict[str, Any]:
        """What config.json says beside the recipe."""
        return {
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "train_images": len(self.data.train),
            "heldout_images": len(self.data.heldout),
            "data": {"taken_as": self.data.taken_as, "classes": self.data.counts()},  # in the order of the labels
            "data_dir": None if self.data_dir is None else str(Path(self.data_dir).expanduser().resolve()),
            "places": self.places,
            "device": str(self.device),
            "precision": self.precision,
            "compiled": self.compiled,
            "processes": self.accelerator.num_processes,
            "versions": {"ddim_edu": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }

    def agree(self, stop: bool) -> bool:
        """Whether any process wants to stop. A process alone knows; several ask each other, every tenth step."""
        if self.accelerator.num_processes == 1:
            return stop
        if self.step % 10:
            return False
        return bool(self.accelerator.reduce(torch.tensor(float(stop), device=self.device), "sum") > 0)

    def close(self) -> None:
        """Finish what the tracker has to write, and part from the other processes."""
        self.accelerator.end_training()
