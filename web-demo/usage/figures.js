/**
 * Figures as elements: tiles, budgets, tables and the chart of days. They are given the server's answers and ask nobody.
 */

import { element } from '../page/dom.js';
import { amount, count, dayName, daysLater, minutes, money, talked } from './words.js';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 720;
const HEIGHT = 200;
const EDGE = { left: 62, right: 4, top: 20, bottom: 36 };
const STATES = { free: '', warned: 'nearly used up', thrifty: 'nearly used up: the cheapest providers answer', blocked: 'used up' };
const PERIODS = { day: 'Today', month: 'This month' };
const WHOSE = { global: 'everybody on this server', tenant: 'everybody here', user: 'you' };
const METERS = { audio_ms_in: 'min heard', audio_ms_synthesized: 'min spoken', tts_characters: 'characters spoken', input_tokens: 'tokens in', cached_input_tokens: 'tokens in, cached', output_tokens: 'tokens out', speculative_tokens: 'tokens of drafts' };

/** @param {any} current */
export function tiles(current) {
  return [tile('Today', current.today), tile('This month', current.month)];
}

/** @param {string} title @param {any} period */
function tile(title, period) {
  const { sums } = period;
  const made = element('div', 'tile', element('h3', '', title));
  made.append(element('p', 'big', `${minutes(talked(sums))} min`));
  made.append(element('p', 'hint', `People spoke ${minutes(sums.audio_ms_in)} min, the agent ${minutes(sums.audio_ms_out)} min`));
  const turns = sums.turns === 1 ? '1 turn' : `${count(sums.turns)} turns`;
  made.append(element('p', 'hint', sums.failed ? `${turns}, ${count(sums.failed)} of them failed` : turns));
  made.append(element('p', 'hint', `Cost: ${money(period.cost, period.unpriced.length === 0)}`));
  return made;
}

/** @param {any[]} lines */
export function budgets(lines) {
  return lines.map((line) => {
    const told = (/** @type {number} */ value) => measured(line, value);
    const percent = Math.round((line.used / line.limit) * 100) || 0;
    const state = STATES[/** @type {keyof STATES} */ (line.state)] ?? '';
    const whose = WHOSE[/** @type {keyof WHOSE} */ (line.scope)] ?? line.scope;
    const name = `${PERIODS[/** @type {keyof PERIODS} */ (line.period)] ?? line.period}, ${whose}`;
    const words = `${told(line.used)} of ${told(line.limit)} (${percent} %)${state ? `, ${state}` : ''}`;
    const fill = element('div', 'budget-fill');
    fill.style.setProperty('--share', String(line.used / Math.max(1, line.limit)));
    const track = element('div', 'budget-track', fill);
    const attributes = { role: 'meter', 'aria-label': `Budget: ${name}`, 'aria-valuemin': '0', 'aria-valuemax': '100', 'aria-valuenow': String(Math.min(100, percent)), 'aria-valuetext': words };
    for (const [attribute, value] of Object.entries(attributes)) track.setAttribute(attribute, value);
    const title = element('p', 'budget-words', element('span', '', `Budget: ${name}`), element('strong', '', words));
    return element('div', `budget ${line.state}`, title, track);
  });
}

/** @param {any} line @param {number} value */
function measured(line, value) {
  if (line.measure === 'money') return amount(value, line.currency ?? 'EUR');
  if (line.measure === 'audio_ms') return `${minutes(value)} min`;
  return `${count(value)} ${line.measure}`;
}

/**
 * Every day of the report's days, those without usage too.
 * @param {any} report
 */
export function everyDay(report) {
  const known = new Map(report.rows.map((/** @type {any} */ row) => [row.key, row]));
  const days = [];
  for (let day = report.since; day < report.until; day = daysLater(day, 1)) {
    const nothing = { key: day, sums: { turns: 0, audio_ms_in: 0, audio_ms_out: 0 }, cost: [], complete: true };
    days.push(known.get(day) ?? nothing);
  }
  return days;
}

/**
 * Bars for sighted people; the table behind it says the same to everybody.
 * @param {any[]} days
 */
