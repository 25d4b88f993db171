// The whole conversation with the official OpenAI package for JavaScript, told another base URL.
// Variants: ws (the `ws` library, Authorization header), websocket (the platform's WebSocket, key as a subprotocol).

import OpenAI from 'openai';
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { Dialogue, FUNCTION, INSTRUCTIONS } from './dialogue.mjs';
import { Microphone, readArguments, reported } from './program.mjs';

const PCM = { type: 'audio/pcm', rate: 24_000 };
const SESSION = {
  type: 'realtime',
  instructions: INSTRUCTIONS,
  output_modalities: ['audio'],
  audio: {
    input: {
      format: PCM,
      transcription: { model: 'whisper-1', language: 'en' },
      turn_detection: { type: 'semantic_vad', eagerness: 'high' },
    },
    output: { format: PCM, voice: 'marin' },
  },
  tools: [FUNCTION],
  tool_choice: 'auto',
};

const given = readArguments();
const Realtime = given.variant === 'websocket' ? OpenAIRealtimeWebSocket : OpenAIRealtimeWS;
const dialogue = new Dialogue(`openai-node ${given.variant}`);
const microphone = new Microphone(given);

function act(realtime, action, leave) {
  switch (action.do) {
    case 'configure': return realtime.send({ type: 'session.update', session: SESSION });
    case 'speak': return microphone.say(action.clip, action.afterS);
    case 'truncate': {
      const { do: _, ...fields } = action;
      return realtime.send({ type: 'conversation.item.truncate', ...fields });
    }
    case 'answer': {
      const { call_id, output } = action;
      realtime.send({ type: 'conversation.item.create', item: { type: 'function_call_output', call_id, output } });
      return realtime.send({ type: 'response.create' });
    }
    default: return leave();
  }
}

await reported(dialogue, given, () => new Promise((resolve, reject) => {
  const client = new OpenAI({ apiKey: given.key, baseURL: `${given.url}/v1` });
  const realtime = new Realtime({ model: 'gpt-realtime' }, client);
  let stop = () => {};
  const leave = () => { stop(); realtime.close(); resolve(); };
  realtime.on('error', (error) => (error.error ? undefined : (stop(), reject(error)))); // the server's are in the report
  realtime.socket.addEventListener('close', () => { stop(); resolve(); });
  realtime.on('event', (event) => {
    if (event.type === 'session.updated' && dialogue.report.step === 'configuring') {
      stop = microphone.start((pcm) =>
        realtime.send({ type: 'input_audio_buffer.append', audio: pcm.toString('base64') }));
    }
    for (const action of dialogue.feed(event, performance.now())) act(realtime, action, leave);
  });
}));
