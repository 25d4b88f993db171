"""What tests of other people's clients share: the server with its embedded engines and a chat endpoint, once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from clients.chat_endpoint import ChatEndpoint, chat_endpoint
from clients.harness import AT_ONCE, HERE, KEY, LIMIT_S, Client, Listener, missing, run, write_clips
from clients.page_server import page_server
from clients.tls_front import certificate, tls_front
from e2e.real_server import RealServer, embedded_server, require_engines

from audio.stt.whisper_model import WhisperModel, packaged_model


@pytest.fixture(scope="session")
def chat() -> Iterator[ChatEndpoint]:
    """The language model: always the same answers."""
    with chat_endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def page_origin() -> Iterator[str]:
    """Where a browser client's page comes from."""
    sdk = HERE / "node" / "node_modules" / "@openai" / "agents-realtime" / "dist" / "bundle"
    with page_server({"page": HERE / "browser", "sdk": sdk}) as origin:
        yield origin


@pytest.fixture
def pages(page_origin: str) -> str:
    """The same, where the SDK that the page uses is installed."""
    if reason := missing("node"):
        pytest.skip(reason)
    return page_origin


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, chat: ChatEndpoint, page_origin: str) -> Iterator[RealServer]:
    """``convergio-voice serve``: embedded ears and voice, and an access key."""
    settings = {
        "model__engine": "openai",
        "model__base_url": chat.base_url,
        "model__api_key": "any",
        "model__model": "always-the-same",
        "model__fallback": "none",
        "agent__max_output_tokens": 400,
        "api_keys": f'["{KEY}"]',
        "allowed_origins": f'["{page_origin}"]',
    }
    with embedded_server(tmp_path_factory.mktemp("clients"), **settings) as running:
        yield running


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings of the conversation."""
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def listener() -> Listener:
    """Who listens to the answers."""
    require_engines()
    return Listener(WhisperModel(packaged_model(), workers=1))


@pytest.fixture(scope="session")
def conversations(
    request: pytest.FixtureRequest, server: RealServer, clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Client, Future[dict[str, Any]]]]:
    """The conversations of all selected tests, a few at a time, in the order of the tests."""
    parameters = [getattr(item, "callspec", None) for item in request.session.items]
    wanted: list[Any] = [one.params["conversation"] for one in parameters if one and "conversation" in one.params]
    room = tmp_path_factory.mktemp("conversations")
    authority, trusted = certificate(room), room / "trusted.pem"
    already = os.environ.get("NODE_EXTRA_CA_CERTS")
    trusted.write_text((Path(already).read_text() if already else "") + authority.read_text())
    with tls_front(urlsplit(server.url).port or 0, authority) as front, ThreadPoolExecutor(AT_ONCE) as pool:
        secure = f"https://127.0.0.1:{front}"
        commands = {
            client: client.command(secure if client.secure else server.url, clips, room / str(client))
            for client in dict.fromkeys(wanted)
            if client.missing() is None
        }
        yield {client: pool.submit(run, command, trusted) for client, command in commands.items()}
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def conversation(request: pytest.FixtureRequest, conversations: dict[Client, Future[dict[str, Any]]]) -> dict[str, Any]:
    """What a client reported; skips, saying why, where the client is not installed."""
    client: Client = request.param
    if reason := client.missing():
        pytest.skip(reason)
    return conversations[client].result(LIMIT_S * len(conversations))
