"""What does each trick buy? The two-core speed run: so many minutes of training, one change at a time.

    python benchmarks/speedrun.py --speeds           first, on a quiet machine: how fast each entry trains
    python benchmarks/speedrun.py NAME --inception W.pth [--seed 0] [--parent OTHER] [--strip FILE.png]
    python benchmarks/speedrun.py NAME --tiny        a rehearsal: digits, 300 steps, 64 samples, no Inception
    python benchmarks/speedrun.py --list             the entries, as a tree
    python benchmarks/speedrun.py --table            the ledger

speedrun.md, beside this file, says what is measured and how. To add a line to the ledger, add an entry to ENTRIES and
run it.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from speedrun_judges import SAMPLES, judge, to_depth, to_space
from torch import Tensor, nn

from ddim_edu.commands.options import closest, fail, run
from ddim_edu.data.pictures import save_grid
from ddim_edu.data.registry import load_data
from ddim_edu.data.source import ImageData
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.features import inception
from ddim_edu.measuring.result import versions
from ddim_edu.models import checkpoint, load_classifier
from ddim_edu.nets.unet import UNetConfig
from ddim_edu.schedule import NoiseSchedule
from ddim_edu.training.parts import ema_update
from ddim_edu.training.recipes import Recipe, changes, recipe_to_dict
from ddim_edu.training.run_folder import STATE
from ddim_edu.training.trainer import Progress, Trainer
from ddim_edu.training.watch import NonFiniteLoss

MARKS = (1 / 8, 1 / 4, 1 / 2, 1)  # shares of the steps after which --strip draws a row
SAVE_EVERY = 50  # steps
SPEEDS = Path("results/speedrun_speeds.json")
ROUNDS, ROUND_SECONDS = 3, 8.0  # of --speeds: how often each entry has its turn, and for how long


@dataclass(frozen=True)
class Speedrun(Recipe):
    """A recipe whose schedule may be shifted: ``shift`` is added to all log-SNRs (Hoogeboom et al. 2023, simple
    diffusion).
    """

    shift: float = 0.0

    def noise_schedule(self) -> NoiseSchedule:
        """The schedule that the recipe names, shifted."""
        plain = super().noise_schedule()
        abar = torch.cat([torch.ones(1).double(), (plain.snr[1:].log() + self.shift).sigmoid()])
        return NoiseSchedule.from_betas((1 - abar[1:] / abar[:-1]).clamp(max=0.999)) if self.shift else plain


_FACES = Speedrun(
    data="faces",
    schedule="cosine",
    unet=UNetConfig(32, 3, ch=48, ch_mult=(1, 2, 3), num_res_blocks=1, attn_resolutions=(8,), dropout=0.0, groups=16),
    steps=300,  # of a rehearsal; else as many as the time pays for
    batch=64,
    lr=2e-3,
    warmup=100,
    lr_final=0.0,
    ema=0.99,
    label_dropout=0.1,
    precision="float32",
    compile="off",
    sample_every=10**9,
    save_every=10**9,
)
_PHOTOS = UNetConfig(ch=64, ch_mult=(1, 2, 2, 2), dropout=0.0)
_DIGITS = replace(_FACES.unet, image_size=8, image_channels=1, ch=16, attn_resolutions=(2,))
BASES = {  # what the entries change, and how many seconds of one core they have; the number of classes is the data's
    "faces": (_FACES, 1440),
    "cifar10": (replace(_FACES, data="cifar10", flip=True, unet=_PHOTOS), 3600),
    "digits": (replace(_FACES, data="digits", unet=_DIGITS, warmup=10), 20),
}


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon for the matrices between the first and the last layer, Adam for all else, at one learning rate.

    A kernel (out, in, h, w) is the matrix (out, h w in), as it lies in memory when channels are last; the order of
    columns is nothing to Muon. Its steps are scaled to the size of Adam's (``match_rms_adamw``).
    """

    def __init__(self, model: nn.Module, lr: float) -> None:
        outer = ("conv_in", "conv_out", "label_embedding")
        inner = {name: p for name, p in model.named_parameters() if p.ndim > 1 and not name.startswith(outer)}
        rest = [p for name, p in model.named_parameters() if name not in inner]
        self.kernels = list(inner.values())
        self.matrices = [_matrix(p.detach()).requires_grad_() for p in self.kernels]
        if any(matrix.data_ptr() != p.data_ptr() for matrix, p in zip(self.matrices, self.kernels)):
            raise ValueError("Muon needs kernels with channels last: its matrices have to be views of them")
        self.parts = [
            torch.optim.Muon(self.matrices, lr=lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.Adam(rest, lr=lr, fused=True),
        ]
        super().__init__(model.parameters(), {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step of both, with the learning rate of this optimiser's group."""
        for kernel, matrix in zip(self.kernels, self.matrices):
            matrix.grad = _matrix(kernel.grad)
        for part in self.parts:
            part.param_groups[0]["lr"] = self.param_groups[0]["lr"]
            part.step()


def _matrix(kernel: Tensor) -> Tensor:
    return kernel.flatten(1) if kernel.ndim == 2 else kernel.permute(0, 2, 3, 1).flatten(1)


@dataclass(frozen=True)
class Entry:
    """A change of the parent's recipe, in one respect."""

    parent: str | None
    about: str
    recipe: Mapping[str, Any] = field(default_factory=dict)  # fields of the recipe
    unet: Mapping[str, Any] = field(default_factory=dict)  # fields of its network
    optimizer: Callable[[nn.Module, float], torch.optim.Optimizer] | None = None  # of (model, lr); None: the recipe's
    horizons: tuple[float, ...] = ()  # decays of further averages; the one of the least held-out v-loss is judged
    warm: float = 0.0  # share of the time that is spent at half the resolution, first
    to_depth: bool = False  # squares of 2 x 2 pixels become channels, in place of the network's finest level


SAME_WORK = {"prediction", "weighting", "schedule", "shift", "lr"}  # fields that change nothing in the work of a step
HOOKS = ("optimizer", "horizons", "warm", "to_depth")  # an entry has those of its parents too

# One change each. --parent runs the same change from another entry: from the best so far, once that is known.
ENTRIES = {
    "eps": Entry(None, "the network predicts the noise, all levels alike: L_simple"),
    "v": Entry("eps", "it predicts v, whose squared error is the loss (Salimans and Ho 2022)", {"prediction": "v"}),
    "v-eps-loss": Entry("v", "v, with the squared error of the noise as the loss", {"weighting": "eps"}),
    "min-snr": Entry("v", "v, weighed by min-SNR with cap 5 (Hang et al. 2023)", {"weighting": "min-snr"}),
    "bf16": Entry("v", "bf16 in the network, float32 in weights and optimiser", {"precision": "bf16"}),
    "compile": Entry("bf16", "torch.compile; the time it takes counts", {"compile": "on"}),
    "linear": Entry("bf16", "DDPM's linear schedule", {"schedule": "linear"}),
    "less-noise": Entry("bf16", "log-SNR + 2 log(64/32), simple diffusion's for 32 pixels", {"shift": 2 * math.log(2)}),
    "more-noise": Entry("bf16", "log-SNR - 2 log 2, the shift the other way", {"shift": -2 * math.log(2)}),
    "batch-32": Entry("bf16", "half the batch, lr over the root of 2", {"batch": 32, "lr": 2e-3 / 2**0.5}),
    "batch-128": Entry("bf16", "twice the batch, lr times the root of 2", {"batch": 128, "lr": 2e-3 * 2**0.5}),
    "lr-1e-3": Entry("bf16", "half the learning rate", {"lr": 1e-3}),
    "lr-4e-3": Entry("bf16", "twice the learning rate", {"lr": 4e-3}),
    "muon": Entry("bf16", "torch.optim.Muon for the matrices (Jordan et al. 2024)", optimizer=Muon),
    "dropout": Entry("bf16", "dropout 0.1", unet={"dropout": 0.1}),
    "horizons": Entry("bf16", "six averages, the best by v-loss", horizons=(0.95, 0.98, 0.995, 0.998, 0.999)),
    "warm-start": Entry("bf16", "the first quarter of the time at half the resolution", warm=0.25),
    "space-to-depth": Entry("bf16", "2 x 2 pixels become channels, in place of the finest level", to_depth=True),
    "wide": Entry("bf16", "64 channels on two levels", unet={"ch": 64, "ch_mult": (1, 2), "attn_resolutions": ()}),
    "deep": Entry("bf16", "32 channels, three blocks a level", unet={"ch": 32, "num_res_blocks": 3}),
}


def resolve(name: str, on: str = "faces", parent: str | None = None, classes: int = 0) -> tuple[Speedrun, Entry]:
    """The recipe of an entry, and the entry with all that those above it ask for.

    Args:
        name: Of the entry.
        on: Of the base.
        parent: Another parent than the entry's own.
        classes: Of the data.

    Raises:
        ValueError: If there is no such entry or base, or the changes don't go together.
    """
    for word, known in ((name, ENTRIES), (parent or name, ENTRIES), (on, BASES)):
        if word not in known:
            raise ValueError(f"there is no {word!r}{closest(word, known)} (known: {', '.join(known)})")
    line = [replace(ENTRIES[name], parent=parent or ENTRIES[name].parent)]
    while line[0].parent is not None:
        line.insert(0, ENTRIES[line[0].parent])
    recipe, hooks = replace(BASES[on][0], unet=replace(BASES[on][0].unet, classes=classes)), {}
    for above in line:
        recipe = replace(recipe, unet=replace(recipe.unet, **above.unet), **above.recipe)
        hooks |= {hook: value for hook in HOOKS if (value := getattr(above, hook))}
    entry = replace(line[-1], **hooks)
    if entry.to_depth:
        net = recipe.unet
        half, attention = net.image_size // 2, tuple(r for r in net.attn_resolutions if r < net.image_size)
        coarse = {"image_size": half, "image_channels": 4 * net.image_channels, "ch_mult": net.ch_mult[1:]}
        recipe = replace(recipe, unet=replace(net, **coarse, attn_resolutions=attention))
    if entry.optimizer is Muon and not hasattr(torch.optim, "Muon"):
        raise ValueError(f"torch {torch.__version__} has no Muon: it needs 2.9")
    return recipe, entry


def halved(images: Tensor) -> Tensor:
    """``(B, C, 2H, 2W)`` uint8 -> ``(B, C, H, W)`` uint8: the mean of each square, rounded."""
    return torch.cat([F.avg_pool2d(part.float(), 2).round().to(torch.uint8) for part in images.split(1000)])


def each(data: ImageData, change: Callable[[Tensor], Tensor]) -> ImageData:
    """A data set with all its images changed."""
    return replace(data, train=change(data.train), heldout=change(data.heldout))


class Run:
    """A trainer as an entry asks for it, with its own optimiser and further averages."""

    def __init__(self, recipe: Speedrun, entry: Entry, data: ImageData, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.trainer = Trainer.start(recipe, folder, data=each(data, to_depth) if entry.to_depth else data)
        if entry.optimizer is not None:
            self.trainer.optimizer = entry.optimizer(self.trainer.model, recipe.lr)
            self.trainer.stepper = self.trainer.accelerator.prepare(self.trainer.optimizer)
        if (folder / STATE).exists():  # a run that was stopped goes on, to the same weights
            self.trainer._read_state()
        self.averages = {decay: copy.deepcopy(self.trainer.averaged) for decay in entry.horizons}
        for decay, average in self.averages.items():
            average.multi_avg_fn = ema_update(decay)

    def __iter__(self) -> Iterator[Progress]:
        """Train, a step at a time."""
        for progress in self.trainer.run():
            for average in self.averages.values():
                average.update_parameters(self.trainer.model)
            yield progress


def phases(recipe: Speedrun, entry: Entry, data: ImageData) -> list[tuple[float, Speedrun, ImageData]]:
    """What is trained one after the other: (share of the time, recipe, images)."""
    if not entry.warm:
        return [(1.0, recipe, data)]
    net, half = recipe.unet, recipe.unet.image_size // 2
    net = replace(net, image_size=half, attn_resolutions=tuple(r // 2 for r in net.attn_resolutions))
    return [(entry.warm, replace(recipe, unet=net), each(data, halved)), (1 - entry.warm, recipe, data)]


def speeds(asked: list[tuple[str, str | None]], on: str, data: ImageData, folder: Path) -> list[dict[str, Any]]:
    """How long a step takes: the base and all entries asked for have their turns one after the other, several times.

    Args:
        asked: Entries, and parents other than their own or None.
        on: Of the base.
        data: The images.
        folder: Where run folders may go.

    Returns:
        A row for each entry: ``setup``, the seconds before the first step (compiling among them), and ``step``, the
        median seconds of a step, both for each of its phases; ``base_step``, the base's in the same minutes.
    """
    asked, runs, setup, times = [("eps", None), *asked], {}, {}, {}
    for name, parent in asked:
        recipe, entry = resolve(name, on, parent, len(data.classes))
        for i, (_, phase, images) in enumerate(phases(recipe, entry, data)):
            key, began = (name, parent, i), time.perf_counter()
            runs[key] = iter(Run(replace(phase, steps=10**9), entry, images, folder / "-".join(map(str, key))))
            next(runs[key]), next(runs[key])
            setup[key], times[key] = time.perf_counter() - began, []
    for _ in range(ROUNDS):
        for key, steps in runs.items():
            next(steps)  # what it needs is in the caches again
            until = time.perf_counter() + ROUND_SECONDS
            while (began := time.perf_counter()) < until:
                next(steps)
                times[key].append(time.perf_counter() - began)
    step = {key: statistics.median(values) for key, values in times.items()}
    return [
        {
            "on": on,
            "entry": name,
            "parent": parent or ENTRIES[name].parent,
            "setup": [max(0.0, setup[key] - 2 * step[key]) for key in runs if key[:2] == (name, parent)],
            "step": [step[key] for key in runs if key[:2] == (name, parent)],
            "base_step": step["eps", None, 0],
            **machine(),
        }
        for name, parent in dict.fromkeys(asked)
    ]


def _own_work(entry: Entry) -> bool:
    return bool(entry.unet) or any(getattr(entry, hook) for hook in HOOKS)


def steps_of(entry: Entry, name: str, on: str, rows: list[dict[str, Any]]) -> list[int]:
    """How many steps an entry's seconds pay for, in each of its phases.

    One that differs from its parent only in what a step computes, not in how much, takes the parent's number: timings
    of equal work differ by some percent. An entry that was timed elsewhere, or on another day, is timed relative to the
    base there; the base's own first timing says how long that is here.

    Raises:
        ValueError: If the entry was not timed.
    """
    rows = [row for row in rows if row["on"] == on]
    while entry.parent is not None and set(ENTRIES[name].recipe) <= SAME_WORK and not _own_work(ENTRIES[name]):
        name, entry = entry.parent, resolve(entry.parent, on)[1]
    own = [row for row in rows if (row["entry"], row["parent"]) == (name, entry.parent)]
    if not own:
        raise ValueError(f"nobody has timed {name} below {entry.parent} on {on}: run --speeds on a quiet machine first")
    scale = next(row["step"][0] for row in rows if row["entry"] == "eps") / own[0]["base_step"]
    shares = [entry.warm, 1 - entry.warm] if entry.warm else [1.0]
    return [
        round((share * BASES[on][1] - scale * setup) / (scale * step))
        for share, setup, step in zip(shares, own[0]["setup"], own[0]["step"])
    ]


def train(
    recipe: Speedrun, entry: Entry, data: ImageData, steps: list[int], folder: Path, strip: Path | None
) -> dict[str, Any]:
    """Train for so many steps, the learning rate falling to 0 at their end, and write the weights.

    Args:
        recipe: What to train.
        entry: Its hooks.
        data: The images.
        steps: Of each phase.
        folder: Where the weights go.
        strip: Where a picture of samples along the way goes; of a run that goes on, from there on.

    Returns:
        What was done: steps, images seen, parameters, files of weights.
    """
    marks, shown, state, before = list(MARKS if strip else ()), [], None, 0.0
    plan = phases(recipe, entry, data)
    for i, ((share, recipe, images), n) in enumerate(zip(plan, steps)):
        folder_of_phase = folder if i == len(plan) - 1 else folder / "half"
        every = n if any(getattr(entry, hook) for hook in HOOKS) else SAVE_EVERY  # hooks have states of their own
        run = Run(replace(recipe, steps=n, save_every=every), entry, images, folder_of_phase)
        if state is not None:
            run.trainer.model.load_state_dict(state)

        def lr_at(
            step: int, recipe: Speedrun = recipe, n: int = n, share: float = share, before: float = before
        ) -> float:
            rise, passed = min(1.0, (step + 1) / recipe.warmup), before + share * step / n
            return recipe.lr * rise * 0.5 * (1 + math.cos(math.pi * passed))

        run.trainer.lr_at = lr_at
        for progress in run:
            if progress.mean_loss is not None:
                print(f"{progress.step:7,} of {n:,} steps  loss {progress.mean_loss:.4f}", flush=True)
            while marks and before + share * progress.step / n >= marks[0]:
                marks.pop(0)
                x = to_space(run.trainer.samples(8)) if entry.to_depth else run.trainer.samples(8)
                shown.append(F.interpolate(x, data.train.shape[-1]))
        state, before = run.trainer.model.state_dict(), before + share
    files = [checkpoint.NAME]
    for decay, average in run.averages.items():
        files.append(f"ema-{decay}.safetensors")
        about = {"prediction": recipe.prediction, "recipe": recipe_to_dict(run.trainer.recipe), "step": n}
        checkpoint.save(folder / files[-1], average.module.state_dict(), recipe.unet, run.trainer.schedule, **about)
    if strip:
        save_grid(torch.cat(shown), strip, columns=8)
    found = {"steps": sum(steps), "images": sum(steps) * recipe.batch}
    return found | {"parameters": sum(p.numel() for p in run.trainer.model.parameters()), "files": files}


def machine() -> dict[str, Any]:
    """What a row says of where it was made."""
    found = {"threads": torch.get_num_threads(), "processor": processor()}
    return found | {"versions": versions() | {"python": platform.python_version()}}


def processor() -> str:
    """The processor's name, as the system has it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def table(rows: list[dict]) -> str:
    """The ledger as text: for each data set the best first, by KID, or else by v-loss; what failed last."""
    form = "{:8}{:16}{:12}{:>5}{:>9}{:>10}{:>17}{:>8}{:>9}{:>10}  {}".format
    lines = [form("on", "entry", "parent", "seed", "steps", "images", "KID x 1000", "styles", "v-loss", "eps-loss", "")]
    for row in sorted(rows, key=lambda r: (r["on"], *(r["result"].get(k, math.inf) for k in ("kid", "v_loss")))):
        values = row["train"] | row["result"]
        if "kid" in values:
            values["distance"] = f"{1000 * values['kid']:.2f} +- {1000 * values['kid_standard_error']:.2f}"
        digits = {
            "steps": ",",
            "images": ",",
            "distance": "",
            "style_share": ".1%",
            "v_loss": ".4f",
            "eps_loss": ".5f",
        }
        shown = [format(values[key], digits[key]) if key in values else "" for key in digits]
        lines.append(form(row["on"], row["entry"], row["parent"] or "", row["seed"], *shown, values.get("failed", "")))
    return "\n".join(line.rstrip() for line in lines)


def tree(parent: str | None = None, depth: int = 0) -> list[str]:
    """The entries below one, a line each."""
    below = [(name, entry) for name, entry in ENTRIES.items() if entry.parent == parent]
    return [s for name, e in below for s in (f"{'  ' * depth + name:20} {e.about}", *tree(name, depth + 1))]


def main(arguments: list[str] | None = None) -> int:
    """Run an entry, time the entries, or show what there is.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="speedrun.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="?", help="an entry; --list shows all")
    parser.add_argument("--list", action="store_true", help="show the entries")
    parser.add_argument("--table", action="store_true", help="show the ledger")
    parser.add_argument("--speeds", action="store_true", help="time the entry beside the base; without a name, all")
    parser.add_argument("--on", default="faces", help=f"what to train on: {', '.join(BASES)}")
    parser.add_argument("--parent", help="another parent for the entry: the same change, from another recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="of training; by default what its seconds pay for")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--inception", type=Path, help="the weights of Inception, in torch-fidelity's form")
    parser.add_argument("--strip", type=Path, help="a picture to write: samples at 1/8, 1/4, 1/2 and all of the steps")
    parser.add_argument("--ledger", type=Path, help="by default results/speedrun.json; with --tiny, a file in --runs")
    parser.add_argument("--runs", type=Path, default=Path("runs/speedrun"), help="where run folders go")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: digits, 300 steps, 64 samples, no Inception")
    options = parser.parse_args(arguments)
    options.on = "digits" if options.tiny else options.on
    options.ledger = options.ledger or (options.runs / "tiny.json" if options.tiny else Path("results/speedrun.json"))
    torch.set_num_threads(options.threads)
    try:
        if options.list or options.table or (options.name is None and not options.speeds):
            print(table(rows_of(options.ledger)) if options.table else "\n".join(tree()))
        elif options.speeds:
            asked = [(options.name, options.parent)] if options.name else [(name, None) for name in ENTRIES]
            resolve(*asked[0][:1], options.on, options.parent)
            check_writable(SPEEDS)
            add_rows(SPEEDS, speeds(asked, options.on, data_of(options), options.runs / "speeds"))
        else:
            row = measured(options)
            add_rows(options.ledger, [row])
            print(table([row]))
    except (ValueError, OSError) as error:
        return fail(error)
    return 0


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a ledger; none if there is no file."""
    return json.loads(path.read_text(encoding="utf8"))["rows"] if path.exists() else []


def add_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write further rows. What is there is read now: two seeds may run at a time."""
    how = "--speeds" if path == SPEEDS else "NAME --inception W.pth"  # each row of the ledger has its own besides
    file = {"command": f"python benchmarks/speedrun.py {how}", "rows": rows_of(path) + rows}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(file, indent=1) + "\n", encoding="utf8")


def data_of(options: argparse.Namespace) -> ImageData:
    """The images."""
    net = BASES[options.on][0].unet
    form = {"size": net.image_size, "channels": net.image_channels} if options.on != "digits" else {}
    return load_data(options.on, data_dir=options.data_dir, **form)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Train and judge: a row of the ledger. Whatever the user may have got wrong is found before training."""
    on, name = options.on, options.name
    _, entry = resolve(name, on, options.parent)
    if options.steps is not None and options.steps < 1:
        raise ValueError(f"--steps {options.steps}: give a number of steps above 0")
    if options.inception is None and not options.tiny:
        raise ValueError("KID needs the weights of Inception: --inception W.pth (--tiny rehearses without)")
    if options.inception is not None:
        inception(options.inception)
    given = options.steps or (BASES[on][0].steps if options.tiny else None)
    if given is None:
        limit, steps = f"{BASES[on][1]} s", steps_of(entry, name, on, rows_of(SPEEDS))
    else:
        early = round(entry.warm * given)
        limit, steps = f"{given} steps", [early, given - early] if entry.warm else [given]
    if on != "cifar10":
        load_classifier(on)
    options.runs.mkdir(parents=True, exist_ok=True)
    for path in (options.ledger, options.strip or options.ledger):
        check_writable(path)
    key = {"on": on, "entry": name, "parent": entry.parent, "seed": options.seed, "limit": limit}
    if any(all(row[k] == v for k, v in key.items()) for row in rows_of(options.ledger)):
        raise ValueError(f"{options.ledger} has that row already: delete it there to run {name} again")
    data = data_of(options)
    recipe, entry = resolve(name, on, options.parent, len(data.classes))
    recipe, root = replace(recipe, seed=options.seed), resolve("eps", on, classes=len(data.classes))[0]
    folder = options.runs / "-".join(str(v).replace(" ", "") for v in key.values())
    done, n = folder / "train.json", 64 if options.tiny else SAMPLES
    try:
        if not done.exists():  # or else the run was killed while it was judged
            found = train(recipe, entry, data, steps, folder, options.strip)
            with replacing(done) as temporary:
                temporary.write_text(json.dumps(found), encoding="utf8")
        found = json.loads(done.read_text(encoding="utf8"))
        files = [folder / name for name in found.pop("files")]
        result = judge(files, on, root.noise_schedule(), entry.to_depth, data, n, options.inception)
    except NonFiniteLoss as error:  # a result too
        found, result = {}, {"failed": str(error).split("; ")[0]}
    how = "--tiny" if options.tiny else f"--on {on} --inception W.pth"
    how += f" --seed {options.seed}" + (f" --parent {options.parent}" if options.parent else "")
    how += "" if options.steps is None else f" --steps {options.steps}"
    return {
        "command": f"python benchmarks/speedrun.py {name} {how}",
        **key,
        "about": entry.about,
        "changes": changes(replace(root, seed=options.seed), recipe),
        "hooks": {k: getattr(v, "__name__", v) for k in HOOKS if (v := getattr(entry, k))},
        "train": found,
        "samples": n,
        "result": result,
        **machine(),
    }


if __name__ == "__main__":
    run(main)
