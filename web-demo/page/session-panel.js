/**
 * Who answers: the engines of the session, and how audio travels. Driven by `app.js`.
 *
 * @typedef {import('../client/types.js').SessionStarted} SessionStarted
 * @typedef {import('../client/types.js').WireFormat} WireFormat
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

/** @param {SessionStarted} started */
export function showSession({ session_id, agent_id, capabilities, input, output, binary }) {
  const facts = [['Agent', agent_id]];
  for (const [stage, engine] of Object.entries(capabilities)) facts.push([STAGES[stage] ?? stage, engine]);
  if (input && output) facts.push(['Audio', `${format(input)} up, ${format(output)} down${binary ? ', binary' : ''}`]);
  facts.push(['Session', session_id]);
  byId('session').replaceChildren(
    ...facts.flatMap(([name, value]) => [element('dt', '', name), element('dd', '', value)]),
  );
}

/** @param {WireFormat} wire */
function format({ codec, sample_rate }) {
  return `${codec} ${sample_rate / 1000} kHz`;
}
