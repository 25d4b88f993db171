"""What tests of other people's clients share: the server with its embedded engines and a chat endpoint, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.chat_endpoint import ChatEndpoint, chat_endpoint
from clients.harness import KEY, Listener, write_clips
from e2e.real_server import RealServer, embedded_server, require_engines

from audio.stt.whisper_model import WhisperModel, packaged_model


@pytest.fixture(scope="session")
def chat() -> Iterator[ChatEndpoint]:
    """The language model: always the same answers."""
    with chat_endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, chat: ChatEndpoint) -> Iterator[RealServer]:
    """``convergio-voice serve``: embedded ears and voice, and an access key."""
    settings = {
        "model__engine": "openai",
        "model__base_url": chat.base_url,
        "model__api_key": "any",
        "model__model": "always-the-same",
        "agent__max_output_tokens": 400,
        "api_keys": f'["{KEY}"]',
        "allowed_origins": '["http://localhost:*"]',
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
