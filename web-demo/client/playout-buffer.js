/**
 * What is to be played, in a ring, and how far playing has come. Pure: counts samples, knows no clock and no browser.
 * Driven by the playback worklet, tested under Node.
 *
 * Playing begins once a little is buffered, so that jitter is not heard; every beginning and every cut is ramped over
 * a few milliseconds, so that neither clicks.
 */

const CAPACITY_MS = 30_000;
const PREBUFFER_MS = 60;
/** After an underrun the network has shown that it is uneven: wait for more before going on. */
const REBUFFER_MS = 140;
const RAMP_MS = 5;

/**
 * A stretch of one turn's audio inside the ring.
 * @typedef {object} Segment
 * @property {string} turnId
 * @property {number} positionMs where its next unplayed sample lies in the turn's audio
 * @property {number} samples still to be played
 */

export class PlayoutBuffer {
  #rateHz;
  #ring;
  #readAt = 0;
  #buffered = 0;
  /** @type {Segment[]} */
  #segments = [];
  #playing = false;
  #ended = false;
  #waited = 0;
  /** What an underrun left behind, too little to go on with alone. */
  #leftover = 0;
  #prebuffer;
  #ramp;
  #rampIn = 0;
  #tail = new Float32Array(0);
  /** @type {{ turnId: string, positionMs: number } | null} */
  #position = null;
  underruns = 0;
  droppedSamples = 0;

  /** @param {number} rateHz rate of everything written and read */
  constructor(rateHz) {
    this.#rateHz = rateHz;
    this.#ring = new Float32Array(this.#samples(CAPACITY_MS));
    this.#prebuffer = this.#samples(PREBUFFER_MS);
    this.#ramp = this.#samples(RAMP_MS);
  }

  /** Whether sound comes out. */
  get playing() {
    return this.#playing;
  }

  /** Milliseconds written and not yet played. */
  get bufferedMs() {
    return (this.#buffered * 1000) / this.#rateHz;
  }

  /** The turn last heard and how much of its audio has been played; `null` before the first sample. */
  get position() {
    return this.#position;
  }

  /**
   * Adds audio. What does not fit is dropped and counted: the server paces, so it only happens when it does not.
   * @param {string} turnId
   * @param {number | null} startMs position in the turn's audio; `null` follows on from what was written before
   * @param {Float32Array} samples
   */
  write(turnId, startMs, samples) {
    const taken = samples.subarray(0, this.#ring.length - this.#buffered);
    this.droppedSamples += samples.length - taken.length;
    this.#ended = false;
    const last = this.#segments.at(-1);
    if (startMs === null && last?.turnId === turnId) {
      last.samples += taken.length;
    } else {
      const followOn = this.#position?.turnId === turnId ? this.#position.positionMs : 0;
      this.#segments.push({ turnId, positionMs: startMs ?? followOn, samples: taken.length });
    }
    const writeAt = (this.#readAt + this.#buffered) % this.#ring.length;
    const beforeWrap = taken.subarray(0, this.#ring.length - writeAt);
    this.#ring.set(beforeWrap, writeAt);
    this.#ring.set(taken.subarray(beforeWrap.length), 0);
    this.#buffered += taken.length;
  }

  /** No more audio follows for now: what is buffered plays out, however little it is. */
  end() {
    this.#ended = true;
  }

  /** Drops everything at once; the few milliseconds being played fade out. */
  clear() {
    if (this.#playing) {
      this.#tail = new Float32Array(Math.min(this.#ramp, this.#buffered));
      this.#take(this.#tail, this.#tail.length);
      this.#rampDown(this.#tail, this.#tail.length);
    }
    this.#buffered = 0;
    this.#segments = [];
    this.#stop(PREBUFFER_MS);
  }

  /**
   * Fills `output` with what is due, silence where nothing is.
   * @param {Float32Array} output
   * @returns {boolean} true exactly when the last sample of an ended stretch was played in this block
   */
  read(output) {
    output.fill(0);
    this.#playTail(output);
    if (!this.#playing && !this.#start(output.length)) return false;
    // A ramp's worth is kept back until the end is known, so that an underrun can fade instead of breaking off.
    const due = this.#ended ? this.#buffered : this.#buffered - this.#ramp;
    if (due >= output.length) {
      this.#play(output, output.length);
      return false;
    }
    const count = Math.min(this.#buffered, output.length);
    this.#play(output, count);
    if (this.#ended) {
      if (this.#buffered > 0) return false;
      this.#stop(PREBUFFER_MS);
      return true;
    }
    this.#rampDown(output, count);
    this.underruns += 1;
    this.#stop(REBUFFER_MS);
    return false;
  }

  /** @param {number} ms */
  #samples(ms) {
    return Math.round((ms * this.#rateHz) / 1000);
  }

  /** @param {number} prebufferMs */
  #stop(prebufferMs) {
    this.#playing = false;
    this.#waited = 0;
    this.#leftover = this.#buffered;
    this.#prebuffer = this.#samples(prebufferMs);
  }

  /** @param {number} blockSamples */
  #start(blockSamples) {
    if (this.#buffered === 0 || (this.#buffered <= this.#leftover && !this.#ended)) return false;
    this.#waited += blockSamples;
    // Having waited as long as the prebuffer lasts is enough, even if no more has come.
    if (this.#buffered < this.#prebuffer && this.#waited < this.#prebuffer && !this.#ended) return false;
    this.#playing = true;
    this.#rampIn = this.#ramp;
    return true;
  }

  /**
   * @param {Float32Array} output
   * @param {number} count
   */
  #play(output, count) {
    this.#take(output, count);
    for (let i = 0; i < count && this.#rampIn > 0; i++, this.#rampIn--) output[i] *= 1 - this.#rampIn / this.#ramp;
  }

  /**
   * Adds `count` samples from the ring to `output` and moves the position along.
   * @param {Float32Array} output
   * @param {number} count
   */
  #take(output, count) {
    for (let i = 0; i < count; i++) output[i] += this.#ring[(this.#readAt + i) % this.#ring.length];
    this.#readAt = (this.#readAt + count) % this.#ring.length;
    this.#buffered -= count;
    for (let left = count; left > 0 && this.#segments.length > 0; ) {
      const segment = this.#segments[0];
      const step = Math.min(left, segment.samples);
      segment.samples -= step;
      segment.positionMs += (step * 1000) / this.#rateHz;
      this.#position = { turnId: segment.turnId, positionMs: segment.positionMs };
      if (segment.samples === 0) this.#segments.shift();
      left -= step;
    }
  }

  /** @param {Float32Array} output */
  #playTail(output) {
    const count = Math.min(this.#tail.length, output.length);
    for (let i = 0; i < count; i++) output[i] += this.#tail[i];
    this.#tail = this.#tail.subarray(count);
  }

  /**
   * Fades the last ramp's worth of the first `count` samples to silence.
   * @param {Float32Array} samples
   * @param {number} count
   */
  #rampDown(samples, count) {
    const length = Math.min(count, this.#ramp);
    for (let i = 0; i < length; i++) samples[count - length + i] *= 1 - (i + 1) / length;
  }
}
