/**
 * What is going on, in words: at once for the eye, and at a pace a screen reader can follow for the ear. Driven by
 * `app.js`.
 *
 * @typedef {import('../client/types.js').Activity} Activity
 */

import { byId } from './dom.js';

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
  #timer = 0;
  #announcedAt = -ANNOUNCE_EVERY_MS;

  /**
   * @param {Activity} activity
   * @param {string} [detail] said after the words
   */
  show(activity, detail = '') {
    const sentence = detail ? `${WORDS[activity]} ${detail}` : WORDS[activity];
    this.#line.dataset.activity = activity;
    this.#words.textContent = sentence;
    clearTimeout(this.#timer);
    const wait = Math.max(0, this.#announcedAt + ANNOUNCE_EVERY_MS - performance.now());
    this.#timer = setTimeout(() => this.#announce(sentence), wait);
  }

  /** @param {string} sentence */
  #announce(sentence) {
    if (this.#live.textContent === sentence) return;
    this.#announcedAt = performance.now();
    this.#live.textContent = sentence;
  }
}
