import { NR_VIRQS } from '../abi/virq.js';
import { vcpuWord } from './layout.js';
import type { MachineMemory } from './memory.js';
import type { Vcpus } from './vcpus.js';

/**
 * Which port each vCPU has bound to each virtual interrupt (sched.h `virq_to_evtchn`). Those that are not per vCPU stand with vCPU 0,
 * whichever their port notifies. Changed under the lock, after the port: what a port says is the truth.
 */
export class VirqPorts {
  readonly #words: Int32Array;
  readonly #vcpus: Vcpus;

  constructor(memory: MachineMemory, vcpus: Vcpus) {
    this.#words = memory.words;
    this.#vcpus = vcpus;
  }

  /** The port that an interrupt raises, 0 where it is not bound. */
  get(slot: number, vcpu: number, virq: number): number {
    return Atomics.load(this.#words, this.#at(slot, vcpu, virq));
  }

  set(slot: number, vcpu: number, virq: number, port: number): void {
    Atomics.store(this.#words, this.#at(slot, vcpu, virq), port);
  }

  /** Unbinds an interrupt from a port that closes, on whichever vCPU it is. */
  release(slot: number, virq: number, port: number): void {
    const count = this.#vcpus.count(slot);
    for (let vcpu = 0; vcpu < count; vcpu++) {
      if (this.get(slot, vcpu, virq) === port) this.set(slot, vcpu, virq, 0);
    }
  }

  /** Whether some vCPU has an interrupt bound to a port. */
  isBound(slot: number, virq: number, port: number): boolean {
    const count = this.#vcpus.count(slot);
    for (let vcpu = 0; vcpu < count; vcpu++) if (this.get(slot, vcpu, virq) === port) return true;
    return false;
  }

  /** Unbinds what is bound to a port that, as `isBound` says, is not bound to it. */
  mend(slot: number, isBound: (port: number, virq: number) => boolean): void {
    const count = this.#vcpus.count(slot);
    for (let vcpu = 0; vcpu < count; vcpu++) {
      for (let virq = 0; virq < NR_VIRQS; virq++) {
        const port = this.get(slot, vcpu, virq);
        if (port !== 0 && !isBound(port, virq)) this.set(slot, vcpu, virq, 0);
      }
    }
  }

  #at(slot: number, vcpu: number, virq: number): number {
    return this.#vcpus.word(slot, vcpu) + vcpuWord.virqPorts + virq;
  }
}
