"""Networks as ONNX files, such as the book's live page runs.

A file takes ``x`` (B, C, H, W) float32, ``t`` (B,) int64 in 1..T and, for networks with classes, ``label`` (B,) int64
in 0..classes, where the last is "any class"; it gives ``eps`` (B, C, H, W), for every B and whatever the network was
trained to predict. It computes in float32. Weights that are float16 numbers, as the shipped ones are, are stored as
float16, at half the size, and nothing is lost; weights that float16 would round are stored as they are.

Needs the package ``onnx``, which is imported where it is used.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import torch

from ddim_edu.models.checkpoint import Checkpoint

OPSET = 17
INPUTS, OUTPUT = ["x", "t", "label"], "eps"


def export(saved: Checkpoint) -> bytes:
    """The network of a checkpoint as the bytes of an ONNX file.

    Raises:
        ModuleNotFoundError: In one line, if ``onnx`` is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("writing ONNX needs the package onnx: pip install onnx", name=error.name) from None
    classes = saved.config.classes
    model = saved.model.cpu().to(memory_format=torch.contiguous_format)
    inputs = INPUTS if classes else INPUTS[:2]
    example = (torch.zeros(2, *saved.image_shape), torch.tensor([1, saved.schedule.T]), torch.tensor([0, classes]))
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The tracer warns of each check of shapes in the network. The newer exporter (dynamo=True) takes twenty times
        # as long, and spells out each GroupNorm in a graph twice as long.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            example[: len(inputs)],
            file,
            input_names=inputs,
            output_names=[OUTPUT],
            dynamic_axes={name: {0: "B"} for name in [*inputs, OUTPUT]},
            opset_version=OPSET,
            dynamo=False,
        )
    made = onnx.load_from_string(file.getvalue())
    halve(made.graph)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def halve(graph: Any) -> None:
    """Store the weights that float16 holds exactly as float16, each with a cast back.

    Args:
        graph: An ``onnx.GraphProto``, which is changed.
    """
    from onnx import TensorProto, helper, numpy_helper

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
