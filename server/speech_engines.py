"""Who hears and who speaks, session by session: the rules' choice, on the tenant's account, in the session's locale.

Owns the suppliers of engines (embedded, and one for each Azure Speech account in use) and puts their engines in the
order that was chosen, so that each stands in for the one before. An engine that does not know the locale is left out:
the next one that does comes first. Knows no session and no agent. Driven by ``server.engines``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic

import anyio

from audio.azure.room import ConnectionRoom
from audio.errors import EngineError, EngineUnavailable
from audio.fallback import Guarded
from audio.inference import InferencePool
from audio.locales import covers
from audio.stt.fallback import FallbackSpeechToText
from audio.stt.port import SpeechToText
from audio.tts.fallback import FallbackTextToSpeech
from audio.tts.port import TextToSpeech
from server.account_shelf import AccountShelf
from server.engine_rules import Asked, EngineRules, SpeechStage, SttChoice, TtsChoice
from server.engine_supply import AccountSupply, EmbeddedSupply, SpeechEngine, Supplier
from server.settings import Settings
from server.speech_accounts import SettingsAccounts, SpeechAccount, SpeechAccounts

SHARED_WORKERS: Final = 4
TENANT_WORKERS: Final = 2
"""Threads for each account's blocking calls into the SDK: apart, so that one tenant's slow service is nobody else's."""
SHARED_READY_S: Final = 60.0
TENANT_READY_S: Final = 4.0

_UNHEARD: Final = "{locale} is not recognised here; please type."
_UNSPOKEN: Final = "No voice here speaks {locale}; answers come as text."


@dataclass(frozen=True, slots=True)
class Order(Generic[SpeechEngine]):
    """Engines in order of preference: ``wanted``, those of them that could be had, and why the others could not."""

    wanted: tuple[str, ...]
    names: tuple[str, ...]
    engines: tuple[Guarded[SpeechEngine], ...]
    failures: dict[str, EngineError]

    @property
    def troubles(self) -> dict[str, EngineError | None]:
        """What stands in the way of each engine that was wanted, in order; ``None`` where nothing does."""
        had = {name: each.breaker.last_error for name, each in zip(self.names, self.engines, strict=True)}
        return {name: self.failures.get(name) or had.get(name) for name in self.wanted}

    def knowing(self, locale: str) -> tuple[Guarded[SpeechEngine], ...]:
        """Those that know a locale."""
        return tuple(each for each in self.engines if covers(each.engine.profile.locales, locale))


def _nothing() -> None:
    """Nothing was taken."""


@dataclass(frozen=True, slots=True)
class SpeechLease:
    """What one session hears and speaks with, until ``give_back``. ``missing`` says why a stage has nobody."""

    stt: SpeechToText | None = None
    tts: TextToSpeech | None = None
    missing: dict[SpeechStage, str] = field(default_factory=dict[SpeechStage, str])
    give_back: Callable[[], None] = _nothing
    own: bool = False
    """On an account whose key the tenant keeps in the vault."""


class SpeechEngines:
    """See the module."""

    def __init__(self, settings: Settings, pool: InferencePool, accounts: SpeechAccounts | None = None) -> None:
        """``pool`` runs embedded inference and is the caller's; ``accounts`` are the settings' unless given."""
        limits = settings.limits
        self.rules = EngineRules(settings)
        self.room = ConnectionRoom(limits.max_azure_connections)
        self._embedded = EmbeddedSupply(pool, settings.stt, settings.tts)
        self.accounts = AccountShelf(
            accounts or SettingsAccounts(settings),
            self._supply,
            most=limits.max_tenant_accounts,
            idle_s=limits.account_idle_s,
        )

    async def stt(self, choice: SttChoice, account: Supplier | None) -> Order[SpeechToText]:
        """The engines of a choice, each ready or known to be not."""
        return await self._gather("stt", choice.engines, account, lambda supplier: supplier.stt(choice))

    async def tts(self, choice: TtsChoice, account: Supplier | None) -> Order[TextToSpeech]:
        """The engines of a choice, each ready or known to be not."""
        return await self._gather("tts", choice.engines, account, lambda supplier: supplier.tts(choice))

    async def lease(self, asked: Asked) -> SpeechLease:
        """What a session hears and speaks with. Raises Refused where too many tenants' accounts are in use."""
        own = await self.accounts.has_key(asked.tenant_id)
        stt_choice, tts_choice = self.rules.stt(asked, own=own), self.rules.tts(asked, own=own)
        account: AccountSupply | None = None
        if "azure" in (*stt_choice.engines, *tts_choice.engines):
            account = await self.accounts.take(asked.tenant_id)
        give_back = _once(partial(self.accounts.give_back, account)) if account is not None else _nothing
        hearing: list[Order[SpeechToText]] = []
        speaking: list[Order[TextToSpeech]] = []

        async def hear() -> None:
            hearing.append(await self.stt(stt_choice, account))

        async def speak() -> None:
            speaking.append(await self.tts(tts_choice, account))

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hear)
                tasks.start_soon(speak)
        except BaseException:
            give_back()
            raise
        ears, voices = hearing[0].knowing(asked.locale), speaking[0].knowing(asked.locale)
        missing: dict[SpeechStage, str] = {}
        if hearing[0].engines and not ears:
            missing["stt"] = _UNHEARD.format(locale=asked.locale)
        if speaking[0].engines and not voices:
            missing["tts"] = _UNSPOKEN.format(locale=asked.locale)
        return SpeechLease(
            FallbackSpeechToText(ears) if ears else None,
            FallbackTextToSpeech(voices) if voices else None,
            missing,
            give_back,
            account is not None and account.account.key_id is not None,
        )

    async def aclose(self) -> None:
        """Release every engine."""
        await self.accounts.aclose()
        await self._embedded.aclose()

    async def _gather(
        self,
        stage: SpeechStage,
        names: Sequence[str],
        account: Supplier | None,
        get: Callable[[Supplier], Awaitable[Guarded[SpeechEngine]]],
    ) -> Order[SpeechEngine]:
        found: list[tuple[str, Guarded[SpeechEngine]]] = []
        failures: dict[str, EngineError] = {}
        wanted = tuple(name for name in names if name != "none")
        for name in wanted:
            supplier = account if name == "azure" else self._embedded
            try:
                if supplier is None:
                    raise EngineUnavailable("there is no Azure Speech account", stage=stage, provider="azure")
                found.append((name, await get(supplier)))
            except EngineError as error:
                failures[name] = error
        return Order(wanted, tuple(name for name, _ in found), tuple(each for _, each in found), failures)

    def _supply(self, account: SpeechAccount) -> AccountSupply:
        if account.tenant_id is None:
            return AccountSupply(account, self.room, SHARED_WORKERS, SHARED_READY_S)
        return AccountSupply(account, self.room, TENANT_WORKERS, TENANT_READY_S)


def _once(call: Callable[[], Any]) -> Callable[[], None]:
    """``call``, the first time only."""
    calls = [call]

    def called() -> None:
        while calls:
            calls.pop()()

    return called
