"""Stored conversations and people's data: ``/v1/sessions`` and ``/v1/privacy``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from server.contracts.base import ClientId, Contract, Count, Locale, Milliseconds, ServerId

TenantKind = Literal["consumer", "school", "business"]
ShortText = Annotated[str, Field(min_length=1, max_length=1_000)]


class StoredRecording(Contract):
    """The sound of a conversation: a stereo WAV, the caller left, the agent right."""

    recording_id: ServerId
    consent_id: ServerId
    """To what they agreed, and how."""
    rate_hz: Count
    started_at_ms: Milliseconds
    ended_at_ms: Milliseconds | None = None
    """Absent while it is being made."""
    duration_ms: Milliseconds
    bytes: Count
    ending: Literal["", "over", "stopped", "withdrawn", "limit", "disk", "lost"]
    """Why it ended: with the call, as somebody asked, because the consent was withdrawn, as long as it may be, because
    the disk took no more, with the server; empty while it is being made."""


class StoredConversation(Contract):
    """A conversation whose words are kept. Moments are epoch milliseconds."""

    session_id: ServerId
    tenant_id: str
    user_id: str
    agent_id: str
    transport: str
    started_at_ms: Milliseconds
    last_at_ms: Milliseconds
    """When anything was last said."""
    ended_at_ms: Milliseconds | None = None
    """Absent while it goes on, and where its server died."""
    lost: Count
    """Entries that could not be kept: the database was away for too long."""
    kept_until_ms: Milliseconds
    """When a purge may take it, by the policy as it is now."""
    recording: StoredRecording | None = None
    """Absent where nothing was recorded."""


class ConversationList(Contract):
    """Conversations, newest first."""

    request_id: ServerId
    conversations: tuple[StoredConversation, ...]
    cursor: str | None = None
    """Goes on behind these; absent when there are no more."""


class ConversationEntry(Contract):
    """What one of the two said in one go."""

    item_id: str
    turn_id: str | None = None
    speaker: Literal["user", "agent"]
    text: str
    """As it was heard: of a reply that was interrupted, what the user heard of it."""
    at_ms: Milliseconds
    """Epoch milliseconds."""
    start_ms: Milliseconds | None = None
    """When it began, in milliseconds of the conversation."""
    end_ms: Milliseconds | None = None
    interrupted: bool
    final: bool
    """False: it is still being said."""


class ConversationResponse(Contract):
    """One conversation with every word of it."""

    request_id: ServerId
    conversation: StoredConversation
    entries: tuple[ConversationEntry, ...]


class PersonRequest(Contract):
    """Whose data: one's own, unless somebody else is named (which needs the permission ``privacy.write``)."""

    user_id: str | None = Field(default=None, min_length=1, max_length=256)
    tenant_id: str | None = Field(default=None, min_length=1, max_length=256)
    """Other than one's own with the operator's keys only."""


class PrivacyJob(Contract):
    """What was asked about a person's data, and how far it is."""

    request_id: ServerId
    job_id: ServerId
    kind: Literal["export", "delete"]
    tenant_id: str
    user_id: str
    """Of a deletion that is over: the pseudonym that took its place."""
    state: Literal["waiting", "running", "finished", "held", "failed", "expired"]
    """`held`: a legal hold kept all of it, or some (`result` says what)."""
    step: str
    asked_at_ms: Milliseconds
    finished_at_ms: Milliseconds | None = None
    expires_at_ms: Milliseconds | None = None
    """Until then a finished export can be fetched, by who asked for it."""
    download: str | None = None
    """Where, once it is there."""
    result: dict[str, Any]


class RetentionSpan(Contract):
    """What may be chosen."""

    default: Count
    least: Count
    most: Count


class RetentionResponse(Contract):
    """How long a tenant's data is kept."""

    request_id: ServerId
    tenant_id: str
    tenant_type: TenantKind
    store: bool
    """Whether conversations are stored at all."""
    conversation_days: Count
    usage_months: Count
    chosen: tuple[str, ...]
    """Which of the three the tenant chose itself; the others are its type's defaults, or the operator's."""
    permitted: dict[str, RetentionSpan]
    recording: bool
    """Whether audio may be recorded here, of who consents."""


class RetentionRequest(Contract):
    """A tenant's choice, whole: what is left out is left to the defaults."""

    tenant_id: str | None = Field(default=None, min_length=1, max_length=256)
    store: bool | None = None
    conversation_days: Count | None = None
    usage_months: Count | None = None


class HoldRequest(Contract):
    """What may not be purged or deleted: a person's data, a conversation, or (with neither) all of the tenant's."""

    tenant_id: str | None = Field(default=None, min_length=1, max_length=256)
    user_id: str | None = Field(default=None, min_length=1, max_length=256)
    session_id: ClientId | None = None
    reason: ShortText

    @model_validator(mode="after")
    def _is_on_one_thing(self) -> HoldRequest:
        if self.user_id is not None and self.session_id is not None:
            raise ValueError("a hold is on a person or on a conversation, not both")
        return self


class LegalHold(Contract):
    """One hold."""

    hold_id: ServerId
    tenant_id: str
    user_id: str | None = None
    session_id: str | None = None
    reason: str
    placed_at_ms: Milliseconds
    placed_by: str
    lifted_at_ms: Milliseconds | None = None
    lifted_by: str | None = None


class HoldResponse(LegalHold):
    """A hold that was placed or lifted."""

    request_id: ServerId


class HoldList(Contract):
    """A tenant's holds, lifted ones too."""

    request_id: ServerId
    holds: tuple[LegalHold, ...]


class ConsentRequest(Contract):
    """That somebody agrees to be recorded, and to which words."""

    tenant_id: str | None = Field(default=None, min_length=1, max_length=256)
    user_id: str | None = Field(default=None, min_length=1, max_length=256)
    """Who agreed: oneself, unless somebody else is named (which needs ``privacy.write``)."""
    session_id: ClientId | None = None
    """For this conversation only."""
    purpose: Annotated[str, Field(min_length=1, max_length=64)] = "recording"
    wording: Annotated[str, Field(min_length=1, max_length=8_000)]
    """What they were shown or told."""
    wording_version: Annotated[str, Field(min_length=1, max_length=64)]
    locale: Locale = "en-US"


class RecordingConsent(Contract):
    """One consent."""

    consent_id: ServerId
    tenant_id: str
    user_id: str
    session_id: str | None = None
    purpose: str
    wording: str
    wording_version: str
    locale: str
    given_at_ms: Milliseconds
    withdrawn_at_ms: Milliseconds | None = None
    answer: str | None = None
    """How they agreed, where that is known: `announced` (told, they stayed on the line), `voice` or `key`."""


class ConsentResponse(RecordingConsent):
    """A consent that was given or withdrawn."""

    request_id: ServerId


class ConsentList(Contract):
    """Consents, withdrawn ones too."""

    request_id: ServerId
    consents: tuple[RecordingConsent, ...]


class PurgeRequest(Contract):
    """A purge at once; of one's own tenant, or (``everybody``, with the operator's keys) of all of them."""

    tenant_id: str | None = Field(default=None, min_length=1, max_length=256)
    everybody: bool = False


class PurgeResponse(Contract):
    """What it took out, by tenant."""

    request_id: ServerId
    conversations: dict[str, Count]
    usage_events: dict[str, Count]
    exports: Count
    held_tenants: tuple[str, ...]
    """Whose usage events stay, because something of them is held."""
