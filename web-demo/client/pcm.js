/**
 * Samples as numbers between -1 and 1, and as 16-bit integers; how loud they are. Pure; used by both worklets.
 */

const FULL_SCALE = 32768;

/**
 * Writes `from` into `to` as 16-bit integers, rounded and clipped.
 * @param {Float32Array} from
 * @param {Int16Array} to at least as long
 */
export function floatToInt16(from, to) {
  for (let i = 0; i < from.length; i++) {
    to[i] = Math.max(-FULL_SCALE, Math.min(FULL_SCALE - 1, Math.round(from[i] * FULL_SCALE)));
  }
}

/**
 * @param {Int16Array} samples
 * @returns {Float32Array}
 */
export function int16ToFloat(samples) {
  const out = new Float32Array(samples.length);
  for (let i = 0; i < samples.length; i++) out[i] = samples[i] / FULL_SCALE;
  return out;
}

/**
 * Root mean square, 0 to 1.
 * @param {Float32Array} samples
 */
export function rootMeanSquare(samples) {
  let sum = 0;
  for (let i = 0; i < samples.length; i++) sum += samples[i] * samples[i];
  return samples.length === 0 ? 0 : Math.sqrt(sum / samples.length);
}

/**
 * A root mean square as a place on a meter: -60 dBFS is 0, -6 dBFS and above is 1.
 * @param {number} rms
 */
export function meterLevel(rms) {
  const dbfs = 20 * Math.log10(Math.max(rms, 1e-6));
  return Math.max(0, Math.min(1, (dbfs + 60) / 54));
}
