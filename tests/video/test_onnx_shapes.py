"""An ONNX file of a fixed shape, made here byte by byte, takes other shapes afterwards."""

import numpy as np
import onnxruntime
import pytest

from au_dist.video.onnx_shapes import BYTES, VARINT, _pack, free_shapes


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    dimensions = b"".join(_pack(1, BYTES, _pack(1, VARINT, size)) for size in shape)
    tensor = _pack(1, BYTES, _pack(1, VARINT, 1) + _pack(2, BYTES, dimensions))
    return _pack(1, BYTES, name.encode()) + _pack(2, BYTES, tensor)


def _fixed_model() -> bytes:
    """y = x + w with x of 2 x 3 x 8 x 8, where the weight w is also listed as an input, as old exporters do."""
    node = b"".join([_pack(1, BYTES, b"x"), _pack(1, BYTES, b"w"), _pack(2, BYTES, b"y"), _pack(4, BYTES, b"Add")])
    weight = _pack(1, VARINT, 1) + _pack(2, VARINT, 1) + _pack(8, BYTES, b"w")
    weight += _pack(9, BYTES, np.array([300.0], "<f4").tobytes())
    values = [(11, "x", (2, 3, 8, 8)), (11, "w", (1,)), (12, "y", (2, 3, 8, 8))]
    listed = b"".join(_pack(number, BYTES, _value(name, shape)) for number, name, shape in values)
    graph = _pack(1, BYTES, node) + _pack(2, BYTES, b"g") + _pack(5, BYTES, weight) + listed
    return _pack(1, VARINT, 6) + _pack(7, BYTES, graph) + _pack(8, BYTES, _pack(2, VARINT, 9))


def test_fixed_model_becomes_free():
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    pictures = np.random.default_rng(0).random((1, 3, 5, 200), np.float32)

    def run(model: bytes) -> np.ndarray:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return session.run(None, {"x": pictures})[0]

    with pytest.raises(Exception, match="invalid dimensions"):
        run(_fixed_model())
    np.testing.assert_allclose(run(free_shapes(_fixed_model(), rank=4, channels=3)), pictures + 300)


def test_what_is_no_model_is_refused():
    with pytest.raises(ValueError, match="not an ONNX file"):
        free_shapes(b"\x0f\x0f", rank=4, channels=3)
