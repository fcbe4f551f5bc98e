import type { Domid, Port } from '../core/abi/units.js';
import { DOMID_SELF } from '../core/abi/units.js';
import { XenError } from '../core/errors.js';
import type { KnownDomain } from './domains.js';
import type { Operations, Request } from './operations.js';
import { domainPath } from './paths.js';
import { fromStrings, oneString, strings } from './payload.js';

/** What the server does for the requests of a toolstack. */
export interface DomainServer {
  /** Every feature that the store has. */
  readonly features: number;
  /** Begins to serve a domain on its ring page and this port, or takes its new ones. @throws XenError */
  introduce(domid: Domid, port: Port): void;
  /** Stops serving a domain, and removes what it owned. @throws XenError ENOENT */
  release(domid: Domid): void;
  /** Makes a domain act for another as well. @throws XenError ENOENT */
  setTarget(domid: Domid, target: Domid): void;
}

/** @throws XenError EINVAL unless the text is a whole number from 0 to 65535 */
const parseDomid = (text: string | undefined): Domid => {
  if (text === undefined || !/^\d{1,5}$/.test(text) || Number(text) > 0xffff) {
    throw new XenError('EINVAL', `domid ${JSON.stringify(text)}`);
  }
  return Number(text) as Domid;
};

/** The introduced domain that a request names, which cannot be dom0. */
const guest = (request: Request): KnownDomain => {
  const domid = parseDomid(oneString(request.message.payload));
  if (domid === 0) throw new XenError('EINVAL', 'domain 0 is always served');
  const domain = request.store.domains.get(domid);
  if (domain?.introduced !== true) throw new XenError('ENOENT', `domain ${domid} is not introduced`);
  return domain;
};

/** The domain that a request names, if the hypervisor has it. */
const existing = (request: Request, domid: Domid): KnownDomain => {
  const domain = request.store.domains.find(domid);
  if (domain === undefined) throw new XenError('ENOENT', `domain ${domid} does not exist`);
  return domain;
};

/** The requests of a toolstack, and questions about domains (docs/misc/xenstore.txt). */
export const domainOperations = (server: DomainServer): Operations => ({
  INTRODUCE: {
    privileged: true,
    run: (request) => {
      const [domid, , text] = strings(request.message.payload);
      const port = Number.parseInt(text ?? '', 10);
      if (!(port > 0)) throw new XenError('EINVAL', 'INTRODUCE needs a domid, a frame number and a port');
      server.introduce(parseDomid(domid), port as Port);
      request.reply();
    },
  },
  RELEASE: {
    privileged: true,
    run: (request) => {
      server.release(guest(request).domid);
      request.reply();
    },
  },
  RESUME: {
    privileged: true,
    run: (request) => {
      guest(request).shutdown = false;
      request.reply();
    },
  },
  SET_TARGET: {
    privileged: true,
    run: (request) => {
      const [domid, target] = strings(request.message.payload);
      server.setTarget(parseDomid(domid), parseDomid(target));
      request.reply();
    },
  },
  IS_DOMAIN_INTRODUCED: {
    privileged: true,
    run: (request) => {
      const domid = parseDomid(oneString(request.message.payload));
      const introduced = domid === DOMID_SELF || request.store.domains.get(domid)?.introduced === true;
      request.reply(fromStrings(introduced ? 'T' : 'F'));
    },
  },
  GET_DOMAIN_PATH: {
    run: (request) => request.reply(fromStrings(domainPath(parseDomid(oneString(request.message.payload))))),
  },
  GET_FEATURE: {
    run: (request) => {
      const { connection, message } = request;
      const [text, ...more] = strings(message.payload);
      if (more.length > 0) throw new XenError('EINVAL', 'GET_FEATURE needs one domid or none');
      const domid = text === undefined ? undefined : parseDomid(text);
      if (!connection.privileged && domid !== undefined && domid !== connection.domid) {
        throw new XenError('EACCES', `the features of domain ${domid}`);
      }
      request.reply(fromStrings(String(domid === undefined ? connection.features : existing(request, domid).features)));
    },
  },
  SET_FEATURE: {
    privileged: true,
    run: (request) => {
      const [text, value, ...more] = strings(request.message.payload);
      if (value === undefined || more.length > 0)
        throw new XenError('EINVAL', 'SET_FEATURE needs a domid and a number');
      const domain = existing(request, parseDomid(text));
      const features = Number.parseInt(value, 10) >>> 0;
      if (domain.introduced) throw new XenError('EBUSY', `domain ${domain.domid} is introduced already`);
      if ((features & ~server.features) !== 0) throw new XenError('EINVAL', `features ${value}`);
      domain.features = features;
      request.reply();
    },
  },
  CONTROL: {
    privileged: true,
    run: () => {
      throw new XenError('EINVAL', 'this store has no control commands');
    },
  },
});
