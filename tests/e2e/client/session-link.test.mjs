/** A session's connection over whatever can be had: WebRTC, the socket after it, and the same session over either. */

import assert from 'node:assert/strict';
import test from 'node:test';

import { SessionLink } from '../../../web-demo/client/session-link.js';
import { TransportChoice } from '../../../web-demo/client/transport-choice.js';

/** Lets everything that was promised happen. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A transport that does as a test says; `refuses` may hold a kind that cannot be opened. */
class FakeTransport {
  voice = null;
  audioLagMs = 0;
  sent = [];
  frames = 0;
  end = '';
  track = null;

  constructor(kind, world) {
    this.kind = kind;
    this.world = world;
    world.made.push(this);
  }

  async open() {
    if (this.world.refuses.has(this.kind)) throw new Error(`${this.kind} does not connect.`);
  }

  send(message) {
    this.sent.push(message);
    if (message.type === 'voice.start') this.tell('session.started', 1, { session_id: 's-1' });
    if (message.type !== 'session.resume') return;
    if (this.world.forgotten) this.tell('error', 1, { code: 'session.not_found', message: 'Gone.', retryable: false });
    else this.tell('session.resumed', message.last_event_id, { missed_events: 0 });
  }

  tell(type, event_id, fields = {}) {
    queueMicrotask(() => this.onmessage({ type, event_id, request_id: 'r', ...fields }));
  }

  sendAudio() {
    this.frames += 1;
  }

  sendKept(frames) {
    this.frames += frames.length;
    this.trackWhenKeptWereSent = this.track;
  }

  carry(track) {
    this.track = track;
  }

  close() {
    this.end ||= 'closed';
  }

  detach() {
    this.end ||= 'detached';
  }
}

/** A link, the transports it made and the states it went through. */
function linked(t, preference = 'auto') {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const world = { made: [], refuses: new Set(), forgotten: false, states: [], carriers: [] };
  const make = (kind) => () => new FakeTransport(kind, world);
  world.transports = new TransportChoice({ webrtc: make('webrtc'), websocket: make('websocket') }, preference, true);
  world.link = new SessionLink({
    transports: world.transports,
    startMessage: () => ({ type: 'voice.start' }),
    retryDelaysMs: [10, 20, 30],
  });
  world.link.onstate = (state) => world.states.push(state);
  world.link.oncarrier = ({ kind }) => world.carriers.push(kind);
  world.kinds = () => world.made.map(({ kind }) => kind);
  world.wait = async (ms) => {
    t.mock.timers.tick(ms);
    await settled();
  };
  return world;
}

test('WebRTC carries the session where it can', async (t) => {
  const world = linked(t);
  assert.equal(await world.link.open(), true);
  assert.deepEqual(world.kinds(), ['webrtc']);
  assert.deepEqual(world.carriers, ['webrtc']);
  assert.equal(world.made[0].sent[0].type, 'voice.start');
  assert.equal(world.link.carrier, world.made[0]);
});

test('the socket takes over at once, and from then on, where WebRTC does not connect', async (t) => {
  const world = linked(t);
  world.refuses.add('webrtc');
  assert.equal(await world.link.open(), true);
  assert.deepEqual(world.kinds(), ['webrtc', 'websocket']);
  assert.equal(world.made[0].end, 'closed');
  assert.deepEqual(world.states, ['connecting', 'open']);
  world.link.close();
  await world.link.open();
  assert.deepEqual(world.kinds(), ['webrtc', 'websocket', 'websocket']);
});

test('what was said while WebRTC tried is heard over the socket', async (t) => {
  const world = linked(t);
  world.refuses.add('webrtc');
  const opening = world.link.open();
  for (let count = 0; count < 300; count++) world.link.sendAudio(new ArrayBuffer(640));
  await opening;
  assert.equal(world.made[1].frames, 250);
});

