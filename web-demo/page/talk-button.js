/**
 * The one big button, and the keys that stand for it. Hands-free it begins and ends the conversation; with push-to-talk
 * it is held while speaking: by pointer, by Space anywhere outside a field, or, for hands that cannot hold, pressed once
 * to begin and once to send. Driven by `app.js`.
 */

import { byId } from './dom.js';

/** A press shorter than this is a tap: it stays down until the next one. */
const TAP_MS = 350;

export class TalkButton {
  #button = byId('talk');
  #label = byId('talk-label');
  #held = false;
  #pressedAt = 0;
  /** A tap keeps the button down; the press that lifts it again must not count as another tap. */
  #lifting = false;
  #handledByPointer = false;

  /** With push-to-talk, while a conversation runs, presses hold; otherwise they click. */
  holds = false;

  /** @type {() => void} */
  onclick = () => {};
  /** @type {(held: boolean) => void} */
  onhold = () => {};

  constructor() {
    this.#button.addEventListener('click', () => this.#click());
    this.#button.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 || !this.holds) return;
      this.#button.setPointerCapture(event.pointerId);
      this.#handledByPointer = true;
      this.#press();
    });
    this.#button.addEventListener('pointerup', () => this.#release());
    this.#button.addEventListener('pointercancel', () => this.lift());
    this.#button.addEventListener('contextmenu', (event) => this.holds && event.preventDefault());
    document.addEventListener('keydown', (event) => this.#key(event, true));
    document.addEventListener('keyup', (event) => this.#key(event, false));
    // A key or button let go outside the window is never seen: nobody may be heard without knowing it.
    window.addEventListener('blur', () => this.lift());
  }

  /**
   * @param {string} label
   * @param {{ running: boolean }} state
   */
  show(label, { running }) {
    this.#label.textContent = label;
    this.#button.dataset.running = String(running);
    if (this.holds) this.#button.setAttribute('aria-pressed', String(this.#held));
    else this.#button.removeAttribute('aria-pressed');
  }

  get held() {
    return this.#held;
  }

  /** @param {number} level how loud the one who speaks is, 0 to 1 */
  set level(level) {
    this.#button.style.setProperty('--level', level.toFixed(3));
  }

  /** Lets go, if held. */
  lift() {
    if (this.#held) this.#hold(false);
    this.#lifting = false;
  }

  #click() {
    // A press that held has been dealt with; assistive technology and Enter click without one.
    if (this.#handledByPointer) this.#handledByPointer = false;
    else if (this.holds) this.#hold(!this.#held);
    else this.onclick();
  }

  #press() {
    this.#lifting = this.#held;
    this.#pressedAt = performance.now();
    if (!this.#held) this.#hold(true);
  }

  #release() {
    if (!this.#held) return;
    if (this.#lifting || performance.now() - this.#pressedAt >= TAP_MS) this.lift();
  }

  /** @param {boolean} held */
  #hold(held) {
    this.#held = held;
    this.onhold(held);
  }

  /**
   * @param {KeyboardEvent} event
   * @param {boolean} down
   */
  #key(event, down) {
    if (event.code !== 'Space' || !this.holds || !this.#mayTake(event.target)) return;
    event.preventDefault(); // neither scroll nor click
    if (event.repeat) return;
    if (down) this.#press();
    else this.#release();
  }

  /** @param {EventTarget | null} target */
  #mayTake(target) {
    if (target === this.#button) return true;
    return !(target instanceof Element && target.closest('button, input, select, textarea, summary, a, [contenteditable]'));
  }
}
