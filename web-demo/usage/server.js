/**
 * The server as this page asks it: with the key of this tab, or the cookie of a session, or (on one's own machine) with
 * neither. Owns the key. Knows no element.
 */

import { refusal } from '../client/refusal.js';

const STORED_AS = 'convergio-voice.access-key'; // the same tab's key as the page to talk has
const LIMIT_MS = 20_000;
const FILE_LIMIT_MS = 360_000;

/** The server wants to know who asks. */
export class SignInNeeded extends Error {}
/** Whoever asks may not know that. */
export class NotAllowed extends Error {}

export class Server {
  #key = stored();
  /** Whether a session's cookie was got here. */
  #session = false;

  get signedIn() {
    return this.#key !== '' || this.#session;
  }

  /** @param {string} key */
  useKey(key) {
    this.#key = key;
    try {
      if (key === '') sessionStorage.removeItem(STORED_AS);
      else sessionStorage.setItem(STORED_AS, key);
    } catch {
      // Storage is switched off: the key then lasts as long as the page.
    }
  }

  /**
   * A session by name and password, kept in a cookie that scripts cannot read.
   * @param {string} name
   * @param {string} password
   */
  async signIn(name, password) {
    const body = JSON.stringify({ login_name: name, password, cookie: true });
    const headers = { 'Content-Type': 'application/json' };
    const answer = await this.#reach('/v1/auth/login', { method: 'POST', headers, body }, LIMIT_MS);
    if (answer.status === 404 || answer.status === 405) throw new Error('This server takes access keys only.');
    if (!answer.ok) throw new Error(await refusal(answer));
    this.#session = true;
  }

  async signOut() {
    if (this.#session) await this.#reach('/v1/auth/logout', { method: 'POST' }, LIMIT_MS).catch(() => null);
    this.#session = false;
    this.useKey('');
  }

  /**
   * @param {string} path
   * @param {Record<string, string>} [query]
   * @returns {Promise<any>}
   */
  async ask(path, query = {}) {
    return await (await this.#get(path, query, LIMIT_MS)).json();
  }

  /**
   * A file, and what the server says about it.
   * @param {string} path
   * @param {Record<string, string>} query
   */
  async file(path, query) {
    const answer = await this.#get(path, query, FILE_LIMIT_MS);
    const name = /filename="([^"]+)"/.exec(answer.headers.get('content-disposition') ?? '')?.[1] ?? 'usage';
    const about = answer.headers.get('usage-export');
    return { name, about: about === null ? null : JSON.parse(about), content: await answer.blob() };
  }

  /** @param {string} path @param {Record<string, string>} query @param {number} limitMs */
  async #get(path, query, limitMs) {
    const answer = await this.#reach(`${path}?${new URLSearchParams(query)}`, {}, limitMs);
    if (answer.status === 401) throw new SignInNeeded(await refusal(answer));
    if (answer.status === 403) throw new NotAllowed(await refusal(answer));
    if (!answer.ok) throw new Error(await refusal(answer));
    return answer;
  }

  /** @param {string} path @param {RequestInit} options @param {number} limitMs */
  async #reach(path, options, limitMs) {
    const headers = new Headers(options.headers);
    if (this.#key !== '') headers.set('Authorization', `Bearer ${this.#key}`);
    const signal = AbortSignal.timeout(limitMs);
    try {
      return await fetch(path, { ...options, headers, signal, cache: 'no-store' });
    } catch {
      throw new Error('The server cannot be reached. Check the connection and try again.');
    }
  }
}

function stored() {
  try {
    return sessionStorage.getItem(STORED_AS) ?? '';
  } catch {
    return '';
  }
}
