"""One call's recording, from the words about it to the finished file.

Owns whether and since when the call is recorded, and what of it is not written yet. Consent is asked for in the call's
language, written down, and required of the privacy office before the first sample is kept; one that is withdrawn ends
the recording. Files are written by a task of its own in worker threads, so neither a slow disk nor a full one is felt
in the call: the recording ends, once told, and the call goes on. Driven by ``server.telephony.conversation``:
``running`` is around its life, everything else returns at once.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import anyio
import anyio.to_thread

from agents.events import ServerEvent, TurnCompleted, TurnStarted
from audio.formats import Samples
from metering.records import RecordsError
from server.conversations.tables import Recording
from server.conversations.wave_file import HEADER, WaveFile
from server.guard import Identity
from server.host import Host
from server.privacy.consents import Agreement, Permit
from server.privacy.errors import NoConsent
from server.telephony.phrases import Phrases
from server.telephony.recording.talk import RecordingTalk
from server.telephony.recording.track import StereoTrack
from server.telephony_settings import RecordingMode

logger = logging.getLogger(__name__)

Ending = Literal["over", "stopped", "withdrawn", "limit", "disk"]

WRITE_EVERY_S: Final = 1.0
MOST_WAITING_BYTES: Final = 16 * 1024 * 1024
"""What may wait for the disk: minutes, at telephone rates."""
FLUSH_LIMIT_S: Final = 5.0
FINISH_LIMIT_S: Final = 15.0
MEGABYTE: Final = 1_000_000
VERSION_CHARS: Final = 12
"""Of the words' digest: their version."""


