/**
 * Conversation in writing over plain HTTP (`POST /v1/chat/stream`, server-sent events): the way that is left when no
 * socket can be had. The server keeps nothing between requests, so what was said before goes along. Knows nothing of
 * audio. Driven by `voice-client.js`.
 *
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 */

import { refusal } from './refusal.js';

const ANSWER_LIMIT_MS = 60_000;
const KEPT_ENTRIES = 40;

export class WrittenChat {
  #url;
  #agentId;
  /** @type {{ role: 'user' | 'assistant', text: string }[]} */
  #history = [];
  #current = new AbortController();
  /** Sent as `Authorization: Bearer`, where there is one. */
  apiKey = '';

  /**
   * @param {URL} url
   * @param {string} [agentId]
   */
  constructor(url, agentId) {
    this.#url = url;
    this.#agentId = agentId;
  }

  /**
   * Something was said, in voice or in writing: the agent will know it.
   * @param {'user' | 'assistant'} role
   * @param {string} text
   */
  remember(role, text) {
    if (text === '') return;
    this.#history.push({ role, text });
    if (this.#history.length > KEPT_ENTRIES) this.#history.shift();
  }

  /**
   * Asks, and hands on each event of the answer as it comes. A question still being answered is given up.
   * @param {string} prompt
   * @param {string} requestId the turn's id; every event carries it
   * @param {(message: ServerMessage) => void} onmessage
   * @returns {Promise<boolean>} false when it was stopped; rejects with a sentence for people when there is no answer
   */
  async ask(prompt, requestId, onmessage) {
    this.stop();
    const current = new AbortController();
    this.#current = current;
    try {
      const body = { prompt, request_id: requestId, agent_id: this.#agentId, history: this.#history };
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json',
          Accept: 'text/event-stream',
          ...(this.apiKey && { Authorization: `Bearer ${this.apiKey}` }),
        },
        body: JSON.stringify(body),
        signal: AbortSignal.any([current.signal, AbortSignal.timeout(ANSWER_LIMIT_MS)]),
      });
      if (!response.ok || response.body === null) throw new Error(await refusal(response));
      await readEvents(response.body, (message) => onmessage({ ...message, request_id: requestId }));
      return true;
    } catch (error) {
      if (current.signal.aborted) return false;
      throw error;
    }
  }

  stop() {
    this.#current.abort();
  }
}

/**
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @param {(message: ServerMessage) => void} onmessage
 */
async function readEvents(body, onmessage) {
  let pending = '';
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (pending + value).replaceAll('\r\n', '\n').split('\n\n');
    pending = blocks.pop() ?? '';
    for (const block of blocks) {
      const message = parseEvent(block);
      if (message !== null) onmessage(message);
    }
  }
}

/**
 * One server-sent event (HTML standard, section 9.2.6). The message's own `type` wins over the event's name.
 * @param {string} block
 * @returns {ServerMessage | null}
 */
export function parseEvent(block) {
  let type = '';
  /** @type {string[]} */
  const data = [];
  for (const line of block.split('\n')) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (field === 'event') type = value;
    else if (field === 'data') data.push(value);
  }
  if (data.length === 0 || data[0] === '[DONE]') return null;
  return { type, ...JSON.parse(data.join('\n')) };
}
