/**
 * Whether anything still comes through between two peers, and what is done when not: another ICE session, and if that
 * does not help within a limit, the path is lost. Notices a dead path before the browser says so, from the statistics of
 * connectivity checks. Knows nothing of signalling. Driven by `rtc-transport.js`, once the peers are connected.
 */

/** Browsers check a quiet path every two and a half seconds: nothing at all for longer than this is no pause. */
const SILENT_LIMIT_MS = 3500;
const LOOK_EVERY_MS = 1000;
const LOOK_WHILE_MENDING_MS = 250;
/** A path that the browser calls disconnected for less was none of our business. */
const DISCONNECTED_LIMIT_MS = 300;
const MEND_LIMIT_MS = 2500;
const LOST = 'The network path was lost.';

/** Not in every browser, and not in every library of types. */
const network = /** @type {{ connection?: EventTarget & { type?: string } }} */ (globalThis.navigator ?? {}).connection;

/** `wifi`, `cellular`, …, where the browser says so. */
function networkType() {
  return network?.type ?? '';
}

export class RtcPath {
  #connection;
  #restart;
  #pulse = 0;
  #pulseAtMs = performance.now();
  #mending = false;
  /** The browser calls it connected, and nothing comes through. */
  #doubted = false;
  #stopped = false;
  #limitTimer = 0;
  #lookTimer = 0;
  #network = networkType();

  /** The path is blocked and being mended, or free again. @type {(stalled: boolean) => void} */
  onstall = () => {};
  /** @type {(reason: string) => void} */
  onlost = () => {};

  /**
   * @param {RTCPeerConnection} connection
   * @param {() => Promise<void>} restart agrees on another ICE session
   */
  constructor(connection, restart) {
    this.#connection = connection;
    this.#restart = restart;
    connection.oniceconnectionstatechange = () => this.#changed();
    addEventListener('online', this.#networkChanged);
    network?.addEventListener('change', this.#networkChanged);
    this.#lookIn(LOOK_EVERY_MS);
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#limitTimer);
    clearTimeout(this.#lookTimer);
    this.#connection.oniceconnectionstatechange = null;
    removeEventListener('online', this.#networkChanged);
    network?.removeEventListener('change', this.#networkChanged);
  }

  get #isConnected() {
    const { iceConnectionState } = this.#connection;
    return !this.#doubted && (iceConnectionState === 'connected' || iceConnectionState === 'completed');
  }

  #changed() {
    const { iceConnectionState } = this.#connection;
    if (iceConnectionState === 'connected' || iceConnectionState === 'completed') {
      this.#works();
    } else if (iceConnectionState === 'failed') {
      if (this.#mending) this.onlost(LOST);
      else void this.#mend();
    } else if (iceConnectionState === 'disconnected' && !this.#mending) {
      clearTimeout(this.#limitTimer);
      this.#limitTimer = setTimeout(() => void this.#mend(), DISCONNECTED_LIMIT_MS);
    }
  }

  #works() {
    clearTimeout(this.#limitTimer);
    this.#mending = this.#doubted = false;
    this.#pulseAtMs = performance.now();
    this.onstall(false);
  }

  /** Another network: no need to wait until the old path is known to be dead. */
  #networkChanged = () => {
    if (networkType() === this.#network && this.#isConnected) return;
    this.#network = networkType();
    void this.#mend();
  };

  /** @param {number} ms */
  #lookIn(ms) {
    clearTimeout(this.#lookTimer);
    if (!this.#stopped) this.#lookTimer = setTimeout(() => void this.#look(), ms);
  }

  async #look() {
    const pulse = await this.#connection.getStats().then(pulseOf, () => null);
    if (this.#stopped || pulse === null) return; // this browser does not count: its own word must do
    const now = performance.now();
    if (pulse !== this.#pulse) {
      this.#pulse = pulse;
      this.#pulseAtMs = now;
      if (this.#doubted) this.#works();
    } else if (!this.#mending && now - this.#pulseAtMs > SILENT_LIMIT_MS) {
      this.#doubted = true;
      void this.#mend();
    }
    this.#lookIn(this.#doubted ? LOOK_WHILE_MENDING_MS : LOOK_EVERY_MS);
  }

  async #mend() {
    if (this.#mending || this.#stopped) return;
    this.#mending = true;
    if (!this.#isConnected) this.onstall(true);
    clearTimeout(this.#limitTimer);
    this.#limitTimer = setTimeout(() => this.#judge(LOST), MEND_LIMIT_MS);
    try {
      await this.#restart();
      if (this.#isConnected) this.#works();
    } catch (error) {
      this.#judge(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {string} failure what is said if it is lost */
  #judge(failure) {
    if (this.#stopped) return;
    if (this.#isConnected) this.#works();
    else this.onlost(failure);
  }
}

/**
 * A number that grows whenever anything comes in; `null` where the browser does not count the answers to its checks.
 * @param {RTCStatsReport} report
 */
export function pulseOf(report) {
  let pulse = 0;
  let counted = false;
  for (const entry of report.values()) {
    if (entry.type !== 'candidate-pair') continue;
    counted ||= entry.responsesReceived !== undefined;
    pulse += (entry.bytesReceived ?? 0) + (entry.responsesReceived ?? 0) + (entry.requestsReceived ?? 0);
  }
  return counted ? pulse : null;
}
