/**
 * Why the server refused a request, in its own words where it has any. Used by everything that speaks HTTP.
 */

/** @param {Response} response */
export async function refusal(response) {
  try {
    return String((await response.json()).error.message);
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}
