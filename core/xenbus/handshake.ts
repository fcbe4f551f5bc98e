import { firstValueFrom, merge, Subject, Subscription } from 'rxjs';
import type { Abi } from '../abi/layout.js';
import type { Clock } from '../domain/clock.js';
import type { EventChannels } from '../domain/event-channels.js';
import type { GrantTable } from '../domain/grant-table.js';
import type { Log } from '../domain/log.js';
import type { StoreOperations, XenStore } from '../domain/xenstore.js';
import { XenError } from '../errors.js';
import type { DeviceInfo } from './device-info.js';
import { latestMap } from './latest-map.js';
import { parseState, showState, type Wait, type XenbusState } from './states.js';

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

/** A handshake that has stood this long is reported, in milliseconds. */
export const STANDSTILL = 1000;

/**
 * Interprets a transition table against the store for one end of one device: watches both ends' state, reads them again after
 * each event, and runs the step that the table names until it says wait. A handshake that has stood for a second says what it
 * waits for, why, and who must act.
 */
export abstract class Handshake<Step extends string> {
  protected readonly environment: HandshakeEnvironment;
  readonly device: DeviceInfo;
  readonly #wake$ = new Subject<void>();
  readonly #subscription = new Subscription();
  readonly #waiting = new Subscription();
  #wait: { readonly key: string; readonly timer: Subscription } | undefined;
  #resolveEnded: () => void = () => {};
  #ended = false;
  #fault: { readonly error: unknown } | undefined;
  /** Resolves when the device has come to its end: closed for good, or its directory gone. */
  readonly ended: Promise<void>;

  constructor(environment: HandshakeEnvironment, device: DeviceInfo) {
    this.environment = environment;
    this.device = device;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  /** Starts, and goes on until the device ends or the subscription that is returned is ended. */
  start(): Subscription {
    const { store } = this.environment;
    const { path, otherendPath } = this.device;
    this.#subscription.add(this.#waiting);
    this.#subscription.add(
      merge(store.watch$(`${path}/state`), store.watch$(`${otherendPath}/state`), this.#wake$)
        .pipe(latestMap(() => this.#turn()))
        .subscribe({
          error: (error) => {
            this.report('error', `the handshake cannot go on: ${describe(error)}`);
            this.finish();
          },
        }),
    );
    this.#subscription.add(() => this.abandon());
    return this.#subscription;
  }

  /** What to do in these states: a step or a wait; undefined: nothing until something changes. */
  protected abstract decide(
    own: XenbusState,
    other: XenbusState,
  ): Step | Wait | undefined | Promise<Step | Wait | undefined>;
  /** Carries a step out; true when the states should be looked at again at once. */
  protected abstract take(step: Step, own: XenbusState, other: XenbusState): Promise<boolean>;
  /** A step, or what happened since the last one, has failed: closes the link and leads towards Closed. */
  protected abstract fail(error: unknown, own: XenbusState): Promise<void>;
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
    return this.#ended || this.#subscription.closed;
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
    this.report('error', describe(error));
  }

  /** Resolves after `ms` milliseconds. */
  protected timeout(ms: number): Promise<void> {
    return firstValueFrom(this.environment.clock.timer$(ms));
  }

  /** The device is at its end. */
  protected finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#settle();
    this.#resolveEnded();
    // Not from inside the step that it would cancel.
    queueMicrotask(() => this.#subscription.unsubscribe());
  }

  /**
   * Moves to a state, with what goes with it, in one transaction. Nothing is written when the node is gone or no longer says
   * `from`: the toolstack may close a device at any time.
   */
  protected async switchState(
    from: XenbusState,
    to: XenbusState,
    also: (store: StoreOperations) => Promise<void> = async () => {},
  ): Promise<boolean> {
    const node = `${this.device.path}/state`;
    const written = await this.environment.store.transaction(async (store) => {
      if (parseState(await store.read(node)) !== from) return false;
      await also(store);
      await store.write(node, showState(to));
      return true;
    });
    if (written) this.report('info', from === to ? `${to} again` : `${from} → ${to}`);
    return written;
  }

  /** Leaves the reason for a failure where `xenbus_dev_fatal` of Linux leaves it. */
  protected async writeError(error: unknown): Promise<void> {
    this.report('error', describe(error));
    await this.environment.store.write(`error/${this.device.path}/error`, describe(error));
  }

  protected report(level: 'info' | 'warning' | 'error', text: string): void {
    this.environment.log.write({ level, source: this.device.path, text });
  }

  async #turn(): Promise<void> {
    const { store } = this.environment;
    while (!this.#ended) {
      const own = parseState(await store.read(`${this.device.path}/state`));
      if (own === 'Unknown') {
        this.abandon();
        this.finish();
        return;
      }
      try {
        if (this.#fault !== undefined) {
          const { error } = this.#fault;
          this.#fault = undefined;
          throw error;
        }
        const other = await this.#otherState();
        const decision = await this.decide(own, other);
        if (typeof decision === 'object') this.#stand(own, other, decision);
        else this.#settle();
        if (typeof decision !== 'string' || !(await this.take(decision, own, other))) return;
      } catch (error) {
        await this.fail(error, own);
      }
    }
  }

  /** The other end's state: none where this domain may read nothing, or nothing any more (`xenbus_read_driver_state`). */
  async #otherState(): Promise<XenbusState> {
    try {
      return parseState(await this.environment.store.read(`${this.device.otherendPath}/state`));
    } catch (error) {
      if (error instanceof XenError && error.code === 'EACCES') return 'Unknown';
      throw error;
    }
  }

  #settle(): void {
    this.#wait?.timer.unsubscribe();
    this.#wait = undefined;
  }

  #stand(own: XenbusState, other: XenbusState, wait: Wait): void {
    const key = `${own} ${other} ${wait.for}`;
    if (this.#wait?.key === key) return;
    this.#settle();
    const { otherend, otherendPath } = this.device;
    const because =
      other === 'Unknown'
        ? `${otherendPath}/state does not exist (is there a driver for it in domain ${otherend}?)`
        : `it is still ${other}`;
    const timer = this.environment.clock.timer$(STANDSTILL).subscribe(() => {
      this.report(
        'warning',
        `waiting for the ${wait.wait} in domain ${otherend} to reach ${wait.for}, because ${because}; this end is ${own}, the ${wait.wait} must act`,
      );
    });
    this.#wait = { key, timer };
    this.#waiting.add(timer);
  }
}

/** An error in one line. */
export const describe = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : String(error);
