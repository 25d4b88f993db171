/**
 * One answer of the agent as text: what has been spoken so far, and after an interruption what was not. Pure; driven by
 * `transcript.js`.
 *
 * @typedef {import('../client/types.js').Caption} Caption
 */

/**
 * @typedef {object} ReplyView
 * @property {string} spoken
 * @property {string} unspoken only after an interruption
 */

export class Reply {
  #generated = '';
  /** @type {Caption[]} */
  #captions = [];
  #heardMs = 0;
  #drained = false;
  /** The voice fell silent before its end, and nobody interrupted it. */
  #silenced = false;
  #complete = false;
  #writtenAtOnce;
  /** @type {string | null} */
  #heardText = null;

  /** @param {boolean} writtenAtOnce the answer comes in writing, so nothing waits for a voice */
  constructor(writtenAtOnce) {
    this.#writtenAtOnce = writtenAtOnce;
  }

  get interrupted() {
    return this.#heardText !== null;
  }

  /** @param {string} text */
  addToken(text) {
    this.#generated += text;
  }

  /** A content filter refused it: what was only written is taken back, and a refusal follows. */
  retract() {
    this.#generated = '';
  }

  /** @param {Caption} caption a later one for the same stretch replaces it */
  addCaption(caption) {
    this.#captions = this.#captions.filter((other) => other.start_ms !== caption.start_ms);
    this.#captions.push(caption);
    this.#captions.sort((a, b) => a.start_ms - b.start_ms);
    this.#drained = false;
  }

  /**
   * @param {number} heardMs
   * @param {import('../client/types.js').Playback['state']} state
   */
  heard(heardMs, state) {
    this.#heardMs = heardMs;
    this.#drained = state === 'drained';
    this.#silenced = state === 'cleared';
  }

  /** @param {string} heardText */
  interrupt(heardText) {
    this.#heardText = heardText;
  }

  /** It was no interruption after all. */
  resume() {
    this.#heardText = null;
  }

  /**
   * @param {string} text the answer as the server has it
   * @param {boolean} interrupted
   */
  complete(text, interrupted) {
    this.#complete = true;
    if (interrupted) this.#heardText ??= text;
    else this.#generated ||= text;
  }

  /** @returns {ReplyView} */
  view() {
    if (this.#heardText !== null) {
      const everything = this.#generated || joined(this.#captions.map(({ text }) => text));
      return { spoken: this.#heardText, unspoken: remainder(everything, this.#heardText) };
    }
    const silent = (this.#captions.length === 0 || this.#silenced) && this.#complete;
    if (this.#writtenAtOnce || silent) return { spoken: this.#generated, unspoken: '' };
    return { spoken: joined(this.#captions.map((caption) => this.#spokenOf(caption))), unspoken: '' };
  }

  /** @param {Caption} caption */
  #spokenOf({ text, start_ms, end_ms }) {
    if (this.#drained || this.#heardMs >= end_ms) return text;
    if (this.#heardMs <= start_ms) return '';
    const words = text.trim().split(/\s+/);
    return words.slice(0, Math.ceil((words.length * (this.#heardMs - start_ms)) / (end_ms - start_ms))).join(' ');
  }
}

/** @param {string[]} parts */
function joined(parts) {
  return parts
    .map((part) => part.trim())
    .filter(Boolean)
    .join(' ');
}

/**
 * What of `whole` comes after `beginning`; where the two are worded differently, after as many words.
 * @param {string} whole
 * @param {string} beginning
 */
function remainder(whole, beginning) {
  const heardWords = beginning.split(/\s+/).filter(Boolean).length;
  return whole.split(/\s+/).filter(Boolean).slice(heardWords).join(' ');
}
