import { randomBytes } from 'node:crypto';

export abstract class EntropySource {
  abstract bytes(length: number): Uint8Array;
}

export class SystemEntropy extends EntropySource {
  bytes(length: number): Uint8Array {
    return randomBytes(length);
  }
}
