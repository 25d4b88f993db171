/**
 * What the user likes, kept in this browser, and as the session's own settings. Driven by `app.js`.
 *
 * @typedef {import('../client/types.js').SessionUpdate} SessionUpdate
 * @typedef {NonNullable<import('../client/types.js').AccessibilitySettings['patience']>} Patience
 */

import { byId } from './dom.js';

const STORED_AS = 'convergio-voice.preferences';

export class Preferences {
  #form = /** @type {HTMLFormElement} */ (byId('preferences'));
  #pushToTalk = /** @type {HTMLInputElement} */ (byId('push-to-talk'));

  /** @type {() => void} */
  onchange = () => {};

  constructor() {
    this.#load();
    this.#form.addEventListener('submit', (event) => event.preventDefault());
    this.#form.addEventListener('change', () => this.#changed());
    this.#pushToTalk.addEventListener('change', () => this.#changed());
  }

  /** Only the button ends a turn. */
  get pushToTalk() {
    return this.#pushToTalk.checked;
  }

  get announces() {
    return this.#switch('announce').checked;
  }

  /** How the conversation is to travel. @returns {import('../client/types.js').TransportPreference} */
  get transport() {
    return /** @type {import('../client/types.js').TransportPreference} */ (this.#select('transport').value);
  }

  get spoken() {
    return this.#switch('spoken').checked;
  }

  /** The user says by a button of its own when a turn is over. */
  get endsTurnsByHand() {
    return !this.pushToTalk && this.#select('patience').value === 'never';
  }

  /** @returns {SessionUpdate} */
  get settings() {
    return {
      turn_detection: { type: this.pushToTalk ? 'push_to_talk' : 'auto' },
      output: {
        modalities: this.spoken ? ['audio', 'text'] : ['text'],
        rate: Number(this.#select('rate').value),
      },
      accessibility: {
        patience: /** @type {Patience} */ (this.#select('patience').value),
        simple_language: this.#switch('simple').checked,
      },
    };
  }

  #changed() {
    try {
      localStorage.setItem(STORED_AS, JSON.stringify(this.#values()));
    } catch {
      // Private windows keep nothing: the choice then lasts as long as the page.
    }
    this.onchange();
  }

  /** @returns {Record<string, string | boolean>} */
  #values() {
    return {
      pushToTalk: this.pushToTalk,
      patience: this.#select('patience').value,
      rate: this.#select('rate').value,
      transport: this.transport,
      spoken: this.spoken,
      simple: this.#switch('simple').checked,
      announce: this.announces,
    };
  }

  #load() {
    /** @type {Record<string, string | boolean>} */
    let stored = {};
    try {
      stored = JSON.parse(localStorage.getItem(STORED_AS) ?? '{}');
    } catch {
      return;
    }
    if (typeof stored.pushToTalk === 'boolean') this.#pushToTalk.checked = stored.pushToTalk;
    for (const field of this.#form.elements) {
      if (field instanceof HTMLInputElement && typeof stored[field.name] === 'boolean') {
        field.checked = stored[field.name] === true;
      } else if (field instanceof HTMLSelectElement && typeof stored[field.name] === 'string') {
        field.value = String(stored[field.name]);
      }
    }
  }

  /** @param {string} name */
  #switch(name) {
    return /** @type {HTMLInputElement} */ (this.#form.elements.namedItem(name));
  }

  /** @param {string} name */
  #select(name) {
    return /** @type {HTMLSelectElement} */ (this.#form.elements.namedItem(name));
  }
}
