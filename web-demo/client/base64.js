/**
 * Audio inside JSON messages. Pure.
 */

/**
 * @param {readonly ArrayBuffer[]} parts some kilobytes, joined
 * @returns {string}
 */
export function toBase64(parts) {
  return btoa(parts.map((part) => String.fromCharCode(...new Uint8Array(part))).join(''));
}

/**
 * @param {string} text
 * @returns {ArrayBuffer}
 */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
}
