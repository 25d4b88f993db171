/**
 * The page: wires the voice client's events to what is shown, and the controls to the client. Owns no state of the
 * conversation; `client/` holds that, `page/` shows it.
 */

import { VoiceClient } from './client/voice-client.js';
import { AccessKey } from './page/access-key.js';
import { DeviceChoice } from './page/device-choice.js';
import { byId } from './page/dom.js';
import { LevelMeter } from './page/meter.js';
import { Notices } from './page/notices.js';
import { Preferences } from './page/preferences.js';
import { SessionPanel } from './page/session-panel.js';
import { StatusLine } from './page/status.js';
import { TalkButton } from './page/talk-button.js';
import { Transcript } from './page/transcript.js';
import { Waterfall } from './page/waterfall.js';

const ATTEMPTS = 3;

const preferences = new Preferences();
const status = new StatusLine();
const notices = new Notices();
const transcript = new Transcript();
const waterfall = new Waterfall();
const meter = new LevelMeter();
const talk = new TalkButton();
const access = new AccessKey();
const devices = new DeviceChoice();
const session = new SessionPanel();
const mute = byId('mute');
const stop = byId('stop');
const prompt = /** @type {HTMLInputElement} */ (byId('prompt'));
/** What the user speaks into, while anything listens. */
let microphone = '';

export const client = new VoiceClient({
  settings: preferences.settings,
  apiKey: access.key,
  transport: preferences.transport,
  ...devices.chosen,
});
access.onkey = (/** @type {string} */ key) => (client.apiKey = key);

// ------------------------------------------------------------------------------------------------------- the controls

function startTalking() {
  notices.dismiss('degraded:microphone');
  notices.dismiss('degraded:voice');
  void client.startTalking();
}

function begin() {
  if (client.linked) startTalking();
  else void access.admit(startTalking);
}

talk.onclick = () => (client.talking || client.activity === 'connecting' ? client.close() : begin());
talk.onhold = (/** @type {boolean} */ held) => {
  client.pushToTalk(held);
  showControls();
};
byId('end').onclick = () => {
  client.close();
  byId('talk').focus();
};
byId('done').onclick = () => client.endTurn();
mute.onclick = () => {
  if (!client.talking) return;
  client.mute(!client.muted);
  showControls();
};
stop.onclick = () => client.cancel();
document.addEventListener('keydown', ({ key }) => {
  if (key === 'Escape') client.cancel();
});
document.addEventListener('visibilitychange', () => document.hidden && talk.lift());

byId('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  if (prompt.value.trim() === '') return;
  if (client.activity === 'idle') void access.admit(sendPrompt);
  else sendPrompt();
});

/** Sends what is in the field; until the server lets the user in, it stays there. */
function sendPrompt() {
  const text = prompt.value.trim();
  if (text === '') return;
  prompt.value = '';
  transcript.typed(text);
  const request_id = client.sendText(text);
  // The turn is the user's own, so it is shown before the server confirms it.
  const turn = { event_id: 0, timestamp_ms: 0, request_id, text };
  transcript.turnStarted({ type: 'turn.started', source: 'text', ...turn }, isSilent());
}

preferences.onchange = () => {
  talk.lift();
  client.update(preferences.settings);
  client.prefer(preferences.transport);
  if (preferences.transport !== 'webrtc') notices.dismiss('transport');
  transcript.announces = preferences.announces;
  showControls();
};
transcript.announces = preferences.announces;

devices.onmicrophone = (/** @type {string} */ id) => client.useMicrophone(id);
devices.onspeaker = (/** @type {string} */ id) => client.useSpeaker(id);
devices.onrefused = (/** @type {string} */ text) => {
  notices.show({ key: 'device', kind: 'note', title: 'That did not work', text });
};
void client.devices().then((list) => devices.show(list));

// ------------------------------------------------------------------------------------------------------ what is going on

function isRunning() {
  return client.activity === 'connecting' || client.linked;
}

function isSilent() {
  return !preferences.spoken || client.textOnly;
}

function talkLabel() {
  if (client.activity === 'connecting') return 'Connecting';
  if (!isRunning() || !client.talking) return 'Talk';
  if (!preferences.pushToTalk) return 'End';
  return talk.held ? 'Done' : 'Hold to talk';
}

function talkHint() {
  if (preferences.pushToTalk) return 'Hold the button or Space while you speak; or press once to begin and once to send.';
  if (preferences.endsTurnsByHand) return 'Speak as long as you like, then press Done.';
  return 'Hands-free: speak, pause, and the agent answers.';
}

