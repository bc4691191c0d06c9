"""What the kit looks at in a scheduler object, as diffusers has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ddim_edu.conformance import naming
from ddim_edu.conformance.catalogue import BY_ID
from ddim_edu.conformance.contract import SIGNATURES, Move, Refused, array, first_of, one_line, overhear, quiet
from ddim_edu.conformance.judging import STEPS, accuse, blame, listing, see_coefficients
from ddim_edu.conformance.report import Verdict


def scheduler(verdict: Verdict, f: Callable) -> None:
    """An object with set_timesteps and step, as diffusers has them; timesteps count levels from 0."""
    import inspect

    import torch

    from ddim_edu.forward import eps_to_v, unmix_x0

    with quiet():
        it = f if hasattr(f, "set_timesteps") else f()
    for name in ("set_timesteps", "step", "alphas_cumprod"):
        if not hasattr(it, name):
            raise Refused(f"{type(it).__name__} has no {name}; --kind scheduler takes {SIGNATURES['scheduler']}")
    if getattr(it, "order", 1) != 1 or hasattr(it, "sigmas") or hasattr(it, "lambda_t"):
        raise Refused(
            f"{type(it).__name__} is a solver of its own; --kind scheduler takes DDIM-like ones, with one call and one formula a step"
        )
    abar = np.concatenate([[1.0], array(it.alphas_cumprod)])
    T = len(abar) - 1
    config = getattr(it, "config", None)
    predicts = getattr(config, "prediction_type", "epsilon")
    takes = inspect.signature(it.step).parameters
    verdict.saw(
        "is",
        True,
        f"{type(it).__name__}, T = {T}, predicts {predicts}"
        + (f", {config.timestep_spacing}" if hasattr(config, "timestep_spacing") else ""),
    )

    def output(move: Move) -> torch.Tensor:
        """What the network gives that stands for eps."""
        eps, x = torch.from_numpy(move.eps), torch.from_numpy(move.x)
        if predicts == "v_prediction":
            return eps_to_v(eps, x, float(abar[move.t])) if abar[move.t] > 0 else eps
        return unmix_x0(x, eps, float(abar[move.t])) if predicts == "sample" and abar[move.t] > 0 else eps

    def walk(S: int, eta: float, spread: float) -> list[Move]:
        rng = np.random.default_rng(S)
        it.set_timesteps(S)
        listed = [int(t) + 1 for t in it.timesteps]
        levels = [0, *listed] if listed[0] < listed[-1] else [*listed, 0]
        shape, made = (3, 2, 4, 5), []
        for index, (t, s) in enumerate(zip(levels, levels[1:])):
            x_0, eps, noise = (
                rng.uniform(-spread, spread, shape),
                rng.standard_normal(shape),
                rng.standard_normal(shape),
            )
            x = np.sqrt(abar[min(t, T)]) * x_0 + np.sqrt(1 - abar[min(t, T)]) * eps
            move = Move(x, eps, t, s, eta, noise, x, S)
            more = {
                key: value for key, value in (("eta", eta), ("variance_noise", torch.from_numpy(noise))) if key in takes
            }
            if eta == 0:
                more.pop("variance_noise", None)
            drawn: list[tuple[str, np.ndarray]] = []
            with quiet(), overhear(drawn):
                got = array(first_of(it.step(output(move), it.timesteps[index], torch.from_numpy(x), **more)))
            if "variance_noise" not in more and drawn and drawn[-1][1].shape == shape:
                move = replace(move, noise=drawn[-1][1])
            made.append(replace(move, x_s=got))
        return made

    upwards = False
    etas = (0.0, 0.3, 1.0) if "eta" in takes else (1.0,)  # without an eta: DDPM
    try:
        it.set_timesteps(10)
        upwards = bool(it.timesteps[0] < it.timesteps[-1])
        etas = (0.0,) if upwards else etas
        listed = {S: (it.set_timesteps(S), [int(t) + 1 for t in it.timesteps])[1] for S in STEPS}
        for S in STEPS:
            fault = naming.grid_fault(listed[S][::-1] if upwards else listed[S], S, T)
            if not verdict.saw(f"levels at S = {S}", fault is None, listing(listed[S])):
                accuse(verdict, [fault] if fault in BY_ID else [])
                verdict.explanation = f"At S = {S} the levels are {listing(listed[S])}. " + verdict.explanation
                return
        moves = [m for S in STEPS for eta in etas for m in walk(S, eta, 0.9)]
    except IndexError as error:
        verdict.saw("runs", False, one_line(error))
        verdict.wrong("grid-beyond-T", f"{one_line(error)}. " + BY_ID["grid-beyond-T"].sentence)
        return
    except Exception as error:
        raise Refused(f"{type(it).__name__} failed: {one_line(error)}") from None
    kind = "invert" if upwards else "scheduler"
    guess = naming.is_right(moves, abar, "invert" if upwards else "step")
    for eta in etas:
        see_coefficients(
            verdict,
            [m for m in moves if m.eta == eta],
            abar,
            f"steps at eta = {eta:g}",
            kind="invert" if upwards else "step",
        )
    if guess is None:
        if upwards:
            stride = [replace(m, t=max(m.s - T // m.S, 0)) for m in moves]
            if naming.is_right(stride, abar, "invert"):
                accuse(verdict, ["invert-stride-recomputed"])
                return
        blame(verdict, naming.name(moves, abar, kind), moves, abar, "invert" if upwards else "step")
        return
    verdict.saw("data within [-1, 1]", True, "every step is DDIM eq. 12")
    wide = [m for eta in etas for m in walk(10, eta, 4.0)]
    if not verdict.saw(
        "data beyond [-1, 1]",
        naming.is_right(wide, abar, "invert" if upwards else "step") is not None,
        "x_0 up to 4 in size",
    ):
        found = naming.name(wide, abar, kind, most=1)
        option = f"{type(it).__name__} clips (clip_sample or thresholding): right for pictures in [-1, 1]"
        option += (
            ", with eps left as it was unless use_clipped_model_output is set"
            if found and found.id == "clip-without-eps"
            else ""
        )
        verdict.convention("clip", option + ".")
    if upwards:
        verdict.convention("invert-asked-at-end", "Its timesteps are the levels reached: a pipeline asks the network there, with "
            "the state left. "
                           "This project asks at the level left. Both are of first order.")  # fmt: skip
    top = listed[10][::-1] if upwards else listed[10]
    reason = naming.grid_convention(top, 10, T)
    if reason:
        verdict.convention("grid-" + reason.split(":")[0].split(" ")[0], f"The levels are {reason}.")
