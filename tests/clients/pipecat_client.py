"""The whole conversation with Pipecat: its OpenAI Realtime service between a microphone and a loudspeaker in memory.

The pipeline is the one of Pipecat's own example; it greets first, calls the function, interrupts and truncates by
itself. This program speaks, and watches the events that Pipecat has parsed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from dialogue import FUNCTION, FUNCTION_OUTPUT, INSTRUCTIONS, SAMPLE_RATE_HZ, Dialogue, Leave, Speak
from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import ErrorFrame, Frame, InputAudioRawFrame, LLMRunFrame, OutputAudioRawFrame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from pipecat.workers.runner import WorkerRunner
from program import Arguments, Microphone, Pace, arguments, reported

AUDIO = TransportParams(
    audio_in_enabled=True,
    audio_in_sample_rate=SAMPLE_RATE_HZ,
    audio_out_enabled=True,
    audio_out_sample_rate=SAMPLE_RATE_HZ,
)


class Ear(BaseInputTransport):
    """What the microphone hears, in real time."""

    def __init__(self, microphone: Microphone) -> None:
        super().__init__(AUDIO)
        self._microphone = microphone

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._listening = self.create_task(self._listen())

    async def cleanup(self) -> None:
        await self.cancel_task(self._listening)
        await super().cleanup()

    async def _listen(self) -> None:
        pace = Pace(self._microphone.chunk_s)
        while True:
            await self.push_audio_frame(InputAudioRawFrame(self._microphone.chunk(), SAMPLE_RATE_HZ, 1))
            await asyncio.sleep(pace.wait_s())


class Loudspeaker(BaseOutputTransport):
    """Takes as long as the audio lasts, as a sound card would."""

    def __init__(self) -> None:
        super().__init__(AUDIO)
        self.played_bytes = 0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self.played_bytes += len(frame.audio)
        await asyncio.sleep(len(frame.audio) / 2 / SAMPLE_RATE_HZ)
        return True


class Watch(FrameProcessor):
    """Notes the errors that Pipecat reports upstream."""

    def __init__(self, dialogue: Dialogue) -> None:
        super().__init__()
        self._dialogue = dialogue

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            self._dialogue.report.errors.append({"pipecat": str(frame.error)})
        await self.push_frame(frame, direction)


def service(given: Arguments) -> OpenAIRealtimeLLMService:
    declared = FUNCTION["parameters"]
    function = FunctionSchema(FUNCTION["name"], FUNCTION["description"], declared["properties"], declared["required"])
    properties = events.SessionProperties(
        instructions=INSTRUCTIONS,
        audio=events.AudioConfiguration(
            input=events.AudioInput(
                transcription=events.InputAudioTranscription(model="whisper-1", language="en"),
                turn_detection=events.SemanticTurnDetection(),
                noise_reduction=events.InputAudioNoiseReduction(type="near_field"),
            )
        ),
        tools=ToolsSchema(standard_tools=[function]),
    )
    return OpenAIRealtimeLLMService(
        api_key=given.key,
        base_url=f"{given.url.replace('http', 'ws', 1)}/v1/realtime",
        settings=OpenAIRealtimeLLMService.Settings(model="gpt-realtime", session_properties=properties),
    )


async def converse(given: Arguments, dialogue: Dialogue) -> None:
    microphone, loudspeaker, llm = Microphone(given.clips, given.chunk_ms), Loudspeaker(), service(given)
    over = asyncio.Event()
    parse = events.parse_server_event

    def watched(message: str) -> Any:
        event = parse(message)
        for action in dialogue.feed(event.model_dump(exclude_none=True), time.monotonic()) if event else ():
            if isinstance(action, Speak):
                microphone.say(action.clip, action.after_s)
            if isinstance(action, Leave):
                over.set()
        return event

    async def move_robot(params: FunctionCallParams) -> None:
        dialogue.report.call["arguments_seen"] = str(params.arguments)
        await params.result_callback({"place": "the kitchen window"})

    events.parse_server_event = watched
    llm.register_function(FUNCTION["name"], move_robot)
    assert "kitchen" in FUNCTION_OUTPUT
    context = LLMContext([{"role": "user", "content": "Greet the user."}])
    # What the realtime service recommends; said here, so that the default (a model of its own) is not even loaded.
    turns = LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
    pair = LLMContextAggregatorPair(context, user_params=turns)
    stages = [Ear(microphone), Watch(dialogue), pair.user(), llm, loudspeaker, pair.assistant()]
    worker = PipelineWorker(
        Pipeline(stages), params=PipelineParams(enable_metrics=True, enable_usage_metrics=True), enable_rtvi=False
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with asyncio.timeout(given.limit_s), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(runner.run())
        await worker.queue_frames([LLMRunFrame()])
        leaving = tasks.create_task(over.wait())
        await asyncio.wait([running, leaving], return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        await worker.cancel()
    dialogue.report.notes["context"] = context.get_messages()
    dialogue.report.notes["played_ms"] = loudspeaker.played_bytes * 1_000 // (SAMPLE_RATE_HZ * 2)


def main() -> None:
    given = arguments()
    logger.remove()
    logger.add(sys.stderr, level="INFO")
    dialogue = Dialogue("pipecat", handled=("call", "truncate"), greeted=True)
    with reported(dialogue, given.output):
        asyncio.run(converse(given, dialogue))


if __name__ == "__main__":
    main()
