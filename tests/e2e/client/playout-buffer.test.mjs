/** The playout buffer, block by block: what comes out, how far it says it has come, and that cuts do not click. */

import assert from 'node:assert/strict';
import test from 'node:test';

import { PlayoutBuffer } from '../../../web-demo/client/playout-buffer.js';

const RATE_HZ = 24_000;
const BLOCK = 128;

const ms = (count) => (count * RATE_HZ) / 1000;
const constant = (lengthMs, value = 0.5) => new Float32Array(ms(lengthMs)).fill(value);

/** Reads `lengthMs` of output; tells where the stretch ended. */
function read(buffer, lengthMs) {
  const output = [];
  let drained = false;
  while (output.length < ms(lengthMs)) {
    const block = new Float32Array(BLOCK);
    drained = buffer.read(block) || drained;
    output.push(...block);
  }
  return { output, drained };
}

function steepest(samples) {
  return Math.max(...samples.slice(1).map((sample, i) => Math.abs(sample - samples[i])));
}

test('playing begins once 60 ms are there', () => {
  const buffer = new PlayoutBuffer(RATE_HZ);
  buffer.write('t', 0, constant(40));
  assert.equal(Math.max(...read(buffer, 10).output), 0);
  buffer.write('t', null, constant(40));
  assert.ok(Math.max(...read(buffer, 20).output) > 0.4);
});

test('a short answer plays as soon as its end is known, and is heard whole', () => {
  const buffer = new PlayoutBuffer(RATE_HZ);
  buffer.write('t', 0, constant(20));
  buffer.end();
  const { drained } = read(buffer, 40);
  assert.ok(drained);
  assert.deepEqual(buffer.position, { turnId: 't', positionMs: 20 });
  assert.equal(buffer.underruns, 0);
});

test('the position counts from where the server says the audio lies', () => {
  const buffer = new PlayoutBuffer(RATE_HZ);
  buffer.write('t', 1500, constant(200));
  read(buffer, 64);
  assert.ok(Math.abs(buffer.position.positionMs - 1564) < 6, `${buffer.position.positionMs}`);
});

test('a turn after another is told apart', () => {
  const buffer = new PlayoutBuffer(RATE_HZ);
  buffer.write('a', 0, constant(100));
  buffer.write('b', 0, constant(100));
  buffer.end();
  read(buffer, 128);
  assert.equal(buffer.position.turnId, 'b');
  assert.ok(buffer.position.positionMs > 20 && buffer.position.positionMs < 35);
});

test('a cut is silent within 5 ms and does not click', () => {
  const buffer = new PlayoutBuffer(RATE_HZ);
  buffer.write('t', 0, constant(1000));
  const before = read(buffer, 100).output;
  buffer.clear();
  const after = read(buffer, 50).output;
  assert.ok(after.slice(ms(5)).every((sample) => sample === 0));
  assert.ok(steepest([...before, ...after]) < 0.02);
  assert.equal(buffer.bufferedMs, 0);
  assert.ok(buffer.position.positionMs < 110);
});

test('nothing of the cut audio is heard when the next begins', () => {
  const buffer = new PlayoutBuffer(RATE_HZ);
  buffer.write('a', 0, constant(1000, 0.9));
  read(buffer, 100);
  buffer.clear();
  read(buffer, 20);
  buffer.write('b', 0, constant(200, 0.1));
  const { output } = read(buffer, 100);
  assert.ok(Math.max(...output) <= 0.1 + 1e-6);
});

test('an underrun fades, is counted, and waits for more before going on', () => {
  const buffer = new PlayoutBuffer(RATE_HZ);
  buffer.write('t', 0, constant(100));
  const { output, drained } = read(buffer, 150);
  assert.equal(drained, false);
  assert.equal(buffer.underruns, 1);
  assert.ok(steepest(output) < 0.02);
  assert.ok(buffer.position.positionMs > 95 && buffer.position.positionMs <= 100);
  read(buffer, 500);
  assert.equal(buffer.underruns, 1);
  buffer.write('t', null, constant(100));
  assert.equal(Math.max(...read(buffer, 100).output), 0);
  buffer.write('t', null, constant(100));
  assert.ok(Math.max(...read(buffer, 20).output) > 0.4);
  assert.ok(buffer.position.positionMs > 100);
});

test('what does not fit is dropped and counted', () => {
  const buffer = new PlayoutBuffer(RATE_HZ);
  buffer.write('t', 0, constant(29_000));
  buffer.write('t', null, constant(2_000));
  assert.equal(buffer.bufferedMs, 30_000);
  assert.equal(buffer.droppedSamples, ms(1_000));
});

test('samples come out in order across the end of the ring', () => {
  const buffer = new PlayoutBuffer(RATE_HZ);
  const output = [];
  let written = 0;
  for (let round = 0; round < 9; round++) {
    buffer.write('t', round === 0 ? 0 : null, Float32Array.from({ length: ms(4000) }, () => (written++ % 997) / 1000));
    output.push(...read(buffer, 3900).output);
  }
  const start = output.findIndex((sample) => sample > 0.4);
  for (let i = start + 1; i < output.length; i++) {
    const step = output[i] - output[i - 1];
    assert.ok(Math.abs(step - 0.001) < 1e-6 || Math.abs(step + 0.996) < 1e-6, `at ${i}: ${step}`);
  }
});
