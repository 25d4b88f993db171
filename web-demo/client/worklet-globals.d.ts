/** What an AudioWorklet module finds in its global scope and lib.dom does not describe. */
declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
  process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean;
}
declare function registerProcessor(name: string, processor: new (options: any) => AudioWorkletProcessor): void;
