// The least that a worker can be: it answers, and stays.
import { parentPort } from 'node:worker_threads';

parentPort?.postMessage('runs');
parentPort?.on('message', () => {});
