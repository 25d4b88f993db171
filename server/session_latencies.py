"""How each kind of session keeps its time: the operator's choice, and what its client wishes for, as far as permitted.

Says it in the contract's words where a wish is not permitted. Owned by the host; knows no transport.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from agents.core.budget import BudgetError
from server.contracts.errors import ErrorCode
from server.contracts.latency_budget import LatencyBudgetSettings
from server.contracts.session import VoiceSettings
from server.engine_rules import Asked
from server.errors import Refused
from server.guard import Identity
from server.latency_choice import LatencyChoice, SessionLatency
from server.sessions.voice_options import DEFAULT_LOCALE, chat_latency, voice_latency


class SessionLatencies:
    """See the module."""

    def __init__(self, choice: LatencyChoice) -> None:
        self._choice = choice

    def voice(self, caller: Identity, agent_id: str, settings: VoiceSettings) -> SessionLatency:
        """That of a voice session, at its beginning or later. Raises Refused."""
        with _refusing():
            return voice_latency(self._choice, Asked(caller.tenant_id, agent_id, settings.locale), settings)

    def chat(self, caller: Identity, agent_id: str, wish: LatencyBudgetSettings | None) -> SessionLatency:
        """That of a session in writing. Raises Refused."""
        with _refusing():
            return chat_latency(self._choice, Asked(caller.tenant_id, agent_id, DEFAULT_LOCALE), wish)

    def realtime(self, caller: Identity, agent_id: str, locale: str) -> SessionLatency:
        """That of a realtime session: as the operator has it."""
        return self._choice.chosen(Asked(caller.tenant_id, agent_id, locale))

    def phone(self, caller: Identity, agent_id: str, locale: str) -> SessionLatency:
        """That of a telephone call."""
        return self._choice.by_phone(Asked(caller.tenant_id, agent_id, locale))


@contextmanager
def _refusing() -> Generator[None]:
    """A latency budget that is not permitted, in the contract's words."""
    try:
        yield
    except BudgetError as error:
        details = {"field": "latency_budget"}
        raise Refused(ErrorCode.REQUEST_INVALID, f"latency_budget: {error}.", details=details) from error
