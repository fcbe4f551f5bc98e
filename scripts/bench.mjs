// npm run bench -- SUITE … [options]: compiles what has changed, then measures.
import { ready } from './ready.mjs';

await ready();
await import('../dist/bench/main.js');
