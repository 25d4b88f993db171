/**
 * One WebRTC peer: messages on a data channel, the microphone out and the agent's voice in as tracks. Owns the peer
 * connection, offers it to the server and mends its path when the network changes. Knows nothing of sessions or turns.
 * Driven by `session-link.js`, which makes a new one for each attempt to connect.
 *
 * @typedef {import('./types.js').Transport} Transport
 * @typedef {import('./types.js').ClientMessage} ClientMessage
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 * @typedef {import('./rtc-signalling.js').RtcSignalling} RtcSignalling
 */

import { toBase64 } from './base64.js';
import { sdpFragment } from './sdp-fragment.js';

const CHANNEL = 'convergio.v1';
/** From the first request to the open channel. */
const OPEN_LIMIT_MS = 4000;
/** Candidates found within this time travel in the offer itself; the others follow it. */
const GATHER_LIMIT_MS = 60;
/** A path that was lost for less is none of our business. */
const DISCONNECTED_LIMIT_MS = 300;
const RESTART_LIMIT_MS = 4000;
const ABNORMAL_CLOSE = 1006;
/** The server's jitter buffer, and the encoder's: about what speech is behind a message sent with it. */
const AUDIO_LAG_MS = 250;
const FRAMES_A_MESSAGE = 25;

/** Not in every browser, and not in every library of types. */
const network = /** @type {{ connection?: EventTarget & { type?: string } }} */ (globalThis.navigator).connection;

/** `wifi`, `cellular`, …, where the browser says so. */
function networkType() {
  return network?.type ?? '';
}

/** @implements {Transport} */
export class RtcTransport {
  kind = /** @type {const} */ ('webrtc');
  audioLagMs = AUDIO_LAG_MS;
  #signalling;
  /** @type {RTCPeerConnection | null} */
  #connection = null;
  /** @type {RTCRtpSender | null} */
  #sender = null;
  /** @type {RTCDataChannel | null} */
  #channel = null;
  /** What the server keeps of this peer. @type {Awaited<ReturnType<RtcSignalling['offer']>>['peer'] | null} */
  #peer = null;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {RTCIceCandidate[]} */
  #candidates = [];
  #trickling = false;
  #open = false;
  #mending = false;
  #network = networkType();
  #timer = 0;
  #over = new AbortController();
  /** @type {MediaStream | null} */
  voice = null;
  /** @type {(message: ServerMessage) => void} */
  onmessage = () => {};
  /** Never called: the voice is a track. @type {(samples: ArrayBuffer) => void} */
  onaudio = () => {};
  /** @type {(code: number, reason: string) => void} */
  onclose = () => {};
  /** @type {(stalled: boolean) => void} */
  onstall = () => {};

  /** @param {RtcSignalling} signalling */
  constructor(signalling) {
    this.#signalling = signalling;
  }

  /** @returns {Promise<void>} */
  open() {
    return new Promise((resolve, reject) => {
      this.#timer = setTimeout(() => reject(new Error('WebRTC did not connect in time.')), OPEN_LIMIT_MS);
      const fail = (/** @type {unknown} */ error) => {
        clearTimeout(this.#timer);
        reject(error);
      };
      this.#over.signal.addEventListener('abort', () => fail(new Error('The connection was given up.')));
      this.#begin(() => {
        clearTimeout(this.#timer);
        this.#open = true;
        resolve();
      }, fail).catch(fail);
    });
  }

