/**
 * The loudspeaker: plays the agent's audio without gaps, stops within milliseconds, and knows what has been heard.
 * Driven by `reply-player.js`.
 */

import { meterLevel, rootMeanSquare } from './pcm.js';

/** @typedef {import('./types.js').Playback} Playback */

export class Speaker {
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {AudioWorkletNode | null} */
  #node = null;
  /** @type {AnalyserNode | null} */
  #analyser = null;
  #waveform = new Float32Array(0);
  #rateHz = 0;
  #deviceId = '';
  /** The context plays, or was to play, elsewhere than where browsers play by themselves. */
  #routed = false;
  /** Where a context cannot choose its loudspeaker (Firefox), an element plays what it makes. */
  #element = new Audio();
  /** Audio that came while the worklet was loading. @type {{ message: object, transfer: ArrayBuffer[] }[]} */
  #early = [];

  /** How far playing has come, every 50 ms and when it ends. @type {(playback: Playback) => void} */
  onplayback = () => {};

  /**
   * Gets ready to play. Call it from a user's gesture: browsers let a page make sound only after one.
   * @param {number} rateHz rate of the audio that will come
   */
  async open(rateHz) {
    if (this.#context !== null) {
      await this.#context.resume();
      if (this.#rateHz === rateHz) return;
      this.close();
    }
    this.#rateHz = rateHz;
    const context = new AudioContext({ sampleRate: rateHz, latencyHint: 'interactive' });
    this.#context = context;
    try {
      await this.#prepare(context, rateHz);
    } catch (error) {
      if (this.#context === context) throw error; // else it was closed meanwhile, and nobody minds
    }
  }

  /**
   * @param {AudioContext} context
   * @param {number} rateHz
   */
  async #prepare(context, rateHz) {
    await context.audioWorklet.addModule(new URL('./playback-worklet.js', import.meta.url));
    if (this.#context !== context) return;
    const node = new AudioWorkletNode(context, 'convergio-playback', {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions: { inputHz: rateHz },
    });
    node.port.onmessage = ({ data }) => this.#heard(data);
    this.#analyser = new AnalyserNode(context, { fftSize: 1024 });
    this.#waveform = new Float32Array(this.#analyser.fftSize);
    node.connect(this.#analyser).connect(context.destination);
    this.#node = node;
    await this.#route(context, this.#analyser).catch(() => {}); // it is not there: the browser's choice plays
    for (const { message, transfer } of this.#early.splice(0)) node.port.postMessage(message, transfer);
    await context.resume();
  }

  /**
   * Rejects where the browser does not let the page use it.
   * @param {string} deviceId empty for the browser's own choice
   */
  async useDevice(deviceId) {
    this.#deviceId = deviceId;
    if (this.#context !== null && this.#analyser !== null) await this.#route(this.#context, this.#analyser);
  }

  /**
   * Plays the next stretch of a turn's audio.
   * @param {string} turnId
   * @param {number | null} startMs its position in the turn's audio; `null` follows on from the last
   * @param {ArrayBuffer} samples 16-bit little-endian mono; taken over, not copied
   */
  play(turnId, startMs, samples) {
    this.#post({ play: samples, turnId, startMs }, [samples]);
  }

  /** All of the turn's audio has been handed over. */
  end() {
    this.#post({ end: true });
  }

  /** Stops at once and drops what is buffered. */
  clear() {
    this.#early = [];
    this.#post({ clear: true });
  }

  /** How loud the agent is right now, 0 to 1 on a decibel scale. */
  get level() {
    if (this.#analyser === null) return 0;
    this.#analyser.getFloatTimeDomainData(this.#waveform);
    return meterLevel(rootMeanSquare(this.#waveform));
  }

  close() {
    this.#early = [];
    this.#node?.disconnect();
    this.#node = this.#analyser = null;
    this.#element.srcObject = null;
    this.#routed = false;
    void this.#context?.close();
    this.#context = null;
  }

  /**
   * @param {AudioContext & { setSinkId?: (deviceId: string) => Promise<void> }} context
   * @param {AnalyserNode} output
   */
  async #route(context, output) {
    if (this.#deviceId === '' && !this.#routed) return;
    this.#routed = true;
    if (context.setSinkId !== undefined) {
      await context.setSinkId(this.#deviceId);
    } else if ('setSinkId' in this.#element) {
      if (this.#element.srcObject === null) {
        const destination = context.createMediaStreamDestination();
        output.disconnect();
        output.connect(destination);
        this.#element.srcObject = destination.stream; // once: another would break off a `play` that has begun
      }
      await this.#element.setSinkId(this.#deviceId);
      await this.#element.play();
    }
  }

  /**
   * @param {object} message
   * @param {ArrayBuffer[]} transfer
   */
  #post(message, transfer = []) {
    if (this.#node !== null) this.#node.port.postMessage(message, transfer);
    else if (this.#context !== null) this.#early.push({ message, transfer });
  }

  /** @param {{ turnId: string, positionMs: number, state: Playback['state'], underruns: number }} report */
  #heard({ turnId, positionMs, state, underruns }) {
    // Samples handed to the device are heard a little later. A stretch that ended will be heard whole.
    const latencyMs = state === 'drained' ? 0 : (this.#context?.outputLatency ?? 0) * 1000;
    const heardMs = Math.max(0, Math.round(positionMs - latencyMs));
    this.onplayback({ requestId: turnId, heardMs, state, underruns });
  }
}
