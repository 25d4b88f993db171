/**
 * How loud the microphone is: a bar for the eye, words for everyone else. Driven by `app.js`, 50 times a second, drawn
 * once a frame.
 */

import { byId } from './dom.js';

const WORDS_EVERY_MS = 1000;

export class LevelMeter {
  #meter = byId('meter');
  #wordsAt = 0;

  /** @param {number} level 0 to 1 */
  draw(level) {
    this.#meter.style.setProperty('--level', level.toFixed(3));
    const now = performance.now();
    if (now - this.#wordsAt < WORDS_EVERY_MS) return;
    this.#wordsAt = now;
    this.#say(level, level < 0.12 ? 'silent' : level < 0.4 ? 'quiet' : level < 0.9 ? 'good' : 'loud');
  }

  off() {
    this.#meter.style.setProperty('--level', '0');
    this.#say(0, 'off');
  }

  /**
   * @param {number} level
   * @param {string} words
   */
  #say(level, words) {
    this.#meter.setAttribute('aria-valuenow', String(Math.round(level * 100)));
    this.#meter.setAttribute('aria-valuetext', words);
  }
}
