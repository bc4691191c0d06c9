"""ONNX files byte by byte: the few messages of the format that a network needs.

A protobuf message is a row of fields, each with its number and the type of what follows: a number of as many bytes as
it needs (0), four bytes (5), or a length and that many bytes (2). Fields are numbered as in ``onnx.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

TYPES = {"F32": 1, "I64": 7, "F16": 10}  # TensorProto.DataType, by the names of safetensors
IR_VERSION = 8  # the one of opset 17
Shape = Sequence[int | str]  # a word is a size that is not known yet


def varint(number: int) -> bytes:
    """A number, seven bits a byte, the lowest first; a negative one as its 64 bits."""
    number &= 2**64 - 1
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def field(number: int, value: int | float | str | bytes) -> bytes:
    """One field of a message; ``bytes`` are text, a message or a tensor's content."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def fields(number: int, values: Sequence) -> bytes:
    """A field that occurs several times."""
    return b"".join(field(number, value) for value in values)


def attribute(name: str, value: int | float | str | Sequence[int]) -> bytes:
    """AttributeProto: a setting of a node."""
    if isinstance(value, float):
        held, kind = field(2, value), 1
    elif isinstance(value, int):
        held, kind = field(3, value), 2
    elif isinstance(value, str):
        held, kind = field(4, value), 3
    else:
        held, kind = fields(8, value), 7
    return field(1, name) + held + field(20, kind)


def node(operation: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping) -> bytes:
    """NodeProto."""
    settings = [attribute(name, value) for name, value in attributes.items()]
    return fields(1, inputs) + fields(2, outputs) + field(4, operation) + fields(5, settings)


def tensor(name: str, kind: str, shape: Sequence[int], content: bytes) -> bytes:
    """TensorProto, with its numbers as little-endian bytes."""
    return fields(1, shape) + field(2, TYPES[kind]) + field(8, name) + field(9, content)


def value(name: str, kind: str, shape: Shape) -> bytes:
    """ValueInfoProto: an input or output of the graph."""
    sizes = [field(2 if isinstance(size, str) else 1, size) for size in shape]
    return field(1, name) + field(2, field(1, field(1, TYPES[kind]) + field(2, fields(1, sizes))))


def model(nodes: Sequence[bytes], tensors: Sequence[bytes], inputs: Mapping[str, tuple[str, Shape]],
          outputs: Mapping[str, tuple[str, Shape]], opset: int) -> bytes:  # fmt: skip
    """ModelProto: the file.

    Args:
        nodes: In the order in which they are to be run.
        tensors: What is constant, weights included.
        inputs: Name -> (type, shape).
        outputs: The same.
        opset: Version of the operations.
    """
    graph = fields(1, nodes) + field(2, "network") + fields(5, tensors)
    graph += fields(11, [value(name, *of) for name, of in inputs.items()])
    graph += fields(12, [value(name, *of) for name, of in outputs.items()])
    return field(1, IR_VERSION) + field(2, "ddim_edu") + field(7, graph) + field(8, field(1, "") + field(2, opset))
