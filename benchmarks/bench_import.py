"""What ``import ddim_edu`` costs beyond ``import torch``. The goal is under 0.2 s.

    python benchmarks/bench_import.py

Each figure is the median over fresh processes, each of which imports torch first and then times the rest.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 5
CASES = {
    "ddim_edu": "ddim_edu",
    "the mathematics": "ddim_edu.sampler, ddim_edu.losses, ddim_edu.exact",
    "the mathematics and the U-Net": "ddim_edu.sampler, ddim_edu.losses, ddim_edu.exact, ddim_edu.nets.unet",
}
CODE = """
import time
start = time.perf_counter()
import torch
middle = time.perf_counter()
import {modules}
print(middle - start, time.perf_counter() - middle)
"""


def measure(modules: str) -> tuple[float, float]:
    """Median seconds for torch, and for the modules after it."""
    runs = []
    for _ in range(RUNS + 1):
        done = subprocess.run(
            [sys.executable, "-c", CODE.format(modules=modules)], capture_output=True, text=True, check=True
        )
        runs.append([float(word) for word in done.stdout.split()])
    torch_s, rest_s = zip(*runs[1:])  # the first run may have had to read the files from the disk
    return statistics.median(torch_s), statistics.median(rest_s)


def main() -> int:
    """Print the figures.

    Returns:
        0, or 1 if ``import ddim_edu`` missed its goal.
    """
    missed = False
    for name, modules in CASES.items():
        torch_s, rest_s = measure(modules)
        missed |= rest_s >= 0.2
        print(f"{name:35} {rest_s:.3f} s beyond torch's {torch_s:.2f} s (goal < 0.2 s)")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
