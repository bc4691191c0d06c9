"""Export shipped networks to ONNX, for the page that samples in the browser.

    python book/_tools/export_onnx.py --out _build/onnx            # digits and fashion-mnist-v
    python book/_tools/export_onnx.py --out _build/onnx runs/mine  # or your own: a name, a run folder or a file

What a file takes and gives says :mod:`ddim_edu.models.onnx_export`, which makes it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ddim_edu.files import replacing
from ddim_edu.models import load
from ddim_edu.models.onnx_export import export

SHOWN = ("digits", "fashion-mnist-v")  # in the page


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "models", nargs="*", default=SHOWN, help=f"names, run folders or checkpoint files; default {' '.join(SHOWN)}"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("_build/onnx"), help="the folder for NAME.onnx (default %(default)s)"
    )
    options = parser.parse_args(argv)
    for name in options.models:
        try:
            made = export(load(name))
        except (ValueError, ModuleNotFoundError) as error:
            print(error, file=sys.stderr)
            return 1
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / f"{Path(name).stem}.onnx"
        with replacing(path) as temporary:
            temporary.write_bytes(made)
        print(f"{path}: {len(made) / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
