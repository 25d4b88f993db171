/**
 * A voice conversation for any page: connects, sends the microphone, plays the agent, keeps the session through drops,
 * and falls back to text. Owns the link, the microphone and the loudspeaker; knows nothing of the page. Whoever embeds
 * it calls the methods and listens to the events of `VoiceClientEvents` (types.d.ts).
 *
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 * @typedef {import('./types.js').ClientMessage} ClientMessage
 * @typedef {import('./types.js').LinkState} LinkState
 * @typedef {import('./types.js').SessionUpdate} SessionUpdate
 * @typedef {import('./types.js').VoiceClientEvents} VoiceClientEvents
 */

import { activityOf, AT_REST } from './activity.js';
import { CAPTURE_HZ, Microphone } from './microphone.js';
import { ReplyPlayer } from './reply-player.js';
import { SessionLink } from './session-link.js';
import { SocketTransport } from './socket-transport.js';
import { WrittenChat } from './text-chat.js';

const PLAYBACK_HZ = 24_000;
/** Speech that stopped and became no turn within this time was none. */
const SETTLING_MS = 2000;
/** The last syllable is still on its way through the machine when the button is let go. */
const RELEASE_TAIL_MS = 80;
const RETRY_DELAYS_MS = [300, 1000, 2500];

export class VoiceClient extends EventTarget {
  #settings;
  #deviceId;
  #link;
  #microphone = new Microphone();
  #player = new ReplyPlayer();
  #facts = { ...AT_REST };
  #activity = activityOf(AT_REST);
  #turnId = '';
  #question = '';
  #settleTimer = 0;
  /** The user's turn was ended by hand; whether it held any words is not known yet. */
  #awaitsTurn = false;
  #releaseTimer = 0;
  #transmitting;
  #writing;

