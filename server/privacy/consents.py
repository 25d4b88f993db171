"""Consent to a recording: who agreed, when, to which words, and when they took it back.

A recording needs a ``Permit``, and only ``require`` makes one: where recording is switched on, the tenant's type allows
it, and a consent stands. A permit that is withdrawn says so at once (``stands``), and whoever records stops. Owned by
the privacy office; whatever records (a telephone call, say) asks ``host.offices.consents.require``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from metering.records import Records
from server.audit import AuditEntry, AuditLog
from server.guard import Identity
from server.ids import new_id
from server.permissions import TenantType
from server.privacy import tables
from server.privacy.errors import NoConsent, Unknown
from server.privacy.protection import protection_of

_MAKER: Final = object()


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent. Without a ``session_id`` it is for every conversation of the person, for this ``purpose``.

    ``answer`` is how they agreed, where that is known: ``announced`` (told, they stayed), ``voice`` or ``key``.
    """

    consent_id: str
    tenant_id: str
    user_id: str
    session_id: str | None
    purpose: str
    wording: str
    wording_version: str
    locale: str
    given_at_ms: int
    withdrawn_at_ms: int | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """What somebody agrees to: the words they were shown or told, and their version."""

    purpose: str
    wording: str
    wording_version: str
    locale: str
    session_id: str | None = None
    answer: str | None = None


class Permit:
    """Leave to record one conversation, given by ``Consents.require`` alone; ``stands`` until it is withdrawn."""

    def __init__(self, maker: object, consent: Consent, session_id: str) -> None:
        if maker is not _MAKER:
            raise TypeError("a permit to record is given by Consents.require")
        self.consent = consent
        self.session_id = session_id
        self.stands = True


class Consents:
    """See the module."""

    def __init__(self, records: Records, audit: AuditLog, epoch_ms: Callable[[], int], *, recording: bool) -> None:
        self._records = records
        self._audit = audit
        self._epoch_ms = epoch_ms
        self._recording = recording
        self._permits: weakref.WeakSet[Permit] = weakref.WeakSet()

    async def give(
        self, actor: Identity, tenant_id: str, user_id: str, agreed: Agreement, request_id: str = ""
    ) -> Consent:
        """Somebody agrees (``actor`` says so: themselves, or who asked them). Raises RecordsError."""
        consent_id = new_id("consent")
        consent = Consent(
            consent_id,
            tenant_id,
            user_id,
            agreed.session_id,
            agreed.purpose,
            agreed.wording,
            agreed.wording_version,
            agreed.locale,
            self._epoch_ms(),
            answer=agreed.answer,
        )
        told = {"purpose": agreed.purpose, "wording_version": agreed.wording_version}
        entry = AuditEntry(actor, "consent.given", tenant_id, consent_id, told, request_id)

        def write(connection: sa.Connection) -> None:
            row = {name: getattr(consent, name) for name in Consent.__slots__}
            connection.execute(tables.consents.insert().values(row))
            self._audit.append(connection, entry)

        await self._records.run_write(write)
        return consent

    async def withdraw(
        self, actor: Identity, tenant_id: str, user_id: str | None, consent_id: str, request_id: str = ""
    ) -> Consent:
        """It holds no longer; a recording under way ends. ``user_id``: only if it is theirs. Raises Unknown,
        RecordsError."""
        table = tables.consents
        mine = sa.and_(table.c.consent_id == consent_id, table.c.tenant_id == tenant_id)
        if user_id is not None:
            mine = mine & (table.c.user_id == user_id)

        def write(connection: sa.Connection) -> Consent:
            given = mine & table.c.withdrawn_at_ms.is_(None)
            if connection.execute(table.update().where(given).values(withdrawn_at_ms=self._epoch_ms())).rowcount:
                entry = AuditEntry(actor, "consent.withdrawn", tenant_id, consent_id, {}, request_id)
                self._audit.append(connection, entry)
            row = connection.execute(sa.select(table).where(mine)).mappings().one_or_none()
            if row is None:
                raise Unknown("There is no such consent.")
            return Consent(**row)

        withdrawn = await self._records.run_write(write)
        self._end({consent_id})
        return withdrawn

    async def list(self, tenant_id: str, user_id: str | None = None) -> list[Consent]:
        """A tenant's consents, or a person's, oldest first; withdrawn ones too. Raises RecordsError."""
        table = tables.consents
        question = sa.select(table).where(table.c.tenant_id == tenant_id).order_by(table.c.given_at_ms)
        if user_id is not None:
            question = question.where(table.c.user_id == user_id)
        rows = await self._records.run_read(lambda connection: connection.execute(question).mappings().all())
        return [Consent(**row) for row in rows]

    def possible(self, tenant_type: TenantType) -> bool:
        """Whether anybody of such a tenant can be recorded at all, once they have consented."""
        return self._recording and protection_of(tenant_type).recording

    async def require(
        self, tenant_id: str, tenant_type: TenantType, user_id: str, session_id: str, purpose: str = "recording"
    ) -> Permit:
        """Leave to record this conversation of this person. Raises NoConsent, RecordsError."""
        if not self._recording:
            raise NoConsent("Recording is switched off on this server (retention.recording).")
        if not protection_of(tenant_type).recording:
            raise NoConsent(f"Nothing is recorded in a {tenant_type}.")
        consent = await self._standing(tenant_id, user_id, session_id, purpose)
        if consent is None:
            raise NoConsent("Nobody has consented to this recording, or the consent was withdrawn.")
        permit = Permit(_MAKER, consent, session_id)
        self._permits.add(permit)
        return permit

    async def _standing(self, tenant_id: str, user_id: str, session_id: str, purpose: str) -> Consent | None:
        """The newest that fits: all callers of a tenant may be one user, with a consent for each of their calls."""
        table = tables.consents
        fits = sa.or_(table.c.session_id.is_(None), table.c.session_id == session_id)
        question = sa.select(table).where(table.c.tenant_id == tenant_id, table.c.user_id == user_id, fits)
        question = question.where(table.c.purpose == purpose, table.c.withdrawn_at_ms.is_(None))
        question = question.order_by(table.c.given_at_ms.desc()).limit(1)
        row = await self._records.run_read(lambda connection: connection.execute(question).mappings().one_or_none())
        return None if row is None else Consent(**row)

    async def refresh(self) -> None:
        """Take back permits whose consent was withdrawn through another server, or is gone. Raises RecordsError."""
        ids = {permit.consent.consent_id for permit in self._permits if permit.stands}
        if not ids:
            return
        table = tables.consents
        question = sa.select(table.c.consent_id).where(
            table.c.consent_id.in_(list(ids)), table.c.withdrawn_at_ms.is_(None)
        )
        stand = await self._records.run_read(lambda connection: set(connection.execute(question).scalars()))
        self._end(ids - stand)

    def _end(self, consent_ids: set[str]) -> None:
        for permit in list(self._permits):
            if permit.consent.consent_id in consent_ids:
                permit.stands = False
