/**
 * The user's microphone: asks for it, cleans it up with the browser's own echo cancellation, noise suppression and gain
 * control, and hands it out twice: as 20 ms frames of 16 kHz mono 16-bit samples, and as a track. Changes the device
 * without a gap. Driven by `voice-client.js`.
 */

import { meterLevel } from './pcm.js';
import { CAPTURE_HZ } from './session-settings.js';

const FRAME_MS = 20;
const GONE = ['OverconstrainedError', 'NotFoundError'];

/**
 * An open device and what was made of it.
 * @typedef {object} Capture
 * @property {MediaStream} stream what frames and the level are taken from
 * @property {MediaStreamTrack} sent the same sound, for a transport that carries tracks
 * @property {AudioContext | null} context
 */

export class Microphone {
  /** @type {Capture | null} */
  #capture = null;
  /** Counts what was asked for, so that an answer that came too late is known. */
  #asked = 0;
  #muted = false;
  #transmitting = true;

  /** The next frame, and how loud it is (0 to 1 on a decibel scale). @type {(frame: ArrayBuffer, level: number) => void} */
  onframe = () => {};
  /** The track to send changed; `null` while there is none. @type {(track: MediaStreamTrack | null) => void} */
  ontrack = () => {};
  /** The device went away. @type {() => void} */
  onended = () => {};

  get isOpen() {
    return this.#capture !== null;
  }

  /** What the device calls itself; empty while none is open. */
  get label() {
    return this.#capture?.stream.getAudioTracks()[0]?.label ?? '';
  }

  /** While muted, silence is sent, so that the server's clock goes on. */
  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    this.#muted = muted;
    this.#enable();
  }

  /** While not transmitting (push-to-talk), the track is silent and no frame is for anybody; the level goes on. */
  get transmitting() {
    return this.#transmitting;
  }

  set transmitting(transmitting) {
    this.#transmitting = transmitting;
    this.#enable();
  }

  /**
   * Asks for the microphone and begins; with one open already, changes over to the other. Rejects with the browser's
   * `DOMException` where it is refused or missing: what was open then stays open.
   * @param {string} [deviceId] empty for the browser's own choice
   */
  async open(deviceId = '') {
    if (navigator.mediaDevices === undefined) {
      throw new DOMException('Microphones need https, or http on localhost.', 'SecurityError');
    }
    const asked = ++this.#asked;
    const stream = await openDevice(deviceId);
    const [track] = stream.getAudioTracks();
    /** @type {Capture} */
    const capture = { stream, sent: track.clone(), context: null };
    try {
      capture.context = await this.#listen(capture);
    } catch (error) {
      release(capture);
      throw error;
    }
    if (asked !== this.#asked) {
      release(capture); // closed, or another device was asked for meanwhile
      return;
    }
    if (this.#capture !== null) release(this.#capture);
    this.#capture = capture;
    this.#enable();
    track.onended = () => {
      this.close();
      this.onended();
    };
    this.ontrack(capture.sent);
  }

  close() {
    this.#asked += 1;
    if (this.#capture === null) return;
    release(this.#capture);
    this.#capture = null;
    this.ontrack(null);
  }

  #enable() {
    if (this.#capture === null) return;
    for (const track of this.#capture.stream.getTracks()) track.enabled = !this.#muted;
    this.#capture.sent.enabled = !this.#muted && this.#transmitting;
  }

  /**
   * @param {Capture} capture
   * @returns {Promise<AudioContext>}
   */
  async #listen(capture) {
    const { context, source } = openSource(capture.stream);
    try {
      await context.audioWorklet.addModule(new URL('./capture-worklet.js', import.meta.url));
      const node = new AudioWorkletNode(context, 'convergio-capture', {
        numberOfOutputs: 0,
        channelCount: 1,
        channelCountMode: 'explicit',
        processorOptions: { outputHz: CAPTURE_HZ, frameMs: FRAME_MS },
      });
      node.port.onmessage = ({ data }) => {
        if (this.#capture === capture) this.onframe(data.frame, meterLevel(data.rms));
      };
      source.connect(node);
      await context.resume();
      return context;
    } catch (error) {
      void context.close();
      throw error;
    }
  }
}

/**
 * The device that was chosen, or the browser's choice where it is not there.
 * @param {string} deviceId
 */
async function openDevice(deviceId) {
  const audio = {
    channelCount: { ideal: 1 },
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: true,
  };
  if (deviceId !== '') {
    try {
      // A mere wish is not always followed.
      return await navigator.mediaDevices.getUserMedia({ audio: { ...audio, deviceId: { exact: deviceId } } });
    } catch (error) {
      const isGone = error instanceof DOMException && GONE.includes(error.name);
      if (!isGone) throw error;
    }
  }
  return navigator.mediaDevices.getUserMedia({ audio });
}

/** @param {Capture} capture */
function release({ stream, sent, context }) {
  for (const track of stream.getTracks()) {
    track.onended = null;
    track.stop();
  }
  sent.stop();
  void context?.close();
}

/**
 * A context at the rate we send, where the browser lets a microphone into one (Firefox does not); else at the
 * device's own rate, and the worklet resamples.
 * @param {MediaStream} stream
 */
function openSource(stream) {
  const context = new AudioContext({ sampleRate: CAPTURE_HZ, latencyHint: 'interactive' });
  try {
    return { context, source: context.createMediaStreamSource(stream) };
  } catch {
    void context.close();
    const atDeviceRate = new AudioContext({ latencyHint: 'interactive' });
    return { context: atDeviceRate, source: atDeviceRate.createMediaStreamSource(stream) };
  }
}

/**
 * Why there is no microphone, in a sentence for people.
 * @param {unknown} error
 */
export function microphoneReason(error) {
  const name = error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError') return 'The browser was not allowed to use the microphone. Allow it in the address bar.';
  if (name === 'NotFoundError') return 'No microphone was found.';
  if (name === 'NotReadableError') return 'The microphone is in use by another program.';
  return error instanceof Error ? error.message : 'The microphone could not be opened.';
}
