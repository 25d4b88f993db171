/**
 * A session's connection: begins it, and when the transport drops, takes it up again where it was, over the same kind or
 * the next best. Owns the session id, the last event seen, the waits between attempts, and what is kept back meanwhile.
 * Knows nothing of audio devices. Driven by `voice-client.js`.
 *
 * closed -> connecting -> open -> reconnecting -> open | failed. After as many failed attempts in a row as there are
 * waits, or at once when the server says that trying again is useless, the link is `failed`: text only.
 *
 * @typedef {import('./types.js').Transport} Transport
 * @typedef {import('./types.js').ClientMessage} ClientMessage
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 * @typedef {import('./types.js').LinkState} LinkState
 * @typedef {import('./types.js').TransportKind} TransportKind
 */

/** To connect, and again to answer the greeting. */
const ANSWER_LIMIT_MS = 5000;
const KEPT_MESSAGES = 32;
/** Five seconds of speech survive an outage (and WebRTC that does not connect); older frames make room. */
const KEPT_FRAMES = 250;
const NORMAL_CLOSE = 1000;

/** The server refused, and trying again may or may not help. */
class Refused extends Error {
  /** @param {{ code: string, message: string, retryable: boolean }} failure */
  constructor({ code, message, retryable }) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

export class SessionLink {
  #transports;
  #startMessage;
  #retryDelaysMs;
  /** @type {Transport | null} */
  #transport = null;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** The transport is being mended, and is still the one in use. */
  #stalled = false;
  /** @type {LinkState} */
  #state = 'closed';
  /** @type {string | null} */
  #sessionId = null;
  #lastEventId = 0;
  /** @type {ClientMessage[]} */
  #keptMessages = [];
  /** @type {ArrayBuffer[]} */
  #keptFrames = [];
  /** Settles the greeting of the attempt under way. @type {((refusal?: Error) => void) | null} */
  #greeted = null;
  #generation = 0;

  /** @type {(message: ServerMessage) => void} */
  onmessage = () => {};
  /** @type {(samples: ArrayBuffer) => void} */
  onaudio = () => {};
  /** The session is carried by this one from now on. @type {(transport: Transport) => void} */
  oncarrier = () => {};
  /** `reason` is a sentence for people, where there is one. @type {(state: LinkState, attempt: number, reason: string) => void} */
  onstate = () => {};
  /** Messages that will not be sent any more, because the link failed. @type {(messages: ClientMessage[]) => void} */
  onunsent = () => {};

  /**
   * @param {object} options
   * @param {import('./transport-choice.js').TransportChoice} options.transports
   * @param {() => ClientMessage} options.startMessage the `voice.start` that begins a session
   * @param {readonly number[]} options.retryDelaysMs
   */
  constructor({ transports, startMessage, retryDelaysMs }) {
    this.#transports = transports;
    this.#startMessage = startMessage;
    this.#retryDelaysMs = retryDelaysMs;
  }

  get state() {
    return this.#state;
  }

  /** What carries the session; `null` where nothing does. */
  get carrier() {
    return this.#state === 'open' ? this.#transport : null;
  }

  /** The microphone's track, for transports that carry one. @param {MediaStreamTrack | null} track */
  set track(track) {
    this.#track = track;
    this.carrier?.carry(track);
  }

