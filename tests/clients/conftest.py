"""What tests of other people's clients share: the server with its embedded engines and a chat endpoint, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.chat_endpoint import ChatEndpoint, chat_endpoint
from clients.harness import HERE, KEY, Listener, node, write_clips
from clients.page_server import page_server
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
    node()
    return page_origin


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, chat: ChatEndpoint, page_origin: str) -> Iterator[RealServer]:
    """``convergio-voice serve``: embedded ears and voice, and an access key."""
    settings = {
        "model__engine": "openai",
        "model__base_url": chat.base_url,
        "model__api_key": "any",
        "model__model": "always-the-same",
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
