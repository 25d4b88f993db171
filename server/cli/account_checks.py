"""What ``doctor`` finds about accounts elsewhere: each Azure Speech account end to end, and the model's endpoint.

Every account is reached, asked to speak a phrase and to recognise it again; what goes wrong is told in plain words,
with how to mend it, and never with a key. Uses the network and costs a phrase each.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import Final, NamedTuple

import anyio

from agents.errors import ModelError
from agents.models.port import Finished, LanguageModel, Message, ModelRequest, TextDelta
from audio.errors import EngineError
from server.azure_settings import AzureSettings
from server.cli.azure_round_trip import PHRASE, addresses, reach, round_trip, words
from server.cli.findings import Finding
from server.model_choice import build_model
from server.settings import Settings

ACCOUNT_LIMIT_S: Final = 40.0
MODEL_LIMIT_S: Final = 30.0
ENOUGH_WORDS: Final = 0.5
_QUESTION: Final = ModelRequest((Message("user", "Answer with one word: ready?"),), max_output_tokens=16)


class Trouble(NamedTuple):
    """What an error of the service means, and how to mend it; ``{at}`` is where the account stands in the settings."""

    pattern: re.Pattern[str]
    means: str
    mend: str


_TROUBLES: Final = (
    Trouble(
        re.compile(r"not installed"),
        "Microsoft's software for it is not installed",
        "uv sync --inexact --extra azure (or: EXTRA=azure make setup)",
    ),
    Trouble(
        re.compile(r"\b403\b|Forbidden"),
        "it refuses this account (403)",
        "The resource's network rules may keep this machine out, or the identity lacks the role Cognitive Services "
        "Speech User.",
    ),
    Trouble(
        re.compile(r"\b401\b|AuthenticationFailure"),
        "it refuses the key (401)",
        "Check {at}.key, and {at}.region: a key works only in the region of its own resource.",
    ),
    Trouble(
        re.compile(r"\b429\b|4429|TooManyRequests"),
        "its quota is used up (429)",
        "Wait, or raise the quota: the free tier allows one conversation at a time.",
    ),
    Trouble(
        re.compile(r"\b404\b"),
        "there is no speech service at this address (404)",
        "Check {at}.host or {at}.endpoint (the resource's page in the portal names it) and {at}.custom_endpoint_id.",
    ),
    Trouble(
        re.compile(r"\b400\b|BadRequest|\b1007\b"),
        "it does not have what the settings ask for (400)",
        "Check {at}.voice, {at}.style and {at}.languages against the service's list.",
    ),
    Trouble(
        re.compile(r"\b50[0-9]\b|ServiceUnavailable"),
        "it is in trouble itself",
        "Try again later; https://azure.status.microsoft tells of outages.",
    ),
    Trouble(re.compile(r"within [\d.]+ s|Timeout"), "it does not answer in time", "Try again; check the network."),
)
_UNKNOWN: Final = Trouble(re.compile(""), "it does not work", "Check {at} in the settings.")


async def examine_accounts(settings: Settings) -> list[Finding]:
    """A finding for each account and for the model's endpoint; none where there are none."""
    findings = [await _account(what, at, azure) for what, at, azure in _accounts(settings)]
    if settings.model.kind == "openai":
        findings.append(await _model(settings))
    return findings


def _accounts(settings: Settings) -> Iterator[tuple[str, str, AzureSettings]]:
    if settings.azure.usable:
        yield "azure speech", "azure", settings.azure
    for tenant in settings.tenants:
        if tenant.azure is not None:
            yield f"azure speech of {tenant.id}", f"azure of the tenant {tenant.id}", tenant.azure


