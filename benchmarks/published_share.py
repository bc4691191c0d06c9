"""How large is the published term beside the MSE on real photographs? The crosses of a figure in chapter 8.

    python benchmarks/published_share.py [--data cifar10] [--data-dir data] [--out results/published_share.json]

Batches of training pictures, each with a Gaussian error of the mean square that the source reports; the term is
``ddim_edu.adaptive.adaptive_step_loss`` less the MSE. The mean and the standard deviation over batches.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from ddim_edu.adaptive import adaptive_step_loss
from ddim_edu.data.registry import load_data
from ddim_edu.files import check_writable, replacing

MSE = 0.029  # inside the source's range, 0.02 to 0.04
BATCHES = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results/published_share.json"))
    options = parser.parse_args()
    out = check_writable(options.out)
    data, generator, rows = load_data(options.data, data_dir=options.data_dir), torch.Generator().manual_seed(0), []
    for size in (1, 16, 64, 100):
        shares = []
        for _ in range(BATCHES):
            x = data.floats(data.train[torch.randint(len(data.train), (size,), generator=generator)]).double()
            e = torch.randn(x.shape, generator=generator, dtype=x.dtype) * MSE**0.5
            shares.append((adaptive_step_loss(e, torch.zeros_like(e), x) / e.square().mean() - 1).item())
        found = torch.tensor(shares)
        rows.append({"batch": size, "share": found.mean().item(), "sd": found.std().item()})
        print(f"batch {size:3d}: {found.mean():.3%}, sd {found.std():.3%}")
    command = f"python benchmarks/published_share.py --data {options.data}"  # and where the pictures are, --data-dir
    result = {
        "command": command,
        "data": options.data,
        "pictures": list(x.shape[1:]),
        "mse": MSE,
        "batches": BATCHES,
        "rows": rows,
    }
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
