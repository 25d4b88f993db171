"""What a page really played and what it was told, on one clock: that of its loudspeaker, in samples.

Whatever the page connects to its audio destination, or plays through an element, is recorded on its way there (by the
page's own capture worklet: its security policy lets nothing else in; what a muted element plays is silence), and every
event of its voice client is noted with the sample that was being played. Knows the client's events, not the server. For
browser tests.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audio.formats import Samples

if TYPE_CHECKING:
    from playwright.async_api import Page

_WITNESS = """async (kinds) => {
    const { client } = await import('/app.js');
    const connect = AudioNode.prototype.connect;
    const witness = {
        events: [],
        blocks: [],
        context: null,
        get frame() {
            return Math.round((this.context?.currentTime ?? 0) * (this.context?.sampleRate ?? 0));
        },
    };
    async function record(node) {
        const { context } = node;
        Object.assign(witness, { context, blocks: [] });
        // A loudspeaker that another replaces before it made a sound is not listened to.
        if (!(await context.audioWorklet.addModule('/client/capture-worklet.js').then(() => true, () => false))) return;
        const recorder = new AudioWorkletNode(context, 'convergio-capture', {
            numberOfOutputs: 0,
            channelCount: 1,
            processorOptions: { outputHz: context.sampleRate, frameMs: 100 },
        });
        recorder.port.onmessage = ({ data }) => {
            if (witness.context === context) witness.blocks.push({ samples: data.frame, by: witness.frame });
        };
        connect.call(node, recorder);
    }
    AudioNode.prototype.connect = function (to, ...more) {
        if (to instanceof AudioDestinationNode) void record(this);
        return connect.call(this, to, ...more);
    };
    const play = HTMLMediaElement.prototype.play;
    HTMLMediaElement.prototype.play = function () {
        const context = new AudioContext({ sampleRate: 24000 });
        const gate = new GainNode(context, { gain: this.muted ? 0 : 1 });
        this.addEventListener('volumechange', () => (gate.gain.value = this.muted ? 0 : 1));
        connect.call(context.createMediaStreamSource(this.srcObject), gate);
        void record(gate);
        return play.call(this);
    };
    for (const kind of kinds) {
        client.on(kind, (detail) => witness.events.push({ ...detail, kind, frame: witness.frame }));
    }
    const note = ({ key }) => witness.events.push({ kind: 'key', key, frame: witness.frame });
    document.addEventListener('keydown', note, { capture: true });
    Object.assign(globalThis, { client, witness });
}"""

_RECORDING = """() => {
    const { blocks, context } = witness;
    let bytes = '';
    for (const { samples } of blocks) bytes += String.fromCharCode(...new Uint8Array(samples));
    return { samples: btoa(bytes), by: blocks.map(({ by }) => by), rate: context.sampleRate };
}"""

KINDS = (
    "session.started session.resumed transport vad.speech_started vad.speech_stopped transcript.partial "
    "transcript.final turn.started chat.token caption voice.interrupted voice.resumed turn.latency chat.complete "
    "degraded error link playback activity level"
).split()

Event = dict[str, Any]


def preferring(url: str, transport: str) -> Any:
    """The storage of a browser whose user has chosen this transport before."""
    kept = {"name": "convergio-voice.preferences", "value": json.dumps({"transport": transport})}
    return {"cookies": [], "origins": [{"origin": url.rstrip("/"), "localStorage": [kept]}]}


@dataclass(frozen=True)
class Recording:
    """Everything played since the loudspeaker was opened; ``samples[0]`` was played at frame ``first``."""

    samples: Samples
    first: int
    rate_hz: int

    def between(self, start: int, end: int) -> Recording:
        """What was played from one frame to another."""
        start = max(start, self.first)
        return Recording(self.samples[start - self.first : max(0, end - self.first)], start, self.rate_hz)

    def sounds(self, threshold: int = 30) -> list[int]:
        """The frames at which something was to be heard."""
        return [self.first + int(at) for at in np.flatnonzero(np.abs(self.samples.astype(np.int32)) > threshold)]


class Witness:
    """The page's ears and notebook. ``begin`` before the page makes its first sound, and again after a reload."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def begin(self) -> None:
        """Start to listen."""
        await self.page.evaluate(_WITNESS, KINDS)

    async def events(self, kind: str) -> list[Event]:
        """All events of one kind so far."""
        return await self.page.evaluate("kind => witness.events.filter((event) => event.kind === kind)", kind)

    async def until(self, kind: str, nth: int = 1, *, within_s: float = 20, **fields: Any) -> Event:
        """The nth event of a kind with these fields, once it is there."""
        look = """([kind, nth, fields]) => witness.events.filter((event) => event.kind === kind
            && Object.entries(fields).every(([name, value]) => event[name] === value))[nth - 1]"""
        found = await self.page.wait_for_function(look, arg=[kind, nth, fields], timeout=within_s * 1_000)
        return await found.json_value()

    async def recording(self, until_frame: int = 0) -> Recording:
        """What has been played, at least up to a frame."""
        await self.page.wait_for_function("frame => (witness.blocks.at(-1)?.by ?? 0) >= frame", arg=until_frame)
        taken = await self.page.evaluate(_RECORDING)
        samples = np.frombuffer(base64.b64decode(taken["samples"]), dtype=np.int16)
        # A block arrives some time after its last sample was played, never before: the least of these delays is next
        # to none.
        block = len(samples) // len(taken["by"])
        first = min(by - block * count for count, by in enumerate(taken["by"], start=1))
        return Recording(samples, first, int(taken["rate"]))
