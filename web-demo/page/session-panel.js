/**
 * Who answers, and how the conversation travels. Driven by `app.js`.
 *
 * @typedef {import('../client/types.js').SessionStarted} SessionStarted
 * @typedef {import('../client/types.js').WireFormat} WireFormat
 * @typedef {import('../client/types.js').TransportKind} TransportKind
 */

import { byId, element } from './dom.js';

/** @type {Readonly<Record<string, string>>} */
const STAGES = {
  vad: 'Voice detection',
  endpoint: 'End of turn',
  stt: 'Speech to text',
  llm: 'Language model',
  tts: 'Voice',
};

/** @type {Readonly<Record<TransportKind, string>>} */
export const TRANSPORTS = { webrtc: 'WebRTC', websocket: 'WebSocket' };

export class SessionPanel {
  /** @type {SessionStarted | null} */
  #started = null;
  /** @type {TransportKind | null} */
  #transport = null;
  #reason = '';

  /** @param {SessionStarted} started */
  started(started) {
    this.#started = started;
    this.#show();
  }

  /**
   * @param {TransportKind} transport
   * @param {string} reason why it is not another, where there is something to say
   */
  carriedBy(transport, reason) {
    this.#transport = transport;
    this.#reason = reason;
    this.#show();
  }

  #show() {
    if (this.#started === null || this.#transport === null) return;
    const { session_id, agent_id, capabilities } = this.#started;
    const facts = [['Agent', agent_id]];
    for (const [stage, engine] of Object.entries(capabilities)) facts.push([STAGES[stage] ?? stage, engine]);
    const carrier = TRANSPORTS[this.#transport];
    facts.push(['Connection', this.#reason ? `${carrier}. ${this.#reason}` : carrier]);
    facts.push(['Audio', audio(this.#transport, this.#started)]);
    facts.push(['Session', session_id]);
    byId('session').replaceChildren(
      ...facts.flatMap(([name, value]) => [element('dt', '', name), element('dd', '', value)]),
    );
  }
}

/**
 * @param {TransportKind} transport
 * @param {SessionStarted} started
 */
function audio(transport, { input, output }) {
  if (transport === 'webrtc') return 'opus, both ways'; // agreed between browser and server, whatever the session says
  return input && output ? `${format(input)} up, ${format(output)} down` : 'none';
}

/** @param {WireFormat} wire */
function format({ codec, sample_rate }) {
  return `${codec} ${sample_rate / 1000} kHz`;
}
