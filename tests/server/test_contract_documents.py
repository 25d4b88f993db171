"""The published documents say what the models say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from server.contracts import generate
from server.contracts.examples import CLIENT_EXAMPLES, SERVER_EXAMPLES
from server.contracts.http_routes import HTTP_ROUTES
from server.contracts.voice import CLIENT_MESSAGE, CLIENT_MESSAGES, SERVER_MESSAGE, SERVER_MESSAGES, type_of

DOCUMENTS = generate.documents()
JSON_DOCUMENTS = sorted(name for name in DOCUMENTS if name.endswith(".json"))


def loaded(name: str) -> dict[str, Any]:
    return json.loads(DOCUMENTS[name])


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def resolve(document: dict[str, Any], reference: str) -> object:
    node: Any = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def test_the_committed_documents_are_up_to_date() -> None:
    assert generate.stale(generate.DIRECTORY) == [], "run python -m server.contracts.generate"


def test_generating_writes_what_checking_wants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = ["--directory", str(tmp_path / "contracts")]

    assert generate.main([*directory, "--check"]) == 1
    assert "asyncapi.json is out of date" in capsys.readouterr().err
    assert generate.main(directory) == 0
    assert generate.main([*directory, "--check"]) == 0


def test_a_changed_document_fails_the_check(tmp_path: Path) -> None:
    generate.main(["--directory", str(tmp_path)])
    (tmp_path / "errors.md").write_text("changed", encoding="utf-8")

    assert generate.stale(tmp_path) == ["errors.md"]


@pytest.mark.parametrize("name", JSON_DOCUMENTS)
def test_every_reference_leads_somewhere(name: str) -> None:
    document = loaded(name)

    found = list(references(document))

    assert found
    for reference in found:
        assert resolve(document, reference) is not None


@pytest.mark.parametrize("name", JSON_DOCUMENTS)
def test_every_schema_is_a_json_schema(name: str) -> None:
    document = loaded(name)
    schemas = document.get("$defs") or document["components"]["schemas"]

    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("example", [*CLIENT_EXAMPLES.values(), *SERVER_EXAMPLES.values()], ids=lambda e: e["type"])
def test_every_example_satisfies_the_published_schema(example: dict[str, Any]) -> None:
    Draft202012Validator(loaded("events.schema.json")).validate(example)


def test_the_schema_refuses_a_message_without_its_type() -> None:
    message = {key: value for key, value in SERVER_EXAMPLES["chat.token"].items() if key != "type"}

    assert not Draft202012Validator(loaded("events.schema.json")).is_valid(message)


def test_there_is_an_example_of_every_message_and_the_models_take_it() -> None:
    assert list(CLIENT_EXAMPLES) == [type_of(model) for model in CLIENT_MESSAGES]
    assert set(SERVER_EXAMPLES) == {type_of(model) for model in SERVER_MESSAGES}
    for example in CLIENT_EXAMPLES.values():
        CLIENT_MESSAGE.validate_json(json.dumps(example))
    for example in SERVER_EXAMPLES.values():
        SERVER_MESSAGE.validate_json(json.dumps(example))


def test_openapi_has_every_route_and_no_other() -> None:
    paths = loaded("openapi.json")["paths"]

    assert {(method, path) for path, item in paths.items() for method in item} == {
        (route.method, route.path) for route in HTTP_ROUTES
    }


def test_asyncapi_has_every_message_on_the_voice_socket() -> None:
    voice = loaded("asyncapi.json")["channels"]["voice"]

    assert voice["address"] == "/v1/voice/ws"
    expected = {type_of(model) for model in (*CLIENT_MESSAGES, *SERVER_MESSAGES)} | {"voice.binary"}
    assert set(voice["messages"]) == expected


def test_the_guide_mentions_every_message() -> None:
    guide = (generate.DIRECTORY / "voice-socket.md").read_text(encoding="utf-8")

    missing = [name for name in (*CLIENT_EXAMPLES, *SERVER_EXAMPLES) if name not in guide]
    assert missing == []


def test_every_json_frame_in_the_guide_is_a_message() -> None:
    guide = (generate.DIRECTORY / "voice-socket.md").read_text(encoding="utf-8")
    frames = [line.split(" ", 1) for line in guide.splitlines() if line.startswith(("C> {", "S> {"))]

    assert len(frames) > 10
    for speaker, frame in frames:
        (CLIENT_MESSAGE if speaker == "C>" else SERVER_MESSAGE).validate_json(frame)
