import {
  BehaviorSubject,
  distinctUntilChanged,
  filter,
  firstValueFrom,
  from,
  map,
  merge,
  type Observable,
  of,
  race,
  Subject,
  Subscription,
  startWith,
  switchMap,
  takeUntil,
  tap,
} from 'rxjs';
import type { Abi } from '../abi/layout.js';
import type { Clock } from '../domain/clock.js';
import type { EventChannels } from '../domain/event-channels.js';
import type { GrantTable } from '../domain/grant-table.js';
import type { Log, LogLevel } from '../domain/log.js';
import type { XenStore } from '../domain/xenstore.js';
import { Disconnected, errorText, PeerFault } from '../errors.js';
import type { DeviceInfo } from './device-info.js';
import { errorNode } from './error-node.js';
import { latestMap } from './latest-map.js';
import { Standstill } from './standstill.js';
import { readOtherState, readOwnState, type StateChange, writeState } from './state-nodes.js';
import type { Wait, XenbusState } from './states.js';

/** What a handshake reaches its world through. */
export interface HandshakeEnvironment {
  readonly store: XenStore;
  readonly channels: EventChannels;
  readonly grants: GrantTable;
  readonly clock: Clock;
  readonly log: Log;
  /** How this domain's own structs are laid out. */
  readonly abi: Abi;
}

/** How a device ends: its directory is gone, it was closed for good, or its own state is none or cannot be read. */
export type DeviceEnd = 'gone' | 'closed' | 'broken';

/** What both ends said when a step was decided. */
export interface Look {
  readonly own: XenbusState;
  readonly other: XenbusState;
}

/**
 * Interprets a transition table against the store for one end of one device: watches both ends' state, reads them again after
 * each event, and runs the step that the table names until it says wait. A handshake that has stood for a second says what it
 * waits for, why, and who must act.
 */
export abstract class Handshake<Step extends string> {
  protected readonly environment: HandshakeEnvironment;
  readonly #device$: BehaviorSubject<DeviceInfo>;
  readonly #wake$ = new Subject<void>();
  /** Fires when either end's state may have changed. */
  readonly #events$ = new Subject<void>();
  readonly #stopped$ = new Subject<void>();
  readonly #subscription = new Subscription();
  readonly #standstill: Standstill;
  #resolveEnded: () => void = () => {};
  #end: DeviceEnd | undefined;
  #fault: { readonly error: unknown } | undefined;
  /** Resolves when the device has come to its end: closed for good, its directory gone, or its domain at an end. */
  readonly ended: Promise<void>;

  constructor(environment: HandshakeEnvironment, device: DeviceInfo) {
    this.environment = environment;
    this.#device$ = new BehaviorSubject(device);
    this.#standstill = new Standstill(environment.clock, (text) => this.report('warning', text));
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  /** Which device this is; its other end may become another domain's. */
  get device(): DeviceInfo {
    return this.#device$.value;
  }

  /** Starts, and goes on until the device ends or the subscription that is returned is ended. */
  start(): Subscription {
    const { store } = this.environment;
    const otherState$ = this.#device$.pipe(
      map(({ otherendPath }) => otherendPath),
      distinctUntilChanged(),
      switchMap((path) => store.watch$(`${path}/state`)),
    );
    this.#subscription.add(
      merge(store.watch$(`${this.device.path}/state`), otherState$, this.#wake$)
        .pipe(
          tap(() => this.#events$.next()),
          latestMap(() => this.#turn()),
        )
        .subscribe({
          error: (error) => {
            this.report('error', `the handshake cannot go on: ${errorText(error)}`);
            this.finish('broken');
          },
        }),
    );
    this.#subscription.add(() => {
      this.#stopped$.next();
      this.#standstill[Symbol.dispose]();
      this.abandon();
      this.#resolveEnded();
    });
    return this.#subscription;
  }

  /** How the device has ended; undefined while it goes on, or when its domain gave it up. */
  get end(): DeviceEnd | undefined {
    return this.#end;
  }

  /** What to do in these states: a step or a wait; undefined: nothing until something changes. */
  protected abstract decide(look: Look): Step | Wait | undefined | Promise<Step | Wait | undefined>;
  /** Carries a step out; true when the states should be looked at again at once. */
  protected abstract take(step: Step, look: Look): Promise<boolean>;
  /**
   * A step, or what happened since the last one, has failed: gives the link up.
   * @param other undefined when the other end's state is what cannot be
   */
  protected abstract fail(error: unknown, other: XenbusState | undefined): void;
  /** What a step that takes long is waiting for. */
  protected abstract busyWith(): string;
  /** Gives back all that the link holds, without a word to the store: the directory is gone, or the domain ends. */
  protected abstract abandon(): void;

  /** Asks for a look at the states. */
  protected wake(): void {
    this.#wake$.next();
  }

  /** Something failed outside of a step: an upcall found what cannot be. The next look at the states deals with it. */
  protected raise(error: unknown): void {
    this.#fault ??= { error };
    this.wake();
  }

  /** Whether a fault waits to be dealt with. */
  protected get faulty(): boolean {
    return this.#fault !== undefined;
  }

  /** Whether the device has ended, or its domain is ending. */
  protected get stopped(): boolean {
    return this.#end !== undefined || this.#subscription.closed;
  }

  /** The other end is another domain's from now on. */
  protected moveTo(device: DeviceInfo): void {
    this.#device$.next(device);
  }

