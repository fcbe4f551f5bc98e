import { DOM0, type Domid } from '../core/abi/units.js';
import type { StoredPermission } from './permissions.js';

/** What the hypervisor says of a domain (domctl.h `XEN_DOMCTL_getdomaininfo`); undefined where there is none. */
export type DomainState = 'running' | 'shutdown' | 'dying' | undefined;

/** Asks the hypervisor for a domain's state. */
export type DomainInfo = (domid: Domid) => DomainState;

/** Counts every change of a node, so that each has a number of its own (xenstored `generation`). */
export class Generations {
  #current = 0;

  /** The last number given. */
  get current(): number {
    return this.#current;
  }

  /** A new number. */
  next(): number {
    return ++this.#current;
  }
}

/** What the store knows of a domain, from the first time that it is named in a permission or introduced. */
export interface KnownDomain {
  readonly domid: Domid;
  /** The generation when it became known: a permission older than that was meant for another of this number. */
  readonly generation: number;
  /** Whether INTRODUCE was called for it, and neither RELEASE nor its death followed. */
  introduced: boolean;
  /** Whether its shutdown has been announced. */
  shutdown: boolean;
  /** The features that it is shown (SET_FEATURE). */
  features: number;
}

/** The domains that the store has to do with. */
export class Domains {
  readonly #known = new Map<number, KnownDomain>();
  readonly #info: DomainInfo;
  readonly #generations: Generations;
  readonly #features: number;

  /** @param features what a domain is offered unless SET_FEATURE says less */
  constructor(info: DomainInfo, generations: Generations, features: number) {
    this.#info = info;
    this.#generations = generations;
    this.#features = features;
    this.#add(DOM0).introduced = true;
  }

  /** The domain, if it is known already. */
  get(domid: number): KnownDomain | undefined {
    return this.#known.get(domid);
  }

  /** The domain, which becomes known if it exists (xenstored `find_or_alloc_existing_domain`). */
  find(domid: number): KnownDomain | undefined {
    return this.#known.get(domid) ?? (this.exists(domid) ? this.#add(domid as Domid) : undefined);
  }

  /** The domain, known from now on whether it exists or not (xenstored `find_or_alloc_domain`). */
  findOrAdd(domid: Domid): KnownDomain {
    return this.#known.get(domid) ?? this.#add(domid);
  }

  /** Whether the hypervisor has such a domain. */
  exists(domid: number): boolean {
    return this.state(domid) !== undefined;
  }

  /** What the hypervisor says of the domain; dom0 always runs. */
  state(domid: number): DomainState {
    return domid === DOM0 ? 'running' : this.#info(domid as Domid);
  }

  /** Every known domain but dom0. */
  all(): KnownDomain[] {
    return [...this.#known.values()].filter(({ domid }) => domid !== 0);
  }

  /** Forgets a domain; the next of its number is a new one, even if no node has changed in between (XSA-322). */
  remove(domid: Domid): void {
    this.#known.delete(domid);
    this.#generations.next();
  }

  /** Marks permissions for domains that do not exist (xenstored `domain_alloc_permrefs`). */
  check(permissions: readonly StoredPermission[]): StoredPermission[] {
    return permissions.map((permission) =>
      this.find(permission.domid) === undefined ? { ...permission, ignored: true } : permission,
    );
  }

  /**
   * Permissions of a node of `generation`, with those marked whose domain has died since, so that a new domain of the same
   * number inherits nothing (xenstored `domain_adjust_node_perms`, XSA-322). An owner's death removes the node itself.
   */
  adjust(permissions: readonly StoredPermission[], generation: number): readonly StoredPermission[] {
    const stale = (permission: StoredPermission, i: number): boolean => {
      if (i === 0 || permission.ignored === true) return false;
      return !this.isOlder(permission.domid, generation);
    };
    return permissions.some(stale)
      ? permissions.map((permission, i) => (stale(permission, i) ? { ...permission, ignored: true } : permission))
      : permissions;
  }

  /** Whether the domain is known, and was when `generation` was given (xenstored `chk_domain_generation`). */
  isOlder(domid: number, generation: number): boolean {
    const domain = this.#known.get(domid);
    return domain !== undefined && domain.generation <= generation;
  }

  #add(domid: Domid): KnownDomain {
    const domain: KnownDomain = {
      domid,
      generation: this.#generations.current,
      introduced: false,
      shutdown: false,
      features: this.#features,
    };
    this.#known.set(domid, domain);
    return domain;
  }
}
