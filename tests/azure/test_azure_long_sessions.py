"""Conversations longer than the service lets one connection last, with the genuine SDK and real recognition.

The limit is one of 60 seconds at an eighth of its time: the service closes every connection after 7.5 seconds, and our
settings say so too. What is recognised is what the recordings say, so a word that was lost, or heard twice, shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from anyio import to_thread
from azure.azure_engines import Ears, clip, flat, natives, recognizing, say
from azure.emulator_process import EmulatorProcess, azure_emulator
from e2e.real_server import require_engines
from e2e.spoken import match, transcript, words

from audio.azure.settings import AzurePlace, AzureSttLimits, AzureSttSettings, PoolOptions
from audio.formats import Samples
from audio.stt.port import SttOptions

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
pytestmark = [pytest.mark.engines, pytest.mark.timeout(150)]

LIMIT_S = 7.5
SETTINGS = AzureSttSettings(
    AzurePlace(host="ws://unused"),
    limits=AzureSttLimits(session_s=LIMIT_S, session_margin_s=5.5, final_s=8.0),
    pool=PoolOptions(spares=1, max_idle_s=1.0, check_s=0.5),
)


@pytest.fixture(scope="module")
def service() -> Iterator[EmulatorProcess]:
    require_engines()
    with azure_emulator("--connection-limit", str(LIMIT_S), scripted=False) as emulator:
        yield emulator


def used(state: dict[str, Any]) -> list[dict[str, Any]]:
    return [record for record in state["connections"] if record["turns"]]


async def converse(service: EmulatorProcess, turns: list[Samples]) -> list[str]:
    """Each of them said as an utterance, at the pace of speech; what was understood of them."""
    before = natives()
    async with recognizing(service.ws_url, SETTINGS) as engine:
        await engine.warm_up()
        ears = Ears()
        stream = await engine.open(SttOptions(partials=False), ears.on_transcript, ears.on_failure)
        at = 0
        for number, samples in enumerate(turns):
            stream.begin(number, at)
            at = await say(stream, samples, at)
            stream.flush(number, at)
            await ears.until(lambda number=number: len(ears.answers) > number)
            stream.end(number)
        await stream.aclose()
    await flat(before)
    assert ears.failures == []
    last = {each.utterance_id: each.text for each in ears.transcripts}
    return [last[number] for number in range(len(turns))]


def understood(names: list[str], text: str) -> None:
    """All the words, and none of them twice."""
    expected = " ".join(transcript(name) for name in names)
    assert match(expected, text) >= 0.75, text
    assert len(words(text)) <= len(words(expected)) * 1.2, text


async def test_a_conversation_rolls_over_at_its_turns_and_every_stream_is_closed_and_heard_out(
    service: EmulatorProcess,
) -> None:
    await to_thread.run_sync(service.reset)
    names = ["cards_003", "goforward", "cards_003", "goforward", "cards_003"]
    texts = await converse(service, [clip(f"{name}.wav") for name in names])
    for name, text in zip(names, texts, strict=True):
        understood([name], text)
    state = await to_thread.run_sync(service.state)
    records = used(state)
    assert len(records) >= 3, "ten seconds of speech, and none begun within 5.5 seconds of the end"
    for record in records[:-1]:
        sent = record["sent"]
        assert sent["end_of_dictation"] == sent["turn_end"] == sent["turn_start"], "closed, and its last word awaited"


async def test_speech_that_runs_across_the_limit_is_heard_again_and_no_word_is_lost_or_doubled(
    service: EmulatorProcess,
) -> None:
    await to_thread.run_sync(service.reset)
    names = ["librivox_0890", "librivox_0930"]
    pause = np.zeros(3_200, np.int16)
    (text,) = await converse(service, [np.concatenate([clip(f"{names[0]}.wav"), pause, clip(f"{names[1]}.wav")])])
    understood(names, text)
    state = await to_thread.run_sync(service.state)
    assert used(state)[0]["closed"] == 1000, "the service cut it"
    assert len(used(state)) >= 2
