"""One recognizer of the SDK, connected, with its push stream: its events as values, its blocking calls named as such.

Owns the native objects. Made, started and disposed of on worker threads; ``write``, ``commit`` and ``connect`` are
called on the event loop (a write is a copy under a lock: some 60 us). Knows no session. Driven by ``audio.stt.azure``.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from audio.azure.bridge import EventBridge
from audio.azure.credentials import Credential
from audio.azure.sdk import load_sdk, quietly, recognition_config
from audio.azure.settings import AzureSttSettings
from audio.stt.azure_events import (
    TICKS_PER_SAMPLE,
    Canceled,
    Connected,
    Detected,
    Disconnected,
    Recognized,
    RecognizerEvent,
    Stopped,
    from_detailed,
)

_OVERFLOW = Canceled("RuntimeError", "events arrive faster than they are taken")


class AzureRecognizer:
    """See the module. The constructor blocks and may raise EngineError; connecting goes on in the background."""

    def __init__(
        self,
        settings: AzureSttSettings,
        credential: Credential,
        loop: asyncio.AbstractEventLoop,
        now_s: Callable[[], float],
    ) -> None:
        sdk = load_sdk("stt")
        self._sdk = sdk
        self._settings = settings
        self._bridge: EventBridge[RecognizerEvent] = EventBridge(loop, _OVERFLOW)
        self._healthy = True
        self._started = False
        self._credential = credential
        self._made_with = credential.fingerprint
        config = recognition_config(sdk, settings, credential.secret())
        self._stream: Any = sdk.audio.PushAudioInputStream()
        audio = sdk.audio.AudioConfig(stream=self._stream)
        languages = list(settings.languages)
        detect = sdk.languageconfig.AutoDetectSourceLanguageConfig(languages=languages) if languages else None
        self._recognizer: Any = (
            sdk.SpeechRecognizer(config, audio)
            if detect is None
            else sdk.SpeechRecognizer(config, audio, auto_detect_source_language_config=detect)
        )
        self._connection: Any = sdk.Connection.from_recognizer(self._recognizer)
        self._signals: list[Any] = []
        self._listen()
        self.since_s = now_s()
        """When its connection was asked for: the service counts its limit from there."""
        self._connection.open(True)

    @property
    def is_healthy(self) -> bool:
        """Whether it was never disconnected and never canceled, and its credential is still the same."""
        return self._healthy and self._credential.fingerprint == self._made_with

    def connect(self, receiver: Callable[[RecognizerEvent], None] | None) -> None:
        """Who hears its events."""
        self._bridge.connect(receiver)

    def unread(self, event: RecognizerEvent) -> None:
        """Taken too early: whoever hears next is told it again."""
        self._bridge.post(event)

    def start(self, phrases: tuple[str, ...]) -> None:
        """Begin to recognise what is (and was) written. Blocks."""
        if phrases:
            grammar = self._sdk.PhraseListGrammar.from_recognizer(self._recognizer)
            for phrase in phrases:
                grammar.addPhrase(phrase)
            if self._settings.phrase_weight != 1.0:
                grammar.setWeight(self._settings.phrase_weight)
        self._started = True
        self._recognizer.start_continuous_recognition_async().get()

    def write(self, pcm: bytes) -> None:
        """The next audio: 16 kHz int16."""
        if self._stream is not None:
            self._stream.write(pcm)

    def commit(self) -> int:
        """Ask for a final of everything written; a token, or 0 where the SDK cannot."""
        commit = getattr(self._stream, "commit", None)
        if commit is None:
            return 0
        try:
            return int(commit())
        except RuntimeError:
            return 0

    def finish(self) -> None:
        """No more audio: the service ends with the final of what it has. Blocks."""
        if self._stream is not None:
            self._stream.close()

    def dispose(self) -> None:
        """Stop and release everything. Blocks for up to the stop limit."""
        self._healthy = False
        recognizer, stream, connection = self._recognizer, self._stream, self._connection
        if recognizer is None:
            return
        quietly(stream.close)
        if self._started:
            quietly(lambda: recognizer.stop_continuous_recognition_async().get())
        self._bridge.close()
        for signal in self._signals:
            quietly(signal.disconnect_all)
        self._signals.clear()
        quietly(connection.close)
        self._recognizer = self._stream = self._connection = None

    # --- on the SDK's threads ---

    def _listen(self) -> None:
        recognizer, connection = self._recognizer, self._connection
        for signal, heard in (
            (connection.connected, self._on_connected),
            (connection.disconnected, self._on_disconnected),
            (recognizer.speech_start_detected, self._on_detected),
            (recognizer.recognizing, self._on_recognizing),
            (recognizer.recognized, self._on_recognized),
            (recognizer.canceled, self._on_canceled),
            (recognizer.session_stopped, self._on_stopped),
        ):
            signal.connect(heard)
            self._signals.append(signal)

    def _on_connected(self, _event: Any) -> None:
        self._bridge.post(Connected())

    def _on_disconnected(self, _event: Any) -> None:
        self._healthy = False
        self._bridge.post(Disconnected())

    def _on_detected(self, _event: Any) -> None:
        self._bridge.post(Detected(), may_drop=True)

    def _on_recognizing(self, event: Any) -> None:
        result = event.result
        start = result.offset // TICKS_PER_SAMPLE
        end = start + result.duration // TICKS_PER_SAMPLE
        said = Recognized(result.text, start, end, final=False, language=self._language(result))
        self._bridge.post(said, may_drop=True)

    def _on_recognized(self, event: Any) -> None:
        result = event.result
        start = result.offset // TICKS_PER_SAMPLE
        end = start + result.duration // TICKS_PER_SAMPLE
        said = from_detailed(result.text, start, end, result.json)
        token = int(getattr(result, "commit_token", 0) or 0)
        self._bridge.post(dataclasses.replace(said, language=self._language(result), commit_token=token))

    def _on_canceled(self, event: Any) -> None:
        details = event.cancellation_details
        self._healthy = False
        self._bridge.post(Canceled(details.code.name, details.error_details or ""))

    def _on_stopped(self, _event: Any) -> None:
        self._bridge.post(Stopped())

    def _language(self, result: Any) -> str | None:
        if not self._settings.languages:
            return self._settings.locale
        key = self._sdk.PropertyId.SpeechServiceConnection_AutoDetectSourceLanguageResult
        return result.properties.get(key) or None
