"""What lies between two latents, and around one? The measurements of chapter 12.

    python benchmarks/interpolation.py [MODEL ...] [--pieces norms steps ...] [--again] [--out
    results/interpolation.json]

For each model that is named (``digits``, ``fashion-mnist``) the pieces are measured one by one; each takes its place in
the file when it is done, so that a stopped run goes on where it was. All noise is a function of a fixed seed and a
piece's number.

- norms: latents drawn from the standard normal, multiplied by r, decoded; r = sqrt(1/2) is the middle of a straight
  line.
- steps: the same latents decoded in S steps, against the finest S; and at several eta, against eta = 0.
- real: held-out images encoded; how large their latents are, what rescaling does, what lies half-way between two
  classes.
- shift: an image moved two ways, and whether the frame half-way is the image not moved.
- classes: the mean latent of another class minus that of the image's own, added; and the same with pixels.
- ink: the mean latent of bright images minus that of dark ones, added.
- noise: seven frames between drawn latents at eta = 1 with fresh, shared, and interpolated noise.
- speed: how evenly pictures change along an arc.

Drawn latents start at level 990 and latents of images at level 900 (the cosine schedule's last levels multiply a
network's error). Images are clipped to [-1, 1] and rounded to 256 values before they are looked at. Intervals are
Student's, of 95%, over images, pairs or arcs (pairs are drawn from 200 images, so that some share one); the standard
error of a classifier distance is found by resampling the images.
"""

from __future__ import annotations

import argparse
import base64
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

import ddim_edu
from ddim_edu.apps.interpolate import angle, direction, lerp, move, slerp
from ddim_edu.data.registry import load_data
from ddim_edu.data.source import ImageData
from ddim_edu.exact import Gaussian
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.metrics import frechet_distance, mean_and_cov, sharpness
from ddim_edu.measuring.statistics import paired, summary
from ddim_edu.models import classifier_features, load, load_classifier
from ddim_edu.randomness import generator_for
from ddim_edu.sampler import ddim_step, decode, invert
from ddim_edu.schedule import make_tau

SEED = 12
DRAWN, REAL = 990, 900  # the level where latents live that were drawn, and that were found
BATCH = 100
RESAMPLES = 50


@dataclass(frozen=True)
class Sizes:
    """How much is measured with a model; what stands in the file says it again."""

    S: int  # of drawn latents
    S_real: int
    norms: tuple[float, ...]
    drawn: int
    steps: tuple[int, ...]  # the last is the reference
    train: int  # images whose latents give directions
    pairs: int
    back: int  # images that are decoded again
    S_more: tuple[int, ...]  # for the size of latents
    shifts: int
    by: int  # pixels of a shift, each way
    amounts: tuple[float, ...]


SIZES = {
    "digits": Sizes(
        50, 50, (0.5, 0.5**0.5, 1.0, 1.18), 200, (5, 10, 20, 50, 100), 400, 200, 200, (20, 50, 200), 100, 1,
        (0.0, 1.0, 2.0, 3.0),
    ),
    "fashion-mnist": Sizes(20, 20, (0.5**0.5, 1.0), 200, (5, 10, 20, 40), 200, 70, 70, (20, 50), 40, 3, (1.0, 2.0)),
}  # fmt: skip


