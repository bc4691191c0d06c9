"""Export shipped networks to ONNX, for the page that samples in the browser.

    python book/_tools/export_onnx.py --out _build/onnx            # digits and fashion-mnist
    python book/_tools/export_onnx.py --out _build/onnx runs/mine  # or one of your own: a name, a run folder or a checkpoint file

A file takes ``x`` (B, C, H, W) float32, ``t`` (B,) int64 in 1..T and ``label`` (B,) int64 in 0..classes, where the last is "any class",
and gives ``eps`` (B, C, H, W), for every B. It computes in float32. The shipped weights are float16 numbers, so they are stored as float16,
at half the size, and nothing is lost; weights that float16 would round are stored as they are.
"""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from ddim_edu.files import replacing
from ddim_edu.lab.checkpoint import Checkpoint, load

SHOWN = ("digits", "fashion-mnist")  # in the page
OPSET = 17
INPUTS, OUTPUT = ["x", "t", "label"], "eps"


def export(saved: Checkpoint) -> bytes:
    """The network of a checkpoint as the bytes of an ONNX file.

    Raises:
        ValueError: if the network takes no labels.
    """
    classes = saved.config.classes
    if not classes:
        raise ValueError(f"{saved.path} has no classes: the page asks for one")
    model = saved.model.to("cpu", memory_format=torch.contiguous_format)
    example = (torch.zeros(2, *saved.image_shape), torch.tensor([1, saved.schedule.T]), torch.tensor([0, classes]))
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The tracer warns of each check of shapes in the network. The newer exporter (dynamo=True) takes twenty times as long, and
        # spells out each GroupNorm in a graph twice as long.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            example,
            file,
            input_names=INPUTS,
            output_names=[OUTPUT],
            dynamic_axes={name: {0: "B"} for name in [*INPUTS, OUTPUT]},
            opset_version=OPSET,
            dynamo=False,
        )
    made = onnx.load_from_string(file.getvalue())
    halve(made.graph)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def halve(graph: onnx.GraphProto) -> None:
    """Store the weights that float16 holds exactly as float16, each with a cast back."""
    casts = []
    for weight in graph.initializer:
        full = numpy_helper.to_array(weight)
        if full.dtype != np.float32 or full.size < 32 or np.abs(full).max() > np.finfo(np.float16).max:
            continue
        half = full.astype(np.float16)
        if np.array_equal(half.astype(np.float32), full):
            name, stored = weight.name, f"{weight.name}.float16"
            weight.CopyFrom(numpy_helper.from_array(half, stored))
            casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=SHOWN, help=f"names, run folders or checkpoint files; default {' '.join(SHOWN)}")
    parser.add_argument("--out", type=Path, default=Path("_build/onnx"), help="the folder for NAME.onnx (default %(default)s)")
    options = parser.parse_args(argv)
    for name in options.models:
        try:
            made = export(load(name))
        except ValueError as error:
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
