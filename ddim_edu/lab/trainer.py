"""The training loop, as a generator (floor 5).

:class:`Trainer` keeps the state of a run and writes its folder; :meth:`Trainer.run` yields a record after every step, and whoever
iterates decides what to print and when to stop. A run folder holds::

    config.json             the recipe, and what it ran on
    log.csv                 a line every ``log_every`` steps
    checkpoint.safetensors  the averaged weights: what one samples from
    state.pt                the rest of the state, for resuming
    samples.png             the latest grid of samples; samples/ has all of them

All that is random at a step is a function of (seed, step). So a run that was stopped and resumed makes the same weights as one that
never stopped: bit for bit, on the same machine and with the same number of threads.
"""

from __future__ import annotations

import csv
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from ddim_edu import __version__
from ddim_edu.files import replacing
from ddim_edu.forward import q_sample
from ddim_edu.lab import checkpoint
from ddim_edu.lab.data import Shuffle, load_data, save_grid
from ddim_edu.lab.recipes import Recipe, recipe_from_dict, recipe_to_dict
from ddim_edu.losses import draw_t, loss_simple
from ddim_edu.nets.unet import UNet
from ddim_edu.sampler import generator_for, sample
from ddim_edu.schedule import make_tau

STATE = "state.pt"
LOG = ("step", "loss", "lr", "grad_norm", "images_per_s", "heldout_loss", "seconds")
GRID_IMAGES = 64
GRID_STEPS = 20  # S of the sample grids, eta = 0
HELDOUT_DRAWS = 5  # (t, eps) pairs per held-out image

# Second word of the random streams' keys, after the seed; 0 is the shuffling of Shuffle.
_STREAM_STEP, _STREAM_INIT, _STREAM_HELDOUT, _STREAM_GRID = 1, 2, 3, 4

