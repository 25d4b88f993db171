/**
 * What is going on, in one word, from everything that happens. Pure; driven by `voice-client.js`.
 *
 * @typedef {import('./types.js').Activity} Activity
 * @typedef {import('./types.js').LinkState} LinkState
 */

/**
 * The facts an activity follows from.
 * @typedef {object} Facts
 * @property {LinkState} link
 * @property {boolean} microphone whether it is open
 * @property {boolean} muted
 * @property {boolean} pushToTalk
 * @property {boolean} userSpeaking the server hears speech, or the button is held
 * @property {boolean} agentSpeaking sound comes out
 * @property {boolean} held the reply waits for the user to finish
 * @property {boolean} answering a turn is under way
 */

/** @type {Readonly<Facts>} */
export const AT_REST = {
  link: 'closed',
  microphone: false,
  muted: false,
  pushToTalk: false,
  userSpeaking: false,
  agentSpeaking: false,
  held: false,
  answering: false,
};

/** @type {Readonly<Record<Exclude<LinkState, 'open'>, Activity>>} */
const WITHOUT_LINK = {
  closed: 'idle',
  connecting: 'connecting',
  reconnecting: 'reconnecting',
  failed: 'text-only',
};

/**
 * @param {Facts} facts
 * @returns {Activity}
 */
export function activityOf(facts) {
  if (facts.link === 'failed' && facts.answering) return 'thinking';
  if (facts.link !== 'open') return WITHOUT_LINK[facts.link];
  if (facts.userSpeaking) return 'hearing';
  if (facts.held) return 'held';
  if (facts.agentSpeaking) return 'speaking';
  if (facts.answering) return 'thinking';
  if (!facts.microphone) return 'ready';
  if (facts.muted) return 'muted';
  return facts.pushToTalk ? 'push-to-talk' : 'listening';
}
