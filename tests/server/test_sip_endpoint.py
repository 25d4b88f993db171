"""Our SIP endpoint against another of ours and against bare sockets: calls both ways, refusals, floods, and its end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from e2e.sip_endpoints import Exchange, eventually, exchange
from e2e.sip_phones import certificate_in
from sip_messages import broken

from server.sip_settings import SipSettings
from server.telephony.port import CallControlError

TONE = (np.sin(np.arange(16_000) * 2 * np.pi * 440 / 16_000) * 8_000).astype(np.int16)
OFFER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)


def trunk_to(server: Exchange, transport: str = "UDP", **more: Any) -> dict[str, Any]:
    host = "localhost" if transport == "TLS" else "127.0.0.1"
    return {"name": "out", "host": host, "port": server.port(transport), "transport": transport.lower(), **more}  # type: ignore[arg-type]


class Bare:
    """A peer that sends what it is told and keeps what comes, over UDP."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.came.append(data.decode(errors="replace"))

    def error_received(self, exc: Exception) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...

    def send(self, server: Exchange, data: bytes) -> None:
        assert self.transport is not None
        self.transport.sendto(data, ("127.0.0.1", server.port()))

    def statuses(self, cseq: str = "") -> list[int]:
        found = [re.match(r"SIP/2.0 (\d+)", text) for text in self.came if cseq in text]
        return [int(match[1]) for match in found if match]

    async def until(self, status: int, cseq: str = "") -> str:
        await eventually(lambda: status in self.statuses(cseq))
        return next(text for text in self.came if text.startswith(f"SIP/2.0 {status}") and cseq in text)

    def request(self, method: str, number: int = 1, body: str = "", to_tag: str = "", **headers: str) -> bytes:
        """A request of one call of this peer's."""
        assert self.transport is not None
        host, port = self.transport.get_extra_info("sockname")
        branch = headers.pop("branch", f"z9hG4bK{method}{number}")
        lines = {
            "Via": f"SIP/2.0/UDP {host}:{port};branch={branch};rport",
            "Max-Forwards": "70",
            "From": "<sip:caller@example.org>;tag=theirs",
            "To": "<sip:agent@127.0.0.1>" + (f";tag={to_tag}" if to_tag else ""),
            "Call-ID": headers.pop("call_id", "one@example.org"),
            "CSeq": f"{number} {method}",
            "Contact": f"<sip:caller@{host}:{port}>",
            **({"Content-Type": "application/sdp"} if body else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
            "Content-Length": str(len(body)),
        }
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
        return f"{method} sip:agent@127.0.0.1 SIP/2.0\r\n{text}\r\n{body}".encode()


async def opened(peer: Bare) -> Bare:
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: peer, local_addr=("127.0.0.1", 0))
    return peer


@pytest.fixture
async def peer() -> AsyncGenerator[Bare]:
    made = await opened(Bare())
    yield made
    assert made.transport is not None
    made.transport.close()


def tag_in(text: str) -> str:
    match = re.search(r"^To:.*;tag=(\w+)", text, re.MULTILINE)
    assert match is not None
    return match[1]


# --- two of ours ---


@pytest.mark.parametrize(
    ("transport", "codec", "srtp"),
    [("UDP", "pcmu", "off"), ("TCP", "g722", "required"), ("TLS", "opus", "optional"), ("TLS", "pcma", "required")],
)
async def test_we_call_and_are_heard(tmp_path: Path, transport: str, codec: str, srtp: str) -> None:
    certificates = certificate_in(tmp_path / "tls")
    async with (
        exchange(certificates=certificates) as server,
        exchange(
            certificates=certificates, codecs=[codec], srtp=srtp, trunks=[trunk_to(server, transport)], echo=False
        ) as caller,
    ):
        leg = await caller.endpoint.dial("+49 30 123", "out", 10)
        assert leg.info.direction == "outbound"
        ours, theirs = await caller.talk(), await server.talk()
        leg.play(TONE, 16_000)
        await eventually(lambda: ours.loudest > 5_000)
        assert leg.rate_hz == {"pcmu": 8_000, "pcma": 8_000, "g722": 16_000, "opus": 24_000}[codec]
        assert theirs.leg.info.callee == "+4930123"
        await leg.send_digits("42#")
        await eventually(lambda: theirs.digits == "42#")
        await eventually(lambda: 1_000 in ours.played_ms)
        await leg.hang_up("agent")
        await eventually(theirs.over.is_set)
        assert (ours.reason, theirs.reason) == ("agent", "caller")
        await server.empty()
        await caller.empty()


