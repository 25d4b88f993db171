"""What a SIP endpoint withstands: failing tasks, strangers' addresses, calls given up, registrars that change."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
import uvloop
from e2e.sip_endpoints import eventually, exchange
from e2e.sip_phones import certificate_in
from sip_messages import INVITE
from test_sip_endpoint import OFFER, Bare, opened, tag_in, trunk_to

from server.sip_settings import SipSettings
from server.telephony.call_book import KEEP_MS, BookedCall, CallBook
from server.telephony.port import CallInfo
from server.telephony.sip.call import REFRESH_AGAIN_S, SipCall
from server.telephony.sip.dialing import NotConnected
from server.telephony.sip.jobs import Jobs
from server.telephony.sip.leg import SipLeg
from server.telephony.sip.links import SipLinks
from server.telephony.sip.media import CallMedia
from server.telephony.sip.ports import RtpPorts
from server.telephony.sip.registration import _granted
from server.telephony.sip.signalling import NoAnswer, Signalling
from server.wire.sip.dialog import Dialog
from server.wire.sip.flow import Flow
from server.wire.sip.message import Request, Response, parse_message
from server.wire.sip.offer_answer import Agreed
from server.wire.sip.session_timer import SessionTimer
from server.wire.sip.uri import parse_address, parse_uri

INFO = CallInfo("c", "sip", "id", "inbound")


async def test_a_task_that_fails_takes_nothing_with_it(caplog: pytest.LogCaptureFixture) -> None:
    jobs, done = Jobs(), anyio.Event()

    async def fails() -> None:
        raise RuntimeError("no")

    async def works() -> None:
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(jobs.run)
        jobs.start(fails)
        await eventually(lambda: "a task of sip failed" in caplog.text)
        jobs.start(works)
        with anyio.fail_after(10):
            await done.wait()
        tasks.cancel_scope.cancel()


def test_an_address_of_another_family_is_no_fault_of_ours() -> None:
    """uvloop, which the server runs on, raises where asyncio does not."""

    async def main() -> None:
        links = SipLinks(SipSettings(bind="127.0.0.1", udp_port=0, tcp_port=None), _nobody, _nobody)
        await links.open(Jobs())
        links.send(b"x", Flow("UDP", "::1", 9))
        links.send(b"x", Flow("UDP", "not-an-address.invalid", 9))
        links.close()
        ports = RtpPorts("127.0.0.1", 30_000, 30_400)
        media = await CallMedia.open(ports, SipLeg(CallInfo("c", "sip", "s", "inbound"), _Nothing()))
        media.agree(Agreed("pcmu", 0, "2001:db8::1", 9, "sendrecv"), 0.0)
        media.due(20.0)
        assert not media.closed
        media.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _nobody(*_: object) -> None: ...


class _Nothing:
    async def end(self, reason: str) -> None: ...

    async def transfer(self, target: str) -> None: ...


async def test_a_host_is_reached_by_an_address_of_the_family_we_listen_on() -> None:
    signalling = Signalling(SipSettings(bind="127.0.0.1"), _Refusing())  # type: ignore[arg-type]
    flow = await signalling.find(parse_uri("sip:localhost:5070;transport=tls"))
    assert (flow.host, flow.port, flow.name) == ("127.0.0.1", 5_070, "localhost")
    with pytest.raises(NoAnswer):
        await signalling.find(parse_uri("sip:[::1]:5070"))


async def test_a_stream_may_be_of_any_family_as_it_has_a_socket_of_its_own() -> None:
    signalling = Signalling(SipSettings(bind="::"), _Refusing())  # type: ignore[arg-type]
    flow = await signalling.find(parse_uri("sip:127.0.0.1:5070;transport=tcp"))
    assert (flow.transport, flow.host) == ("TCP", "127.0.0.1")
    with pytest.raises(NoAnswer):
        await signalling.find(parse_uri("sip:127.0.0.1:5070"))


class _Refusing: ...


async def test_a_call_over_tls_by_name_uses_one_connection(tmp_path: Any) -> None:
    certificates = certificate_in(tmp_path / "tls")
    async with (
        exchange(certificates=certificates) as server,
        exchange(certificates=certificates, trunks=[trunk_to(server, "TLS")]) as caller,
    ):
        leg = await caller.endpoint.dial("100", "out", 10)
        theirs = await server.talk()
        await leg.hang_up("agent")
        await eventually(theirs.over.is_set)
        assert caller.endpoint.signalling.links.open_streams == 1
        assert server.endpoint.signalling.links.open_streams == 1


async def test_a_connection_under_one_name_carries_nothing_for_another(tmp_path: Any) -> None:
    """Its certificate was held to the one; whoever has the other's address need not be the other."""
    certificates = certificate_in(tmp_path / "tls")
    async with exchange(certificates=certificates) as server, exchange(certificates=certificates) as caller:
        links, port = caller.endpoint.signalling.links, server.port("TLS")
        links.send(b"\r\n\r\n", Flow("TLS", "127.0.0.1", port, name="localhost"))
        await eventually(lambda: links.open_streams == 1)
        options = b"OPTIONS sip:agent@127.0.0.1 SIP/2.0\r\nContent-Length: 0\r\n\r\n"  # counted as malformed
        links.send(options, Flow("TLS", "127.0.0.1", port, name="somebody-else.invalid"))
        links.send(options, Flow("TLS", "127.0.0.1", port, name="localhost"))
        await eventually(lambda: server.endpoint.signalling.malformed > 0)
        await eventually(lambda: not links._connecting)
        assert server.endpoint.signalling.malformed == 1
        assert links.open_streams == 1


