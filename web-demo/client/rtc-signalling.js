/**
 * How a WebRTC peer is agreed on with the server: plain HTTP in the manner of WHIP (RFC 9725). Knows requests and
 * answers, nothing of peer connections. Driven by `rtc-transport.js`; one per client, since ICE servers last a while.
 */

import { refusal } from './refusal.js';

const ANSWER_LIMIT_MS = 4000;
/** ICE servers are asked for again this long before their credentials end. */
const TTL_MARGIN_S = 60;
/** The server has no WebRTC at all: asking again is useless. */
const NEVER = [404, 405, 415, 501];

/** The server did not agree. `final` where it never will. */
export class NotAgreed extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status) {
    super(message);
    this.final = NEVER.includes(status);
  }
}

export class RtcSignalling {
  #url;
  #apiKey;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  #iceServersUntilMs = 0;

  /**
   * @param {URL} url where offers are posted
   * @param {() => string} apiKey the key of the moment, empty for none
   */
  constructor(url, apiKey) {
    this.#url = url;
    this.#apiKey = apiKey;
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<RTCIceServer[]>}
   */
  async iceServers(signal) {
    if (performance.now() < this.#iceServersUntilMs) return this.#iceServers;
    const url = new URL(`${this.#url.pathname}/ice-servers`, this.#url);
    const { ice_servers, ttl_s } = await (await this.request(url, { signal })).json();
    this.#iceServers = ice_servers;
    this.#iceServersUntilMs = performance.now() + (ttl_s - TTL_MARGIN_S) * 1000;
    return ice_servers;
  }

  /**
   * @param {string} sdp
   * @param {AbortSignal} signal
   * @returns {Promise<{ answer: string, peer: AgreedPeer }>}
   */
  async offer(sdp, signal) {
    const headers = { 'Content-Type': 'application/sdp' };
    const response = await this.request(this.#url, { method: 'POST', headers, body: sdp, signal });
    const location = response.headers.get('Location');
    const url = location === null ? null : new URL(location, response.url);
    return { answer: await response.text(), peer: new AgreedPeer(this, url, response.headers.get('ETag')) };
  }

  /**
   * @param {URL} url
   * @param {RequestInit & { headers?: Record<string, string> }} options
   * @returns {Promise<Response>} rejects with NotAgreed where the server says no
   */
  async request(url, { headers, signal, ...options }) {
    const key = this.#apiKey();
    const limit = AbortSignal.timeout(ANSWER_LIMIT_MS);
    const response = await fetch(url, {
      ...options,
      headers: { ...headers, ...(key !== '' && { Authorization: `Bearer ${key}` }) },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: 'no-store',
    });
    if (!response.ok) throw new NotAgreed(await refusal(response), response.status);
    return response;
  }
}

/** What the server keeps of one peer, by its `Location`; without one, it can be neither changed nor taken back. */
class AgreedPeer {
  #signalling;
  #url;
  #etag;

  /**
   * @param {RtcSignalling} signalling
   * @param {URL | null} url
   * @param {string | null} etag names the ICE session, where the server lets the page see it
   */
  constructor(signalling, url, etag) {
    this.#signalling = signalling;
    this.#url = url;
    this.#etag = etag;
  }

  /** @param {string} fragment more candidates */
  async trickle(fragment) {
    if (this.#url === null) return;
    const headers = { 'Content-Type': 'application/trickle-ice-sdpfrag', ...this.#ifMatch(this.#etag) };
    await this.#signalling.request(this.#url, { method: 'PATCH', headers, body: fragment });
  }

  /**
   * Another ICE session for the same peer.
   * @param {string} sdp a whole offer
   * @returns {Promise<string>} the answer
   */
  async restart(sdp) {
    if (this.#url === null) throw new Error('The server did not say where the peer is.');
    const headers = { 'Content-Type': 'application/sdp', ...this.#ifMatch(this.#etag && '*') };
    const response = await this.#signalling.request(this.#url, { method: 'PATCH', headers, body: sdp });
    this.#etag = response.headers.get('ETag') ?? this.#etag;
    return response.text();
  }

  /** Ends the peer and its session. Outlives the page, if it must. */
  end() {
    if (this.#url === null) return;
    // A peer that cannot be ended is gone already, or its connection is, and the server will notice.
    this.#signalling.request(this.#url, { method: 'DELETE', keepalive: true }).catch(() => {});
  }

  /**
   * RFC 9725, section 4.3.1.
   * @param {string | null} etag
   * @returns {Record<string, string>}
   */
  #ifMatch(etag) {
    return etag ? { 'If-Match': etag } : {};
  }
}