  /** Runs a clean-up that must not keep the others from running. */
  protected guard(cleanUp: () => void): void {
    try {
      cleanUp();
    } catch (error) {
      this.reportError(error);
    }
  }

  protected reportError(error: unknown): void {
    this.report('error', errorText(error));
  }

  protected report(level: LogLevel, text: string): void {
    this.environment.log.write({ level, source: this.device.path, text });
  }

  /** The device is at its end. */
  protected finish(how: DeviceEnd): void {
    if (this.#end !== undefined) return;
    this.#end = how;
    this.#standstill.settle();
    // Not from inside the step that it would cancel.
    queueMicrotask(() => this.#subscription.unsubscribe());
  }

  /** The first value, or undefined when the device ends before. */
  protected untilStopped<T>(source$: Observable<T>): Promise<T | undefined> {
    const stopped$ = this.stopped ? of(undefined) : this.#stopped$;
    return firstValueFrom(source$.pipe(takeUntil(stopped$)), { defaultValue: undefined });
  }

  /** Waits for a driver's work as long as `wanted` says so, which is asked at each event; undefined: no longer. */
  protected whileWanted<T>(
    work: PromiseLike<T>,
    wanted: () => Promise<boolean>,
  ): Promise<{ readonly value: T } | undefined> {
    const unwanted$ = this.#events$.pipe(
      startWith(undefined),
      latestMap(wanted),
      filter((still) => !still),
      map(() => undefined),
    );
    return this.untilStopped(race(from(work).pipe(map((value) => ({ value }))), unwanted$));
  }

  /** Moves to a state, with what goes with it, in one transaction; whether it did. */
  protected async switchState(change: StateChange): Promise<boolean> {
    const { from, to } = change;
    const written = await this.environment.store.transaction(async (store) => {
      const did = await writeState(store, this.device, change);
      // Whoever has the device after this handshake finds nothing of it that was still under way.
      if (this.stopped) throw new Disconnected(`${this.device.path} is no longer driven`);
      return did;
    });
    if (written) this.report('info', from === to ? `${to} again` : `${from} → ${to}`);
    return written;
  }

  async #turn(): Promise<void> {
    while (this.#end === undefined) {
      const own = await readOwnState(this.environment.store, this.device);
      if (own === 'Unknown') {
        this.abandon();
        this.finish('gone');
        return;
      }
      const fault = this.#fault;
      this.#fault = undefined;
      const seen = await this.#see();
      try {
        if (fault !== undefined) throw fault.error;
        if ('state' in seen) {
          if (!(await this.#look({ own, other: seen.state }))) return;
        } else if (own === 'Closing' || own === 'Closed') {
          // Said already: what is left is to wait until the other end says something that can be.
          const { message } = seen.fault;
          this.#standstill.waitFor(`${own} ${message}`, () => `waiting for the other end to close, because ${message}`);
          return;
        } else throw seen.fault;
      } catch (error) {
        if (this.stopped) return;
        if ('state' in seen && seen.state !== 'Unknown' && (await this.#isGone())) {
          // What failed with the other end going in the middle is no failure of the device: the table says what to do then.
          this.report('warning', errorText(error));
          continue;
        }
        await this.#failed(error, own, 'state' in seen ? seen.state : undefined);
      }
    }
  }

  async #see(): Promise<{ readonly state: XenbusState } | { readonly fault: PeerFault }> {
    try {
      return { state: await readOtherState(this.environment.store, this.device) };
    } catch (error) {
      if (error instanceof PeerFault) return { fault: error };
      throw error;
    }
  }

  async #isGone(): Promise<boolean> {
    const seen = await this.#see();
    return 'state' in seen && seen.state === 'Unknown';
  }

  /** Decides and acts; whether to look again at once. */
  async #look(look: Look): Promise<boolean> {
    const { own, other } = look;
    const decision = await this.decide(look);
    if (typeof decision === 'object') {
      this.#standstill.waitFor(`${own} ${other} ${decision.for}`, () => this.#waiting(look, decision));
      return false;
    }
    if (decision === undefined) {
      this.#standstill.settle();
      return false;
    }
    const key = `${own} ${other} ${decision}`;
    this.#standstill.waitFor(key, () => `waiting for ${this.busyWith()} (this end is ${own}, the other end ${other})`);
    const again = await this.take(decision, look);
    this.#standstill.settle();
    return again;
  }

  /** Leaves the reason where Linux leaves it, and leads towards Closed (`xenbus_dev_fatal`). */
  async #failed(error: unknown, own: XenbusState, other: XenbusState | undefined): Promise<void> {
    this.#standstill.settle();
    this.fail(error, other);
    this.reportError(error);
    try {
      await this.environment.store.write(`error/${this.device.path}/error`, errorNode(error));
    } catch (failure) {
      this.report('warning', `the reason could not be written to the store: ${errorText(failure)}`);
    }
    if (own !== 'Closing' && own !== 'Closed') await this.switchState({ from: own, to: 'Closing' });
  }

  #waiting({ own, other }: Look, wait: Wait): string {
    const { otherend, otherendPath } = this.device;
    const node = `${otherendPath}/state`;
    const driver = `has domain ${otherend} a driver for it?`;
    const because =
      other === 'Unknown'
        ? `${node} does not exist: ${driver}`
        : `it is still ${other}${other === 'Initialising' ? `: ${driver}` : ''}`;
    return `waiting for the ${wait.wait} in domain ${otherend} to reach ${wait.for}, because ${because} (this end is ${own}, the ${wait.wait} must act)`;
  }
}