class CallRecording:
    """See the module. ``mode`` off: nothing of it happens."""

    def __init__(self, host: Host, owner: Identity, call_id: str, phrases: Phrases, locale: str) -> None:
        self._host = host
        self._owner = owner
        self._call_id = call_id
        self._phrases = phrases
        self._locale = locale
        self._settings = host.settings.telephony.recording
        self._talk: RecordingTalk | None = None
        self._wanted = anyio.Event()
        self._ending: Ending | None = None
        self._ended = anyio.Event()
        self._permit: Permit | None = None
        self._track: StereoTrack | None = None
        self._began_s = 0.0
        self._paused_s: float | None = None
        self._session_id = ""
        self._rate_hz = 0

    # --- before the call is held ---

    def prepare(self, number: str, agent_id: str, rate_hz: int) -> bool:
        """Whether this call is to be recorded, if its caller agrees. ``number`` is ours."""
        self._rate_hz = rate_hz
        mode = self._settings.of(number, agent_id, self._owner.tenant_id)
        if mode == "off" or not self._possible():
            return False
        self._talk = self._begun_talk(mode)
        return True

    def _possible(self) -> bool:
        office, owner = self._host.offices.privacy, self._owner
        stores = office.retention.of(owner.tenant_id, owner.tenant_type).store
        if stores and office.consents.possible(owner.tenant_type):
            return True
        logger.info(
            "call not recorded", extra={"call_id": self._call_id, "why": "its tenant may not, or stores nothing"}
        )
        return False

    def _begun_talk(self, mode: RecordingMode) -> RecordingTalk:
        after_ms = round(self._host.settings.telephony.greeting_after_s * 1_000)
        return RecordingTalk(self._phrases, asks=mode == "ask", after_ms=after_ms, now_ms=0)

    @asynccontextmanager
    async def running(self, session_id: str) -> AsyncGenerator[None]:
        """Record this conversation, once its caller agrees, until the body has ended."""
        self._session_id = session_id
        if self._talk is None:
            yield
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._record)
            try:
                yield
            finally:
                self._end("over")
                if self._track is None:  # nobody has agreed, or not yet
                    tasks.cancel_scope.cancel()

    # --- the talk about it ---

    def attend(self, now_ms: int, *, quiet: bool, say: Callable[[str], None]) -> bool:
        """Say what is due; True while the agent says nothing else by itself."""
        talk = self._talk
        if talk is None or talk.over:
            return False
        if (words := talk.due(now_ms, quiet=quiet)) is not None:
            say(words)
        return True

    def notice(self, event: ServerEvent, now_ms: int) -> bool:
        """What the session tells; True for a turn that is the caller's answer about recording."""
        if self._talk is None:
            return False
        answered = False
        match event:
            case TurnStarted():
                answered = self._talk.turn_started(event)
            case TurnCompleted():
                self._talk.turn_completed(event, now_ms)
            case _:
                return False
        self._heed()
        return answered

    def key(self, digit: str) -> bool:
        """A key was pressed; True where it is about the question."""
        if self._talk is None or not self._talk.key(digit):
            return False
        self._heed()
        return True

    @property
    def asking(self) -> bool:
        """Whether the question is being said, or its answer waited for."""
        return self._talk is not None and self._talk.asking

    def _heed(self) -> None:
        if self._talk is not None and self._talk.agreed is not None:
            self._wanted.set()

    # --- the sound ---

    def heard(self, samples: Samples, rate_hz: int) -> None:
        """The next of the caller's voice."""
        if (track := self._on) is not None:
            track.caller(samples, rate_hz)
            self._bound(track)

    def play(self, samples: Samples, rate_hz: int) -> None:
        """The next of the agent's voice."""
        if (track := self._on) is not None:
            track.agent(samples, rate_hz)

    def clear(self) -> None:
        """What has not sounded of the agent's voice is dropped."""
        if (track := self._on) is not None:
            track.clear()

    def pause(self, *, on: bool) -> None:
        """While somebody else is on the line, who has agreed to nothing, nothing is recorded."""
        if on and self._paused_s is None:
            self.clear()
            self._paused_s = time.monotonic()
        elif not on and self._paused_s is not None:
            self._began_s += time.monotonic() - max(self._paused_s, self._began_s)
            self._paused_s = None

    def stop(self) -> bool:
        """No more of it, as somebody asked; False where nothing is recorded."""
        if self._ending is not None or not self._wanted.is_set():
            return False
        self._end("stopped")
        return True

    @property
    def _on(self) -> StereoTrack | None:
        """The track, while anything may be recorded now."""
        permitted = self._permit is not None and self._permit.stands
        return self._track if permitted and self._ending is None and self._paused_s is None else None

    def _bound(self, track: StereoTrack) -> None:
        if track.waiting_bytes > MOST_WAITING_BYTES:
            self._fail("The disk takes it too slowly.")

    def _end(self, ending: Ending) -> None:
        if self._ending is None:
            self._ending = ending
            self._ended.set()

    def _fail(self, why: str) -> None:
        """The recording ends, the call goes on; told once."""
        if self._ending is None:
            told = {"call_id": self._call_id, "session_id": self._session_id, "why": why}
            logger.error("recording ended: the disk cannot take it", extra=told)
        self._end("disk")

    # --- the task ---

    async def _record(self) -> None:
        await self._wanted.wait()
        begun: tuple[Recording, WaveFile] | None = None
        told = {"call_id": self._call_id, "session_id": self._session_id}
        try:
            with anyio.CancelScope(shield=True):
                begun = await self._begin()
        except (NoConsent, RecordsError, OSError) as error:
            logger.warning("call not recorded", extra={**told, "why": str(error)})
        if begun is None:
            self._end("over")
            return
        recording, file = begun
        logger.info("recording began", extra={**told, "recording_id": recording.recording_id})
        with anyio.CancelScope(shield=True):
            await self._write(file)
            with anyio.move_on_after(FINISH_LIMIT_S):
                await self._finish(recording, file)

    async def _begin(self) -> tuple[Recording, WaveFile] | None:
        """The consent on record, the permit, and the file. Raises NoConsent, RecordsError, OSError."""
        talk, owner = self._talk, self._owner
        assert talk is not None
        assert talk.agreed is not None
        office, session_id = self._host.offices.privacy, self._session_id
        await office.scribe.flush(FLUSH_LIMIT_S, session_id)
        version = hashlib.sha256(talk.wording.encode()).hexdigest()[:VERSION_CHARS]
        agreed = Agreement("recording", talk.wording, version, self._locale, session_id, talk.agreed)
        await office.consents.give(owner, owner.tenant_id, owner.user_id, agreed)
        permit = await office.consents.require(owner.tenant_id, owner.tenant_type, owner.user_id, session_id)
        recordings, consent = office.recordings, permit.consent
        recording = await recordings.begin(session_id, owner.tenant_id, consent.consent_id, self._rate_hz)
        if recording is None:
            raise NoConsent("The conversation is not stored, so its sound is not, either.")
        free_bytes = self._settings.free_megabytes * MEGABYTE
        try:
            path = recordings.path(recording)
            file = await anyio.to_thread.run_sync(WaveFile, path, self._rate_hz, free_bytes)
        except OSError as error:
            self._fail(str(error))
            await recordings.finish(recording, 0, 0, "disk")
            return None
        self._permit, self._track, self._began_s = permit, StereoTrack(self._rate_hz), time.monotonic()
        return recording, file

    async def _write(self, file: WaveFile) -> None:
        track, permit = self._track, self._permit
        assert track is not None
        assert permit is not None
        most_bytes = self._settings.max_megabytes * MEGABYTE
        most_bytes = min(most_bytes, HEADER.size + round(self._settings.max_minutes * 60 * self._rate_hz) * 4)
        while True:
            with anyio.move_on_after(WRITE_EVERY_S):
                await self._ended.wait()
            if self._on is not None:
                track.until(time.monotonic() - self._began_s)
            if not permit.stands:
                self._end("withdrawn")
            data = track.take()[: max(0, most_bytes - file.size)]
            try:
                await anyio.to_thread.run_sync(file.append, data)
            except OSError as error:
                self._fail(str(error))
            if file.size >= most_bytes:
                self._end("limit")
            if self._ended.is_set():
                return

    async def _finish(self, recording: Recording, file: WaveFile) -> None:
        told: dict[str, Any] = {"call_id": self._call_id, "recording_id": recording.recording_id}
        ending = self._ending or "over"
        try:
            size, duration_ms = await anyio.to_thread.run_sync(file.close)
            recordings = self._host.offices.privacy.recordings
            if not duration_ms and ending != "disk":  # the caller was gone as soon as they had agreed
                await recordings.discard(recording)
                logger.info("recording ended", extra={**told, "ending": "empty"})
                return
            done = await recordings.finish(recording, size, duration_ms, ending)
        except (RecordsError, OSError) as error:
            logger.warning("a recording could not be completed", extra={**told, "why": str(error)})
            return
        fate = {"duration_ms": duration_ms, "ending": ending} if done is not None else {"ending": "deleted"}
        logger.info("recording ended", extra={**told, **fate})
