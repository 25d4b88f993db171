/**
 * ICE candidates as the body of a trickle request (RFC 8840, section 9). Pure; driven by `rtc-transport.js`.
 *
 * @typedef {{ candidate: string, sdpMid?: string | null }} Candidate
 */

/**
 * @param {string} sdp the local description the candidates belong to
 * @param {readonly Candidate[]} candidates in the browser's own words, `candidate:…`
 * @param {boolean} complete whether no more will come
 * @returns {string}
 */
export function sdpFragment(sdp, candidates, complete) {
  const lines = sdp.split(/\r?\n/);
  const fragment = [first(lines, 'a=ice-ufrag:'), first(lines, 'a=ice-pwd:')];
  for (const [index, section] of mediaSections(lines).entries()) {
    const mid = first(section, 'a=mid:');
    const own = candidates.filter(({ sdpMid }) => `a=mid:${sdpMid}` === mid);
    const ends = complete && index === 0; // everything is bundled: the first section stands for all
    if (own.length === 0 && !ends) continue;
    fragment.push(section[0], mid, ...own.map(({ candidate }) => `a=${candidate}`));
    if (ends) fragment.push('a=end-of-candidates');
  }
  return fragment.map((line) => `${line}\r\n`).join('');
}

/**
 * @param {string[]} lines
 * @param {string} prefix
 */
function first(lines, prefix) {
  return lines.find((line) => line.startsWith(prefix)) ?? prefix;
}

/** @param {string[]} lines */
function mediaSections(lines) {
  /** @type {string[][]} */
  const sections = [];
  for (const line of lines) {
    if (line.startsWith('m=')) sections.push([]);
    sections.at(-1)?.push(line);
  }
  return sections;
}
