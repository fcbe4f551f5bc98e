import { map, type Observable } from 'rxjs';

/**
 * A source of one of the host's interrupts: whatever really happens there, as the machine that it is given to sees it. It is a token too:
 * those bound to it in dom0 are the machine's, once it is told to look.
 */
export class HostInterrupt {
  /** {@link edge} and {@link level} say which values of an Observable mean what. */
  constructor(
    /** The host's number: 1 … 127 a line, 128 … 255 a message. */
    readonly irq: number,
    readonly trigger: 'edge' | 'level',
    /** Whether the line is up; for an edge, each `true` is one. */
    readonly line$: Observable<boolean>,
  ) {}

  /** Each value of `edge$` is one interrupt. */
  static edge(irq: number, edge$: Observable<unknown>): HostInterrupt {
    return new HostInterrupt(irq, 'edge', edge$.pipe(map(() => true)));
  }

  /** The device asks for as long as `line$` says `true`. */
  static level(irq: number, line$: Observable<boolean>): HostInterrupt {
    return new HostInterrupt(irq, 'level', line$);
  }
}