  /**
   * Begins a session. Does nothing while one runs.
   * @returns {Promise<boolean>} whether the link is open
   */
  async open() {
    if (this.#state === 'open') return true;
    if (this.#state === 'connecting' || this.#state === 'reconnecting') return false;
    this.#setState('connecting', 1);
    return this.#tryUntilOpen(true);
  }

  /** Takes the session to the transport that is now the first choice. */
  move() {
    if (this.#state !== 'open') return;
    this.#transport?.detach();
    this.#setState('reconnecting', 1);
    void this.#tryUntilOpen(true);
  }

  /** Ends the session and forgets it. */
  close() {
    if (this.#state === 'open') this.#transport?.send({ type: 'voice.stop' });
    this.#end('closed');
  }

  /**
   * Sends a message, or keeps it until the link is open again.
   * @param {ClientMessage} message
   */
  send(message) {
    if (this.#state === 'open') this.#transport?.send(message);
    else if (this.#isComing() && this.#keptMessages.length < KEPT_MESSAGES) this.#keptMessages.push(message);
  }

  /** @param {ArrayBuffer} frame */
  sendAudio(frame) {
    if (this.#state === 'open') this.#transport?.sendAudio(frame);
    else if (this.#isComing()) {
      this.#keptFrames.push(frame);
      if (this.#keptFrames.length > KEPT_FRAMES) this.#keptFrames.shift();
    }
  }

  #isComing() {
    return this.#state === 'connecting' || this.#state === 'reconnecting';
  }

  /**
   * @param {LinkState} state
   * @param {number} attempt
   * @param {string} reason
   */
  #setState(state, attempt = 0, reason = '') {
    this.#state = state;
    this.onstate(state, attempt, reason);
  }

  /**
   * @param {'closed' | 'failed'} state
   * @param {string} reason
   */
  #end(state, reason = '') {
    this.#generation += 1;
    this.#stalled = false;
    this.#transport?.close();
    this.#transport = null;
    this.#greeted?.(new Error('The link was closed.'));
    this.#sessionId = null;
    this.#lastEventId = 0;
    this.#keptFrames = [];
    const unsent = this.#keptMessages.splice(0);
    this.#setState(state, 0, reason);
    if (state === 'failed' && unsent.length > 0) this.onunsent(unsent);
  }

  /** @param {boolean} atOnce whether the first attempt needs no wait */
  async #tryUntilOpen(atOnce) {
    const generation = ++this.#generation;
    const attempts = this.#retryDelaysMs.length;
    let reason = '';
    for (let attempt = 1; attempt <= attempts; attempt++) {
      if (attempt > 1) this.#setState(this.#state, attempt);
      if (attempt > 1 || !atOnce) await this.#wait(this.#retryDelaysMs[attempt - (atOnce ? 2 : 1)]);
      if (generation !== this.#generation) return false;
      try {
        await this.#attempt();
        return true;
      } catch (error) {
        if (generation !== this.#generation) return false;
        reason = error instanceof Error ? error.message : String(error);
        if (error instanceof Refused && !error.retryable && !this.#forgetLostSession(error)) break;
      }
    }
    this.#end('failed', reason);
    return false;
  }

  /**
   * A session that is gone is no reason to give up: the next attempt begins a new one.
   * @param {Refused} refused
   */
  #forgetLostSession({ code }) {
    const lost = this.#sessionId !== null && (code === 'session.not_found' || code === 'session.expired');
    if (lost) this.#sessionId = null;
    return lost;
  }

  /** @param {number} ms */
  #wait(ms) {
    const jitter = 0.8 + 0.4 * Math.random(); // a server that restarts is not met by everybody at once
    return new Promise((resolve) => setTimeout(resolve, ms * jitter));
  }

  async #attempt() {
    const generation = this.#generation;
    const kinds = this.#transports.order;
    for (const kind of kinds) {
      try {
        await this.#greet(kind);
        this.#transports.succeeded(kind);
        break;
      } catch (error) {
        if (generation !== this.#generation || error instanceof Refused || kind === kinds.at(-1)) throw error;
        this.#transports.failed(kind, error);
      }
    }
    this.#opened();
  }

  /** @param {TransportKind} kind */
  async #greet(kind) {
    this.#transport?.detach();
    const transport = this.#transports.make(kind);
    this.#transport = transport;
    transport.onmessage = (message) => this.#receive(message);
    transport.onaudio = (samples) => {
      this.#lastEventId += 1; // a binary frame counts as one event
      this.onaudio(samples);
    };
    transport.onclose = (code, reason) => this.#lost(code, reason);
    transport.onstall = (stalled) => this.#stall(stalled);
    let timer = 0;
    try {
      await new Promise((resolve, reject) => {
        const limit = () => {
          clearTimeout(timer);
          timer = setTimeout(() => reject(new Error('The server did not answer in time.')), ANSWER_LIMIT_MS);
        };
        this.#greeted = (refusal) => (refusal === undefined ? resolve(undefined) : reject(refusal));
        limit();
        transport.open().then(() => {
          limit();
          transport.send(this.#greeting());
        }, reject);
      });
    } catch (error) {
      // A session that was begun before may have been taken up by this transport already: it must survive.
      if (this.#sessionId !== null && !(error instanceof Refused)) transport.detach();
      else transport.close();
      throw error;
    } finally {
      clearTimeout(timer);
      this.#greeted = null;
    }
  }

  #opened() {
    this.#stalled = false;
    this.#setState('open');
    this.#transport?.sendKept(this.#keptFrames.splice(0));
    this.#transport?.carry(this.#track); // not before: what was said first is heard first
    for (const message of this.#keptMessages.splice(0)) this.#transport?.send(message);
  }

  /** @returns {ClientMessage} */
  #greeting() {
    if (this.#sessionId === null) return this.#startMessage();
    return { type: 'session.resume', session_id: this.#sessionId, last_event_id: this.#lastEventId };
  }

  /** @param {ServerMessage} message */
  #receive(message) {
    if (message.type === 'session.started') this.#sessionId = message.session_id;
    const greets = message.type === 'session.started' || message.type === 'session.resumed';
    // Seen before the drop already. (A greeting says from which event on the server counts.)
    if (!greets && this.#greeted === null && message.event_id <= this.#lastEventId) return;
    if (greets || this.#greeted === null) this.#lastEventId = message.event_id;
    if (this.#greeted !== null && message.type === 'error') {
      this.#greeted(new Refused(message));
      return; // the reason is told with the state `failed`, unless the next attempt mends it
    }
    if (greets) {
      this.#greeted?.();
      if (this.#transport !== null) this.oncarrier(this.#transport);
    }
    this.onmessage(message);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    if (this.#greeted !== null) {
      this.#greeted(new Error(reason || `The connection was closed (${code}).`));
    } else if (this.#state === 'open' && code === NORMAL_CLOSE) {
      this.#end('closed', reason);
    } else if (this.#state === 'open' || this.#stalled) {
      const waited = this.#stalled;
      this.#stalled = false;
      this.#setState('reconnecting', 1);
      void this.#tryUntilOpen(waited);
    }
  }

  /** @param {boolean} stalled */
  #stall(stalled) {
    if (stalled && this.#state === 'open') {
      this.#stalled = true;
      this.#setState('reconnecting', 1);
    } else if (!stalled && this.#stalled) {
      this.#opened();
    }
  }
}
