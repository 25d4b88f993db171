"""The embedded language model: a real llama.cpp child process with the weights of the ``embedded`` extra."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import anyio
import psutil
import pytest

from agents.errors import ModelRateLimited, ModelUnavailable
from agents.models import embedded_llama
from agents.models.embedded_llama import EmbeddedLlama, EmbeddedLlamaConfig, find_weights
from agents.models.llama_process import LlamaOptions, LlamaProcess
from agents.models.port import Finished, Message, ModelEvent, ModelRequest, TextDelta, ToolSpec

SYSTEM = Message("system", "You are a friendly voice assistant. Answer in one short spoken sentence.")
CAPITAL = Message("user", "What is the capital of France?")


def installed() -> bool:
    try:
        find_weights(EmbeddedLlamaConfig())
    except ModelUnavailable:
        return False
    return True


engines = [pytest.mark.engines, pytest.mark.skipif(not installed(), reason="the embedded extra is not installed")]


async def ask(model: EmbeddedLlama, *messages: Message) -> tuple[str, Finished]:
    text, finished = "", None
    async with aclosing(model.stream(ModelRequest(messages, max_output_tokens=24, temperature=0.0))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, Finished):
                finished = event
    assert finished is not None
    return text, finished


async def drain(events: AsyncGenerator[ModelEvent]) -> None:
    async for _ in events:
        pass


class TestWithWeights:
    pytestmark = engines

    async def test_it_answers_and_keeps_a_growing_conversation_in_its_cache(self) -> None:
        model = EmbeddedLlama()
        try:
            await model.warm_up((SYSTEM,))
            story = Message(
                "user", "I live in a small house by the sea with two dogs and a cat. " * 4 + "Do you like it?"
            )
            text, first = await ask(model, SYSTEM, story)
            assert first.usage.cached_input_tokens >= 15, "the system prompt was primed"
            # Other conversations come in between, more than there are slots, and must not throw this one out.
            for question in ("Tell me about dogs and their owners.", "How many legs has a spider?", CAPITAL.text):
                await ask(model, SYSTEM, Message("user", question))
            _, second = await ask(model, SYSTEM, story, Message("assistant", text), CAPITAL)
            assert second.usage.cached_input_tokens >= first.usage.input_tokens
            assert not second.usage.estimated
        finally:
            await model.aclose()

    async def test_a_killed_process_fails_one_request_and_is_back_for_the_next(self) -> None:
        model = EmbeddedLlama()
        try:
            await ask(model, SYSTEM, CAPITAL)
            killed = model.pid
            assert killed is not None
            long = ModelRequest((SYSTEM, Message("user", "Count from one to one hundred.")))
            async with aclosing(model.stream(long)) as events:
                await anext(events)
                os.kill(killed, signal.SIGKILL)
                with pytest.raises(ModelUnavailable):
                    await drain(events)
            text, _ = await ask(model, SYSTEM, CAPITAL)
            assert "Paris" in text
            assert model.pid not in {None, killed}
        finally:
            await model.aclose()

    async def test_abandoned_requests_free_their_slots(self) -> None:
        model = EmbeddedLlama(EmbeddedLlamaConfig(slots=1, max_output_tokens=2_000))
        try:
            long = ModelRequest((SYSTEM, Message("user", "Count from one to one thousand.")), max_output_tokens=2_000)
            for _ in range(3):
                async with aclosing(model.stream(long)) as events:
                    await anext(events)
            with anyio.fail_after(20):  # three whole answers would take longer
                assert "Paris" in (await ask(model, SYSTEM, CAPITAL))[0]
        finally:
            await model.aclose()

    async def test_the_process_ends_with_the_model_and_not_with_an_interrupt(self) -> None:
        model = EmbeddedLlama()
        await ask(model, SYSTEM, CAPITAL)
        pid = model.pid
        assert pid is not None
        os.kill(pid, signal.SIGINT)
        assert "Paris" in (await ask(model, SYSTEM, CAPITAL))[0]
        assert model.pid == pid
        await model.aclose()
        assert not psutil.pid_exists(pid)
        with pytest.raises(ModelUnavailable):
            await ask(model, SYSTEM, CAPITAL)

    def test_the_process_ends_when_its_parent_is_killed(self) -> None:
        script = (
            "import anyio, os\n"
            "from agents.models.embedded_llama import EmbeddedLlama\n"
            "from agents.models.port import Message\n"
            "async def main():\n"
            "    model = EmbeddedLlama()\n"
            "    await model.warm_up((Message('system', 'Hi.'),))\n"
            "    print(model.pid, flush=True)\n"
            "    os.kill(os.getpid(), 9)\n"
            "anyio.run(main)\n"
        )
        root = Path(__file__).parents[2]
        done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, check=False, timeout=50)
        orphan = int(done.stdout)
        if psutil.pid_exists(orphan):
            psutil.wait_procs([psutil.Process(orphan)], timeout=10)
        assert not psutil.pid_exists(orphan)

    async def test_a_process_that_hangs_is_found_by_its_health_check_and_ended(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process = LlamaProcess(LlamaOptions(str(find_weights(EmbeddedLlamaConfig()))), "embedded")
        try:
            await process.endpoint()
            assert await process.check()
            assert process.pid is not None
            monkeypatch.setattr("agents.models.llama_process.HEALTH_LIMIT_S", 0.2)
            os.kill(process.pid, signal.SIGSTOP)
            assert not await process.check()
            assert process.pid is None
        finally:
            await process.aclose()

    async def test_a_file_that_is_no_model_cannot_be_loaded(self, tmp_path: Path) -> None:
        bad = tmp_path / "bad.gguf"
        bad.write_bytes(b"this is no model")
        model = EmbeddedLlama(EmbeddedLlamaConfig(model_path=bad))
        with pytest.raises(ModelUnavailable):
            await model.warm_up((SYSTEM,))
        await model.aclose()

    async def test_after_failures_in_a_row_it_rests_before_the_next_start(self, tmp_path: Path) -> None:
        bad = tmp_path / "bad.gguf"
        bad.write_bytes(b"this is no model")
        process = LlamaProcess(LlamaOptions(str(bad)), "embedded")
        for _ in range(2):
            with pytest.raises(ModelUnavailable, match=r"load|start\."):
                await process.endpoint()
        with pytest.raises(ModelUnavailable, match="about to be restarted"):
            await process.endpoint()
        await process.aclose()

    async def test_more_requests_than_may_wait_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(embedded_llama, "MAX_WAITING", 0)
        model = EmbeddedLlama(EmbeddedLlamaConfig(slots=1))
        try:
            async with aclosing(model.stream(ModelRequest((SYSTEM, CAPITAL)))) as events:
                await anext(events)
                with pytest.raises(ModelRateLimited):
                    await ask(model, SYSTEM, CAPITAL)
            assert "Paris" in (await ask(model, SYSTEM, CAPITAL))[0]
        finally:
            await model.aclose()

    async def test_requests_are_kept_within_what_a_small_model_can_do(self) -> None:
        model = EmbeddedLlama(EmbeddedLlamaConfig(max_output_tokens=5))
        try:
            asked = ModelRequest(
                (SYSTEM, Message("user", "Count to one hundred.")),
                tools=(ToolSpec("t", "A tool.", {"type": "object", "properties": {}}),),
                max_output_tokens=500,
                temperature=2.0,
            )
            async with aclosing(model.stream(asked)) as events:
                received = [event async for event in events]
            assert isinstance(received[-1], Finished)
            assert received[-1].usage.output_tokens <= 5
            assert not model.profile.tools
        finally:
            await model.aclose()


def test_missing_weights_are_named() -> None:
    with pytest.raises(ModelUnavailable, match=r"nowhere\.gguf|not installed"):
        EmbeddedLlama(EmbeddedLlamaConfig(model_path=Path("/nowhere.gguf")))
