"""What a network predicts, judged by the shipped classifier of its data: noise (eps) or velocity (v).

    python benchmarks/eps_or_v.py digits [--n 1000] [--out results/eps_or_v_digits.json]

``load(NAME)`` and ``load(NAME-v)`` both draw n pictures of classes in turn, trailing spacing, for each of three seeds:
the share that the classifier reads as what was asked for, and the distance of its features from those of the training
images. ``right`` and ``distance`` hold a number for each seed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from ddim_edu.data.pictures import from_uint8, to_uint8
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.features import small
from ddim_edu.measuring.metrics import frechet_distance, mean_and_cov
from ddim_edu.measuring.reference import real_images
from ddim_edu.measuring.result import model_about
from ddim_edu.models import load, load_classifier
from ddim_edu.sampling import Sampler, Sampling

STEPS, ETAS, SEEDS = (10, 20, 50), (0.0, 1.0), (0, 1, 2)


@torch.no_grad()
def judged(model, name: str, n: int, steps: int, eta: float, seed: int, reference) -> tuple[float, float]:
    """The share of pictures that are what was asked for, and their distance from the training images."""
    features, classifier = small(name), load_classifier(name).model
    asked = Sampling(n=n, steps=steps, eta=eta, spacing="trailing", seed=seed)
    images = to_uint8(Sampler(model, batch=100).draw(asked))
    guess = classifier(from_uint8(images)).argmax(1)
    share = (guess == torch.arange(n) % 10).double().mean().item()
    return share, frechet_distance(*mean_and_cov(features.compute(images)), *reference)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    out = check_writable(options.out or Path(f"results/eps_or_v_{options.name}.json"))
    name, models = options.name, {"eps": load(options.name), "v": load(f"{options.name}-v")}
    features = small(name)
    reference = mean_and_cov(torch.cat([features.compute(part) for part in real_images(name, "train").split(1000)]))
    rows = []
    for steps in STEPS:
        for eta in ETAS:
            for which, model in models.items():
                found = [judged(model, name, options.n, steps, eta, seed, reference) for seed in SEEDS]
                right, distance = ([round(value, 4) for value in column] for column in zip(*found, strict=True))
                rows.append({"predicts": which, "steps": steps, "eta": eta, "right": right, "distance": distance})
                print(rows[-1], flush=True)
    command = f"python benchmarks/eps_or_v.py {name} --n {options.n}"
    result = {"command": command, "models": {which: model_about(model) for which, model in models.items()}}
    result |= {"accuracy_on_real": load_classifier(name).accuracy, "n": options.n, "seeds": SEEDS, "rows": rows}
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
