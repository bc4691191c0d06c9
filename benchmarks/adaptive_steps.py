"""Do error-controlled steps pay, and does a picture's complexity say where steps are needed? Chapter 8 shows the
results.

    python benchmarks/adaptive_steps.py [mixture] [MODEL ...] [--dealing] [--out results/adaptive_steps.json]

Each problem that is named (``mixture``, or a model such as ``digits``) is measured and takes its place in the file;
others stay. All starts are standard normal; the truth of each is the end of Heun's method with many more steps, by the
same predictor, from the same start. An image's error is the root mean square over its elements of the distance to that
end. Tau is fitted on starts that are not judged. Errors are given as the mean and the median over the images of a
batch, then averaged over batches; "se" is the standard error over batches. The parameters of the controller are the
defaults of ``adaptive_ddim``; they were chosen on other starts. With ``--dealing`` only what concerns single pictures
is measured again, who should get more steps, and the rest of the file stays.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

import ddim_edu
from ddim_edu.adaptive import complexity
from ddim_edu.exact import GaussianMixture
from ddim_edu.files import check_writable, replacing
from ddim_edu.forward import EpsTheta, unmix_x0
from ddim_edu.models import load
from ddim_edu.randomness import generator_for
from ddim_edu.sampler import ddim_path, ddim_step
from ddim_edu.schedule import SPACINGS, NoiseSchedule, make_tau
from ddim_edu.solvers import adaptive_ddim, dpm_solver_2m, heun, heun_path

BATCHES = 4
STEPS = (5, 10, 20, 40)
FITTED = (5, 10, 20)  # numbers of steps for which tau is fitted
TOLERANCES = (0.2, 0.1, 0.05, 0.02, 0.01)
RESAMPLES = 1000


@dataclass(frozen=True)
class Problem:
    """A predictor, where its sampling starts, and how many images are used."""

    name: str
    eps_theta: EpsTheta
    schedule: NoiseSchedule
    start: int  # the level of x_T
    shape: tuple[int, ...]
    dtype: torch.dtype
    per_batch: int
    fit: int  # starts for fitting tau
    fine: int  # steps of the reference

    def draw(self, n: int, *key: int) -> Tensor:
        return torch.randn(n, *self.shape, generator=generator_for(0, *key), dtype=self.dtype)

    def spaced(self, S: int, spacing: str) -> Tensor:
        return make_tau(self.start, S, spacing)


def problem(name: str) -> Problem:
    if name == "mixture":
        schedule = NoiseSchedule.linear()
        plane = GaussianMixture([0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03, schedule)
        return Problem(name, plane.eps, schedule, 1000, (2,), torch.float64, 250, 250, 1000)
    loaded = load(name)
    # The last steps of the cosine schedule are far longer than the rest in the ODE's clock: begin below, as chapters 6
    # and 7 do.
    start = 900 if loaded.schedule.nsr[-1] > 1000 else loaded.schedule.T
    # Larger pictures are dearer: half as many, which the standard errors show.
    per_batch, fit = (16, 24) if loaded.config.image_size <= 16 else (8, 12)
    return Problem(name, loaded.model, loaded.schedule, start, loaded.image_shape, torch.float32, per_batch, fit, 300)


def fine_tau(p: Problem, steps: int) -> Tensor:
    """Equal steps of the angle arctan nsr and of the level, half each: fine everywhere."""
    angle = torch.atan(p.schedule.nsr[: p.start + 1])
    even = torch.linspace(0, 1, steps // 2 + 1, dtype=torch.float64)
    by_angle = torch.searchsorted(angle, even * angle[-1])
    return torch.cat([by_angle, (even * p.start).round().long()]).clamp(max=p.start).unique()


@torch.no_grad()
def ddim(eps_theta: EpsTheta, x_T: Tensor, schedule: NoiseSchedule, tau: Tensor) -> Tensor:
    *_, last = ddim_path(eps_theta, x_T, schedule, tau)
    return last.x_s


def reused(eps_theta: EpsTheta, x_T: Tensor, schedule: NoiseSchedule, tau: Tensor) -> Tensor:
    return heun(eps_theta, x_T, schedule, tau, reuse=True)


METHODS: dict[str, Callable[..., Tensor]] = {
    "ddim": ddim,
    "heun": heun,
    "heun, noise reused": reused,
    "dpm-solver++(2m)": dpm_solver_2m,
}


def distance(x: Tensor, truth: Tensor) -> Tensor:
    """Root mean square over the elements of each image."""
    return (x - truth).double().flatten(1).square().mean(1).sqrt()


def summary(batches: list[Tensor]) -> dict[str, float]:
    """Mean and median of each batch, averaged over the batches, with standard errors."""
    found = {}
    for name, of in (("mean", torch.mean), ("median", torch.median)):
        values = torch.stack([of(b) for b in batches])
        found[name] = values.mean().item()
        found[f"{name}_se"] = (values.std() / len(values) ** 0.5).item()
    return found


# --- the best fixed tau
# --------------------------------------------------------------------------------------------------------------


def clean(p: Problem, levels: np.ndarray) -> list[int]:
    """Levels rounded, each once, from 0 to at most the start."""
    tau = np.round(levels).astype(int)
    tau[0] = 0
    for i in range(1, len(tau)):
        tau[i] = max(tau[i], tau[i - 1] + 1)
    for i in range(len(tau)):
        tau[-1 - i] = min(tau[-1 - i], p.start - i)
    return [int(t) for t in tau]


def even_in_bend(p: Problem, x: Tensor, S: int) -> list[int]:
    """Levels between which DDIM's local error, in units of x, is the same on average over the starts x: (step)^2 times
    the bend.
    """
    states = [(step.t, step.x_t) for step in heun_path(p.eps_theta, x, p.schedule, fine_tau(p, 60), reuse=True)]
    levels = [t for t, _ in states][::-1]
    eps = [p.eps_theta(x_t, torch.full((len(x_t),), t)).double() for t, x_t in states][::-1]
    nu, abar = p.schedule.nsr[levels], p.schedule.alpha_bar[levels]
    step = nu.diff()
    bend = torch.stack([distance(b, a).mean() for a, b in zip(eps, eps[1:])]) / step * abar[1:].sqrt()
    below = torch.cat([torch.zeros(1), (bend.sqrt() * step).cumsum(0)]).numpy()
    parts = np.arange(S + 1) / S * below[-1]
    return clean(p, np.interp(parts, below, [0, *levels[1:]]))


def fit_tau(p: Problem, solve: Callable[..., Tensor], S: int, x: Tensor, truth: Tensor) -> tuple[list[int], float, str]:
    """The tau with the least mean error on x: the best of many families, then moved level by level."""

    def error(tau: list[int]) -> float:
        return distance(solve(p.eps_theta, x, p.schedule, tau), truth).mean().item()

    candidates = {name: p.spaced(S, name).tolist() for name in SPACINGS}
    candidates["even in bend"] = even_in_bend(p, x, S)
    parts, nu = np.linspace(0, 1, S + 1), p.schedule.nsr.numpy()
    for power in (1.5, 3.0, 5.0, 7.0):  # Karras et al.: nu is a power of equal steps
        candidates[f"nsr = u^{power:g}"] = clean(p, np.interp(parts**power * nu[p.start], nu, np.arange(len(nu))))
    for power in (1.0, 1.5):
        angle = np.arctan(nu)
        candidates[f"angle = u^{power:g}"] = clean(
            p, np.interp(parts**power * angle[p.start], angle, np.arange(len(nu)))
        )
    scored = {name: error(tau) for name, tau in candidates.items()}
    family = min(scored, key=scored.__getitem__)
    best, least = candidates[family], scored[family]
    for share in (0.5, 0.25):
        for i in range(S, 0, -1):
            for side in (-1, 1):
                tau = list(best)
                gap = tau[i] - tau[i - 1] if side < 0 else (tau[i + 1] if i < S else p.start) - tau[i]
                tau[i] += side * max(1, round(share * gap))
                if not tau[i - 1] < tau[i] <= (tau[i + 1] - 1 if i < S else p.start):
                    continue
                found = error(tau)
                if found < least:
                    best, least = tau, found
    return best, least, family


# --- error against calls
# -------------------------------------------------------------------------------------------------------------


def error_against_calls(p: Problem, starts: list[Tensor], truths: list[Tensor]) -> dict:
    rows = []

    def add(method: str, variant: str, setting: float, calls: list[float], errors: list[Tensor], **more) -> None:
        spread = np.std(calls, ddof=1) / len(calls) ** 0.5
        row = {
            "method": method,
            "variant": variant,
            "setting": setting,
            "calls": float(np.mean(calls)),
            "calls_se": float(spread),
        }
        rows.append(
            row | summary(errors) | {"each_mean": [e.mean().item() for e in errors], "each_calls": calls} | more
        )
        print(f"  {method:20} {variant:15} {setting:<6g} calls {row['calls']:5.1f}  error {rows[-1]['mean']:.4f} ± "
              f"{rows[-1]['mean_se']:.4f}  median {rows[-1]['median']:.4f}", flush=True)  # fmt: skip

    for S in STEPS:
        for method, solve in METHODS.items():
            for spacing in SPACINGS if method == "ddim" else ("trailing", "quadratic-full"):
                steps = (S + 1) // 2 if method == "heun" else S
                errors = [
                    distance(solve(p.eps_theta, x, p.schedule, p.spaced(steps, spacing)), t)
                    for x, t in zip(starts, truths)
                ]
                add(method, spacing, S, [2.0 * steps - 1 if method == "heun" else S] * len(starts), errors)
    x = p.draw(p.fit, 2)
    truth = heun(p.eps_theta, x, p.schedule, fine_tau(p, p.fine), reuse=True)
    for method in ("ddim", "heun, noise reused"):
        for S in FITTED:
            tau, on_fit, family = fit_tau(p, METHODS[method], S, x, truth)
            errors = [distance(METHODS[method](p.eps_theta, x, p.schedule, tau), t) for x, t in zip(starts, truths)]
            add(method, "fitted", S, [float(S)] * len(starts), errors, tau=tau, mean_on_fit=on_fit, from_family=family)
    for order in (1, 2):
        for per_image in (True, False):
            for atol in TOLERANCES:
                options = {"atol": atol, "order": order, "per_image": per_image, "t_start": p.start}
                runs = [adaptive_ddim(p.eps_theta, x, p.schedule, **options) for x in starts]
                errors = [distance(run.x_0, t) for run, t in zip(runs, truths)]
                calls = [run.calls.double().mean().item() for run in runs]
                rejected = float(np.mean([run.rejected.double().mean() for run in runs]))
                add(
                    f"adaptive, order {order}",
                    "per image" if per_image else "per batch",
                    atol,
                    calls,
                    errors,
                    rejected=rejected,
                )
    return {"rows": rows, "ratios": ratios(rows)}


def ratios(rows: list[dict]) -> list[dict]:
    """Error of each adaptive run over a fixed method's at the same number of calls (a straight line in the logarithms),
    by batch.
    """
    found = []
    for row in rows:
        if not row["method"].startswith("adaptive"):
            continue
        method = "ddim" if row["method"].endswith("1") else "heun, noise reused"
        for variant in ("trailing", "quadratic", "quadratic-full", "fitted"):
            fixed = [r for r in rows if r["method"] == method and r["variant"] == variant]
            calls = [r["calls"] for r in fixed]
            if not fixed or not calls[0] <= row["calls"] <= calls[-1]:
                continue
            log = []
            for b, (error, used) in enumerate(zip(row["each_mean"], row["each_calls"])):
                there = np.interp(np.log(used), np.log(calls), np.log([r["each_mean"][b] for r in fixed]))
                log.append(np.log(error) - there)
            found.append({
                "method": row["method"], "variant": row["variant"], "atol": row["setting"], "calls": row["calls"],
                "against": variant,
                "ratio": float(np.exp(np.mean(log))), "log_se": float(np.std(log, ddof=1) / len(log) ** 0.5),
            })  # fmt: skip
    return found


# --- does complexity predict the error of a step?
# ------------------------------------------------------------------------------------


def busyness(x: Tensor) -> Tensor:
    """The mean of the published map over each image of a batch; the norm is the batch's, so that it does not change the
    ranks.
    """
    return complexity(x).flatten(1).mean(1)


def alone(x: Tensor) -> Tensor:
    """The same, each image normalised by itself as a batch of one."""
    return torch.stack([complexity(image[None]).mean() for image in x])


@torch.no_grad()
def complexity_and_error(p: Problem, x: Tensor, S: int) -> dict:
    """Rank correlations over images, for the S - 1 steps of DDIM from true states: of what is known before a step, and
    its error.
    """
    tau = p.spaced(S, "trailing").tolist()
    fine = torch.tensor(sorted({*fine_tau(p, p.fine).tolist(), *tau}))
    path = heun_path(p.eps_theta, x, p.schedule, fine, reuse=True)
    states = {p.start: x} | {step.s: step.x_s for step in path if step.s in tau}
    abar, nu = p.schedule.alpha_bar.tolist(), p.schedule.nsr
    names = (
        "complexity of x_t",
        "complexity of x0_hat",
        "complexity of x0_hat, alone",
        "last change of eps",
        "size of x0_hat",
        "estimate",
    )
    known, error, last = {name: [] for name in names}, [], None
    for t, s in list(zip(tau[::-1], tau[-2::-1]))[:-1]:
        x_t, x_s = states[t], states[s]
        eps = p.eps_theta(x_t, torch.full((len(x),), t))
        x0_hat = unmix_x0(x_t, eps, abar[t])
        ahead = ddim_step(x_t, eps, abar[t], abar[s])
        eps_s = p.eps_theta(ahead, torch.full((len(x),), s))
        if last is not None:  # the first step has no last change; it is left out for all
            known["complexity of x_t"].append(busyness(x_t))
            known["complexity of x0_hat"].append(busyness(x0_hat))
            known["complexity of x0_hat, alone"].append(alone(x0_hat))
            known["last change of eps"].append(distance(eps, last))
            known["size of x0_hat"].append(distance(x0_hat, torch.zeros_like(x0_hat)))
            known["estimate"].append(0.5 * float(nu[t] - nu[s]) * abar[s] ** 0.5 * distance(eps, eps_s))
            error.append(distance(ahead, x_s))
        last = eps
    error = torch.stack(error).numpy()  # (steps, images)
    draw, result = np.random.default_rng(0), {}
    picks = draw.integers(0, len(x), (RESAMPLES, len(x)))
    for name in names:
        values = torch.stack(known[name]).double().numpy()
        by_step = spearman(values, error)
        again = np.stack([spearman(values[:, pick], error[:, pick]) for pick in picks])
        result[name] = {
            "mean": float(by_step.mean()),
            "mean_95": np.percentile(again.mean(1), (2.5, 97.5)).tolist(),
            "by_step": by_step.tolist(),
            "by_step_95": np.percentile(again, (2.5, 97.5), axis=0).T.tolist(),
        }
        low, high = result[name]["mean_95"]
        print(f"  S = {S:2d}  {name:28} {result[name]['mean']:+.2f}  95%: {low:+.2f} to {high:+.2f}   by step " +
              " ".join(f"{v:+.2f}" for v in by_step), flush=True)  # fmt: skip
    spread = error.std(1) / error.mean(1)
    return {
        "S": S,
        "images": len(x),
        "from": tau[-2:1:-1],
        "correlations": result,
        "error_spread_over_images": spread.tolist(),
    }


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rank correlation along the last axis."""
    a, b = (rankdata(v, axis=-1) for v in (a, b))
    a, b = (v - v.mean(-1, keepdims=True) for v in (a, b))
    return (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))