async def test_every_answer_to_one_request_has_the_same_tag() -> None:
    peer = await opened(Bare())
    async with exchange(codecs=["opus"]) as server:
        peer.send(server, peer.request("INVITE", body=OFFER.format(port=9)))
        refused = await peer.until(488, "INVITE")
        peer.send(server, peer.request("PUBLISH", 2, call_id="two@example.org"))
        unknown = await peer.until(405, "PUBLISH")
        assert tag_in(refused)
        assert tag_in(unknown)
        assert tag_in(refused) != tag_in(unknown)
    assert peer.transport is not None
    peer.transport.close()


async def test_a_caller_who_has_us_on_hold_may_be_silent() -> None:
    peer = await opened(Bare())
    async with exchange(rtp_timeout_s=1) as server:
        peer.send(server, peer.request("INVITE", body=OFFER.format(port=9)))
        answer = await peer.until(200, "1 INVITE")
        peer.send(server, peer.request("ACK", to_tag=tag_in(answer)))
        talk = await server.talk()
        held = OFFER.format(port=9) + "a=sendonly\r\n"
        peer.send(server, peer.request("INVITE", 2, body=held, to_tag=tag_in(answer)))
        await peer.until(200, "2 INVITE")
        peer.send(server, peer.request("ACK", 2, to_tag=tag_in(answer)))
        await eventually(lambda: talk.holds == [True])
        await anyio.sleep(2.5)
        assert talk.reason is None
    assert peer.transport is not None
    peer.transport.close()


async def test_who_rings_counts_among_the_calls_there_may_be() -> None:
    async with (
        exchange(answer_delay_ms=30_000) as server,
        exchange(trunks=[trunk_to(server)], max_calls=1) as caller,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_dial, caller, "100")
        await eventually(lambda: server.endpoint.calls == 1)
        with pytest.raises(Exception, match="No more calls"):
            await caller.endpoint.dial("101", "out", 5)
        tasks.cancel_scope.cancel()


async def test_who_is_being_called_leaves_no_room_for_who_calls() -> None:
    peer = await opened(Bare())
    async with (
        exchange(answer_delay_ms=30_000) as server,
        exchange(trunks=[trunk_to(server, networks=["127.0.0.0/8"])], max_calls=1) as caller,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_dial, caller, "100")
        await eventually(lambda: server.endpoint.calls == 1)
        peer.send(caller, peer.request("INVITE", body=OFFER.format(port=9)))
        await eventually(lambda: peer.statuses("1 INVITE"))
        assert peer.statuses("1 INVITE") == [503]
        tasks.cancel_scope.cancel()
    assert peer.transport is not None
    peer.transport.close()


async def test_a_trunk_nobody_knows_is_no_phone_that_nobody_answers() -> None:
    trunk = {"name": "out", "host": "nobody.invalid", "port": 5_060}
    async with exchange(trunks=[trunk]) as caller:
        with pytest.raises(NotConnected) as failed:
            await caller.endpoint.dial("100", "out", 5)
        assert failed.value.status == "failed"


