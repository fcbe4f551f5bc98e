import { type Observer, Subscriber, type Subscription } from 'rxjs';
import type { Port } from '../../core/abi/units.js';
import { EventChannel } from '../../core/domain/event-channels.js';

/** What a channel asks of the device that it is bound on. */
export interface PortControl {
  /** Raises the event at the other end. @throws XenError */
  notify(port: Port): void;
  /** Lets the device hand the port out again (evtchn.h: a port that was read stays masked until it is written back). */
  unmask(port: Port): void;
  /** @throws XenError */
  close(port: Port): void;
  /** Told of what a subscriber threw. */
  error(error: unknown, port: Port): void;
}

/** A port of /dev/xen/evtchn as an {@link EventChannel}. */
export class XenEventChannel extends EventChannel {
  readonly #control: PortControl;
  /** Replaced as a whole, so that an upcall can go through it while subscribers come and go. */
  #listeners: readonly Subscriber<void>[] = [];
  /** Whether the device has handed the port out, and waits to have it back. */
  #masked = false;
  /** Whether an upcall is owed: an event came while nobody listened, or was asked for here. */
  #pending = false;
  #soon: NodeJS.Immediate | undefined;
  #closed = false;

  constructor(
    control: PortControl,
    readonly port: Port,
  ) {
    super((subscriber) => this.#join(subscriber));
    this.#control = control;
  }

  override notify(): void {
    this.#control.notify(this.port);
  }

  override retrigger(): void {
    this.#pending = true;
    this.#deliverSoon();
  }

  /** As an Observable's; what a function subscribed to the channel itself throws goes to the domain's error hook. */
  override subscribe(
    observer?: Partial<Observer<void>> | (() => void) | null,
    error?: ((error: unknown) => void) | null,
    complete?: (() => void) | null,
  ): Subscription {
    if (observer instanceof Subscriber) return super.subscribe(observer);
    const given: Partial<Observer<void>> =
      typeof observer === 'object' && observer !== null
        ? observer
        : { ...(observer && { next: observer }), ...(error && { error }), ...(complete && { complete }) };
    return super.subscribe({
      next: () => {
        try {
          given.next?.();
        } catch (thrown) {
          this.#control.error(thrown, this.port);
        }
      },
      ...(given.error && { error: given.error.bind(given) }),
      ...(given.complete && { complete: given.complete.bind(given) }),
    });
  }

  /** The device has handed the port out. */
  fired(): void {
    this.#masked = true;
    this.#pending = true;
    this.#deliver();
  }

  override [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    clearImmediate(this.#soon);
    try {
      this.#control.close(this.port);
    } finally {
      for (const subscriber of this.#listeners) subscriber.complete();
      this.#listeners = [];
    }
  }

  #join(subscriber: Subscriber<void>): () => void {
    if (this.#closed) {
      subscriber.complete();
      return () => {};
    }
    this.#listeners = [...this.#listeners, subscriber];
    if (this.#pending) this.#deliverSoon();
    else this.#unmask();
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== subscriber);
    };
  }

  /** Not from inside the call that asks for it. */
  #deliverSoon(): void {
    if (this.#closed) return;
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined;
      this.#deliver();
    });
  }

  #deliver(): void {
    const listeners = this.#listeners;
    if (!this.#pending || listeners.length === 0) return;
    this.#pending = false;
    for (const subscriber of listeners) subscriber.next();
    // Whoever raised another meanwhile has only set a bit, which is told of as soon as the device has the port back.
    if (this.#listeners.length > 0) this.#unmask();
  }

  #unmask(): void {
    if (!this.#masked || this.#closed) return;
    this.#masked = false;
    this.#control.unmask(this.port);
  }
}