  /** @param {ClientMessage} message */
  send(message) {
    if (this.#channel?.readyState !== 'open') return;
    this.#channel.send(JSON.stringify({ ...message, timestamp_ms: Date.now() }));
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
    this.#track = track;
    this.#sender?.replaceTrack(track).catch(() => {}); // it fails only where the connection is over
  }

  close() {
    this.#peer?.end();
    this.detach();
  }

  detach() {
    clearTimeout(this.#timer);
    removeEventListener('online', this.#networkChanged);
    network?.removeEventListener('change', this.#networkChanged);
    const connection = this.#connection;
    this.#connection = this.#channel = this.#sender = null;
    this.voice = null;
    this.#over.abort();
    connection?.close();
  }

  // -------------------------------------------------------------------------------------------------------- beginning

  /**
   * @param {() => void} opened
   * @param {(error: Error) => void} failed before it was open
   */
  async #begin(opened, failed) {
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.#connection = connection;
    const transceiver = connection.addTransceiver('audio', { direction: 'sendrecv' });
    this.#sender = transceiver.sender;
    this.carry(this.#track);
    this.voice = new MediaStream([transceiver.receiver.track]);
    const channel = connection.createDataChannel(CHANNEL);
    this.#channel = channel;
    channel.onopen = opened;
    channel.onmessage = ({ data }) => this.onmessage(JSON.parse(data));
    channel.onclose = () => this.#lost('The server closed the connection.');
    connection.onicecandidate = ({ candidate }) => this.#found(candidate);
    connection.oniceconnectionstatechange = () => this.#pathChanged();
    connection.onconnectionstatechange = () => {
      if (connection.connectionState !== 'failed') return;
      failed(new Error('WebRTC did not get through.'));
      if (connection.iceConnectionState !== 'failed') this.#lost('The connection failed.');
    };
    const [offer, iceServers] = await Promise.all([
      connection.createOffer(),
      this.#signalling.iceServers(this.#over.signal),
    ]);
    connection.setConfiguration({ ...connection.getConfiguration(), iceServers });
    const { answer, peer } = await this.#signalling.offer(await this.#described(offer), this.#over.signal);
    this.#peer = peer;
    await this.#answered(answer);
    addEventListener('online', this.#networkChanged);
    network?.addEventListener('change', this.#networkChanged);
  }

  /**
   * The offer as it goes to the server, with the candidates that were quick to find.
   * @param {RTCSessionDescriptionInit} offer
   */
  async #described(offer) {
    const connection = this.#needed();
    this.#trickling = false;
    this.#candidates = [];
    await connection.setLocalDescription(offer);
    await new Promise((resolve) => {
      const look = () => connection.iceGatheringState === 'complete' && resolve(null);
      connection.onicegatheringstatechange = look;
      look();
      setTimeout(resolve, GATHER_LIMIT_MS);
    });
    this.#candidates = []; // those so far are in the description
    return this.#needed().localDescription?.sdp ?? '';
  }

  /** @param {string} sdp */
  async #answered(sdp) {
    await this.#needed().setRemoteDescription({ type: 'answer', sdp });
    this.#trickling = true;
    if (this.#candidates.length > 0) this.#trickle();
  }

  #needed() {
    if (this.#connection === null) throw new Error('The connection was given up.');
    return this.#connection;
  }

  /** @param {RTCIceCandidate | null} candidate */
  #found(candidate) {
    if (candidate !== null && candidate.candidate !== '') this.#candidates.push(candidate);
    if (this.#trickling) this.#trickle();
  }

  #trickle() {
    const connection = this.#connection;
    const sdp = connection?.localDescription?.sdp;
    if (sdp === undefined) return;
    const fragment = sdpFragment(sdp, this.#candidates.splice(0), connection?.iceGatheringState === 'complete');
    // Without these candidates there may still be a path; if there is none, the time limit tells.
    this.#peer?.trickle(fragment).catch(() => {});
  }

  // ---------------------------------------------------------------------------------------------------------- the path

  #pathChanged() {
    const state = this.#connection?.iceConnectionState;
    if (!this.#open) return;
    if (this.#isConnected()) {
      clearTimeout(this.#timer);
      this.#mending = false;
      this.onstall(false);
    } else if (state === 'disconnected' && !this.#mending) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => void this.#mend(), DISCONNECTED_LIMIT_MS);
    } else if (state === 'failed') {
      if (this.#mending) this.#lost('The network path was lost.');
      else void this.#mend();
    }
  }

  /** Another network: no need to wait until the old path is known to be dead. */
  #networkChanged = () => {
    if (networkType() === this.#network && this.#isConnected()) return;
    this.#network = networkType();
    if (this.#open) void this.#mend();
  };

  #isConnected() {
    const state = this.#connection?.iceConnectionState;
    return state === 'connected' || state === 'completed';
  }

  /** Another ICE session for the same peer: the server and its session stay, the path is found anew. */
  async #mend() {
    if (this.#mending || this.#connection === null || this.#peer === null) return;
    this.#mending = true;
    if (!this.#isConnected()) this.onstall(true);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#mended('The network path was lost.'), RESTART_LIMIT_MS);
    try {
      const offer = await this.#described(await this.#connection.createOffer({ iceRestart: true }));
      await this.#answered(await this.#peer.restart(offer));
      this.#pathChanged();
    } catch (error) {
      this.#mended(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {string} failure what to say if the path is still lost */
  #mended(failure) {
    if (!this.#isConnected()) this.#lost(failure);
    else this.#pathChanged();
  }

  /** @param {string} reason */
  #lost(reason) {
    if (this.#connection === null) return;
    this.detach();
    this.onclose(ABNORMAL_CLOSE, reason);
  }
}
