import { expect } from 'chai';
import { errno, errnoName } from '../../core/abi/errno.js';
import { gntst, gntstName } from '../../core/abi/gntst.js';
import { abis } from '../../core/abi/layout.js';
import { DOMID_FIRST_RESERVED, DOMID_SELF, PAGE_SIZE } from '../../core/abi/units.js';
import { xenbusState } from '../../core/xenbus/states.js';
import {
  BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST,
  BLKIF_MAX_SEGMENTS_PER_REQUEST,
  blkifOp,
  blkifRsp,
} from '../../drivers/blk/wire.js';
import { ABS_PATH_MAX, REL_PATH_MAX } from '../../xenstore/paths.js';
import { connectionState, ringError, ringPage, serverFeature } from '../../xenstore/ring-page.js';
import { PAYLOAD_MAX, xs, xsErrors } from '../../xenstore/wire.js';
import { type CConstant, golden, headers } from './golden.js';
import { newerConstants } from './newer.js';

const c = golden.constants;

/** The headers' constants that begin with `prefix`, by the rest of their names. */
const without = (prefix: string): Record<string, CConstant> =>
  Object.fromEntries(
    Object.entries(c)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), value]),
  );

describe(`the constants of ${headers}`, () => {
  it('errno.h: errno has every number that Xen shows to guests, under its first name', () => {
    const aliases = ['XEN_EWOULDBLOCK', 'XEN_EDEADLOCK'];
    const numbers = Object.entries(c).filter(([name]) => /^XEN_E[A-Z0-9]+$/.test(name) && !aliases.includes(name));
    expect(errno).to.eql(Object.fromEntries(numbers.map(([name, value]) => [name.slice('XEN_'.length), value])));
    for (const [name, value] of Object.entries(errno)) expect(errnoName(value)).to.equal(name);
  });

  it('grant_table.h: gntst has every status', () => {
    expect(gntst).to.eql(without('GNTST_'));
    for (const [name, value] of Object.entries(gntst)) expect(gntstName(value)).to.equal(`GNTST_${name}`);
  });

  it('xen.h, ring.h: the domids and the page of units.ts', () => {
    expect({ DOMID_FIRST_RESERVED, DOMID_SELF }).to.eql({
      DOMID_FIRST_RESERVED: c.DOMID_FIRST_RESERVED,
      DOMID_SELF: c.DOMID_SELF,
    });
    expect(PAGE_SIZE).to.equal(2 ** Number(c.XEN_PAGE_SHIFT));
  });

  it('blkif.h: the operations, statuses and limits of a request', () => {
    expect(blkifOp).to.eql({
      read: c.BLKIF_OP_READ,
      write: c.BLKIF_OP_WRITE,
      writeBarrier: c.BLKIF_OP_WRITE_BARRIER,
      flush: c.BLKIF_OP_FLUSH_DISKCACHE,
      discard: c.BLKIF_OP_DISCARD,
      indirect: c.BLKIF_OP_INDIRECT,
    });
    expect(blkifRsp).to.eql({
      okay: c.BLKIF_RSP_OKAY,
      error: c.BLKIF_RSP_ERROR,
      notSupported: c.BLKIF_RSP_EOPNOTSUPP,
    });
    expect(BLKIF_MAX_SEGMENTS_PER_REQUEST).to.equal(c.BLKIF_MAX_SEGMENTS_PER_REQUEST);
    expect(BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST).to.equal(c.BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST);
  });

  it('protocols.h: the ABIs that the key `protocol` may name', () => {
    expect([...abis]).to.have.members(Object.values(without('XEN_IO_PROTO_ABI_')));
  });

  it('xenbus.h: xenbusState has every state', () => {
    expect(xenbusState).to.eql(without('XenbusState'));
  });

  it('xs_wire.h: xs has every type of message, the newer ones and the removed one included', () => {
    const { INVALID: _, WATCH_PATH: __, WATCH_TOKEN: ___, ...types } = without('XS_');
    const newer = Object.entries(newerConstants).filter(([name]) => name.startsWith('XS_'));
    expect(xs).to.eql({
      ...types,
      ...Object.fromEntries(newer.map(([name, { value }]) => [name.slice('XS_'.length), value])),
    });
  });

  it('xs_wire.h: xsErrors has every error that has a name on the wire, in order', () => {
    expect(xsErrors).to.eql(
      Object.entries(c).flatMap(([name, value]) => (name.startsWith('xsd_errors[') ? [value] : [])),
    );
  });

  it('xs_wire.h: the limits and the words of the ring page', () => {
    expect({ PAYLOAD_MAX, ABS_PATH_MAX, REL_PATH_MAX }).to.eql({
      PAYLOAD_MAX: c.XENSTORE_PAYLOAD_MAX,
      ABS_PATH_MAX: c.XENSTORE_ABS_PATH_MAX,
      REL_PATH_MAX: c.XENSTORE_REL_PATH_MAX,
    });
    expect([ringPage.req.size, ringPage.rsp.size]).to.eql([c.XENSTORE_RING_SIZE, c.XENSTORE_RING_SIZE]);
    expect(serverFeature).to.eql({
      reconnection: c.XENSTORE_SERVER_FEATURE_RECONNECTION,
      error: c.XENSTORE_SERVER_FEATURE_ERROR,
      watchDepth: newerConstants.XENSTORE_SERVER_FEATURE_WATCHDEPTH.value,
      domidAny: newerConstants.XENSTORE_SERVER_FEATURE_DOMID_ANY.value,
    });
    expect(connectionState).to.eql({ connected: c.XENSTORE_CONNECTED, reconnect: c.XENSTORE_RECONNECT });
    expect(ringError).to.eql({
      none: c.XENSTORE_ERROR_NONE,
      communication: c.XENSTORE_ERROR_COMM,
      ringIndex: c.XENSTORE_ERROR_RINGIDX,
      protocol: c.XENSTORE_ERROR_PROTO,
    });
  });
});
