#!/usr/bin/env node
import './node-version.mjs';
import { existsSync } from 'node:fs';

// a published package is compiled already and brings no tsconfig.json
if (existsSync(new URL('../tsconfig.json', import.meta.url))) {
  const { ready } = await import('./ready.mjs');
  await ready();
}
await import('../dist/cli/main.js');
