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
  #carrier = '';

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
    this.#carrier = reason ? `${TRANSPORTS[transport]}. ${reason}` : TRANSPORTS[transport];
    this.#show();
  }

  #show() {
    if (this.#started === null) return;
    const { session_id, agent_id, capabilities, input, output } = this.#started;
    const facts = [['Agent', agent_id]];
    for (const [stage, engine] of Object.entries(capabilities)) facts.push([STAGES[stage] ?? stage, engine]);
    facts.push(['Connection', this.#carrier]);
    if (input && output) facts.push(['Audio', `${format(input)} up, ${format(output)} down`]);
    facts.push(['Session', session_id]);
    byId('session').replaceChildren(
      ...facts.flatMap(([name, value]) => [element('dt', '', name), element('dd', '', value)]),
    );
  }
}

/** @param {WireFormat} wire */
function format({ codec, sample_rate }) {
  return `${codec} ${sample_rate / 1000} kHz`;
}
