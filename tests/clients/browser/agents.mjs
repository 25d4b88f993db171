// The OpenAI Agents SDK in a browser, over WebRTC: its own microphone, its own peer connection, an ephemeral key.
// The user's part is a recording that the browser's microphone plays; this page connects, answers the function, and
// watches. `converse` is called by the test and resolves with what was seen.

import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession, tool } from '/sdk/openai-realtime-agents.mjs';

const report = {
  client: 'openai-agents webrtc', step: 'loading', heard: [], calls: [], answers: [], responses: [], truncated: [],
  errors: [], counts: {}, recording: '', session: {}, callId: null, audioEnergy: 0,
};
window.report = report;

function moveRobot(output) {
  return tool({
    name: 'move_robot',
    description: 'Moves the robot.',
    parameters: {
      type: 'object',
      properties: { direction: { type: 'string' }, meters: { type: 'number' } },
      required: ['direction', 'meters'],
      additionalProperties: false,
    },
    execute: async (input) => {
      report.calls.push(input);
      return output;
    },
  });
}

/** Records a remote stream; `span` notes where in the recording each answer is. */
class Recorder {
  constructor(stream) {
    this.parts = [];
    this.media = new MediaRecorder(stream, { mimeType: 'audio/webm;codecs=opus' });
    this.media.ondataavailable = ({ data }) => this.parts.push(data);
    this.media.start(250);
    this.beganMs = performance.now();
  }

  get atMs() {
    return Math.round(performance.now() - this.beganMs);
  }

  async stop() {
    const stopped = new Promise((resolve) => { this.media.onstop = resolve; });
    this.media.stop();
    await stopped;
    const bytes = new Uint8Array(await new Blob(this.parts).arrayBuffer());
    let text = '';
    for (let at = 0; at < bytes.length; at += 8_192) text += String.fromCharCode(...bytes.subarray(at, at + 8_192));
    return btoa(text);
  }
}

function watch(session, recorder, over, answersWanted) {
  let answer = null;
  const texts = new Map();
  const seen = {
    'session.updated': ({ session: settings }) => { report.session = settings; },
    'conversation.item.input_audio_transcription.completed': ({ transcript }) => report.heard.push(transcript),
    'response.output_audio_transcript.delta': ({ response_id: id, delta }) => texts.set(id, (texts.get(id) ?? '') + delta),
    'output_audio_buffer.started': ({ response_id: id }) => {
      answer = { response_id: id, began_ms: recorder().atMs, ended_ms: null, end: null };
      report.answers.push(answer);
    },
    'conversation.item.truncated': ({ audio_end_ms: at }) => report.truncated.push(at),
    'response.done': ({ response }) => {
      const { id, status, status_details: details, usage, output } = response;
      report.responses.push({ id, status, reason: details?.reason ?? '', usage, kinds: output.map(({ type }) => type) });
    },
    error: ({ error }) => report.errors.push(error),
  };
  const ended = (how) => ({ response_id: id }) => {
    const which = report.answers.findLast((one) => one.response_id === id);
    Object.assign(which ?? {}, { ended_ms: recorder().atMs, end: how, text: texts.get(id) ?? '' });
    if (how === 'stopped' && report.answers.filter((one) => one.end).length >= answersWanted) over();
  };
  seen['output_audio_buffer.stopped'] = ended('stopped');
  seen['output_audio_buffer.cleared'] = ended('cleared');
  session.on('transport_event', (event) => {
    report.counts[event.type] = (report.counts[event.type] ?? 0) + 1;
    seen[event.type]?.(event);
  });
  session.on('error', ({ error }) => report.errors.push(String(error?.message ?? JSON.stringify(error))));
}

async function energy(transport) {
  const stats = await transport.connectionState.peerConnection.getStats();
  return Math.max(0, ...[...stats.values()].filter(({ type }) => type === 'inbound-rtp').map((s) => s.totalAudioEnergy ?? 0));
}

/** Connects to `url` with an ephemeral `key` and stays until so many answers have come to their end. */
window.converse = async ({ url, key, instructions, output, answersWanted, limitMs }) => {
  const audioElement = document.getElementById('loudspeaker');
  const transport = new OpenAIRealtimeWebRTC({ audioElement, baseUrl: `${url}/v1/realtime/calls` });
  const agent = new RealtimeAgent({ name: 'Robot', instructions, tools: [moveRobot(output)] });
  const session = new RealtimeSession(agent, { transport, model: 'gpt-realtime' });
  let recorder = null;
  audioElement.addEventListener('loadedmetadata', () => { recorder ??= new Recorder(audioElement.srcObject); });
  const now = () => recorder ?? { atMs: 0 };
  const over = new Promise((resolve) => {
    watch(session, now, resolve, answersWanted);
    setTimeout(resolve, limitMs);
  });
  report.step = 'connecting';
  await session.connect({ apiKey: key });
  report.callId = transport.callId ?? null;
  report.step = 'connected';
  await over;
  report.audioEnergy = await energy(transport);
  report.history = session.history.map(({ type, role, status }) => ({ type, role, status }));
  report.recording = recorder ? await recorder.stop() : '';
  session.close();
  report.step = 'over';
  return report;
};
report.step = 'loaded';
