/**
 * Where the milliseconds went: a table per turn, one row a stage, its bar placed on a common axis from the user's last
 * word. Also what the turn used. Driven by `app.js`.
 *
 * @typedef {import('../client/types.js').Breach} Breach
 * @typedef {import('../client/types.js').StageLatency} StageLatency
 * @typedef {import('../client/types.js').Usage} Usage
 */

import { byId, element } from './dom.js';

/** @type {Readonly<Record<StageLatency['stage'], string>>} */
const STAGES = {
  endpoint: 'Sure you finished',
  stt: 'Words understood',
  agent: 'First phrase written',
  tts: 'First sound made',
  egress: 'Sent to you',
  total: 'Total',
};

/** @type {Readonly<Record<Breach['action'], string>>} */
const DONE = {
  use_partial: 'the words so far were answered',
  hedge: 'a second model was asked',
  fallback: 'another engine stepped in',
  filler: 'the agent said that it is thinking',
  shorten: 'it was cut short',
  text_only: 'the answer went on as text',
  apologize: 'the agent apologised',
  fail: 'the turn was given up',
  none: 'there was nothing to be done',
};

const KEPT_TURNS = 20;

export class Waterfall {
  #list = byId('turns');
  /** @type {Map<string, HTMLDetailsElement>} */
  #turns = new Map();
  #count = 0;

  /**
   * @param {string} requestId
   * @param {StageLatency[]} stages
   * @param {Breach[]} breaches
   * @returns {number | null} the total in milliseconds, where it is known
   */
  add(requestId, stages, breaches = []) {
    byId('latency-empty').hidden = true;
    for (const older of this.#turns.values()) older.open = false;
    const total = stages.find(({ stage }) => stage === 'total')?.duration_ms ?? null;
    const title = `Turn ${++this.#count}`;
    const summary = element('summary', '', element('span', 'turn-name', title));
    if (total !== null) summary.append(element('strong', 'turn-total', `${Math.round(total)} ms`));
    const details = element('details', 'turn', summary, table(title, stages));
    if (breaches.length > 0) details.append(element('ul', 'breaches', ...breaches.map(breachLine)));
    details.open = true;
    this.#turns.set(requestId, details);
    this.#list.prepend(element('li', '', details));
    if (this.#list.childElementCount > KEPT_TURNS) this.#list.lastElementChild?.remove();
    return total;
  }

  /**
   * @param {string} requestId
   * @param {Usage} usage
   */
  addUsage(requestId, { audio_in_s, audio_out_s, in_tokens, out_tokens, tool_calls }) {
    const facts = [
      ['Heard you', `${audio_in_s.toFixed(1)} s`],
      ['Spoke', `${audio_out_s.toFixed(1)} s`],
      ['Tokens in', String(in_tokens)],
      ['Tokens out', String(out_tokens)],
    ];
    if (tool_calls > 0) facts.push(['Tools', String(tool_calls)]);
    const list = element('dl', 'usage');
    for (const [name, value] of facts) {
      list.append(element('div', '', element('dt', '', name), element('dd', '', value)));
    }
    this.#turns.get(requestId)?.append(list);
  }
}

/**
 * @param {string} title
 * @param {StageLatency[]} stages
 */
function table(title, stages) {
  const from = Math.min(0, ...stages.map(({ start_ms }) => start_ms));
  const to = Math.max(1, ...stages.map(({ start_ms, duration_ms }) => start_ms + duration_ms));
  const caption = element('caption', 'for-readers', `${title}: milliseconds by stage, after your last word`);
  const axis = element('th', 'axis', element('span', '', `${Math.round(from)}`), element('span', '', `${Math.round(to)} ms`));
  const head = element('tr', '', element('th', '', 'Stage'), axis, element('th', 'number', 'ms'));
  for (const cell of head.cells) cell.scope = 'col';
  const rows = stages.map((stage) => row(stage, from, to - from));
  return element('table', 'waterfall', caption, element('thead', '', head), element('tbody', '', ...rows));
}

/** @param {Breach} breach */
function breachLine({ stage, action, after_ms, limit_ms }) {
  const name = stage in STAGES ? STAGES[/** @type {StageLatency['stage']} */ (stage)] : stage;
  return element('li', '', `${name}: ${Math.round(after_ms)} ms, more than ${limit_ms} ms; ${DONE[action] ?? action}.`);
}

/**
 * @param {StageLatency} latency
 * @param {number} from
 * @param {number} span
 */
function row({ stage, start_ms, duration_ms, provider, target_ms, deadline_ms }, from, span) {
  const name = element('th', '', STAGES[stage] ?? stage);
  name.scope = 'row';
  if (stage !== 'total') name.append(element('small', '', provider ? `${stage} · ${provider}` : stage));
  const bar = element('span', 'bar', element('span', 'for-readers', `from ${Math.round(start_ms)} ms`));
  bar.style.setProperty('--from', String((start_ms - from) / span));
  bar.style.setProperty('--width', String(duration_ms / span));
  const track = element('td', 'track', bar);
  const limit = deadline_ms == null ? null : (start_ms - from + deadline_ms) / span;
  if (limit !== null && limit <= 1) {
    const mark = element('span', 'limit', element('span', 'for-readers', `limit ${deadline_ms} ms`));
    mark.style.setProperty('--at', String(limit));
    track.append(mark);
  }
  if (target_ms != null && duration_ms > target_ms) name.append(element('small', '', `aimed at ${target_ms} ms`));
  const made = element('tr', `stage-${stage}`, name, track);
  made.append(element('td', 'number', inWords(duration_ms)));
  return made;
}

/** @param {number} ms */
function inWords(ms) {
  if (ms < 0.05) return '< 0.1';
  return ms < 9.95 ? ms.toFixed(1) : String(Math.round(ms));
}
