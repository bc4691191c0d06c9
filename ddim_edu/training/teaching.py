"""Training a student: the loss of a run whose recipe names a teacher (chapter 20).

The trainer asks a :class:`Teaching` for its loss, and tells it when a step begins; all else of a run is as ever. The
targets themselves are formulas, in :mod:`ddim_edu.distillation`.

With ``progressive`` a run has stages. In the first, the teacher takes ``teacher_steps`` steps and the student learns to
do with half as many; in each next one the student so far is the teacher, until a student of ``student_steps`` steps is
left. With ``consistency`` there is one stage.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ddim_edu.distillation import DataPredictor, consistency_target, progressive_target
from ddim_edu.forward import q_sample, said_to_x0
from ddim_edu.losses import weight_at
from ddim_edu.models import Checkpoint, load
from ddim_edu.schedule import NoiseSchedule, make_tau
from ddim_edu.training.beginning import check_alike, lies_at
from ddim_edu.training.heldout import HeldOut
from ddim_edu.training.recipes import TAUGHT, Recipe


def stages(recipe: Recipe) -> list[tuple[int, int]]:
    """The stages of a recipe with a teacher: its first training step, and how many steps the student takes.

    All stages of ``progressive`` last equally long but the last, which is the hardest and lasts twice as long.
    """
    if recipe.loss == "consistency":
        return [(0, recipe.student_steps)]
    n = int(math.log2(recipe.teacher_steps // recipe.student_steps))
    return [(recipe.steps * k // (n + 1), recipe.teacher_steps >> (k + 1)) for k in range(n)]


def check_end(old: int, recipe: Recipe, step: int) -> None:
    """A check that a run may go on to another end: in the last stage, which stays the last one.

    Args:
        old: The steps that the run was to have.
        recipe: The recipe to go on with.
        step: How many are done.

    Raises:
        ValueError: In one line, if a stage that is over, or has not begun, would move.
    """
    last = max(stages(replace(recipe, steps=steps))[-1][0] for steps in (old, recipe.steps))
    if recipe.steps != old and last >= step:
        raise ValueError(
            f"steps {old} -> {recipe.steps}: at step {step} the stages of a student would move; start a new run"
        )


class Teaching:
    """The teacher of a run, and what its student is asked for.

    Args:
        recipe: The recipe, which names a teacher.
        schedule: The noise schedule of both.
        like: The student's network, whose shape the teacher has.

    Attributes:
        network: The teacher at the present stage, without gradients.
    """

    def __init__(self, recipe: Recipe, schedule: NoiseSchedule, like: nn.Module) -> None:
        self.recipe, self.schedule, self.stages = recipe, schedule, stages(recipe)
        self.network = copy.deepcopy(like).requires_grad_(False).eval()
        self.clip = 1.0 if recipe.autoencoder is None else None
        abar = schedule.alpha_bar
        # The squared error of what the network says, as one of x_0.
        self.gamma = torch.ones_like(abar) if recipe.prediction == "x0" else 1 / (1 - abar).clamp(min=1e-12)

    def read_teacher(self, near: Path) -> dict[str, str]:
        """Take the weights of the teacher that the recipe names.

        Args:
            near: The run folder, whose files will say where the teacher lay.

        Returns:
            Where it lies, and its hash; see :mod:`ddim_edu.strangers`.

        Raises:
            ValueError: In one line, if there is none, or it doesn't fit the student.
        """
        found = load(str(self.recipe.teacher))
        check_teacher(self.recipe, found)
        self.network.load_state_dict(found.network.state_dict())
        return lies_at(found, near)

    def stage(self, step: int) -> int:
        """Which stage a training step belongs to."""
        return max(i for i, (first, _) in enumerate(self.stages) if first <= step)

    def student_steps(self, step: int) -> int:
        """How many steps the student takes after ``step`` training steps."""
        return self.stages[self.stage(max(step - 1, 0))][1]

    def about(self, step: int) -> dict[str, Any]:
        """What the checkpoint says of the student."""
        return {
            "taught": self.recipe.loss,
            "steps": self.student_steps(step),
            "teacher": Path(str(self.recipe.teacher)).name,
        }

    def begin(self, step: int, model: nn.Module, averaged: AveragedModel) -> None:
        """Before a training step: at the start of a run the student takes the teacher's weights; at that of a later
        stage the averaged student becomes student and teacher.
        """
        if step not in [first for first, _ in self.stages]:
            return
        weights = averaged.module.state_dict() if step else self.network.state_dict()
        weights = {name: value.clone() for name, value in weights.items()}
        for network in (self.network, model, averaged.module):
            network.load_state_dict(weights)

    def lr_at(self, step: int) -> float:
        """The learning rate: the recipe's, run through anew in each stage."""
        i = self.stage(step)
        ends = [first for first, _ in self.stages[1:]] + [self.recipe.steps]
        first, length = self.stages[i][0], max(1, ends[i] - self.stages[i][0])
        return replace(self.recipe, steps=length).lr_at(step - first)

    def loss(
        self,
        networks: tuple[nn.Module, nn.Module],
        x_0: Tensor,
        t: Tensor,
        eps: Tensor,
        labels: Tensor | None,
        step: int,
    ) -> Tensor:
        """The loss of a batch, 0-d: the weighted squared error of the data that the student predicts.

        Args:
            networks: What is trained, and its average.
            x_0: ``(B, ...)`` data.
            t: ``(B,)`` int64, uniform in 1..T; each moves up to the next level that the student knows.
            eps: The noise, like ``x_0``.
            labels: ``(B,)`` int64, or None for networks without classes.
            step: The training step.
        """
        student, averaged, teacher = (self._data(network, labels) for network in (*networks, self.network))
        alone = self.recipe.loss == "consistency"  # all levels of the teacher are its student's
        tau = make_tau(self.schedule.T, self.recipe.teacher_steps if alone else 2 * self.stages[self.stage(step)][1])
        tau = tau.to(t.device)
        known = tau if alone else tau[::2].contiguous()
        i = torch.searchsorted(known, t)  # known[i - 1] < t <= known[i]
        t, s = known[i], known[i - 1]
        x_t = q_sample(x_0, t, self.schedule, eps)
        with torch.no_grad():
            if alone:
                target = consistency_target(teacher, averaged, x_t, t, s, self.schedule, clip=self.clip)
            else:
                target = progressive_target(teacher, x_t, t, tau[2 * i - 1], s, self.schedule, clip=self.clip)
        error = (student(x_t, t) - target).square().flatten(1).mean(1)
        return (weight_at(self.gamma, t, error) * error).mean()

    @torch.no_grad()
    def heldout_loss(self, averaged: nn.Module, heldout: HeldOut, step: int) -> float:
        """The loss of the average on held-out images, after ``step`` training steps."""
        total, step = 0.0, max(step - 1, 0)
        for i in range(0, len(heldout.x_0), 512):
            part = slice(i, i + 512)
            labels = heldout.labels[part] if self.recipe.unet.classes else None
            pair, batch = (averaged, averaged), (heldout.x_0[part], heldout.t[part], heldout.eps[part])
            total += float(self.loss(pair, *batch, labels, step)) * len(batch[0])
        return total / len(heldout.x_0)

    def _data(self, network: nn.Module, labels: Tensor | None) -> DataPredictor:
        """A network of this run as a predictor of data, for images of these classes if it has classes."""
        more = () if labels is None else (labels,)
        prediction, schedule = self.recipe.prediction, self.schedule
        return lambda x_t, t: said_to_x0(network(x_t, t, *more), x_t, schedule.abar(t), prediction)


def check_teacher(recipe: Recipe, teacher: Checkpoint) -> None:
    """A check that a student with this recipe can learn of a teacher.

    Args:
        recipe: The student's.
        teacher: The teacher.

    Raises:
        ValueError: In one line, if one of them is no match for the other.
    """
    name = f"teacher {recipe.teacher}"
    if teacher.student is not None:
        raise ValueError(f"{name} is a student itself: name the model that it was taught by")
    check_alike(recipe, teacher, name, "the student", classes=True)
    if teacher.recipe.get("data") != recipe.data:
        raise ValueError(
            f"{name} was trained with data = {teacher.recipe.get('data')}, and the student with {recipe.data}"
        )


def is_taught(recipe: Recipe) -> bool:
    """Whether a recipe trains a student."""
    return recipe.loss in TAUGHT
