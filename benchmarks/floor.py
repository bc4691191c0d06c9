"""How far are real pictures from the training set, so few of them at a time? The floor of a table in chapter 11.

    python benchmarks/floor.py [fashion-mnist] [--n 250] [--out results/floor_fashion-mnist.json]

The classifier distance of n training pictures, classes in turn as in the tables, to all training pictures; 20 draws.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from ddim_edu.data.registry import load_data
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.features import small
from ddim_edu.measuring.metrics import frechet_distance, mean_and_cov

DRAWS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="fashion-mnist")
    parser.add_argument("--n", type=int, default=250)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    out = check_writable(options.out or Path(f"results/floor_{options.data}.json"))
    data, network = load_data(options.data, data_dir=options.data_dir), small(options.data, torch.device("cpu"))
    features = torch.cat([network.compute(part) for part in data.train.split(1000)]).double()
    whole, generator, values = mean_and_cov(features), torch.Generator().manual_seed(0), []
    of_class = [(data.train_labels == c).nonzero()[:, 0] for c in range(len(data.classes))]
    for _ in range(DRAWS):
        rows = [rows[torch.randperm(len(rows), generator=generator)[: options.n // len(of_class)]] for rows in of_class]
        values.append(frechet_distance(*mean_and_cov(features[torch.cat(rows)]), *whole))
    found = torch.tensor(values)
    print(f"{options.n} training pictures of {options.data}: {found.mean():.2f}, sd {found.std():.2f}")
    command = f"python benchmarks/floor.py {options.data} --n {options.n}"
    result = {"command": command, "data": options.data, "n": options.n, "features": network.name}
    result |= {"mean": found.mean().item(), "sd": found.std().item(), "draws": DRAWS}
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
