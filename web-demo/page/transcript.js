/**
 * The conversation as captions, both sides. The user's words are visibly provisional until they are final; the agent's
 * appear as they are spoken, and what an interruption cut off is struck through and says so. Driven by `app.js`.
 *
 * @typedef {import('../client/types.js').Transcript} TranscriptMessage
 * @typedef {import('../client/types.js').VoiceClientEvents} Events
 */

import { byId, element } from './dom.js';
import { Reply } from './reply.js';

/**
 * @typedef {object} Entry
 * @property {HTMLElement} item
 * @property {HTMLElement} words
 * @property {HTMLElement} meta
 */

/** Utterances kept for a correction. */
const CHANGEABLE = 4;

export class Transcript {
  #list = byId('transcript');
  #scroller = byId('conversation');
  #live = byId('messages-live');
  /** The user's utterances that may still change. @type {Map<number, Entry>} */
  #utterances = new Map();
  /** @type {Map<string, Entry & { reply: Reply }>} */
  #replies = new Map();
  /** Whether the user's words of the turn to come are already shown. */
  #userShown = false;

  /** Whether a screen reader is told each finished message. */
  announces = false;

  /** @param {string} text */
  typed(text) {
    const entry = this.#add('user');
    entry.words.textContent = text;
    entry.meta.textContent = 'typed';
    this.#userShown = true;
  }

  /** @param {TranscriptMessage} message */
  heardUser({ utterance_id, type, text, language, corrected, request_id }) {
    const entry = this.#utterances.get(utterance_id) ?? this.#add('user', language);
    entry.words.textContent = text;
    const final = type === 'transcript.final';
    entry.item.classList.toggle('provisional', !final);
    entry.meta.textContent = final ? '' : 'still listening…';
    this.#utterances.set(utterance_id, entry);
    if (this.#utterances.size > CHANGEABLE) {
      for (const oldest of this.#utterances.keys()) {
        this.#utterances.delete(oldest);
        break;
      }
    }
    if (final) {
      // A correction whose reply runs already is followed by no turn.
      this.#userShown = !corrected || !this.#replies.has(request_id);
      this.#announce(corrected ? 'Corrected, you' : 'You', text);
    }
    this.#reveal(entry.item);
  }

  /**
   * @param {Events['turn.started']} turn
   * @param {boolean} writtenAtOnce
   */
  turnStarted({ request_id, text, source }, writtenAtOnce) {
    if (this.#replies.has(request_id)) return;
    if (source !== 'announcement' && !this.#userShown && text) {
      this.#add('user').words.textContent = text;
    }
    this.#userShown = false;
    const entry = this.#add('agent');
    entry.meta.textContent = 'thinking…';
    this.#replies.set(request_id, { ...entry, reply: new Reply(writtenAtOnce) });
  }

  /**
   * Changes an answer and shows it.
   * @param {string} requestId
   * @param {(reply: Reply) => void} change
   */
  reply(requestId, change) {
    const entry = this.#replies.get(requestId);
    if (entry === undefined) return;
    change(entry.reply);
    const { spoken, unspoken } = entry.reply.view();
    if (spoken !== '' && entry.meta.textContent === 'thinking…') entry.meta.textContent = '';
    const parts = [element('span', 'spoken', spoken)];
    if (unspoken) {
      parts.push(element('span', 'cut', ' interrupted; not said: '), element('s', 'unspoken', unspoken));
    }
    if (entry.words.textContent === parts.map((part) => part.textContent).join('')) return;
    entry.words.replaceChildren(...parts);
    this.#reveal(entry.item);
  }

  /**
   * A line under an answer: what was measured, or what a tool did.
   * @param {string} requestId
   * @param {string} text
   */
  remark(requestId, text) {
    const meta = this.#replies.get(requestId)?.meta;
    if (meta === undefined) return;
    const before = meta.textContent === 'thinking…' ? '' : meta.textContent;
    meta.textContent = before ? `${before} · ${text}` : text;
  }

  /** @param {Events['chat.complete']} completion */
  completed({ request_id, text, interrupted, error_code }) {
    this.reply(request_id, (reply) => reply.complete(text, interrupted ?? false));
    if (error_code) this.remark(request_id, `failed: ${error_code}`);
    else if (interrupted) this.remark(request_id, 'interrupted');
    else if (text === '') this.remark(request_id, 'no answer');
    this.#announce('Agent', text);
  }

  /**
   * @param {string} speaker
   * @param {string} text
   */
  #announce(speaker, text) {
    if (!this.announces || text === '') return;
    this.#live.append(element('p', '', `${speaker}: ${text}`));
    if (this.#live.childElementCount > 20) this.#live.firstElementChild?.remove();
  }

  /**
   * @param {'user' | 'agent'} speaker
   * @param {string | null} [language] a BCP 47 tag, where it is known
   * @returns {Entry}
   */
  #add(speaker, language) {
    byId('welcome').hidden = true;
    const words = element('p', 'words');
    if (language) words.lang = language;
    const meta = element('p', 'meta');
    const name = element('p', 'speaker', speaker === 'user' ? 'You' : 'Agent');
    const item = element('li', `entry ${speaker}`, name, words, meta);
    this.#list.append(item);
    this.#reveal(item);
    return { item, words, meta };
  }

  /**
   * Follows the conversation, unless the reader has scrolled back.
   * @param {HTMLElement} item
   */
  #reveal(item) {
    if (item !== this.#list.lastElementChild) return;
    const below = this.#scroller.scrollHeight - this.#scroller.scrollTop - this.#scroller.clientHeight;
    if (below < 240) item.scrollIntoView({ block: 'nearest' });
  }
}
