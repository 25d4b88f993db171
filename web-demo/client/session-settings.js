/**
 * What the session is asked to be, now and after each change. Pure; driven by `voice-client.js`.
 *
 * @typedef {import('./types.js').SessionSettings} Settings
 * @typedef {import('./types.js').SessionUpdate} SessionUpdate
 * @typedef {import('./types.js').ClientMessage} ClientMessage
 */

/** What the microphone's frames hold. */
export const CAPTURE_HZ = 16_000;
/** What the agent's frames are asked to hold. */
export const PLAYBACK_HZ = 24_000;

export class SessionSettings {
  #settings;

  /** @param {Settings} settings */
  constructor(settings) {
    this.#settings = settings;
  }

  /** Only the user ends a turn. */
  get pushToTalk() {
    return this.#settings.turn_detection?.type === 'push_to_talk';
  }

  /** @param {SessionUpdate} changes what they leave out stays as it is */
  merge({ turn_detection, output, accessibility }) {
    const settings = this.#settings;
    this.#settings = {
      ...settings,
      turn_detection: { ...settings.turn_detection, ...turn_detection },
      output: { ...settings.output, ...output },
      accessibility: { ...settings.accessibility, ...accessibility },
    };
  }

  /**
   * The message that begins a session. Over WebRTC audio is agreed on elsewhere, but the session may go on over a socket.
   * @returns {ClientMessage}
   */
  start() {
    return {
      type: 'voice.start',
      ...this.#settings,
      output: { ...this.#settings.output, ...{ codec: 'pcm16', sample_rate: PLAYBACK_HZ } },
      codec: 'pcm16',
      sample_rate: CAPTURE_HZ,
      binary: true,
    };
  }
}