class Lab:
    """A model, its classifier and its data, and the latents that several pieces share."""

    def __init__(self, name: str) -> None:
        self.name, self.sizes = name, SIZES[name]
        self.model, self.judge = load(name), load_classifier(name)
        self.data: ImageData = load_data(name)
        self.schedule = self.model.schedule

    @cached_property
    def held(self) -> Tensor:
        return self.data.floats(self.data.heldout[:200])

    @cached_property
    def train(self) -> Tensor:
        stride = 3 if self.name == "digits" else 1  # the digits are listed writer by writer
        return self.data.floats(self.data.train[::stride][: self.sizes.train])

    @cached_property
    def train_labels(self) -> Tensor:
        stride = 3 if self.name == "digits" else 1
        return self.data.train_labels[::stride][: self.sizes.train]

    @cached_property
    def reference(self) -> tuple[Tensor, Tensor]:
        images = self.data.floats(self.data.train[:10_000])
        return mean_and_cov(classifier_features(images, self.judge))

    @cached_property
    def tau(self) -> Tensor:
        return make_tau(DRAWN, self.sizes.S, "trailing")

    @cached_property
    def tau_real(self) -> Tensor:
        return make_tau(REAL, self.sizes.S_real, "trailing")

    @cached_property
    def held_latents(self) -> Tensor:
        return self.encode(self.held)

    @cached_property
    def train_latents(self) -> Tensor:
        return self.encode(self.train)

    def drawn(self, n: int, key: int) -> Tensor:
        return torch.randn(n, *self.model.image_shape, generator=generator_for(SEED, key))

    def encode(self, images: Tensor, tau: Tensor | None = None) -> Tensor:
        tau = self.tau_real if tau is None else tau
        return torch.cat([invert(self.model.model, part, self.schedule, tau) for part in images.split(BATCH)])

    def decode(self, x_T: Tensor, tau: Tensor, **options) -> Tensor:
        return torch.cat([decode(self.model.model, part, self.schedule, tau, **options) for part in x_T.split(BATCH)])

    def decode_real(self, x_T: Tensor) -> Tensor:
        return self.decode(x_T, self.tau_real)

    def probabilities(self, images: Tensor) -> Tensor:
        return torch.cat([self.judge.model(part).softmax(1) for part in saved(images).split(500)]).double()

    def classes(self, images: Tensor) -> Tensor:
        return self.probabilities(images).argmax(1)

    def distance(self, images: Tensor) -> list[float]:
        """The classifier distance of a set, and its standard error by resampling the images."""
        features, g = classifier_features(saved(images), self.judge), generator_for(SEED, 99)
        again = [features[torch.randint(len(features), (len(features),), generator=g)] for _ in range(RESAMPLES)]
        value, *others = (frechet_distance(*mean_and_cov(f), *self.reference) for f in [features, *again])
        return [value, torch.tensor(others).std().item()]

    def look(self, images: Tensor) -> dict:
        """What one can say of a set of images."""
        found = self.probabilities(images)
        shares = torch.bincount(found.argmax(1), minlength=found.shape[1]) / len(found)
        return {
            "n": len(images),
            "sharpness": interval(sharpness(saved(images))),
            "confidence": interval(found.max(1).values),
            "variance": saved(images).double().var(0).mean().item(),
            "shares": shares.tolist(),
            "classifier_distance": self.distance(images),
        }


def saved(images: Tensor) -> Tensor:
    """Images as a file would hold them."""
    return (((images.float().clamp(-1, 1) + 1) * 127.5).round() / 127.5) - 1


def interval(values: Tensor) -> list[float]:
    """Mean and half-width of the interval of 95%."""
    found = summary(values.flatten().tolist())
    return [found.mean, found.half]


def difference(a: Tensor, b: Tensor) -> list[float]:
    """Of pairs: mean of a - b, half-width of its interval of 95%, and p."""
    found = paired(a.double().tolist(), b.double().tolist())
    return [found.mean, found.half, found.p]


def rms(a: Tensor, b: Tensor) -> Tensor:
    """The root mean square difference of each pair of images, in units of [-1, 1]."""
    return (a - b).double().flatten(1).square().mean(1).sqrt()


def norms(lab: Lab) -> dict:
    """The same directions at several norms."""
    z, found = lab.drawn(lab.sizes.drawn, 1), []
    real = saved(lab.data.floats(lab.data.heldout[: lab.sizes.drawn]))
    for r in lab.sizes.norms:
        images = lab.decode(r * z, lab.tau)
        found.append({"r": r} | lab.look(images))
        print(f"  r = {r:.2f}", found[-1], flush=True)
    return {"S": lab.sizes.S, "rows": found, "real": lab.look(real)}


