/** How far a turn has been heard over a track that carries nothing but sound. */

import assert from 'node:assert/strict';
import test from 'node:test';

import { TrackClock } from '../../../web-demo/client/track-clock.js';

const BLOCK_MS = 20;
const LOUD = 0.1;
const QUIET = 0.0005;

/** A clock, what it reported, and the means to let time and events pass. */
function listener() {
  const clock = new TrackClock();
  const reports = [];
  clock.onplayback = (playback) => reports.push(playback);
  const hear = (rms, ms) => {
    for (let passed = 0; passed < ms; passed += BLOCK_MS) clock.tick(rms, BLOCK_MS);
  };
  const tell = (type, fields = {}) => clock.take({ type, request_id: 't-1', ...fields });
  const last = () => reports.at(-1);
  return { clock, reports, hear, tell, last };
}

const caption = (end_ms, start_ms = 0) => ({ speaker: 'agent', text: 'words', start_ms, end_ms, final: true });

test('a turn is heard from its first sound to the length the server names', () => {
  const { reports, hear, tell, last } = listener();
  hear(QUIET, 100);
  tell('turn.started');
  hear(QUIET, 300);
  assert.deepEqual(reports, []);
  hear(LOUD, 600);
  assert.deepEqual(last(), { requestId: 't-1', heardMs: 600, state: 'playing', underruns: 0 });
  assert.ok(reports.every(({ state }, index) => state === 'playing' && index < 12));
  tell('voice.audio.done', { audio_ms: 1000 });
  hear(LOUD, 400);
  assert.equal(last().state, 'playing');
  hear(QUIET, 60);
  assert.deepEqual(last(), { requestId: 't-1', heardMs: 1000, state: 'drained', underruns: 0 });
});

test('pauses between words count, whether a caption covers them or not', () => {
  const { hear, tell, last } = listener();
  tell('turn.started');
  tell('caption', caption(2000));
  hear(LOUD, 400);
  hear(QUIET, 600);
  hear(LOUD, 200);
  assert.equal(last().heardMs, 1200, 'an actor may pause');
  hear(LOUD, 900);
  hear(QUIET, 160);
  hear(LOUD, 80);
  assert.equal(last().heardMs, 2340);
});

test('an agent that waits for its own words is not heard', () => {
  const { hear, tell, last } = listener();
  tell('turn.started');
  tell('caption', caption(500));
  hear(LOUD, 500);
  hear(QUIET, 3000);
  assert.equal(last().state, 'playing');
  const before = last().heardMs;
  assert.ok(before < 720, String(before));
  tell('caption', caption(1500, 500));
  hear(LOUD, 400);
  assert.ok(last().heardMs - before <= 460, `${before} ${last().heardMs}`);
});

test('a network that swallows the voice is not heard, whatever the captions promise', () => {
  const { hear, tell, last } = listener();
  tell('turn.started');
  tell('caption', caption(10_000));
  hear(LOUD, 600);
  hear(QUIET, 5000);
  assert.equal(last().heardMs, 1380);
});

test('silence after the last of the audio was sent is its end', () => {
  const { hear, tell, last } = listener();
  tell('turn.started');
  hear(LOUD, 700);
  tell('voice.audio.done', { audio_ms: 1000 });
  hear(QUIET, 380);
  assert.equal(last().state, 'playing');
  hear(QUIET, 40);
  assert.deepEqual([last().state, last().heardMs], ['drained', 1000]);
});

test('an answer whose end was never announced ends in silence too', () => {
  const { hear, tell, last } = listener();
  tell('turn.started');
  hear(LOUD, 300);
  tell('chat.complete', { text: 'Hello.' });
  hear(QUIET, 420);
  assert.equal(last().state, 'drained');
});

test('audio too quiet to be noticed is over when it must be', () => {
  const { reports, hear, tell, last } = listener();
  tell('turn.started');
  tell('voice.audio.done', { audio_ms: 500 });
  hear(QUIET, 1480);
  assert.deepEqual(reports, []);
  hear(QUIET, 40);
  assert.deepEqual([last().state, last().heardMs], ['drained', 500]);
});

