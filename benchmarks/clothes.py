"""Does a classifier see the class that was asked for? Clothes without and with fresh noise, from a right start.

    python benchmarks/clothes.py [--n 150] [--steps 20 50] [--out results/accuracy_fashion-mnist.json]

The shipped model draws n clothes, classes in turn, on the levels of ``trailing``, which start at T. A 1 in a row's
``right`` is a picture that the shipped classifier takes for its class; picture i has the same start in every row.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from ddim_edu.data.pictures import from_uint8, to_uint8
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.result import model_about
from ddim_edu.models import load, load_classifier
from ddim_edu.sampling import Sampler, Sampling

NAME = "fashion-mnist"


@torch.no_grad()
def right(n: int, steps: int, eta: float) -> str:
    """One digit for each of the first n pictures: 1 where the classifier agrees."""
    sampler, classifier = Sampler(load(NAME), batch=50), load_classifier(NAME)
    images = to_uint8(sampler.draw(Sampling(n=n, steps=steps, eta=eta, spacing="trailing")))
    guess = classifier.model(from_uint8(images)).argmax(1)
    return "".join(map(str, (guess == torch.arange(n) % 10).int().tolist()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=150)
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--out", type=Path, default=Path(f"results/accuracy_{NAME}.json"))
    options = parser.parse_args()
    out = check_writable(options.out)
    rows = []
    for steps in options.steps:
        for eta in (0.0, 1.0):
            found = right(options.n, steps, eta)
            print(f"S {steps}, eta {eta:g}: {found.count('1')} of {options.n} are what was asked for", flush=True)
            rows.append({"spacing": "trailing", "steps": steps, "eta": eta, "right": found})
    command = f"python benchmarks/clothes.py --n {options.n} --steps {' '.join(map(str, options.steps))}"
    result = {"command": command, "model": model_about(load(NAME)), "seed": 0, "clip": 1.0}
    result |= {"accuracy_on_real": load_classifier(NAME).accuracy, "rows": rows}
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
