// npm run soak [-- --minutes N] [--seed S] [--json FILE]: compiles what has changed, then loads a machine of threads.
import { ready } from './ready.mjs';

await ready();
await import('../dist/bench/soak/main.js');
