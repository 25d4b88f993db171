"""A whole telephone call with the product as it is served: a phone that is not ours (baresip) dials, speaks, hears an
answer that can be understood, presses a key, holds and comes back, and hangs up; over UDP, TCP, and TLS with SRTP."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from clients.chat_endpoint import SHORT_ANSWER, ChatEndpoint
from clients.harness import Listener
from e2e.real_server import RealServer, embedded_server, usage_events
from e2e.sip_phones import (
    Baresip,
    PhoneOptions,
    baresip,
    certificate_in,
    eventually,
    free_port,
    require_baresip,
    write_speech,
)
from e2e.spoken import clip, match, quiet

pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]

GREETING = "Good morning. The school office is listening."
_HEARD_S = 40.0


@dataclass(frozen=True)
class Served:
    """The server, and where it takes calls."""

    server: RealServer
    ports: dict[str, int]
    certificates: Path


@pytest.fixture(scope="module")
def telephone_server(tmp_path_factory: pytest.TempPathFactory, chat: ChatEndpoint) -> Iterator[Served]:
    require_baresip()
    directory = tmp_path_factory.mktemp("sip")
    certificate, key = certificate_in(directory / "tls")
    ports = {"udp": free_port(socket.SOCK_DGRAM), "tcp": free_port(), "tls": free_port()}
    settings = {
        "model__engine": "openai",
        "model__base_url": chat.base_url,
        "model__api_key": "any",
        "model__model": "always-the-same",
        "model__fallback": "none",
        "telephony__greeting": GREETING,
        "telephony__silence_s": 60,
        "sip__enabled": "true",
        "sip__bind": "127.0.0.1",
        **{f"sip__{name}_port": port for name, port in ports.items()},
        "sip__tls_certificate": certificate,
        "sip__tls_key": key,
        "sip__rtp_ports": "46000-46099",
        "sip__trunks": json.dumps([{"name": "home", "networks": ["127.0.0.0/8"]}]),
    }
    with embedded_server(directory / "data", **settings) as server:
        yield Served(server, ports, directory / "tls")


@pytest.mark.parametrize(
    ("transport", "account"),
    [("udp", ";audio_codecs=pcmu"), ("tcp", ";audio_codecs=pcma"), ("tls", ";audio_codecs=pcmu;mediaenc=srtp-mand")],
)
def test_a_phone_holds_a_conversation(
    tmp_path: Path, telephone_server: Served, chat: ChatEndpoint, listener: Listener, transport: str, account: str
) -> None:
    said = write_speech(tmp_path / "said.wav", np.concatenate([quiet(7), clip("goforward"), quiet(170)]), 8_000)
    options = PhoneOptions(account, certificate=telephone_server.certificates / "both.pem")
    uri = f"sip:office@127.0.0.1:{telephone_server.ports[transport]};transport={transport}"
    log = telephone_server.server.log
    before = log.read_text().count("call ended")

    with baresip(tmp_path / "phone", said, options) as phone:
        phone.command("dial", uri)
        phone.until("CALL_ESTABLISHED", 20)
        understood = hears(phone, listener, f"{GREETING} {SHORT_ANSWER}")
        assert match(GREETING, understood) > 0.7, understood
        asked = len(chat.requests)
        phone.command("sndcode", "7")
        eventually(lambda: len(chat.requests) > asked, why=lambda: "no key came")
        assert "7" in json.dumps(chat.requests[-1]["messages"][-1])
        phone.command("hold")
        phone.until("CALL_REMOTE_SDP", 10, after=1)
        phone.command("resume")
        phone.until("CALL_REMOTE_SDP", 10, after=2)
        phone.command("hangup")
        eventually(lambda: log.read_text().count("call ended") > before, why=log.read_text)
    assert '"reason": "caller"' in log.read_text() or "reason=caller" in log.read_text()
    assert usage_events(telephone_server.server.data_dir), "a call is metered"


def hears(phone: Baresip, listener: Listener, expected: str) -> str:
    """What was understood of what the phone heard, once all that is expected was among it."""
    found: list[str] = []

    def all_of_it() -> bool:
        heard = phone.heard()
        if len(heard) < 5 * 16_000:
            return False
        found.append(listener.understood(heard[-30 * 16_000 :]))
        return match(expected, found[-1]) > 0.8

    eventually(all_of_it, _HEARD_S, lambda: f"understood only {found[-1:]}:\n{phone.log()}")
    return found[-1]
