"""How few calls will do, and for which solver? Chapter 17 shows the results.

    python benchmarks/fewer_calls.py [digits-v] [fashion-mnist-v] [--ways "ddim 20" "weights 5"] [--seeds 3] [--n 400]

Each model draws n pictures a seed, classes in turn, from level T, predicted data clipped to [-1, 1]; picture i of a
seed has the same start for every way of sampling. "value" is the distance of the n pictures to all training pictures in
the features of the shipped classifier, a number a seed; "error" the root mean square distance of each of 20 pictures,
of a seed that serves nothing else, to the end of a path in 100 steps (DPM-Solver++(2M)) from the same start. What is
learned (levels, weights) is fitted to 20 paths of another seed, in 40 steps. E Var(x_0 | x_t) is measured on 200
training pictures. What the file holds for the same model and protocol is not measured again, nor what
results/table1_MODEL.json holds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddim_edu.data.pictures import from_uint8, to_uint8
from ddim_edu.data.registry import load_data
from ddim_edu.files import check_writable, replacing
from ddim_edu.forward import EpsTheta
from ddim_edu.measuring.features import small
from ddim_edu.measuring.metrics import frechet_distance, mean_and_cov
from ddim_edu.measuring.reference import real_images
from ddim_edu.measuring.result import model_about, versions
from ddim_edu.models import load
from ddim_edu.randomness import draw, generator_for, image_generators
from ddim_edu.sampler import decode
from ddim_edu.sampling import clipped
from ddim_edu.schedule import make_tau
from ddim_edu.solvers import dpm_solver_2m, dpm_solver_2m_path
from ddim_edu.steps import cheapest, fit_weights, states_at, step_errors, weighted
from ddim_edu.variance import best_variance, unknown_variance

CLIP, SPACING, FINE, TRUTH, PATHS, DATA, BATCH = 1.0, "trailing", 40, 100, 20, 200, 50
FITTED_SEED, JUDGED_SEED = 1007, 1008
CALLS = {
    "ddim": (5, 10, 20),
    "eta 1": (5, 10, 20),
    "dpm-solver-2m": (5, 10, 20),
    "best": (5, 10, 20),
    "best, eta 0": (5, 10, 20),
    "levels": (5, 10),
    "weights": (3, 5, 10),
    "levels, weights": (5,),
}
WAYS = [f"{way} {S}" for way, counts in CALLS.items() for S in counts]
FEW = ["ddim 5", "ddim 10", "ddim 20", "weights 5", "dpm-solver-2m 5", "dpm-solver-2m 10", "eta 1 5", "eta 1 10"]
FEW += ["eta 1 20", "best 5", "best 10", "levels, weights 5"]  # for larger pictures
MORE = ["best 20", "weights 3", "weights 10", "levels 5", "best, eta 0 10"]
N, SEEDS, USUAL = {"digits-v": 400, "fashion-mnist-v": 250}, 3, {"digits-v": FEW + MORE, "fashion-mnist-v": FEW}


@dataclass
class Lab:
    """A model, what it is judged by, and what was learned for it."""

    name: str
    learned: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model, self.features = load(self.name), small(self.subject)
        self.schedule, self.T = self.model.schedule, self.model.schedule.T

    @property
    def subject(self) -> str:
        """The data that the model draws: its name without what it predicts."""
        return self.name.removesuffix("-v")

    @cached_property
    def data(self) -> tuple[Tensor, Tensor]:
        return real_images(self.subject, "train"), load_data(self.subject).train_labels

    @cached_property
    def reference(self) -> tuple[Tensor, Tensor]:
        return mean_and_cov(torch.cat([self.features.compute(part) for part in self.data[0].split(1000)]).double())

    def starts(self, seed: int, first: int, last: int) -> tuple[EpsTheta, Tensor, list[torch.Generator]]:
        """The predictor for the classes of these pictures, their x_T, and where their noise comes from."""
        generators = image_generators(seed, first, last)
        labels = torch.arange(first, last) % self.model.config.classes
        eps_theta = clipped(self.model.eps_theta(labels), CLIP, self.schedule)
        return eps_theta, draw(torch.empty(last - first, *self.model.image_shape), generators), generators

    def tau(self, S: int) -> list[int]:
        return make_tau(self.T, S, SPACING).tolist()

    @cached_property
    def right(self) -> dict[int, Tensor]:
        eps_theta, x_T, _ = self.starts(FITTED_SEED, 0, PATHS)
        levels = sorted({*self.tau(FINE), *self.tau(3)})
        return states_at(dpm_solver_2m_path(eps_theta, x_T, self.schedule, levels), levels)

    @cached_property
    def truth(self) -> Tensor:
        eps_theta, x_T, _ = self.starts(JUDGED_SEED, 0, PATHS)
        return dpm_solver_2m(eps_theta, x_T, self.schedule, self.tau(TRUTH))

    def learn(self, way: str, S: int) -> dict[str, Any]:
        """Levels and weights, or E Var(x_0 | x_t); from the file, or found now."""
        key = f"{'best' if way.startswith('best') else way} {S}"
        if key not in self.learned:
            if way.startswith("best"):
                self.learned[key] = {"unknown": self.unknown(S)}
            else:
                eps_theta, x_T, _ = self.starts(FITTED_SEED, 0, PATHS)
                tau = self.tau(S)
                if way.startswith("levels"):
                    if "errors" not in self.__dict__:
                        self.errors = step_errors(eps_theta, self.right, self.schedule)
                    tau = [sorted(self.right)[i] for i in cheapest(self.errors, S)]
                self.learned[key] = {"tau": tau}
                if way.endswith("weights"):
                    weights = fit_weights(eps_theta, x_T, self.schedule, tau, self.right)
                    self.learned[key]["weights"] = [[round(w, 6) for w in row] for row in weights.tolist()]
        return self.learned[key]

    def unknown(self, S: int) -> list[float]:
        pictures, labels = self.data
        chosen = torch.randperm(len(pictures), generator=generator_for(FITTED_SEED, 1))[:DATA]
        eps_theta = clipped(self.model.eps_theta(labels[chosen]), CLIP, self.schedule)
        noise = generator_for(FITTED_SEED, 2)
        found = unknown_variance(eps_theta, from_uint8(pictures[chosen]), self.schedule, self.tau(S), noise)
        return [round(v, 6) for v in found.tolist()]

    def solver(self, way: str, S: int) -> Callable[[EpsTheta, Tensor, list[torch.Generator]], Tensor]:
        schedule, tau = self.schedule, self.tau(S)
        if way in ("ddim", "eta 1"):
            eta = float(way == "eta 1")
            return lambda eps, x, g: decode(eps, x, schedule, tau, eta=eta, generator=g)
        if way == "dpm-solver-2m":
            return lambda eps, x, g: dpm_solver_2m(eps, x, schedule, tau)
        found = self.learn(way, S)
        if way.startswith("best"):
            how = {"unknown": found["unknown"], "eta": float(way == "best")}
            return lambda eps, x, g: best_variance(eps, x, schedule, tau, generator=g, **how)
        if way == "levels":
            return lambda eps, x, g: decode(eps, x, schedule, found["tau"])
        return lambda eps, x, g: weighted(eps, x, schedule, found["tau"], found["weights"])

    @torch.no_grad()
    def pictures(self, way: str, S: int, seed: int, n: int) -> Tensor:
        solve, parts = self.solver(way, S), []
        for first in range(0, n, BATCH):
            parts.append(solve(*self.starts(seed, first, min(first + BATCH, n))))
        return torch.cat(parts)

    def value(self, way: str, S: int, seed: int, n: int) -> float:
        found = self.features.compute(to_uint8(self.pictures(way, S, seed, n).clamp(-1, 1)))
        return frechet_distance(*mean_and_cov(found), *self.reference)

    def error(self, way: str, S: int) -> list[float]:
        off = self.pictures(way, S, JUDGED_SEED, PATHS) - self.truth
        return [round(v, 5) for v in off.flatten(1).square().mean(1).sqrt().tolist()]

    def protocol(self, n: int) -> dict[str, Any]:
        about = {"n": n, "clip": CLIP, "spacing": SPACING, "label": "turn", "features": self.features.about}
        return about | {"paths": PATHS, "fine": FINE, "truth": TRUTH, "data": DATA}


def split(name: str) -> tuple[str, int]:
    way, _, S = name.rpartition(" ")
    return way, int(S)


def from_table(name: str, head: dict[str, Any], way: str, seed: int) -> float | None:
    """The number, if ``evaluate table1`` has measured the same pictures: they are a function of seed and number."""
    path, (solver, S) = Path(f"results/table1_{name}.json"), split(way)
    if not path.exists() or solver not in ("ddim", "eta 1"):
        return None
    table = json.loads(path.read_text(encoding="utf8"))
    shared = ("n", "clip", "label", "features")
    if table["model"] != head["model"] or any(table["protocol"].get(k) != head["protocol"][k] for k in shared):
        return None
    key = {"spacing": SPACING, "steps": S, "eta": float(solver == "eta 1"), "seed": seed}
    found = [row["value"] for row in table["rows"] if all(row[k] == v for k, v in key.items())]
    return found[0] if found else None


def measure(name: str, ways: list[str], seeds: int, n: int, out: Path) -> None:
    """What is missing of a model's rows; the file is written after each number."""
    lab = Lab(name)
    head = {"model": model_about(lab.model), "protocol": lab.protocol(n)}
    head = json.loads(json.dumps(head))
    everything = json.loads(out.read_text(encoding="utf8")) if out.exists() else {"models": {}}
    everything["command"] = "python benchmarks/fewer_calls.py digits-v fashion-mnist-v"
    before = everything["models"].get(name, {})
    if {key: before.get(key) for key in head} != head:
        before = {"learned": {}, "rows": []}
    rows = before["rows"]
    lab.learned = before["learned"]
    everything["models"][name] = head | {"learned": lab.learned, "rows": rows, "versions": versions()}

    def write() -> None:
        with replacing(out) as temporary:
            temporary.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf8")

    for seed in range(seeds):
        for way in ways:
            row = next((row for row in rows if row["way"] == way), None)
            if row is None:
                row = {"way": way, "solver": split(way)[0], "calls": split(way)[1], "value": []}
                rows.append(row)
            if len(row["value"]) <= seed:
                value = from_table(name, head, way, seed)
                row["value"].append(round(lab.value(*split(way), seed, n) if value is None else value, 5))
                print(f"{name} {way}, seed {seed}: {row['value'][-1]:.3f}", flush=True)
                write()
    for row in rows:
        if "error" not in row and "eta 1" not in row["way"] and "best" not in row["way"]:
            row["error"] = lab.error(*split(row["way"]))
            print(f"{name} {row['way']}: error {sum(row['error']) / PATHS:.4f}", flush=True)
            write()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["digits-v", "fashion-mnist-v"])
    parser.add_argument("--ways", nargs="+", choices=WAYS)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--n", type=int)
    parser.add_argument("--out", type=Path, default=Path("results/fewer_calls.json"))
    options = parser.parse_args()
    out = check_writable(options.out)
    for name in options.models:
        ways = options.ways or USUAL.get(name, WAYS)
        measure(name, ways, options.seeds or SEEDS, options.n or N.get(name, 250), out)


if __name__ == "__main__":
    main()
