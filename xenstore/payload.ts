/**
 * Bytes as text with one character for each byte, so that nothing is lost: paths and tokens, which are compared, not shown.
 */
export const toText = (bytes: Uint8Array): string => {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
};

/** The bytes of a text that {@link toText} made. */
export const fromText = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** The NUL-terminated strings of a payload; what follows the last NUL is left out (xenstored `get_strings`). */
export const strings = (payload: Uint8Array): string[] => toText(payload).split('\0').slice(0, -1);

/** The payload's one string, or undefined unless its only NUL is its last byte (xenstored `onearg`). */
export const oneString = (payload: Uint8Array): string | undefined => {
  const end = payload.indexOf(0);
  return end === payload.length - 1 && end >= 0 ? toText(payload.subarray(0, end)) : undefined;
};

/** A list of strings, each with its NUL. */
export const fromList = (texts: readonly string[]): Uint8Array => fromText(texts.map((text) => `${text}\0`).join(''));

/** Some strings, each with its NUL. */
export const fromStrings = (...texts: readonly string[]): Uint8Array => fromList(texts);

/** Several pieces in one. */
export const join = (...pieces: readonly Uint8Array[]): Uint8Array => {
  const joined = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
};
