/**
 * Conversation in writing over plain HTTP (`POST /v1/chat/stream`, server-sent events): the way that is left when no
 * socket can be had. Knows nothing of audio. Driven by `voice-client.js`.
 *
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 */

const ANSWER_LIMIT_MS = 60_000;

/**
 * Asks, and hands on each event of the answer as it comes.
 * @param {string | URL} url
 * @param {{ prompt: string, agent_id?: string, request_id: string }} question
 * @param {(message: ServerMessage) => void} onmessage
 * @param {AbortSignal} signal
 * @returns {Promise<void>} when the answer is complete; rejects with a sentence for people when it cannot be had
 */
export async function askInWriting(url, question, onmessage, signal) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream' },
    body: JSON.stringify(question),
    signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_LIMIT_MS)]),
  });
  if (!response.ok || response.body === null) throw new Error(await refusal(response));
  let pending = '';
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
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

/** @param {Response} response */
async function refusal(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}
