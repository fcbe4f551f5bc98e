import { type Subscriber, Subscription } from 'rxjs';
import type { Port } from '../core/abi/units.js';
import { EventChannel } from '../core/domain/event-channels.js';

/** Runs a task later, never inside the call that posts it; a scheduler decides when, and between what. */
export type Post = (task: () => void) => void;

/** One end of an event channel within one program: its upcalls are posted tasks. */
class LocalChannel extends EventChannel {
  /** Ports belong to a domain, and this channel to none. */
  readonly port = 0 as Port;
  readonly #post: Post;
  readonly #subscribers = new Set<Subscriber<void>>();
  #remote: LocalChannel | undefined;
  #pending = false;
  #posted = false;
  #closed = false;

  constructor(post: Post) {
    super((subscriber) => this.#unmask(subscriber));
    this.#post = post;
  }

  static pair(post: Post): [EventChannel, EventChannel] {
    const one = new LocalChannel(post);
    const other = new LocalChannel(post);
    one.#remote = other;
    other.#remote = one;
    return [one, other];
  }

  notify(): void {
    const remote = this.#remote;
    if (remote !== undefined) remote.#raise();
  }

  retrigger(): void {
    this.#raise();
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#remote !== undefined) this.#remote.#remote = undefined;
    this.#remote = undefined;
    for (const subscriber of [...this.#subscribers]) subscriber.complete();
  }

  #raise(): void {
    this.#pending = true;
    if (this.#posted || this.#subscribers.size === 0) return;
    this.#posted = true;
    this.#post(() => this.#upcall());
  }

  #upcall(): void {
    this.#posted = false;
    if (!this.#pending || this.#closed || this.#subscribers.size === 0) return;
    this.#pending = false;
    for (const subscriber of [...this.#subscribers]) subscriber.next();
  }

  #unmask(subscriber: Subscriber<void>): Subscription | undefined {
    if (this.#closed) {
      subscriber.complete();
      return undefined;
    }
    this.#subscribers.add(subscriber);
    if (this.#pending) this.#raise();
    return new Subscription(() => this.#subscribers.delete(subscriber));
  }
}

/** Both ends of an event channel within one program, which coalesces events as Xen does. */
export const localChannelPair = (post: Post): [EventChannel, EventChannel] => LocalChannel.pair(post);