test('a turn without audio says nothing', () => {
  const { reports, hear, tell } = listener();
  tell('turn.started');
  tell('voice.audio.done', { audio_ms: 0 });
  tell('chat.complete', { text: 'Only written.' });
  hear(QUIET, 5000);
  assert.deepEqual(reports, []);
});

test('an interruption closes the gate at once; it opens for what goes on', () => {
  const { clock, hear, tell, last } = listener();
  tell('turn.started');
  hear(LOUD, 500);
  tell('voice.interrupted', { heard_ms: 440, heard_text: '', resumable: true });
  assert.deepEqual([last().state, last().heardMs, clock.audible], ['cleared', 440, false]);
  hear(LOUD, 120); // what the jitter buffer held
  hear(QUIET, 500);
  assert.equal(clock.audible, false);
  tell('voice.resumed', { from_ms: 400 });
  hear(QUIET, 20);
  assert.equal(clock.audible, true);
  hear(LOUD, 200);
  assert.deepEqual([last().state, last().heardMs], ['playing', 580]);
});

test('the rest of a cut turn is not taken for the next one', () => {
  const { clock, reports, hear, tell, last } = listener();
  tell('turn.started');
  hear(LOUD, 500);
  tell('voice.interrupted', { heard_ms: 500, heard_text: '', resumable: false });
  tell('turn.started', { request_id: 't-2' });
  const count = reports.length;
  hear(LOUD, 100);
  assert.equal(reports.length, count);
  assert.equal(clock.audible, false);
  hear(QUIET, 40);
  hear(LOUD, 100);
  assert.deepEqual([last().requestId, last().state], ['t-2', 'playing']);
});

test('the first of the next turn is not lost where it follows without a gap', () => {
  const { clock, hear, tell, last } = listener();
  tell('turn.started');
  hear(LOUD, 500);
  tell('voice.interrupted', { heard_ms: 500, heard_text: '', resumable: false });
  tell('turn.started', { request_id: 't-2' });
  hear(LOUD, 60);
  tell('turn.latency', { request_id: 't-2', stages: [] });
  assert.equal(clock.audible, true);
  hear(LOUD, 60);
  assert.equal(last().requestId, 't-2');
});

test('an answer that goes on without a gap is heard as soon as the rest must be through', () => {
  const { clock, hear, tell, last } = listener();
  tell('turn.started');
  hear(LOUD, 500);
  tell('voice.interrupted', { heard_ms: 500, heard_text: '', resumable: true });
  tell('voice.resumed', { from_ms: 400 });
  hear(LOUD, 280);
  assert.equal(clock.audible, false);
  hear(LOUD, 100);
  assert.deepEqual([clock.audible, last().state], [true, 'playing']);
});

test('a turn the user silenced stays silent, whatever the server still says of it', () => {
  const { clock, reports, hear, tell, last } = listener();
  tell('turn.started');
  hear(LOUD, 500);
  clock.silence('t-1');
  assert.deepEqual([last().state, last().heardMs], ['cleared', 500]);
  tell('turn.latency', { stages: [] });
  tell('voice.resumed', { from_ms: 400 });
  const count = reports.length;
  hear(QUIET, 100);
  hear(LOUD, 500);
  assert.equal(clock.audible, false);
  assert.equal(reports.length, count);
});

test('a turn that begins while another sounds ends that one', () => {
  const { reports, hear, tell } = listener();
  tell('turn.started');
  hear(LOUD, 500);
  tell('turn.started', { request_id: 't-2' });
  assert.deepEqual([reports.at(-1).requestId, reports.at(-1).state], ['t-1', 'drained']);
});

test('a clock that was told to forget reports nothing of what went before', () => {
  const { clock, reports, hear, tell } = listener();
  tell('turn.started');
  hear(LOUD, 300);
  clock.forget();
  assert.deepEqual([reports.at(-1).state, reports.at(-1).heardMs], ['cleared', 300]);
  const count = reports.length;
  hear(LOUD, 300);
  tell('turn.started', { request_id: 't-2' });
  assert.equal(reports.length, count);
});
