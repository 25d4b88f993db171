"""Usage events out: their shape, their signatures, and what is done about receivers that fail."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from webhook_receiver import SECRET, Receiver, receiving

from metering.identity import as_correction, event_id
from metering.memory import MemoryLedger
from metering.records import Records
from metering.usage import UsageEvent
from server.offices import AREAS, Offices
from server.settings import load_settings
from server.webhook_settings import WebhookEndpoint, secret_key
from server.webhooks import store
from server.webhooks.cloud_events import cloud_event, message
from server.webhooks.courier import Courier, Desk
from server.webhooks.sender import Sender, retry_after_s
from server.webhooks.signing import signature, signed_headers
from tests.metering.usage_events import numbered

OTHER = "whsec_" + "QUJD" * 8


@dataclass
class Stage:
    """A courier at work, on a clock of the test's."""

    ledger: MemoryLedger
    offices: Offices
    courier: Courier
    clock: list[int] = field(default_factory=lambda: [1_790_000_000_000])

    async def progress(self) -> store.Progress:
        at = await self.offices.records.run_read(lambda connection: store.progress(connection, "billing"))
        assert at is not None
        return at

    async def letters(self) -> list[store.DeadLetter]:
        return await self.offices.records.run_read(lambda connection: store.letters(connection, "billing"))

    async def steps(self, number: int) -> float:
        pause = 0.0
        for _ in range(number):
            pause = await self.courier.step()
        return pause

    async def audited(self) -> list[tuple[str, str, str]]:
        rows = await self.offices.audit.read(tenant_id=None)
        return [(row.action, row.tenant_id, row.target) for row in rows]


