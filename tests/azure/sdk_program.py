"""The genuine Speech SDK, driven line by line: one JSON scenario on stdin, one JSON report on stdout.

A program of its own, because the SDK has native threads that may hurt the process they live in. See ``sdk_runner``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import wave
from typing import Any

import azure.cognitiveservices.speech as sdk

STOP_LIMIT_S = 15.0


def speech_config(given: dict[str, Any]) -> sdk.SpeechConfig:
    key = None if "token" in given else given.get("key", "any")
    where = {given.get("style", "host"): given["url"]}
    config = sdk.SpeechConfig(**where, subscription=key or "unused")
    if "token" in given:
        config = sdk.SpeechConfig(**where)
        config.authorization_token = given["token"]
    for name, value in given.get("properties", {}).items():
        if hasattr(sdk.PropertyId, name):
            config.set_property(getattr(sdk.PropertyId, name), str(value))
        else:
            config.set_property_by_name(name, str(value))
    return config


def details(given: Any) -> dict[str, Any]:
    return {"reason": given.reason.name, "code": given.code.name if given.code else None, "text": given.error_details}


class Report:
    """What happened, in order, with milliseconds since the start."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._began = time.monotonic()

    def add(self, event: str, **more: Any) -> None:
        self.events.append({"event": event, "ms": round((time.monotonic() - self._began) * 1_000), **more})

    def settle(self) -> None:
        """Wait for events that come late, on threads of their own."""
        until, count = time.monotonic() + 2.0, -1
        while count != len(self.events) and time.monotonic() < until:
            count = len(self.events)
            time.sleep(0.1)


def recognizer_of(given: dict[str, Any]) -> tuple[sdk.SpeechRecognizer, sdk.audio.PushAudioInputStream]:
    config = speech_config(given)
    if given.get("detailed"):
        config.output_format = sdk.OutputFormat.Detailed
        config.request_word_level_timestamps()
    rate = given.get("rate_hz", 16_000)
    stream = sdk.audio.PushAudioInputStream(sdk.audio.AudioStreamFormat(samples_per_second=rate))
    more: dict[str, Any] = {}
    if "languages" in given:
        more["auto_detect_source_language_config"] = sdk.languageconfig.AutoDetectSourceLanguageConfig(
            languages=given["languages"]
        )
    recognizer = sdk.SpeechRecognizer(config, audio_config=sdk.audio.AudioConfig(stream=stream), **more)
    if "phrases" in given:
        grammar = sdk.PhraseListGrammar.from_recognizer(recognizer)
        for phrase in given["phrases"]:
            grammar.addPhrase(phrase)
    return recognizer, stream


def recognized(result: Any) -> dict[str, Any]:
    language = result.properties.get(sdk.PropertyId.SpeechServiceConnection_AutoDetectSourceLanguageResult)
    return {
        "reason": result.reason.name,
        "text": result.text,
        "offset": result.offset,
        "duration": result.duration,
        "json": json.loads(result.json or "{}"),
        "language": language,
    }


def recognize(given: dict[str, Any]) -> dict[str, Any]:
    recognizer, stream = recognizer_of(given)
    report, stopped, enough = Report(), threading.Event(), threading.Event()

    def on_recognized(e: Any) -> None:
        report.add("recognized", **recognized(e.result))
        if sum(event["event"] == "recognized" for event in report.events) >= given.get("phrases_wanted", 99):
            enough.set()

    recognizer.recognizing.connect(lambda e: report.add("recognizing", text=e.result.text))
    recognizer.recognized.connect(on_recognized)
    recognizer.speech_start_detected.connect(lambda e: report.add("speech_start", offset=e.offset))
    recognizer.canceled.connect(lambda e: (report.add("canceled", **details(e.cancellation_details)), enough.set()))
    recognizer.session_stopped.connect(lambda e: (report.add("stopped"), stopped.set(), enough.set()))
    recognizer.start_continuous_recognition_async().get()
    push(stream, given, enough)
    enough.wait(given.get("wait_s", 10.0))
    if any(event["event"] == "canceled" for event in report.events):
        stopped.wait(1.0)  # it stops by itself, and would block whoever stops it meanwhile
    began = time.monotonic()
    if not stopped.is_set():
        report.add("stopping")
        stopper = threading.Thread(target=lambda: recognizer.stop_continuous_recognition_async().get(), daemon=True)
        stopper.start()
        stopper.join(STOP_LIMIT_S)
        stopped.wait(1.0)
    return {"events": report.events, "stop_ms": round((time.monotonic() - began) * 1_000)}


