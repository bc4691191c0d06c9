"""What the kit looks at in a scheduler object, as diffusers has them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import BY_ID
from ddim_edu.conformance.contract import SIGNATURES, Move, Refused, array, first_of, one_line, overhear, quiet
from ddim_edu.conformance.judging import STEPS, accuse, blame, listing, see_coefficients
from ddim_edu.conformance.report import Verdict
from ddim_edu.forward import eps_to_v, unmix_x0

SHAPE = (3, 2, 4, 5)


class Adapter:
    """A scheduler object as moves between levels, which it counts from 0 and this project from 1.

    Args:
        it: with set_timesteps, timesteps, step and alphas_cumprod.

    Raises:
        Refused: if it lacks one of these, or is no DDIM.
    """

    def __init__(self, it: object) -> None:
        self.it, self.name = it, type(it).__name__
        for name in ("set_timesteps", "step", "alphas_cumprod"):
            if not hasattr(it, name):
                raise Refused(f"{self.name} has no {name}; --kind scheduler takes {SIGNATURES['scheduler']}")
        if getattr(it, "order", 1) != 1 or hasattr(it, "sigmas") or hasattr(it, "lambda_t"):
            takes = "--kind scheduler takes DDIM-like ones, with one call and one formula a step"
            raise Refused(f"{self.name} is a solver of its own; {takes}")
        self.abar = np.concatenate([[1.0], array(it.alphas_cumprod)])
        self.T = len(self.abar) - 1
        config = getattr(it, "config", None)
        self.predicts = getattr(config, "prediction_type", "epsilon")
        self.spacing = getattr(config, "timestep_spacing", "")
        self.takes = inspect.signature(it.step).parameters

    def levels(self, S: int) -> list[int]:
        """The levels that it lists for S steps, in its order."""
        self.it.set_timesteps(S)
        return [int(t) + 1 for t in self.it.timesteps]

    def output(self, move: Move) -> torch.Tensor:
        """What the network gives that stands for eps."""
        eps, x, abar = torch.from_numpy(move.eps), torch.from_numpy(move.x), float(self.abar[move.t])
        if abar > 0 and self.predicts == "v_prediction":
            return eps_to_v(eps, x, abar)
        return unmix_x0(x, eps, abar) if abar > 0 and self.predicts == "sample" else eps

    def walk(self, S: int, eta: float, spread: float) -> list[Move]:
        """A move for each of its timesteps, of states whose data is within ``spread``."""
        rng, made = np.random.default_rng(S), []
        listed = self.levels(S)
        levels = [0, *listed] if listed[0] < listed[-1] else [*listed, 0]
        for index, (t, s) in enumerate(zip(levels, levels[1:])):
            x_0 = rng.uniform(-spread, spread, SHAPE)
            eps, noise = rng.standard_normal(SHAPE), rng.standard_normal(SHAPE)
            abar = self.abar[min(t, self.T)]
            x = np.sqrt(abar) * x_0 + np.sqrt(1 - abar) * eps
            made.append(self._step(Move(x, eps, t, s, eta, noise, x, S), index))
        return made

    def _step(self, move: Move, index: int) -> Move:
        more = {"eta": move.eta} if "eta" in self.takes else {}
        if move.eta and "variance_noise" in self.takes:
            more["variance_noise"] = torch.from_numpy(move.noise)
        drawn: list[tuple[str, np.ndarray]] = []
        with quiet(), overhear(drawn):
            timestep, x = self.it.timesteps[index], torch.from_numpy(move.x)
            got = array(first_of(self.it.step(self.output(move), timestep, x, **more)))
        if "variance_noise" not in more and drawn and drawn[-1][1].shape == SHAPE:
            move = replace(move, noise=drawn[-1][1])
        return replace(move, x_s=got)


def scheduler(verdict: Verdict, f: Callable) -> None:
    """An object with set_timesteps and step, as diffusers has them; timesteps count levels from 0."""
    with quiet():
        it = Adapter(f if hasattr(f, "set_timesteps") else f())
    said = f"{it.name}, T = {it.T}, predicts {it.predicts}" + (f", {it.spacing}" if it.spacing else "")
    verdict.saw("is", True, said)
    try:
        listed = {S: it.levels(S) for S in STEPS}
        upwards = listed[10][0] < listed[10][-1]
        if not _see_levels(verdict, {S: t[::-1] if upwards else t for S, t in listed.items()}, it.T):
            return
        etas = (0.0,) if upwards else (0.0, 0.3, 1.0) if "eta" in it.takes else (1.0,)  # without an eta: DDPM
        moves = [m for S in STEPS for eta in etas for m in it.walk(S, eta, 0.9)]
    except IndexError as error:
        verdict.saw("runs", False, one_line(error))
        accuse(verdict, ["grid-beyond-T"], f"{one_line(error)}.")
        return
    except Exception as error:
        raise Refused(f"{it.name} failed: {one_line(error)}") from None
    kind = "invert" if upwards else "step"
    for eta in etas:
        see_coefficients(verdict, [m for m in moves if m.eta == eta], it.abar, f"steps at eta = {eta:g}", kind=kind)
    if naming.is_right(moves, it.abar, kind) is None:
        stride = [replace(m, t=max(m.s - it.T // m.S, 0)) for m in moves]
        if upwards and naming.is_right(stride, it.abar, "invert"):
            accuse(verdict, ["invert-stride-recomputed"])
        else:
            blame(verdict, naming.name(moves, it.abar, "invert" if upwards else "scheduler"), moves, it.abar, kind)
        return
    verdict.saw("data within [-1, 1]", True, "every step is DDIM eq. 12")
    _conventions(verdict, it, etas, listed[10], upwards)


def _see_levels(verdict: Verdict, falling: dict[int, list[int]], T: int) -> bool:
    """Whether the levels are those of a sampler; if not, the verdict."""
    for S, levels in falling.items():
        fault = naming.grid_fault(levels, S, T)
        if not verdict.saw(f"levels at S = {S}", fault is None, listing(levels)):
            accuse(verdict, [fault] if fault in BY_ID else [], f"At S = {S} the levels are {listing(levels)}.")
            return False
    return True


def _conventions(verdict: Verdict, it: Adapter, etas: tuple[float, ...], levels: list[int], upwards: bool) -> None:
    """Honest differences of a scheduler whose steps are right."""
    kind = "invert" if upwards else "step"
    wide = [m for eta in etas for m in it.walk(10, eta, 4.0)]
    fine = naming.is_right(wide, it.abar, kind) is not None
    if not verdict.saw("data beyond [-1, 1]", fine, "x_0 up to 4 in size"):
        found = naming.name(wide, it.abar, "invert" if upwards else "scheduler", most=1)
        said = f"{it.name} clips (clip_sample or thresholding): right for pictures in [-1, 1]"
        if found and found.id == "clip-without-eps":
            said += ", with eps left as it was unless use_clipped_model_output is set"
        verdict.convention("clip", f"{said}.")
    if upwards:
        said = "Its timesteps are the levels reached: a pipeline asks the network there, with the state left."
        said += " This project asks at the level left. Both are of first order."
        verdict.convention("invert-asked-at-end", said)
    if reason := naming.grid_convention(levels[::-1] if upwards else levels, 10, it.T):
        verdict.convention("grid-" + reason.split(":")[0].split(" ")[0], f"The levels are {reason}.")
