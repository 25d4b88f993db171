"""What people ask for, through a real server on loopback: an export, their deletion; and consent."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import sqlalchemy as sa
from privacy_talk import (
    ADMIN,
    CANARY,
    PASSWORD,
    PUPIL,
    SCHOOL,
    ask,
    audit,
    done,
    files_with,
    http_of,
    speak,
    stored,
    user_of,
    with_keys,
)
from voice_socket import joined

from metering.ledger import UsageQuery, read_all
from server.privacy import exports, tables
from server.privacy.export_tables import TABLES
from server.privacy.jobs import Job, expire
from tests.scripted_server import EchoModel, eventually, scripted_engines, served


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings for either database."""
    if request.param == "sqlite":
        return {}
    return {"ledger": {"url": request.getfixturevalue("postgres").database()}}


# --- export ---


async def test_an_export_holds_everything_and_is_for_who_asked(tmp_path: Path, database: dict[str, Any]) -> None:
    async with (
        with_keys(tmp_path, **database) as server,
        http_of(server, PUPIL) as pupil,
        http_of(server, SCHOOL) as school,
        http_of(server, ADMIN) as admin,
    ):
        await ask(pupil, f"=1+1 {CANARY}")
        await ask(school, "somebody else's words")
        await stored(pupil, 2)
        earlier = await done(pupil, (await pupil.post("/v1/privacy/export", json={})).json())
        asked = await pupil.post("/v1/privacy/export", json={})
        assert asked.status_code == httpx.codes.ACCEPTED
        assert (await pupil.get(earlier["download"])).status_code == httpx.codes.GONE, "the newest is kept"
        job = await done(pupil, asked.json())
        got = await pupil.get(job["download"])
        assert hashlib.sha256(got.content).hexdigest() == job["result"]["sha256"] == got.headers["x-content-sha256"]
        archive = zipfile.ZipFile(io.BytesIO(got.content))
        manifest = json.loads(archive.read("manifest.json"))["files"]
        assert set(archive.namelist()) == {*manifest, "manifest.json", "SHA256SUMS"}
        for name, told in manifest.items():
            content = archive.read(name)
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (told["sha256"], told["bytes"]), name
            assert f"{told['sha256']}  {name}\n" in archive.read("SHA256SUMS").decode()
        said = [json.loads(line)["text"] for line in archive.read("entries.jsonl").splitlines()]
        assert said == [f"=1+1 {CANARY}", f"You said: =1+1 {CANARY}."]
        rows = list(csv.DictReader(io.StringIO(archive.read("entries.csv").decode())))
        assert rows[0]["text"] == f"'=1+1 {CANARY}", "a spreadsheet must not take it for a formula"
        usage = [json.loads(line) for line in archive.read("usage.jsonl").splitlines()]
        assert {event["user_id"] for event in usage} == {user_of(server, PUPIL)}
        about = json.loads(archive.read("metadata.json"))
        assert (about["user_id"], about["counts"]["entries"], about["counts"]["usage"]) == (
            user_of(server, PUPIL),
            2,
            1,
        )
        for other in (school, admin):
            assert (await other.get(f"/v1/privacy/jobs/{job['job_id']}/download")).status_code == 403
        expire = sa.text("UPDATE privacy_jobs SET expires_at_ms = 1")
        await server.application.host.offices.records.run_write(lambda connection: connection.execute(expire).rowcount)
        assert (await pupil.get(job["download"])).status_code == httpx.codes.GONE
        await admin.post("/v1/privacy/purge", json={"everybody": True})
        assert (await pupil.get(f"/v1/privacy/jobs/{job['job_id']}")).json()["state"] == "expired"
        parts = await server.application.host.offices.records.run_read(
            lambda connection: connection.execute(sa.text("SELECT count(*) FROM privacy_export_parts")).scalar_one()
        )
        assert parts == 0


# --- deletion ---


