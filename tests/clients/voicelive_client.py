"""The whole conversation with Microsoft's own Azure Voice Live client, told another endpoint."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

from azure.ai.voicelive.aio import connect
from azure.ai.voicelive.models import (
    AudioInputTranscriptionOptions,
    AzureSemanticVad,
    AzureStandardVoice,
    FunctionCallOutputItem,
    FunctionTool,
    InputAudioFormat,
    Modality,
    OutputAudioFormat,
    RequestSession,
    ServerVad,
)
from azure.core.credentials import AzureKeyCredential
from dialogue import FUNCTION, INSTRUCTIONS, Action, AnswerCall, Configure, Dialogue, Leave, Speak, Truncate
from program import Arguments, Microphone, Pace, arguments, reported


def session(variant: str) -> RequestSession:
    detection = {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    return RequestSession(
        model="gpt-realtime",
        modalities=[Modality.TEXT, Modality.AUDIO],
        instructions=INSTRUCTIONS,
        voice=AzureStandardVoice(name="en-US-AvaNeural"),
        input_audio_format=InputAudioFormat.PCM16,
        input_audio_sampling_rate=24_000,
        output_audio_format=OutputAudioFormat.PCM16,
        turn_detection=ServerVad(**detection) if variant == "server-vad" else AzureSemanticVad(**detection),
        input_audio_transcription=AudioInputTranscriptionOptions(model="azure-speech", language="en-US"),
        tools=[FunctionTool(**{name: value for name, value in FUNCTION.items() if name != "type"})],
        tool_choice="auto",
    )


async def act(connection: Any, microphone: Microphone, action: Action, variant: str) -> None:
    match action:
        case Configure():
            await connection.session.update(session=session(variant))
        case Speak(clip, after_s):
            microphone.say(clip, after_s)
        case Truncate(item_id, content_index, audio_end_ms):
            await connection.conversation.item.truncate(
                item_id=item_id, content_index=content_index, audio_end_ms=audio_end_ms
            )
        case AnswerCall(call_id, output):
            await connection.conversation.item.create(item=FunctionCallOutputItem(call_id=call_id, output=output))
            await connection.response.create()
        case Leave():
            await connection.close()


async def listen(connection: Any, microphone: Microphone) -> None:
    pace = Pace(microphone.chunk_s)
    while True:
        await connection.input_audio_buffer.append(audio=base64.b64encode(microphone.chunk()).decode())
        await asyncio.sleep(pace.wait_s())


async def converse(given: Arguments, dialogue: Dialogue) -> None:
    microphone = Microphone(given.clips, given.chunk_ms)
    opening = connect(endpoint=given.url, credential=AzureKeyCredential(given.key), model="gpt-realtime")
    async with asyncio.timeout(given.limit_s), opening as connection, asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listen(connection, microphone))
        async for event in connection:
            for action in dialogue.feed(event.as_dict(), time.monotonic()):
                if isinstance(action, Leave):
                    listening.cancel()
                await act(connection, microphone, action, given.variant)
        listening.cancel()


def main() -> None:
    given = arguments("semantic-vad", "server-vad")
    dialogue = Dialogue(f"azure-ai-voicelive {given.variant}")
    with reported(dialogue, given.output):
        asyncio.run(converse(given, dialogue))


if __name__ == "__main__":
    main()
