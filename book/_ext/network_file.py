"""A shipped U-Net as an ONNX file, from its safetensors file and with nothing but Python's own library.

The book is built where there is neither torch nor onnx (:mod:`stand_ins`). So the graph of ``ddim_edu.nets.unet.UNet``
is written down here once more, layer for layer, in the few operations of ONNX that it needs; a test compares
with torch. Inputs, outputs and their names are those of ``ddim_edu.models.onnx_export``, which exports any
checkpoint with torch: x, t and, for networks with classes, label; out comes eps, whatever the network says.

Weights are stored as they are in the file: float16 as float16, each with a cast to float32, in which all is computed.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import protobuf

KEY = "ddim_edu"  # of the metadata, as in ddim_edu.models.weights
OPSET = 17
LETTERS = {"F16": "e", "F32": "f", "F64": "d"}  # what struct calls them
EPSILON = 1e-6  # of every norm of the network


class Network(NamedTuple):
    """What a file holds.

    Attributes:
        config: The fields of UNetConfig.
        prediction: What the network says: eps, v or x0.
        classes: Names of the labels, if the file has them.
        alpha_bar: One for each level 0..T, in float64.
        tensors: Name -> (type as safetensors calls it, shape, little-endian bytes).
    """

    config: SimpleNamespace
    prediction: str
    classes: list[str]
    alpha_bar: list[float]
    tensors: dict[str, tuple[str, list[int], bytes]]


def read(path: Path) -> Network:
    """Read a checkpoint of a U-Net.

    Raises:
        ValueError: The file holds something else.
    """
    content = Path(path).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + length]), memoryview(content)[8 + length :]
    about = json.loads(header.pop("__metadata__", {}).get(KEY, "{}"))
    if about.get("kind") != "unet":
        raise ValueError(f"{path} holds no U-Net of ddim_edu")
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        tensors[name.removeprefix("model.")] = (entry["dtype"], entry["shape"], bytes(body[start:end]))
    alpha_bar = [1.0]
    for beta in floats(*tensors.pop("schedule.beta")):
        alpha_bar.append(alpha_bar[-1] * (1 - beta))
    prediction = about.get("prediction", "eps")
    config = SimpleNamespace(**{"patch": 1} | about["config"])  # older files don't say it
    return Network(config, prediction, about.get("classes", []), alpha_bar, tensors)


def floats(kind: str, shape: Sequence[int], content: bytes) -> list[float]:
    """The numbers of a tensor, in their order."""
    if kind == "BF16":  # the upper half of a float32
        content, kind = b"".join(b"\0\0" + content[i : i + 2] for i in range(0, len(content), 2)), "F32"
    return list(struct.unpack(f"<{math.prod(shape)}{LETTERS[kind]}", content))


def single(number: float) -> float:
    """Rounded to float32."""
    return struct.unpack("<f", struct.pack("<f", number))[0]


def frequencies(dim: int) -> list[float]:
    """Of the time embedding, rounded at each step as ``time_embedding`` does in float32."""
    half = dim // 2
    exponents = (single(single(single(-math.log(10_000)) * i) / (half - 1)) for i in range(half))
    return [single(math.exp(exponent)) for exponent in exponents]


class Graph:
    """Nodes and constants of a graph in the making. Methods take names of values, and give that of what they add."""

    def __init__(self, network: Network) -> None:
        self.network, self.nodes, self.constants, self.named = network, [], [], {}

    def add(self, operation: str, *inputs: str, outputs: int = 1, **attributes):
        """A node."""
        names = [f"{operation.lower()}{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(protobuf.node(operation, inputs, names, attributes))
        return names[0] if outputs == 1 else names

    def constant(self, numbers: Sequence[float], shape: Sequence[int], kind: str = "F32") -> str:
        """A tensor of float32 or, with ``kind="I64"``, of int64; equal ones are stored once."""
        content = struct.pack(f"<{len(numbers)}{'f' if kind == 'F32' else 'q'}", *numbers)
        key = kind, tuple(shape), content
        if key not in self.named:
            self.named[key] = f"constant{len(self.named)}"
            self.constants.append(protobuf.tensor(self.named[key], kind, shape, content))
        return self.named[key]

    def weight(self, name: str, shape: Sequence[int] | None = None) -> str:
        """A weight of the network, in float32; ``shape`` is another view of it."""
        kind, stored, content = self.network.tensors[name]
        shape = stored if shape is None else shape
        if kind in ("BF16", "F64"):
            kind, content = "F32", struct.pack(f"<{math.prod(stored)}f", *floats(kind, stored, content))
        name = name if shape == stored else f"{name}.view"
        if name not in self.named:
            here = name if kind == "F32" else f"{name}.float16"
            self.constants.append(protobuf.tensor(here, kind, shape, content))
            self.named[name] = here if kind == "F32" else self.add("Cast", here, to=protobuf.TYPES["F32"])
        return self.named[name]

    def linear(self, name: str, x: str) -> str:
        return self.add("Gemm", x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), transB=1)

    def conv(self, name: str, x: str, pads: int | Sequence[int] = 0, stride: int = 1) -> str:
        """``pads``: of all four sides, or (above, left, below, right)."""
        pads = [pads] * 4 if isinstance(pads, int) else list(pads)
        weights = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        kernel = self.network.tensors[f"{name}.weight"][1][2:]
        return self.add("Conv", x, *weights, kernel_shape=kernel, pads=pads, strides=[stride, stride])

    def silu(self, x: str) -> str:
        return self.add("Mul", x, self.add("Sigmoid", x))

    def reshape(self, x: str, *shape: int) -> str:
        return self.add("Reshape", x, self.constant(shape, [len(shape)], "I64"))

    def norm(self, name: str, x: str, side: int) -> str:
        """GroupNorm of (B, c, side, side)."""
        groups, (c,) = self.network.config.groups, self.network.tensors[f"{name}.weight"][1]
        one, zero = self.constant([1.0] * groups, [groups]), self.constant([0.0] * groups, [groups])
        grouped = self.add("InstanceNormalization", self.reshape(x, -1, groups, c // groups * side * side), one, zero,
                           epsilon=EPSILON)  # fmt: skip
        whole = self.reshape(grouped, -1, c, side, side)
        scaled = self.add("Mul", whole, self.weight(f"{name}.weight", [c, 1, 1]))
        return self.add("Add", scaled, self.weight(f"{name}.bias", [c, 1, 1]))

    def res_block(self, name: str, x: str, emb: str, side: int) -> str:
        h = self.conv(f"{name}.conv1", self.silu(self.norm(f"{name}.norm1", x, side)), 1)
        h = self.add("Add", h, self.reshape(self.linear(f"{name}.time", emb), 0, 0, 1, 1))
        h = self.conv(f"{name}.conv2", self.silu(self.norm(f"{name}.norm2", h, side)), 1)
        if f"{name}.shortcut.weight" in self.network.tensors:
            x = self.conv(f"{name}.shortcut", x)
        return self.add("Add", x, h)

    def attention(self, name: str, x: str, side: int) -> str:
        c = self.network.tensors[f"{name}.norm.weight"][1][0]
        flat = self.reshape(self.conv(f"{name}.qkv", self.norm(f"{name}.norm", x, side)), 0, 0, side * side)
        q, k, v = self.add("Split", flat, self.constant([c, c, c], [3], "I64"), outputs=3, axis=1)  # (B, c, tokens)
        q = self.add("Mul", self.add("Transpose", q, perm=[0, 2, 1]), self.constant([c**-0.5], []))
        shares = self.add("Softmax", self.add("MatMul", q, k), axis=2)  # of each token, in all others
        h = self.add("MatMul", v, self.add("Transpose", shares, perm=[0, 2, 1]))
        return self.add("Add", x, self.conv(f"{name}.project", self.reshape(h, 0, 0, side, side)))

    def block(self, name: str, x: str, emb: str, side: int) -> str:
        """A residual block, with attention behind it where the file has weights for it."""
        h = self.res_block(f"{name}.res", x, emb, side)
        return (
            self.attention(f"{name}.attention", h, side)
            if f"{name}.attention.qkv.weight" in self.network.tensors
            else h
        )

    def embedding(self) -> str:
        """Of t and the label, activated, as all residual blocks take it."""
        cfg = self.network.config
        t = self.reshape(self.add("Cast", "t", to=protobuf.TYPES["F32"]), -1, 1)
        angles = self.add("Mul", t, self.constant(frequencies(cfg.ch), [1, cfg.ch // 2]))
        parts = [self.add("Sin", angles), self.add("Cos", angles)]
        if cfg.ch % 2:  # an odd embedding ends in 0
            parts.append(self.add("Mul", t, self.constant([0.0], [1, 1])))
        emb = self.linear("time_mlp.2", self.silu(self.linear("time_mlp.0", self.add("Concat", *parts, axis=1))))
        if cfg.classes:
            emb = self.add("Add", emb, self.add("Gather", self.weight("label_embedding.weight"), "label", axis=0))
        return self.silu(emb)

    def unet(self) -> str:
        """What the network says of x at t."""
        cfg, emb = self.network.config, self.embedding()
        c, p, levels, blocks = cfg.image_channels, cfg.patch, len(cfg.ch_mult), cfg.num_res_blocks
        side = n = cfg.image_size // p
        h = "x"
        if p > 1:  # squares of p x p pixels as channels
            h = self.add("Transpose", self.reshape(h, -1, c, n, p, n, p), perm=[0, 1, 3, 5, 2, 4])
            h = self.reshape(h, -1, c * p * p, n, n)
        h = self.conv("conv_in", h, 1)
        skips = [h]
        for level in range(levels):
            for i in range(blocks):
                h = self.block(f"down.{level}.{i}", h, emb, side)
                skips.append(h)
            if level < levels - 1:
                h = self.conv(f"down.{level}.{blocks}.conv", h, (0, 0, 1, 1), stride=2)
                side //= 2
                skips.append(h)
        h = self.res_block("middle.1", self.block("middle.0", h, emb, side), emb, side)
        for level in range(levels):
            for i in range(blocks + 1):
                h = self.block(f"up.{level}.{i}", self.add("Concat", h, skips.pop(), axis=1), emb, side)
            if level < levels - 1:
                scales = self.constant([1.0, 1.0, 2.0, 2.0], [4])
                h = self.add("Resize", h, "", scales, mode="nearest", nearest_mode="floor",
                             coordinate_transformation_mode="asymmetric")  # fmt: skip
                h = self.conv(f"up.{level}.{blocks + 1}.conv", h, 1)
                side *= 2
        h = self.conv("conv_out", self.silu(self.norm("norm_out", h, side)), 1)
        if p > 1:  # and back
            h = self.add("Transpose", self.reshape(h, -1, c, p, p, n, n), perm=[0, 1, 4, 2, 5, 3])
            h = self.reshape(h, -1, c, n * p, n * p)
        return h

    def eps(self) -> str:
        """The noise that the network's words stand for, as ``ddim_edu.forward.said_to_eps`` has it."""
        said, alpha_bar = self.unet(), self.network.alpha_bar
        if self.network.prediction == "eps":
            return said
        shape = [len(alpha_bar), 1, 1, 1]
        signal = self.add("Gather", self.constant([math.sqrt(a) for a in alpha_bar], shape), "t", axis=0)
        noise = self.add("Gather", self.constant([math.sqrt(1 - a) for a in alpha_bar], shape), "t", axis=0)
        if self.network.prediction == "v":
            return self.add("Add", self.add("Mul", signal, said), self.add("Mul", noise, "x"))
        if self.network.prediction == "x0":
            return self.add("Div", self.add("Sub", "x", self.add("Mul", signal, said)), noise)
        raise ValueError(f"a network that predicts {self.network.prediction!r}")


def onnx(network: Network) -> bytes:
    """The bytes of the ONNX file; the same for the same network.

    Raises:
        KeyError: A weight that the configuration asks for is missing.
        ValueError: It predicts something unknown.
    """
    cfg, graph = network.config, Graph(network)
    graph.nodes.append(protobuf.node("Identity", [graph.eps()], ["eps"], {}))
    images = ("B", cfg.image_channels, cfg.image_size, cfg.image_size)
    inputs = {"x": ("F32", images), "t": ("I64", ("B",))} | ({"label": ("I64", ("B",))} if cfg.classes else {})
    return protobuf.model(graph.nodes, graph.constants, inputs, {"eps": ("F32", images)}, OPSET)
