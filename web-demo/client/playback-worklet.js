/**
 * The loudspeaker's end in the audio thread. Takes 16-bit samples at the session's rate, plays them without gaps, says
 * how far it has come. Knows nothing of sockets or turns beyond their ids. Driven by `speaker.js`.
 *
 * Takes `{ play: ArrayBuffer, turnId, startMs }`, `{ end: true }`, `{ clear: true }`.
 * Posts `{ turnId, positionMs, state, underruns }` every 50 ms while playing, and once when playing ends:
 * `state` is `playing`, `drained` (everything was heard) or `cleared` (cut off).
 */

import { int16ToFloat } from './pcm.js';
import { PlayoutBuffer } from './playout-buffer.js';
import { Resampler } from './resampler.js';

const REPORT_MS = 50;

class PlaybackProcessor extends AudioWorkletProcessor {
  #buffer = new PlayoutBuffer(sampleRate);
  #resampler;
  #sinceReport = 0;
  #lastTurnId = '';

  /** @param {{ processorOptions: { inputHz: number } }} options */
  constructor({ processorOptions: { inputHz } }) {
    super();
    this.#resampler = new Resampler(inputHz, sampleRate);
    this.port.onmessage = ({ data }) => this.#take(data);
  }

  /**
   * @override
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs
   */
  process(_inputs, outputs) {
    const [first, ...others] = outputs[0];
    const drained = this.#buffer.read(first);
    for (const channel of others) channel.set(first);
    this.#sinceReport += first.length;
    if (drained) this.#report('drained');
    else if (this.#buffer.playing && this.#sinceReport >= (REPORT_MS * sampleRate) / 1000) this.#report('playing');
    return true;
  }

  /** @param {{ play?: ArrayBuffer, turnId: string, startMs: number | null, end?: true, clear?: true }} message */
  #take(message) {
    if (message.play !== undefined) {
      this.#lastTurnId = message.turnId;
      const samples = this.#resampler.process(int16ToFloat(new Int16Array(message.play)));
      this.#buffer.write(message.turnId, message.startMs, samples);
    } else if (message.end) {
      const rest = this.#resampler.flush();
      if (rest.length > 0) this.#buffer.write(this.#lastTurnId, null, rest);
      this.#buffer.end();
      if (this.#buffer.bufferedMs === 0) this.#report('drained');
    } else if (message.clear) {
      const cutsOff = this.#buffer.playing || this.#buffer.bufferedMs > 0;
      this.#resampler.flush();
      this.#buffer.clear();
      if (cutsOff) this.#report('cleared');
    }
  }

  /** @param {'playing' | 'drained' | 'cleared'} state */
  #report(state) {
    this.#sinceReport = 0;
    const position = this.#buffer.position;
    if (position !== null) this.port.postMessage({ ...position, state, underruns: this.#buffer.underruns });
  }
}

registerProcessor('convergio-playback', PlaybackProcessor);