export function chart(days) {
  const most = Math.max(1, ...days.map((day) => talked(day.sums) / 60_000));
  const step = 10 ** Math.floor(Math.log10(most));
  const top = Math.ceil(most / step) * step;
  const drawn = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, 'aria-hidden': 'true', focusable: 'false' });
  const inner = { width: WIDTH - EDGE.left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
  for (const share of [0, 0.5, 1]) {
    const y = EDGE.top + inner.height * (1 - share);
    drawn.append(svg('line', { x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y, y2: y }));
    drawn.append(svg('text', { x: EDGE.left - 6, y: y + 4, 'text-anchor': 'end', class: 'scale' }, String(+(top * share).toFixed(1))));
  }
  const wide = inner.width / days.length;
  days.forEach((day, index) => {
    const value = talked(day.sums) / 60_000;
    const high = (value / top) * inner.height;
    const x = EDGE.left + index * wide;
    const bar = svg('rect', { x: x + wide * 0.12, width: wide * 0.76, y: EDGE.top + inner.height - high, height: high, rx: 2 });
    bar.append(svg('title', {}, `${dayName(day.key)}: ${minutes(talked(day.sums))} min`));
    drawn.append(bar);
    if (index % 7 === (days.length - 1) % 7) {
      const place = { x: x + wide / 2, y: HEIGHT - 6, 'text-anchor': index === days.length - 1 ? 'end' : 'middle', class: 'scale' };
      if (index === days.length - 1) place.x = WIDTH - EDGE.right;
      drawn.append(svg('text', place, dayName(day.key, true)));
    }
  });
  return drawn;
}

/** @param {any[]} days */
export function chartWords(days) {
  const busiest = days.reduce((most, day) => (talked(day.sums) > talked(most.sums) ? day : most));
  if (talked(busiest.sums) === 0) return 'Nobody talked in these days.';
  const sum = days.reduce((all, day) => all + talked(day.sums), 0);
  return `Minutes talked per day: ${minutes(sum)} in all, most on ${dayName(busiest.key)} (${minutes(talked(busiest.sums))}).`;
}

/**
 * @param {string} caption
 * @param {string} title of the first column
 * @param {any[]} rows with `name`
 * @param {any} [total]
 */
export function sumsTable(caption, title, rows, total) {
  const body = rows.map((row) => line('td', row.name, row.sums, row.cost, row.complete));
  const table = frame(caption, [title, 'Turns', 'Minutes', 'Cost'], body);
  if (total) table.append(element('tfoot', '', line('td', 'Together', total.sums, total.cost, total.unpriced.length === 0)));
  return table;
}

/** @param {'td'} cell @param {string} name @param {any} sums @param {any[]} cost @param {boolean} complete */
function line(cell, name, sums, cost, complete) {
  const texts = [count(sums.turns), minutes(talked(sums)), money(cost, complete)];
  return element('tr', '', heading(name, 'row'), ...texts.map((text) => element(cell, 'number', text)));
}

/** @param {string} caption @param {any[]} rows */
export function providersTable(caption, rows) {
  const body = rows.map((row) => {
    const did = Object.entries(row.amounts ?? {}).map(([meter, value]) => {
      const told = meter.startsWith('audio_ms') ? minutes(Number(value)) : count(Number(value));
      return `${told} ${METERS[/** @type {keyof METERS} */ (meter)] ?? meter}`;
    });
    const name = row.model ? `${row.key}, ${row.model}` : row.key;
    return element('tr', '', heading(name, 'row'), element('td', '', did.join('; ')), element('td', 'number', money(row.cost, row.complete)));
  });
  return frame(caption, ['Provider and model', 'Did', 'Cost'], body);
}

/** @param {string} caption @param {string[]} titles @param {HTMLElement[]} body */
function frame(caption, titles, body) {
  const heads = titles.map((title, index) => {
    const head = heading(title, 'col');
    if (index > 0 && title !== 'Did') head.className = 'number';
    return head;
  });
  return element('table', 'sums', element('caption', '', caption), element('thead', '', element('tr', '', ...heads)), element('tbody', '', ...body));
}

/** @param {string} text @param {'row' | 'col'} scope */
function heading(text, scope) {
  const made = element('th', '', text);
  made.scope = scope;
  return made;
}

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 */
function svg(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}