async def test_a_person_is_deleted_from_every_file_and_sums_stay(tmp_path: Path, database: dict[str, Any]) -> None:
    async with (
        with_keys(tmp_path, **database) as server,
        http_of(server, SCHOOL) as school,
        http_of(server, PUPIL) as pupil,
    ):
        pupils_id = user_of(server, PUPIL)
        for number in range(3):
            await ask(pupil, f"{CANARY} {number}")
        await ask(school, "a teacher's words")
        body = {"wording": f"Recorded {CANARY}", "wording_version": "1", "user_id": pupils_id}
        assert (await school.post("/v1/privacy/consents", json=body)).status_code == httpx.codes.CREATED
        export = await done(school, (await school.post("/v1/privacy/export", json={"user_id": pupils_id})).json())
        async with joined(server.voice_url, additional_headers={"Authorization": f"Bearer {PUPIL}"}) as voice:
            await voice.say("voice.start", binary=True)
            await speak(voice)
            before = server.application.host.ledger.totals(UsageQuery())
            asked = await school.post("/v1/privacy/delete", json={"user_id": pupils_id})
            job = await done(school, asked.json())
            assert await voice.closed() == 4410, "what they are in the middle of is ended first"
        assert (job["state"], job["user_id"]) == ("finished", job["result"]["pseudonym"])
        assert [each["user_id"] for each in await stored(school)] == [user_of(server, SCHOOL)]
        assert (await school.get(f"/v1/privacy/jobs/{export['job_id']}")).json()["state"] == "expired"
        assert server.application.host.ledger.totals(UsageQuery()) == before
        users = [event.user_id for event in read_all(server.application.host.ledger, UsageQuery(tenant_id="school"))]
        assert users.count(job["user_id"]) == 4
        assert files_with(tmp_path, pupils_id) == []
        assert files_with(tmp_path, f"{CANARY} 0") == []
        assert await audit(server).verify() is None
    assert files_with(tmp_path, pupils_id) == []


async def test_a_person_with_a_login_leaves_nothing_that_names_them_and_nothing_that_opens(
    tmp_path: Path, database: dict[str, Any]
) -> None:
    async with with_keys(tmp_path, **database) as server, http_of(server, ADMIN) as admin:
        person = {"tenant_id": "school", "name": CANARY, "login_name": f"{CANARY}@school.test", "password": PASSWORD}
        user_id = (await admin.post("/v1/users", json=person)).json()["user"]["user_id"]
        key = {"tenant_id": "school", "name": f"{CANARY}'s tablet", "user_id": user_id, "role": "member"}
        tablet = (await admin.post("/v1/keys", json=key)).json()["api_key"]
        login = {"login_name": person["login_name"], "password": PASSWORD}
        token = (await admin.post("/v1/auth/login", json=login)).json()["token"]
        limit = {"scope": "user", "user_id": user_id, "period": "daily", "measure": "turns", "amount": "50"}
        assert (await admin.put("/v1/budgets", params={"tenant": "school"}, json={"limits": [limit]})).is_success
        async with http_of(server, token) as by_login, http_of(server, tablet) as by_key:
            await ask(by_login, f"{CANARY} by login")
            await ask(by_key, f"{CANARY} by key")
            await stored(by_key, 2)
            body = {"tenant_id": "school", "user_id": user_id}
            job = await done(admin, (await admin.post("/v1/privacy/delete", json=body)).json())
            assert job["state"] == "finished"
            for http in (by_login, by_key):
                with anyio.fail_after(20):
                    while (await http.get("/v1/me")).status_code != httpx.codes.UNAUTHORIZED:  # noqa: ASYNC110
                        await anyio.sleep(0.05)
            assert (await admin.post("/v1/auth/login", json=login)).status_code == httpx.codes.UNAUTHORIZED
        assert files_with(tmp_path, CANARY) == []
        assert await audit(server).verify() is None


async def test_who_deletes_themselves_still_learns_what_came_of_it(tmp_path: Path) -> None:
    async with with_keys(tmp_path) as server, http_of(server, PUPIL) as pupil:
        await ask(pupil, CANARY)
        forgotten: list[tuple[str, ...]] = []
        server.application.host.offices.privacy.erasure.also(lambda _, *person: forgotten.append(person))
        job = await done(pupil, (await pupil.post("/v1/privacy/delete", json={})).json())
        assert job["state"] == "finished"
        assert set(forgotten) == {("school", user_of(server, PUPIL), job["user_id"])}
        assert files_with(tmp_path, CANARY) == []
        rows = await audit(server).read(tenant_id="school")
        assert [row.action for row in rows] == ["privacy.delete_asked", "privacy.delete_finished"]


