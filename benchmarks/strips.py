"""One noise, many ways down: faces from the same starts by every eta and number of steps. Chapters 5 and 6 show them.

    python benchmarks/strips.py [--out results/strips.json]

What is in the file already is left alone, unless the weights are others; so a run that was stopped goes on. The rule,
so that nothing is picked: the starts are those of images 0 to 3 of seed 0, image i in style i, which are the four
styles of the model; trailing levels; predicted pictures are not clipped. Fresh noise comes from each image's own
generator, seed 1, for every run anew. Under ``pictures`` stand the bytes of the four faces, 32 x 32 x 3 each, channels
first, in base64.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddim_edu.data.pictures import to_text
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.result import model_about, versions
from ddim_edu.models import Checkpoint, load
from ddim_edu.randomness import draw, image_generators
from ddim_edu.sampler import decode
from ddim_edu.schedule import make_tau

N, SEED = 4, 0
ETAS: tuple[float | str, ...] = (0.0, 0.5, 1.0, "hat")
STEPS = (5, 10, 20, 50, 100, 1000)


def starts(model: Checkpoint) -> Tensor:
    """``(N, C, H, W)``: x_T of the images 0 to N - 1."""
    return draw(torch.empty(N, *model.image_shape), image_generators(SEED, 0, N))


def faces(model: Checkpoint, S: int, eta: float | str) -> Tensor:
    """``(N, C, H, W)``: where the starts end, image i in style i."""
    tau = make_tau(model.schedule.T, S, "trailing")
    noise = image_generators(SEED + 1, 0, N)
    return decode(model.eps_theta(torch.arange(N)), starts(model), model.schedule, tau, eta=eta, generator=noise)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/strips.json"))
    args = parser.parse_args()
    args.out.parent.mkdir(exist_ok=True)
    out: Path = check_writable(args.out)
    model = load("faces")
    file: dict[str, Any] = json.loads(out.read_text(encoding="utf8")) if out.exists() else {}
    if file.get("model") != model_about(model):
        file = {
            "command": "python benchmarks/strips.py",
            "protocol": {"n": N, "seed": SEED, "spacing": "trailing", "clip": None, "style of image i": "i"},
            "model": model_about(model),
            "rows": [],
        }
    for S in STEPS:
        for eta in ETAS:
            if any((row["S"], row["eta"]) == (S, eta) for row in file["rows"]):
                continue
            began = time.process_time()
            pictures = to_text(faces(model, S, eta))
            file["rows"].append({"S": S, "eta": eta, "pictures": pictures})
            file["versions"] = versions() | {"python": platform.python_version()}
            file["cpu_seconds"] = round(file.get("cpu_seconds", 0) + time.process_time() - began)
            with replacing(out) as temporary:
                temporary.write_text(json.dumps(file, indent=1) + "\n", encoding="utf8")
            print(f"S = {S}, eta {eta}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
