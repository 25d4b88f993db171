/**
 * The microphone's end in the audio thread: whatever rate the context runs at, out come 20 ms frames of 16 kHz mono
 * 16-bit samples. Knows nothing of sockets. Driven by `microphone.js`.
 *
 * Posts `{ frame: ArrayBuffer, rms: number }`; the frame is transferred, little-endian on every machine browsers run on.
 */

import { floatToInt16, rootMeanSquare } from './pcm.js';
import { Resampler } from './resampler.js';

class CaptureProcessor extends AudioWorkletProcessor {
  #resampler;
  #frame;
  #filled = 0;

  /** @param {{ processorOptions: { outputHz: number, frameMs: number } }} options */
  constructor({ processorOptions: { outputHz, frameMs } }) {
    super();
    this.#resampler = new Resampler(sampleRate, outputHz);
    this.#frame = new Float32Array((outputHz * frameMs) / 1000);
  }

  /**
   * @override
   * @param {Float32Array[][]} inputs
   * @returns {boolean} whether the processor is still needed
   */
  process(inputs) {
    const channel = inputs[0]?.[0];
    if (channel === undefined) return true;
    let rest = this.#resampler.process(channel);
    while (rest.length > 0) {
      const taken = rest.subarray(0, this.#frame.length - this.#filled);
      this.#frame.set(taken, this.#filled);
      this.#filled += taken.length;
      rest = rest.subarray(taken.length);
      if (this.#filled === this.#frame.length) this.#post();
    }
    return true;
  }

  #post() {
    const samples = new Int16Array(this.#frame.length);
    floatToInt16(this.#frame, samples);
    this.#filled = 0;
    this.port.postMessage({ frame: samples.buffer, rms: rootMeanSquare(this.#frame) }, [samples.buffer]);
  }
}

registerProcessor('convergio-capture', CaptureProcessor);
