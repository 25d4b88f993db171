"""Cutting an ONNX model: both parts compute what the whole computes, and bytes that are no model are refused."""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.tts.onnx_split import OnnxModel, SplitError

needs_onnxruntime = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
FLOAT = 1
GRAPH_ATTRIBUTE = 5


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    payload = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def node(op: str, inputs: list[str], outputs: list[str], attribute: bytes = b"") -> bytes:
    named = [field(1, name) for name in inputs] + [field(2, name) for name in outputs]
    return b"".join(named) + field(3, f"/{outputs[0]}") + field(4, op) + attribute


def weight(name: str, values: list[float]) -> bytes:
    raw = np.array(values, dtype=np.float32).tobytes()
    return field(1, 1) + field(1, len(values)) + field(1, 1) + field(2, FLOAT) + field(8, name) + field(9, raw)


def value_info(name: str, rank: int = 3) -> bytes:
    shape = b"".join(field(1, field(2, f"{name}_{axis}")) for axis in range(rank))
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, shape)))


def model(nodes: list[bytes], weights: list[bytes], inputs: list[str], outputs: list[str]) -> bytes:
    graph = b"".join(field(1, one) for one in nodes) + field(2, "graph")
    graph += b"".join(field(5, one) for one in weights)
    graph += b"".join(field(11, value_info(one)) for one in inputs)
    graph += b"".join(field(12, value_info(one)) for one in outputs)
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 15))


def subgraph(captured: str) -> bytes:
    """An If node's two branches: each returns -captured."""
    branch = field(1, node("Neg", [captured], ["negated"])) + field(2, "branch") + field(12, value_info("negated"))
    return b"".join(
        field(GRAPH_ATTRIBUTE, field(1, name) + field(6, branch) + field(20, GRAPH_ATTRIBUTE))
        for name in ("then_branch", "else_branch")
    )


CHAIN = model(
    nodes=[
        node("Add", ["x", "shift"], ["z"]),
        node("Neg", ["x"], ["unused"]),
        node("Mul", ["z", "scale"], ["scaled"]),
        node("Add", ["scaled", "extra"], ["y"]),
    ],
    weights=[weight("shift", [1.0, 2.0]), weight("scale", [3.0, 4.0])],
    inputs=["x", "extra"],
    outputs=["y"],
)


def run(data: bytes, **feeds: np.ndarray) -> Any:
    import onnxruntime  # noqa: PLC0415

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert {value.name for value in session.get_inputs()} == set(feeds)
    return session.run(None, feeds)[0]


@pytest.mark.engines
@needs_onnxruntime
def test_the_two_parts_in_a_row_compute_what_the_whole_computes() -> None:
    x = np.arange(10, dtype=np.float32).reshape(1, 2, 5).transpose(0, 2, 1)[:, :1].copy()
    extra = np.full_like(x, 0.5)

    head, tail = OnnxModel(CHAIN).split("z")

    z = run(head, x=x)
    np.testing.assert_array_equal(run(tail, z=z, extra=extra), run(CHAIN, x=x, extra=extra))


@pytest.mark.engines
@needs_onnxruntime
def test_what_a_branch_reads_from_around_it_stays_with_it() -> None:
    whole = model(
        nodes=[
            node("Add", ["x", "shift"], ["kept"]),
            node("Greater", ["threshold", "zero"], ["condition"]),
            node("If", ["condition"], ["z"], subgraph("kept")),
            node("Mul", ["z", "scale"], ["y"]),
        ],
        weights=[
            weight("shift", [1.0]),
            weight("scale", [2.0]),
            weight("threshold", [1.0]),
            weight("zero", [0.0]),
        ],
        inputs=["x"],
        outputs=["y"],
    )
    x = np.ones((1, 1, 3), dtype=np.float32)

    head, tail = OnnxModel(whole).split("z")

    z = run(head, x=x)
    np.testing.assert_array_equal(z, -(x + 1))
    np.testing.assert_array_equal(run(tail, z=z), run(whole, x=x))


def test_each_part_carries_only_its_own_weights() -> None:
    head, tail = OnnxModel(CHAIN).split("z")

    assert b"shift" in head
    assert b"scale" not in head
    assert b"scale" in tail
    assert b"shift" not in tail
    assert b"unused" not in head + tail


@pytest.mark.parametrize("tensor", ["nowhere", "x", "unused"])
def test_a_cut_that_separates_nothing_is_refused(tensor: str) -> None:
    with pytest.raises(SplitError):
        OnnxModel(CHAIN).split(tensor)


def test_a_model_broken_off_anywhere_is_refused_or_still_wired_as_it_was() -> None:
    wiring = [one.outputs for one in OnnxModel(CHAIN).nodes]
    refused = 0
    for end in range(len(CHAIN)):
        try:
            found = [one.outputs for one in OnnxModel(CHAIN[:end]).nodes]
        except SplitError:
            refused += 1
        else:
            assert found == wiring
    assert refused > len(CHAIN) // 2


@given(st.binary(max_size=200))
def test_bytes_that_are_no_model_are_refused(data: bytes) -> None:
    with pytest.raises(SplitError):
        OnnxModel(data + b"\x07")


def test_every_node_knows_what_it_reads_and_makes() -> None:
    nodes = OnnxModel(CHAIN).nodes

    assert [one.name for one in nodes] == ["/z", "/unused", "/scaled", "/y"]
    assert list(itertools.chain.from_iterable(one.outputs for one in nodes)) == ["z", "unused", "scaled", "y"]
