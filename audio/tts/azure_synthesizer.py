"""One synthesizer of the SDK, connected: its events as values, its blocking calls named as such.

Owns the native objects. Made, asked to speak and disposed of on worker threads; events are delivered on the loop. It
speaks one phrase at a time. Knows no session. Driven by ``audio.tts.azure_speech``.

What is given up half way is never used again: stopping closes its socket, so a spare one takes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from audio.azure.bridge import EventBridge
from audio.azure.credentials import Credential
from audio.azure.sdk import TICKS_PER_SECOND, load_sdk, quietly, speech_config
from audio.azure.settings import AzurePlace, AzureTtsSettings
from audio.tts.azure_ssml import rate_percent
from audio.tts.port import Viseme

RATE_HZ: Final = 24_000
"""Word offsets at 8 kHz were seen to be wrong; the session resamples once."""

_FRAME_TIMEOUT_MS: Final = 20_000
"""A text stream may wait for a tool; three seconds, the SDK's own limit, would end it."""


@dataclass(frozen=True, slots=True)
class SpokenAudio:
    """Raw audio: 24 kHz int16."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word's place in the phrase, in samples at 24 kHz."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SpeechCompleted:
    """All audio has come."""


@dataclass(frozen=True, slots=True)
class SpeechCanceled:
    """It ended early; ``code`` is the SDK's name for why."""

    code: str
    details: str


SynthesizerEvent = SpokenAudio | SpokenWord | Viseme | SpeechCompleted | SpeechCanceled

_OVERFLOW: Final = SpeechCanceled("RuntimeError", "audio arrives faster than it is taken")


@dataclass(frozen=True, slots=True)
class StreamedVoice:
    """How a text stream is spoken; there is no SSML in it."""

    locale: str
    rate: float
    pitch: str | None
    volume: str | None
    style: str | None
    lexicon_uri: str | None = None


class AzureSynthesizer:
    """See the module. The constructor blocks and may raise EngineError; connecting goes on in the background."""

    def __init__(
        self,
        settings: AzureTtsSettings,
        place: AzurePlace,
        credential: Credential,
        voice: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """``place`` is the settings' own, or the one where text may be streamed; ``voice`` speaks what is no SSML."""
        sdk = load_sdk("tts")
        self._sdk = sdk
        self._settings = settings
        self._bridge: EventBridge[SynthesizerEvent] = EventBridge(loop, _OVERFLOW)
        self._healthy = True
        self._speaking = False
        self._future: Any = None
        self._request: Any = None
        self._credential = credential
        self._made_with = credential.fingerprint
        config = speech_config(sdk, place, credential.secret())
        config.speech_synthesis_voice_name = voice
        config.set_speech_synthesis_output_format(sdk.SpeechSynthesisOutputFormat.Raw24Khz16BitMonoPcm)
        config.set_property(sdk.PropertyId.SpeechSynthesis_FrameTimeoutInterval, str(_FRAME_TIMEOUT_MS))
        self._synthesizer: Any = sdk.SpeechSynthesizer(speech_config=config, audio_config=None)
        self._connection: Any = sdk.Connection.from_speech_synthesizer(self._synthesizer)
        self._signals: list[Any] = []
        self._listen()
        self._connection.open(True)

    @property
    def is_healthy(self) -> bool:
        """Whether it was never disconnected, canceled or left half way, and its credential is still the same."""
        return self._healthy and self._credential.fingerprint == self._made_with

    def connect(self, receiver: Callable[[SynthesizerEvent], None] | None) -> None:
        """Who hears its events."""
        self._bridge.connect(receiver)

    def speak(self, ssml: str) -> None:
        """Begin to speak a document. Blocks for a moment."""
        self._speaking = True
        self._future = self._synthesizer.speak_ssml_async(ssml)

    def begin_stream(self, voice: StreamedVoice) -> None:
        """Begin to speak text that is still to come, in ``write``. Blocks for a moment."""
        request = self._sdk.SpeechSynthesisRequest(self._sdk.SpeechSynthesisRequestInputType.TextStream)
        if abs(voice.rate - 1.0) >= 0.005:
            request.rate = rate_percent(voice.rate)
        if voice.pitch is not None:
            request.pitch = voice.pitch
        if voice.volume is not None:
            request.volume = voice.volume
        if voice.style is not None:
            request.style = voice.style
        if voice.lexicon_uri is not None:
            request.custom_lexicon_url = voice.lexicon_uri
        self._request = request
        self._speaking = True
        self._future = self._synthesizer.speak_async(request)

    def write(self, text: str) -> None:
        """The next text of the stream. Blocks for a moment."""
        if self._request is not None:
            self._request.input_stream.write(text)

    def end_stream(self) -> None:
        """No more text follows."""
        request, self._request = self._request, None
        if request is not None:
            request.input_stream.close()

    def rest(self) -> None:
        """The phrase is spoken: let go of what belonged to it. Blocks for a moment."""
        self._speaking = False
        self.end_stream()
        self._let_go()

    def dispose(self) -> None:
        """Stop and release everything. Blocks: 25 ms to stop, 22 ms to release."""
        self._healthy = False
        self._bridge.close()
        synthesizer, connection = self._synthesizer, self._connection
        if synthesizer is None:
            return
        if self._speaking:
            quietly(lambda: synthesizer.stop_speaking_async().get())
        quietly(self.end_stream)  # an unclosed stream hangs the release
        quietly(self._let_go)
        for signal in self._signals:
            quietly(signal.disconnect_all)
        self._signals.clear()
        quietly(connection.close)
        self._future = self._request = self._synthesizer = self._connection = None

    def _let_go(self) -> None:
        future, self._future = self._future, None
        if future is not None:
            future.get()  # releases its handle; the speech has ended, so it does not wait

    # --- on the SDK's threads ---

    def _listen(self) -> None:
        synthesizer, connection = self._synthesizer, self._connection
        heard: list[tuple[Any, Callable[[Any], None]]] = [
            (connection.disconnected, self._on_disconnected),
            (synthesizer.synthesizing, self._on_audio),
            (synthesizer.synthesis_word_boundary, self._on_word),
            (synthesizer.synthesis_completed, self._on_completed),
            (synthesizer.synthesis_canceled, self._on_canceled),
        ]
        if self._settings.visemes:
            heard.append((synthesizer.viseme_received, self._on_viseme))
        for signal, receive in heard:
            signal.connect(receive)
            self._signals.append(signal)

    def _on_disconnected(self, _event: Any) -> None:
        self._healthy = False

    def _on_audio(self, event: Any) -> None:
        pcm = event.result.audio_data
        if pcm:
            self._bridge.post(SpokenAudio(pcm))

    def _on_word(self, event: Any) -> None:
        if event.boundary_type != self._sdk.SpeechSynthesisBoundaryType.Word:
            return
        start = _samples(event.audio_offset)
        length = round(event.duration.total_seconds() * RATE_HZ)
        self._bridge.post(SpokenWord(event.text, start, start + length))

    def _on_viseme(self, event: Any) -> None:
        self._bridge.post(Viseme(event.viseme_id, _samples(event.audio_offset)), may_drop=True)

    def _on_completed(self, _event: Any) -> None:
        self._bridge.post(SpeechCompleted())

    def _on_canceled(self, event: Any) -> None:
        self._healthy = False
        details = event.result.cancellation_details
        self._bridge.post(SpeechCanceled(details.error_code.name, details.error_details or ""))


def _samples(ticks: int) -> int:
    return ticks * RATE_HZ // TICKS_PER_SECOND