test('a session whose WebRTC is lost goes on over a new peer, and over the socket where there is none', async (t) => {
  const world = linked(t);
  await world.link.open();
  world.made[0].tell('chat.token', 7);
  await settled();
  world.made[0].onclose(1006, 'lost');
  await world.wait(20);
  assert.deepEqual(world.carriers, ['webrtc', 'webrtc']);
  assert.deepEqual(world.made[1].sent, [{ type: 'session.resume', session_id: 's-1', last_event_id: 7 }]);
  assert.equal(world.made[0].end, 'detached', 'to end the peer would be to end the session');

  world.refuses.add('webrtc');
  world.made[1].onclose(1006, 'lost');
  await world.wait(20);
  assert.deepEqual(world.carriers, ['webrtc', 'webrtc', 'websocket']);
  assert.equal(world.made[2].end, 'detached');
  assert.equal(world.made[3].sent[0].type, 'session.resume');
  assert.deepEqual(world.states, ['connecting', 'open', 'reconnecting', 'open', 'reconnecting', 'open']);
});

test('while the way is mended what is said is kept, and sent when it is', async (t) => {
  const world = linked(t);
  await world.link.open();
  const [transport] = world.made;
  transport.onstall(true);
  world.link.send({ type: 'voice.commit' });
  assert.equal(transport.sent.length, 1);
  transport.onstall(false);
  assert.deepEqual(transport.sent.at(-1), { type: 'voice.commit' });
  assert.deepEqual(world.states, ['connecting', 'open', 'reconnecting', 'open']);
  assert.equal(world.made.length, 1);
});

test('a way that cannot be mended is given up without another wait', async (t) => {
  const world = linked(t);
  await world.link.open();
  world.made[0].onstall(true);
  world.link.send({ type: 'chat.start', request_id: 't-1', prompt: 'hello?' });
  world.refuses.add('webrtc');
  world.made[0].onclose(1006, 'lost');
  await settled();
  assert.deepEqual(world.kinds(), ['webrtc', 'webrtc', 'websocket']);
  assert.deepEqual(world.made[2].sent.map(({ type }) => type), ['session.resume', 'chat.start']);
});

test('the session moves to another transport by choice', async (t) => {
  const world = linked(t);
  await world.link.open();
  world.transports.preference = 'websocket';
  world.link.move();
  await settled();
  assert.deepEqual(world.carriers, ['webrtc', 'websocket']);
  assert.equal(world.made[0].end, 'detached');
  assert.equal(world.made[1].sent[0].type, 'session.resume');
});

test('a session that is gone begins anew, over the same transport', async (t) => {
  const world = linked(t);
  await world.link.open();
  world.forgotten = true;
  world.made[0].onclose(1006, 'lost');
  await world.wait(20);
  await world.wait(40);
  assert.deepEqual(world.kinds(), ['webrtc', 'webrtc', 'webrtc']);
  assert.equal(world.made[2].sent[0].type, 'voice.start');
  assert.equal(world.link.state, 'open');
});

test('three failures of everything leave text alone', async (t) => {
  const world = linked(t);
  world.refuses = new Set(['webrtc', 'websocket']);
  const opening = world.link.open();
  for (let count = 0; count < 3; count++) {
    await settled();
    await world.wait(100);
  }
  assert.equal(await opening, false);
  assert.equal(world.link.state, 'failed');
  assert.equal(world.made.length, 6);
});

test('a session that is ended while WebRTC tries does not begin over the socket', async (t) => {
  const world = linked(t);
  let refuse;
  FakeTransport.prototype.open = () => new Promise((_, reject) => (refuse = reject));
  const opening = world.link.open();
  world.link.close();
  refuse(new Error('too late'));
  assert.equal(await opening, false);
  assert.deepEqual(world.kinds(), ['webrtc']);
  assert.equal(world.link.state, 'closed');
});

test('every transport is handed the microphone of the moment', async (t) => {
  const world = linked(t);
  FakeTransport.prototype.open = async () => {};
  world.link.track = 'the desk';
  await world.link.open();
  assert.equal(world.made[0].track, 'the desk');
  assert.equal(world.made[0].trackWhenKeptWereSent, null, 'what was said first is heard first');
  world.link.track = 'the headset';
  assert.equal(world.made[0].track, 'the headset');
  world.made[0].onclose(1006, 'lost');
  await world.wait(20);
  assert.equal(world.made[1].track, 'the headset');
});
