"""Free the fixed input shape of an ONNX file, so that one network takes pictures of any size.

An ONNX file is a Protocol Buffers message; the field numbers below are those of the published ``onnx.proto``. Editing
the few fields that matter takes less than the ``onnx`` package, which nothing else here needs.
"""

from collections.abc import Iterator

#: Field numbers. Model: graph. Graph: initializer, input, output. Tensor: name. Value: name, type.
MODEL_GRAPH = 7
GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 5, 11, 12
TENSOR_NAME = 8
VALUE_NAME, VALUE_TYPE = 1, 2

FLOAT = 1
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Field = tuple[int, int, int | bytes]


def free_shapes(model: bytes, rank: int, channels: int) -> bytes:
    """Return an ONNX model whose input has free dimensions but for its channels, and whose outputs are unshaped.

    Weights that old exporters also list as inputs are taken off that list, so that the runtime may fold them.

    Args:
        model: The content of the ONNX file; weights must have float32 inputs and outputs.
        rank: Number of dimensions of the input.
        channels: Size of the second dimension, which stays fixed.
    """
    return b"".join(
        _pack(number, kind, _free_graph(_bytes(value), rank, channels) if number == MODEL_GRAPH else value)
        for number, kind, value in _fields(model)
    )


def _free_graph(graph: bytes, rank: int, channels: int) -> bytes:
    fields = list(_fields(graph))
    weights = {_first(_bytes(value), TENSOR_NAME) for number, _, value in fields if number == GRAPH_INITIALIZER}
    dimensions = b"".join(_pack(1, BYTES, _pack(1, VARINT, channels) if i == 1 else _pack(2, BYTES, b"d%d" % i))
                          for i in range(rank))  # fmt: skip
    parts = []
    for number, kind, value in fields:
        if number in (GRAPH_INPUT, GRAPH_OUTPUT):
            name = _first(_bytes(value), VALUE_NAME)
            if name in weights:
                continue
            shape = _pack(2, BYTES, dimensions) if number == GRAPH_INPUT else b""
            tensor = _pack(1, BYTES, _pack(1, VARINT, FLOAT) + shape)
            value = _pack(VALUE_NAME, BYTES, name) + _pack(VALUE_TYPE, BYTES, tensor)
        parts.append(_pack(number, kind, value))
    return b"".join(parts)


def _fields(message: bytes) -> Iterator[Field]:
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = _read_varint(message, at)
            yield number, kind, value
            continue
        if kind == BYTES:
            length, at = _read_varint(message, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"not an ONNX file: wire type {kind} at byte {at}")
        yield number, kind, message[at : at + length]
        at += length


def _pack(number: int, kind: int, value: int | bytes) -> bytes:
    tag = _varint(number << 3 | kind)
    if isinstance(value, int):
        return tag + _varint(value)
    return tag + (_varint(len(value)) if kind == BYTES else b"") + value


def _first(message: bytes, wanted: int) -> bytes:
    return next((_bytes(value) for number, _, value in _fields(message) if number == wanted), b"")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("not an ONNX file: a number where a message belongs")
    return value


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
