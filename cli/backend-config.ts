import { readFileSync } from 'node:fs';
import type { Plain } from '../core/index.js';
import { messageOf, UsageError } from './errors.js';

/** What a backend is started with. */
export interface BackendConfig {
  /** For the driver's module: `{ "io": "async" }`. */
  readonly cmdline?: Plain;
  /** Values of keys that the backend writes instead of what its driver says: `{ "feature-persistent": false }`. */
  readonly offer?: { readonly [key: string]: Plain };
}

const isRecord = (value: unknown): value is { readonly [key: string]: Plain } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads a backend's configuration, which is JSON. @throws UsageError that names the file and what is wrong with it */
export const readBackendConfig = (path: string): BackendConfig => {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const why = error instanceof SyntaxError ? `is not JSON: ${error.message}` : `cannot be read: ${messageOf(error)}`;
    throw new UsageError(`--config ${path} ${why}`);
  }
  if (!isRecord(parsed)) throw new UsageError(`--config ${path} holds no object, { "cmdline": …, "offer": … }`);
  const unknown = Object.keys(parsed).find((key) => key !== 'cmdline' && key !== 'offer');
  if (unknown !== undefined) throw new UsageError(`--config ${path} has a key ${unknown}; there are cmdline and offer`);
  const { cmdline, offer } = parsed;
  if (offer !== undefined && !isRecord(offer)) throw new UsageError(`--config ${path}: offer is no object`);
  return { ...(cmdline === undefined ? {} : { cmdline }), ...(offer === undefined ? {} : { offer }) };
};

/** A configuration whose command line has, besides, what the options say that were given. */
export const withCommandLine = (
  config: BackendConfig,
  told: { readonly [key: string]: Plain | undefined },
): BackendConfig => {
  const given = Object.entries(told).filter(([, value]) => value !== undefined);
  if (given.length === 0) return config;
  const before = isRecord(config.cmdline) ? config.cmdline : {};
  return { ...config, cmdline: { ...before, ...(Object.fromEntries(given) as Record<string, Plain>) } };
};
