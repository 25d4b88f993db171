"""Azure Speech recognition on one connection, as a pure state machine: no sockets, no engine, no clock.

``feed`` takes what the client sent and says what to do (begin a turn, hear samples, finish); ``encode`` takes what was
recognised and says what to send. A turn is a request id: it opens with ``speech.context``, hears audio until an empty
audio message, and ends with ``turn.end``. With ``TurnPerPhrase`` the server ends it after each phrase instead, and
the client opens the next one and repeats what it said since.

=================  ========================================================================================
message            effect
=================  ========================================================================================
speech.config      remembered
speech.context     a turn opens: ``turn.start`` goes out, ``BeginTurn`` is asked for; an open turn is dropped
audio              ``Hear``; of a request id that is not the open turn's: ignored (the rest of an ended turn)
audio, empty       ``EndOfAudio``; recognition answers with ``Finished``
telemetry, others  ignored
=================  ========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from audio.formats import Samples
from audio.stt.port import Transcript
from server.azure_emulator.audio_in import AudioIn
from server.azure_emulator.faults import Outgoing, Point
from server.azure_emulator.frames import Message, decode, encode_text
from server.azure_emulator.stt_phrases import TICKS_PER_SAMPLE, Span, hypothesis_body, phrase_body, unheard_body
from server.azure_emulator.stt_request import SttRequest, read_request

# --- what feed() asks for ---


@dataclass(frozen=True, slots=True)
class BeginTurn:
    """Recognise what follows; anything under way is over. ``tag`` names the turn for one that continues it."""

    request: SttRequest
    tag: str


@dataclass(frozen=True, slots=True)
class Hear:
    """The turn's next samples, 16 kHz."""

    samples: Samples


@dataclass(frozen=True, slots=True)
class EndOfAudio:
    """Answer with what there is, at once, then ``Finished``."""


@dataclass(frozen=True, slots=True)
class EndTurn:
    """The turn is over: stop recognising."""


SttCommand = BeginTurn | Hear | EndOfAudio | EndTurn | Outgoing

