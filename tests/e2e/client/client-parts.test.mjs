/** Small pure parts of the client: samples, activity, server-sent events. */

import assert from 'node:assert/strict';
import test from 'node:test';

import { activityOf, AT_REST } from '../../../web-demo/client/activity.js';
import { floatToInt16, int16ToFloat, meterLevel, rootMeanSquare } from '../../../web-demo/client/pcm.js';
import { parseEvent } from '../../../web-demo/client/text-chat.js';

test('samples are rounded and clipped, never wrapped', () => {
  const out = new Int16Array(5);
  floatToInt16(Float32Array.of(0, 1.5, -1.5, 0.5, 1 / 65536), out);
  assert.deepEqual([...out], [0, 32767, -32768, 16384, 1]);
  assert.deepEqual([...int16ToFloat(Int16Array.of(-32768, 16384))], [-1, 0.5]);
});

test('the meter runs from -60 dBFS to -6 dBFS', () => {
  assert.equal(meterLevel(0), 0);
  assert.equal(meterLevel(0.001), 0);
  assert.ok(Math.abs(meterLevel(10 ** (-33 / 20)) - 0.5) < 1e-6);
  assert.equal(meterLevel(1), 1);
  assert.ok(Math.abs(rootMeanSquare(Float32Array.of(0.5, -0.5)) - 0.5) < 1e-9);
  assert.equal(rootMeanSquare(new Float32Array(0)), 0);
});

test('what the user does goes before what the agent does', () => {
  const open = { ...AT_REST, link: 'open', microphone: true };
  assert.equal(activityOf(AT_REST), 'idle');
  assert.equal(activityOf(open), 'listening');
  assert.equal(activityOf({ ...open, answering: true }), 'thinking');
  assert.equal(activityOf({ ...open, answering: true, agentSpeaking: true }), 'speaking');
  assert.equal(activityOf({ ...open, agentSpeaking: true, userSpeaking: true }), 'hearing');
  assert.equal(activityOf({ ...open, agentSpeaking: true, held: true }), 'held');
  assert.equal(activityOf({ ...open, muted: true }), 'muted');
  assert.equal(activityOf({ ...open, pushToTalk: true }), 'push-to-talk');
  assert.equal(activityOf({ ...open, microphone: false }), 'ready');
  assert.equal(activityOf({ ...open, link: 'reconnecting', agentSpeaking: true }), 'reconnecting');
  assert.equal(activityOf({ ...AT_REST, link: 'failed' }), 'text-only');
  assert.equal(activityOf({ ...AT_REST, link: 'failed', answering: true }), 'thinking');
});

test('server-sent events are read by the standard: names, split data, comments', () => {
  assert.deepEqual(parseEvent('event: chat.token\ndata: {"text":"hi"}'), { type: 'chat.token', text: 'hi' });
  assert.deepEqual(parseEvent('id: 3\ndata:{"type":"error",\ndata: "code":"internal"}'), { type: 'error', code: 'internal' });
  assert.equal(parseEvent(': keep-alive'), null);
  assert.equal(parseEvent('data: [DONE]'), null);
});