async def _account(what: str, at: str, azure: AzureSettings) -> Finding:
    try:
        with anyio.fail_after(ACCOUNT_LIMIT_S):
            reached_ms = await reach(azure)
    except (OSError, TimeoutError) as error:
        return _unreachable(what, at, azure, error)
    try:
        with anyio.fail_after(ACCOUNT_LIMIT_S):
            trip = await round_trip(azure)
    except (EngineError, TimeoutError) as error:
        return _troubled(what, at, azure, error)
    figures = {
        "reached_ms": reached_ms,
        "connected_ms": trip.connect_ms,
        "first_audio_ms": trip.first_audio_ms,
        "final_ms": trip.final_ms,
    }
    told = (
        f"reached in {reached_ms} ms, connected in {trip.connect_ms} ms, first audio after {trip.first_audio_ms} ms, "
        f"text {trip.final_ms} ms after the last word"
    )
    wanted, got = set(words(PHRASE)), set(words(trip.heard))
    if len(wanted & got) >= ENOUGH_WORDS * len(wanted) or not azure.voice.startswith("en-"):
        return Finding(what, "ok", f"{told}; it understood its own voice: {trip.heard!r}", figures=figures)
    mend = f"Check {at}.voice and {at}.languages: does the voice speak the language that is recognised?"
    return Finding(what, "note", f"{told}; but {PHRASE!r} came back as {trip.heard!r}", mend, figures)


def _unreachable(what: str, at: str, azure: AzureSettings, error: OSError | TimeoutError) -> Finding:
    names = " and ".join(f"{host}:{port}" for host, port, _ in addresses(azure))
    match error:
        case socket.gaierror():
            found, mend = (
                "the name is not known",
                f"Check {at}.region (as in westeurope), {at}.host, {at}.endpoint.",
            )
        case ssl.SSLError():
            found, mend = "TLS failed", "Is there a proxy in between whose certificate this machine does not trust?"
        case TimeoutError():
            found, mend = "no answer in time", "Is there a firewall or proxy in between? Port 443 must be open."
        case _:
            found = f"no connection ({error.strerror or type(error).__name__})"
            mend = "Is there a firewall or proxy in between? Port 443 must be open."
    return Finding(what, "wrong", f"{names} cannot be reached: {found}", mend)


def _troubled(what: str, at: str, azure: AzureSettings, error: Exception) -> Finding:
    said = str(error) or "Timeout"
    if azure.key is not None:
        said = said.replace(azure.key.get_secret_value(), "[hidden]")
    trouble = next((each for each in _TROUBLES if each.pattern.search(said)), _UNKNOWN)
    return Finding(what, "wrong", f"{trouble.means} ({said})", trouble.mend.format(at=at))


async def _model(settings: Settings) -> Finding:
    what = "model endpoint"
    mend = "Check the model's address, name and key in the settings (model)."
    try:
        model = await build_model(settings.model.model_copy(update={"fallback": ()}))  # nobody may step in
        try:
            with anyio.fail_after(MODEL_LIMIT_S):
                return await _asked(what, model)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(5.0):
                await model.aclose()
    except ModelError as error:
        return Finding(what, "wrong", str(error), mend)
    except TimeoutError:
        return Finding(what, "wrong", f"no answer within {MODEL_LIMIT_S:g} s", mend)


async def _asked(what: str, model: LanguageModel) -> Finding:
    began_s, first_ms, tokens = time.monotonic(), None, None
    async with aclosing(model.stream(_QUESTION)) as events:
        async for event in events:
            if isinstance(event, TextDelta) and first_ms is None:
                first_ms = round((time.monotonic() - began_s) * 1_000)
            elif isinstance(event, Finished):
                tokens = event.usage
    if first_ms is None:
        return Finding(what, "note", f"{model.profile.model} answered with nothing", "Try another model.")
    figures = {"first_token_ms": first_ms}
    told = f"{model.profile.model}: first words after {first_ms} ms"
    if tokens is None or tokens.estimated:
        return Finding(what, "note", f"{told}, but it reports no usage: tokens are estimated", figures=figures)
    counted = f"{tokens.input_tokens} tokens in, {tokens.output_tokens} out"
    return Finding(what, "ok", f"{told}, {counted}", figures=figures)