def push(stream: sdk.audio.PushAudioInputStream, given: dict[str, Any], enough: threading.Event) -> None:
    for piece in given.get("audio", []):
        if enough.is_set():
            break
        stream.write(audio(piece))
        time.sleep(given.get("between_s", 0.0))
    if given.get("close", True):
        stream.close()


def audio(piece: str | float) -> bytes:
    """A WAV file's samples, or seconds of silence at 16 kHz."""
    if isinstance(piece, str):
        with wave.open(piece) as file:
            return file.readframes(file.getnframes())
    return bytes(2 * int(16_000 * piece))


def speak(given: dict[str, Any]) -> dict[str, Any]:
    config = speech_config(given)
    form = given.get("format", "Raw24Khz16BitMonoPcm")
    config.set_speech_synthesis_output_format(getattr(sdk.SpeechSynthesisOutputFormat, form))
    synthesizer = sdk.SpeechSynthesizer(config, None)
    report = Report()
    if given.get("marks", True):
        synthesizer.synthesis_word_boundary.connect(
            lambda e: report.add(
                "word", text=e.text, offset=e.audio_offset, text_offset=e.text_offset, kind=e.boundary_type.name
            )
        )
        synthesizer.viseme_received.connect(lambda e: report.add("viseme", id=e.viseme_id, offset=e.audio_offset))
        synthesizer.bookmark_reached.connect(lambda e: report.add("bookmark", text=e.text, offset=e.audio_offset))
    synthesizer.synthesizing.connect(lambda e: report.add("synthesizing", bytes=len(e.result.audio_data)))
    future = start_speaking(synthesizer, given)
    result = future.get()
    said: dict[str, Any] = {"events": report.events, "reason": result.reason.name, "bytes": len(result.audio_data)}
    report.add("done")
    report.settle()
    if result.reason == sdk.ResultReason.Canceled:
        said["canceled"] = details_of_synthesis(result.cancellation_details)
    if "save" in given:
        with open(given["save"], "wb") as file:
            file.write(result.audio_data)
    return said


def details_of_synthesis(given: Any) -> dict[str, Any]:
    return {"reason": given.reason.name, "code": given.error_code.name, "text": given.error_details}


def start_speaking(synthesizer: Any, given: dict[str, Any]) -> Any:
    if "ssml" in given:
        return synthesizer.speak_ssml_async(given["ssml"])
    if "pieces" not in given:
        return synthesizer.speak_text_async(given["text"])
    request = sdk.SpeechSynthesisRequest(input_type=sdk.SpeechSynthesisRequestInputType.TextStream)
    future = synthesizer.speak_async(request)
    for piece in given["pieces"]:
        request.input_stream.write(piece)
        time.sleep(given.get("between_s", 0.0))
    request.input_stream.close()
    return future


def voices(given: dict[str, Any]) -> dict[str, Any]:
    synthesizer = sdk.SpeechSynthesizer(speech_config(given), None)
    result = synthesizer.get_voices_async(given.get("locale", "")).get()
    return {
        "reason": result.reason.name,
        "voices": [voice.short_name for voice in result.voices],
        "error": result.error_details,
    }


DO = {"stt": recognize, "tts": speak, "voices": voices}


def main() -> None:
    for line in sys.stdin:
        given = json.loads(line)
        try:
            report = DO[given["do"]](given)
        except Exception as error:  # noqa: BLE001 - the tests show it
            report = {"failed": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()
    os._exit(0)  # the SDK's threads are not waited for


if __name__ == "__main__":
    main()
