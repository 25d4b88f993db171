"""A telephone without echo cancellation, with the real engines: the agent hears itself, and never answers itself."""

from __future__ import annotations

import numpy as np
import pytest
from echo_phone import OUTPUT_HZ, telephone
from echo_room import EchoRoom
from real_server import RealServer
from spoken import clip, quiet

from audio.formats import Samples

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


def louder(samples: Samples, by: float) -> Samples:
    return np.clip(samples.astype(np.float64) * by, -32_768, 32_767).astype(np.int16)


@pytest.mark.parametrize(("delay_ms", "gain_db"), [(120, -8.0), (420, -14.0)])
async def test_the_agent_hears_itself_and_never_answers_itself(
    embedded: RealServer, delay_ms: int, gain_db: float
) -> None:
    room = EchoRoom(OUTPUT_HZ, delay_ms=delay_ms, gain_db=gain_db, rt60_s=0.3)
    async with telephone(embedded.url, room) as phone:
        for turns in (1, 2):
            await phone.say(np.concatenate([quiet(0.3), clip("librivox_0890")]))
            await phone.until(lambda turns=turns: _asked(phone.all("turn.started")) == turns)
            await phone.until(lambda: phone.count("chat.complete") == phone.count("turn.started"))
            await phone.say(quiet(2.0))
            await phone.until(lambda: phone.count("chat.complete") == phone.count("turn.started"))
        sources = [event["source"] for event in phone.all("turn.started")]
        assert sources.count("speech") == 2
        assert set(sources) <= {"speech", "announcement"}
        assert sources.count("announcement") == 1
        [told] = phone.all("degraded")
        assert (told["from"], told["to"]) == ("full_duplex", "half_duplex")
        assert "headphones" in told["reason"]
        assert not any(event["interrupted"] for event in phone.all("chat.complete"))


async def test_somebody_louder_than_the_echo_still_interrupts(embedded: RealServer) -> None:
    room = EchoRoom(OUTPUT_HZ, delay_ms=160, gain_db=-20.0, rt60_s=0.3)
    async with telephone(embedded.url, room) as phone:
        await phone.say(np.concatenate([quiet(0.3), clip("librivox_0890")]))
        await phone.until(lambda: phone.count("degraded") > 0)
        await phone.say(quiet(0.4))
        await phone.say(louder(clip("librivox_0930"), 1.5))
        await phone.until(lambda: _asked(phone.all("turn.started")) == 2)
        assert phone.all("chat.complete")[0]["interrupted"]
        assert phone.count("degraded") == 1


def _asked(turns: list[dict[str, str]]) -> int:
    return sum(turn["source"] == "speech" for turn in turns)
