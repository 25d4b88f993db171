/**
 * The transports a client may use, made for its addresses and its key. Driven by `voice-client.js`.
 */

import { RtcSignalling } from './rtc-signalling.js';
import { RtcTransport } from './rtc-transport.js';
import { SocketTransport } from './socket-transport.js';
import { TransportChoice } from './transport-choice.js';

/**
 * @param {import('./types.js').VoiceClientOptions} options
 * @param {() => string} apiKey the key of the moment, empty for none
 */
export function transportsFor({ url = '/v1/voice/ws', rtcUrl = 'webrtc', transport = 'auto' }, apiKey) {
  const socketUrl = new URL(url, location.href);
  const offerUrl = new URL(rtcUrl, socketUrl);
  socketUrl.protocol = socketUrl.protocol.replace('http', 'ws');
  offerUrl.protocol = offerUrl.protocol.replace('ws', 'http');
  const signalling = new RtcSignalling(offerUrl, apiKey);
  const make = {
    webrtc: () => new RtcTransport(signalling),
    websocket: () => new SocketTransport(socketUrl, apiKey()),
  };
  return new TransportChoice(make, transport, typeof RTCPeerConnection !== 'undefined');
}
