"""Calls recorded with announced consent: what is said first, what is kept, who may hear it, and how it goes."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
from phone_carrier import TELEPHONY, twilio_call
from privacy_talk import age, done
from recorded_call import ON, aged, calling, hear, reopened, sides, tone
from spoken import said

from agents.models.port import ModelProfile, ToolRequest
from agents.models.scripted import ScriptedModel, ScriptedReply
from server.conversations.recordings import Recordings
from server.guard import LOCAL_USER, Identity
from server.telephony.phrases import phrases_for
from tests.scripted_server import eventually, served

pytestmark = pytest.mark.timeout(90)

WORDS = phrases_for("en-US")
TOOLS = ModelProfile("scripted", "tools", tools=True)
LOUD = 2_000


async def test_nothing_is_kept_before_the_notice_was_heard_then_both_sides_are(tmp_path: Path) -> None:
    async with calling(tmp_path, "announce") as call:
        hear(call.leg, np.zeros(1_600, np.int16))
        await eventually(lambda: len(call.leg.played) > 4)
        assert call.files == []
        await call.recorded()
        await eventually(lambda: call.leg.finished == 2)
        await eventually(lambda: call.spoken == [WORDS.recording_notice, "Hello there."])
        call.leg.say(said("goforward"))
        await eventually(lambda: call.leg.finished == 3, 20)
        hear(call.leg, np.zeros(16_000, np.int16))
        async with call.http() as http:
            going = await call.stored(http)
            under_way = await http.get(f"/v1/sessions/{going['session_id']}/recording")
            assert under_way.status_code == httpx.codes.CONFLICT
            assert "ended_at_ms" not in going["recording"]
            await call.hang_up()
            told = await call.stored(http)
            answer = await http.get(f"/v1/sessions/{told['session_id']}/recording")
            consents = (await http.get("/v1/privacy/consents")).json()["consents"]
        assert answer.headers["content-type"] == "audio/wav"
        left, right, rate_hz = sides(answer.content)
        assert rate_hz == call.leg.rate_hz == told["recording"]["rate_hz"]
        assert np.abs(left.astype(int)).max() > LOUD, "the caller"
        assert np.abs(right.astype(int)).max() > LOUD, "the agent"
        assert abs(told["recording"]["duration_ms"] - len(left) / 8) < 2
        assert told["recording"]["bytes"] == len(answer.content)
        assert told["recording"]["ending"] == "over"
        [consent] = consents
        assert (consent["wording"], consent["answer"]) == (WORDS.recording_notice, "announced")
        assert consent["session_id"] == told["session_id"]
        assert consent["consent_id"] == told["recording"]["consent_id"]
        [file] = call.files
        assert file.stat().st_mode & 0o077 == 0
        assert told["session_id"] not in str(file)
        rows = await call.server.application.host.offices.audit.read(tenant_id="local")
        assert [row.target for row in rows if row.action == "recording.read"] == [told["session_id"]]


@pytest.mark.parametrize(("heard", "files"), [("Yes, please.", 1), ("No, thank you.", 0), ("I want a lamp.", 0)])
async def test_the_question_is_answered_by_voice(tmp_path: Path, heard: str, files: int) -> None:
    async with calling(tmp_path, "ask", heard=(heard,)) as call:
        await eventually(lambda: call.leg.finished == 1)
        await eventually(lambda: call.recording._talk.answering)
        call.leg.say(said("goforward"))
        if heard == "I want a lamp.":
            await eventually(lambda: f"You said: {heard}" in "".join(call.spoken), 20)
        else:
            word = WORDS.recording_on if files else WORDS.recording_off
            await eventually(lambda: {word, "Hello there."} <= set(call.spoken), 20)
        await call.hang_up()
        assert len(call.files) == files
        async with call.http() as http:
            consents = (await http.get("/v1/privacy/consents")).json()["consents"]
            told = await call.stored(http)
        assert [each["answer"] for each in consents] == ["voice"] * files
        assert ("recording" in told) == bool(files)


@pytest.mark.parametrize(("key", "files"), [("1", 1), ("2", 0)])
async def test_the_question_is_answered_by_a_key(tmp_path: Path, key: str, files: int) -> None:
    async with calling(tmp_path, "ask") as call:
        await eventually(lambda: call.recording._talk.answering, 20)
        call.leg.listener.digit(key)  # type: ignore[union-attr]
        await eventually(lambda: "Hello there." in call.spoken, 20)
        await call.hang_up()
        assert len(call.files) == files
        async with call.http() as http:
            consents = (await http.get("/v1/privacy/consents")).json()["consents"]
        assert [each["answer"] for each in consents] == ["key"] * files


async def test_a_refusal_by_key_ends_the_question(tmp_path: Path) -> None:
    async with calling(tmp_path, "ask") as call:
        await eventually(lambda: call.leg.played, 20)
        cleared = call.leg.cleared
        call.leg.listener.digit("2")  # type: ignore[union-attr]
        await eventually(lambda: call.leg.cleared > cleared, 5)
        await eventually(lambda: "Hello there." in call.spoken, 20)
        assert WORDS.recording_question not in call.spoken, "it was not said to its end"
        await call.hang_up()
        assert call.files == []


async def test_who_is_gone_as_soon_as_they_agreed_leaves_no_empty_file(tmp_path: Path) -> None:
    async with calling(tmp_path, "ask") as call:
        await eventually(lambda: call.recording._talk.answering, 20)
        call.leg.listener.digit("1")  # type: ignore[union-attr]
        await call.hang_up()
        assert call.files == []
        async with call.http() as http:
            assert "recording" not in await call.stored(http)


@pytest.mark.parametrize("kind", ["school", "stores nothing", "off for the number"])
async def test_where_it_may_not_be_nothing_is_said_and_nothing_kept(tmp_path: Path, kind: str) -> None:
    owner = Identity("pupils", "phone", tenant_type="school") if kind == "school" else LOCAL_USER
    numbers = {"+15550100999": "off"} if kind == "off for the number" else {}
    if kind == "stores nothing":
        ON["retention"]["store"] = False
    try:
        async with calling(tmp_path, "announce", owner=owner, numbers=numbers) as call:
            await eventually(lambda: call.leg.finished == 1)
            await eventually(lambda: call.spoken == ["Hello there."])
            await call.hang_up()
            assert call.files == []
    finally:
        ON["retention"].pop("store", None)


async def test_a_number_is_recorded_where_the_rest_is_not(tmp_path: Path) -> None:
    async with calling(tmp_path, "off", numbers={"+15550100999": "announce"}) as call:
        await call.kept()
        await call.hang_up()
        assert len(call.files) == 1


async def test_what_was_cut_by_the_caller_is_not_on_the_record(tmp_path: Path) -> None:
    model = ScriptedModel("This is a long answer that goes on for quite some time, " * 8, repeat=True)
    async with calling(tmp_path, "announce", model) as call:
        await call.recorded()
        await eventually(lambda: call.leg.finished == 2)
        track = call.recording._track
        hear(call.leg, np.zeros(24_000, np.int16))
        call.leg.say(said("goforward"))
        await eventually(lambda: track._waiting_samples > 4_000, 20)
        before = call.leg.cleared
        call.session.cancel()
        await eventually(lambda: call.leg.cleared > before)
        assert track._waiting_samples == 0


async def test_a_full_disk_ends_the_recording_once_told_and_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with calling(tmp_path, "announce") as call:
        await call.recorded()
        monkeypatch.setattr("server.conversations.wave_file.WaveFile.append", full)
        await eventually(lambda: call.recording._ending == "disk", 10)
        call.leg.say(said("goforward"))
        await eventually(lambda: call.leg.finished == 3, 20)
        await call.hang_up()
        async with call.http() as http:
            assert (await call.stored(http))["recording"]["ending"] == "disk"
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in told] == ["recording ended: the disk cannot take it"]


async def test_a_disk_that_is_nearly_full_is_left_alone(tmp_path: Path) -> None:
    async with calling(tmp_path, "announce", free_megabytes=10_000_000) as call:
        await eventually(lambda: call.recording._ending == "disk", 20)
        await eventually(lambda: call.leg.finished == 2)
        await call.hang_up()
        assert call.files == []


async def test_a_recording_ends_at_its_longest(tmp_path: Path) -> None:
    async with calling(tmp_path, "announce", max_minutes=1 / 60) as call:
        await call.recorded()
        hear(call.leg, tone(3))
        await eventually(lambda: call.recording._ending == "limit", 20)
        await call.hang_up()
        async with call.http() as http:
            recording = (await call.stored(http))["recording"]
        assert (recording["ending"], recording["duration_ms"]) == ("limit", 1_000)


async def test_a_consent_that_is_withdrawn_ends_it(tmp_path: Path) -> None:
    async with calling(tmp_path, "announce") as call:
        await call.kept()
        async with call.http() as http:
            [consent] = (await http.get("/v1/privacy/consents")).json()["consents"]
            await http.delete(f"/v1/privacy/consents/{consent['consent_id']}")
            hear(call.leg, tone(2))
            await eventually(lambda: call.recording._ending == "withdrawn", 20)
            await call.hang_up()
            told = await call.stored(http)
            sound = await http.get(f"/v1/sessions/{told['session_id']}/recording")
        left, _, _ = sides(sound.content)
        assert not np.any(np.abs(left.astype(int)) > LOUD), "what was said after it"


async def test_the_agent_stops_it_when_the_caller_says_so(tmp_path: Path) -> None:
    stop = ScriptedReply("", tools=(ToolRequest("c1", "stop_recording", "{}"),))
    model = ScriptedModel(stop, ScriptedReply("It is off."), profile=TOOLS)
    async with calling(tmp_path, "announce", model) as call:
        await call.recorded()
        call.leg.say(said("goforward"))
        await eventually(lambda: call.recording._ending == "stopped", 20)
        await call.hang_up()
        async with call.http() as http:
            assert (await call.stored(http))["recording"]["ending"] == "stopped"


async def test_a_recording_is_held_exported_purged_and_deleted_with_its_conversation(tmp_path: Path) -> None:
    async with calling(tmp_path, "announce") as call:
        await call.recorded()
        hear(call.leg, tone())
        await call.hang_up()
        [file] = call.files
        async with call.http() as http:
            session_id = (await call.stored(http))["session_id"]
            hold = (await http.post("/v1/privacy/holds", json={"reason": "4711", "session_id": session_id})).json()
            refused = await http.delete(f"/v1/sessions/{session_id}")
            assert refused.status_code == httpx.codes.CONFLICT
            await age(call.server, 4_000)
            await http.post("/v1/privacy/purge", json={})
            assert file.exists()
            job = await done(http, (await http.post("/v1/privacy/export", json={})).json())
            archive = zipfile.ZipFile(io.BytesIO((await http.get(job["download"])).content))
            assert archive.read(f"recordings/{session_id}.wav") == file.read_bytes()
            assert session_id.encode() in archive.read("recordings.jsonl")
            await http.delete(f"/v1/privacy/holds/{hold['hold_id']}")
            await http.post("/v1/privacy/purge", json={})
            assert not file.exists()
            gone = await http.get(f"/v1/sessions/{session_id}/recording")
            assert gone.status_code == httpx.codes.NOT_FOUND


async def test_it_goes_with_its_conversation_and_with_the_person(tmp_path: Path) -> None:
    for path in ("session", "person"):
        async with calling(tmp_path / path, "announce") as call:
            await call.recorded()
            hear(call.leg, tone())
            await call.hang_up()
            assert len(call.files) == 1
            async with call.http() as http:
                if path == "session":
                    session_id = (await call.stored(http))["session_id"]
                    answer = await http.delete(f"/v1/sessions/{session_id}")
                    assert answer.status_code == httpx.codes.NO_CONTENT
                else:
                    job = await done(http, (await http.post("/v1/privacy/delete", json={})).json())
                    assert job["state"] == "finished"
            assert call.files == []


async def test_a_person_who_is_deleted_while_recorded_leaves_nothing(tmp_path: Path) -> None:
    async with calling(tmp_path, "announce") as call:
        await call.recorded()
        hear(call.leg, tone())
        async with call.http() as http:
            job = await done(http, (await http.post("/v1/privacy/delete", json={})).json())
        assert job["state"] == "finished"
        await eventually(lambda: call.record is not None, 20)
        assert call.files == []


async def test_what_a_dead_server_left_is_completed_or_removed(tmp_path: Path) -> None:
    async with calling(tmp_path, "announce") as call:
        await call.recorded()
        hear(call.leg, tone())
        await call.hang_up()
        recordings = call.server.application.host.offices.privacy.recordings
        [file] = call.files
        async with call.http() as http:
            session_id = (await call.stored(http))["session_id"]
        found = (await recordings.of([session_id]))[session_id]
        stray = file.with_name("0" * 32 + ".wav")
        stray.write_bytes(b"nobody's")
        whole = file.read_bytes()
        file.write_bytes(whole[:4] + bytes(4) + whole[8:40] + bytes(4) + whole[44:] + b"\x01")
        await reopened(call, found.recording_id)
        aged(file, seconds=600)
        assert await recordings.sweep() == 1
        assert not stray.exists()
        assert file.read_bytes() == whole
        assert (await recordings.of([session_id]))[session_id].ending == "lost"


async def test_what_a_dead_server_left_empty_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(*_: object) -> None:
        raise OSError("the server is gone")

    monkeypatch.setattr(Recordings, "discard", dies)
    async with calling(tmp_path, "ask") as call:
        await eventually(lambda: call.recording._talk.answering, 20)
        call.leg.listener.digit("1")  # type: ignore[union-attr]
        await call.hang_up()
        [file] = call.files
        aged(file, seconds=600)
        recordings = call.server.application.host.offices.privacy.recordings
        await recordings.sweep()
        assert call.files == []
        async with call.http() as http:
            assert "recording" not in await call.stored(http)


async def test_it_is_recorded_over_a_carriers_stream_too(tmp_path: Path) -> None:
    telephony = {**TELEPHONY, "recording": {"mode": "announce"}}
    async with (
        served(tmp_path, telephony=telephony, **ON) as server,
        twilio_call(server.url) as carrier,
        httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as http,
    ):
        await eventually(lambda: list(tmp_path.glob("recordings/*/*.wav")), 30)
        await carrier.say(said("goforward"), real_time=True)
        await eventually(lambda: len(carrier.marks) > 6, 20)
        await carrier.stop()
        with anyio.fail_after(20):
            while True:
                [told] = (await http.get("/v1/sessions")).json()["conversations"]
                if "ended_at_ms" in told.get("recording", {}):
                    break
                await anyio.sleep(0.05)
        left, right, rate_hz = sides((await http.get(f"/v1/sessions/{told['session_id']}/recording")).content)
    assert rate_hz == 8_000
    assert np.abs(left.astype(int)).max() > LOUD
    assert np.abs(right.astype(int)).max() > LOUD
