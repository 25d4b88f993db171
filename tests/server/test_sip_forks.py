"""One call that comes by two ways, and one that two phones answer; and what trunks say that is not in order."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from e2e.sip_endpoints import Exchange, eventually, exchange
from test_sip_endpoint import OFFER, Bare, opened, tag_in

from server.telephony.sip.dialing import NotConnected
from server.telephony.sip.signalling import Signalling
from server.wire.sip.client_transaction import ClientTransaction
from server.wire.sip.flow import Flow
from server.wire.sip.message import Response
from server.wire.sip.uri import SipUri

pytestmark = pytest.mark.timeout(60)


class Trunk(Bare):
    """A trunk by hand: answers requests as a test says, and keeps them."""

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.address = addr
        super().datagram_received(data, addr)
        if self.came[-1].startswith("BYE"):
            self.reply(self.came[-1], "200 OK")

    @property
    def port(self) -> int:
        assert self.transport is not None
        return int(self.transport.get_extra_info("sockname")[1])

    def of(self, method: str) -> list[str]:
        return [text for text in self.came if text.startswith(method + " ")]

    async def asked(self, method: str, number: int = 1) -> str:
        await eventually(lambda: len(self.of(method)) >= number)
        return self.of(method)[number - 1]

    def reply(self, request: str, status: str, tag: str = "", extra: str = "", body: str = "") -> None:
        """Answer, with a tag where it is to have one of ours."""
        kept = re.findall(r"^(?:Via|From|To|Call-ID|CSeq):.*\r\n", request, re.MULTILINE | re.IGNORECASE)
        tagged = "".join(re.sub(r"(?i)^(To: .*?)\r", rf"\1;tag={tag}\r", line) if tag else line for line in kept)
        typed = "Content-Type: application/sdp\r\n" if body else ""
        text = f"SIP/2.0 {status}\r\n{tagged}{extra}{typed}Content-Length: {len(body)}\r\n\r\n{body}"
        assert self.transport is not None
        self.transport.sendto(text.encode(), self.address)

    @property
    def contact(self) -> str:
        return f"Contact: <sip:somebody@127.0.0.1:{self.port}>\r\n"


@asynccontextmanager
async def trunk(**more: str) -> AsyncGenerator[tuple[Trunk, Exchange]]:
    """A trunk, and ours that calls through it."""
    made = Trunk()
    await opened(made)
    async with exchange(trunks=[{"name": "out", "host": "127.0.0.1", "port": made.port, **more}]) as ours:
        yield made, ours
    assert made.transport is not None
    made.transport.close()


async def test_a_call_that_comes_by_two_ways_is_taken_once() -> None:
    peer = await opened(Bare())
    async with exchange(max_calls=1) as server:
        peer.send(server, peer.request("INVITE", body=OFFER.format(port=9), branch="z9hG4bKone"))
        answer = await peer.until(200)
        peer.send(server, peer.request("INVITE", body=OFFER.format(port=9), branch="z9hG4bKtwo"))
        await peer.until(482)
        peer.send(server, peer.request("ACK", to_tag=tag_in(answer)))
        talk = await server.talk()
        assert server.endpoint.calls == len(server.talks) == 1
        peer.send(server, peer.request("BYE", 2, to_tag=tag_in(answer)))
        await eventually(talk.over.is_set)
        assert talk.reason == "caller"
    assert peer.transport is not None
    peer.transport.close()


async def test_of_two_phones_that_answer_one_is_spoken_to_and_the_other_let_go() -> None:
    async with trunk() as (phones, ours), anyio.create_task_group() as tasks:
        tasks.start_soon(ours.endpoint.dial, "100", "out", 10)
        invite = await phones.asked("INVITE")
        for tag in ("one", "two"):
            phones.reply(invite, "200 OK", tag, phones.contact, OFFER.format(port=9))
            await eventually(lambda tag=tag: any(f";tag={tag}" in ack for ack in phones.of("ACK")))
        bye = await phones.asked("BYE")
        assert ";tag=two" in bye
        phones.reply(invite, "200 OK", "two", phones.contact, OFFER.format(port=9))
        phones.reply(invite, "200 OK", "one", phones.contact, OFFER.format(port=9))
        await eventually(lambda: len(phones.of("ACK")) == 4)
        assert [re.search(r"tag=(one|two)", ack)[1] for ack in phones.of("ACK")] == ["one", "two", "two", "one"]  # type: ignore[index]
        assert len(phones.of("BYE")) == 1
        assert ours.endpoint.calls == 1


async def test_an_answer_without_a_contact_is_one_from_where_we_called() -> None:
    async with trunk() as (phone, ours), anyio.create_task_group() as tasks:
        tasks.start_soon(ours.endpoint.dial, "100", "out", 10)
        phone.reply(await phone.asked("INVITE"), "200 OK", "one", "", OFFER.format(port=9))
        assert (await phone.asked("ACK")).startswith("ACK sip:100@127.0.0.1")
        talk = await ours.talk()
        await talk.leg.hang_up("agent")
        assert ";tag=one" in await phone.asked("BYE")


@pytest.mark.parametrize(
    "extra", ["Contact: <tel:+1555>\r\n", "Contact: <<>\r\n", "Record-Route: <>\r\nContact: <sip:a@127.0.0.1:1>\r\n"]
)
async def test_an_answer_that_cannot_be_read_is_ended_where_we_called(extra: str) -> None:
    async with trunk() as (phone, ours), anyio.create_task_group() as tasks:
        tasks.start_soon(ours.endpoint.dial, "100", "out", 10)
        usable = "127.0.0.1:1>" in extra
        extra = extra.replace("127.0.0.1:1>", f"127.0.0.1:{phone.port}>")
        phone.reply(await phone.asked("INVITE"), "200 OK", "one", extra, OFFER.format(port=9))
        assert (await phone.asked("ACK")).startswith("ACK sip:a@" if usable else "ACK sip:100@")
        await (await ours.talk()).leg.hang_up("agent")
        await phone.asked("BYE")


async def test_who_is_gone_just_as_the_phone_is_picked_up_leaves_nobody_on_the_line() -> None:
    async with trunk() as (phone, ours), anyio.create_task_group() as tasks:
        tasks.start_soon(ours.endpoint.dial, "100", "out", 10)
        invite = await phone.asked("INVITE")
        answered = ours.endpoint.signalling._answered

        def just_then(response: Response, transaction: ClientTransaction) -> None:
            answered(response, transaction)
            tasks.cancel_scope.cancel()

        ours.endpoint.signalling._answered = just_then  # type: ignore[method-assign]
        phone.reply(invite, "200 OK", "one", phone.contact, OFFER.format(port=9))
        with anyio.CancelScope(shield=True):
            await phone.asked("BYE")
            assert len(phone.of("ACK")) == 1
            await ours.empty()


async def test_who_is_gone_while_the_answer_is_acknowledged_has_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, looking = Signalling.find, anyio.Event()

    async def find(self: Signalling, uri: SipUri) -> Flow:
        if looking.is_set():
            await anyio.sleep(0.3)
        return await slow(self, uri)

    monkeypatch.setattr(Signalling, "find", find)
    async with trunk() as (phone, ours), anyio.create_task_group() as tasks:
        tasks.start_soon(ours.endpoint.dial, "100", "out", 10)
        invite = await phone.asked("INVITE")
        looking.set()
        route = f"Record-Route: <sip:127.0.0.1:{phone.port};lr>\r\n"
        phone.reply(invite, "200 OK", "one", route + phone.contact, OFFER.format(port=9))
        await anyio.sleep(0.1)
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await phone.asked("ACK")
            await phone.asked("BYE")
            await ours.empty()


def challenge(nonce: str, *, stale: bool = False) -> str:
    late = ", stale=true" if stale else ""
    return f'WWW-Authenticate: Digest realm="there", nonce="{nonce}", qop="auth", algorithm=MD5{late}\r\n'


async def test_every_challenge_is_answered_once_and_a_wrong_password_stays_wrong() -> None:
    async with trunk(user="us", password="correct-horse-battery") as (phone, ours), anyio.create_task_group() as tasks:

        async def dial() -> None:
            with pytest.raises(NotConnected):
                await ours.endpoint.dial("100", "out", 10)

        tasks.start_soon(dial)
        answers = [
            ("401 Unauthorized", challenge("n1")),
            ("422 Session Interval Too Small", "Min-SE: 7200\r\n"),
            ("401 Unauthorized", challenge("n2")),
            ("401 Unauthorized", challenge("n3", stale=True)),
            ("401 Unauthorized", challenge("n4")),
        ]
        for number, (status, extra) in enumerate(answers, 1):
            phone.reply(await phone.asked("INVITE", number), status, f"t{number}", extra)
        await eventually(lambda: len(phone.of("ACK")) == len(answers))
        nonces = [re.findall(r'[ ,]nonce="(\w+)"', invite) for invite in phone.of("INVITE")]
        assert nonces == [[], ["n1"], [], ["n2"], ["n3"]]


async def test_sessions_that_are_too_short_for_them_are_longer_at_the_second_try() -> None:
    async with trunk() as (phone, ours), anyio.create_task_group() as tasks:

        async def dial() -> None:
            with pytest.raises(NotConnected) as failed:
                await ours.endpoint.dial("100", "out", 10)
            assert failed.value.status == "failed"

        tasks.start_soon(dial)
        first = await phone.asked("INVITE")
        phone.reply(first, "422 Session Interval Too Small", "one", "Min-SE: 7200\r\n")
        second = await phone.asked("INVITE", 2)
        assert "Session-Expires: 7200" in second
        assert "Min-SE: 7200" in second
        phone.reply(second, "422 Session Interval Too Small", "two", "Min-SE: 9000\r\n")
        await eventually(lambda: len(phone.of("ACK")) == 2)
        assert len(phone.of("INVITE")) == 2, "once is enough"


async def test_a_cancel_of_nothing_is_told_so() -> None:
    peer = await opened(Bare())
    async with exchange() as server:
        peer.send(server, peer.request("CANCEL"))
        await peer.until(481)
        assert server.endpoint.signalling.transactions == 0
    assert peer.transport is not None
    peer.transport.close()
