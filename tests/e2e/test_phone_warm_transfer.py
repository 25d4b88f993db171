"""Warm transfers through a SIP trunk: whoever takes over hears the summary in the agent's voice, then the caller."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import pytest
from phone_legs import TestLeg
from sip_endpoints import Exchange, exchange
from sip_phones import PhoneOptions, baresip, require_baresip, write_speech
from spoken import clip, quiet, said

from agents.models.port import ModelProfile, ToolRequest
from agents.models.scripted import ScriptedModel, ScriptedReply
from metering.ledger import UsageQuery, read_all
from server.guard import Identity
from server.hold_music_choice import TONES
from server.telephony.held_call import CallRecord
from server.telephony.hold_music import loop
from server.telephony.phrases import phrases_for
from tests.scripted_server import Served, eventually, scripted_engines, served

pytestmark = pytest.mark.timeout(90)

CALLER = Identity("default", "phone")
TOOLS = ModelProfile("scripted", "tools", tools=True)
SUMMARY = "Ada wants two green lamps by Friday."
LOUD = 2_000
MUSIC_SAMPLES = 800


@dataclass
class Transfer:
    """A caller whose agent transfers them when they have spoken, and the exchange of whoever is called."""

    server: Served
    leg: TestLeg
    colleague: Exchange
    record: CallRecord | None = None

    def ask(self) -> None:
        self.leg.say(said("goforward"))

    async def over(self) -> CallRecord:
        await eventually(lambda: self.record is not None, 30)
        assert self.record is not None
        return self.record


@asynccontextmanager
async def transferring(
    tmp_path: Path, leg: TestLeg, wish: str, callee: dict[str, Any] | None = None, port: int | None = None
) -> AsyncGenerator[Transfer]:
    asks = ScriptedReply("", tools=(ToolRequest("c1", "transfer_call", wish),))
    model = ScriptedModel(asks, ScriptedReply("One moment."), ScriptedReply("As you like."), profile=TOOLS)
    async with exchange(echo=False, **(callee or {})) as colleague:
        trunk = {"name": "out", "host": "127.0.0.1", "port": port or colleague.port()}
        sip = {"enabled": True, "bind": "127.0.0.1", "udp_port": 0, "tcp_port": None, "trunks": [trunk]}
        telephony = {
            "greeting": "Hello there.",
            "greeting_after_s": 0,
            "silence_s": 60,
            "transfer_targets": {"sales": "+15550100777"},
        }
        options: dict[str, Any] = {"sip": sip, "telephony": telephony, "latency": {"enforce": False}}
        async with served(tmp_path, scripted_engines(model), **options) as server:
            sip_service = server.application.sip
            assert sip_service is not None
            await sip_service.endpoint.listening.wait()
            transfer = Transfer(server, leg, colleague)

            async def hold() -> None:
                transfer.record = await server.application.phones.hold(leg, CALLER)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hold)
                await eventually(lambda: leg.finished == 1)
                yield transfer
                if transfer.record is None and leg.listener is not None:
                    leg.listener.ended("caller")
                await transfer.over()
            await eventually(lambda: len(server.application.host.registry) == 0, 30)
            await eventually(lambda: sip_service.endpoint.calls == 0, 30)
        await colleague.empty()


def warm_leg() -> TestLeg:
    return TestLeg(says_summary=False)


WISH = f'{{"to": "sales", "summary": "{SUMMARY}"}}'


async def test_whoever_takes_over_hears_the_summary_and_then_the_caller(tmp_path: Path) -> None:
    async with transferring(tmp_path, warm_leg(), WISH) as transfer:
        transfer.ask()
        talk = await transfer.colleague.talk()
        assert talk.leg.info.callee == "+15550100777"
        await eventually(lambda: talk.loudest > 500, 20)
        assert transfer.leg.transfers == []
        await eventually(lambda: _bridged(transfer), 30)
        before_ms, talk.samples = talk.heard_ms, []
        transfer.leg.say(said("goforward"))
        await eventually(lambda: talk.loudest > LOUD, 20)
        assert before_ms > 1_000, "the summary took its time"
        transfer.leg.played.clear()
        talk.leg.play(np.full(8_000, 9_000, np.int16), 8_000)
        await eventually(lambda: any(np.abs(part.astype(int)).max() > 5_000 for part in transfer.leg.played), 20)
        transfer.leg.listener.digit("7")  # type: ignore[union-attr]
        await eventually(lambda: talk.digits == "7", 20)
        await talk.leg.send_digits("4")
        await eventually(lambda: transfer.leg.digits == "4", 20)
        await talk.leg.hang_up("agent")
        assert (await transfer.over()).reason == "agent"
        assert transfer.leg.hung_up == ["agent"]
        await _both_are_metered(transfer)


async def test_a_caller_who_hangs_up_takes_whoever_took_over_with_them(tmp_path: Path) -> None:
    async with transferring(tmp_path, warm_leg(), WISH) as transfer:
        transfer.ask()
        talk = await transfer.colleague.talk()
        await eventually(lambda: _bridged(transfer), 30)
        transfer.leg.listener.ended("caller")  # type: ignore[union-attr]
        await eventually(talk.over.is_set, 20)
        assert (await transfer.over()).reason == "caller"


async def test_nothing_waits_for_a_caller_who_has_put_the_bridge_on_hold(tmp_path: Path) -> None:
    async with transferring(tmp_path, warm_leg(), WISH) as transfer:
        transfer.ask()
        talk = await transfer.colleague.talk()
        await eventually(lambda: _bridged(transfer), 30)
        transfer.leg.listener.held(True)  # type: ignore[union-attr]
        talk.leg.play(np.full(8_000, 9_000, np.int16), 8_000)
        await anyio.sleep(1.5)
        assert not _loud(transfer.leg)
        transfer.leg.listener.held(False)  # type: ignore[union-attr]
        talk.leg.play(np.full(8_000, 9_000, np.int16), 8_000)
        await eventually(lambda: _loud(transfer.leg), 20)
        transfer.leg.listener.ended("caller")  # type: ignore[union-attr]
        await transfer.over()


async def test_a_bridge_that_takes_too_long_ends_by_the_limit(tmp_path: Path) -> None:
    async with transferring(tmp_path, warm_leg(), WISH) as transfer:
        transfer.ask()
        await transfer.colleague.talk()
        await eventually(lambda: _bridged(transfer), 30)
        conversation = transfer.server.application.phones._running[transfer.leg.info.call_id]
        conversation._manners.overdue = lambda now_ms: True  # type: ignore[union-attr, method-assign]
        assert (await transfer.over()).reason == "limit"


async def test_a_server_that_drains_during_a_bridge_says_so(tmp_path: Path) -> None:
    async with transferring(tmp_path, warm_leg(), WISH) as transfer:
        transfer.ask()
        await transfer.colleague.talk()
        await eventually(lambda: _bridged(transfer), 30)
        await transfer.server.application.drain()
        assert transfer.leg.hung_up == ["draining"]


async def test_a_caller_who_hangs_up_while_it_rings_stops_the_ringing(tmp_path: Path) -> None:
    async with transferring(tmp_path, warm_leg(), WISH, {"answer_delay_ms": 10_000}) as transfer:
        transfer.ask()
        await eventually(lambda: transfer.colleague.endpoint.calls == 1, 20)
        transfer.leg.listener.ended("caller")  # type: ignore[union-attr]
        await transfer.over()
        await transfer.colleague.empty()
        assert transfer.colleague.talks == []


async def test_the_caller_hears_music_until_somebody_has_their_ear(tmp_path: Path) -> None:
    async with transferring(tmp_path, warm_leg(), WISH, {"answer_delay_ms": 1_500}) as transfer:
        transfer.ask()
        await eventually(lambda: transfer.colleague.endpoint.calls == 1, 20)
        await eventually(lambda: _music_ms(transfer.leg) > 1_000, 20)
        talk = await transfer.colleague.talk()
        await eventually(lambda: _bridged(transfer), 30)
        assert transfer.leg.cleared > 0
        spoken_ms, transfer.leg.played = transfer.leg.played_ms - _music_ms(transfer.leg), []
        talk.leg.play(np.full(8_000, 9_000, np.int16), 8_000)
        await eventually(lambda: any(np.abs(part.astype(int)).max() > 5_000 for part in transfer.leg.played), 20)
        assert not any(len(part) == MUSIC_SAMPLES for part in transfer.leg.played), "it has ended"
        await talk.leg.hang_up("agent")
        record = await transfer.over()
        host = transfer.server.application.host
        await eventually(lambda: len(host.registry) == 0, 30)
        await eventually(lambda: host.recorder.status().waiting == 0)
        mine = [event for event in read_all(host.ledger, UsageQuery()) if event.session_id == record.session_id]
        assert sum(event.audio_ms_sent for event in mine) == pytest.approx(spoken_ms, abs=50), "words, not music"


async def test_music_ends_when_nobody_takes_over(tmp_path: Path) -> None:
    async with transferring(tmp_path, warm_leg(), WISH, {"answer_delay_ms": 1_500}) as transfer:
        transfer.ask()
        await eventually(lambda: _music_ms(transfer.leg) > 500, 20)
        talk = await transfer.colleague.talk()
        await talk.leg.hang_up("agent")
        await eventually(lambda: _said(transfer, phrases_for("en").transfer_failed), 30)
        assert transfer.leg.cleared > 0
        assert len(transfer.leg.played[-1]) != MUSIC_SAMPLES


async def test_nobody_takes_over_and_the_call_goes_on(tmp_path: Path) -> None:
    async with transferring(tmp_path, warm_leg(), WISH) as transfer:
        transfer.colleague.endpoint.drain()
        transfer.ask()
        await eventually(lambda: _said(transfer, phrases_for("en").transfer_failed), 30)
        transfer.ask()
        await eventually(lambda: _said(transfer, "As you like."), 30)
        assert transfer.record is None


async def test_a_caller_who_has_us_on_hold_when_nobody_takes_over_is_still_waited_for(tmp_path: Path) -> None:
    async with transferring(tmp_path, warm_leg(), WISH) as transfer:
        transfer.colleague.endpoint.drain()
        transfer.ask()
        transfer.leg.listener.held(True)  # type: ignore[union-attr]
        await eventually(lambda: _said(transfer, phrases_for("en").transfer_failed), 30)
        conversation = transfer.server.application.phones._running[transfer.leg.info.call_id]
        assert conversation._manners._held  # type: ignore[union-attr]


async def test_whoever_hangs_up_during_the_summary_has_not_taken_over(tmp_path: Path) -> None:
    async with transferring(tmp_path, warm_leg(), WISH) as transfer:
        transfer.ask()
        talk = await transfer.colleague.talk()
        await eventually(lambda: talk.loudest > 500, 20)
        await talk.leg.hang_up("agent")
        await eventually(lambda: _said(transfer, phrases_for("en").transfer_failed), 30)
        assert transfer.record is None


async def test_a_line_that_cannot_transfer_is_bridged_without_a_summary_too(tmp_path: Path) -> None:
    leg = TestLeg(says_summary=False, can_transfer=False)
    async with transferring(tmp_path, leg, '{"to": "sales"}') as transfer:
        transfer.ask()
        await transfer.colleague.talk()
        await eventually(lambda: _bridged(transfer), 30)


async def test_a_telephone_that_is_not_ours_takes_over(tmp_path: Path) -> None:
    require_baresip()
    options = PhoneOptions(";audio_codecs=pcmu;answermode=auto", user="+15550100777")
    words = write_speech(tmp_path / "said.wav", np.concatenate([quiet(0.2), clip("goforward"), quiet(60)]), 8_000)
    running = baresip(tmp_path / "phone", words, options)
    telephone = await anyio.to_thread.run_sync(running.__enter__)
    try:
        async with transferring(tmp_path, warm_leg(), WISH, port=telephone.port) as transfer:
            transfer.ask()
            await eventually(lambda: _bridged(transfer), 40)
            assert np.abs(telephone.heard().astype(int)).max() > 500, "the summary was heard"
            heard = len(telephone.heard())
            transfer.leg.say(said("goforward"))
            await eventually(lambda: np.abs(telephone.heard()[heard:].astype(int)).max(initial=0) > LOUD, 20)
            telephone.command("hangup")
            assert (await transfer.over()).reason == "agent"
    finally:
        await anyio.to_thread.run_sync(running.__exit__, None, None, None)


def _music_ms(leg: TestLeg) -> int:
    """How much of the tones was played, from their beginning, without a gap."""
    tones, at = loop(TONES, leg.rate_hz), 0
    for part in leg.played:
        if len(part) == MUSIC_SAMPLES and np.array_equal(part, tones.take(np.arange(at, at + len(part)), mode="wrap")):
            at += len(part)
    return at * 1_000 // leg.rate_hz


def _loud(leg: TestLeg) -> bool:
    return any(np.abs(part.astype(int)).max() > 5_000 for part in leg.played if len(part))


def _bridged(transfer: Transfer) -> bool:
    running = transfer.server.application.phones._running.values()
    return any(getattr(one, "_bridge", None) is not None for one in running)


def _said(transfer: Transfer, sentence: str) -> bool:
    live = transfer.server.application.phones._running[transfer.leg.info.call_id]._live
    return live is not None and any(message.text == sentence for message in live.session.history.messages())


async def _both_are_metered(transfer: Transfer) -> None:
    host = transfer.server.application.host
    await eventually(lambda: host.recorder.status().waiting == 0)
    await eventually(lambda: len(host.registry) == 0, 30)
    await eventually(lambda: host.recorder.status().waiting == 0)
    events = list(read_all(host.ledger, UsageQuery()))
    called = {event.session_id: event.call_ms for event in events if event.call_ms}
    assert len(called) == 2, "both calls' time is metered"
