/**
 * How far a turn's audio has been heard when it comes as a track, which carries sound and says nothing about it: from
 * how loud the track is, block by block, and what the server says about the turn. Pure: counts blocks, knows no clock and
 * no browser. Driven by `track-player.js`.
 *
 * The turn begins to be heard when sound sets in after `turn.started`, and ends when the length that `voice.audio.done`
 * names is reached or silence follows it. Pauses between words count; a longer silence is an agent that waits for its
 * own words, or a network that lost them, and does not.
 *
 * @typedef {import('./types.js').ServerMessage} ServerMessage
 * @typedef {import('./types.js').Playback} Playback
 */

/** -50 dBFS: what an encoder makes of silence lies well below, the quietest syllable well above. */
const SOUND_RMS = 0.003;
/** What was on its way when the agent was silenced is through after as much silence, */
const RESIDUE_MS = 40;
/** or after as much time, once the server has moved on. */
const RESIDUE_LIMIT_MS = 300;
/** A pause between words: shorter where no caption promises more. What is longer is no speech. */
const PAUSE_MS = 200;
const CAPTIONED_PAUSE_MS = 800;
/** As much silence after the last of the audio was sent is its end. */
const END_SILENCE_MS = 400;
/** Sound that was announced and never heard was too quiet to hear. */
const UNHEARD_MS = 1000;
const REPORT_MS = 50;

export class TrackClock {
  #turnId = '';
  /** @type {'idle' | 'awaited' | 'sounding'} */
  #state = 'idle';
  #positionMs = 0;
  /** Where the last caption of the turn ends. */
  #captionedMs = 0;
  /** The length of the turn's audio, once it is known. */
  #lengthMs = Infinity;
  #complete = false;
  #quietMs = 0;
  /** How long nothing has been heard of what is due. */
  #waitedMs = 0;
  /** How long something has been due. */
  #dueMs = 0;
  #reportedMs = 0;
  /** What comes may be of a turn that was silenced. */
  #residue = false;
  #silencedTurnId = '';

  /** @type {(playback: Playback) => void} */
  onplayback = () => {};

  /** Whether what the track carries may be heard. */
  get audible() {
    return !this.#residue;
  }

  /** @param {ServerMessage} message */
  take(message) {
    if (message.type === 'turn.started') this.#turnStarted(message.request_id);
    if (message.request_id !== this.#turnId || this.#turnId === this.#silencedTurnId) return;
    switch (message.type) {
      case 'turn.latency': // told when the first of its audio leaves
        this.#residue = false;
        break;
      case 'caption':
        if (message.speaker === 'agent') this.#captionedMs = Math.max(this.#captionedMs, message.end_ms);
        break;
      case 'voice.audio.done':
        this.#lengthMs = message.audio_ms;
        this.#waitedMs = 0;
        break;
      case 'voice.interrupted':
        if (this.#state !== 'idle') this.#cut(message.heard_ms);
        break;
      case 'voice.resumed':
        this.#await(message.from_ms);
        break;
      case 'chat.complete':
        this.#complete = true;
        this.#waitedMs = 0;
        break;
    }
  }

  /**
   * Silence, now, and for whatever else comes of this turn.
   * @param {string} turnId
   */
  silence(turnId) {
    this.#silencedTurnId = turnId;
    if (this.#state !== 'idle') this.#cut(this.#positionMs);
  }

  /** The track has ended; if the turn goes on, it is heard in another way. */
  forget() {
    if (this.#state === 'sounding') this.#report('cleared');
    this.#turnId = '';
    this.#state = 'idle';
    this.#residue = false;
  }

  /**
   * The next stretch of the track was played.
   * @param {number} rms its loudness, 0 to 1
   * @param {number} blockMs its length
   */
  tick(rms, blockMs) {
    const sounds = rms >= SOUND_RMS;
    this.#quietMs = sounds ? 0 : this.#quietMs + blockMs;
    if (this.#state === 'idle') return;
    this.#dueMs += blockMs;
    if (this.#quietMs >= RESIDUE_MS || this.#dueMs >= RESIDUE_LIMIT_MS) this.#residue = false;
    if (sounds && this.audible) this.#state = 'sounding';
    this.#waitedMs = sounds ? 0 : this.#waitedMs + blockMs;
    if (this.#state === 'sounding') this.#advance(blockMs);
    else if (this.#isDue() && this.#waitedMs >= UNHEARD_MS + this.#lengthMs - this.#positionMs) this.#end();
  }

  /** @param {number} blockMs */
  #advance(blockMs) {
    const pauseMs = this.#positionMs < this.#captionedMs ? CAPTIONED_PAUSE_MS : PAUSE_MS;
    if (this.#quietMs < pauseMs) this.#positionMs = Math.min(this.#lengthMs, this.#positionMs + blockMs);
    const over = this.#positionMs >= this.#lengthMs && this.#quietMs >= RESIDUE_MS;
    if (over || ((this.#isDue() || this.#complete) && this.#waitedMs >= END_SILENCE_MS)) this.#end();
    else if (this.#positionMs - this.#reportedMs >= REPORT_MS) this.#report('playing');
  }

  #isDue() {
    return this.#lengthMs > 0 && this.#lengthMs < Infinity;
  }

  /** @param {string} turnId */
  #turnStarted(turnId) {
    if (this.#state === 'sounding') this.#end();
    this.#turnId = turnId;
    this.#captionedMs = 0;
    this.#lengthMs = Infinity;
    this.#complete = false;
    this.#await(0);
  }

  /** @param {number} positionMs */
  #await(positionMs) {
    this.#state = 'awaited';
    this.#positionMs = this.#reportedMs = positionMs;
    this.#waitedMs = this.#dueMs = 0;
  }

  /** @param {number} heardMs */
  #cut(heardMs) {
    this.#residue = true;
    this.#state = 'idle';
    this.#positionMs = heardMs;
    this.#report('cleared');
  }

  #end() {
    this.#state = 'idle';
    if (this.#isDue()) this.#positionMs = this.#lengthMs;
    this.#report('drained');
  }

  /** @param {Playback['state']} state */
  #report(state) {
    this.#reportedMs = this.#positionMs;
    this.onplayback({ requestId: this.#turnId, heardMs: Math.round(this.#positionMs), state, underruns: 0 });
  }
}
