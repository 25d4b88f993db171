/**
 * What gave way, failed or needs the user: each told once, in a sentence, until it is dismissed or mended. Nothing
 * disappears by itself. Driven by `app.js`.
 */

import { byId, element } from './dom.js';

const AT_MOST = 3;

/**
 * @typedef {object} Notice
 * @property {string} key a second notice with the same key replaces the first
 * @property {'note' | 'warning' | 'error'} kind
 * @property {string} title
 * @property {string} text
 * @property {{ label: string, run: () => void }} [action]
 */

export class Notices {
  #list = byId('notices');
  /** @type {Map<string, HTMLElement>} */
  #shown = new Map();

  /** @param {Notice} notice */
  show({ key, kind, title, text, action }) {
    this.dismiss(key);
    const item = element('li', `notice ${kind}`);
    const words = element('p', '', element('strong', '', `${title}.`), ' ', text);
    words.setAttribute('role', kind === 'error' ? 'alert' : 'status');
    item.append(words);
    if (action !== undefined) item.append(this.#button(key, action.label, action.run));
    item.append(this.#button(key, 'Dismiss', () => {}));
    this.#list.append(item);
    this.#shown.set(key, item);
    const [oldest] = this.#shown.keys();
    if (this.#shown.size > AT_MOST) this.dismiss(oldest);
  }

  /** @param {string} key */
  dismiss(key) {
    this.#shown.get(key)?.remove();
    this.#shown.delete(key);
  }

  /**
   * @param {string} key
   * @param {string} label
   * @param {() => void} run
   */
  #button(key, label, run) {
    const button = element('button', 'quiet small', label);
    button.type = 'button';
    button.onclick = () => {
      this.dismiss(key);
      byId('prompt').focus(); // the button is gone: the keyboard's place must not be
      run();
    };
    return button;
  }
}