def steps(lab: Lab) -> dict:
    """One x_T, several S; then several eta at one S."""
    z = lab.drawn(200, 2)
    *some, fine = lab.sizes.steps
    ends = {S: lab.decode(z, make_tau(DRAWN, S, "trailing")) for S in lab.sizes.steps}
    truth, judged = ends[fine], lab.classes(ends[fine])
    found: dict = {"n": len(z), "reference": fine, "unrelated": interval(rms(truth, truth.roll(1, 0)))}
    found["by_S"] = [
        {
            "S": S,
            "distance": interval(rms(ends[S], truth)),
            "same_class": interval((lab.classes(ends[S]) == judged).double()),
        }
        for S in some
    ]
    S = lab.sizes.S
    still, found["by_eta"], tau = ends[S], [], make_tau(DRAWN, S, "trailing")
    for eta in (0.2, 1.0) if lab.name == "digits" else ():
        one, other = (lab.decode(z, tau, eta=eta, generator=generator_for(SEED, 3, k)) for k in range(2))
        found["by_eta"].append({
            "eta": eta,
            "S": S,
            "from_eta_0": interval(rms(one, still)),
            "two_noises": interval(rms(one, other)),
            "same_class": interval((lab.classes(one) == lab.classes(other)).double()),
        })  # fmt: skip
    return found


def predicted(lab: Lab, tau: Tensor) -> float:
    """The mean square per element that inversion would give to the latents of a Gaussian with the data's covariance."""
    flat = lab.data.floats(lab.data.train[:10_000]).flatten(1).double()
    axes = torch.linalg.eigvalsh(flat.T.cov()).clamp(min=1e-9)
    levels, abar = tau.tolist(), lab.schedule.alpha_bar
    x = axes.sqrt()[None]
    exact = Gaussian(torch.zeros(len(axes)), axes, lab.schedule)
    for t, s in zip(levels, levels[1:]):
        x = ddim_step(x, exact.eps(x, max(t, 1)), abar[t], abar[s])
    return x.square().mean().item()


def other_class(lab: Lab) -> tuple[Tensor, Tensor]:
    """Indices of pairs of held-out images of two classes each."""
    labels, g = lab.data.heldout_labels[:200], generator_for(SEED, 4)
    first, second = [], []
    while len(first) < lab.sizes.pairs:
        i, j = torch.randint(200, (2,), generator=g).tolist()
        if labels[i] != labels[j]:
            first.append(i), second.append(j)
    return torch.tensor(first), torch.tensor(second)


