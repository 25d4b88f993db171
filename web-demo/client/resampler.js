/**
 * Sample-rate conversion for a stream of mono audio. Pure: no browser interface, so it runs in an AudioWorklet, in a
 * page and under Node alike. Driven by the capture and playback worklets.
 *
 * A polyphase windowed-sinc filter (Kaiser window, 80 dB). From 48 kHz to 16 kHz it passes up to 7 kHz unchanged, the
 * speech bandwidth EN 301 549 clause 6.1 asks for, and has nothing left at 8 kHz that could fold back.
 */

const STOPBAND_DB = 80;
const KAISER_BETA = 0.1102 * (STOPBAND_DB - 8.7);
const ZERO_CROSSINGS = 48;

/**
 * Modified Bessel function of the first kind, order zero (power series).
 * @param {number} x
 */
function besselI0(x) {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > sum * 1e-12; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

/**
 * @param {number} a
 * @param {number} b
 * @returns {number}
 */
function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/**
 * One row of `2 * half` taps for each of `phases` positions between two input samples.
 * @param {number} phases
 * @param {number} half taps on each side
 * @param {number} cutoff in cycles per input sample
 */
function designTaps(phases, half, cutoff) {
  const taps = new Float32Array(phases * 2 * half);
  const scale = besselI0(KAISER_BETA);
  for (let phase = 0; phase < phases; phase++) {
    const row = taps.subarray(phase * 2 * half, (phase + 1) * 2 * half);
    let gain = 0;
    for (let tap = 0; tap < row.length; tap++) {
      const distance = tap - (half - 1) - phase / phases;
      const edge = distance / half;
      const angle = 2 * Math.PI * cutoff * distance;
      const sinc = distance === 0 ? 1 : Math.sin(angle) / angle;
      row[tap] = sinc * (besselI0(KAISER_BETA * Math.sqrt(Math.max(0, 1 - edge * edge))) / scale);
      gain += row[tap];
    }
    for (let tap = 0; tap < row.length; tap++) row[tap] /= gain;
  }
  return taps;
}

/** Converts a stream from one rate to another, block by block; block borders leave no trace. */
export class Resampler {
  #up;
  #down;
  #half;
  #taps;
  /** Input not yet used up, oldest first; the first `half - 1` samples are history. */
  #pending;
  #filled;
  /** Position of the next output, in 1/up input samples, counted from `pending[half - 1]`. */
  #position = 0;
  #output = new Float32Array(0);

  /**
   * @param {number} inputHz
   * @param {number} outputHz
   */
  constructor(inputHz, outputHz) {
    const divisor = greatestCommonDivisor(inputHz, outputHz);
    this.#up = outputHz / divisor;
    this.#down = inputHz / divisor;
    const ratio = Math.min(1, outputHz / inputHz);
    this.#half = Math.ceil(ZERO_CROSSINGS / ratio);
    const transition = (STOPBAND_DB - 8) / (2.285 * 2 * Math.PI * 2 * this.#half);
    this.#taps = this.#up === this.#down ? null : designTaps(this.#up, this.#half, ratio / 2 - transition / 2);
    this.#filled = this.#half - 1;
    this.#pending = new Float32Array(4 * this.#half);
  }

  /** Input samples that must follow a sample before it comes out. */
  get delaySamples() {
    return this.#taps === null ? 0 : this.#half;
  }

  /**
   * Converts the next block.
   * @param {Float32Array} input any length
   * @returns {Float32Array} what is ready; a view that the next call overwrites
   */
  process(input) {
    if (this.#taps === null) return input;
    this.#append(input);
    const width = 2 * this.#half;
    const room = Math.ceil((this.#filled * this.#up) / this.#down) + 1;
    if (this.#output.length < room) this.#output = new Float32Array(room);
    let count = 0;
    for (;;) {
      const first = Math.floor(this.#position / this.#up);
      if (first + width > this.#filled) break;
      const row = (this.#position % this.#up) * width;
      let sum = 0;
      for (let tap = 0; tap < width; tap++) sum += this.#pending[first + tap] * this.#taps[row + tap];
      this.#output[count++] = sum;
      this.#position += this.#down;
    }
    this.#forget();
    return this.#output.subarray(0, count);
  }

  /** Ends the stream: returns what was still waiting for samples to follow, and starts afresh. */
  flush() {
    const rest = this.#taps === null ? new Float32Array(0) : this.process(new Float32Array(this.#half)).slice();
    this.#pending.fill(0);
    this.#filled = this.#half - 1;
    this.#position = 0;
    return rest;
  }

  /** @param {Float32Array} input */
  #append(input) {
    const needed = this.#filled + input.length;
    if (needed > this.#pending.length) {
      const larger = new Float32Array(2 * needed);
      larger.set(this.#pending.subarray(0, this.#filled));
      this.#pending = larger;
    }
    this.#pending.set(input, this.#filled);
    this.#filled = needed;
  }

  #forget() {
    const used = Math.min(Math.floor(this.#position / this.#up), this.#filled);
    this.#pending.copyWithin(0, used, this.#filled);
    this.#filled -= used;
    this.#position -= used * this.#up;
  }
}
