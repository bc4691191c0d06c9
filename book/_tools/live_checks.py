"""What torch says to an example, for the page that samples in the browser: book/live/checks.json.

    python book/_tools/live_checks.py      # after the weights of a network of the page have changed

Graphics processors and their drivers differ, so the page asks each network once what is stored here, and computes by
WebAssembly where the answer is another. The example is the one of ``book/live/webgpu.js``.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import torch

from ddim_edu.files import replacing
from ddim_edu.models import load

BOOK = Path(__file__).resolve().parents[1]
OUT = BOOK / "live" / "checks.json"
NUMBERS = 48  # of each network's answer; every layer has its part in all of them

sys.path.insert(0, str(BOOK / "_ext"))
import live_page  # noqa: E402


def example(count: int) -> torch.Tensor:
    """``count`` numbers without a pattern: 1.4 sin(i^2)."""
    i = torch.arange(count, dtype=torch.float64)
    return (1.4 * (i * i).sin()).float()


def check(name: str) -> dict:
    """Levels, labels and some numbers of the answer of a shipped network, and of which weights they are."""
    saved = load(name)
    T, classes = saved.schedule.T, saved.config.classes
    ts, labels = [1, T], [0, classes]
    x = example(2 * math.prod(saved.image_shape)).view(2, *saved.image_shape)
    with torch.no_grad():
        eps = saved.eps_theta(torch.tensor(labels))(x, torch.tensor(ts)).flatten()
    step = len(eps) // NUMBERS | 1  # odd, so that it meets every column
    some = [round(eps[k * step % len(eps)].item(), 6) for k in range(NUMBERS)]
    weights = live_page.digest(BOOK.parent / "ddim_edu" / "weights" / f"{name}.safetensors")
    return {"weights": weights, "ts": ts, "labels": labels, "step": step, "eps": some}


def main() -> int:
    lines = [f"{json.dumps(name)}: {json.dumps(check(name))}" for name in live_page.CLASSES]
    with replacing(OUT) as temporary:
        temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
