/**
 * Where the conversation stands: the turn, who speaks, and in one word what is going on. Owns the facts, learned from
 * what the server says, what is heard and what the user does; sends nothing. Driven by `voice-client.js`.
 *
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 * @typedef {import('./types.js').Playback} Playback
 * @typedef {import('./types.js').Activity} Activity
 * @typedef {import('./activity.js').Facts} Facts
 */

import { activityOf, AT_REST } from './activity.js';

/** Speech that stopped and became no turn within this time was none. */
const SETTLING_MS = 2000;

export class Conversation {
  #facts = { ...AT_REST };
  #activity = activityOf(AT_REST);
  #turnId = '';
  #question = '';
  #settleTimer = 0;
  /** The user's turn was ended by hand; whether it held any words is not known yet. */
  #awaitsTurn = false;

  /** @type {(activity: Activity) => void} */
  onactivity = () => {};

  get activity() {
    return this.#activity;
  }

  /** The turn that was answered last, or is being answered. */
  get turnId() {
    return this.#turnId;
  }

  /** What the user said or wrote to begin that turn. */
  get question() {
    return this.#question;
  }

  /** Whether the agent thinks or speaks. */
  get agentIsBusy() {
    return this.#facts.answering || this.#facts.agentSpeaking || this.#facts.held;
  }

  /** Whether nobody speaks, and nobody is about to. */
  get isQuiet() {
    return !this.agentIsBusy && !this.#facts.userSpeaking;
  }

  /** @param {Partial<Facts>} changes */
  update(changes) {
    Object.assign(this.#facts, changes);
    const activity = activityOf(this.#facts);
    if (activity === this.#activity) return;
    this.#activity = activity;
    this.onactivity(activity);
  }

  /**
   * A turn began that the server has not announced: the user asked in writing.
   * @param {string} turnId
   * @param {string} question
   */
  ask(turnId, question) {
    this.#turnId = turnId;
    this.#question = question;
    this.update({ answering: true });
  }

  /** The user has said that the turn is over. */
  userEndedTurn() {
    this.#awaitsTurn = true;
    this.update({ userSpeaking: false, answering: true });
    this.#settle();
  }

  /** @param {Playback} playback */
  heard({ requestId, state }) {
    const over = state === 'drained' && requestId === this.#turnId;
    // One change, not two: "thinking" must not flash up between an answer's end and listening again.
    this.update({ agentSpeaking: state === 'playing', ...(over && { answering: false }) });
  }

  /** @param {ServerMessage} message */
  take(message) {
    switch (message.type) {
      case 'vad.speech_started':
        clearTimeout(this.#settleTimer);
        this.update({ userSpeaking: true });
        break;
      case 'vad.speech_stopped':
        this.#settle();
        break;
      case 'turn.started':
        clearTimeout(this.#settleTimer);
        this.#awaitsTurn = false;
        this.#turnId = message.request_id;
        this.#question = message.text;
        this.update({ userSpeaking: false, held: false, answering: true });
        break;
      case 'voice.interrupted':
        this.update({ held: message.resumable });
        break;
      case 'voice.resumed':
        this.update({ held: false, userSpeaking: false });
        break;
      case 'chat.complete':
      case 'error':
        this.update({ answering: false, held: false });
        break;
    }
  }

  /**
   * The session is over.
   * @param {'closed' | 'failed'} link
   */
  end(link) {
    clearTimeout(this.#settleTimer);
    this.update({ ...AT_REST, link, muted: this.#facts.muted, pushToTalk: this.#facts.pushToTalk });
  }

  /** Speech that stopped, or a turn ended by hand, is forgotten if no turn starts. */
  #settle() {
    clearTimeout(this.#settleTimer);
    this.#settleTimer = setTimeout(
      () => this.update({ userSpeaking: false, ...(this.#awaitsTurn && { answering: false }) }),
      SETTLING_MS,
    );
  }
}
