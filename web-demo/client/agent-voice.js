/**
 * The agent's voice, whichever way it comes: in frames, or as a track. Knows which player is in use and keeps both on the
 * loudspeaker the user chose. Driven by `voice-client.js`.
 *
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 * @typedef {import('./types.js').Playback} Playback
 * @typedef {import('./types.js').TransportKind} TransportKind
 */

import { ReplyPlayer } from './reply-player.js';
import { PLAYBACK_HZ } from './session-settings.js';
import { TrackPlayer } from './track-player.js';

/** Whether this browser lets a page choose the loudspeaker. */
export function canChooseSpeaker() {
  return 'setSinkId' in HTMLMediaElement.prototype;
}

export class AgentVoice {
  #frames = new ReplyPlayer();
  #track = new TrackPlayer();
  /** @type {ReplyPlayer | TrackPlayer} */
  #playing = this.#frames;

  /** How far playing has come, every 50 ms. @type {(playback: Playback) => void} */
  onplayback = () => {};
  /** What the server has to be told, since it cannot know. @type {(turnId: string, heardMs: number) => void} */
  onplayed = () => {};

  constructor() {
    for (const player of [this.#frames, this.#track]) {
      player.onplayback = (playback) => {
        if (player === this.#playing) this.onplayback(playback);
      };
    }
    this.#frames.onplayed = (turnId, heardMs) => this.onplayed(turnId, heardMs);
  }

  /** How loud the agent is right now, 0 to 1 on a decibel scale. */
  get level() {
    return this.#playing.level;
  }

  /**
   * Gets ready for whichever of these will carry the session. Call it from a user's gesture.
   * @param {readonly TransportKind[]} kinds
   */
  async open(kinds) {
    await Promise.all(
      kinds.map((kind) => (kind === 'webrtc' ? this.#track.open() : this.#frames.open(PLAYBACK_HZ))),
    );
  }

  /**
   * The session is carried by a transport whose voice is this stream, or comes as frames.
   * @param {MediaStream | null} stream
   */
  async comesBy(stream) {
    if (stream === null) {
      this.#track.close(); // it still says how far it came
      this.#playing = this.#frames;
      await this.#frames.open(PLAYBACK_HZ);
    } else {
      this.#frames.close();
      this.#playing = this.#track;
      await Promise.all([this.#track.open(), this.#track.play(stream)]);
    }
  }

  /** Frames come at this rate. @param {number} rateHz */
  async comesAt(rateHz) {
    if (this.#playing === this.#frames) await this.#frames.open(rateHz);
  }

  /** @param {ServerMessage} message */
  take(message) {
    this.#playing.take(message);
  }

  /** @param {ArrayBuffer} samples */
  takeAudio(samples) {
    this.#frames.takeAudio(samples);
  }

  /**
   * Silence, now, and for whatever else comes of this turn.
   * @param {string} turnId
   */
  silence(turnId) {
    this.#frames.silence(turnId);
    this.#track.silence(turnId);
  }

  /**
   * Rejects where the browser does not let the page use it.
   * @param {string} deviceId empty for the browser's own choice
   */
  async useSpeaker(deviceId) {
    await Promise.all([this.#frames.useSpeaker(deviceId), this.#track.useSpeaker(deviceId)]);
  }

  close() {
    this.#frames.close();
    this.#track.close();
  }
}
