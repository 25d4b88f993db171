// What the client programs under Node share: their arguments, a microphone in real time, and the report they print.

import { readFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SAMPLE_RATE_HZ } from './dialogue.mjs';

const HEADER_BYTES = 44;

export function readArguments() {
  const text = { type: 'string' };
  const { values } = parseArgs({
    options: {
      url: text, key: text, clips: text, output: text, variant: text,
      'limit-s': { ...text, default: '90' }, 'chunk-ms': { ...text, default: '40' },
    },
  });
  return { ...values, limitMs: Number(values['limit-s']) * 1_000, chunkMs: Number(values['chunk-ms']) };
}

/** A quiet room in which recordings are played when asked, a chunk at a time in real time. */
export class Microphone {
  constructor({ clips, chunkMs }) {
    Object.assign(this, { clips, chunkMs, waiting: [], samples: (SAMPLE_RATE_HZ * chunkMs) / 1_000 });
  }

  say(clip, afterS = 0) {
    const pcm = readFileSync(join(this.clips, `${clip}.wav`)).subarray(HEADER_BYTES);
    for (let pause = 0; pause < afterS * 1_000; pause += this.chunkMs) this.waiting.push(this.#room());
    for (let at = 0; at < pcm.length; at += this.samples * 2) {
      const chunk = Buffer.alloc(this.samples * 2);
      pcm.copy(chunk, 0, at, at + chunk.length);
      this.waiting.push(chunk);
    }
  }

  /** Calls `send` with each chunk when it is due; returns how to stop. */
  start(send) {
    let dueMs = performance.now();
    let timer;
    const next = () => {
      send(this.waiting.shift() ?? this.#room());
      dueMs += this.chunkMs;
      timer = setTimeout(next, Math.max(0, dueMs - performance.now()));
    };
    next();
    return () => clearTimeout(timer);
  }

  #room() {
    const chunk = Buffer.alloc(this.samples * 2);
    for (let at = 0; at < chunk.length; at += 2) chunk.writeInt16LE(Math.round((Math.random() - 0.5) * 34), at);
    return chunk;
  }
}

/** Whatever happens in `conversation(over)`, the report is printed and the audio written, within the limit. */
export async function reported(dialogue, { output, limitMs }, conversation) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over after ${limitMs} ms`)), limitMs);
    process.on('uncaughtException', reject);
    process.on('unhandledRejection', reject);
  });
  try {
    await Promise.race([conversation(), limit]);
  } catch (error) {
    dialogue.report.exception = error?.stack ?? String(error);
  }
  clearTimeout(timer);
  mkdirSync(output, { recursive: true });
  dialogue.spoken().forEach((answer, index) => {
    const file = join(output, `answer-${index}.wav`);
    writeFileSync(file, wav(Buffer.concat(answer.audio)));
    const { text, status, reason, audioMs, itemId } = answer;
    dialogue.report.answers.push({ text, status, reason, audio_ms: audioMs, file, item_id: itemId });
  });
  process.stdout.write(`${JSON.stringify(dialogue.report)}\n`, () => process.exit(0));
}

function wav(pcm) {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + pcm.length, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(SAMPLE_RATE_HZ, 24);
  header.writeUInt32LE(SAMPLE_RATE_HZ * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(pcm.length, 40);
  return Buffer.concat([header, pcm]);
}
