"""The whole conversation with the official OpenAI SDK for Python: synchronous, asynchronous, and as Azure's client.

What makes it talk to our server is one URL; the rest is what anybody writes for the service itself.
"""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from typing import Any

from dialogue import FUNCTION, INSTRUCTIONS, Action, AnswerCall, Configure, Dialogue, Leave, Speak, Truncate
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
from program import Arguments, Microphone, Pace, arguments, reported

MODEL = "gpt-realtime"
PCM = {"type": "audio/pcm", "rate": 24_000}
SESSION: dict[str, Any] = {
    "type": "realtime",
    "instructions": INSTRUCTIONS,
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": PCM,
            "transcription": {"model": "whisper-1", "language": "en"},
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 500},
        },
        "output": {"format": PCM, "voice": "marin"},
    },
    "tools": [FUNCTION],
    "tool_choice": "auto",
}


def client_of(given: Arguments) -> Any:
    """The SDK's client, told one URL."""
    socket = given.url.replace("http", "ws", 1)
    azure: dict[str, Any] = {
        "azure_endpoint": given.url,
        "websocket_base_url": f"{socket}/openai",
        "api_key": given.key,
        "api_version": "2025-04-01-preview",
    }
    match given.variant:
        case "sync":
            return OpenAI(base_url=f"{given.url}/v1", api_key=given.key)
        case "async":
            return AsyncOpenAI(base_url=f"{given.url}/v1", api_key=given.key)
        case "azure-sync":
            return AzureOpenAI(**azure)
        case "azure-async":
            return AsyncAzureOpenAI(**azure)
        case _:  # Azure's newer address, with the plain client
            return AsyncOpenAI(
                base_url=f"{given.url}/openai/v1", api_key=given.key, default_headers={"api-key": given.key}
            )


def function_output(action: AnswerCall) -> Any:
    return {"type": "function_call_output", "call_id": action.call_id, "output": action.output}


# --- asynchronous ---


async def act(connection: Any, microphone: Microphone, action: Action) -> None:
    match action:
        case Configure():
            await connection.session.update(session=SESSION)
        case Speak(clip, after_s):
            microphone.say(clip, after_s)
        case Truncate(item_id, content_index, audio_end_ms):
            await connection.conversation.item.truncate(
                item_id=item_id, content_index=content_index, audio_end_ms=audio_end_ms
            )
        case AnswerCall():
            await connection.conversation.item.create(item=function_output(action))
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
    async with (
        asyncio.timeout(given.limit_s),
        client_of(given) as client,
        client.realtime.connect(model=MODEL) as connection,
        asyncio.TaskGroup() as tasks,
    ):
        listening = tasks.create_task(listen(connection, microphone))
        async for event in connection:
            for action in dialogue.feed(event.to_dict(), time.monotonic()):
                if isinstance(action, Leave):
                    listening.cancel()
                await act(connection, microphone, action)
        listening.cancel()


# --- synchronous ---


def act_blocking(connection: Any, microphone: Microphone, action: Action) -> None:
    match action:
        case Configure():
            connection.session.update(session=SESSION)
        case Speak(clip, after_s):
            microphone.say(clip, after_s)
        case Truncate(item_id, content_index, audio_end_ms):
            connection.conversation.item.truncate(
                item_id=item_id, content_index=content_index, audio_end_ms=audio_end_ms
            )
        case AnswerCall():
            connection.conversation.item.create(item=function_output(action))
            connection.response.create()
        case Leave():
            connection.close()


def listen_blocking(connection: Any, microphone: Microphone, over: threading.Event) -> None:
    pace = Pace(microphone.chunk_s)
    while not over.wait(pace.wait_s()):
        connection.input_audio_buffer.append(audio=base64.b64encode(microphone.chunk()).decode())


def converse_blocking(given: Arguments, dialogue: Dialogue) -> None:
    microphone, over = Microphone(given.clips, given.chunk_ms), threading.Event()
    with client_of(given) as client, client.realtime.connect(model=MODEL) as connection:
        listening = threading.Thread(target=listen_blocking, args=(connection, microphone, over), daemon=True)
        limit = threading.Timer(given.limit_s, connection.close)
        listening.start()
        limit.start()
        try:
            for event in connection:
                for action in dialogue.feed(event.to_dict(), time.monotonic()):
                    if isinstance(action, Leave):
                        over.set()
                        listening.join()
                    act_blocking(connection, microphone, action)
        finally:
            over.set()
            limit.cancel()


def main() -> None:
    given = arguments("async", "sync", "azure-async", "azure-sync", "azure-v1")
    dialogue = Dialogue(f"openai-python {given.variant}")
    with reported(dialogue, given.output):
        if given.variant.endswith("sync") and "async" not in given.variant:
            converse_blocking(given, dialogue)
        else:
            asyncio.run(converse(given, dialogue))


if __name__ == "__main__":
    main()
