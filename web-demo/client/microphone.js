/**
 * The user's microphone: asks for it, cleans it up with the browser's own echo cancellation, noise suppression and gain
 * control, and hands out 20 ms frames of 16 kHz mono 16-bit samples. Driven by `voice-client.js`.
 */

import { meterLevel } from './pcm.js';

export const CAPTURE_HZ = 16_000;
const FRAME_MS = 20;

export class Microphone {
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {AudioContext | null} */
  #context = null;
  #muted = false;

  /** The next frame, and how loud it is (0 to 1 on a decibel scale). @type {(frame: ArrayBuffer, level: number) => void} */
  onframe = () => {};
  /** The device went away. @type {() => void} */
  onended = () => {};

  get isOpen() {
    return this.#stream !== null;
  }

  /** While muted, silence is sent, so that the server's clock goes on. */
  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    this.#muted = muted;
    for (const track of this.#stream?.getTracks() ?? []) track.enabled = !muted;
  }

  /**
   * Asks for the microphone and begins. Rejects with the browser's `DOMException` where it is refused or missing.
   * @param {string} [deviceId]
   */
  async open(deviceId) {
    if (this.isOpen) return;
    if (navigator.mediaDevices === undefined) {
      throw new DOMException('Microphones need https, or http on localhost.', 'SecurityError');
    }
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId,
        channelCount: { ideal: 1 },
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
      },
    });
    this.#stream = stream;
    for (const track of stream.getTracks()) {
      track.enabled = !this.#muted;
      track.onended = () => {
        this.close();
        this.onended();
      };
    }
    try {
      await this.#connect(stream);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close() {
    for (const track of this.#stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this.#stream = null;
    void this.#context?.close();
    this.#context = null;
  }

  /** @param {MediaStream} stream */
  async #connect(stream) {
    const { context, source } = openSource(stream);
    this.#context = context;
    await context.audioWorklet.addModule(new URL('./capture-worklet.js', import.meta.url));
    const node = new AudioWorkletNode(context, 'convergio-capture', {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: 'explicit',
      processorOptions: { outputHz: CAPTURE_HZ, frameMs: FRAME_MS },
    });
    node.port.onmessage = ({ data }) => {
      if (this.#context === context) this.onframe(data.frame, meterLevel(data.rms));
    };
    source.connect(node);
    await context.resume();
  }
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
