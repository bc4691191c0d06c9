r"""The same process in the conventions of other libraries: ``python -m ddim_edu.translate``.

A :class:`Process` is what all of them have in common: levels 0..T of a schedule, the levels visited, eta, what the
network predicts, and what happens to the predicted x_0. Each function below writes one down as a library does;
:func:`from_diffusers` reads one back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from ddim_edu.ranges import AboveZero, Checked, Positive, Range
from ddim_edu.schedule import NoiseSchedule, make_tau

SCHEDULES: Mapping[str, Callable[[int], NoiseSchedule]] = {
    "linear": NoiseSchedule.linear,
    "scaled-linear": NoiseSchedule.scaled_linear,
    "cosine": NoiseSchedule.cosine,
}
_IN_DIFFUSERS = {
    "linear": ("linear", 1e-4, 0.02),
    "scaled-linear": ("scaled_linear", 0.00085, 0.012),
    "cosine": ("squaredcos_cap_v2", None, None),
}
_PREDICTIONS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


@dataclass(frozen=True)
class Process(Checked):
    """A sampling process in this book's terms.

    Attributes:
        schedule: a key of ``SCHEDULES``.
        T: number of levels.
        S: number of steps.
        spacing: of :func:`ddim_edu.schedule.make_tau`.
        eta: 0 is DDIM, 1 is DDPM.
        predicts: ``"eps"``, ``"v"`` or ``"x0"``: what the network gives.
        clip: the bound to which the predicted x_0 is clamped, with eps recomputed; None for none.

    Raises:
        ValueError: if one of them is unknown or out of range.
    """

    schedule: str = "linear"
    T: Positive = 1000
    S: Positive = 50
    spacing: str = "leading"
    eta: Annotated[float, Range(0)] = 0.0
    predicts: str = "eps"
    clip: AboveZero | None = None

    def check(self) -> None:
        """Whether the words are known, and the levels can be visited."""
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule {self.schedule!r} is unknown; choose one of {', '.join(SCHEDULES)}")
        if self.predicts not in _PREDICTIONS:
            raise ValueError(f"predicts {self.predicts!r} is unknown; choose eps, v or x0")
        make_tau(self.T, self.S, self.spacing)

    @property
    def noise(self) -> NoiseSchedule:
        """The schedule itself."""
        return SCHEDULES[self.schedule](self.T)

    @property
    def tau(self) -> list[int]:
        """The levels visited, rising from 0."""
        return make_tau(self.T, self.S, self.spacing).tolist()


def to_book(p: Process) -> dict:
    """This book: levels 0..T, tau rising from 0."""
    return {"alpha_bar": p.noise.alpha_bar.tolist(), "tau": p.tau, "eta": p.eta, "clip": p.clip, "network": p.predicts}


def to_paper(p: Process) -> dict:
    """The DDIM paper: its alpha is our alpha_bar; tau is S long, without 0."""
    return {"alpha": p.noise.alpha_bar.tolist(), "tau": p.tau[1:], "eta": p.eta}


def to_ddpm(p: Process) -> dict:
    """DDPM: beta_1..beta_T, every level, eta = 1.

    Raises:
        ValueError: if the process skips levels or is not DDPM's.
    """
    if p.S != p.T or p.eta != 1:
        raise ValueError("DDPM takes all T steps with eta = 1: set steps = T and eta = 1")
    return {"beta": p.noise.beta[1:].tolist(), "sigma": "sqrt(beta_tilde_t)"}


def to_diffusers(p: Process) -> dict:
    """diffusers: the arguments of ``DDIMScheduler`` and of ``step``; timesteps count levels from 0.

    Raises:
        ValueError: if it can't be had there: its ``step`` computes the next level as t - T//S, and so only grids of
            that stride are walked.
    """
    name, start, end = _IN_DIFFUSERS[p.schedule]
    levels, stride, clips = p.tau[1:], p.T // p.S, p.clip is not None
    walked = all(b - a == stride for a, b in zip(levels, levels[1:])) and levels[0] <= stride
    if p.spacing not in ("leading", "trailing") or not walked:
        raise ValueError(
            f"diffusers' step goes from t to t - T//S = t - {stride}, which is not what {p.spacing} with S = {p.S} "
            f"lists; use leading, or an S that divides T"
        )
    scheduler = {
        "num_train_timesteps": p.T,
        "beta_schedule": name,
        "prediction_type": _PREDICTIONS[p.predicts],
        "timestep_spacing": p.spacing,
        "steps_offset": 0,
        "set_alpha_to_one": True,
        "clip_sample": clips,
    }
    if start is not None:
        scheduler |= {"beta_start": start, "beta_end": end}
    if clips:
        scheduler["clip_sample_range"] = p.clip
    return {
        "DDIMScheduler": scheduler,
        "set_timesteps": p.S,
        "step": {"eta": p.eta, "use_clipped_model_output": clips},
        "timesteps": [t - 1 for t in levels[::-1]],
    }


def to_edm(p: Process) -> dict:
    """k-diffusion and EDM: noise levels sigma = sqrt((1 - abar)/abar), falling to 0, of x/sqrt(abar). Euler's method is
    eta = 0.
    """
    sampler = "sample_euler" if p.eta == 0 else "sample_euler_ancestral"
    return {"sigmas": _sigmas(p), "x": "x_t sqrt(1 + sigma^2)", "eta": p.eta, "sampler": sampler}


def to_smalldiffusion(p: Process) -> dict:
    """smalldiffusion: sigmas as in EDM; its family (gam, mu) has DDIM at (1, 0) and DDPM at (1, 1/2).

    Raises:
        ValueError: for an eta between: no mu gives it, since sigma's dependence on mu is another.
    """
    if p.eta not in (0, 1):
        raise ValueError("smalldiffusion's (gam, mu) meets this family at eta = 0 and eta = 1 only")
    return {"sigmas": _sigmas(p), "gam": 1.0, "mu": 0.5 * p.eta}


def to_azula(p: Process) -> dict:
    """azula: its eta is the paper's eta squared; times t/T in [0, 1], alpha_t = sqrt(abar), sigma_t = sqrt(1 -
    abar).
    """
    abar = [p.noise.alpha_bar[t].item() for t in p.tau[::-1]]
    return {
        "eta": p.eta**2,
        "times": [t / p.T for t in p.tau[::-1]],
        "alpha": [math.sqrt(a) for a in abar],
        "sigma": [math.sqrt(1 - a) for a in abar],
    }


def to_flow(p: Process) -> dict:
    """Flow matching: x = (1 - r) x_0 + r eps, r from 1 at noise to 0 at the data: r = sqrt(1 - abar)/(sqrt(abar) +
    sqrt(1 - abar)).
    """
    roots = [(p.noise.alpha_bar[t].sqrt().item(), (1 - p.noise.alpha_bar[t]).sqrt().item()) for t in p.tau[::-1]]
    return {"r": [n / (s + n) for s, n in roots], "x": "x_t/(sqrt(abar) + sqrt(1 - abar))", "eta": p.eta}


def to_logsnr(p: Process) -> dict:
    """log-SNR: lambda = ln(abar/(1 - abar)), rising; infinite at the data."""
    return {"log_snr": [p.noise.snr[t].log().item() for t in p.tau[::-1]], "eta": p.eta}


def _sigmas(p: Process) -> list[float]:
    return [p.noise.nsr[t].item() for t in p.tau[::-1]]


LIBRARIES: Mapping[str, Callable[[Process], dict]] = {
    "book": to_book,
    "paper": to_paper,
    "ddpm": to_ddpm,
    "diffusers": to_diffusers,
    "edm": to_edm,
    "smalldiffusion": to_smalldiffusion,
    "azula": to_azula,
    "flow": to_flow,
    "log-snr": to_logsnr,
}


# Scales of guidance elsewhere, turned into this book's s; chapters 14 and 19 have the formulas. The pipelines of
# diffusers don't guide at 1 and below. That of CFG++ depends on the step: ddim_edu.guidance.cfgpp_scale.
SCALES: Mapping[str, Callable[[float], float]] = {
    "book": lambda s: s,
    "ho-salimans": lambda w: 1 + w,
    "imagen": lambda w: w,
    "stable-diffusion": lambda g: g,
    "diffusers": lambda g: g,
    "diffusers-original": lambda g: 1 + g,
    "karras-autoguidance": lambda w: w,
}


def interval_of_sigma(schedule: NoiseSchedule, low: float, high: float) -> tuple[int, int]:
    """The levels t whose noise level sigma = ``schedule.nsr[t]`` lies between two, as intervals of guidance are given
    for EDM's models.

    Raises:
        ValueError: if no level lies there.
    """
    inside = [t for t, sigma in enumerate(schedule.nsr.tolist()) if t > 0 and low <= sigma <= high]
    if not inside:
        raise ValueError(f"sigma {low:g} to {high:g}: no level of 1..{schedule.T} lies there")
    return inside[0], inside[-1]


def interval_of_steps(tau: Sequence[int], start: float, stop: float) -> tuple[int, int]:
    """The lowest and the highest level that guiders of diffusers guide with ``start`` and ``stop``, shares of the steps
    counted from the top.

    Args:
        tau: levels to visit, rising from 0.
        start: the first int(start S) steps are not guided.
        stop: nor are those from int(stop S) on.

    Raises:
        ValueError: if not ``0 <= start < 1``, ``start <= stop <= 1``, or no step is guided.
    """
    if not (0 <= start < 1 and start <= stop <= 1):
        raise ValueError(f"start = {start}, stop = {stop}: give 0 <= start <= stop <= 1, and start below 1")
    left = [int(t) for t in tau[1:]][::-1]
    guided = left[int(start * len(left)) : int(stop * len(left))]
    if not guided:
        raise ValueError(f"start = {start}, stop = {stop}: none of {len(left)} steps is guided")
    return guided[-1], guided[0]


def from_diffusers(
    config: Mapping[str, Any], S: int, eta: float = 0.0, use_clipped_model_output: bool = False
) -> Process:
    """The process of a diffusers scheduler with usual settings, in this book's terms.

    Args:
        config: of a ``DDIMScheduler`` (its ``config``, or ``scheduler_config.json``).
        S: number of steps.
        eta: as given to ``step``.
        use_clipped_model_output: as given to ``step``.

    Raises:
        ValueError: naming the setting, where this book has no word for it.
    """
    for key, usual in (
        ("steps_offset", 0),
        ("set_alpha_to_one", True),
        ("thresholding", False),
        ("rescale_betas_zero_snr", False),
        ("trained_betas", None),
    ):
        if config.get(key, usual) != usual:
            raise ValueError(f"{key} = {config[key]}: this book has {usual}")
    known = {value: name for name, value in _IN_DIFFUSERS.items()}
    name, start, end = config.get("beta_schedule", "linear"), None, None
    if name != "squaredcos_cap_v2":
        start, end = config.get("beta_start", 1e-4), config.get("beta_end", 0.02)
    if (name, start, end) not in known:
        raise ValueError(f"beta_schedule {name} from {start} to {end}: give its betas to NoiseSchedule.from_betas")
    says = config.get("prediction_type", "epsilon")
    if says not in _PREDICTIONS.values():
        raise ValueError(f"prediction_type = {says}: this book has {', '.join(_PREDICTIONS.values())}")
    clips = config.get("clip_sample", True)
    if clips and not use_clipped_model_output:
        raise ValueError("clip_sample without use_clipped_model_output: this book recomputes eps wherever it clips")
    process = Process(
        schedule=known[name, start, end],
        T=config.get("num_train_timesteps", 1000),
        S=S,
        spacing=config.get("timestep_spacing", "leading"),
        eta=eta,
        predicts=next(ours for ours, theirs in _PREDICTIONS.items() if theirs == says),
        clip=config.get("clip_sample_range", 1.0) if clips else None,
    )
    to_diffusers(process)  # a grid that its step does not walk
    return process


def table() -> str:
    r"""The table of notation.md: levels, states, and the linear T = 1000, S = 10, leading, in numbers that the
    functions give.
    """
    p, ddpm = Process(S=10), Process(S=10, eta=1.0)
    small, large, azula = to_smalldiffusion(p), to_smalldiffusion(ddpm), to_azula(p)
    etas = f"(gam, mu) = ({small['gam']:g}, {small['mu']:g}), ({large['gam']:g}, {large['mu']:g})"
    signal, noise = r"\sqrt{\bar\alpha_t}", r"\sqrt{1-\bar\alpha_t}"
    columns = [  # whose; levels; states; the first of ten; eta
        ("", "level", "state", "first of ten, leading", r"$\eta$ = 0, 1"),
        ("this book", "`t` in 0..T", "$x_t$", f"{p.tau[-1]}", "`eta` = 0, 1"),
        ("diffusers", "`timestep` = t - 1", "`sample` = $x_t$", f"{to_diffusers(p)['timesteps'][0]}", "`eta` = 0, 1"),
        (
            "EDM, k-diffusion",
            r"$\sigma = \sqrt{(1-\bar\alpha_t)/\bar\alpha_t}$",
            f"$x_t/{signal}$",
            f"{to_edm(p)['sigmas'][0]:.4g}",
            "Euler; Euler ancestral",
        ),
        ("smalldiffusion", r"the same $\sigma$", f"$x_t/{signal}$", f"{small['sigmas'][0]:.4g}", etas),
        (
            "azula",
            "$t/T$",
            "$x_t$",
            f"{azula['times'][0]:.4g}",
            f"`eta` = {azula['eta']:g}, {to_azula(ddpm)['eta']:g} (squared)",
        ),
        (
            "flow matching",
            rf"$r = \frac{{{noise}}}{{{signal}+{noise}}}$",
            f"$x_t/({signal}+{noise})$",
            f"{to_flow(p)['r'][0]:.4g}",
            r"Euler in $r$; –",
        ),
        (
            "log-SNR",
            r"$\lambda = \ln\frac{\bar\alpha_t}{1-\bar\alpha_t}$",
            "$x_t$",
            f"{to_logsnr(p)['log_snr'][0]:.4g}",
            "–",
        ),
    ]
    rows = list(zip(*columns))
    rows.insert(1, ("---",) * len(columns))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
