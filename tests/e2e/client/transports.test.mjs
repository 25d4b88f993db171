/** Which way is tried, what follows when it fails, and how ICE candidates are written down. */

import assert from 'node:assert/strict';
import test from 'node:test';

import { isOther, listed } from '../../../web-demo/client/devices.js';
import { pulseOf } from '../../../web-demo/client/rtc-path.js';
import { NotAgreed } from '../../../web-demo/client/rtc-signalling.js';
import { sdpFragment } from '../../../web-demo/client/sdp-fragment.js';
import { SessionSettings } from '../../../web-demo/client/session-settings.js';
import { TransportChoice } from '../../../web-demo/client/transport-choice.js';

const choice = (preference, supported = true) => new TransportChoice({}, preference, supported);
const BOTH = ['webrtc', 'websocket'];

test('WebRTC is tried first, the socket after it; a wish for the socket is a wish', () => {
  assert.deepEqual(choice('auto').order, BOTH);
  assert.deepEqual(choice('webrtc').order, BOTH);
  assert.deepEqual(choice('websocket').order, ['websocket']);
  assert.deepEqual(choice('auto', false).order, ['websocket']);
  assert.equal(choice('auto', false).reasonFor('websocket'), 'This browser has no WebRTC.');
  assert.equal(choice('websocket', false).reasonFor('websocket'), '');
});

test('WebRTC that fails where the socket works is not tried again', () => {
  const transports = choice('auto');
  transports.failed('webrtc', new Error('WebRTC did not connect in time.'));
  transports.succeeded('websocket');
  assert.deepEqual(transports.order, ['websocket']);
  assert.equal(transports.reasonFor('websocket'), 'WebRTC did not get through from here.');
});

test('where both fail, nothing is learnt about WebRTC', () => {
  const transports = choice('auto');
  transports.failed('webrtc', new TypeError('Failed to fetch'));
  assert.deepEqual(transports.order, BOTH);
  transports.succeeded('webrtc');
  assert.equal(transports.reasonFor('webrtc'), '');
});

test('a server that has no WebRTC is believed at once, one that is full only while it is', () => {
  const without = choice('auto');
  without.failed('webrtc', new NotAgreed('Not found.', 404));
  assert.deepEqual(without.order, ['websocket']);
  assert.equal(without.reasonFor('websocket'), 'This server offers no WebRTC.');
  const full = choice('auto');
  full.failed('webrtc', new NotAgreed('Too many peers.', 503));
  assert.deepEqual(full.order, BOTH);
  full.failed('webrtc', new NotAgreed('Too many peers.', 503));
  full.succeeded('websocket');
  assert.equal(full.reasonFor('websocket'), 'Too many peers.');
});

test('to choose anew is to try anew', () => {
  const transports = choice('auto');
  transports.failed('webrtc', new NotAgreed('Not found.', 404));
  transports.preference = 'websocket';
  assert.equal(transports.reasonFor('websocket'), '');
  transports.preference = 'webrtc';
  assert.deepEqual(transports.order, BOTH);
});

const SDP = [
  'v=0',
  'a=group:BUNDLE 0 1',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111',
  'a=ice-ufrag:EsAw',
  'a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1',
  'a=mid:0',
  'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
  'a=mid:1',
  '',
].join('\r\n');
const CANDIDATE = 'candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host';

test('candidates are written as RFC 8840 has it', () => {
  const head = 'a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n';
  const audio = 'm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n';
  const found = [{ candidate: CANDIDATE, sdpMid: '0' }];
  assert.equal(sdpFragment(SDP, found, false), `${head}${audio}a=${CANDIDATE}\r\n`);
  assert.equal(sdpFragment(SDP, found, true), `${head}${audio}a=${CANDIDATE}\r\na=end-of-candidates\r\n`);
  assert.equal(sdpFragment(SDP, [], true), `${head}${audio}a=end-of-candidates\r\n`);
  const data = sdpFragment(SDP, [{ candidate: CANDIDATE, sdpMid: '1' }], false);
  assert.equal(data, `${head}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\na=${CANDIDATE}\r\n`);
});

test('a session begins with what it needs over a socket, on whichever transport it may begin', () => {
  const settings = new SessionSettings({ agent_id: 'guide', output: { rate: 0.8 } });
  settings.merge({ output: { captions: true }, turn_detection: { type: 'push_to_talk' } });
  assert.equal(settings.pushToTalk, true);
  assert.deepEqual(settings.start(), {
    type: 'voice.start',
    agent_id: 'guide',
    turn_detection: { type: 'push_to_talk' },
    accessibility: {},
    output: { rate: 0.8, captions: true, codec: 'pcm16', sample_rate: 24_000 },
    codec: 'pcm16',
    sample_rate: 16_000,
    binary: true,
  });
});

test('a path has a pulse where the browser counts the answers to its checks', () => {
  const pair = { type: 'candidate-pair', bytesReceived: 100, responsesReceived: 3, requestsReceived: 2 };
  const report = (...entries) => new Map(entries.map((entry, index) => [String(index), entry]));
  assert.equal(pulseOf(report(pair, { type: 'inbound-rtp', bytesReceived: 7 })), 105);
  assert.equal(pulseOf(report(pair, { ...pair, responsesReceived: 4 })), 211);
  assert.equal(pulseOf(report({ type: 'candidate-pair', bytesReceived: 100 })), null);
});

const device = (deviceId, groupId = deviceId, kind = 'audioinput') => ({ kind, deviceId, groupId, label: `The ${deviceId}` });

test('devices are listed by name, without the browser’s own choice and without what may not be named', () => {
  const found = [device('default'), device('desk'), device(''), device('communications'), device('ears', '', 'audiooutput')];
  assert.deepEqual(listed(found), {
    microphones: [{ id: 'desk', label: 'The desk' }],
    speakers: [{ id: 'ears', label: 'The ears' }],
  });
});

test('another microphone is used when the chosen one goes, comes back, or the browser’s choice changes', () => {
  const [desk, headset] = [device('desk'), device('headset')];
  const other = (before, after, wished) => isOther(before, after, 'audioinput', wished);
  const deskFirst = device('default', 'desk');
  const headsetFirst = device('default', 'headset');
  assert.equal(other([deskFirst, desk, headset], [deskFirst, desk], 'headset'), true);
  assert.equal(other([deskFirst, desk], [deskFirst, desk, headset], 'headset'), true);
  assert.equal(other([deskFirst, desk], [headsetFirst, desk, headset], ''), true);
  assert.equal(other([deskFirst, desk], [deskFirst, desk, headset], ''), false);
  assert.equal(other([deskFirst, desk], [headsetFirst, desk, headset], 'desk'), false);
  assert.equal(other([desk], [headset, desk], ''), true, 'browsers without a name for their choice put it first');
  assert.equal(other([], [desk], ''), false, 'nothing is known yet');
});
