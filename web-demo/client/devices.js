/**
 * Which microphone and which loudspeaker are in use, as devices come and go: the one that was chosen while it is there,
 * else the browser's own choice, also when that changes. Driven by `voice-client.js`.
 *
 * @typedef {import('./types.js').DeviceList} DeviceList
 * @typedef {import('./microphone.js').Microphone} Microphone
 * @typedef {import('./agent-voice.js').AgentVoice} AgentVoice
 */

import { microphoneReason } from './microphone.js';

/** Chrome lists its own choice as devices of their own. */
const PSEUDO = ['default', 'communications'];

export class Devices {
  #microphone;
  #voice;
  #microphoneId;
  #speakerId;
  /** @type {MediaDeviceInfo[]} */
  #known = [];

  /** The list has changed, or has names now. @type {(list: DeviceList) => void} */
  onchange = () => {};
  /** There is no microphone any more, for this reason. @type {(reason: string) => void} */
  onlost = () => {};

  /**
   * @param {Microphone} microphone
   * @param {AgentVoice} voice
   * @param {{ deviceId?: string, speakerId?: string }} chosen by id; empty for the browser's choice
   */
  constructor(microphone, voice, { deviceId = '', speakerId = '' }) {
    this.#microphone = microphone;
    this.#voice = voice;
    this.#microphoneId = deviceId;
    this.#speakerId = speakerId;
    microphone.onended = () => void this.#reopenMicrophone();
    navigator.mediaDevices?.addEventListener('devicechange', () => void this.#changed());
  }

  /** What there is now. Ids and names are known once the microphone has been allowed. */
  async list() {
    this.#known = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return listed(this.#known);
  }

  /**
   * Opens the chosen microphone.
   * @returns {Promise<boolean>} false where it could not be had (`onlost` tells why) or was closed meanwhile
   */
  async openMicrophone() {
    if (!(await this.#reopenMicrophone())) return false;
    void this.list().then((list) => this.onchange(list));
    return true;
  }

  /**
   * @param {string} deviceId empty for the browser's choice
   * @returns {Promise<boolean>} false where it could not be opened: the one before stays
   */
  async useMicrophone(deviceId) {
    this.#microphoneId = deviceId;
    return !this.#microphone.isOpen || this.#reopenMicrophone();
  }

  /**
   * @param {string} deviceId empty for the browser's choice
   * @returns {Promise<boolean>} false where the browser does not let the page use it
   */
  async useSpeaker(deviceId) {
    this.#speakerId = deviceId;
    return this.refreshSpeaker();
  }

  /** Players that were opened meanwhile use the chosen loudspeaker too. */
  async refreshSpeaker() {
    try {
      await this.#voice.useSpeaker(this.#speakerId);
      return true;
    } catch {
      await this.#voice.useSpeaker('').catch(() => {}); // unplugged, or never allowed: anything rather than silence
      return false;
    }
  }

  /** @returns {Promise<boolean>} */
  async #reopenMicrophone() {
    const wished = this.#microphoneId;
    try {
      await this.#microphone.open(wished);
      if (!this.#microphone.isOpen) return false;
      return wished === this.#microphoneId || (await this.#reopenMicrophone()); // chosen anew meanwhile
    } catch (error) {
      if (!this.#microphone.isOpen) this.onlost(microphoneReason(error));
      return false;
    }
  }

  async #changed() {
    const before = this.#known;
    this.onchange(await this.list());
    if (this.#microphone.isOpen && isOther(before, this.#known, 'audioinput', this.#microphoneId)) {
      await this.#reopenMicrophone();
    }
    if (isOther(before, this.#known, 'audiooutput', this.#speakerId)) await this.refreshSpeaker();
  }
}

/**
 * @param {readonly MediaDeviceInfo[]} devices
 * @returns {DeviceList}
 */
export function listed(devices) {
  const of = (/** @type {MediaDeviceKind} */ kind) =>
    devices
      .filter((device) => device.kind === kind && device.deviceId !== '' && !PSEUDO.includes(device.deviceId))
      .map(({ deviceId, label }) => ({ id: deviceId, label }));
  return { microphones: of('audioinput'), speakers: of('audiooutput') };
}

/**
 * Whether a wish means another device now than it did before.
 * @param {readonly MediaDeviceInfo[]} before
 * @param {readonly MediaDeviceInfo[]} after
 * @param {MediaDeviceKind} kind
 * @param {string} wished
 */
export function isOther(before, after, kind, wished) {
  return before.length > 0 && meant(before, kind, wished) !== meant(after, kind, wished);
}

/**
 * @param {readonly MediaDeviceInfo[]} devices
 * @param {MediaDeviceKind} kind
 * @param {string} wished
 */
function meant(devices, kind, wished) {
  const own = devices.filter((device) => device.kind === kind);
  const chosen = wished === '' ? undefined : own.find(({ deviceId }) => deviceId === wished);
  const found = chosen ?? own.find(({ deviceId }) => deviceId === 'default') ?? own[0];
  return found === undefined ? '' : `${found.deviceId} ${found.groupId}`;
}