def real(lab: Lab) -> dict:
    """Latents of held-out images, and the middles between them."""
    x, latents = lab.held, lab.held_latents
    flat = latents.flatten(1).double()
    dims = flat.shape[1]
    train = lab.data.floats(lab.data.train[:10_000]).flatten(1).double()
    variances, axes = torch.linalg.eigh(train.T.cov())
    along = (flat @ axes).square().mean(0).flip(0)  # the widest directions of the data first
    quarters = [along[round(dims * k / 4) : round(dims * (k + 1) / 4)].mean().item() for k in range(4)]
    first, second = other_class(lab)
    a, b = latents[first], latents[second]
    found = {
        "n": len(x),
        "S": lab.sizes.S_real,
        "top": REAL,
        "mean_square": interval(flat.square().mean(1)),
        "norm": interval(flat.norm(dim=1)),
        "root_dims": dims**0.5,
        "quarters": quarters,
        "angle": interval(angle(a, b)),
        "mean_latent_norm": flat.mean(0).norm().item(),
    }
    found["by_S"] = []
    for S in lab.sizes.S_more:
        tau = make_tau(REAL, S, "trailing")
        some = lab.encode(x[::5], tau).double().flatten(1).square().mean(1)
        found["by_S"].append({"S": S, "n": len(some), "mean_square": interval(some), "predicted": predicted(lab, tau)})
    found["predicted"] = predicted(lab, lab.tau_real)
    x, latents = x[: lab.sizes.back], latents[: lab.sizes.back]
    full = latents * (dims**0.5 / latents.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    back, stretched = lab.decode_real(latents), lab.decode_real(full)
    found["roundtrip"], found["stretched"] = interval(rms(back, x)), interval(rms(stretched, x))
    found["of_reconstructions"], found["of_stretched"] = lab.look(back), lab.look(stretched)
    found["of_images"] = lab.look(x)
    ends, pixels = [lab.data.heldout_labels[i] for i in (first, second)], lerp(lab.held[first], lab.held[second], 0.5)
    middles = {"slerp": lab.decode_real(slerp(a, b, 0.5)), "lerp": lab.decode_real(lerp(a, b, 0.5)), "pixels": pixels}
    sure = {}
    for name, images in middles.items():
        said = lab.probabilities(images)
        sure[name] = said.max(1).values
        third = ((said.argmax(1) != ends[0]) & (said.argmax(1) != ends[1])).double()
        from_average = interval(rms(images, middles["pixels"]))
        found[f"middle_{name}"] = lab.look(images) | {
            "third_class": interval(third),
            "from_pixel_average": from_average,
        }
    found["confidence_slerp_minus_lerp"] = difference(sure["slerp"], sure["lerp"])
    found["sharpness_slerp_minus_lerp"] = difference(
        sharpness(saved(middles["slerp"])), sharpness(saved(middles["lerp"]))
    )
    print(f"  {found}", flush=True)
    return found


def moved_by(x: Tensor, columns: int) -> Tensor:
    """Images shifted to the right, what comes in being black."""
    wide = torch.nn.functional.pad(x, (abs(columns), abs(columns), 0, 0), value=-1.0)
    return wide.roll(columns, -1)[..., abs(columns) : wide.shape[-1] - abs(columns)]


def shift(lab: Lab) -> dict:
    """Frames between an image moved left and right, against the image."""
    x, by, tau = lab.held[: lab.sizes.shifts], lab.sizes.by, make_tau(REAL, 50, "trailing")
    # Nothing may leave the frame: the images are made a little smaller first.
    x = torch.nn.functional.interpolate(
        x, size=(x.shape[2] - 2 * by, x.shape[3] - 2 * by), mode="bilinear", antialias=True
    )
    x = torch.nn.functional.pad(x, (by, by, by, by), value=-1.0)
    left, right = moved_by(x, -by), moved_by(x, by)
    a, b = lab.encode(left, tau), lab.encode(right, tau)
    arc = lab.decode(slerp(a, b, 0.5), tau)
    errors = {"arc": rms(arc, x), "cross-fade": rms((left + right) / 2, x), "first frame": rms(left, x)}
    found = {"n": len(x), "S": len(tau) - 1, "by": by, "error": {k: interval(v) for k, v in errors.items()}}
    found["arc_from_cross_fade"] = interval(rms(arc, (left + right) / 2))
    found["arc_minus_cross_fade"] = difference(errors["arc"], errors["cross-fade"])
    known = lab.classes(x)
    found["same_class"] = {
        name: interval((lab.classes(images) == known).double())
        for name, images in {"arc": arc, "cross-fade": (left + right) / 2, "first frame": left}.items()
    }
    u = torch.linspace(0, 1, 7).tolist()
    strip = torch.cat([lab.decode(slerp(a[2:3], b[2:3], v), tau) for v in u])
    found["strip"] = {"latents": pack(strip), "truth": pack(torch.cat([left[2:3], x[2:3], right[2:3]]))}
    print(f"  {found['error']} {found['same_class']}", flush=True)
    return found


def classes(lab: Lab) -> dict:
    """Images led to another class, by mean latents and by mean pixels."""
    x, z, labels = lab.held, lab.held_latents, lab.data.heldout_labels[:200]
    g = generator_for(SEED, 5)
    target = (labels + torch.randint(1, 10, (200,), generator=g)) % 10
    of = {
        kind: [v[lab.train_labels == k].mean(0) for k in range(10)]
        for kind, v in (("latent", lab.train_latents), ("pixel", lab.train))
    }
    ways = {
        kind: torch.stack([m[t] - m[s] for s, t in zip(labels.tolist(), target.tolist())]) for kind, m in of.items()
    }
    found: dict = {"n": 200, "S": lab.sizes.S_real, "train": len(lab.train), "rows": []}
    shown = []
    for amount in lab.sizes.amounts:
        points = torch.cat([move(z[i : i + 1], ways["latent"][i], amount) for i in range(200)])
        for kind, images in (("latent", lab.decode_real(points)), ("pixel", x + amount * ways["pixel"])):
            said = lab.probabilities(images)
            found["rows"].append({
                "kind": kind,
                "amount": amount,
                "success": interval((said.argmax(1) == target).double()),
                "kept": interval((said.argmax(1) == labels).double()),
                "from_image": interval(rms(saved(images), x)),
            } | lab.look(images))  # fmt: skip
            print(
                f"  {kind} {amount}: success {found['rows'][-1]['success']}, "
                f"{found['rows'][-1]['classifier_distance']}",
                flush=True,
            )
            if kind == "latent":
                shown.append(images[:8])
    found["strip"] = {"images": pack(x[:8]), "moved": [pack(images) for images in shown], "target": target[:8].tolist()}
    return found


def ink(lab: Lab) -> dict:
    """Images made brighter and darker along one direction for all."""
    x, z = lab.held, lab.held_latents
    bright = lab.train.flatten(1).mean(1)
    has = bright > bright.median()
    way = direction(lab.train_latents[has], lab.train_latents[~has])
    before, rows = lab.classes(x), []
    for amount in (-2.0, -1.0, 1.0, 2.0) if lab.name == "digits" else (-1.0, 1.0):
        images = lab.decode_real(move(z, way, amount))
        change = (saved(images) - x).double().flatten(1).mean(1)
        rows.append({
            "amount": amount,
            "change": interval(change),
            "right_way": interval((change * amount > 0).double()),
            "same_class": interval((lab.classes(images) == before).double()),
        } | lab.look(images))  # fmt: skip
        print(f"  ink {amount}: {rows[-1]['change']} {rows[-1]['same_class']}", flush=True)
    apart = (bright[has].mean() - bright[~has].mean()).item()
    return {
        "n": 200,
        "S": lab.sizes.S_real,
        "train": len(lab.train),
        "halves_apart": apart,
        "way_norm": way.norm().item(),
        "rows": rows,
    }


def decode_with(lab: Lab, x_T: Tensor, noises: Tensor, tau: Tensor) -> Tensor:
    """eta = 1 with the noise of every step given: noises[i] is that of step i."""
    x, levels, abar = x_T, tau.tolist(), lab.schedule.alpha_bar
    for i, (s, t) in enumerate(reversed(list(zip(levels, levels[1:])))):
        eps = lab.model.model(x, torch.full((len(x),), t))
        x = ddim_step(x, eps, abar[t], abar[s], float(lab.schedule.sigma(t, s, 1.0)), noises[i] if s else None)
    return x


def noise(lab: Lab) -> dict:
    """Frames between two drawn latents with eta = 1."""
    pairs, frames, S = 30, 7, 20
    tau, u = make_tau(DRAWN, S, "trailing"), torch.linspace(0, 1, 7).tolist()
    a, b = lab.drawn(pairs, 6), lab.drawn(pairs, 7)
    z_a, z_b, more = (
        torch.randn(S, pairs, *lab.model.image_shape, generator=generator_for(SEED, 8, k)) for k in range(3)
    )
    points = torch.stack([slerp(a, b, v) for v in u])
    fresh = torch.randn(S, frames * pairs, *lab.model.image_shape, generator=generator_for(SEED, 9))
    shared = z_a.repeat(1, frames, 1, 1, 1)
    between = torch.cat([slerp(z_a.flatten(0, 1), z_b.flatten(0, 1), v).unflatten(0, (S, pairs)) for v in u], 1)
    flat, back = points.flatten(0, 1), (frames, pairs)
    runs = {
        "eta 0": lab.decode(flat, tau).unflatten(0, back),
        "fresh": decode_with(lab, flat, fresh, tau).unflatten(0, back),
        "shared": decode_with(lab, flat, shared, tau).unflatten(0, back),
        "interpolated": decode_with(lab, flat, between, tau).unflatten(0, back),
    }
    found: dict = {"pairs": pairs, "frames": frames, "S": S, "rows": {}, "strip": {}}
    for name, x in runs.items():
        moves = torch.stack([rms(p, q) for p, q in zip(x, x[1:])])  # (frames - 1, pairs)
        largest, ends = moves.max(0).values, rms(x[0], x[-1])
        found["rows"][name] = {"step": interval(moves.mean(0)), "largest": interval(largest), "ends": interval(ends)}
        found["strip"][name] = pack(x[:, 0])
        print(f"  {name}: {found['rows'][name]}", flush=True)
    return found


def speed(lab: Lab) -> dict:
    """Frame by frame along arcs: how much a picture changes, when its class does and when it does not."""
    pairs, frames, S = 60, 17, 20
    tau = make_tau(DRAWN, S, "trailing")
    a, b = lab.drawn(pairs, 10), lab.drawn(pairs, 11)
    points = torch.stack([slerp(a, b, v) for v in torch.linspace(0, 1, frames).tolist()])
    x = lab.decode(points.flatten(0, 1), tau)
    said = lab.classes(x).unflatten(0, (frames, pairs))
    x = x.unflatten(0, (frames, pairs))
    moves = torch.stack([rms(p, q) for p, q in zip(x, x[1:])])
    turns = said[1:] != said[:-1]
    return {
        "pairs": pairs,
        "frames": frames,
        "S": S,
        "largest_over_mean": interval(moves.max(0).values / moves.mean(0)),
        "turning": int(turns.any(0).sum()),  # arcs on which the class changes
        "where_class_changes": interval(torch.stack([m[c].mean() for m, c in zip(moves.T, turns.T) if c.any()])),
        "elsewhere": interval(torch.stack([m[~c].mean() for m, c in zip(moves.T, turns.T)])),
        "changes_of_class": interval(turns.sum(0).double()),
    }


def pack(images: Tensor) -> str:
    """Images as text: bytes in base64."""
    return base64.b64encode(((saved(images) + 1) * 127.5).round().byte().numpy().tobytes()).decode()


PIECES: dict[str, Callable[[Lab], dict]] = {
    "norms": norms, "steps": steps, "real": real, "classes": classes, "shift": shift, "ink": ink, "noise": noise,
    "speed": speed,
}  # fmt: skip
ORDER = {"digits": tuple(PIECES), "fashion-mnist": ("real", "shift", "classes", "norms", "steps")}


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(SIZES))
    parser.add_argument("--pieces", nargs="+", choices=PIECES)
    parser.add_argument("--again", action="store_true", help="measure also what is in the file")
    parser.add_argument("--out", type=Path, default=Path("results/interpolation.json"))
    args = parser.parse_args()
    args.out.parent.mkdir(exist_ok=True)
    out = check_writable(args.out)
    for name in args.models:
        lab = Lab(name)
        for piece in args.pieces or ORDER[name]:
            everything = json.loads(out.read_text(encoding="utf8")) if out.exists() else {}
            if piece in everything.get("models", {}).get(name, {}) and not args.again:
                continue
            began = time.process_time()
            print(f"{name}: {piece}", flush=True)
            found = PIECES[piece](lab)
            found["cpu_seconds"] = round(time.process_time() - began)
            found["versions"] = {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "ddim_edu": ddim_edu.__version__,
            }
            everything["command"] = "python benchmarks/interpolation.py MODEL ..."
            everything["seed"] = SEED
            everything["levels"] = {"drawn": DRAWN, "real": REAL, "spacing": "trailing", "eta": 0, "clip": None}
            everything["intervals"] = "[mean, half-width of the interval of 95%]; of differences also p"
            everything.setdefault("models", {}).setdefault(name, {})[piece] = found
            with replacing(out) as temporary:
                temporary.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf8")
            print(f"  {found['cpu_seconds']} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
