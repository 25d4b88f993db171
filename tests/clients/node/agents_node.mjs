// The whole conversation with the OpenAI Agents SDK's RealtimeSession over a WebSocket: it calls the function,
// interrupts and truncates by itself; this program only speaks, and watches.

import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from '@openai/agents/realtime';
import { z } from 'zod';
import { Dialogue, FUNCTION, FUNCTION_OUTPUT, INSTRUCTIONS } from './dialogue.mjs';
import { Microphone, readArguments, reported } from './program.mjs';

const given = readArguments();
const dialogue = new Dialogue('openai-agents websocket', { handled: ['call', 'truncate'] });
const microphone = new Microphone(given);
const seen = { interrupted: 0, audioBytes: 0, calls: [], toolEnds: [], history: [], agentEnds: [], sdkErrors: [] };

const moveRobot = tool({
  name: FUNCTION.name,
  description: FUNCTION.description,
  parameters: z.object({ direction: z.string(), meters: z.number() }),
  execute: async (input) => {
    seen.calls.push(input);
    return FUNCTION_OUTPUT;
  },
});

await reported(dialogue, given, async () => {
  const agent = new RealtimeAgent({ name: 'Robot', instructions: INSTRUCTIONS, tools: [moveRobot] });
  const transport = new OpenAIRealtimeWebSocket();
  const session = new RealtimeSession(agent, { transport, model: 'gpt-realtime' });
  session.on('audio', ({ data }) => { seen.audioBytes += data.byteLength; });
  session.on('audio_interrupted', () => { seen.interrupted += 1; });
  session.on('agent_tool_end', (_context, _agent, _tool, result) => seen.toolEnds.push(result));
  session.on('agent_end', (_context, _agent, text) => seen.agentEnds.push(text));
  session.on('error', ({ error }) => seen.sdkErrors.push(error?.error ?? String(error?.stack ?? error)));
  const over = new Promise((resolve) => {
    session.on('transport_event', (event) => {
      for (const action of dialogue.feed(event, performance.now())) {
        if (action.do === 'speak') microphone.say(action.clip, action.afterS);
        if (action.do === 'leave') resolve();
      }
    });
    transport.on('disconnected', resolve);
  });
  await session.connect({ apiKey: given.key, url: `${given.url.replace('http', 'ws')}/v1/realtime?model=gpt-realtime` });
  const stop = microphone.start((pcm) =>
    session.sendAudio(pcm.buffer.slice(pcm.byteOffset, pcm.byteOffset + pcm.byteLength)));
  await over;
  stop();
  seen.history = session.history.map(({ itemId, type, role, status, content, name, output }) =>
    ({ itemId, type, role, status, name, output, text: content?.map((part) => part.transcript ?? part.text ?? null) }));
  seen.usage = session.usage;
  dialogue.report.sdk = seen;
  session.close();
});