def test_no_file_left_to_open_is_no_end_of_sip(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr("server.telephony.sip.signalling.socket.socket", full)
    assert Signalling(SipSettings(), _Refusing()).host_for("192.0.2.1") == "127.0.0.1"  # type: ignore[arg-type]


async def _dial(caller: Any, number: str) -> None:
    await caller.endpoint.dial(number, "out", 30)


async def test_a_refresh_that_fails_is_not_tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    signalling = Signalling(SipSettings(), _Refusing())  # type: ignore[arg-type]
    us, them = parse_address("<sip:us@127.0.0.1>;tag=a"), parse_address("<sip:them@127.0.0.1>;tag=b")
    dialog = Dialog("id", us, them, them.uri, (), 1, None)
    call = SipCall(
        signalling, SipSettings(), dialog, Flow("UDP", "127.0.0.1", 9), CallInfo("c", "sip", "id", "inbound")
    )
    now_s = signalling.now_s()
    call.timer = SessionTimer(90, "us")
    call.confirmed.set()
    call._allows = frozenset({"update"})
    call._refreshed_s = now_s - 60
    asked: list[str] = []

    async def nobody(method: str, *_: object, **__: object) -> Response:
        asked.append(method)
        raise NoAnswer("nobody")

    monkeypatch.setattr(call, "_ask", nobody)
    assert call.refresh_due(now_s)
    await call.refresh()
    assert asked == ["UPDATE"]
    assert not call.refresh_due(signalling.now_s())
    assert call.refresh_due(signalling.now_s() + REFRESH_AGAIN_S)


async def test_everybody_who_waits_for_silence_is_told() -> None:
    leg = SipLeg(CallInfo("c", "sip", "s", "inbound"), _Nothing())
    quiet = False
    done: list[int] = []

    async def wait(number: int) -> None:
        await leg._until(lambda: quiet)
        done.append(number)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, 1)
        tasks.start_soon(wait, 2)
        await anyio.sleep(0.05)
        quiet = True
        leg.silent()
        await eventually(lambda: sorted(done) == [1, 2])


def test_of_several_registrations_ours_says_how_long() -> None:
    text = (
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\nFrom: <sip:u@h>;tag=a\r\n"
        "To: <sip:u@h>;tag=b\r\n"
        "Call-ID: c\r\nCSeq: 1 REGISTER\r\nContact: <sip:u@192.0.2.1:5060>;expires=31\r\n"
        "Contact: <sip:u@127.0.0.1:5062>;expires=600\r\nContent-Length: 0\r\n\r\n"
    )
    response = parse_message(text.encode())
    assert isinstance(response, Response)
    assert _granted(response, 300, "<sip:u@127.0.0.1:5062>") == 600


def test_calls_are_forgotten_after_30_days_though_the_server_runs_on(tmp_path: Any) -> None:
    book = CallBook(tmp_path / "calls.sqlite3", 1_000)
    day_ms = KEEP_MS // 30
    for call_id, at_ms in (("old", 1_000), ("late", 1_000 + KEEP_MS), ("new", 1_000 + KEEP_MS + day_ms)):
        book.begin(BookedCall(call_id, "t", None, "", "sip", "", "inbound", "", "active", "", at_ms))
    found = [call_id for call_id in ("old", "late", "new") if book.find(call_id)]
    book.close()
    assert found == ["late", "new"]


def test_what_rang_by_sip_when_the_server_died_is_over(tmp_path: Any) -> None:
    book = CallBook(tmp_path / "calls.sqlite3", 1_000)
    for carrier in ("sip", "twilio"):
        book.begin(BookedCall(carrier, "t", carrier, "", carrier, "", "outbound", "", "dialling", "", 1_000))
        book.placed(carrier, "named")
    book.close()
    after = CallBook(tmp_path / "calls.sqlite3", 2_000)
    found = {carrier: after.find(carrier) for carrier in ("sip", "twilio")}
    after.close()
    assert {carrier: call.status for carrier, call in found.items() if call} == {"sip": "ended", "twilio": "ringing"}


def test_a_timer_that_is_overdue_is_none_of_uvloops_surprises() -> None:
    async def overdue() -> None:
        signalling = Signalling(SipSettings(enabled=True, bind="127.0.0.1"), None)  # type: ignore[arg-type]
        try:
            for number in range(2):  # what is due at once is due when the next is looked at
                request = parse_message(INVITE.replace(b"776asdhds", b"776asdhds%d" % number))
                assert isinstance(request, Request)
                signalling._layer.send(request, Flow("UDP", "127.0.0.1", 9), signalling.now_s() - 5 + number)
                signalling._arm()
        finally:
            signalling.close()

    uvloop.run(overdue())