async def test_what_is_cleared_is_not_sent() -> None:
    async with exchange(echo=False) as server, exchange(trunks=[trunk_to(server)], codecs=["pcmu"]) as caller:
        leg = await caller.endpoint.dial("100", "out", 10)
        ours, theirs = await caller.talk(), await server.talk()
        for _ in range(5):
            leg.play(TONE, 16_000)
        await eventually(lambda: theirs.loudest > 5_000)
        leg.clear()
        theirs.samples.clear()
        await eventually(lambda: theirs.heard_ms > 300)
        later = np.concatenate(theirs.samples[len(theirs.samples) // 2 :])
        assert int(np.abs(later.astype(int)).max()) < 200, "comfort noise, and no more of it"
        assert ours.played_ms
        with pytest.raises(CallControlError):
            await leg.send_digits("x")


async def test_a_call_over_a_trunk_with_a_password() -> None:
    users = [{"name": "4711", "password": "long-enough-a-password"}]
    for digest in (["MD5"], ["SHA-256", "MD5"]):
        async with exchange(trunks=[], users=users, digest=digest) as server:
            trunk = trunk_to(server, user="4711", password="long-enough-a-password")
            async with exchange(trunks=[trunk]) as caller:
                leg = await caller.endpoint.dial("100", "out", 10)
                theirs = await server.talk()
                assert theirs.admitted is not None
                assert theirs.admitted.name == "4711"
                await leg.hang_up("agent")


async def test_nobody_answers() -> None:
    async with exchange(answer_delay_ms=30_000) as server, exchange(trunks=[trunk_to(server)]) as caller:
        with pytest.raises(CallControlError, match="Nobody answered"):
            await caller.endpoint.dial("100", "out", 0.5)
        await server.empty()
        await caller.empty()
        assert server.talks == []
        with pytest.raises(CallControlError, match="no such trunk"):
            await caller.endpoint.dial("100", "nowhere", 0.5)


async def test_a_call_that_has_fallen_silent_is_given_up(peer: Bare) -> None:
    async with exchange(rtp_timeout_s=1) as server:
        peer.send(server, peer.request("INVITE", body=OFFER.format(port=9)))
        answer = await peer.until(200)
        peer.send(server, peer.request("ACK", to_tag=tag_in(answer)))
        talk = await server.talk()
        await eventually(talk.over.is_set)
        assert talk.reason == "lost"
        await eventually(lambda: any(text.startswith("BYE") for text in peer.came))


# --- bare messages ---


async def test_a_call_by_hand_with_hold_keys_and_bye(peer: Bare) -> None:
    async with exchange(session_expires_s=600) as server:
        peer.send(server, peer.request("INVITE", body=OFFER.format(port=9), Supported="timer", X_Case="42"))
        answer = await peer.until(200, "1 INVITE")
        assert peer.statuses("1 INVITE")[:2] == [100, 180]
        assert "Session-Expires: 600;refresher=uac" in answer
        assert "m=audio" in answer
        tag = tag_in(answer)
        peer.send(server, peer.request("ACK", to_tag=tag))
        talk = await server.talk()
        assert talk.leg.info.parameters == {"case": "42"}
        held = OFFER.format(port=9) + "a=sendonly\r\n"
        peer.send(server, peer.request("INVITE", 2, held, tag, Supported="timer"))
        assert "a=recvonly" in await peer.until(200, "2 INVITE")
        peer.send(server, peer.request("ACK", 2, to_tag=tag))
        await eventually(lambda: talk.holds == [True])
        peer.send(server, peer.request("UPDATE", 3, OFFER.format(port=9), tag))
        await peer.until(200, "3 UPDATE")
        assert talk.holds == [True, False]
        peer.send(
            server, peer.request("INFO", 4, "Signal=5\r\nDuration=160\r\n", tag, Content_Type="application/dtmf-relay")
        )
        await peer.until(200, "4 INFO")
        assert talk.digits == "5"
        peer.send(server, peer.request("INFO", 2, "", tag, branch="z9hG4bKlate"))
        await peer.until(500)
        peer.send(server, peer.request("MESSAGE", 5, to_tag=tag))
        await peer.until(405)
        peer.send(server, peer.request("BYE", 6, to_tag=tag))
        await peer.until(200, "6 BYE")
        await eventually(talk.over.is_set)
        await server.empty()
        peer.send(server, peer.request("BYE", 7, to_tag=tag))
        await peer.until(481)


async def test_a_call_without_an_offer_gets_ours(peer: Bare) -> None:
    async with exchange() as server:
        peer.send(server, peer.request("INVITE"))
        answer = await peer.until(200)
        assert "a=rtpmap:96 opus/48000/2" in answer
        peer.send(server, peer.request("ACK", body=OFFER.format(port=9), to_tag=tag_in(answer)))
        talk = await server.talk()
        assert talk.leg.rate_hz == 8_000


async def test_a_cancel_takes_the_call_back(peer: Bare) -> None:
    async with exchange(answer_delay_ms=20_000) as server:
        invite = peer.request("INVITE", body=OFFER.format(port=9))
        peer.send(server, invite)
        await peer.until(180)
        peer.send(server, peer.request("CANCEL", branch="z9hG4bKINVITE1"))
        given_up = await peer.until(487)
        assert tag_in(await peer.until(200, "1 CANCEL")) == tag_in(given_up)  # RFC 3261 section 9.2
        await server.empty()
        assert server.talks == []


@pytest.mark.parametrize(
    ("headers", "body", "status", "says"),
    [
        ({"Require": "100rel, timer"}, OFFER, 420, "Unsupported: 100rel"),
        ({"Session_Expires": "30", "Supported": "timer"}, OFFER, 422, "Min-SE: 90"),
        ({"Content_Type": "text/plain"}, "hello", 415, "Accept: application/sdp"),
        ({"Contact": "<tel:+4930>"}, OFFER, 400, ""),
        ({}, OFFER.replace("RTP/AVP 0 101", "RTP/AVP 3"), 488, ""),
        ({}, "nonsense", 400, ""),
    ],
)
async def test_what_cannot_be_taken_is_refused(
    peer: Bare, headers: dict[str, str], body: str, status: int, says: str
) -> None:
    async with exchange() as server:
        peer.send(server, peer.request("INVITE", body=body.format(port=9), **headers))
        assert says in await peer.until(status)
        await server.empty()
        assert server.talks == []


async def test_options_tell_that_we_are_here(peer: Bare) -> None:
    async with exchange() as server:
        peer.send(server, peer.request("OPTIONS"))
        assert "Allow: INVITE" in await peer.until(200)
        peer.send(server, b"\r\n\r\n")
        peer.send(server, peer.request("SUBSCRIBE", 2))
        await peer.until(405)


# --- strangers ---


async def test_strangers_are_refused_and_leave_nothing(peer: Bare, caplog: pytest.LogCaptureFixture) -> None:
    async with exchange(trunks=[]) as server:
        for at in range(100):
            await asyncio.sleep(0)
            peer.send(
                server, peer.request("INVITE", call_id=f"{at}@x", branch=f"z9hG4bK{at}", body=OFFER.format(port=9))
            )
        await peer.until(403)
        await eventually(lambda: server.endpoint.refused > 60)
        assert server.endpoint.signalling.transactions == 0
        assert len(peer.came) < 55, "whoever asks too often is not answered"
        lines = [record for record in caplog.records if record.message == "sip request refused"]
        assert len(lines) <= 3
        assert (lines[0].source, lines[0].reason) == ("127.0.0.1", "not-allowed")  # type: ignore[attr-defined]


async def test_a_flood_of_calls_is_bounded(peer: Bare) -> None:
    async with exchange(max_calls=3, answer_delay_ms=5_000) as server:
        for at in range(50):
            peer.send(
                server, peer.request("INVITE", call_id=f"{at}@x", branch=f"z9hG4bK{at}", body=OFFER.format(port=9))
            )
        await eventually(lambda: len(peer.statuses()) >= 50 and peer.statuses().count(503) == 47)
        assert server.endpoint.calls == 3


async def test_malformed_messages_end_nothing(peer: Bare) -> None:
    async with exchange() as server:
        rows = [
            broken(CSeq="x"),
            broken(To='"a <sip:b@c>'),
            b"INVITE",
            b"\x00" * 500,
            broken(Via=""),
            b"SIP/2.0 999 x\r\n\r\n",
        ]
        for data in rows * 3:
            peer.send(server, data)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port("TCP"))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b"", "the stream cannot be followed"
        writer.close()
        peer.send(server, peer.request("OPTIONS", 77))
        await peer.until(200)
        assert server.endpoint.signalling.malformed > 5
        assert server.endpoint.calls == 0


# --- registration ---


async def test_we_register_again_with_a_password_and_leave(peer: Bare) -> None:
    from server.wire.sip.digest import DigestGuard, Signed  # noqa: PLC0415 - the registrar is this test's

    guard, seen, clock = DigestGuard("pbx", b"k" * 32), [], count(1.0)

    class Registrar(Bare):
        def datagram_received(self, data: bytes, addr: object) -> None:
            text = data.decode()
            if not text.startswith("REGISTER"):
                return
            uri = text.split(" ")[1]
            given = re.findall(r"^Authorization: (.*?)\r$", text, re.MULTILINE)
            verdict, _ = guard.check(given, Signed("REGISTER", uri), {"4711": "long-enough"}, next(clock))
            copied = "\r\n".join(line for line in text.split("\r\n") if re.match("(Via|From|To|Call-ID|CSeq):", line))
            if verdict == "good":
                seen.append(re.findall(r"Expires: (\d+)", text)[0])
                answer = f"SIP/2.0 200 OK\r\n{copied}\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n"
            else:
                challenges = "\r\n".join(f"WWW-Authenticate: {one}" for one in guard.challenges(next(clock)))
                answer = f"SIP/2.0 401 Unauthorized\r\n{copied}\r\n{challenges}\r\nContent-Length: 0\r\n\r\n"
            assert self.transport is not None
            self.transport.sendto(answer.encode(), addr)

    pbx = await opened(Registrar())
    assert pbx.transport is not None
    port = pbx.transport.get_extra_info("sockname")[1]
    trunk = {"name": "pbx", "host": "127.0.0.1", "port": port, "user": "4711", "password": "long-enough"}
    async with exchange(trunks=[trunk | {"registers": True, "register_s": 120}]) as server:
        (registration,) = server.endpoint.registrations
        await eventually(lambda: registration.state == "registered")
        assert seen == ["120"]
        peer.send(server, peer.request("INVITE", body=OFFER.format(port=9)))
        await peer.until(200)
        peer.send(server, peer.request("ACK", to_tag=tag_in(await peer.until(200))))
        talk = await server.talk()
        assert talk.admitted is not None
        assert talk.admitted.name == "pbx", "calls of the PBX come from where we are registered"
    assert seen == ["120", "0"]
    pbx.transport.close()


# --- settings ---


@pytest.mark.parametrize(
    "wrong",
    [
        {"rtp_ports": "50000-40000"},
        {"tls_port": 5061},
        {"bind": "localhost"},
        {"codecs": []},
        {"trunks": [{"name": "a", "networks": ["not a network"]}]},
        {"trunks": [{"name": "a", "registers": True}]},
        {"trunks": [{"name": "a"}, {"name": "a"}]},
        {"users": [{"name": "a", "password": "short"}]},
        {"enabled": True, "udp_port": None, "tcp_port": None},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"sip|match"):
        SipSettings(**wrong)


def test_passwords_are_not_shown() -> None:
    settings = SipSettings(users=({"name": "a", "password": "a-secret-password"},))  # type: ignore[arg-type]
    assert "a-secret" not in repr(settings)
