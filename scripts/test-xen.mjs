// npm run test:xen [-- SCENARIO…] [--times N]: compiles what has changed, then boots Xen in QEMU and has the scenarios run there.
import { ready } from './ready.mjs';

await ready();
await import('../dist/rig/main.js');
