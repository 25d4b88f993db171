"""A telephone that is not ours (baresip) calls our SIP endpoint: over every transport and codec, with keys, hold and
transfer, and both sides hanging up."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
import numpy as np
import pytest
from sip_endpoints import Exchange, Talk, eventually, exchange, until_over
from sip_phones import Baresip, PhoneOptions, baresip, certificate_in, require_baresip, write_speech
from spoken import clip, quiet

from server.telephony.port import CallControlError

pytestmark = pytest.mark.timeout(120)

NAMES = {"opus": "opus/48000/2", "g722": "g722/16000/1"}
PASSWORD = "correct-horse-battery"


@asynccontextmanager
async def phone(directory: Path, options: PhoneOptions | None = None, rate_hz: int = 8_000) -> AsyncGenerator[Baresip]:
    said = np.concatenate([clip("goforward"), quiet(60)])
    running = baresip(directory, write_speech(directory / "said.wav", said, rate_hz), options)
    ready = await anyio.to_thread.run_sync(running.__enter__)
    try:
        yield ready
    finally:  # it says goodbye to whoever runs in this loop
        await anyio.to_thread.run_sync(running.__exit__, None, None, None)


async def until(telephone: Baresip, kind: str, after: int = 0) -> None:
    await anyio.to_thread.run_sync(lambda: telephone.until(kind, 20.0, after))


async def call(server: Exchange, telephone: Baresip, uri: str = "sip:agent@127.0.0.1:{port}") -> Talk:
    before = len(server.talks)
    telephone.command("dial", uri.format(port=server.port()))
    await until(telephone, "CALL_ESTABLISHED")
    return await server.talk(before)


async def presses_holds_and_resumes(telephone: Baresip, talk: Talk) -> None:
    telephone.command("sndcode", "5")
    await eventually(lambda: talk.digits == "5")
    telephone.command("hold")
    await eventually(lambda: talk.holds == [True])
    telephone.command("resume")
    await eventually(lambda: talk.holds == [True, False])
    heard_ms = talk.heard_ms
    await eventually(lambda: talk.heard_ms > heard_ms + 500)


@pytest.mark.parametrize(
    ("transport", "codec", "secure"),
    [
        ("UDP", "pcmu", False),
        ("TCP", "pcma", False),
        ("TLS", "g722", True),
        ("UDP", "opus", False),
        ("TLS", "opus", True),
    ],
)
async def test_it_speaks_and_hears(tmp_path: Path, transport: str, codec: str, secure: bool) -> None:
    require_baresip()
    certificates = certificate_in(tmp_path / "tls")
    account = f";audio_codecs={NAMES.get(codec, codec)}" + (";mediaenc=srtp-mand" if secure else "")
    options = PhoneOptions(account, certificate=tmp_path / "tls" / "both.pem")
    rate_hz = {"opus": 48_000, "g722": 16_000}.get(codec, 8_000)
    async with exchange(certificates=certificates) as server, phone(tmp_path / "phone", options, rate_hz) as telephone:
        uri = f"sip:agent@127.0.0.1:{server.port(transport)};transport={transport.lower()}"
        talk = await call(server, telephone, uri)
        await eventually(lambda: talk.heard_ms > 2_500)
        assert talk.loudest > 3_000, "the recording is heard"
        assert talk.rate_hz == (8_000 if codec in ("pcmu", "pcma") else 16_000)
        await eventually(lambda: len(telephone.heard()) > 16_000)
        assert int(np.abs(telephone.heard().astype(int)).max()) > 3_000, "and so is its echo"
        telephone.command("hangup")
        await eventually(talk.over.is_set)
        assert talk.reason == "caller"
        await server.empty()


async def test_keys_hold_and_resume(tmp_path: Path) -> None:
    require_baresip()
    async with exchange(echo=False) as server, phone(tmp_path, PhoneOptions(";audio_codecs=pcmu")) as telephone:
        talk = await call(server, telephone)
        await presses_holds_and_resumes(telephone, talk)
        assert talk.digits == "5"


async def test_it_is_transferred_and_leaves(tmp_path: Path) -> None:
    """The phone is asked to call another number, which is ours as well, and tells that it did."""
    require_baresip()

    async def converse(talk: Talk) -> None:
        if talk.leg.info.callee == "sip:other@127.0.0.1":
            await until_over(talk)
            return
        await eventually(lambda: talk.heard_ms > 200)
        await talk.leg.transfer(f"sip:other@127.0.0.1:{server.port()}")

    async with exchange(converse) as server, phone(tmp_path, PhoneOptions(";audio_codecs=pcmu")) as telephone:
        first = await call(server, telephone)
        second = await server.talk(1)
        await eventually(first.over.is_set)
        assert second.leg.info.callee == "sip:other@127.0.0.1"
        await eventually(lambda: second.heard_ms > 200)
        assert second.reason is None


async def test_a_transfer_that_fails_leaves_the_call_as_it_is(tmp_path: Path) -> None:
    require_baresip()
    failed: list[str] = []

    async def converse(talk: Talk) -> None:
        try:
            await talk.leg.transfer(f"sip:nobody@127.0.0.1:{server.port()};transport=udp;method=none")
        except CallControlError as error:
            failed.append(str(error))
        await until_over(talk)

    async with (
        exchange(converse, max_calls=1) as server,
        phone(tmp_path, PhoneOptions(";audio_codecs=pcmu")) as telephone,
    ):
        talk = await call(server, telephone)
        await eventually(lambda: failed)
        assert talk.reason is None
        telephone.command("hangup")
        await eventually(talk.over.is_set)


async def test_we_hang_up(tmp_path: Path) -> None:
    require_baresip()

    async def converse(talk: Talk) -> None:
        await eventually(lambda: talk.heard_ms > 200)
        await talk.leg.hang_up("agent")

    async with exchange(converse) as server, phone(tmp_path, PhoneOptions(";audio_codecs=pcmu")) as telephone:
        talk = await call(server, telephone)
        await until(telephone, "CALL_CLOSED")
        assert talk.reason == "agent"
        await server.empty()


async def test_a_phone_from_anywhere_calls_with_its_password(tmp_path: Path) -> None:
    require_baresip()
    users = [{"name": "anna", "password": PASSWORD}]
    options = PhoneOptions(f";audio_codecs=pcmu;auth_user=anna;auth_pass={PASSWORD}", user="anna")
    wrong = PhoneOptions(";audio_codecs=pcmu;auth_user=anna;auth_pass=guess", user="anna")
    async with exchange(trunks=[], users=users) as server:
        async with phone(tmp_path / "right", options) as telephone:
            talk = await call(server, telephone)
            assert talk.admitted is not None
            assert talk.admitted.name == "anna"
        async with phone(tmp_path / "wrong", wrong) as telephone:
            telephone.command("dial", f"sip:agent@127.0.0.1:{server.port()}")
            await until(telephone, "CALL_CLOSED")
        assert len(server.talks) == 1
        assert server.endpoint.refused > 0