# What may differ between a run and its continuation: how long and how often, but nothing that the weights so far depend on.
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

    After n updates the decay is ``min(decay, (1 + n) / (10 + n))``: without that rise the average would remember the untrained
    weights for some multiple of ``1 / (1 - decay)`` steps, which is most of a short run. Buffers are copied, not averaged.
    """

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], n: Tensor | int) -> None:
        d = min(decay, (1 + int(n)) / (10 + int(n)))
        torch._foreach_lerp_(averaged, current, 1 - d)

    return update


class Trainer:
    """A training run and its folder.

    Make one with :meth:`start` or :meth:`resume`.

    Args:
        recipe: What to train.
        folder: The run folder, which exists.
        device: Where to train.

    Raises:
        ValueError: If the network does not fit the data.
    """

    def __init__(self, recipe: Recipe, folder: Path, device: torch.device) -> None:
        self.recipe, self.folder, self.device = recipe, folder, device
        self.data = load_data(recipe.data).to(device)
        shape = tuple(self.data.train.shape[1:])
        net = recipe.unet
        if shape != (net.image_channels, net.image_size, net.image_size):
            raise ValueError(
                f"unet.image_channels = {net.image_channels} and unet.image_size = {net.image_size} don't fit the data set "
                f"{recipe.data!r}, whose images are {shape[0]} x {shape[1]} x {shape[2]}"
            )
        self.schedule = recipe.noise_schedule()
        if device.type != "mps":  # which has no float64
            self.schedule = self.schedule.to(device)
        with torch.random.fork_rng(devices=[]):  # layers draw their first weights from torch's own generator
            torch.manual_seed(generator_for(recipe.seed, _STREAM_INIT).initial_seed())
            model = UNet(net)
        # Measured on two cores with the digits' network: channels-last convolutions are a third faster.
        self.model = model.to(device, memory_format=torch.channels_last).train()
        self.averaged = AveragedModel(self.model, multi_avg_fn=ema_update(recipe.ema)).requires_grad_(False).eval()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=recipe.lr, fused=device.type in ("cpu", "cuda"))
        self.shuffle = Shuffle(len(self.data.train), recipe.batch, recipe.seed)
        self.step = 0
        self.step_seconds = 0.0  # how long the latest step took
        self.saved_step: int | None = None
        self._window: list[tuple[Tensor, Tensor]] = []  # (loss, gradient norm) since the last line of the log
        self._heldout = self._fixed_draws()

    @classmethod
    def start(cls, recipe: Recipe, folder: Path | str, device: torch.device | str = "cpu") -> Trainer:
        """Begin a run in an existing, empty folder, and describe it in ``config.json``."""
        trainer = cls(recipe, Path(folder), torch.device(device))
        trainer._write_config()
        (trainer.folder / "samples").mkdir(exist_ok=True)
        trainer._write_log([])
        return trainer

    @classmethod
    def resume(cls, folder: Path | str, device: torch.device | str = "cpu", recipe: Recipe | None = None) -> Trainer:
        """Go on with a run from its last checkpoint.

        Args:
            folder: The run folder.
            device: Where to train.
            recipe: The run's recipe, changed in fields of ``MAY_CHANGE``; None leaves it as it is.

        Raises:
            ValueError: If the folder holds no run, its state can't be read, or the recipe changes what may not change.
        """
        folder = Path(folder)
        old = read_recipe(folder)
        recipe = recipe or old
        if replace(recipe, **{name: getattr(old, name) for name in MAY_CHANGE}) != old:
            changed = [n for n in vars(old) if n not in MAY_CHANGE and getattr(old, n) != getattr(recipe, n)]
            raise ValueError(f"{changed[0]} can't change on resuming; {', '.join(MAY_CHANGE)} may. Start a new run instead")
        trainer = cls(recipe, folder, torch.device(device))
        trainer._read_state()
        if trainer.step >= recipe.steps:
            raise ValueError(
                f"{folder} is finished: it has done {trainer.step} of {recipe.steps} steps. --steps {2 * trainer.step} goes on"
            )
        trainer._write_config()
        trainer._write_log([row for row in trainer._read_log() if int(row["step"]) <= trainer.step])
        (folder / "samples").mkdir(exist_ok=True)
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
                if shows:
                    heldout, grid = self.heldout_loss(), self._draw_grid()
                rate = images / elapsed
                seconds += time.perf_counter() - since
                values = (self.step, mean_loss, lr, mean_norm, rate, "" if heldout is None else heldout, seconds)
                self._append_log([f"{v:.6g}" if isinstance(v, float) else str(v) for v in values])
                images, since = 0, time.perf_counter()
            if last or self.step % recipe.save_every == 0:
                self.save()
            yield Progress(self.step, loss, lr, mean_loss, rate, heldout, grid)

    def save(self) -> None:
        """Write the checkpoint and the state for resuming, each whole or not at all.

        Raises:
            NonFiniteLoss: If a loss or a weight is not finite; nothing is written then.
        """
        self._check_window()
        weights = self.averaged.module.state_dict()
        for state in (weights, self.model.state_dict()):
            if not all(bool(w.isfinite().all()) for w in state.values()):
                raise self._blown_up("a weight is not a finite number")
        checkpoint.save(
            self.folder / checkpoint.NAME,
            weights,
            self.recipe.unet,
            self.schedule,
            recipe=recipe_to_dict(self.recipe),
            step=self.step,
        )
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with replacing(self.folder / STATE) as temporary:
            torch.save(state, temporary)
        self.saved_step = self.step

    @torch.no_grad()
    def heldout_loss(self) -> float:
        """Loss of the averaged weights on held-out images, with noise and levels that are the same at every call."""
        x, t, eps = self._heldout
        total = 0.0
        for i in range(0, len(x), 512):
            part = slice(i, i + 512)
            x_t = q_sample(x[part], t[part], self.schedule, eps[part])
            total += F.mse_loss(self.averaged(x_t, t[part]), eps[part], reduction="sum").item()
        return total / x.numel()

    def samples(self, n: int = GRID_IMAGES, S: int = GRID_STEPS) -> Tensor:
        """Draw images with the averaged weights, DDIM (eta = 0), from the same noise at every call.

        Returns:
            ``(n, C, H, W)`` in [-1, 1].
        """
        tau = make_tau(self.schedule.T, min(S, self.schedule.T))
        shape = (n, *self.data.train.shape[1:])
        generator = generator_for(self.recipe.seed, _STREAM_GRID)
        return sample(self.averaged, shape, self.schedule, tau, generator=generator, device=self.device, clip=1.0)

    def _train_step(self) -> tuple[float, Tensor, Tensor]:
        recipe, device = self.recipe, self.device
        generator = generator_for(recipe.seed, _STREAM_STEP, self.step, device=device)
        x_0 = self.data.floats(self.data.train[self.shuffle(self.step).to(device)])
        t = draw_t(recipe.batch, recipe.T, generator=generator, antithetic=recipe.antithetic, device=device)
        eps = torch.randn(x_0.shape, generator=generator, device=device)
        if recipe.unet.dropout:  # dropout draws from torch's own generator and can't be given another
            torch.manual_seed(generator.initial_seed())
        lr = recipe.lr_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = loss_simple(self.model, x_0, t, eps, self.schedule)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.grad_clip)
        self.optimizer.step()
        self.averaged.update_parameters(self.model)
        return lr, loss.detach(), norm

    def _check_window(self) -> tuple[float, float]:
        """Means of loss and gradient norm since the last line of the log; raises if one of them is not finite."""
        if not self._window:
            return float("nan"), float("nan")
        losses, norms = torch.tensor([[float(v) for v in pair] for pair in self._window], dtype=torch.float64).T
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

    def _fixed_draws(self) -> tuple[Tensor, Tensor, Tensor]:
        """Held-out images, each at several levels that together cover 1..T evenly, with their noise."""
        x = self.data.floats(self.data.heldout)
        x = x.repeat(HELDOUT_DRAWS, *[1] * (x.ndim - 1))
        generator = generator_for(0, _STREAM_HELDOUT)  # not the recipe's seed: runs are to be compared
        t = torch.linspace(1, self.recipe.T, len(x)).round().long()[torch.randperm(len(x), generator=generator)]
        return x, t.to(self.device), torch.randn(x.shape, generator=generator).to(self.device)

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
        with replacing(self.folder / "log.csv") as temporary, open(temporary, "w", newline="", encoding="utf8") as file:
            writer = csv.DictWriter(file, LOG)
            writer.writeheader()
            writer.writerows(rows)

    def _append_log(self, values: list[str]) -> None:
        with open(self.folder / "log.csv", "a", newline="", encoding="utf8") as file:
            csv.writer(file).writerow(values)

    def _write_config(self) -> None:
        config = {
            "recipe": recipe_to_dict(self.recipe),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "train_images": len(self.data.train),
            "heldout_images": len(self.data.heldout),
            "device": str(self.device),
            "versions": {"ddim_edu": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }
        with replacing(self.folder / "config.json") as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf8")


class Threads:
    """Keeps the number of CPU threads at which a step is quickest, by trying it out.

    More threads are not always faster. The layers of a small network take microseconds, after each of which all threads wait for the
    slowest: on two cores of which another program wants one, two threads were measured at a tenth of the speed of one.

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
        """Try again if the latest step was far slower than it should be, and now and then while fewer than all threads run."""
        since = self.trainer.step - self._picked_at
        slow = self.trainer.step_seconds > 4 * self.seconds
        if self.most > 1 and ((slow and since >= 10) or (self.number < self.most and since >= self._patience)):
            self.pick()

    def _time(self, give_up: float) -> float:
        """Seconds for the gradient of a batch: the better of two after a first, unless the first already takes too long."""
        trainer = self.trainer
        x_0 = trainer.data.floats(trainer.data.train[: trainer.recipe.batch])
        t = torch.full((len(x_0),), trainer.recipe.T, dtype=torch.int64)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            loss = loss_simple(trainer.model, x_0, t, x_0, trainer.schedule)
            torch.autograd.grad(loss, list(trainer.model.parameters()))
            times.append(time.perf_counter() - began)
            if times[0] > give_up:
                return times[0]
        return min(times[1:])


def read_recipe(folder: Path | str) -> Recipe:
    """The recipe of a run, from its ``config.json``.

    Raises:
        ValueError: If the folder holds no run, or the file can't be understood.
    """
    path = Path(folder) / "config.json"
    try:
        return recipe_from_dict(json.loads(path.read_text(encoding="utf8"))["recipe"])
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{folder} is not a run folder: it holds no config.json") from None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} can't be understood ({error}): start a new run") from None
