import { Container, type ServiceIdentifier } from 'inversify';
import { Subscription } from 'rxjs';
import type { Abi } from '../abi/layout.js';
import type { Domid } from '../abi/units.js';

/**
 * A domain as the code inside it sees itself: its number, its container of platform and driver bindings, and the root
 * subscription that owns all it listens to. It is the same on every platform, and is itself a token.
 */
export class Domain implements Disposable {
  readonly domid: Domid;
  readonly name: string;
  /** How this domain lays its structs out, as its key `protocol` says. */
  readonly abi: Abi;
  /** Owns every subscription of the domain; ended when the domain is. */
  readonly subscription = new Subscription();
  readonly container = new Container();

  constructor(domid: Domid, name: string, abi: Abi = 'x86_64-abi') {
    this.domid = domid;
    this.name = name;
    this.abi = abi;
    this.container.bind(Domain).toConstantValue(this);
  }

  /** What is bound to a token here: `domain.get(XenStore)`. @throws when nothing is */
  get<T>(token: ServiceIdentifier<T>): T {
    return this.container.get(token);
  }

  /** A container below the domain's, for what has a life of its own: a device. */
  child(): Container {
    return new Container({ parent: this.container });
  }

  [Symbol.dispose](): void {
    this.subscription.unsubscribe();
  }
}
