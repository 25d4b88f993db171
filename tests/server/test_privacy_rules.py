"""Who is owed what: one table, held together with the guide; consents without which nothing is recorded; settings."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from metering.codec import FIELDS
from metering.journal import erase_from_damaged, journals_that_name
from metering.records import Records
from server.audit import AUDIT, AuditLog
from server.guard import Identity
from server.identity.settings_keys import SettingsKeys, digest_bytes
from server.permissions import TenantType
from server.privacy.consents import Agreement, Consent, Consents, Permit
from server.privacy.errors import NoConsent, Unknown
from server.privacy.export_tables import TABLES, csv_lines
from server.privacy.protection import protection_of
from server.privacy.tables import PRIVACY
from server.settings import load_settings

ADA = Identity("acme", "ada")
WORDS = Agreement("recording", "This call is recorded.", "1", "en-GB")


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    opened = Records.in_file(tmp_path / "records.sqlite3")
    opened.migrate([AUDIT, PRIVACY])
    yield opened
    opened.close()


def consents_of(records: Records, *, recording: bool = True) -> Consents:
    return Consents(records, AuditLog(records, lambda: 1_000), lambda: 1_000, recording=recording)


def test_schools_are_protected() -> None:
    school = protection_of("school")
    assert (school.conversation_days.default, school.conversation_days.least, school.conversation_days.most) == (
        30,
        30,
        90,
    )
    forbidden = (school.recording, school.words_in_logs, school.words_in_traces, school.cost_spoken)
    assert not any(forbidden)


def test_the_guide_has_the_table() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "privacy.md").read_text()
    rules = {kind: protection_of(kind) for kind in get_args(TenantType)}
    days = {kind: rule.conversation_days for kind, rule in rules.items()}
    months = {kind: rule.usage_months for kind, rule in rules.items()}
    lines = [line for line in guide.splitlines() if line.startswith("| ")]
    order: tuple[TenantType, ...] = ("consumer", "school", "business")
    for words, spans in (("conversations, days", days), ("usage events, months", months)):
        cells = " | ".join(f"{spans[k].default} ({spans[k].least} to {spans[k].most})" for k in order)
        assert f"| {words} | {cells} |" in lines
    for words, name in (
        ("audio may be recorded, with consent", "recording"),
        ("words in the log, where transcripts are on", "words_in_logs"),
        ("words in traces, where transcripts are on", "words_in_traces"),
        ("warnings about cost are spoken", "cost_spoken"),
    ):
        cells = " | ".join("yes" if getattr(rules[k], name) else "never" for k in order)
        assert f"| {words} | {cells} |" in lines


def test_a_tenants_type_comes_with_its_key() -> None:
    tenants = [{"id": "lyceum", "type": "school", "api_keys": ["a-very-long-secret"]}]
    settings = load_settings(tenants=tenants, api_keys=["another-long-secret"])
    keys = SettingsKeys(settings)
    known = [keys.by_digest(digest_bytes(key)) for key in ("a-very-long-secret", "another-long-secret")]
    assert [owner and owner.tenant_type for owner in known] == ["school", "business"]
    assert settings.tenant_type("nobody") is None


async def test_without_a_standing_consent_there_is_no_permit(records: Records) -> None:
    consents = consents_of(records)
    with pytest.raises(NoConsent):
        await consents.require("acme", "business", "ada", "ses_1")
    given = await consents.give(ADA, "acme", "ada", WORDS)
    permit = await consents.require("acme", "business", "ada", "ses_1")
    assert (permit.consent, permit.session_id, permit.stands) == (given, "ses_1", True)
    for tenant, user, purpose in (("acme", "bob", "recording"), ("other", "ada", "recording"), ("acme", "ada", "ads")):
        with pytest.raises(NoConsent):
            await consents.require(tenant, "business", user, "ses_1", purpose)
    with pytest.raises(NoConsent, match="school"):
        await consents.require("acme", "school", "ada", "ses_1")
    with pytest.raises(NoConsent, match="switched off"):
        await consents_of(records, recording=False).require("acme", "business", "ada", "ses_1")


async def test_a_permit_is_made_by_nobody_else() -> None:
    consent = Consent("consent_1", "acme", "ada", None, "recording", "w", "1", "en", 0)
    with pytest.raises(TypeError):
        Permit(object(), consent, "ses_1")


async def test_a_consent_withdrawn_through_another_server_ends_permits_here(records: Records) -> None:
    here, there = consents_of(records), consents_of(records)
    given = await here.give(ADA, "acme", "ada", WORDS)
    permit = await here.require("acme", "business", "ada", "ses_1")
    with pytest.raises(Unknown):
        await there.withdraw(ADA, "acme", "bob", given.consent_id)
    await there.withdraw(ADA, "acme", "ada", given.consent_id)
    await here.refresh()
    assert not permit.stands
    with pytest.raises(NoConsent):
        await here.require("acme", "business", "ada", "ses_1")


async def test_a_consent_for_one_conversation_is_for_that_one(records: Records) -> None:
    consents = consents_of(records)
    await consents.give(ADA, "acme", "ada", Agreement("recording", "w", "1", "en", session_id="ses_1"))
    await consents.require("acme", "business", "ada", "ses_1")
    with pytest.raises(NoConsent):
        await consents.require("acme", "business", "ada", "ses_2")


def test_in_a_journals_line_the_tenant_stands_before_the_person() -> None:
    assert FIELDS.index("user_id") == FIELDS.index("tenant_id") + 1


def test_lines_about_a_person_go_from_what_was_kept_aside(tmp_path: Path) -> None:
    lines = [b'["x","event",{"tenant_id":"a","user_id":"%b","n":1}]\n' % user for user in (b"ada", b"bob", b"ada")]
    for name in ("live", "gone.damaged"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "00000001.jsonl").write_bytes(b"".join(lines))
    assert len(journals_that_name(tmp_path, "a", "ada")) == 2
    assert journals_that_name(tmp_path, "b", "ada") == []
    erase_from_damaged(tmp_path, "a", "ada")
    assert [path.parent.name for path in journals_that_name(tmp_path, "a", "ada")] == ["live"]
    assert (tmp_path / "gone.damaged" / "00000001.jsonl").read_bytes() == lines[1]


@pytest.mark.parametrize("words", ["=1+1", " =1+1", "\n=1+1", "\uff1d1+1", "@sum", "\t-1"])
def test_words_that_a_spreadsheet_takes_for_a_formula_are_text_in_an_export(words: str) -> None:
    row = dict.fromkeys((str(column.name) for column in TABLES["entries"]("", "").selected_columns), words)
    (_, line) = csv_lines("entries", [row])
    (cells,) = csv.reader(io.StringIO(line.decode()))
    assert set(cells) == {f"'{words}"}
