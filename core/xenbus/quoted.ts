/** What a peer wrote, for a log or an error: in quotes, in one line, and no more of it than one wants to read. */
export const quoted = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