  /** @param {import('./types.js').VoiceClientOptions} options */
  constructor({ url, chatUrl, apiKey = '', settings = {}, deviceId, retryDelaysMs = RETRY_DELAYS_MS } = {}) {
    super();
    const socketUrl = new URL(url ?? '/v1/voice/ws', location.href);
    socketUrl.protocol = socketUrl.protocol.replace('http', 'ws');
    this.#writing = new WrittenChat(new URL(chatUrl ?? '/v1/chat/stream', location.href), settings.agent_id);
    this.#writing.apiKey = apiKey;
    this.#settings = settings;
    this.#transmitting = !this.#isPushToTalk();
    this.#deviceId = deviceId;
    this.#link = new SessionLink({
      makeTransport: () => new SocketTransport(socketUrl, this.#writing.apiKey),
      startMessage: () => this.#startMessage(),
      retryDelaysMs,
    });
    this.#link.onmessage = (message) => this.#receive(message);
    this.#link.onaudio = (samples) => this.#player.takeAudio(samples);
    this.#link.onstate = (state, attempt, reason) => this.#linkChanged(state, attempt, reason);
    this.#link.onunsent = (messages) => messages.forEach((message) => this.#sendUnsent(message));
    this.#microphone.onframe = (frame, level) => this.#hear(frame, level);
    this.#microphone.onended = () => this.#withoutMicrophone('The microphone was disconnected.');
    this.#player.onplayback = (playback) => {
      // One change, not two: "thinking" must not flash up between an answer's end and listening again.
      this.#update({ agentSpeaking: playback.state === 'playing', ...(playback.state === 'drained' && { answering: false }) });
      this.#emit('playback', playback);
    };
    this.#player.onplayed = (turnId, heardMs) => {
      if (this.#link.state !== 'open') return; // it would be old news by the time the link is back
      this.#link.send({ type: 'voice.played', request_id: turnId, audio_ms: heardMs });
    };
    this.#update({ pushToTalk: this.#isPushToTalk() });
  }

  /** What is going on, in one word. */
  get activity() {
    return this.#activity;
  }

  /** Whether the microphone is part of the conversation. */
  get talking() {
    return this.#microphone.isOpen;
  }

  /** Whether there is a session, or will be again in a moment. */
  get linked() {
    return this.#link.state === 'open' || this.#link.state === 'reconnecting';
  }

  /** Whether text is all that is left. */
  get textOnly() {
    return this.#link.state === 'failed';
  }

  get muted() {
    return this.#microphone.muted;
  }

  /** The key to the server, from the next connection on; empty for none. @param {string} apiKey */
  set apiKey(apiKey) {
    this.#writing.apiKey = apiKey;
  }

  /** How loud the agent is right now, 0 to 1 on a decibel scale. */
  get outputLevel() {
    return this.#player.level;
  }

  /**
   * `addEventListener` with types: the listener gets the event's detail.
   * @template {keyof VoiceClientEvents} K
   * @param {K} type
   * @param {(detail: VoiceClientEvents[K]) => void} listener
   */
  on(type, listener) {
    this.addEventListener(type, (event) => listener(/** @type {CustomEvent} */ (event).detail));
    return this;
  }

  /**
   * Begins the session, without a microphone. Call it from a click or a key, or the browser may keep the sound off.
   * @returns {Promise<boolean>} false when only text is left
   */
  async connect() {
    void this.#openSpeaker(PLAYBACK_HZ);
    return this.#link.open();
  }

  /**
   * Opens the microphone, and the session where none runs yet.
   * @returns {Promise<boolean>} whether the agent can hear the user
   */
  async startTalking() {
    const [linked, heard] = await Promise.all([this.connect(), this.#openMicrophone()]);
    if (!linked && this.#link.state === 'failed') this.stopTalking();
    return linked && heard;
  }

  /** Closes the microphone; the session goes on in writing. */
  stopTalking() {
    this.#microphone.close();
    this.#update({ microphone: false, userSpeaking: false });
  }

  /**
   * Push-to-talk: the button went down, or up. Down stops the agent; up ends the user's turn.
   * @param {boolean} held
   */
  pushToTalk(held) {
    if (held === this.#transmitting || !this.#isPushToTalk()) return;
    clearTimeout(this.#releaseTimer);
    if (held) {
      this.#transmitting = true;
      if (this.#facts.agentSpeaking || this.#facts.answering) this.cancel();
      this.#update({ userSpeaking: true });
    } else {
      this.#releaseTimer = setTimeout(() => this.#release(), RELEASE_TAIL_MS);
    }
  }

  /** Ends the user's turn now, where the agent would have waited longer. */
  endTurn() {
    this.#link.send({ type: 'voice.commit' });
    this.#awaitsTurn = true;
    this.#update({ userSpeaking: false, answering: true });
    this.#settle();
  }

  /** @param {boolean} muted */
  mute(muted) {
    this.#microphone.muted = muted;
    this.#update({ muted });
  }

  /**
   * Says something in writing: over the session, or over plain HTTP where only text is left.
   * @param {string} prompt
   * @returns {string} the turn's id
   */
  sendText(prompt) {
    const requestId = newId();
    if (this.#link.state === 'closed') void this.connect();
    this.#player.silence(this.#turnId);
    if (this.#link.state === 'failed') void this.#askInWriting(prompt, requestId);
    else this.#link.send({ type: 'chat.start', request_id: requestId, prompt });
    this.#update({ answering: true });
    return requestId;
  }

  /** Stops the agent: silence at once, and the server is told. */
  cancel() {
    this.#writing.stop();
    this.#player.silence(this.#turnId);
    if (this.#facts.answering || this.#facts.agentSpeaking) {
      this.#link.send({ type: 'voice.cancel', ...(this.#turnId && { request_id: this.#turnId }) });
    }
    this.#update({ answering: false, held: false });
  }

  /**
   * Changes the session now, and every later one.
   * @param {SessionUpdate} changes
   */
  update(changes) {
    const { turn_detection, output, accessibility } = this.#settings;
    this.#settings = {
      ...this.#settings,
      turn_detection: { ...turn_detection, ...changes.turn_detection },
      output: { ...output, ...changes.output },
      accessibility: { ...accessibility, ...changes.accessibility },
    };
    if (this.#link.state !== 'closed') this.#link.send({ type: 'voice.update', ...changes });
    this.#transmitting = !this.#isPushToTalk();
    this.#update({ pushToTalk: this.#isPushToTalk(), userSpeaking: false });
  }

  /** Ends the conversation and lets microphone and loudspeaker go. */
  close() {
    this.#writing.stop();
    this.#link.close();
    this.#player.close();
  }

  // ------------------------------------------------------------------------------------------------------- outwards

  /** @returns {ClientMessage} */
  #startMessage() {
    return {
      type: 'voice.start',
      ...this.#settings,
      output: { ...this.#settings.output, ...{ codec: 'pcm16', sample_rate: PLAYBACK_HZ } },
      codec: 'pcm16',
      sample_rate: CAPTURE_HZ,
      binary: true,
    };
  }

  #isPushToTalk() {
    return this.#settings.turn_detection?.type === 'push_to_talk';
  }

  /**
   * @param {ArrayBuffer} frame
   * @param {number} level
   */
  #hear(frame, level) {
    this.#emit('level', { level });
    if (this.#transmitting) this.#link.sendAudio(frame);
  }

  #release() {
    this.#transmitting = false;
    this.endTurn();
  }

  async #openMicrophone() {
    try {
      await this.#microphone.open(this.#deviceId);
    } catch (error) {
      this.#withoutMicrophone(microphoneReason(error));
      return false;
    }
    this.#transmitting = !this.#isPushToTalk();
    this.#update({ microphone: true });
    return true;
  }

  /** @param {string} reason */
  #withoutMicrophone(reason) {
    this.#update({ microphone: false, userSpeaking: false });
    this.#emit('degraded', { type: 'degraded', from: 'microphone', to: 'typing', reason });
  }

  /** @param {number} rateHz */
  async #openSpeaker(rateHz) {
    try {
      await this.#player.open(rateHz);
    } catch {
      const reason = 'This browser gives the page no sound.';
      this.#emit('degraded', { type: 'degraded', from: 'loudspeaker', to: 'captions', reason });
    }
  }

  /** @param {ClientMessage} message */
  #sendUnsent(message) {
    if (message.type === 'chat.start') void this.#askInWriting(message.prompt, message.request_id);
  }

  /**
   * @param {string} prompt
   * @param {string} requestId
   */
  async #askInWriting(prompt, requestId) {
    this.#turnId = requestId;
    this.#question = prompt;
    this.#update({ answering: true });
    try {
      const answered = await this.#writing.ask(prompt, requestId, (message) => this.#receive(message));
      if (!answered) return;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#emit('error', { type: 'error', code: 'internal', message, retryable: true, request_id: requestId });
    }
    this.#update({ answering: false });
  }

  // -------------------------------------------------------------------------------------------------------- inwards

  /** @param {ServerMessage} message */
  #receive(message) {
    this.#player.take(message);
    switch (message.type) {
      case 'session.started':
        if (message.output) void this.#openSpeaker(message.output.sample_rate);
        break;
      case 'vad.speech_started':
        clearTimeout(this.#settleTimer);
        this.#update({ userSpeaking: true });
        break;
      case 'vad.speech_stopped':
        this.#settle();
        break;
      case 'turn.started':
        clearTimeout(this.#settleTimer);
        this.#awaitsTurn = false;
        this.#turnId = message.request_id;
        this.#question = message.text;
        this.#update({ userSpeaking: false, held: false, answering: true });
        break;
      case 'voice.interrupted':
        this.#update({ held: message.resumable });
        break;
      case 'voice.resumed':
        this.#update({ held: false, userSpeaking: false });
        break;
      case 'chat.complete':
        this.#writing.remember('user', this.#question);
        this.#writing.remember('assistant', message.text);
        this.#update({ answering: false, held: false });
        break;
      case 'error':
        this.#update({ answering: false, held: false });
        break;
    }
    this.#emit(message.type, message);
  }

  /**
   * @param {LinkState} state
   * @param {number} attempt
   * @param {string} reason
   */
  #linkChanged(state, attempt, reason) {
    this.#update({ link: state });
    this.#emit('link', { state, attempt });
    if (state !== 'closed' && state !== 'failed') return;
    clearTimeout(this.#settleTimer);
    clearTimeout(this.#releaseTimer);
    this.#microphone.close();
    this.#player.silence(this.#turnId);
    this.#update({ ...AT_REST, link: state, muted: this.#facts.muted, pushToTalk: this.#isPushToTalk() });
    if (state === 'failed') this.#emit('degraded', { type: 'degraded', from: 'voice', to: 'text', reason });
  }

  /** Speech that stopped, or a turn ended by hand, is forgotten if no turn starts. */
  #settle() {
    clearTimeout(this.#settleTimer);
    this.#settleTimer = setTimeout(
      () => this.#update({ userSpeaking: false, ...(this.#awaitsTurn && { answering: false }) }),
      SETTLING_MS,
    );
  }

  /** @param {Partial<import('./activity.js').Facts>} changes */
  #update(changes) {
    Object.assign(this.#facts, changes);
    const activity = activityOf(this.#facts);
    if (activity === this.#activity) return;
    this.#activity = activity;
    this.#emit('activity', { activity });
  }

  /**
   * @template {keyof VoiceClientEvents} K
   * @param {K} type
   * @param {VoiceClientEvents[K]} detail
   */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {unknown} error */
function microphoneReason(error) {
  const name = error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError') return 'The browser was not allowed to use the microphone. Allow it in the address bar.';
  if (name === 'NotFoundError') return 'No microphone was found.';
  if (name === 'NotReadableError') return 'The microphone is in use by another program.';
  return error instanceof Error ? error.message : 'The microphone could not be opened.';
}
