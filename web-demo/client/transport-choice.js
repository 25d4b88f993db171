/**
 * Which way to try first, and what to try when that fails: WebRTC, then the WebSocket. Remembers for as long as the page
 * is open that WebRTC cannot be had here. Pure; driven by `session-link.js`.
 *
 * @typedef {import('./types.js').Transport} Transport
 * @typedef {import('./types.js').TransportKind} TransportKind
 * @typedef {import('./types.js').TransportPreference} TransportPreference
 */

import { NotAgreed } from './rtc-signalling.js';

/** @type {readonly TransportKind[]} */
const BEST_FIRST = ['webrtc', 'websocket'];
const UNSUPPORTED = 'This browser has no WebRTC.';
const NOT_OFFERED = 'This server offers no WebRTC.';
const NO_PATH = 'WebRTC did not get through from here.';

export class TransportChoice {
  #make;
  /** @type {TransportPreference} */
  #preference;
  #supported;
  /** Why WebRTC is not tried any more; empty while it is. */
  #without = '';
  /** Why WebRTC failed last; empty where it did not. */
  #failure = '';

  /**
   * @param {Readonly<Record<TransportKind, () => Transport>>} make
   * @param {TransportPreference} preference
   * @param {boolean} supported whether this browser has WebRTC
   */
  constructor(make, preference, supported) {
    this.#make = make;
    this.#preference = preference;
    this.#supported = supported;
    this.#without = supported ? '' : UNSUPPORTED;
  }

  get preference() {
    return this.#preference;
  }

  /** Choosing anew is another chance for what failed. */
  set preference(preference) {
    this.#preference = preference;
    this.#without = this.#supported ? '' : UNSUPPORTED;
    this.#failure = '';
  }

  /**
   * Why it is this and not WebRTC, in a sentence; empty where it is, or where that was not wanted.
   * @param {TransportKind} kind
   */
  reasonFor(kind) {
    return kind === 'webrtc' || this.#preference === 'websocket' ? '' : this.#without || this.#failure;
  }

  /** What the next attempt tries, one after the other. */
  get order() {
    return BEST_FIRST.filter((kind) => kind === 'websocket' || this.#triesWebRtc());
  }

  /** @param {TransportKind} kind */
  make(kind) {
    return this.#make[kind]();
  }

  /**
   * @param {TransportKind} kind
   * @param {unknown} error
   */
  failed(kind, error) {
    if (kind !== 'webrtc') return;
    this.#failure = error instanceof NotAgreed ? error.message : NO_PATH;
    if (error instanceof NotAgreed && error.final) this.#without = NOT_OFFERED;
  }

  /**
   * The session is open. Where WebRTC failed and the socket did not, the network was not the trouble.
   * @param {TransportKind} kind
   */
  succeeded(kind) {
    if (kind === 'websocket') this.#without ||= this.#failure;
    this.#failure = '';
  }

  #triesWebRtc() {
    return this.#preference !== 'websocket' && this.#without === '';
  }
}
