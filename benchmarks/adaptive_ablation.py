"""Does the adaptive-step loss help? The runs of results/adaptive_ablation.md, whose protocol was written before them.

    python benchmarks/adaptive_ablation.py digits                             every cell that is missing, one after the
    other python benchmarks/adaptive_ablation.py fashion-mnist --only mended-1 3    one loss and seed python
    benchmarks/adaptive_ablation.py digits --only mended-1 3 --check   that cell anew, held against its row python
    benchmarks/adaptive_ablation.py digits --table                     what there is, analysed

A cell is trained in runs/ablation/ (which git ignores), judged, and written into results/adaptive_ablation_DATA.json.
Several of these commands can run at once: a cell belongs to the one that made its folder.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from ddim_edu import __version__
from ddim_edu.data.source import ImageData
from ddim_edu.files import replacing
from ddim_edu.losses import eps_error
from ddim_edu.measuring.metrics import classifier_features, frechet_distance, kid, mean_and_cov, sharpness
from ddim_edu.measuring.statistics import holm, paired, summary
from ddim_edu.models import Checkpoint, load, load_classifier
from ddim_edu.randomness import generator_for, image_generators
from ddim_edu.sampler import sample
from ddim_edu.schedule import make_tau
from ddim_edu.training.recipes import RECIPES, Recipe, recipe_to_dict
from ddim_edu.training.trainer import Trainer

ROOT = Path(__file__).parent.parent
SEEDS = range(5)
LOSSES = {
    "mse": {},
    "placebo": {"loss": "published", "lam": 1e-6},
    "published": {"loss": "published", "lam": 0.1},
    "mended-0.3": {"loss": "mended", "lam": 0.3},
    "mended-1": {"loss": "mended", "lam": 1.0},
    "mended-10": {"loss": "mended", "lam": 10.0},
    "min-snr": {"weighting": "min-snr"},
}
FASHION = RECIPES["fashion-mnist"]
BASES = {
    "digits": replace(RECIPES["digits"], prediction="eps"),  # as the recipe was when the rows were measured
    "fashion-mnist": replace(FASHION, unet=replace(FASHION.unet, ch=16, ch_mult=(1, 2, 2)), steps=500),
}
HELDOUT = {"digits": (200, 50), "fashion-mnist": (500, 10)}  # images, levels for each
SAMPLES = {"digits": 2000, "fashion-mnist": 1000}
REFERENCE = 10_000  # training images at most
BINS = 10
_HELDOUT, _KID = 801, 802  # first words of the keys of this file's random streams


def recipe_of(data: str, loss: str, seed: int) -> Recipe:
    """The recipe of a cell; no pictures are drawn and nothing is saved before the end."""
    base = BASES[data]
    return replace(base, **LOSSES[loss], seed=seed, log_every=10, sample_every=base.steps, save_every=base.steps)


def train(recipe: Recipe, folder: Path) -> tuple[float, ImageData]:
    """Train a cell in an empty folder; the mean loss over the last tenth of the steps, and the data."""
    trainer = Trainer.start(recipe, folder)
    losses = [float(record.loss) for record in trainer.run()]
    trainer.close()
    return sum(losses[-(len(losses) // 10) :]) / (len(losses) // 10), trainer.data


@torch.no_grad()
def heldout_mse(model: Checkpoint, data: str, images: ImageData) -> list[float]:
    """The plain MSE in bins of levels, at (x, t, eps) that are the same for every model."""
    n, draws = HELDOUT[data]
    x = images.floats(images.heldout[:n]).repeat(draws, 1, 1, 1)
    labels = images.heldout_labels[:n].repeat(draws)
    generator = generator_for(0, _HELDOUT)
    t = torch.linspace(1, model.schedule.T, n * draws).round().long()[torch.randperm(n * draws, generator=generator)]
    eps = torch.randn(x.shape, generator=generator)
    error = torch.cat(
        [
            eps_error(
                model.eps_theta(labels[i : i + 500]), x[i : i + 500], t[i : i + 500], eps[i : i + 500], model.schedule
            )
            for i in range(0, len(x), 500)
        ]
    ).double()
    bins = (t - 1) * BINS // model.schedule.T
    return [error[bins == b].mean().item() for b in range(BINS)]


def draw(model: Checkpoint, n: int, batch: int = 250) -> torch.Tensor:
    """Samples as the protocol says."""
    tau = make_tau(model.schedule.T, 20, "leading")
    parts = []
    for i in range(0, n, batch):
        labels = torch.arange(i, min(i + batch, n)) % 10
        generators = image_generators(0, i, i + len(labels))
        shape = (len(labels), *model.image_shape)
        parts.append(
            sample(model.eps_theta(labels), shape, model.schedule, tau, eta=0.0, clip=1.0, generator=generators)
        )
    return torch.cat(parts)


def judge(model: Checkpoint, data: str, images: ImageData) -> dict:
    """Every outcome of the protocol but the training loss."""
    bins = heldout_mse(model, data, images)
    made, real = draw(model, SAMPLES[data]), images.floats(images.train[:REFERENCE])
    classifier = load_classifier(data)
    features, reference = classifier_features(made, classifier), classifier_features(real, classifier)
    distance = frechet_distance(*mean_and_cov(features), *mean_and_cov(reference))
    discrepancy, _ = kid(features, reference, subsets=50, subset_size=500, generator=generator_for(0, _KID))
    return {
        "heldout_mse": sum(bins) / BINS,
        "heldout_mse_bins": bins,
        "classifier_distance": distance,
        "kid": discrepancy,
        "sharpness_ratio": (sharpness(made).mean() / sharpness(real).mean()).item(),
    }


def run(data: str, loss: str, seed: int, folder: Path) -> dict:
    """One cell: train, judge, and what is to be written."""
    torch.set_num_threads(1)
    began, recipe = time.process_time(), recipe_of(data, loss, seed)
    mean_loss, images = train(recipe, folder)
    row = {"loss": loss, "seed": seed, "training_loss": mean_loss, **judge(load(folder), data, images)}
    about = {"recipe": recipe_to_dict(recipe), "ddim_edu": __version__, "torch": torch.__version__}
    return row | {"cpu_seconds": round(time.process_time() - began), **about}


def results_file(data: str) -> Path:
    return ROOT / "results" / f"adaptive_ablation_{data}.json"


def read(data: str) -> dict:
    """The rows so far, by (loss, seed)."""
    path = results_file(data)
    rows = json.loads(path.read_text(encoding="utf8"))["rows"] if path.exists() else []
    return {(row["loss"], row["seed"]): row for row in rows}


def add(data: str, row: dict) -> None:
    """Put a row into the results, also while other processes do."""
    with open(ROOT / "runs" / "ablation" / f"{data}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = read(data) | {(row["loss"], row["seed"]): row}
        ordered = [rows[key] for key in sorted(rows, key=lambda k: (list(LOSSES).index(k[0]), k[1]))]
        about = {
            "protocol": "results/adaptive_ablation.md",
            "command": f"python benchmarks/adaptive_ablation.py {data}",
        }
        with replacing(results_file(data)) as temporary:
            temporary.write_text(json.dumps(about | {"rows": ordered}, indent=1) + "\n", encoding="utf8")


def table(data: str) -> None:
    """Means, intervals and paired tests, as the protocol says."""
    rows = read(data)
    for outcome in ("heldout_mse", "classifier_distance", "kid", "sharpness_ratio", "training_loss"):
        print(
            f"\n{data}: {outcome}\n"
            f"{'loss':12}{'n':>3}  {'mean':>9}  95%        difference to mse  95%       p (paired)  Holm"
        )
        found = {loss: {seed: rows[loss, seed][outcome] for seed in SEEDS if (loss, seed) in rows} for loss in LOSSES}
        tests = {}
        for loss, values in found.items():
            both = [seed for seed in values if seed in found["mse"]]
            if loss != "mse" and len(both) > 1:
                tests[loss] = paired([values[seed] for seed in both], [found["mse"][seed] for seed in both])
        corrected = holm({loss: test.p for loss, test in tests.items()})
        for loss, values in found.items():
            if not values:
                continue
            n, mean, half = summary(list(values.values()))
            line = f"{loss:12}{n:3}  {mean:9.5f}  {half:8.5f}"
            if loss in tests:
                _, change, half, p = tests[loss]
                line += f"   {change:+12.5f}    {half:8.5f}    {p:8.4f}   {corrected[loss]:.3f}"
            print(line)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=BASES)
    parser.add_argument("--only", nargs=2, metavar=("LOSS", "SEED"))
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        table(options.data)
        return 0
    # Seeds in the outer loop: an interrupted table has whole pairs.
    cells = [(loss, seed) for seed in SEEDS for loss in LOSSES]
    if options.only:
        cells = [(options.only[0], int(options.only[1]))]
    if options.check:
        return check(options.data, *cells[0])
    home = ROOT / "runs" / "ablation" / options.data
    home.mkdir(parents=True, exist_ok=True)
    for loss, seed in cells:
        folder = home / f"{loss}-{seed}"
        if (loss, seed) in read(options.data) or folder.exists():
            continue
        folder.mkdir()
        try:
            row = run(options.data, loss, seed, folder)
        except BaseException:  # also Ctrl-C: the next command is to start this cell anew
            shutil.rmtree(folder)
            raise
        add(options.data, row)
        print({k: v for k, v in row.items() if k not in ("recipe", "heldout_mse_bins")}, flush=True)
    return 0


def check(data: str, loss: str, seed: int) -> int:
    """Run a cell again; 1 if an outcome differs by more than rounding on another machine may: losses by 0.1%, judged
    samples by 2%.
    """
    before = read(data)[loss, seed]
    with tempfile.TemporaryDirectory() as folder:
        row = run(data, loss, seed, Path(folder))
    allowed = {
        "training_loss": 1e-3,
        "heldout_mse": 1e-3,
        "classifier_distance": 0.02,
        "kid": 0.02,
        "sharpness_ratio": 0.02,
    }
    wrong = []
    for name, most in allowed.items():
        change = row[name] / before[name] - 1
        if not abs(change) <= most:
            wrong.append(name)
        print(
            f"{name:20} {before[name]:.6f}  again {row[name]:.6f}  {change:+.3%}"
            f"{'' if row[name] != before[name] else ', bit for bit'}"
        )
    print("the row is reproduced" if not wrong else f"differs: {', '.join(wrong)}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