async def test_a_question_under_way_is_waited_for(tmp_path: Path) -> None:
    gate = anyio.Event()
    async with served(tmp_path, scripted_engines(EchoModel(gate))) as server, http_of(server) as http:
        asked: dict[str, Any] = {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, http, CANARY)
            await eventually(lambda: server.application.host.underway.questions)
            asked = (await http.post("/v1/privacy/delete", json={})).json()
            with anyio.fail_after(20):
                while (await http.get(f"/v1/privacy/jobs/{asked['job_id']}")).json()["step"] != "ending":  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            gate.set()
        job = await done(http, asked)
        assert job["state"] == "finished"
        assert {event.user_id for event in read_all(server.application.host.ledger, UsageQuery())} == {job["user_id"]}
        assert files_with(tmp_path, CANARY) == []


# --- consent ---


async def test_a_consent_is_given_for_oneself_and_withdrawn(tmp_path: Path) -> None:
    async with served(tmp_path, retention={"recording": True}) as server, http_of(server) as http:
        consents = server.application.host.offices.consents
        body = {"wording": "This call is recorded.", "wording_version": "2026-11", "locale": "en-GB"}
        given = (await http.post("/v1/privacy/consents", json=body)).json()
        assert (given["user_id"], given["wording"], given["wording_version"]) == (
            "local",
            "This call is recorded.",
            "2026-11",
        )
        permit = await consents.require("local", "consumer", "local", "ses_1")
        assert permit.stands
        withdrawn = (await http.delete(f"/v1/privacy/consents/{given['consent_id']}")).json()
        assert withdrawn["withdrawn_at_ms"] <= time.time_ns() // 1_000_000
        assert not permit.stands, "who records is told at once"
        listed = (await http.get("/v1/privacy/consents")).json()["consents"]
        assert [each["consent_id"] for each in listed] == [given["consent_id"]]
        actions = [row.action for row in await audit(server).read(tenant_id="local")]
        assert actions == ["consent.given", "consent.withdrawn"]


# --- jobs that take long, or fail ---


async def test_an_export_that_takes_long_holds_up_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path) as server, http_of(server) as http:
        office = server.application.host.offices.privacy
        begun, go_on = anyio.Event(), anyio.Event()
        make = office.exports.run

        async def slowly(*given: Any) -> None:
            begun.set()
            await go_on.wait()
            await make(*given)

        monkeypatch.setattr(office.exports, "run", slowly)
        job = (await http.post("/v1/privacy/export", json={})).json()
        with anyio.fail_after(20):
            await begun.wait()
        policy = {"tenant_id": "local", "tenant_type": "consumer", "store": False, "changed_at_ms": 1}
        await server.application.host.offices.records.run_write(lambda connection: _another_server(connection, policy))
        await eventually(lambda: not office.retention.of("local", "consumer").store, 20)
        go_on.set()
        assert (await done(http, job))["state"] == "finished"


async def test_an_export_that_is_ended_or_fails_leaves_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as server, http_of(server) as http:
        office, records = server.application.host.offices.privacy, server.application.host.offices.records
        monkeypatch.setattr(exports, "PART_BYTES", 64)
        renew, stored = office.jobs.renew, 0

        def ended_meanwhile(connection: sa.Connection, job: Job) -> bool:
            nonlocal stored
            stored += 1
            if stored == TABLES_AND_SOME:  # another server deletes whose export it is
                expire(connection, tables.jobs.c.job_id == job.job_id)
            return renew(connection, job)

        monkeypatch.setattr(office.jobs, "renew", ended_meanwhile)
        job = (await http.post("/v1/privacy/export", json={})).json()
        assert (await done(http, job))["state"] == "expired"
        await eventually(lambda: stored >= TABLES_AND_SOME, 20)
        monkeypatch.setattr(office.jobs, "renew", renew)
        assert await records.run_read(_parts) == 0

        def fails(job: Job, *_: object) -> str:
            with records.write() as connection:
                connection.execute(tables.parts.insert().values(job_id=job.job_id, number=0, data=b"half"))
            raise OSError("no room")

        monkeypatch.setattr("server.privacy.office.EXPORT_ATTEMPTS", 1)
        monkeypatch.setattr(office.exports, "_make", fails)
        other = (await http.post("/v1/privacy/export", json={})).json()
        assert (await done(http, other))["state"] == "failed"
        assert await records.run_read(_parts) == 0


TABLES_AND_SOME = len(TABLES) + 3


def _parts(connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(tables.parts)).scalar_one()


def _another_server(connection: sa.Connection, policy: dict[str, Any]) -> None:
    known = {name: policy.get(name) for name in tables.policies.c.keys()}  # noqa: SIM118 - a column collection
    connection.execute(tables.policies.insert().values(known))
