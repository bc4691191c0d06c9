"""How good are restored pictures, and by which measure? Chapter 13 shows the results.

    python benchmarks/restoration.py [TASK ...] [--out results/restoration.json] [--keep runs/restoration]
    python benchmarks/restoration.py digits/inpaint --check "travel 2"

A task is a shipped model and something that is taken from 200 images of its data set that it was not trained on
(digits: all that are held out; of the others a choice by a seed). Methods that sample take the options that ``python -m
ddim_edu.apps`` has by default, but for what is varied, and 25 steps in place of 50 for the two larger models; nothing
was tuned on these images. The noise is a function of the seed, the image's number and the answer's, the same for all
methods. Sampled images are kept in a folder, a file a piece, and what is there is not computed again. With ``--check``
a method's first answers to four images are made anew and compared with the stored PSNR.

PSNR and SSIM are of images clipped to [-1, 1]; intervals are 95%, by Student's t over the images. Differences are to
one answer with travel 2, image by image; their p are corrected by Holm over the methods of a task. "distance" is the
Frechet distance to all training images in the features of a shipped classifier, of the 200 images together.
"""

from __future__ import annotations

import argparse
import base64
import json
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import ddim_edu
from ddim_edu.apps.operators import AveragePool, Grey, Mask, Operator
from ddim_edu.apps.restore import replace_known, restore
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.metrics import frechet_distance, mean_and_cov, psnr, reconstruction_error, sharpness, ssim
from ddim_edu.measuring.reference import reference_images
from ddim_edu.measuring.statistics import holm, paired, summary
from ddim_edu.models import classifier_features, load
from ddim_edu.randomness import generator_for
from ddim_edu.schedule import make_tau

N, SEED, BATCH = 200, 0, 50
ETA, JUMP, CLIP, SPACING = 1.0, 5, 1.0, "trailing"
ANSWERS = 16  # to each image, where methods are compared closely: one answer's PSNR is mostly chance
RIDGE = 1e-3  # variance added to each observed value when the straight line is fitted: four grey levels of 255
REFERENCE = "travel 2"
SHOWN = {"digits": 0, "fashion-mnist": 4, "cifar10-tiny": 6}  # images that the chapter needs when it is built


