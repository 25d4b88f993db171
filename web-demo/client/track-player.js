/**
 * The agent's voice where it comes as a WebRTC track: plays it through an `<audio>` element, which is what browsers cancel
 * the echo of, silences it within milliseconds, and knows what has been heard. Knows nothing of connections. Driven by
 * `agent-voice.js`.
 *
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 * @typedef {import('./types.js').Playback} Playback
 */

import { meterLevel } from './pcm.js';
import { TrackClock } from './track-clock.js';

export class TrackPlayer {
  #clock = new TrackClock();
  #element = new Audio();
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {AudioWorkletNode | null} */
  #meter = null;
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  /** @type {MediaStream | null} */
  #stream = null;
  #rms = 0;

  /** How far playing has come, every 50 ms or so and when it ends. @type {(playback: Playback) => void} */
  onplayback = () => {};

  constructor() {
    this.#clock.onplayback = (playback) => this.onplayback(playback);
  }

  /** How loud the agent is right now, 0 to 1 on a decibel scale. */
  get level() {
    return this.#clock.audible ? meterLevel(this.#rms) : 0;
  }

  /** Gets ready to play. Call it from a user's gesture: browsers let a page make sound only after one. */
  async open() {
    if (this.#context !== null) {
      await this.#context.resume();
      return;
    }
    const context = new AudioContext({ latencyHint: 'interactive' });
    this.#context = context;
    try {
      await this.#prepare(context);
    } catch (error) {
      if (this.#context === context) throw error; // else it was closed meanwhile, and nobody minds
    }
  }

  /**
   * Plays what comes on this stream from now on; `null` for nothing.
   * @param {MediaStream | null} stream
   */
  async play(stream) {
    if (stream === this.#stream) return;
    this.#stream = stream;
    this.#element.srcObject = stream;
    this.#listen();
    try {
      if (stream !== null) await this.#element.play();
    } catch (error) {
      if (this.#stream === stream) throw error; // else another came, or the end, before it could begin
    }
  }

  /** @param {ServerMessage} message */
  take(message) {
    this.#clock.take(message);
    this.#gate();
  }

  /**
   * Silence, now, and for whatever else comes of this turn.
   * @param {string} turnId
   */
  silence(turnId) {
    this.#clock.silence(turnId);
    this.#gate();
  }

  /** @param {string} deviceId */
  async useSpeaker(deviceId) {
    if ('setSinkId' in this.#element) await this.#element.setSinkId(deviceId);
  }

  close() {
    void this.play(null);
    this.#meter?.disconnect();
    this.#meter = null;
    void this.#context?.close();
    this.#context = null;
    this.#rms = 0;
    this.#clock.forget();
  }

  /** @param {AudioContext} context */
  async #prepare(context) {
    await context.audioWorklet.addModule(new URL('./level-worklet.js', import.meta.url));
    if (this.#context !== context) return;
    const meter = new AudioWorkletNode(context, 'convergio-level', { numberOfOutputs: 0 });
    meter.port.onmessage = ({ data }) => this.#measured(data);
    this.#meter = meter;
    this.#listen();
    await context.resume();
  }

  #listen() {
    this.#source?.disconnect();
    this.#source = null;
    if (this.#stream === null || this.#context === null || this.#meter === null) return;
    this.#source = this.#context.createMediaStreamSource(this.#stream);
    this.#source.connect(this.#meter);
  }

  /** @param {{ rms: number, ms: number }} block */
  #measured({ rms, ms }) {
    this.#rms = rms;
    this.#clock.tick(rms, ms);
    this.#gate();
  }

  #gate() {
    this.#element.muted = !this.#clock.audible;
  }
}