@pytest.fixture(params=["sqlite", "postgres"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "sqlite":
        opened = Records.in_file(tmp_path / "records.sqlite3")
    else:
        url: str = request.getfixturevalue("postgres").database()
        opened = Records("postgresql+psycopg" + url.removeprefix("postgresql"))
    opened.migrate(AREAS)
    yield opened
    opened.close()


@asynccontextmanager
async def stage(
    records: Records,
    receiver: Receiver,
    *events: UsageEvent,
    settings: dict[str, Any] | None = None,
    owner: str = "me",
    **of_endpoint: Any,
) -> AsyncGenerator[Stage]:
    endpoint = {"id": "billing", "url": receiver.url, "secrets": [SECRET], "start": "beginning"} | of_endpoint
    chosen = load_settings(webhooks={"endpoints": [endpoint], "poll_s": 7, **(settings or {})})
    clock = [1_790_000_000_000]
    offices = Offices(chosen, records, lambda: clock[0])
    ledger = MemoryLedger()
    ledger.append(events)
    desk = Desk(ledger, records, offices.audit, chosen.webhooks, lambda: clock[0], lambda: 1.0, owner)
    sender = Sender(chosen.webhooks.endpoints[0], 10, lambda: clock[0])
    courier = Courier(chosen.webhooks.endpoints[0], desk, sender)
    await courier.prepare()
    try:
        yield Stage(ledger, offices, courier, clock)
    finally:
        await sender.aclose()


def test_of_two_servers_that_start_at_once_with_a_new_receiver_both_start(records: Records) -> None:
    def other() -> None:
        with records.write() as connection:
            store.ensure(connection, "billing", 7)

    with ThreadPoolExecutor(1) as pool:
        with records.write() as connection:
            store.ensure(connection, "billing", 5)
            second = pool.submit(other)
            while not records.is_sqlite and not second.done():  # until it waits for us, having seen nothing
                with records.read() as looking:
                    waiting = looking.execute(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one()
                if waiting:
                    break
        second.result(timeout=20)
    with records.read() as connection:
        at = store.progress(connection, "billing")
    assert at is not None
    assert at.position == 5


def test_the_signature_is_the_one_of_the_specification() -> None:
    """Its own example (https://github.com/standard-webhooks/standard-webhooks), also held against its library."""
    key = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    told = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert told == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_is_rotated_both_sign() -> None:
    keys = [secret_key(SECRET), secret_key(OTHER)]
    headers = signed_headers(keys, "evt_1", 1, b"{}")
    assert headers["webhook-signature"].split() == [signature(key, "evt_1", 1, b"{}") for key in keys]


def test_a_turn_is_a_cloud_event_in_openmeters_shape() -> None:
    event = replace(numbered(7), started_at=1_790_000_000_123)
    told = cloud_event(event, "voice.example.org")
    assert {name: told[name] for name in told if name != "data"} == {
        "specversion": "1.0",
        "type": "convergio.usage.turn",
        "source": "voice.example.org",
        "subject": "tenant_a",
        "id": event.event_id,
        "time": "2026-09-21T14:13:20.123Z",
        "datacontenttype": "application/json",
    }
    assert told["data"]["audio_ms_in"] == 8
    assert json.loads(message([told], batched=False).body) == told
    assert message([told], batched=True).id == message([told], batched=True).id != message([told], batched=False).id


def test_turns_are_added_up_and_what_closes_a_session_is_none() -> None:
    closing = replace(numbered(2), event_id=event_id("tenant_a", "ses_1:unclaimed"), request_id="ses_1:unclaimed")
    mended = as_correction(numbered(1), replace(numbered(1), output_tokens=0))
    told = [cloud_event(numbered(1), "here")["data"], cloud_event(closing, "here")["data"]]
    restated = cloud_event(mended, "here", numbered(1))["data"]
    assert [data["turns"] for data in (*told, restated, restated["difference"])] == [1, 0, 1, 0]


async def test_events_go_out_in_order_signed_and_corrections_as_events_of_their_own(records: Records) -> None:
    mended = as_correction(numbered(1), replace(numbered(1), audio_ms_in=10, output_tokens=0))
    with receiving() as receiver:
        async with stage(records, receiver, numbered(1), numbered(2), mended, token="the token") as on:
            assert await on.steps(3) == 0
            assert await on.steps(1) == 7, "nothing more: it waits"
    told = [arrival.events[0] for arrival in receiver.arrivals]
    assert [event["id"] for event in told] == [numbered(1).event_id, numbered(2).event_id, mended.event_id]
    assert receiver.unsigned == 0
    first = receiver.arrivals[0].headers
    assert (first["webhook-id"], first["webhook-timestamp"]) == (numbered(1).event_id, "1790000000")
    assert first["content-type"].startswith("application/cloudevents+json")
    assert first["authorization"] == "Bearer the token"
    assert told[2]["type"] == "convergio.usage.correction"
    assert told[2]["data"]["corrects"] == numbered(1).event_id
    assert told[2]["data"]["difference"]["audio_ms_in"] == 10 - numbered(1).audio_ms_in
    assert told[2]["data"]["difference"]["output_tokens"] == -numbered(1).output_tokens


async def test_one_tenants_receiver_gets_that_tenants_events_in_batches(records: Records) -> None:
    events = [numbered(number, tenant="school" if number % 2 else "other") for number in range(10)]
    with receiving() as receiver:
        async with stage(records, receiver, *events, tenant="school", batch=3) as on:
            await on.steps(3)
            assert (on.courier.counts.backlog, on.courier.counts.delivered) == (5, 5)  # counted every ten seconds
    assert [len(arrival.events) for arrival in receiver.arrivals] == [3, 2]
    assert {event["subject"] for event in receiver.took()} == {"school"}
    assert receiver.arrivals[0].headers["content-type"].startswith("application/cloudevents-batch+json")


async def test_a_new_receiver_begins_with_what_comes_from_now_on(records: Records) -> None:
    with receiving() as receiver:
        async with stage(records, receiver, numbered(1), start="now") as on:
            on.ledger.append([numbered(2)])
            await on.steps(2)
    assert [event["id"] for event in receiver.took()] == [numbered(2).event_id]


async def test_a_receiver_that_fails_is_tried_again_with_growing_pauses_and_nothing_overtakes(
    records: Records,
) -> None:
    with receiving() as receiver:
        receiver.decide = lambda _: (500, {})
        async with stage(records, receiver, numbered(1), numbered(2), settings={"longest_pause_s": 3}) as on:
            pauses: list[int] = []
            for _ in range(4):
                await on.steps(1)
                at = await on.progress()
                pauses.append(at.next_attempt_ms - on.clock[0])
                assert await on.steps(1) <= 7, "not before its time"
                on.clock[0] = at.next_attempt_ms
            assert pauses == [1_000, 2_000, 3_000, 3_000]
            assert len(receiver.arrivals) == 4
            assert {arrival.events[0]["id"] for arrival in receiver.arrivals} == {numbered(1).event_id}
            receiver.decide = lambda _: (200, {})
            await on.steps(2)
            at = await on.progress()
            assert (at.position, at.attempts, at.failing_since_ms) == (2, 0, 0)


async def test_retry_after_is_kept_to(records: Records) -> None:
    with receiving() as receiver:
        receiver.decide = lambda _: (429, {"Retry-After": "90"})
        async with stage(records, receiver, numbered(1)) as on:
            await on.steps(1)
            assert (await on.progress()).next_attempt_ms - on.clock[0] == 90_000
    now = 1_790_000_000_000
    assert retry_after_s(formatdate(now / 1_000 + 30, usegmt=True), now) == 30
    assert retry_after_s("a while", now) is None
    assert retry_after_s("99999999", now) == 86_400


async def test_what_is_rejected_for_good_becomes_a_dead_letter_and_may_be_sent_again(records: Records) -> None:
    bad = numbered(1).event_id
    with receiving() as receiver:
        receiver.decide = lambda got: (422 if bad in {event["id"] for event in got.events} else 200, {})
        settings = {"max_attempts": 3, "first_pause_s": 0.01}
        async with stage(records, receiver, *map(numbered, range(4)), settings=settings, batch=4) as on:
            for _ in range(12):
                await on.steps(1)
                on.clock[0] += 10_000
            (letter,) = await on.letters()
            assert (letter.event_id, letter.attempts, letter.reason) == (bad, 3, "it answered 422")
            assert {event["id"] for event in receiver.took()} == {numbered(n).event_id for n in (0, 2, 3)}
            assert await on.audited() == [("webhook.dead_letter", "tenant_a", bad)]
            assert on.courier.counts.dead == 1

            async def again() -> None:
                run = on.offices.records.run_write
                assert await run(lambda connection: store.resend_letters(connection, "billing")) == 1
                await on.steps(2)

            await again()
            (letter,) = await on.letters()
            assert (letter.attempts, letter.resend) == (4, False)
            receiver.decide = lambda _: (200, {})
            await again()
            assert await on.letters() == []
            assert bad in {event["id"] for event in receiver.took()}


async def test_a_receiver_that_is_gone_is_disabled_until_it_is_enabled(records: Records) -> None:
    with receiving() as receiver:
        receiver.decide = lambda _: (410, {})
        async with stage(records, receiver, numbered(1), tenant="tenant_a") as on:
            assert await on.steps(3) == 7
            assert len(receiver.arrivals) == 1
            at = await on.progress()
            assert (at.state, at.position) == ("disabled", 0)
            assert await on.audited() == [("webhook.disabled", "tenant_a", "billing")]
            receiver.decide = lambda _: (200, {})
            assert await on.offices.records.run_write(lambda connection: store.enable(connection, "billing"))
            await on.steps(1)
            assert len(receiver.took()) == 1


async def test_a_receiver_that_fails_for_too_long_is_disabled_and_nothing_is_lost(records: Records) -> None:
    with receiving() as receiver:
        receiver.decide = lambda _: (404, {})
        async with stage(records, receiver, numbered(1), settings={"give_up_h": 2}) as on:
            await on.steps(1)
            on.clock[0] += 3 * 3_600_000
            await on.steps(1)
            at = await on.progress()
            assert (at.state, at.position) == ("disabled", 0)
            assert "too long" in at.reason
            assert await on.letters() == []


async def test_only_one_server_delivers_at_a_time_and_another_takes_over_when_it_is_gone(records: Records) -> None:
    with receiving() as receiver:
        async with (
            stage(records, receiver, numbered(1), numbered(2), owner="one") as one,
            stage(records, receiver, numbered(1), numbered(2), owner="two") as two,
        ):
            await one.steps(1)
            assert await two.steps(1) == 7
            two.clock[0] += 120_000
            assert await two.steps(1) == 0
    assert [len(arrival.events) for arrival in receiver.arrivals] == [1, 1]
    assert len(receiver.took()) == 2


async def test_events_are_sent_again_from_a_place(records: Records) -> None:
    with receiving() as receiver:
        async with stage(records, receiver, *map(numbered, range(3))) as on:
            await on.steps(3)
            assert await on.offices.records.run_write(lambda connection: store.rewind(connection, "billing", 1))
            await on.steps(3)
    assert [arrival.events[0]["id"] for arrival in receiver.arrivals] == [numbered(n).event_id for n in (0, 1, 2, 1, 2)]


async def test_a_redirect_is_not_followed(records: Records) -> None:
    with receiving() as receiver, receiving() as inner:
        receiver.decide = lambda _: (307, {"Location": inner.url})
        async with stage(records, receiver, numbered(1)) as on:
            await on.steps(1)
            assert (await on.progress()).reason == "it answered 307"
    assert inner.arrivals == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://billing.example.org/"},
        {"url": "ftp://billing.example.org/"},
        {"url": "https://user:word@billing.example.org/"},
        {"url": "https:///nowhere"},
        {"secrets": ["too short"]},
        {"secrets": ["whsec_AAAA"]},
        {"secrets": []},
        {"secrets": [SECRET, SECRET, SECRET]},
        {"id": "Not An Id"},
    ],
)
def test_an_endpoint_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    right = {"id": "billing", "url": "https://billing.example.org/usage", "secrets": [SECRET]}
    WebhookEndpoint.model_validate(right)
    with pytest.raises(ValidationError):
        WebhookEndpoint.model_validate(right | wrong)


def test_secrets_and_tokens_show_nowhere() -> None:
    endpoint = WebhookEndpoint.model_validate(
        {"id": "b", "url": "https://b.example/", "secrets": [SECRET], "token": "the token"}
    )
    assert SECRET not in repr(endpoint)
    assert "the token" not in repr(endpoint)