# --- what encode() takes: positions are samples of the turn's audio ---


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech began."""

    sample: int


@dataclass(frozen=True, slots=True)
class Partial:
    """What was understood so far."""

    transcript: Transcript


@dataclass(frozen=True, slots=True)
class Phrase:
    """What was said. Without text nothing intelligible was."""

    transcript: Transcript


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine could not."""

    span: Span


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody spoke for as long as the client wants to wait."""

    span: Span


@dataclass(frozen=True, slots=True)
class Finished:
    """The audio has ended, and everything in it was reported."""

    sample: int


SttResult = SpeechStarted | Partial | Phrase | Failed | Silence | Finished


@dataclass(slots=True)
class _Turn:
    request_id: str
    request: SttRequest
    audio: AudioIn
    recent: tuple[str, ...] = ()
    shown: str = ""
    ended: bool = False


class SttSession:
    """One connection's recognition. ``new_id`` makes 32 hexadecimal digits."""

    def __init__(
        self, path: str, query: Mapping[str, str], new_id: Callable[[], str], *, turn_per_phrase: bool = False
    ) -> None:
        self._path = path
        self._query = query
        self._new_id = new_id
        self._turn_per_phrase = turn_per_phrase
        self._turn: _Turn | None = None
        self.config: dict[str, Any] = {}
        self.context: dict[str, Any] = {}

    def feed(self, frame: str | bytes) -> list[SttCommand]:
        """What a received WebSocket message leads to. Raises FrameError: close with 1007."""
        message = decode(frame)
        match message.path:
            case "speech.config":
                self.config = message.json()
            case "speech.context":
                return self._open(message)
            case "audio":
                return self._hear(message)
            case _:
                pass
        return []

    def encode(self, result: SttResult) -> list[SttCommand]:
        """What a result leads to. Results of a turn that is over are dropped."""
        turn = self._turn
        if turn is None:
            return []
        match result:
            case SpeechStarted(sample):
                body = {"Offset": sample * TICKS_PER_SAMPLE}
                return [self._out("speech_start", "speech.startDetected", body, turn)]
            case Partial(transcript):
                return self._hypothesis(turn, transcript)
            case Phrase(transcript):
                return self._phrase(turn, transcript)
            case Silence(span):
                return self._after_phrase(turn, unheard_body(self._new_id(), "InitialSilenceTimeout", span))
            case Failed(span):
                return self._after_phrase(turn, unheard_body(self._new_id(), "Error", span))
            case Finished(sample):
                return self._finish(turn, sample)
            case _:
                assert_never(result)

    # --- from the client ---

    def _open(self, message: Message) -> list[SttCommand]:
        self.context = message.json()
        request = read_request(self._path, self._query, self.context)
        turn = self._turn = _Turn(message.request_id, request, AudioIn())
        tag = self._new_id()
        body = {"context": {"serviceTag": tag}}
        return [self._out("turn_start", "turn.start", body, turn), BeginTurn(request, tag)]

    def _hear(self, message: Message) -> list[SttCommand]:
        turn = self._turn
        if turn is None or turn.ended or message.request_id != turn.request_id:
            return []
        if not message.body:
            turn.ended = True
            rest = turn.audio.flush()
            return [Hear(rest), EndOfAudio()] if len(rest) else [EndOfAudio()]
        samples = turn.audio.feed(message.data)
        return [Hear(samples)] if len(samples) else []

    # --- to the client ---

    def _hypothesis(self, turn: _Turn, transcript: Transcript) -> list[SttCommand]:
        """Only words that stayed the same over as many results as the client asked for."""
        turn.recent = (*turn.recent, transcript.text)[-turn.request.stable_threshold :]
        text = _common_words(turn.recent) if len(turn.recent) == turn.request.stable_threshold else ""
        if not text or text == turn.shown:
            return []
        turn.shown = text
        span = Span(transcript.start_sample, transcript.through_sample)
        body = hypothesis_body(self._new_id(), text, span, _identified(turn.request, transcript))
        return [self._out("hypothesis", "speech.hypothesis", body, turn)]

    def _phrase(self, turn: _Turn, transcript: Transcript) -> list[SttCommand]:
        turn.recent, turn.shown = (), ""
        span = Span(transcript.start_sample, transcript.through_sample)
        if transcript.text:
            language = _identified(turn.request, transcript)
            body = phrase_body(self._new_id(), transcript, turn.request, language, span)
        else:
            body = unheard_body(self._new_id(), "NoMatch", span)
        return self._after_phrase(turn, body)

    def _after_phrase(self, turn: _Turn, body: dict[str, Any]) -> list[SttCommand]:
        said: list[SttCommand] = [self._out("phrase", "speech.phrase", body, turn)]
        only_one = turn.request.mode == "interactive"
        if (self._turn_per_phrase or only_one) and not turn.ended:
            end = {"Offset": body["Offset"] + body["Duration"]}
            said = [self._out("speech_end", "speech.endDetected", end, turn), *said]
            return [*said, *self._end(turn)]
        return said

    def _finish(self, turn: _Turn, sample: int) -> list[SttCommand]:
        end = {"Offset": sample * TICKS_PER_SAMPLE}
        body = unheard_body(self._new_id(), "EndOfDictation", Span(sample, sample))
        return [
            self._out("speech_end", "speech.endDetected", end, turn),
            self._out("end_of_dictation", "speech.phrase", body, turn),
            *self._end(turn),
        ]

    def _end(self, turn: _Turn) -> list[SttCommand]:
        self._turn = None
        return [self._out("turn_end", "turn.end", {}, turn), EndTurn()]

    @staticmethod
    def _out(point: Point, path: str, body: dict[str, Any], turn: _Turn) -> Outgoing:
        return Outgoing(point, encode_text(path, turn.request_id, body))


def _identified(request: SttRequest, transcript: Transcript) -> str | None:
    """The candidate locale that was spoken: the engine's language if it is among them, else the first."""
    if not request.candidates:
        return None
    spoken = (transcript.language or "").partition("-")[0].lower()
    matching = (locale for locale in request.candidates if locale.partition("-")[0].lower() == spoken)
    return next(matching, request.candidates[0])


def _common_words(texts: tuple[str, ...]) -> str:
    """The words all these texts begin with."""
    common = texts[-1].split()
    for text in texts[:-1]:
        words = text.split()
        agreeing = 0
        while agreeing < min(len(words), len(common)) and words[agreeing] == common[agreeing]:
            agreeing += 1
        common = common[:agreeing]
    return " ".join(common)
