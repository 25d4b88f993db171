"""Whether a key works: one cheap call to the provider it is for, within a limit, before it is kept.

Speech asks for a token (https://learn.microsoft.com/azure/ai-services/speech-service/rest-speech-to-text-short,
"Authentication"), which costs nothing; a model answers with one token. What the provider says goes no further: a
sentence of ours tells the tenant. Driven by ``server.vault.office``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final, Literal
from urllib.parse import SplitResult, urlunsplit

import anyio
import anyio.to_thread
import httpx

from agents.errors import KeyRejected, ModelError, ModelRateLimited, ModelTimeout, ModelUnavailable
from agents.models.pinned import PinnedTransport
from agents.models.port import LanguageModel
from server.vault.addresses import Addresses, AddressRefused
from server.vault.provider_keys import KeyPlace, Provider
from server.vault.tenant_clients import ModelLimits, load_sdk, tenant_model

CLOSE_LIMIT_S: Final = 2.0
_ISSUE_PATH: Final = "/sts/v1.0/issueToken"
_HTTP: Final = {"wss": "https", "ws": "http"}

Verdict = Literal["works", "rejected", "refused", "throttled", "late", "unreachable"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a check. ``throttled``: the provider knows the key, and has nothing left for now."""

    verdict: Verdict
    message: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the key may be kept."""
        return self.verdict in ("works", "throttled")


class KeyChecks:
    """Checks of one server."""

    def __init__(self, addresses: Addresses, limits: ModelLimits, limit_s: float) -> None:
        self._addresses = addresses
        self._limits = limits
        self._limit_s = limit_s

    async def check(self, provider: Provider, place: KeyPlace, secret: str) -> Checked:
        """One call. Raises nothing on purpose."""
        if provider != "azure-speech":
            await load_sdk()
        try:
            with anyio.fail_after(self._limit_s):
                if provider == "azure-speech":
                    return await self._speech(place, secret)
                return await self._model(provider, place, secret)
        except TimeoutError:
            return Checked("late", f"The provider did not answer within {self._limit_s:g} s.")
        except AddressRefused as error:
            return Checked("refused", str(error))

    async def _speech(self, place: KeyPlace, secret: str) -> Checked:
        inner = httpx.AsyncHTTPTransport(trust_env=False)
        transport = PinnedTransport(inner, self._addresses.address_of)
        # The pinned transport is one in all but name: both HTTP packages at hand have their own base class for it.
        client = httpx.AsyncClient(
            transport=transport,  # pyright: ignore[reportArgumentType]
            follow_redirects=False,
            trust_env=False,
            timeout=self._limit_s,
        )
        async with client:
            try:
                headers = {"Ocp-Apim-Subscription-Key": secret, "Content-Length": "0"}
                answer = await client.post(_token_url(self._addresses, place), headers=headers)
            except (httpx.HTTPError, ValueError):
                return Checked("unreachable", "Azure Speech cannot be reached at this region or address.")
        match answer.status_code:
            case 200:
                return Checked("works")
            case 401 | 403:
                return Checked("rejected", "Azure Speech does not know this key: a key works only in its own region.")
            case 429:
                return Checked("throttled")
            case 404:
                return Checked("refused", "There is no speech service at this address.")
            case status:
                return Checked("unreachable", f"Azure Speech answered with an error ({status}).")

    async def _model(self, provider: Provider, place: KeyPlace, secret: str) -> Checked:
        named = place.base_url or place.endpoint or ""
        parts = self._addresses.url(named, azure=provider == "azure-openai")
        await self._addresses.address_of(parts.hostname or "", parts.port or 443)  # refused in words, where it is
        make = partial(tenant_model, provider, place, secret, self._addresses.address_of, self._limits)
        model = await anyio.to_thread.run_sync(make)  # it reads the certificates of this machine
        try:
            return await _asked(model)
        finally:
            with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
                await model.aclose()


async def _asked(model: LanguageModel) -> Checked:
    try:
        await model.warm_up(())
    except KeyRejected:
        return Checked("rejected", "The provider refuses this key.")
    except ModelRateLimited:
        return Checked("throttled")
    except ModelTimeout:
        return Checked("late", "The provider did not answer in time.")
    except ModelUnavailable as error:
        return Checked("unreachable", str(error))
    except ModelError as error:
        return Checked("refused", str(error))
    return Checked("works")


def _token_url(addresses: Addresses, place: KeyPlace) -> str:
    if place.region is not None:
        return f"https://{place.region}.api.cognitive.microsoft.com{_ISSUE_PATH}"
    parts = addresses.url(place.endpoint or "", azure=True)
    scheme = _HTTP.get(parts.scheme, parts.scheme)
    return urlunsplit(SplitResult(scheme, parts.netloc, _ISSUE_PATH, "", ""))
