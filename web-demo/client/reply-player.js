/**
 * The agent's voice where it comes in frames, turn by turn: which turn the next audio belongs to, what is played of it,
 * what was silenced, and what must be reported as heard. Knows nothing of connections. Driven by `agent-voice.js`.
 *
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 * @typedef {import('./types.js').Playback} Playback
 */

import { fromBase64 } from './base64.js';
import { Speaker } from './speaker.js';

const PLAYED_EVERY_MS = 200;

export class ReplyPlayer {
  #speaker = new Speaker();
  /** Where the next binary frame belongs. @type {{ turnId: string, startMs: number | null }} */
  #next = { turnId: '', startMs: null };
  /** A turn the user has stopped: what is still on its way is not played. */
  #silencedTurnId = '';
  #reportedMs = 0;

  /** How far playing has come, every 50 ms. @type {(playback: Playback) => void} */
  onplayback = () => {};
  /** What the server has to know, every 200 ms and when playing ends. @type {(turnId: string, heardMs: number) => void} */
  onplayed = () => {};

  constructor() {
    this.#speaker.onplayback = (playback) => this.#heard(playback);
  }

  /** How loud the agent is right now, 0 to 1 on a decibel scale. */
  get level() {
    return this.#speaker.level;
  }

  /** @param {number} rateHz */
  open(rateHz) {
    return this.#speaker.open(rateHz);
  }

  /** @param {string} deviceId */
  useSpeaker(deviceId) {
    return this.#speaker.useDevice(deviceId);
  }

  close() {
    this.#speaker.close();
  }

  /** @param {ServerMessage} message */
  take(message) {
    switch (message.type) {
      case 'turn.started':
        this.#reportedMs = 0;
        break;
      case 'voice.audio':
        this.#next = { turnId: message.request_id, startMs: message.start_ms };
        if (message.bytes_base64) this.takeAudio(fromBase64(message.bytes_base64));
        break;
      case 'voice.audio.done':
        if (message.request_id !== this.#silencedTurnId) this.#speaker.end();
        break;
      case 'voice.interrupted':
        this.#speaker.clear();
        break;
      case 'voice.resumed':
        this.#reportedMs = message.from_ms;
        break;
    }
  }

  /** @param {ArrayBuffer} samples */
  takeAudio(samples) {
    const { turnId, startMs } = this.#next;
    this.#next.startMs = null;
    if (turnId !== this.#silencedTurnId) this.#speaker.play(turnId, startMs, samples);
  }

  /**
   * Silence, now, and for whatever else comes of this turn.
   * @param {string} turnId
   */
  silence(turnId) {
    this.#silencedTurnId = turnId;
    this.#speaker.clear();
  }

  /** @param {Playback} playback */
  #heard(playback) {
    const { requestId, heardMs, state } = playback;
    if (state !== 'playing' || heardMs - this.#reportedMs >= PLAYED_EVERY_MS) {
      this.#reportedMs = heardMs;
      this.onplayed(requestId, heardMs);
    }
    this.onplayback(playback);
  }
}
