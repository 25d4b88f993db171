"""AsyncAPI 3.0 of the sockets, from the message models. Pure; driven by ``generate``."""

from __future__ import annotations

from inspect import getdoc
from typing import Final

from server.contracts.client_messages import ClientMessage
from server.contracts.examples import CLIENT_EXAMPLES, SERVER_EXAMPLES
from server.contracts.schemas import Json, schemas_of
from server.contracts.server_messages import ServerMessage
from server.contracts.voice import (
    CHAT_CLIENT_MESSAGES,
    CHAT_SERVER_MESSAGES,
    CLIENT_MESSAGES,
    SERVER_MESSAGES,
    type_of,
)

_SCHEMAS: Final = "#/components/schemas/"
_BINARY: Final = "voice.binary"


def asyncapi(version: str) -> Json:
    """The document. ``version`` is the server's."""
    messages: dict[str, Json] = {type_of(model): _message(model) for model in (*CLIENT_MESSAGES, *SERVER_MESSAGES)}
    messages[_BINARY] = {
        "name": _BINARY,
        "title": "Bare audio",
        "summary": 'Audio alone, after `"binary": true` in `voice.start`; the negotiated codec, no header.',
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }
    voice_in, voice_out = [*_types(CLIENT_MESSAGES), _BINARY], [*_types(SERVER_MESSAGES), _BINARY]
    chat_in, chat_out = _types(CHAT_CLIENT_MESSAGES), _types(CHAT_SERVER_MESSAGES)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Convergio Voice sockets",
            "version": version,
            "description": "Read voice-socket.md first. Unknown fields are ignored; an unknown `type` is an error.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "localhost:8080", "protocol": "ws"}},
        "channels": {
            "voice": _channel("/v1/voice/ws", "Voice socket", voice_in, voice_out),
            "chat": _channel("/v1/ws", "Chat socket", chat_in, chat_out),
        },
        "operations": {
            "hearVoiceClient": _operation("receive", "voice", voice_in),
            "tellVoiceClient": _operation("send", "voice", voice_out),
            "hearChatClient": _operation("receive", "chat", chat_in),
            "tellChatClient": _operation("send", "chat", chat_out),
        },
        "components": {"messages": messages, "schemas": schemas_of((*CLIENT_MESSAGES, *SERVER_MESSAGES), _SCHEMAS)},
    }


def _types(models: tuple[type[ClientMessage], ...] | tuple[type[ServerMessage], ...]) -> list[str]:
    return [type_of(model) for model in models]


def _message(model: type[ClientMessage] | type[ServerMessage]) -> Json:
    name = type_of(model)
    example = CLIENT_EXAMPLES[name] if issubclass(model, ClientMessage) else SERVER_EXAMPLES[name]
    return {
        "name": name,
        "title": name,
        "summary": (getdoc(model) or "").split("\n", maxsplit=1)[0],
        "payload": {"$ref": _SCHEMAS + model.__name__},
        "examples": [{"payload": example}],
    }


def _channel(address: str, title: str, inbound: list[str], outbound: list[str]) -> Json:
    names = dict.fromkeys((*inbound, *outbound))
    return {
        "address": address,
        "title": title,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
    }


def _operation(action: str, channel: str, names: list[str]) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
    }