def lower_half(size: int) -> Mask:
    known = torch.zeros(size, size, dtype=torch.bool)
    known[: size // 2] = True
    return Mask(known)


@dataclass(frozen=True)
class Task:
    model: str
    about: str
    operator: Operator
    window: int  # of SSIM
    methods: dict[str, int]  # number of answers of each method that samples
    S: int = 50
    closely: tuple[
        str, ...
    ] = ()  # methods whose PSNR is averaged over ANSWERS answers to each image, to tell small differences


TASKS = {
    "digits/inpaint": Task(
        "digits",
        "lower half missing",
        lower_half(8),
        7,
        {"travel 1": 4, "travel 2": 4, "travel 5": 2, "replace": 1},
        closely=("replace", "travel 1", "travel 2"),
    ),
    "digits/upscale": Task("digits", "means of 2 x 2", AveragePool(2), 7, {"travel 1": 1, "travel 2": 4}),
    "fashion-mnist/inpaint": Task(
        "fashion-mnist", "lower half missing", lower_half(28), 11, {"travel 2": 1, "travel 1": 1}, 25
    ),
    "fashion-mnist/upscale": Task("fashion-mnist", "means of 4 x 4", AveragePool(4), 11, {"travel 2": 1}, 25),
    "cifar10-tiny/colourise": Task("cifar10-tiny", "luma given", Grey(), 11, {"travel 2": 2}, 25),
}


class Data:
    """The images of a task, and its model."""

    def __init__(self, task: Task, n: int = N) -> None:
        self.model = load(task.model)
        held = reference_images(self.model, "test")
        chosen = torch.randperm(len(held), generator=generator_for(SEED, 13))[:N] if len(held) > N else torch.arange(N)
        self.x_0 = held[chosen[:n]].float() / 127.5 - 1
        self.y = task.operator.forward(self.x_0)

    def train(self) -> Tensor:
        return reference_images(self.model, "train").float() / 127.5 - 1

    def answer(self, task: Task, method: str, k: int) -> Tensor:
        """The k-th answer to each image."""
        T = self.model.schedule.T
        how = {"eta": ETA, "clip": CLIP}
        tau = make_tau(T - T // 100, task.S, SPACING)
        found = []
        for first in range(0, len(self.y), BATCH):
            y = self.y[first : first + BATCH]
            noise = [generator_for(SEED, 13, first + i, k) for i in range(len(y))]
            args = (self.model.model, task.operator, y, self.model.schedule, tau)
            if method == "replace":
                found.append(replace_known(*args, generator=noise, **how))
            else:
                found.append(restore(*args, generator=noise, travel=int(method.split()[1]), jump=JUMP, **how))
        return torch.cat(found)


def kept(task_name: str, data: Data, method: str, k: int, folder: Path) -> Tensor:
    """An answer from the folder, or made and put there."""
    path = folder / f"{task_name.replace('/', '-')}-{method.replace(' ', '-')}-{k}.pt"
    if not path.exists():
        found = data.answer(TASKS[task_name], method, k)
        with replacing(path) as temporary:
            torch.save(found, temporary)
        print(f"  {path.name}: PSNR {psnr(found.clamp(-1, 1), data.x_0).mean():.2f}", flush=True)
    return torch.load(path)


def baselines(task: Task, data: Data) -> Iterator[tuple[str, Tensor]]:
    """Guesses without a diffusion model. All but the last two agree with what is given."""
    op, y, train = task.operator, data.y, data.train()
    yield "pseudo-inverse", op.pseudo_inverse(y)
    mean = train.mean((0, 2, 3) if isinstance(op, Grey) else 0, keepdim=True).expand_as(data.x_0)
    yield "mean colour" if isinstance(op, Grey) else "mean picture", op.correct(mean.contiguous(), y)
    seen = op.forward(train).flatten(1)
    nearest = torch.cat([torch.cdist(part, seen).argmin(1) for part in y.flatten(1).split(20)])
    yield "nearest neighbour", op.correct(train[nearest], y)
    x, m = train.flatten(1).double(), train.flatten(1).double().mean(0)
    C = (x.T @ x) / len(x) - m[:, None] * m
    A = op.forward(torch.eye(len(m), dtype=torch.float64).view(-1, *train.shape[1:])).flatten(1).T
    A = A[A.abs().sum(1) > 0]  # a mask's observation has rows of zeros
    given = data.x_0.flatten(1).double() @ A.T
    gain = torch.linalg.solve(A @ C @ A.T + RIDGE * torch.eye(len(A), dtype=torch.float64), A @ C).T
    yield "straight line", op.correct((m + (given - A @ m) @ gain.T).view_as(data.x_0).float(), y)
    if isinstance(op, AveragePool):
        yield "bicubic", F.interpolate(y, scale_factor=op.factor, mode="bicubic", align_corners=False)
    if isinstance(op, Grey):
        yield "grey", op.show(y)


def measured(task: Task, x: Tensor, x_0: Tensor, reference: tuple[Tensor, Tensor] | None, y: Tensor) -> dict:
    row, off = {}, (task.operator.forward(x) - y).abs().max().item()
    x = x.clamp(-1, 1)
    for name, each in (("psnr", psnr(x, x_0)), ("ssim", ssim(x, x_0, window=task.window))):
        found = summary(each.tolist())
        row[name] = {"mean": found.mean, "half": found.half, "each": [round(v, 3) for v in each.tolist()]}
    row["sharpness"] = (sharpness(x).mean() / sharpness(x_0).mean()).item()  # 1 is as sharp as the truth
    if reference is not None:
        row["distance"] = frechet_distance(*mean_and_cov(classifier_features(as_saved(x), task.model)), *reference)
    return row | {"off": off}


def as_saved(x: Tensor) -> Tensor:
    return ((x + 1) * 127.5).round() / 127.5 - 1


def several(answers: list[Tensor], x_0: Tensor) -> dict:
    """What averaging answers does, and whether they spread as draws from p(x_0 | y) would."""
    x = torch.stack([a.clamp(-1, 1) for a in answers])
    k, curve = len(x), []
    for j in range(1, k + 1):
        means = torch.stack([x[[(first + i) % k for i in range(j)]].mean(0) for first in range(k if j < k else 1)])
        errors = torch.stack([reconstruction_error(m, x_0) for m in means]).mean(0)
        decibels = torch.stack([psnr(m, x_0) for m in means]).mean(0)
        curve.append(
            {"answers": j, "error": summary(errors.tolist())._asdict(), "psnr": summary(decibels.tolist())._asdict()}
        )
    # If x_0 were one more draw: E |x_0 - mean|^2 = (1 + 1/k) V, and E of the answers' variance = V.
    spread = (x / 2).double().var(0).flatten(1).mean(1) * (1 + 1 / k)
    error = reconstruction_error(x.mean(0), x_0)
    ratio = (spread.mean() / error.mean()).item()
    half = summary(((spread - ratio * error) / error.mean()).tolist()).half
    return {"curve": curve, "spread_over_error": {"ratio": ratio, "half": half}}


def measure(name: str, folder: Path) -> dict:
    task = TASKS[name]
    data = Data(task)
    x_0, y = data.x_0, data.y
    grey = task.model in ("digits", "fashion-mnist")
    reference = mean_and_cov(classifier_features(data.train(), task.model)) if grey else None
    answers = {
        method: [kept(name, data, method, k, folder) for k in range(count)] for method, count in task.methods.items()
    }
    images = dict(baselines(task, data)) | {method: found[0] for method, found in answers.items()}
    for method, found in answers.items():
        if len(found) > 1:
            images[f"{method}, mean of {len(found)}"] = torch.stack([a.clamp(-1, 1) for a in found]).mean(0)
    rows = {method: measured(task, x, x_0, reference, y) for method, x in images.items()}
    rivals = [method for method in rows if method != REFERENCE]
    for what in ("psnr", "ssim"):
        tests = {m: paired(rows[m][what]["each"], rows[REFERENCE][what]["each"]) for m in rivals}
        corrected = holm({m: test.p for m, test in tests.items()})
        for m, test in tests.items():
            rows[m][what]["difference"] = {"mean": test.mean, "half": test.half, "p": test.p, "p_holm": corrected[m]}
    extra = {m: several(found, x_0) for m, found in answers.items() if len(found) > 1}
    closely = {m: [kept(name, data, m, k, folder) for k in range(ANSWERS)] for m in task.closely}
    closely = {m: torch.stack([psnr(x.clamp(-1, 1), x_0) for x in found]).mean(0) for m, found in closely.items()}
    closely = {m: {"answers": ANSWERS, "psnr": [round(v, 3) for v in each.tolist()]} for m, each in closely.items()}
    truth = {"sharpness": 1.0}
    if reference is not None:
        truth["distance"] = frechet_distance(*mean_and_cov(classifier_features(as_saved(x_0), task.model)), *reference)
    for m, row in rows.items():
        print(f"  {m:22} PSNR {row['psnr']['mean']:5.2f} ± {row['psnr']['half']:.2f}  SSIM {row['ssim']['mean']:.3f}  "
              f"sharpness {row['sharpness']:.2f}  distance {row.get('distance', 0):6.2f}  off {row['off']:.0e}",
              flush=True)  # fmt: skip
    for m, found in extra.items():
        print(
            f"  {m}: spread / error",
            found["spread_over_error"],
            [round(c["psnr"]["mean"], 2) for c in found["curve"]],
            flush=True,
        )
    picked = ((x_0[: SHOWN[task.model]] + 1) * 127.5).round().to(torch.uint8)
    shown = {"shape": list(picked.shape), "base64": base64.b64encode(picked.numpy().tobytes()).decode()}
    return {"model": task.model, "taken": task.about, "S": task.S,
            "ssim_window": task.window, "rows": rows, "several": extra, "truth": truth,
            "versions": versions()} | ({"closely": closely} if closely else {}) | (
            {"pictures": shown} if len(picked) else {})  # fmt: skip


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "ddim_edu": ddim_edu.__version__}


PROTOCOL = {
    "command": "python benchmarks/restoration.py",
    "n": N, "seed": SEED, "spacing": SPACING, "top": 0.99, "eta": ETA, "jump": JUMP, "clip": CLIP,
    "labels": "none given",
    "straight_line_ridge": RIDGE,
    "images": "digits: all 200 held out; others: 200 of the 10,000 test images, by randperm of generator_for(0, 13)",
    "pictures": "the first of these images, pixels 0..255: Fashion-MNIST's (Xiao et al. 2017, MIT licence) and "
    "CIFAR-10's (Krizhevsky 2009) test images, the latter reduced to 16 x 16",
}  # fmt: skip


def check(name: str, method: str, out: Path) -> int:
    task = TASKS[name]
    data = Data(task, 4)
    found = psnr(data.answer(task, method, 0).clamp(-1, 1), data.x_0)
    stored = torch.tensor(json.loads(out.read_text(encoding="utf8"))["tasks"][name]["rows"][method]["psnr"]["each"][:4])
    print(f"PSNR now {found.tolist()}\nstored   {stored.tolist()}")
    return int(bool((found - stored).abs().max() > 0.05))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=list(TASKS), choices=[*TASKS, []], metavar="TASK")
    parser.add_argument("--out", type=Path, default=Path("results/restoration.json"))
    parser.add_argument("--keep", type=Path, default=Path("runs/restoration"))
    parser.add_argument("--check", metavar="METHOD", help="make its first answers to four images anew, and compare")
    args = parser.parse_args()
    if args.check:
        return max(check(name, args.check, args.out) for name in args.tasks)
    args.keep.mkdir(parents=True, exist_ok=True)
    args.out.parent.mkdir(exist_ok=True)
    out = check_writable(args.out)
    for name in args.tasks:
        print(name, flush=True)
        found = measure(name, args.keep)
        everything = json.loads(out.read_text(encoding="utf8")) if out.exists() else {}
        everything["protocol"] = PROTOCOL
        everything.setdefault("tasks", {})[name] = found
        with replacing(out) as temporary:
            text = json.dumps(everything, indent=1)
            text = re.sub(
                r"\[[\s\d.,-]+\]", lambda numbers: " ".join(numbers[0].split()), text
            )  # lists of numbers on one line
            temporary.write_text(text + "\n", encoding="utf8")
    print(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