function showControls() {
  const talking = client.talking;
  talk.holds = preferences.pushToTalk && talking;
  talk.show(talkLabel(), { running: talking });
  byId('talk-hint').textContent = talkHint();
  byId('end').hidden = !(isRunning() && (talk.holds || !talking));
  byId('done').hidden = !(talking && preferences.endsTurnsByHand);
  mute.setAttribute('aria-disabled', String(!talking));
  mute.setAttribute('aria-pressed', String(client.muted));
  const stoppable = ['speaking', 'thinking', 'held'].includes(client.activity);
  stop.setAttribute('aria-disabled', String(!stoppable));
  if (!talking) meter.off();
}

function draw() {
  if (client.activity === 'speaking') talk.level = client.outputLevel;
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);

client
  .on('activity', ({ activity }) => {
    if (activity === 'text-only' || activity === 'idle') talk.lift();
    status.show(activity);
    showControls();
  })
  .on('link', ({ state, attempt }) => {
    if (state === 'reconnecting') status.show('reconnecting', `Attempt ${attempt} of ${ATTEMPTS}`);
    if (state === 'open') notices.dismiss('degraded:voice');
    if (state === 'closed' || state === 'failed') status.carriedBy(null);
    showControls();
  })
  .on('transport', ({ transport, reason }) => {
    status.carriedBy(transport);
    session.carriedBy(transport, reason);
    notices.dismiss('transport');
    if (preferences.transport !== 'webrtc' || transport === 'webrtc') return;
    notices.show({ key: 'transport', kind: 'note', title: 'Over WebSocket', text: reason });
  })
  .on('microphone', ({ open, label }) => {
    if (open && microphone !== '' && label !== microphone) status.remark(`Now listening through ${label}.`);
    microphone = open ? label : '';
    showControls();
  })
  .on('devices', (list) => devices.show(list))
  .on('level', ({ level }) => {
    meter.draw(level);
    if (client.activity !== 'speaking') talk.level = level;
  })
  .on('session.started', (started) => {
    session.started(started);
    showControls();
  })
  .on('session.resumed', ({ missed_events }) => {
    if (missed_events === 0) return;
    const text = `${missed_events} events of the conversation were lost while the connection was down.`;
    notices.show({ key: 'resumed', kind: 'note', title: 'Back again', text });
  })
  .on('session.draining', () => {
    const text = 'This server is about to restart. The conversation goes on by itself.';
    notices.show({ key: 'draining', kind: 'note', title: 'Moving', text });
  });

// ------------------------------------------------------------------------------------------------------ the conversation

client
  .on('transcript.partial', (message) => transcript.heardUser(message))
  .on('transcript.final', (message) => transcript.heardUser(message))
  .on('turn.started', (turn) => transcript.turnStarted(turn, isSilent()))
  .on('chat.token', ({ request_id, text }) => transcript.reply(request_id, (reply) => reply.addToken(text)))
  .on('caption', (caption) => {
    if (caption.speaker === 'agent') transcript.reply(caption.request_id, (reply) => reply.addCaption(caption));
  })
  .on('playback', ({ requestId, heardMs, state }) => {
    transcript.reply(requestId, (reply) => reply.heard(heardMs, state));
  })
  .on('voice.interrupted', ({ request_id, heard_text }) => {
    transcript.reply(request_id, (reply) => reply.interrupt(heard_text));
  })
  .on('voice.resumed', ({ request_id }) => transcript.reply(request_id, (reply) => reply.resume()))
  .on('tool.result', ({ request_id, name, error }) => {
    transcript.remark(request_id, error ? `${name} failed` : `used ${name}`);
  })
  .on('turn.latency', ({ request_id, stages, breaches }) => {
    const total = waterfall.add(request_id, stages, breaches);
    if (total !== null) transcript.remark(request_id, `answered after ${Math.round(total)} ms`);
  })
  .on('content.filtered', ({ request_id }) => {
    transcript.reply(request_id, (reply) => reply.retract());
    transcript.remark(request_id, 'refused by a content filter');
  })
  .on('chat.complete', (completion) => {
    transcript.completed(completion);
    if (completion.usage) waterfall.addUsage(completion.request_id, completion.usage);
  });

// ------------------------------------------------------------------------------------------------------------- notices

client
  .on('degraded', ({ from, to, reason }) => {
    const action = from === 'voice' || from === 'microphone' ? { label: 'Try again', run: begin } : undefined;
    const title = `Using ${to} instead of ${from}`;
    notices.show({ key: `degraded:${from}`, kind: 'warning', title, text: reason === 'budget' ? 'Most of the budget is used.' : reason, action });
  })
  .on('audio.quality', ({ message }) => {
    notices.show({ key: 'audio.quality', kind: 'note', title: 'Your microphone', text: message });
  })
  .on('budget.warning', ({ message }) => {
    notices.show({ key: 'budget', kind: 'warning', title: 'Budget', text: message });
  })
  .on('error', ({ code, message, retryable }) => {
    const text = retryable ? `${message} You can try again. (${code})` : `${message} (${code})`;
    notices.show({ key: `error:${code}`, kind: 'error', title: 'Something went wrong', text });
  });

showControls();
