/**
 * What one peer connection and the server agree on: the first offer, candidates that are found later, and another ICE
 * session when the path is lost. Knows no channels and no tracks. Driven by `rtc-transport.js`.
 *
 * @typedef {import('./rtc-signalling.js').RtcSignalling} RtcSignalling
 */

import { sdpFragment } from './sdp-fragment.js';

/** Candidates found within this time travel in the offer itself; the others follow it. */
const GATHER_LIMIT_MS = 60;

export class RtcNegotiation {
  #connection;
  #signalling;
  #over = new AbortController();
  /** What the server keeps of this peer. @type {Awaited<ReturnType<RtcSignalling['offer']>>['peer'] | null} */
  #peer = null;
  /** Found, and not yet told. @type {RTCIceCandidate[]} */
  #candidates = [];
  /** Candidates are told as they are found: the server knows the session they belong to. */
  #trickling = false;

  /**
   * @param {RTCPeerConnection} connection
   * @param {RtcSignalling} signalling
   */
  constructor(connection, signalling) {
    this.#connection = connection;
    this.#signalling = signalling;
    connection.onicecandidate = ({ candidate }) => this.#found(candidate);
  }

  async begin() {
    const { signal } = this.#over;
    const [offer, iceServers] = await Promise.all([
      this.#connection.createOffer(),
      this.#signalling.iceServers(signal),
    ]);
    signal.throwIfAborted();
    this.#connection.setConfiguration({ ...this.#connection.getConfiguration(), iceServers });
    const { answer, peer } = await this.#signalling.offer(await this.#described(offer), signal);
    this.#peer = peer;
    await this.#answered(answer);
  }

  /** Another ICE session for the same peer: the server and its session stay, the path is found anew. */
  async restart() {
    if (this.#peer === null) throw new Error('There is no peer yet.');
    const offer = await this.#described(await this.#connection.createOffer({ iceRestart: true }));
    await this.#answered(await this.#peer.restart(offer));
  }

  /** Nothing is agreed on any more. */
  stop() {
    this.#over.abort(new Error('The connection was given up.'));
    this.#connection.onicecandidate = this.#connection.onicegatheringstatechange = null;
  }

  /** The server may forget the peer, and with it the session. */
  end() {
    this.#peer?.end();
  }

  /**
   * An offer as it goes to the server, with the candidates that were quick to find.
   * @param {RTCSessionDescriptionInit} offer
   */
  async #described(offer) {
    const connection = this.#connection;
    this.#trickling = false;
    await connection.setLocalDescription(offer);
    await new Promise((resolve) => {
      const look = () => connection.iceGatheringState === 'complete' && resolve(null);
      connection.onicegatheringstatechange = look;
      look();
      setTimeout(resolve, GATHER_LIMIT_MS);
    });
    this.#over.signal.throwIfAborted();
    this.#candidates = []; // those so far are in the description
    return connection.localDescription?.sdp ?? '';
  }

  /** @param {string} sdp */
  async #answered(sdp) {
    this.#over.signal.throwIfAborted();
    await this.#connection.setRemoteDescription({ type: 'answer', sdp });
    this.#trickling = true;
    if (this.#candidates.length > 0) this.#trickle();
  }

  /** @param {RTCIceCandidate | null} candidate */
  #found(candidate) {
    if (candidate !== null && candidate.candidate !== '') this.#candidates.push(candidate);
    if (this.#trickling) this.#trickle();
  }

  #trickle() {
    const { localDescription, iceGatheringState } = this.#connection;
    if (localDescription === null) return;
    const candidates = this.#candidates.splice(0);
    const fragment = sdpFragment(localDescription.sdp, candidates, iceGatheringState === 'complete');
    // Without these candidates there may still be a path; if there is none, the time limit tells.
    this.#peer?.trickle(fragment).catch(() => {});
  }
}
