/**
 * Files to keep: asked for with whatever lets this page in, checked against their checksum, and saved with a second file
 * that says what is in them. Driven by `app.js`.
 */

/**
 * @param {import('./server.js').Server} server
 * @param {string} path
 * @param {Record<string, string>} query
 * @returns {Promise<string>} what was saved, in a sentence
 */
export async function download(server, path, query) {
  const { name, about, content } = await server.file(path, query);
  if (about === null) {
    save(name, content);
    return `Saved ${name}.`;
  }
  const sum = await sha256(content);
  if (sum !== null && sum !== about.sha256) throw new Error('The file did not arrive whole. Try again.');
  save(name, content);
  save(`${name}.json`, new Blob([`${JSON.stringify(about, null, 2)}\n`], { type: 'application/json' }));
  const turns = about.events === 1 ? '1 event' : `${about.events} events`;
  return `Saved ${name} with ${turns}, and ${name}.json with its checksum.`;
}

/** @param {string} name @param {Blob} content */
function save(name, content) {
  const address = URL.createObjectURL(content);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** @param {Blob} content @returns {Promise<string | null>} null where the browser cannot (a page without TLS) */
async function sha256(content) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = await crypto.subtle.digest('SHA-256', await content.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
