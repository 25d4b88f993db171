"""The emulator's framing: golden vectors as the genuine SDK sends them, and nothing that crashes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.azure_emulator.frames import FrameError, decode, encode_audio, encode_text

REQUEST = "0f8fad5bd9cb469fa16570867728950e"


def test_a_text_message_is_read_as_the_sdk_writes_it() -> None:
    message = decode(
        f"Path:speech.context\r\nX-RequestId:{REQUEST}\r\nX-Timestamp:2026-01-01T00:00:00Z\r\n"
        'Content-Type:application/json\r\n\r\n{"phraseDetection":{"language":"en-us"}}'
    )
    assert message.path == "speech.context"
    assert message.request_id == REQUEST
    assert message.json() == {"phraseDetection": {"language": "en-us"}}


def test_names_have_no_case_and_dashes_of_an_id_mean_nothing() -> None:
    message = decode("PATH: Speech.Config\r\nx-requestid: 0f8fad5b-d9cb-469f-a165-70867728950e\r\n\r\n{}")
    assert (message.path, message.request_id) == ("speech.config", REQUEST)


def test_only_the_first_empty_line_ends_the_headers() -> None:
    assert decode("Path:ssml\r\n\r\none\r\n\r\ntwo").text == "one\r\n\r\ntwo"


def test_a_binary_message_is_read_by_the_length_of_its_headers() -> None:
    head = f"Path:audio\r\nX-RequestId:{REQUEST}\r\nX-StreamId:1\r\nContent-Type:audio/x-wav\r\n".encode()
    message = decode(len(head).to_bytes(2, "big") + head + b"RIFF\r\n\r\n\0\1")
    assert message.path == "audio"
    assert message.headers["x-streamid"] == "1"
    assert message.body == b"RIFF\r\n\r\n\0\1"


def test_what_is_sent_is_exactly_this() -> None:
    assert encode_text("turn.start", REQUEST, {"context": {"serviceTag": "abc"}}) == (
        f"X-RequestId:{REQUEST}\r\nPath:turn.start\r\nContent-Type:application/json; charset=utf-8\r\n\r\n"
        '{"context":{"serviceTag":"abc"}}'
    )
    head = f"X-RequestId:{REQUEST}\r\nX-StreamId:AB\r\nPath:audio\r\nContent-Type:audio/x-wav\r\n".encode()
    assert encode_audio(REQUEST, "AB", b"\0\1") == bytes([0, len(head)]) + head + b"\0\1"


@pytest.mark.parametrize(
    "frame",
    [
        "no headers",
        "Path:audio\r\n",
        "X-RequestId:1\r\n\r\n{}",
        "Path audio\r\n\r\n",
        b"",
        b"\0",
        b"\0\x20Path:audio\r\n",
        b"\0\x02\xff\xfe",
        "".join(f"h{n}:v\r\n" for n in range(40)) + "\r\n",
    ],
)
def test_what_is_no_message_is_refused(frame: str | bytes) -> None:
    with pytest.raises(FrameError):
        decode(frame)


@pytest.mark.parametrize("body", ["[]", "{", "1", "[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: str) -> None:
    with pytest.raises(FrameError):
        decode(f"Path:speech.config\r\n\r\n{body}").json()


@given(st.text() | st.binary())
def test_any_bytes_are_a_message_or_an_error(frame: str | bytes) -> None:
    try:
        message = decode(frame)
    except FrameError:
        return
    assert message.path


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_what_is_encoded_is_decoded_to_the_same(body: dict[str, object]) -> None:
    message = decode(encode_text("speech.phrase", REQUEST, body))
    assert (message.path, message.json()) == ("speech.phrase", json.loads(json.dumps(body)))
