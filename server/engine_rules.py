"""Which engines a session is to hear and speak with: the settings' rules, by tenant, agent and locale. Pure.

Of the rules that match, the first that says anything about a stage decides it; where none does, the settings of the
stage (``stt.engine``, ``stt.fallback`` and so on) do. Knows names, not engines. Driven by ``server.speech_engines``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from server.rule_settings import SessionRule
from server.settings import Settings
from server.speech_settings import EngineRule, SttEngine, TtsEngine

SpeechStage = Literal["stt", "tts"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose session, with which agent, in which locale (a BCP 47 tag); ``embedded_only``: nothing may cost money."""

    tenant_id: str
    agent_id: str
    locale: str
    embedded_only: bool = False


@dataclass(frozen=True, slots=True)
class SttChoice:
    """Who is to hear, in order of preference; ``languages`` are Azure's to tell apart, where not the account's own."""

    engines: tuple[SttEngine, ...]
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TtsChoice:
    """Who is to speak, in order of preference; ``voice`` is Azure's, where not the account's own."""

    engines: tuple[TtsEngine, ...]
    voice: str | None = None


class EngineRules:
    """The rules of one server, in order."""

    def __init__(self, settings: Settings) -> None:
        self._rules = settings.engine_rules
        self._shared = settings.azure.usable
        self._with_account = {tenant.id for tenant in settings.tenants if tenant.azure is not None}
        self._stt_order = settings.stt.order
        self._tts_order = settings.tts.order

    def stt(self, asked: Asked, *, own: bool = False) -> SttChoice:
        """Who is to hear this session. ``own``: the tenant has a key of its own, which comes first where no rule says
        who hears."""
        if asked.embedded_only:
            return SttChoice(("whisper",))
        found = (rule for rule in self._rules if rule.stt or rule.languages)
        choice = self._stt_of(next((rule for rule in found if matches(rule, asked)), None))
        if own and choice == self._stt_of(None) and "azure" not in choice.engines:
            return replace(choice, engines=("azure", *choice.engines))
        return choice

    def tts(self, asked: Asked, *, own: bool = False) -> TtsChoice:
        """Who is to speak in this session; ``own`` as for ``stt``."""
        if asked.embedded_only:
            return TtsChoice(("piper",))
        found = (rule for rule in self._rules if rule.tts or rule.voice)
        choice = self._tts_of(next((rule for rule in found if matches(rule, asked)), None))
        if own and choice == self._tts_of(None) and "azure" not in choice.engines:
            return replace(choice, engines=("azure", *choice.engines))
        return choice

    def all_stt(self) -> Iterator[SttChoice]:
        """Every choice there is, the one without a rule first; without Azure where only a tenant's account has that."""
        yield self._stt_of(None)
        for rule in self._rules:
            choice = self._stt_of(rule)
            if not self._on_shared(rule):
                choice = replace(choice, engines=tuple(name for name in choice.engines if name != "azure"))
            yield choice

    def all_tts(self) -> Iterator[TtsChoice]:
        """As ``all_stt``."""
        yield self._tts_of(None)
        for rule in self._rules:
            choice = self._tts_of(rule)
            if not self._on_shared(rule):
                choice = replace(choice, engines=tuple(name for name in choice.engines if name != "azure"))
            yield choice

    def _on_shared(self, rule: EngineRule) -> bool:
        return self._shared and rule.tenant not in self._with_account

    def _stt_of(self, rule: EngineRule | None) -> SttChoice:
        if rule is None:
            return SttChoice(self._stt_order)
        return SttChoice(rule.stt or self._stt_order, rule.languages)

    def _tts_of(self, rule: EngineRule | None) -> TtsChoice:
        if rule is None:
            return TtsChoice(self._tts_order)
        return TtsChoice(rule.tts or self._tts_order, rule.voice)


def matches(rule: SessionRule, asked: Asked) -> bool:
    """Whether a rule is meant for this session."""
    return (
        rule.tenant in (None, asked.tenant_id)
        and rule.agent in (None, asked.agent_id)
        and (rule.locale is None or in_range(rule.locale, asked.locale))
    )


def in_range(language_range: str, tag: str) -> bool:
    """Whether a language range matches a tag (RFC 4647, section 3.3.1: basic filtering)."""
    wanted, given = language_range.lower(), tag.lower()
    return wanted in ("*", given) or given.startswith(f"{wanted}-")
