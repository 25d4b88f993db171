/**
 * What is going on and over which transport, in words: at once for the eye, and at a pace a screen reader can follow for
 * the ear. Driven by `app.js`.
 *
 * @typedef {import('../client/types.js').Activity} Activity
 * @typedef {import('../client/types.js').TransportKind} TransportKind
 */

import { byId } from './dom.js';
import { TRANSPORTS } from './session-panel.js';

/** Between two announcements; what changed back meanwhile is not announced. */
const ANNOUNCE_EVERY_MS = 1500;

/** @type {Readonly<Record<Activity, string>>} */
const WORDS = {
  idle: 'Press Talk to begin',
  connecting: 'Connecting…',
  listening: 'Listening',
  hearing: 'Hearing you',
  thinking: 'Thinking',
  speaking: 'Speaking',
  held: 'Paused for you',
  muted: 'Microphone muted',
  'push-to-talk': 'Hold Talk or Space to speak',
  ready: 'Ready. Type your question',
  reconnecting: 'Reconnecting…',
  'text-only': 'Text only. Type your question',
};

export class StatusLine {
  #line = byId('state');
  #words = byId('state-words');
  #live = byId('state-live');
  #carrier = byId('carrier');
  /** @type {TransportKind | null} */
  #transport = null;
  #sentence = '';
  /** Said once, before the next announcement. */
  #remark = '';
  #timer = 0;
  #announcedAt = -ANNOUNCE_EVERY_MS;

  /**
   * @param {Activity} activity
   * @param {string} [detail] said after the words
   */
  show(activity, detail = '') {
    this.#sentence = detail ? `${WORDS[activity]} ${detail}` : WORDS[activity];
    this.#line.dataset.activity = activity;
    this.#words.textContent = this.#sentence;
    this.#schedule();
  }

  /** @param {TransportKind | null} transport `null` while there is no session */
  carriedBy(transport) {
    if (this.#transport !== null && transport !== null && transport !== this.#transport) {
      this.remark(`Now over ${TRANSPORTS[transport]}.`);
    }
    this.#transport = transport;
    this.#carrier.textContent = transport === null ? '' : `over ${TRANSPORTS[transport]}`;
  }

  /**
   * Something for the ear alone, since the eye sees it elsewhere.
   * @param {string} sentence
   */
  remark(sentence) {
    this.#remark = sentence;
    this.#schedule();
  }

  #schedule() {
    clearTimeout(this.#timer);
    const wait = Math.max(0, this.#announcedAt + ANNOUNCE_EVERY_MS - performance.now());
    this.#timer = setTimeout(() => this.#announce(), wait);
  }

  #announce() {
    const words = this.#remark ? `${this.#remark} ${this.#sentence}` : this.#sentence;
    this.#remark = '';
    if (this.#live.textContent === words) return;
    this.#announcedAt = performance.now();
    this.#live.textContent = words;
  }
}
