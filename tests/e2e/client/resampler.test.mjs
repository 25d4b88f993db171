/** The resampler against what signal theory says: tones keep their pitch, aliases are gone, block borders leave no trace. */

import assert from 'node:assert/strict';
import test from 'node:test';

import { Resampler } from '../../../web-demo/client/resampler.js';

const RATES = [
  [48_000, 16_000],
  [44_100, 16_000],
  [16_000, 16_000],
  [24_000, 48_000],
  [24_000, 44_100],
];

function tone(hz, rateHz, seconds) {
  return Float32Array.from({ length: rateHz * seconds }, (_, i) => Math.sin((2 * Math.PI * hz * i) / rateHz));
}

/** Converts in blocks, as an AudioWorklet does. */
function convert(resampler, input, blockSamples = 128) {
  const blocks = [];
  for (let at = 0; at < input.length; at += blockSamples) {
    blocks.push(...resampler.process(input.subarray(at, at + blockSamples)));
  }
  return Float32Array.from(blocks);
}

/** Amplitude of one frequency (Goertzel), away from the beginning. */
function amplitude(samples, hz, rateHz) {
  const part = samples.subarray(2000, 2000 + Math.floor(rateHz / 10));
  let re = 0;
  let im = 0;
  part.forEach((sample, i) => {
    re += sample * Math.cos((2 * Math.PI * hz * i) / rateHz);
    im += sample * Math.sin((2 * Math.PI * hz * i) / rateHz);
  });
  return (2 * Math.hypot(re, im)) / part.length;
}

function rms(samples) {
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

for (const [from, to] of RATES) {
  test(`${from} -> ${to}: a second of input becomes a second of output, and a tone keeps pitch and level`, () => {
    const resampler = new Resampler(from, to);
    const output = convert(resampler, tone(1000, from, 1));
    const held = (resampler.delaySamples * to) / from;
    assert.ok(Math.abs(output.length + held - to) <= 2, `${output.length} samples and ${held} held back`);
    assert.ok(Math.abs(amplitude(output, 1000, to) - 1) < 0.002);
  });

  test(`${from} -> ${to}: nothing but the tone is in the output`, () => {
    const output = convert(new Resampler(from, to), tone(1000, from, 1));
    const wanted = amplitude(output, 1000, to) / Math.SQRT2;
    const residue = Math.sqrt(Math.max(0, rms(output.subarray(2000, 2000 + to / 10)) ** 2 - wanted ** 2));
    assert.ok(residue < 0.001, `residue ${residue}`);
  });

  test(`${from} -> ${to}: blocks of any size give the same samples`, () => {
    const input = tone(1234, from, 0.25);
    const whole = Float32Array.from(new Resampler(from, to).process(input));
    for (const size of [1, 7, 128, 1000]) assert.deepEqual(convert(new Resampler(from, to), input, size), whole);
  });
}

for (const from of [48_000, 44_100]) {
  test(`${from} -> 16000: 7 kHz passes (EN 301 549 6.1) and what would fold back is 60 dB down`, () => {
    assert.ok(Math.abs(20 * Math.log10(amplitude(convert(new Resampler(from, 16_000), tone(7000, from, 1)), 7000, 16_000))) < 0.5);
    for (const hz of [8100, 9000, 12_000, 15_000]) {
      const output = convert(new Resampler(from, 16_000), tone(hz, from, 1)).subarray(2000);
      assert.ok(20 * Math.log10(rms(output) + 1e-12) < -60, `${hz} Hz leaves ${20 * Math.log10(rms(output))} dB`);
    }
  });
}

test('flushing gives what was held back, and starts afresh', () => {
  const resampler = new Resampler(24_000, 48_000);
  const input = tone(500, 24_000, 0.1);
  const first = [...resampler.process(input), ...resampler.flush()];
  const second = [...resampler.process(input), ...resampler.flush()];
  assert.ok(Math.abs(first.length - 4800) <= 2);
  assert.deepEqual(second, first);
});
