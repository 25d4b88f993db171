/**
 * How loud a track is, 20 ms at a time, on the audio thread's own count of time. Driven by `track-player.js`.
 *
 * Posts `{ rms: number, ms: number }`.
 */

const BLOCK_MS = 20;
/** Samples a call, where nothing is connected that would tell. */
const QUANTUM = 128;

class LevelProcessor extends AudioWorkletProcessor {
  #sum = 0;
  #count = 0;

  /**
   * @override
   * @param {Float32Array[][]} inputs
   * @returns {boolean} whether the processor is still needed
   */
  process(inputs) {
    const channel = inputs[0]?.[0] ?? []; // nothing is connected: that is silence
    for (const sample of channel) this.#sum += sample * sample;
    this.#count += channel.length || QUANTUM;
    const ms = (this.#count * 1000) / sampleRate;
    if (ms >= BLOCK_MS) {
      this.port.postMessage({ rms: Math.sqrt(this.#sum / this.#count), ms });
      this.#sum = this.#count = 0;
    }
    return true;
  }
}

registerProcessor('convergio-level', LevelProcessor);
