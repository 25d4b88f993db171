/**
 * One WebRTC peer: messages on a data channel, the microphone out and the agent's voice in as tracks. Owns the peer
 * connection. Knows nothing of sessions or turns. Driven by `session-link.js`, which makes a new one for each attempt to
 * connect.
 *
 * @typedef {import('./types.js').Transport} Transport
 * @typedef {import('./types.js').ClientMessage} ClientMessage
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 */

import { toBase64 } from './base64.js';
import { RtcNegotiation } from './rtc-negotiation.js';
import { RtcPath } from './rtc-path.js';

const CHANNEL = 'convergio.v1';
/** From the first request to the open channel. */
const OPEN_LIMIT_MS = 4000;
const ABNORMAL_CLOSE = 1006;
/** What speech is behind a message sent with it: encoding and reordering take about 110 ms, an uneven network the rest. */
const AUDIO_LAG_MS = 200;
const FRAMES_A_MESSAGE = 25;

/** @implements {Transport} */
export class RtcTransport {
  kind = /** @type {const} */ ('webrtc');
  audioLagMs = AUDIO_LAG_MS;
  #connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  #transceiver = this.#connection.addTransceiver('audio', { direction: 'sendrecv' });
  #channel = this.#connection.createDataChannel(CHANNEL);
  #negotiation;
  /** @type {RtcPath | null} */
  #path = null;
  #over = false;
  voice = new MediaStream([this.#transceiver.receiver.track]);
  /** @type {(message: ServerMessage) => void} */
  onmessage = () => {};
  /** Never called: the voice is a track. @type {(samples: ArrayBuffer) => void} */
  onaudio = () => {};
  /** @type {(code: number, reason: string) => void} */
  onclose = () => {};
  /** @type {(stalled: boolean) => void} */
  onstall = () => {};

  /** @param {import('./rtc-signalling.js').RtcSignalling} signalling */
  constructor(signalling) {
    this.#negotiation = new RtcNegotiation(this.#connection, signalling);
    this.#channel.onmessage = ({ data }) => this.onmessage(JSON.parse(data));
  }

  /** @returns {Promise<void>} */
  async open() {
    let timer = 0;
    try {
      await new Promise((resolve, reject) => {
        const fail = () => reject(new Error('WebRTC did not connect in time.'));
        timer = setTimeout(fail, OPEN_LIMIT_MS);
        this.#channel.onopen = resolve;
        this.#channel.onclose = this.#connection.onconnectionstatechange = () => {
          if (this.#channel.readyState === 'closed' || this.#connection.connectionState === 'failed') fail();
        };
        this.#negotiation.begin().catch(reject);
      });
    } finally {
      clearTimeout(timer);
    }
    this.#watch();
  }

  /** @param {ClientMessage} message */
  send(message) {
    if (this.#channel.readyState !== 'open') return; // closing: `onclose` follows
    try {
      this.#channel.send(JSON.stringify({ ...message, timestamp_ms: Date.now() }));
    } catch {
      this.#lost('A message could not be sent.'); // it is too large: a socket would be closed for it as well
    }
  }

  /** The track carries it. */
  sendAudio() {}

  /**
   * What was said while there was no track to carry it goes as messages, half a second in each.
   * @param {ArrayBuffer[]} frames
   */
  sendKept(frames) {
    for (let at = 0; at < frames.length; at += FRAMES_A_MESSAGE) {
      this.send({ type: 'voice.chunk', bytes_base64: toBase64(frames.slice(at, at + FRAMES_A_MESSAGE)) });
    }
  }

  /** @param {MediaStreamTrack | null} track */
  carry(track) {
    this.#transceiver.sender.replaceTrack(track).catch(() => {}); // it fails only where the connection is over
  }

  close() {
    this.#negotiation.end();
    this.detach();
  }

  detach() {
    this.#over = true;
    this.#path?.stop();
    this.#negotiation.stop();
    this.#channel.onopen = this.#channel.onmessage = this.#channel.onclose = null;
    this.#connection.onconnectionstatechange = null;
    this.#connection.close();
  }

  #watch() {
    if (this.#over) return;
    this.#channel.onclose = () => this.#lost('The server closed the connection.');
    this.#connection.onconnectionstatechange = () => {
      const { connectionState, iceConnectionState } = this.#connection;
      // With ICE alive it is the encryption that failed, and no other path would help.
      if (connectionState === 'failed' && iceConnectionState !== 'failed') this.#lost('The connection failed.');
    };
    this.#path = new RtcPath(this.#connection, () => this.#negotiation.restart());
    this.#path.onstall = (stalled) => this.onstall(stalled);
    this.#path.onlost = (reason) => this.#lost(reason);
  }

  /** @param {string} reason */
  #lost(reason) {
    if (this.#over) return;
    this.detach();
    this.onclose(ABNORMAL_CLOSE, reason);
  }
}
