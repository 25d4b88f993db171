/**
 * Figures in words: minutes, money, days. Pure; no element and no server. A sum of money that leaves out work without a
 * price says so.
 */

/**
 * @typedef {{ currency: string, micros: number }} Money
 * @typedef {{ turns: number, audio_ms_in: number, audio_ms_out: number }} Sums
 */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const longDay = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'long', timeZone: 'UTC' });
const shortDay = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short', timeZone: 'UTC' });

/** @param {number} ms @returns {string} */
export function minutes(ms) {
  const value = ms / 60_000;
  return value >= 100 ? whole.format(value) : tenths.format(value);
}

/** @param {number} value @returns {string} */
export function count(value) {
  return whole.format(value);
}

/**
 * @param {Money[]} cost
 * @param {boolean} complete whether everything has a price
 * @returns {string}
 */
export function money(cost, complete) {
  if (cost.length === 0) return complete ? 'nothing' : 'no price';
  const told = cost.map(({ currency, micros }) => amount(micros, currency)).join(' + ');
  return complete ? told : `at least ${told}`;
}

/** @param {number} micros @param {string} currency @returns {string} */
export function amount(micros, currency) {
  const value = micros / 1_000_000;
  const fraction = Math.abs(value) < 0.01 && value !== 0 ? 4 : 2;
  try {
    const style = { style: /** @type {const} */ ('currency'), currency, minimumFractionDigits: 2, maximumFractionDigits: fraction };
    return new Intl.NumberFormat('en', style).format(value);
  } catch {
    return `${value.toFixed(fraction)} ${currency}`;
  }
}

/** @param {Sums} sums @returns {number} what was said and heard, in milliseconds */
export function talked(sums) {
  return sums.audio_ms_in + sums.audio_ms_out;
}

/** @param {string} day such as 2026-11-27 @param {boolean} [short] @returns {string} */
export function dayName(day, short = false) {
  return (short ? shortDay : longDay).format(new Date(`${day}T00:00:00Z`));
}

/** @param {string} day @param {number} days @returns {string} the day so many days later */
export function daysLater(day, days) {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}
