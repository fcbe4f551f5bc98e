import { MAC_BYTES } from './mac.js';

/** Groups that a vif may join (netback.c `XEN_NETBK_MCAST_MAX`). */
export const MAX_GROUPS = 64;

/** The groups whose frames a frontend wants, where it has asked to say so (netif.h `request-multicast-control`). */
export class MulticastFilter {
  readonly #groups: Uint8Array[] = [];

  /** Joins a group; false when there are too many. */
  add(mac: Uint8Array): boolean {
    if (this.#index(mac, 0) >= 0) return true;
    if (this.#groups.length >= MAX_GROUPS) return false;
    this.#groups.push(mac.slice(0, MAC_BYTES));
    return true;
  }

  /** Leaves a group, if it is joined. */
  delete(mac: Uint8Array): void {
    const index = this.#index(mac, 0);
    if (index >= 0) this.#groups.splice(index, 1);
  }

  /** Whether a frame to the address at `at` passes: broadcasts and those to one station always do. */
  passes(bytes: Uint8Array, at: number): boolean {
    if (((bytes[at] as number) & 1) === 0 || this.#index(bytes, at) >= 0) return true;
    for (let i = 0; i < MAC_BYTES; i++) if (bytes[at + i] !== 0xff) return false;
    return true;
  }

  #index(bytes: Uint8Array, at: number): number {
    return this.#groups.findIndex((group) => group.every((byte, i) => byte === bytes[at + i]));
  }
}
