/**
 * One WebSocket: JSON messages as text, audio as bare binary frames. Knows framing, nothing of sessions or turns.
 * Driven by `session-link.js`, which makes a new one for each attempt to connect.
 *
 * @typedef {import('./types.js').Transport} Transport
 * @typedef {import('./types.js').ClientMessage} ClientMessage
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 */

/** Two seconds of 16 kHz audio: older than that, it would only make the agent late. */
const AUDIO_BACKLOG_BYTES = 64_000;
/** Ends the session. */
const NORMAL_CLOSE = 1000;
/** One of an application's own codes: any but 1000 leaves the session to be resumed. */
const DETACHED = 3000;

/** @implements {Transport} */
export class SocketTransport {
  kind = /** @type {const} */ ('websocket');
  /** Messages and audio come in the order they were sent. */
  audioLagMs = 0;
  /** The voice comes as frames. */
  voice = null;
  #url;
  #apiKey;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {(message: ServerMessage) => void} */
  onmessage = () => {};
  /** @type {(samples: ArrayBuffer) => void} */
  onaudio = () => {};
  /** @type {(code: number, reason: string) => void} */
  onclose = () => {};
  /** Never called: a socket is open or closed. @type {(stalled: boolean) => void} */
  onstall = () => {};
  /** Frames given up because the network did not take them. */
  droppedFrames = 0;

  /**
   * @param {string | URL} url a `ws:` or `wss:` URL
   * @param {string} [apiKey] offered as a subprotocol, since browsers set no headers on a socket
   */
  constructor(url, apiKey = '') {
    this.#url = url;
    this.#apiKey = apiKey;
  }

  /** @returns {Promise<void>} */
  open() {
    const protocols = this.#apiKey === '' ? [] : ['convergio.v1', `convergio.key.${this.#apiKey}`];
    const socket = new WebSocket(this.#url, protocols);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    return new Promise((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onmessage = ({ data }) => this.#receive(data);
      socket.onclose = ({ code, reason }) => {
        reject(new Error(reason || `The connection was closed (${code}).`));
        this.onclose(code, reason);
      };
    });
  }

  /** @param {ClientMessage} message */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return; // closing: `onclose` follows
    this.#socket.send(JSON.stringify({ ...message, timestamp_ms: Date.now() }));
  }

  /** @param {ArrayBuffer} frame */
  sendAudio(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > AUDIO_BACKLOG_BYTES) this.droppedFrames += 1;
    else this.#socket.send(frame);
  }

  /** @param {ArrayBuffer[]} frames */
  sendKept(frames) {
    for (const frame of frames) this.sendAudio(frame);
  }

  /** Audio is sent in frames. */
  carry() {}

  close() {
    this.#leave(NORMAL_CLOSE);
  }

  detach() {
    this.#leave(DETACHED);
  }

  /** @param {number} code */
  #leave(code) {
    if (this.#socket === null) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close(code);
    this.#socket = null;
  }

  /** @param {string | ArrayBuffer} data */
  #receive(data) {
    if (typeof data !== 'string') this.onaudio(data);
    else this.onmessage(JSON.parse(data));
  }
}
