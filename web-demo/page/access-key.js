/**
 * The key to a server that asks for one: finds out whether it does before anything connects, asks the user in a form,
 * and remembers the key for this tab alone. Knows nothing of conversations; what was about to begin waits until the
 * server lets the user in. Driven by `app.js`.
 */

import { byId, element } from './dom.js';

const STORED_AS = 'convergio-voice.access-key';
const PROBE_LIMIT_MS = 5000;
/** What a browser can offer as a subprotocol: a token of RFC 9110, section 5.6.2. */
const SENDABLE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const UNKNOWN = 'This server does not know that key. Check it and try again.';
const UNSENDABLE = 'Browsers cannot send this key: it may hold only letters, digits and - . _ ~ + (no spaces, / or =).';

export class AccessKey {
  #form = /** @type {HTMLFormElement} */ (byId('access'));
  #input = /** @type {HTMLInputElement} */ (byId('access-key'));
  /** What was wrong with the last key. Made anew each time, so that it is announced each time. */
  #problem = element('p');
  #key = stored();
  /** What waits for the server's word; the same thing asked for twice happens once. @type {Set<() => void>} */
  #waiting = new Set();
  #asking = false;

  /** The server accepts this key. @type {(key: string) => void} */
  onkey = () => {};

  constructor() {
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#try(this.#input.value.trim());
    });
  }

  /** The key of this tab, if it has one. */
  get key() {
    return this.#key;
  }

  /**
   * Runs `action` once the server lets the user in: at once, or after the right key was entered.
   * @param {() => void} action
   */
  async admit(action) {
    this.#waiting.add(action);
    await this.#try(this.#key);
  }

  /** @param {string} key */
  async #try(key) {
    if (this.#asking) return;
    if (key !== '' && !SENDABLE.test(key)) {
      this.#ask(UNSENDABLE);
      return;
    }
    this.#asking = true;
    const refused = await isRefused(key);
    this.#asking = false;
    if (refused) {
      this.#keep('');
      this.#ask(key === '' ? '' : UNKNOWN);
      return;
    }
    this.#keep(key);
    this.#letIn();
  }

  #letIn() {
    if (!this.#form.hidden) {
      if (this.#form.contains(document.activeElement)) byId('prompt').focus(); // before its place is gone
      this.#form.hidden = true;
      this.#input.value = '';
      this.#problem.remove();
    }
    this.onkey(this.#key);
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const action of waiting) action();
  }

  /** @param {string} problem what was wrong with the last key, if one was tried */
  #ask(problem) {
    this.#form.hidden = false;
    this.#problem.remove();
    if (problem !== '') {
      this.#problem = element('p', 'access-problem', problem);
      this.#problem.id = 'access-problem';
      this.#problem.setAttribute('role', 'alert');
      this.#form.append(this.#problem);
    }
    this.#input.setAttribute('aria-invalid', String(problem !== ''));
    this.#input.focus();
    this.#input.select();
  }

  /** @param {string} key */
  #keep(key) {
    this.#key = key;
    try {
      if (key === '') sessionStorage.removeItem(STORED_AS);
      else sessionStorage.setItem(STORED_AS, key);
    } catch {
      // Storage is switched off: the key then lasts as long as the page.
    }
  }
}

function stored() {
  try {
    return sessionStorage.getItem(STORED_AS) ?? '';
  } catch {
    return '';
  }
}

/**
 * Whether the server refuses for want of a key. A server that cannot be reached does not: connecting will tell.
 * @param {string} key
 */
async function isRefused(key) {
  try {
    const headers = key === '' ? undefined : { Authorization: `Bearer ${key}` };
    const signal = AbortSignal.timeout(PROBE_LIMIT_MS);
    return (await fetch('/v1/agents', { headers, signal, cache: 'no-store' })).status === 401;
  } catch {
    return false;
  }
}
