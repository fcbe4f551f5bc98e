import type { MessagePort } from 'node:worker_threads';
import type { Domid } from '../../core/abi/units.js';

/**
 * How this thread rings for domains of others, that is, has them entered: by a message on a port that leads to the domain's thread. A ring for a
 * domain that is not known any more rings for nobody.
 */
export class Doorbells {
  readonly #ports = new Map<Domid, MessagePort>();
  /** Where domains were found that no port leads to alone. */
  readonly #found = new Map<Domid, MessagePort>();
  readonly #unknown: (domid: Domid) => MessagePort | undefined;

  /** @param unknown asked for the port of a domain that none was added for, and not again once it has named one */
  constructor(unknown: (domid: Domid) => MessagePort | undefined) {
    this.#unknown = unknown;
  }

  /** The thread at a port's other end is the one that `domid` runs in. */
  add(domid: Domid, port: MessagePort): void {
    this.#ports.set(domid, port);
  }

  /** The domain's thread is gone. */
  remove(domid: Domid): void {
    this.#ports.get(domid)?.close();
    this.#ports.delete(domid);
  }

  find(domid: Domid): MessagePort | undefined {
    return this.#ports.get(domid);
  }

  /** Rings for a domain; a Ring of the hypervisor's. */
  readonly ring = (domid: Domid): void => {
    const port = this.#ports.get(domid) ?? this.#found.get(domid) ?? this.#find(domid);
    port?.postMessage(domid);
  };

  #find(domid: Domid): MessagePort | undefined {
    const port = this.#unknown(domid);
    if (port !== undefined && !this.#ports.has(domid)) this.#found.set(domid, port);
    return port;
  }

  [Symbol.dispose](): void {
    for (const port of this.#ports.values()) port.close();
    this.#ports.clear();
  }
}
