"""The official OpenAI package for JavaScript holds a whole conversation, over TLS, as it insists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from clients.harness import Listener, check_whole_conversation, node_program, run
from clients.tls_front import certificate, tls_front
from e2e.real_server import RealServer

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key."""
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secure_url(server: RealServer, authority: Path) -> Iterator[str]:
    """The server behind TLS."""
    port = urlsplit(server.url).port
    assert port is not None
    with tls_front(port, authority) as front:
        yield f"https://127.0.0.1:{front}"


@pytest.fixture(scope="module")
def trusting(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Node trusts the certificate, and whatever it trusted before."""
    already = os.environ.get("NODE_EXTRA_CA_CERTS")
    trusted = tmp_path_factory.mktemp("ca") / "trusted.pem"
    trusted.write_text((Path(already).read_text() if already else "") + authority.read_text())
    return {"NODE_EXTRA_CA_CERTS": str(trusted)}


@pytest.mark.parametrize("variant", ["ws", "websocket"])
def test_the_openai_package_holds_a_whole_conversation(
    secure_url: str, trusting: dict[str, str], clips: Path, listener: Listener, tmp_path: Path, variant: str
) -> None:
    report = run(node_program("openai_node", secure_url, clips, tmp_path, "--variant", variant), trusting)
    check_whole_conversation(report, listener)
