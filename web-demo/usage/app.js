/**
 * The usage page: asks the server and puts the answers where they belong. Words are `words.js`', elements `figures.js`',
 * requests `server.js`'.
 */

import { byId, element } from '../page/dom.js';
import { download } from './downloads.js';
import { budgets, chart, chartWords, everyDay, providersTable, sumsTable, tiles } from './figures.js';
import { NotAllowed, Server, SignInNeeded } from './server.js';
import { dayName } from './words.js';

const TITLES = { agent: 'Class or agent', user: 'Person', provider: 'Provider' };

const server = new Server();
const by = /** @type {HTMLSelectElement} */ (byId('by'));
const period = /** @type {HTMLSelectElement} */ (byId('period'));
/** Answers to what is no longer asked are dropped. */
let asked = 0;

async function load() {
  say('Asking the server …');
  hide('problem', true);
  try {
    const current = await server.ask('/v1/usage/current');
    showCurrent(current);
    hide('whole', current.scope !== 'tenant');
    if (current.scope === 'tenant') await Promise.all([showDays(), showWho()]);
    const focused = byId('sign-in').contains(document.activeElement);
    hide('sign-in', true);
    hide('figures', false);
    hide('sign-out', !server.signedIn);
    if (focused) byId('content').focus();
    say('');
  } catch (error) {
    fail(error);
  }
}

/** @param {any} current */
function showCurrent(current) {
  const everybody = `Everybody in “${current.tenant_id}”.`;
  byId('whose').textContent = current.scope === 'tenant' ? everybody : 'Your own usage.';
  byId('tiles').replaceChildren(...tiles(current));
  byId('budgets').replaceChildren(...budgets(current.budgets ?? []));
  const unpriced = current.month.unpriced.map((/** @type {any} */ work) => `${work.provider} ${work.model}`);
  hide('unpriced', unpriced.length === 0);
  const names = [...new Set(unpriced)].join(', ');
  byId('unpriced').textContent = `The cost leaves out what has no price here yet: ${names}.`;
}

async function showDays() {
  const report = await server.ask('/v1/usage/report', { by: 'day', since: '30d' });
  const days = everyDay(report);
  byId('days').replaceChildren(chart(days), element('figcaption', '', chartWords(days)));
  const rows = days.reverse().map((day) => ({ ...day, name: dayName(day.key) }));
  byId('days-table').replaceChildren(sumsTable('The newest day first', 'Day', rows, report.total));
}

async function showWho() {
  const mine = ++asked;
  const report = await server.ask('/v1/usage/report', { by: by.value, ...chosenDays() });
  if (mine !== asked) return;
  const rows = report.rows.map((/** @type {any} */ row) => ({ ...row, name: row.key }));
  const first = report.others ? `, the ${rows.length} who talked most` : report.truncated ? ', the first of more' : '';
  const caption = `${dayName(report.since)} to ${dayName(lastDay(report.until))}${first}`;
  if (report.others) rows.push({ ...report.others, name: 'Everybody else' });
  const nothing = element('p', 'nothing', 'Nobody has talked in this time.');
  const title = TITLES[/** @type {keyof TITLES} */ (by.value)];
  const table = by.value === 'provider' ? providersTable(caption, rows) : sumsTable(caption, title, rows, report.total);
  byId('who').replaceChildren(rows.length === 0 ? nothing : table);
}

/** @returns {Record<string, string>} the days chosen, as the server's report takes them */
function chosenDays() {
  if (period.value === 'today') return { since: '1d' };
  if (period.value === '30d') return { since: '30d' };
  const month = new Date();
  month.setUTCDate(1);
  if (period.value === 'last-month') month.setUTCMonth(month.getUTCMonth() - 1);
  return { month: month.toISOString().slice(0, 7) };
}

/** @returns {Record<string, string>} the same days as moments, as the server's events take them */
function chosenMoments() {
  const now = new Date();
  const day = (/** @type {Date} */ date) => `${date.toISOString().slice(0, 10)}T00:00:00Z`;
  const ago = (/** @type {number} */ days) => new Date(now.getTime() - days * 86_400_000);
  if (period.value === 'today') return { since: day(now) };
  if (period.value === '30d') return { since: day(ago(29)) };
  const first = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1));
  if (period.value === 'month') return { since: day(first) };
  return { since: day(new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 1, 1))), until: day(first) };
}

/** @param {string} until the day after */
function lastDay(until) {
  return new Date(Date.parse(`${until}T00:00:00Z`) - 86_400_000).toISOString().slice(0, 10);
}

/** @param {unknown} error */
function fail(error) {
  say('');
  if (error instanceof SignInNeeded) {
    hide('figures', true);
    const shown = !byId('sign-in').hidden;
    hide('sign-in', false);
    problemAtSignIn(shown || server.signedIn ? 'This server does not know that key, or the session has ended.' : '');
    server.useKey('');
    byId('key').focus();
    return;
  }
  hide('problem', false);
  const refused = error instanceof NotAllowed ? 'You may not see this. ' : '';
  byId('problem-words').textContent = `${refused}${error instanceof Error ? error.message : error}`;
}

/** @param {string} words */
function problemAtSignIn(words) {
  byId('sign-in-problem').textContent = words;
  for (const id of ['key', 'login-name', 'password']) byId(id).setAttribute('aria-invalid', String(words !== ''));
}

/** @param {string} words */
function say(words) {
  byId('status').textContent = words;
}

/** @param {string} id @param {boolean} hidden */
function hide(id, hidden) {
  byId(id).hidden = hidden;
}

byId('by-key').addEventListener('submit', (event) => {
  event.preventDefault();
  const field = /** @type {HTMLInputElement} */ (byId('key'));
  const key = field.value.trim();
  if (!/^[\x21-\x7e]+$/.test(key)) {
    problemAtSignIn('A key holds no spaces and no letters with accents.');
    return;
  }
  server.useKey(key);
  field.value = '';
  void load();
});

byId('by-name').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = /** @type {HTMLInputElement} */ (byId('login-name'));
  const password = /** @type {HTMLInputElement} */ (byId('password'));
  server.signIn(name.value, password.value).then(
    () => {
      password.value = '';
      return load();
    },
    (error) => {
      problemAtSignIn(error.message);
      password.focus();
    },
  );
});

byId('sign-out').addEventListener('click', async () => {
  await server.signOut();
  hide('figures', true);
  await load();
});

for (const button of document.querySelectorAll('[data-file]')) {
  button.addEventListener('click', async () => {
    const form = /** @type {HTMLElement} */ (button).dataset.file ?? '';
    const status = byId('file-status');
    status.textContent = 'The server makes the file …';
    const path = form === 'report' ? '/v1/usage/report' : '/v1/usage/events';
    const query = form === 'report' ? { by: by.value, ...chosenDays(), format: 'csv' } : { ...chosenMoments(), format: form };
    try {
      status.textContent = await download(server, path, query);
    } catch (error) {
      status.textContent = '';
      fail(error);
    }
  });
}

byId('choices').addEventListener('change', () => showWho().catch(fail));
byId('retry').addEventListener('click', load);
byId('refresh').addEventListener('click', load);
void load();
