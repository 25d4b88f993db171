// The conversation every client has with the server, as a state machine without I/O: events in, things to do out.
// The same as dialogue.py, for the clients in JavaScript; what the steps are is written there.

export const SAMPLE_RATE_HZ = 24_000;
const HEARD_BEFORE_INTERRUPTING_MS = 1_500;
const PAUSE_S = 0.5;

export const INSTRUCTIONS = 'You steer a small robot. Say where it is when it has moved.';
export const FUNCTION = {
  type: 'function',
  name: 'move_robot',
  description: 'Moves the robot.',
  parameters: {
    type: 'object',
    properties: { direction: { type: 'string' }, meters: { type: 'number' } },
    required: ['direction', 'meters'],
  },
};
export const FUNCTION_OUTPUT = JSON.stringify({ place: 'the kitchen window' });

class Answer {
  constructor(responseId) {
    Object.assign(this, { responseId, itemId: '', contentIndex: 0, beganMs: 0, audio: [], bytes: 0, text: '' });
    Object.assign(this, { status: '', reason: '' });
  }

  get audioMs() {
    return Math.floor((this.bytes * 1_000) / (SAMPLE_RATE_HZ * 2));
  }

  playedMs(nowMs) {
    return Math.min(this.audioMs, Math.round(nowMs - this.beganMs));
  }
}

export class Dialogue {
  /** `handled`: what the client does by itself, so that it is not asked for: 'call' and 'truncate'. */
  constructor(client, { handled = [] } = {}) {
    this.report = {
      client, finished: false, step: 'connecting', heard: [], call: {}, cancelled: {}, truncated: {}, usages: [],
      errors: [], exception: '', session: {}, counts: {}, answers: [],
    };
    this.answers = new Map();
    this.handled = new Set(handled);
    this.interrupted = null;
  }

  /** @returns {object[]} what to do: {do: 'configure' | 'speak' | 'truncate' | 'answer' | 'leave', ...} */
  feed(event, nowMs) {
    const { counts } = this.report;
    counts[event.type] = (counts[event.type] ?? 0) + 1;
    return this[event.type]?.(event, nowMs) ?? [];
  }

  spoken() {
    return [...this.answers.values()].filter((answer) => answer.bytes > 0);
  }

  'session.created'() {
    this.report.step = 'configuring';
    return [{ do: 'configure' }];
  }

  'session.updated'(event) {
    if (this.report.step !== 'configuring') return [];
    this.report.session = event.session;
    this.report.step = 'errand';
    return [{ do: 'speak', clip: 'errand', afterS: PAUSE_S }];
  }

  'conversation.item.input_audio_transcription.completed'(event) {
    this.report.heard.push(event.transcript);
  }

  'response.created'(event) {
    this.answers.set(event.response.id, new Answer(event.response.id));
  }

  'response.output_audio_transcript.delta'(event) {
    this.answers.get(event.response_id).text += event.delta;
  }

  'response.output_audio.delta'(event, nowMs) {
    const answer = this.answers.get(event.response_id);
    if (answer.bytes === 0) {
      Object.assign(answer, { itemId: event.item_id, contentIndex: event.content_index, beganMs: nowMs });
    }
    const pcm = Buffer.from(event.delta, 'base64');
    answer.audio.push(pcm);
    answer.bytes += pcm.length;
    if (this.report.step !== 'question' || answer.audioMs < HEARD_BEFORE_INTERRUPTING_MS) return [];
    this.report.step = 'interruption';
    this.interrupted = answer;
    const unheardMs = Math.max(0, HEARD_BEFORE_INTERRUPTING_MS - (nowMs - answer.beganMs));
    return [{ do: 'speak', clip: 'interruption', afterS: unheardMs / 1_000 }];
  }

  'input_audio_buffer.speech_started'(event, nowMs) {
    const answer = this.interrupted;
    if (this.report.step !== 'interruption' || !answer) return [];
    this.report.step = 'second turn';
    if (this.handled.has('truncate')) return [];
    return [{
      do: 'truncate', item_id: answer.itemId, content_index: answer.contentIndex, audio_end_ms: answer.playedMs(nowMs),
    }];
  }

  'conversation.item.truncated'(event) {
    this.report.truncated = { audio_end_ms: event.audio_end_ms, mine: event.item_id === this.interrupted?.itemId };
  }

  'response.function_call_arguments.done'(event) {
    this.report.call = { call_id: event.call_id, arguments: event.arguments };
  }

  'response.done'({ response }, nowMs) {
    const answer = this.answers.get(response.id);
    answer.status = response.status;
    answer.reason = response.status_details?.reason ?? '';
    if (response.usage) this.report.usages.push(response.usage);
    if (answer.status === 'cancelled') {
      this.report.cancelled = { reason: answer.reason, response_id: answer.responseId };
      return [];
    }
    const call = (response.output ?? []).find((item) => item.type === 'function_call');
    if (call) {
      this.report.call.name = call.name;
      return this.handled.has('call') ? [] : [{ do: 'answer', call_id: call.call_id, output: FUNCTION_OUTPUT }];
    }
    return answer.bytes > 0 ? this.#after(answer, nowMs) : [];
  }

  error(event) {
    this.report.errors.push(event.error);
  }

  #after(answer, nowMs) {
    if (this.report.step === 'errand') {
      this.report.step = 'question';
      const restS = Math.max(0, answer.audioMs - answer.playedMs(nowMs)) / 1_000;
      return [{ do: 'speak', clip: 'question', afterS: restS + PAUSE_S }];
    }
    if (this.report.step === 'second turn') {
      this.report.step = 'over';
      this.report.finished = true;
      return [{ do: 'leave' }];
    }
    return [];
  }
}
