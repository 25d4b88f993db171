/**
 * A voice conversation for any page: connects by WebRTC or WebSocket, sends the microphone, plays the agent, keeps the
 * session through drops, and falls back to text. Owns the link, the devices and the agent's voice, and binds them
 * together; knows nothing of the page. Whoever embeds it calls the methods and listens to the events of
 * `VoiceClientEvents` (types.d.ts).
 *
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 * @typedef {import('./types.js').LinkState} LinkState
 * @typedef {import('./types.js').Transport} Transport
 * @typedef {import('./types.js').SessionUpdate} SessionUpdate
 * @typedef {import('./types.js').VoiceClientEvents} VoiceClientEvents
 */

import { AgentVoice } from './agent-voice.js';
import { Conversation } from './conversation.js';
import { Devices } from './devices.js';
import { Microphone } from './microphone.js';
import { SessionLink } from './session-link.js';
import { SessionSettings } from './session-settings.js';
import { WrittenChat } from './text-chat.js';
import { transportsFor } from './transports.js';

/** The last syllable is still on its way through the machine when the button is let go. */
const RELEASE_TAIL_MS = 80;
const RETRY_DELAYS_MS = [300, 1000, 2500];

export class VoiceClient extends EventTarget {
  #settings;
  #devices;
  #transports;
  #link;
  #writing;
  #conversation = new Conversation();
  #microphone = new Microphone();
  #voice = new AgentVoice();
  /** What carries the session. @type {Transport | null} */
  #carrier = null;
  #releaseTimer = 0;
  /** Another transport is wanted as soon as nobody speaks. */
  #moves = false;

