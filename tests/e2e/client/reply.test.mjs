/** An answer as text: it follows the voice, and shows what an interruption cut off. */

import assert from 'node:assert/strict';
import test from 'node:test';

import { Reply } from '../../../web-demo/page/reply.js';

const caption = (text, start_ms, end_ms) => ({ speaker: 'agent', text, start_ms, end_ms, final: true });

function spokenReply() {
  const reply = new Reply(false);
  reply.addToken('One two three four. Five six.');
  reply.addCaption(caption('One two three four.', 0, 1000));
  reply.addCaption(caption('Five six.', 1000, 1500));
  return reply;
}

test('nothing is shown before it is heard', () => {
  assert.deepEqual(spokenReply().view(), { spoken: '', unspoken: '' });
});

test('words appear as they are heard', () => {
  const reply = spokenReply();
  reply.heard(500, 'playing');
  assert.equal(reply.view().spoken, 'One two');
  reply.heard(1100, 'playing');
  assert.equal(reply.view().spoken, 'One two three four. Five');
  reply.heard(1490, 'drained');
  assert.equal(reply.view().spoken, 'One two three four. Five six.');
});

test('a later caption for the same stretch replaces the first', () => {
  const reply = new Reply(false);
  reply.addCaption(caption('On to', 0, 500));
  reply.addCaption(caption('One two', 0, 500));
  reply.heard(500, 'drained');
  assert.equal(reply.view().spoken, 'One two');
});

test('an interruption shows what was heard and strikes the rest', () => {
  const reply = spokenReply();
  reply.heard(500, 'playing');
  reply.interrupt('One two');
  assert.deepEqual(reply.view(), { spoken: 'One two', unspoken: 'three four. Five six.' });
});

test('an answer that goes on shows itself as before', () => {
  const reply = spokenReply();
  reply.interrupt('One two');
  reply.resume();
  reply.heard(1000, 'playing');
  assert.deepEqual(reply.view(), { spoken: 'One two three four.', unspoken: '' });
});

test('an answer without a voice is shown whole when it is complete', () => {
  const reply = new Reply(false);
  reply.addToken('Only ');
  assert.equal(reply.view().spoken, '');
  reply.addToken('written.');
  reply.complete('Only written.', false);
  assert.equal(reply.view().spoken, 'Only written.');
});

test('an answer in writing is shown as it comes', () => {
  const reply = new Reply(true);
  reply.addToken('Only ');
  assert.equal(reply.view().spoken, 'Only ');
});

test('an answer interrupted before a word was heard is struck whole', () => {
  const reply = spokenReply();
  reply.complete('', true);
  assert.deepEqual(reply.view(), { spoken: '', unspoken: 'One two three four. Five six.' });
});

test('an answer whose voice was lost on the way can be read to its end', () => {
  const reply = spokenReply();
  reply.heard(500, 'playing');
  reply.heard(500, 'cleared');
  assert.equal(reply.view().spoken, 'One two', 'it may go on');
  reply.complete('One two three four. Five six.', false);
  assert.deepEqual(reply.view(), { spoken: 'One two three four. Five six.', unspoken: '' });
});