def steps_by_complexity(p: Problem, x: Tensor, truth: Tensor, few: int, many: int) -> dict:
    """Half of the images get many steps, half few, at a mean of (few + many)/2: who gets more is decided in several
    ways.

    Complexity is that of a finished image, made with half the mean number of steps; that these were taken is not
    charged.
    """
    mean = (few + many) // 2
    runs = {S: ddim(p.eps_theta, x, p.schedule, p.spaced(S, "trailing")) for S in (mean // 2, few, mean, many)}
    errors = {S: distance(run, truth) for S, run in runs.items()}
    by = {
        "more complex": busyness(runs[mean // 2]),
        "less complex": -busyness(runs[mean // 2]),
        "more complex, alone": alone(runs[mean // 2]),
        "larger change from half to mean steps": distance(runs[mean // 2], runs[mean]),
        "larger error (knows the truth)": errors[mean],
        # The sum over the half that gets many steps of (error with few) - (error with many) is what is gained: no other
        # half gains more.
        "larger gain (the best half)": errors[few] - errors[many],
    }
    same, result = errors[mean], {}
    print(f"  {mean} steps for all: {same.mean():.4f}", flush=True)
    half = 0.5 * (errors[few] + errors[many]) - same
    gains = {"at random (expected)": half}
    for name, value in by.items():
        gains[name] = torch.where(value > value.median(), errors[many], errors[few]) - same
    for name, gain in gains.items():
        result[name] = {"change": gain.mean().item(), "se": (gain.std() / len(gain) ** 0.5).item()}
        print(f"  more steps for {name:38} {result[name]['change']:+.4f} ± {result[name]['se']:.4f}", flush=True)
    best = result["larger gain (the best half)"]["change"]
    assert all(found["change"] >= best - 1e-12 for found in result.values())
    each = {str(S): error.tolist() for S, error in errors.items()}
    return {
        "steps": [few, mean, many],
        "same_for_all": same.mean().item(),
        "change_of_mean_error": result,
        "each": each,
    }


def start_of_quadratic(p: Problem, starts: list[Tensor], truths: list[Tensor], S: int) -> dict:
    """What ``quadratic`` errs by before its first step: it begins far below the level at which the starts are noise."""
    level = int(p.spaced(S, "quadratic")[-1])
    tau = fine_tau(p, p.fine)
    ends = [
        heun(p.eps_theta, x, p.schedule, torch.cat([tau[tau < level], torch.tensor([level])]), reuse=True)
        for x in starts
    ]
    return {"S": S, "level": level} | summary([distance(x, truth) for x, truth in zip(ends, truths)])


# --- the command
# ---------------------------------------------------------------------------------------------------------------------


def judged(p: Problem) -> tuple[list[Tensor], list[Tensor]]:
    """The starts that methods are judged on, and their true ends, by batch."""
    starts = [p.draw(p.per_batch, 1, b) for b in range(BATCHES)]
    return starts, [heun(p.eps_theta, x, p.schedule, fine_tau(p, p.fine), reuse=True) for x in starts]


def dealing(p: Problem, starts: list[Tensor], truths: list[Tensor]) -> dict:
    x, truth = torch.cat(starts), torch.cat(truths)
    return {
        "quadratic_starts_at": start_of_quadratic(p, starts, truths, 10),
        "steps_by_complexity": [steps_by_complexity(p, x, truth, *pair) for pair in ((8, 12), (17, 23))],
    }


def measure(p: Problem) -> dict:
    began = time.perf_counter()
    starts, truths = judged(p)
    half = heun(p.eps_theta, starts[0], p.schedule, fine_tau(p, p.fine // 2), reuse=True)
    found = {
        "T": p.schedule.T,
        "start": p.start,
        "images": BATCHES * p.per_batch,
        "batches": BATCHES,
        "starts": "generator_for(0, 1, batch) judged, generator_for(0, 2) for fitting tau",
        "fitted_on": p.fit,
        "reference_steps": len(fine_tau(p, p.fine)) - 1,
        "reference_change_when_halved": distance(half, truths[0]).mean().item(),
    }
    print(
        f"{p.name}: reference moves by {found['reference_change_when_halved']:.1e} when its steps are halved",
        flush=True,
    )
    found["error_against_calls"] = error_against_calls(p, starts, truths)
    if len(p.shape) == 3:
        found["complexity"] = [complexity_and_error(p, torch.cat(starts), S) for S in (10, 20)]
        found |= dealing(p, starts, truths)
    for row in found["error_against_calls"]["ratios"]:
        print(f"  {row['method']} {row['variant']:9} atol {row['atol']:<5g} {row['calls']:5.1f} calls: "
              f"error is {row['ratio']:.2f} times that of {row['against']} (log se {row['log_se']:.2f})")  # fmt: skip
    return found | {"seconds": round(time.perf_counter() - began)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problems", nargs="*", default=["mixture", "digits"])
    parser.add_argument("--dealing", action="store_true", help="only who should get more steps; for models")
    parser.add_argument("--out", type=Path, default=Path("results/adaptive_steps.json"))
    args = parser.parse_args()
    args.out.parent.mkdir(exist_ok=True)
    out = check_writable(args.out)
    problems = [problem(name) for name in args.problems]
    for p in problems:
        measured = dealing(p, *judged(p)) if args.dealing else measure(p)
        everything = json.loads(out.read_text(encoding="utf8")) if out.exists() else {}
        if args.dealing:
            measured = everything["problems"][p.name] | measured
        everything["command"] = "python benchmarks/adaptive_steps.py PROBLEM ..."
        everything["error"] = (
            "root mean square over an image's elements of the distance to the reference end from the same start"
        )
        everything["controller"] = {"rtol": 0.0, "first": 0.3, "safety": 0.8, "shrink": 0.2, "grow": 2.0}
        measured["versions"] = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "ddim_edu": ddim_edu.__version__,
        }
        measured["threads"] = torch.get_num_threads()
        everything.setdefault("problems", {})[p.name] = measured
        with replacing(out) as temporary:
            temporary.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf8")
    print(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