  /** @param {import('./types.js').VoiceClientOptions} options */
  constructor(options = {}) {
    super();
    const { apiKey = '', settings = {}, retryDelaysMs = RETRY_DELAYS_MS } = options;
    this.#writing = new WrittenChat(new URL(options.chatUrl ?? '/v1/chat/stream', location.href), settings.agent_id);
    this.#writing.apiKey = apiKey;
    this.#settings = new SessionSettings(settings);
    this.#devices = new Devices(this.#microphone, this.#voice, options);
    this.#transports = transportsFor(options, () => this.#writing.apiKey);
    this.#link = new SessionLink({
      transports: this.#transports,
      startMessage: () => this.#settings.start(),
      retryDelaysMs,
    });
    this.#bind();
    this.#microphone.transmitting = !this.#settings.pushToTalk;
    this.#conversation.update({ pushToTalk: this.#settings.pushToTalk });
  }

  /** What is going on, in one word. */
  get activity() {
    return this.#conversation.activity;
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
    return this.#voice.level;
  }

  /** What carries the session, or carried it last; `null` before there was one. */
  get transport() {
    return this.#carrier?.kind ?? null;
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
    if (!this.linked) void this.#sounding(this.#voice.open(this.#transports.order));
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
    this.#conversation.update({ microphone: false, userSpeaking: false });
  }

  /**
   * Push-to-talk: the button went down, or up. Down stops the agent; up ends the user's turn.
   * @param {boolean} held
   */
  pushToTalk(held) {
    if (held === this.#microphone.transmitting || !this.#settings.pushToTalk) return;
    clearTimeout(this.#releaseTimer);
    if (held) {
      this.#microphone.transmitting = true;
      if (this.#conversation.agentIsBusy) this.cancel();
      this.#conversation.update({ userSpeaking: true });
    } else {
      this.#releaseTimer = setTimeout(() => this.#release(), RELEASE_TAIL_MS);
    }
  }

  /** Ends the user's turn now, where the agent would have waited longer. */
  endTurn() {
    this.#link.send({ type: 'voice.commit' });
    this.#conversation.userEndedTurn();
  }

  /** @param {boolean} muted */
  mute(muted) {
    this.#microphone.muted = muted;
    this.#conversation.update({ muted });
  }

  /**
   * Says something in writing: over the session, or over plain HTTP where only text is left.
   * @param {string} prompt
   * @returns {string} the turn's id
   */
  sendText(prompt) {
    const requestId = newId();
    if (this.#link.state === 'closed') void this.connect();
    this.#voice.silence(this.#conversation.turnId);
    if (this.#link.state === 'failed') void this.#askInWriting(prompt, requestId);
    else this.#link.send({ type: 'chat.start', request_id: requestId, prompt });
    this.#conversation.update({ answering: true });
    return requestId;
  }

  /** Stops the agent: silence at once, and the server is told. */
  cancel() {
    const { turnId, agentIsBusy } = this.#conversation;
    this.#writing.stop();
    this.#conversation.update({ answering: false, held: false });
    this.#voice.silence(turnId);
    if (agentIsBusy) this.#link.send({ type: 'voice.cancel', ...(turnId && { request_id: turnId }) });
  }

  /**
   * Changes the session now, and every later one.
   * @param {SessionUpdate} changes
   */
  update(changes) {
    this.#settings.merge(changes);
    if (this.#link.state !== 'closed') this.#link.send({ type: 'voice.update', ...changes });
    this.#microphone.transmitting = !this.#settings.pushToTalk;
    this.#conversation.update({ pushToTalk: this.#settings.pushToTalk, userSpeaking: false });
  }

  /** Ends the conversation and lets microphone and loudspeaker go. */
  close() {
    this.#writing.stop();
    this.#link.close();
    this.#voice.close();
  }

  // ------------------------------------------------------------------------------------------ transports and devices

  /**
   * Which transport to use. A session that runs moves over as soon as nobody speaks.
   * @param {import('./types.js').TransportPreference} transport
   */
  prefer(transport) {
    if (transport === this.#transports.preference) return;
    this.#transports.preference = transport;
    this.#moves = true;
    this.#moveIfQuiet();
  }

  /** The microphones and loudspeakers there are; `devices` tells when that changes. */
  devices() {
    return this.#devices.list();
  }

  /**
   * The microphone to use from now on, without ending anything.
   * @param {string} deviceId empty for the browser's own choice
   * @returns {Promise<boolean>} false where it could not be opened: the one before stays
   */
  useMicrophone(deviceId) {
    return this.#devices.useMicrophone(deviceId);
  }

  /**
   * The loudspeaker to use from now on.
   * @param {string} deviceId empty for the browser's own choice
   * @returns {Promise<boolean>} false where the browser does not let the page use it
   */
  useSpeaker(deviceId) {
    return this.#devices.useSpeaker(deviceId);
  }

  #moveIfQuiet() {
    if (!this.#moves || !this.#conversation.isQuiet || this.#link.state !== 'open') return;
    this.#moves = false;
    if (this.transport !== this.#transports.order[0]) this.#link.move();
  }

  // ------------------------------------------------------------------------------------------------------- outwards

  #bind() {
    this.#link.onmessage = (message) => this.#receive(message);
    this.#link.onaudio = (samples) => this.#voice.takeAudio(samples);
    this.#link.onstate = (state, attempt, reason) => this.#linkChanged(state, attempt, reason);
    this.#link.onunsent = (messages) => {
      for (const message of messages) {
        if (message.type === 'chat.start') void this.#askInWriting(message.prompt, message.request_id);
      }
    };
    this.#link.oncarrier = (transport) => this.#carriedBy(transport);
    this.#microphone.ontrack = (track) => {
      this.#link.track = track;
      this.#emit('microphone', { open: track !== null, label: this.#microphone.label });
    };
    this.#microphone.onframe = (frame, level) => this.#hear(frame, level);
    this.#devices.onchange = (list) => this.#emit('devices', list);
    this.#devices.onlost = (reason) => this.#withoutMicrophone(reason);
    this.#voice.onplayback = (playback) => {
      this.#conversation.heard(playback);
      this.#emit('playback', playback);
    };
    this.#voice.onplayed = (turnId, heardMs) => {
      if (this.#link.state !== 'open') return; // it would be old news by the time the link is back
      this.#link.send({ type: 'voice.played', request_id: turnId, audio_ms: heardMs });
    };
    this.#conversation.onactivity = (activity) => {
      this.#emit('activity', { activity });
      this.#moveIfQuiet();
    };
  }

  /**
   * @param {ArrayBuffer} frame
   * @param {number} level
   */
  #hear(frame, level) {
    this.#emit('level', { level });
    if (this.#microphone.transmitting) this.#link.sendAudio(frame);
  }

  #release() {
    this.#microphone.transmitting = false;
    const audioLagMs = this.#link.carrier?.audioLagMs ?? 0;
    if (audioLagMs === 0) this.endTurn();
    else this.#releaseTimer = setTimeout(() => this.endTurn(), audioLagMs);
  }

  async #openMicrophone() {
    if (this.talking) return true;
    if (!(await this.#devices.openMicrophone())) return false;
    this.#microphone.transmitting = !this.#settings.pushToTalk;
    this.#conversation.update({ microphone: true });
    return true;
  }

  /** @param {string} reason */
  #withoutMicrophone(reason) {
    this.#conversation.update({ microphone: false, userSpeaking: false });
    this.#emit('degraded', { type: 'degraded', from: 'microphone', to: 'typing', reason });
  }

  /** @param {Promise<void>} opening */
  async #sounding(opening) {
    try {
      await opening;
      await this.#devices.refreshSpeaker();
    } catch {
      const reason = 'This browser gives the page no sound.';
      this.#emit('degraded', { type: 'degraded', from: 'loudspeaker', to: 'captions', reason });
    }
  }

  /**
   * @param {string} prompt
   * @param {string} requestId
   */
  async #askInWriting(prompt, requestId) {
    this.#conversation.ask(requestId, prompt);
    try {
      const answered = await this.#writing.ask(prompt, requestId, (message) => this.#receive(message));
      if (!answered) return;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#emit('error', { type: 'error', code: 'internal', message, retryable: true, request_id: requestId });
    }
    this.#conversation.update({ answering: false });
  }

  // -------------------------------------------------------------------------------------------------------- inwards

  /** @param {ServerMessage} message */
  #receive(message) {
    if (this.#isOwnSilence(message)) return;
    this.#conversation.take(message);
    this.#voice.take(message);
    if (message.type === 'session.started' && message.output) {
      void this.#sounding(this.#voice.comesAt(message.output.sample_rate));
    } else if (message.type === 'chat.complete') {
      this.#writing.remember('user', this.#conversation.question);
      this.#writing.remember('assistant', message.text);
    }
    this.#emit(message.type, message);
  }

  /**
   * A track goes on while nothing is to be heard on it, and the server cannot know that this is meant.
   * @param {ServerMessage} message
   */
  #isOwnSilence(message) {
    if (message.type !== 'audio.quality' || !['silence', 'too_quiet'].includes(message.issue)) return false;
    return !this.talking || this.muted || (this.#settings.pushToTalk && message.issue === 'silence');
  }

  /** @param {Transport} transport */
  #carriedBy(transport) {
    this.#carrier = transport;
    void this.#sounding(this.#voice.comesBy(transport.voice));
    this.#emit('transport', { transport: transport.kind, reason: this.#transports.reasonFor(transport.kind) });
  }

  /**
   * @param {LinkState} state
   * @param {number} attempt
   * @param {string} reason
   */
  #linkChanged(state, attempt, reason) {
    this.#conversation.update({ link: state });
    this.#emit('link', { state, attempt });
    if (state !== 'closed' && state !== 'failed') return;
    clearTimeout(this.#releaseTimer);
    this.#moves = false;
    this.#microphone.close();
    this.#voice.silence(this.#conversation.turnId);
    this.#conversation.end(state);
    if (state === 'failed') this.#emit('degraded', { type: 'degraded', from: 'voice', to: 'text', reason });
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
