"""Cuts an ONNX model in two at one tensor, on the serialised bytes.

Owns the little of the ONNX wire format (protobuf; onnx.proto, IR version 8) that needs: which node makes which tensor.
Knows nothing of speech and needs no package. Nodes and weights are copied as they stand, so both parts compute what
the whole computes. Driven by ``audio.tts.vits`` while a voice is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

# Field numbers of onnx.proto.
_MODEL_GRAPH: Final = 7
_GRAPH_NODE: Final = 1
_GRAPH_INITIALIZER: Final = 5
_GRAPH_INPUT: Final = 11
_GRAPH_OUTPUT: Final = 12
_GRAPH_VALUE_INFO: Final = 13
_NODE_INPUT: Final = 1
_NODE_OUTPUT: Final = 2
_NODE_NAME: Final = 3
_NODE_ATTRIBUTE: Final = 5
_ATTRIBUTE_GRAPHS: Final = frozenset({6, 11})
_TENSOR_NAME: Final = 8
_VALUE_NAME: Final = 1


class SplitError(ValueError):
    """The bytes are not an ONNX model, or it cannot be cut where asked."""


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    payload: memoryview
    raw: memoryview


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: its name, and the tensors it reads (its subgraphs' captures included) and makes."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    raw: memoryview
    reads: frozenset[str]


class OnnxModel:
    """A serialised ONNX model, read only as far as its wiring.

    Raises:
        SplitError: ``data`` is not an ONNX model.
    """

    def __init__(self, data: bytes) -> None:
        self._model = list(_fields(memoryview(data)))
        graphs = [field for field in self._model if field.number == _MODEL_GRAPH]
        if len(graphs) != 1:
            raise SplitError(f"an ONNX model has one graph, this has {len(graphs)}")
        self._graph = list(_fields(graphs[0].payload))
        self.nodes = tuple(_node(field) for field in self._graph if field.number == _GRAPH_NODE)
        self._named = {
            number: {_text(field.payload, name): field for field in self._graph if field.number == number}
            for number, name in (
                (_GRAPH_INITIALIZER, _TENSOR_NAME),
                (_GRAPH_INPUT, _VALUE_NAME),
                (_GRAPH_OUTPUT, _VALUE_NAME),
            )
        }

    def split(self, tensor: str) -> tuple[bytes, bytes]:
        """Two models: inputs to ``tensor``, and ``tensor`` (with any inputs still needed) to outputs.

        ``tensor`` is taken for float32 of shape (1, channels, frames).

        Raises:
            SplitError: no node makes ``tensor``, or the outputs do not depend on it.
        """
        maker = {output: node for node in self.nodes for output in node.outputs}
        if tensor not in maker:
            raise SplitError(f"no node makes {tensor!r}")
        outputs = self._named[_GRAPH_OUTPUT]
        cut = _value_info(tensor)
        head, head_leaves = _ancestors([tensor], maker, stop=frozenset())
        tail, tail_leaves = _ancestors(outputs, maker, stop=frozenset({tensor}))
        if tensor not in tail_leaves:
            raise SplitError(f"the outputs do not depend on {tensor!r}")
        return (
            self._part(head, head_leaves, inputs=b"", outputs=_delimited(_GRAPH_OUTPUT, cut)),
            self._part(
                tail,
                tail_leaves,
                inputs=_delimited(_GRAPH_INPUT, cut),
                outputs=b"".join(field.raw for field in outputs.values()),
            ),
        )

    def _part(self, kept: frozenset[str], leaves: frozenset[str], *, inputs: bytes, outputs: bytes) -> bytes:
        """The model cut down to the nodes that make ``kept``, with the weights and inputs among ``leaves``."""
        wiring = {_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO}
        graph = [field.raw for field in self._graph if field.number not in wiring]
        graph += [node.raw for node in self.nodes if not kept.isdisjoint(node.outputs)]
        for number in (_GRAPH_INITIALIZER, _GRAPH_INPUT):
            graph += [field.raw for name, field in self._named[number].items() if name in leaves]
        graph += [memoryview(inputs), memoryview(outputs)]
        rest = b"".join(field.raw for field in self._model if field.number != _MODEL_GRAPH)
        return rest + _delimited(_MODEL_GRAPH, b"".join(graph))


def _ancestors(
    wanted: Iterable[str], maker: dict[str, Node], *, stop: frozenset[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """The tensors computed on the way to ``wanted``, and the leaves (weights, inputs, ``stop``) they rest on."""
    pending = list(wanted)
    seen: set[str] = set()
    leaves: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen or name in leaves:
            continue
        node = None if name in stop else maker.get(name)
        if node is None:
            leaves.add(name)
            continue
        seen.update(node.outputs)
        pending.extend(node.reads)
    return frozenset(seen), frozenset(leaves)


def _node(field: _Field) -> Node:
    parts = list(_fields(field.payload))
    names = {
        number: tuple(bytes(part.payload).decode() for part in parts if part.number == number)
        for number in (_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME)
    }
    reads = {name for name in names[_NODE_INPUT] if name}
    for attribute in (part for part in parts if part.number == _NODE_ATTRIBUTE):
        for value in _fields(attribute.payload):
            if value.number in _ATTRIBUTE_GRAPHS:
                reads |= _captured(value.payload)
    return Node(
        name="".join(names[_NODE_NAME]),
        inputs=names[_NODE_INPUT],
        outputs=names[_NODE_OUTPUT],
        raw=field.raw,
        reads=frozenset(reads),
    )


def _captured(graph: memoryview) -> set[str]:
    """What a subgraph reads from around it: all its nodes read, and what it returns, that it does not make."""
    fields = list(_fields(graph))
    nodes = [_node(field) for field in fields if field.number == _GRAPH_NODE]
    made = {output for node in nodes for output in node.outputs}
    made |= {_text(field.payload, _TENSOR_NAME) for field in fields if field.number == _GRAPH_INITIALIZER}
    made |= {_text(field.payload, _VALUE_NAME) for field in fields if field.number == _GRAPH_INPUT}
    returned = {_text(field.payload, _VALUE_NAME) for field in fields if field.number == _GRAPH_OUTPUT}
    return ({name for node in nodes for name in node.reads} | returned) - made


def _text(message: memoryview, number: int) -> str:
    return next((bytes(field.payload).decode() for field in _fields(message) if field.number == number), "")


def _fields(message: memoryview) -> Iterator[_Field]:
    """The top-level fields of a protobuf message, in order. Raises SplitError where it breaks off."""
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        payload = at
        match key & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                length, payload = _varint(message, at)
                at = payload + length
            case 5:
                at += 4
            case kind:
                raise SplitError(f"not an ONNX model: wire type {kind}")
        if at > len(message):
            raise SplitError("not an ONNX model: it ends inside a field")
        yield _Field(key >> 3, message[payload:at], message[start:at])


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise SplitError("not an ONNX model: a number does not end")


def _encoded_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _delimited(number: int, payload: bytes) -> bytes:
    return _encoded_varint(number << 3 | 2) + _encoded_varint(len(payload)) + payload


def _value_info(name: str) -> bytes:
    """A ValueInfoProto: ``name`` is float32 of shape (1, channels, frames)."""
    one = _encoded_varint(1 << 3) + _encoded_varint(1)  # both dim_value = 1 and elem_type = FLOAT are field 1, value 1
    dimensions = [one, _delimited(2, b"channels"), _delimited(2, b"frames")]
    shape = b"".join(_delimited(1, dimension) for dimension in dimensions)
    tensor_type = one + _delimited(2, shape)
    return _delimited(_VALUE_NAME, name.encode()) + _delimited(2, _delimited(1, tensor_type))
