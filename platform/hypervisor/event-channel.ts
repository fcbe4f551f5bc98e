import { type Observer, Subscriber, type Subscription } from 'rxjs';
import type { Port } from '../../core/abi/units.js';
import { EventChannel } from '../../core/domain/event-channels.js';
import { XenError } from '../../core/errors.js';
import { brokenRule } from './broken-rules.js';
import type { OwnDomain } from './own-domain.js';

/** Told of an exception that a subscriber threw; the other subscribers and channels go on. */
export type OnSubscriberError = (error: unknown, port: Port) => void;

/** How a platform's thread looks out for more work before it sleeps. */
export type Linger = (isThere: () => boolean) => boolean;

type Next = () => void;

/**
 * What an operator brings along, and ends itself. That of another copy of rxjs, an author's own, is none of our class; it is known
 * as rxjs knows it.
 */
const isSubscriber = (observer: Partial<Observer<void>> | Next | null | undefined): observer is Subscriber<void> =>
  observer instanceof Subscriber ||
  (typeof observer === 'object' &&
    observer !== null &&
    'closed' in observer &&
    ['next', 'error', 'complete', 'add', 'remove', 'unsubscribe'].every(
      (method) => typeof (observer as Record<string, unknown>)[method] === 'function',
    ));

/** A subscriber, with what hands events to it where RxJS has nothing to do between: an upcall then saves three calls. */
interface Listener {
  readonly subscriber: Subscriber<void>;
  readonly next: Next | undefined;
}

/** A port of our Xen as an {@link EventChannel}. */
export class HypervisorEventChannel extends EventChannel {
  readonly #own: OwnDomain;
  readonly #onError: OnSubscriberError;
  readonly #onClose: () => void;
  readonly #linger: Linger;
  /** Replaced as a whole, so that an upcall can go through it while subscribers come and go. */
  #listeners: readonly Listener[] = [];
  /** What the subscription that is being made hands events to. */
  #joining: Next | undefined;
  #closed = false;

  constructor(
    own: OwnDomain,
    readonly port: Port,
    onError: OnSubscriberError,
    onClose: () => void,
    linger: Linger,
  ) {
    super((subscriber) => this.#join(subscriber));
    this.#own = own;
    this.#onError = onError;
    this.#onClose = onClose;
    this.#linger = linger;
  }

  override notify(): void {
    const { hypervisor, domid, isGone } = this.#own;
    if (this.#closed || isGone) throw new XenError('EINVAL', `EVTCHNOP_send on port ${this.port}, which is closed`);
    const result = hypervisor.eventChannels.send(domid, this.port);
    if (result < 0) throw brokenRule('EVTCHNOP_send', result, `on port ${this.port} by domain ${domid}`);
  }

  override bindVcpu(vcpu: number): void {
    const { hypervisor, domid, isGone } = this.#own;
    const about = `of port ${this.port} to vCPU ${vcpu} by domain ${domid}`;
    if (this.#closed || isGone) throw new XenError('EINVAL', `EVTCHNOP_bind_vcpu ${about}, which has closed it`);
    const result = hypervisor.eventChannels.bindVcpu(domid, this.port, vcpu);
    if (result < 0) throw brokenRule('EVTCHNOP_bind_vcpu', result, about);
  }

  override linger(isThere: () => boolean): boolean {
    return this.#linger(isThere);
  }

  override hold(): void {
    this.#own.hypervisor.doorbell.hold();
  }

  override release(): void {
    this.#own.hypervisor.doorbell.release();
  }

  override retrigger(): void {
    const { hypervisor, domid, isGone } = this.#own;
    if (!this.#closed && !isGone) hypervisor.eventChannels.retrigger(domid, this.port);
  }

  /** As an Observable's; what a function subscribed to the channel itself throws goes to the domain's error hook. */
  override subscribe(
    observer?: Partial<Observer<void>> | Next | null,
    error?: ((error: unknown) => void) | null,
    complete?: (() => void) | null,
  ): Subscription {
    if (isSubscriber(observer)) return super.subscribe(observer);
    const given: Partial<Observer<void>> =
      typeof observer === 'object' && observer !== null
        ? observer
        : { ...(observer && { next: observer }), ...(error && { error }), ...(complete && { complete }) };
    const next = (): void => {
      try {
        given.next?.();
      } catch (thrown) {
        this.#onError(thrown, this.port);
      }
    };
    this.#joining = next;
    return super.subscribe({
      next,
      ...(given.error && { error: given.error.bind(given) }),
      ...(given.complete && { complete: given.complete.bind(given) }),
    });
  }

  /** Tells the subscribers that the event came. */
  upcall(): void {
    const listeners = this.#listeners;
    for (let i = 0; i < listeners.length; i++) {
      const { subscriber, next } = listeners[i] as Listener;
      if (next === undefined) subscriber.next();
      else if (!subscriber.closed) next();
    }
  }

  override [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    const { hypervisor, domid, isGone } = this.#own;
    this.#onClose();
    if (!isGone) {
      // A port keeps its mask when it is used again: masked, its next owner decides when to look.
      hypervisor.eventChannels.mask(domid, this.port);
      hypervisor.eventChannels.close(domid, this.port);
    }
    for (const { subscriber } of this.#listeners) subscriber.complete();
    this.#listeners = [];
  }

  #join(subscriber: Subscriber<void>): () => void {
    const next = this.#joining;
    this.#joining = undefined;
    if (this.#closed) {
      subscriber.complete();
      return () => {};
    }
    this.#listeners = [...this.#listeners, { subscriber, next }];
    const { hypervisor, domid, isGone } = this.#own;
    if (this.#listeners.length === 1 && !isGone) hypervisor.eventChannels.unmask(domid, this.port);
    return () => this.#leave(subscriber);
  }

  #leave(subscriber: Subscriber<void>): void {
    this.#listeners = this.#listeners.filter((other) => other.subscriber !== subscriber);
    const { hypervisor, domid, isGone } = this.#own;
    if (this.#listeners.length === 0 && !this.#closed && !isGone) hypervisor.eventChannels.mask(domid, this.port);
  }
}
