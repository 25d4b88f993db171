/**
 * Which microphone and which loudspeaker, from what there is: two lists, and the choice kept in this browser. A chosen
 * device that is not there stays chosen, and says so. Driven by `app.js`.
 *
 * @typedef {import('../client/types.js').Device} Device
 * @typedef {import('../client/types.js').DeviceList} DeviceList
 */

import { canChooseSpeaker } from '../client/agent-voice.js';
import { byId, element } from './dom.js';

const STORED_AS = 'convergio-voice.devices';
const BROWSERS_CHOICE = { id: '', label: 'the browser’s choice' };

export class DeviceChoice {
  #microphone = new DeviceSelect('microphone', (id) => this.onmicrophone(id));
  #speaker = new DeviceSelect('speaker', (id) => this.onspeaker(id));
  #hint = byId('devices-hint');

  /** Uses another microphone; false where that failed. @type {(id: string) => Promise<boolean>} */
  onmicrophone = async () => false;
  /** @type {(id: string) => Promise<boolean>} */
  onspeaker = async () => false;
  /** The choice could not be followed, and the one before stands; in a sentence. @type {(text: string) => void} */
  onrefused = () => {};

  constructor() {
    const stored = load();
    this.#microphone.chosen = stored.microphone ?? BROWSERS_CHOICE;
    this.#speaker.chosen = stored.speaker ?? BROWSERS_CHOICE;
    this.#speaker.hidden = !canChooseSpeaker();
    for (const select of [this.#microphone, this.#speaker]) {
      select.onchosen = () => store({ microphone: this.#microphone.chosen, speaker: this.#speaker.chosen });
      select.onrefused = (label) => this.onrefused(`The browser could not use ${label}. Nothing was changed.`);
    }
    this.show({ microphones: [], speakers: [] });
  }

  /** As the voice client takes them. */
  get chosen() {
    return { deviceId: this.#microphone.chosen.id, speakerId: this.#speaker.chosen.id };
  }

  /** @param {DeviceList} list */
  show({ microphones, speakers }) {
    this.#microphone.show(microphones);
    this.#speaker.show(speakers);
    this.#hint.hidden = microphones.length + speakers.length > 0;
  }
}

class DeviceSelect {
  #select;
  #label;
  /** @type {readonly Device[]} */
  #there = [];
  /** @type {Device} */
  chosen = BROWSERS_CHOICE;
  onchosen = () => {};
  /** @type {(label: string) => void} */
  onrefused = () => {};

  /**
   * @param {string} id of the list
   * @param {(id: string) => Promise<boolean>} use
   */
  constructor(id, use) {
    this.#select = /** @type {HTMLSelectElement} */ (byId(id));
    [this.#label] = this.#select.labels;
    this.#select.addEventListener('change', () => void this.#choose(use));
  }

  /** @param {boolean} hidden */
  set hidden(hidden) {
    this.#select.hidden = this.#label.hidden = hidden;
  }

  /** @param {readonly Device[]} there */
  show(there) {
    this.#there = there;
    const { id, label } = this.chosen;
    const options = [BROWSERS_CHOICE, ...there];
    if (!options.some((device) => device.id === id)) options.push({ id, label: `${label} (not there)` });
    this.#select.replaceChildren(
      ...options.map((device) => {
        const option = element('option', '', device.label);
        option.value = device.id;
        return option;
      }),
    );
    this.#select.value = id;
  }

  /** @param {(id: string) => Promise<boolean>} use */
  async #choose(use) {
    const before = this.chosen;
    const id = this.#select.value;
    this.chosen = this.#there.find((device) => device.id === id) ?? BROWSERS_CHOICE;
    if (await use(id)) {
      this.onchosen();
      return;
    }
    const refused = this.chosen.label;
    this.chosen = before;
    this.show(this.#there);
    await use(before.id);
    this.onrefused(refused);
  }
}

/** @returns {{ microphone?: Device, speaker?: Device }} */
function load() {
  try {
    return JSON.parse(localStorage.getItem(STORED_AS) ?? '{}');
  } catch {
    return {};
  }
}

/** @param {{ microphone: Device, speaker: Device }} chosen */
function store(chosen) {
  try {
    localStorage.setItem(STORED_AS, JSON.stringify(chosen));
  } catch {
    // Private windows keep nothing: the choice then lasts as long as the page.
  }
}
