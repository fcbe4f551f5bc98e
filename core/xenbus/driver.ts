import { injectable } from 'inversify';
import type { BackLink, BackOffer } from './back-link.js';
import type { FrontLink, FrontNegotiation } from './front-link.js';
import type { AnyProtocol, FrontendValues, OfferValues } from './protocol.js';

/** A class that serves the frontend's end of a protocol; `T` is the device that its users get. */
export interface Frontend<P extends AnyProtocol, T> {
  /** Whether each ring is to have an event channel of its own where the backend offers that (`feature-split-event-channels`); yes without it. */
  readonly splitChannels?: boolean;
  /** Decides on the frontend's keys from what the backend offers, before rings are shared; without it the defaults are written. */
  negotiate?(negotiation: FrontNegotiation<P>): Partial<FrontendValues<P>>;
  /** Takes the link of a backend that is Connected. A Disposable result is disposed of when the link ends. */
  connect(link: FrontLink<P>): T;
}

/** A class that serves the backend's end of a protocol; one instance for each device. */
export interface Backend<P extends AnyProtocol> {
  /** Decides on the keys of InitWait; without it the defaults are written. */
  offer?(offer: BackOffer<P>): Partial<OfferValues<P>> | Promise<Partial<OfferValues<P>>>;
  /** Takes the link of a frontend that has shared its rings. A Disposable result is disposed of when the link ends. */
  connect(link: BackLink<P>): unknown;
}

/** A class of frontends, as `devices$` takes it. */
export type FrontendClass<P extends AnyProtocol = AnyProtocol, T = unknown> = new (
  ...dependencies: never[]
) => Frontend<P, T>;
/** A class of backends, as `serveDevices` takes it. */
export type BackendClass<P extends AnyProtocol = AnyProtocol> = new (...dependencies: never[]) => Backend<P>;

/** Which protocol a class speaks, and from which end. */
export interface DriverInfo {
  readonly end: 'frontend' | 'backend';
  readonly protocol: AnyProtocol;
}

const drivers = new WeakMap<object, DriverInfo>();

/** What `@frontend` or `@backend` said of a class; undefined for any other value. */
export const driverInfo = (candidate: unknown): DriverInfo | undefined =>
  typeof candidate === 'function' ? drivers.get(candidate) : undefined;

const declare = (target: NewableFunction, info: DriverInfo): void => {
  injectable()(target);
  drivers.set(target, info);
};

/** Declares a class as a protocol's frontend; its constructor's `@inject` tokens come from its domain. */
export const frontend =
  <P extends AnyProtocol>(protocol: P) =>
  (target: FrontendClass<P>): void =>
    declare(target, { end: 'frontend', protocol });

/** Declares a class as a protocol's backend; its constructor's `@inject` tokens come from its domain. */
export const backend =
  <P extends AnyProtocol>(protocol: P) =>
  (target: BackendClass<P>): void =>
    declare(target, { end: 'backend', protocol });
