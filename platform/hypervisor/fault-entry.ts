import { asError, errorText, type LogEntry } from '../../core/index.js';

/** How the log tells of what a domain's code has thrown where nobody expected it. */
export const faultEntry = (source: string, error: unknown): LogEntry => {
  const { stack } = asError(error);
  return { level: 'error', source, text: errorText(error), ...(stack === undefined ? {} : { stack }) };
};
