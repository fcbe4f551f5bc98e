import { gntstName } from '../../core/abi/gntst.js';
import { evtchnop } from '../../core/hypervisor/event-channel-op.js';
import { gnttabop } from '../../core/hypervisor/grant-table-ops.js';
import { XenDomain } from '../../platform/xen/index.js';
import { type AskedXen, answerOf, ownXen, realXen } from '../dom0/hypercalls.js';
import { check } from '../dom0/shell.js';

/** Numbers that name nothing on either. */
const NOBODY = 0x7000;
const FAR = 0x7ffff;
const SELF = 0x7ff0;

/** Values by their bits, one after another. */
type Fields = (readonly [bits: 16 | 32 | 64, value: number])[];

/** A structure of them. */
const packed = (...fields: Fields): Uint8Array => {
  const view = new DataView(new ArrayBuffer(64));
  let at = 0;
  for (const [bits, value] of fields) {
    if (bits === 16) view.setUint16(at, value, true);
    else if (bits === 32) view.setUint32(at, value >>> 0, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += bits / 8;
  }
  return new Uint8Array(view.buffer, 0, 64);
};

const word = (arg: Uint8Array, at: number): number => new DataView(arg.buffer).getUint32(at, true);

/** Asks one Xen for event channels. */
class Events {
  readonly #xen: AskedXen;

  constructor(xen: AskedXen) {
    this.#xen = xen;
  }

  do(cmd: number, ...fields: Fields): string {
    return answerOf(this.#xen.event(cmd, packed(...fields)));
  }

  /** A command that makes a port: its number at a place of the structure. */
  port(cmd: number, at: number, ...fields: Fields): number {
    const arg = packed(...fields);
    const result = this.#xen.event(cmd, arg);
    if (result !== 0) throw new Error(`${this.#xen.name}: command ${cmd} answers ${answerOf(result)}`);
    return word(arg, at);
  }

  unbound(remote = SELF): number {
    return this.port(evtchnop.allocUnbound, 4, [16, SELF], [16, remote]);
  }

  /** Two ends of a channel of dom0 with itself. */
  pair(): readonly [number, number] {
    const one = this.unbound();
    return [one, this.port(evtchnop.bindInterdomain, 8, [16, SELF], [16, 0], [32, one])];
  }

  close(...ports: readonly number[]): string {
    return ports.map((port) => this.do(evtchnop.close, [32, port])).join(' ');
  }

  /** What a port is: its status code, and what belongs to it. */
  status(port: number): string {
    const arg = packed([16, SELF], [16, 0], [32, port]);
    const result = this.#xen.event(evtchnop.status, arg);
    return result === 0 ? `status ${word(arg, 8)} vCPU ${word(arg, 12)}` : answerOf(result);
  }
}

type Row = readonly [what: string, ask: (events: Events, xen: AskedXen) => string];

/** What Xen 4.17 answers otherwise than ours, which follows a newer one: that looks at a copy's length first, and at its domains last. */
const known: Readonly<Record<string, readonly [xen: string, ours: string]>> = {
  "copy from a frame of a domain's that is none": ['0 GNTST_bad_domain', '0 GNTST_permission_denied'],
  'copy of nothing, of bad references': ['0 GNTST_bad_gntref', '0 GNTST_okay'],
  'copy of nothing, of domains that are none': ['0 GNTST_bad_domain', '0 GNTST_okay'],
};

const one = (e: Events, port: number, ask: (port: number) => string): string => {
  const said = ask(port);
  return `${said}, then close: ${e.close(port)}`;
};

/** Event channels by misuse (event_channel.h; event_channel.c). */
const eventRows: readonly Row[] = [
  ['alloc_unbound of a domain that is none', (e) => e.do(evtchnop.allocUnbound, [16, NOBODY], [16, 0])],
  ['alloc_unbound for a remote that is none', (e) => one(e, e.unbound(NOBODY), (port) => e.status(port))],
  ['bind_interdomain to a domain that is none', (e) => e.do(evtchnop.bindInterdomain, [16, NOBODY], [16, 0], [32, 1])],
  ['bind_interdomain to a port out of range', (e) => e.do(evtchnop.bindInterdomain, [16, SELF], [16, 0], [32, FAR])],
  ['bind_interdomain to port 0', (e) => e.do(evtchnop.bindInterdomain, [16, SELF], [16, 0], [32, 0])],
  [
    "bind_interdomain to a port of somebody else's",
    (e) => one(e, e.unbound(NOBODY), (port) => e.do(evtchnop.bindInterdomain, [16, SELF], [16, 0], [32, port])),
  ],
  [
    'bind_interdomain to a port that is bound',
    (e) => {
      const [a, b] = e.pair();
      return `${e.do(evtchnop.bindInterdomain, [16, SELF], [16, 0], [32, a])}, ${e.close(a, b)}`;
    },
  ],
  [
    'a pair, of which one end closes: the other falls back to unbound, and can be bound again',
    (e) => {
      const [a, b] = e.pair();
      const before = `${e.status(a)}, ${e.status(b)}`;
      const closed = `${e.close(b)}, ${e.status(a)}`;
      const again = e.port(evtchnop.bindInterdomain, 8, [16, SELF], [16, 0], [32, a]);
      return `${before}; ${closed}; ${e.status(a)}; ${e.close(a, again)}`;
    },
  ],
  ['bind_virq of 24', (e) => e.do(evtchnop.bindVirq, [32, 24], [32, 0])],
  ['bind_virq of one per domain on vCPU 1', (e) => e.do(evtchnop.bindVirq, [32, 11], [32, 1])],
  ['bind_virq of one per vCPU on a vCPU that is none', (e) => e.do(evtchnop.bindVirq, [32, 0], [32, 99])],
  [
    'bind_virq twice',
    (e) =>
      one(e, e.port(evtchnop.bindVirq, 8, [32, 11], [32, 0]), (port) => {
        const again = e.do(evtchnop.bindVirq, [32, 11], [32, 0]);
        return `${again}, ${e.status(port)}, send ${e.do(evtchnop.send, [32, port])}`;
      }),
  ],
  ['bind_ipi on a vCPU that is none', (e) => e.do(evtchnop.bindIpi, [32, 99])],
  [
    'an IPI: send, bind_vcpu',
    (e) =>
      one(e, e.port(evtchnop.bindIpi, 4, [32, 0]), (port) => {
        const said = `${e.status(port)}, send ${e.do(evtchnop.send, [32, port])}`;
        return `${said}, bind_vcpu ${e.do(evtchnop.bindVcpu, [32, port], [32, 0])}`;
      }),
  ],
  ['close of port 0', (e) => e.close(0)],
  ['close of a port out of range', (e) => e.close(FAR)],
  [
    'close twice',
    (e) => {
      const port = e.unbound();
      return e.close(port, port);
    },
  ],
  ['send on an unbound port', (e) => one(e, e.unbound(), (port) => e.do(evtchnop.send, [32, port]))],
  [
    'send on a port that was closed',
    (e) => {
      const port = e.unbound();
      return `${e.close(port)}, send ${e.do(evtchnop.send, [32, port])}, status ${e.status(port)}`;
    },
  ],
  ['send out of range', (e) => e.do(evtchnop.send, [32, FAR])],
  ['send on port 0', (e) => e.do(evtchnop.send, [32, 0])],
  ['status of port 0', (e) => e.status(0)],
  ['status out of range', (e) => e.status(FAR)],
  ['status of a domain that is none', (e) => e.do(evtchnop.status, [16, NOBODY], [16, 0], [32, 1])],
  [
    'bind_vcpu to one that is none',
    (e) => one(e, e.unbound(), (port) => e.do(evtchnop.bindVcpu, [32, port], [32, 99])),
  ],
  [
    'bind_vcpu of a port that was closed',
    (e) => {
      const port = e.unbound();
      return `${e.close(port)}, ${e.do(evtchnop.bindVcpu, [32, port], [32, 0])}`;
    },
  ],
  ['bind_vcpu out of range', (e) => e.do(evtchnop.bindVcpu, [32, FAR], [32, 0])],
  ['bind_vcpu of an unbound port', (e) => one(e, e.unbound(), (port) => e.do(evtchnop.bindVcpu, [32, port], [32, 0]))],
  ['unmask out of range', (e) => e.do(evtchnop.unmask, [32, FAR])],
  [
    'unmask of a port that was closed',
    (e) => {
      const port = e.unbound();
      return `${e.close(port)}, ${e.do(evtchnop.unmask, [32, port])}`;
    },
  ],
  ['reset of a domain that is none', (e) => e.do(evtchnop.reset, [16, NOBODY])],
  ['a command that is none', (e) => e.do(99)],
];

/** A call with one element: what it answers, and the element's status. */
const element = (xen: AskedXen, cmd: number, statusAt: number, ...fields: Fields): string => {
  const arg = packed(...fields);
  const result = answerOf(xen.grant(cmd, arg));
  return statusAt < 0 ? result : `${result} ${gntstName(new DataView(arg.buffer).getInt16(statusAt, true))}`;
};

const SOURCE = 1;
const DEST = 2;

interface CopyEnd {
  readonly ref: number;
  readonly domid?: number;
  readonly offset?: number;
}

const copy = (xen: AskedXen, source: CopyEnd, dest: CopyEnd, len = 8, flags = SOURCE | DEST): string => {
  const end = ({ ref, domid = 0, offset = 0 }: CopyEnd) =>
    [
      [32, ref],
      [32, 0],
      [16, domid],
      [16, offset],
      [32, 0],
    ] satisfies Fields;
  return element(xen, gnttabop.copy, 36, ...end(source), ...end(dest), [16, len], [16, flags]);
};

const map = (xen: AskedXen, domid: number, ref: number, flags: number): string =>
  element(xen, gnttabop.map_grant_ref, 18, [64, 0], [32, flags], [32, ref], [16, domid]);

/** Grants by misuse (grant_table.h; grant_table.c). */
const grantRows: readonly Row[] = [
  ['copy between two granted pages', (_, x) => copy(x, { ref: x.refs.readable }, { ref: x.refs.writable })],
  ['copy from a domain that is none', (_, x) => copy(x, { ref: 8, domid: NOBODY }, { ref: x.refs.writable })],
  ['copy to a domain that is none', (_, x) => copy(x, { ref: x.refs.readable }, { ref: 8, domid: NOBODY })],
  ['copy from a reference out of range', (_, x) => copy(x, { ref: 0x0fffffff }, { ref: x.refs.writable })],
  ['copy to a reference out of range', (_, x) => copy(x, { ref: x.refs.readable }, { ref: 0x0fffffff })],
  ['copy from a grant that has ended', (_, x) => copy(x, { ref: x.refs.ended }, { ref: x.refs.writable })],
  ['copy to a page that may be read', (_, x) => copy(x, { ref: x.refs.writable }, { ref: x.refs.readable })],
  [
    "copy across the source's page",
    (_, x) => copy(x, { ref: x.refs.readable, offset: 4090 }, { ref: x.refs.writable }, 10),
  ],
  [
    "copy across the destination's page",
    (_, x) => copy(x, { ref: x.refs.readable }, { ref: x.refs.writable, offset: 4090 }, 10),
  ],
  ['copy from a frame by the own number', (_, x) => copy(x, { ref: 1, domid: 0 }, { ref: x.refs.writable }, 8, DEST)],
  [
    "copy from a frame of a domain's that is none",
    (_, x) => copy(x, { ref: 1, domid: NOBODY }, { ref: x.refs.writable }, 8, DEST),
  ],
  ['copy of nothing, of bad references', (_, x) => copy(x, { ref: 0x0fffffff }, { ref: 0x0fffffff }, 0)],
  [
    'copy of nothing, of domains that are none',
    (_, x) => copy(x, { ref: 0x0fffffff, domid: NOBODY }, { ref: 0x0fffffff }, 0),
  ],
  ['map neither for the host nor a device', (_, x) => map(x, 0, x.refs.writable, 0)],
  ['map of a domain that is none', (_, x) => map(x, NOBODY, 8, 2)],
  ['map of a reference out of range', (_, x) => map(x, 0, 0x0fffffff, 2)],
  ['map of a grant that has ended', (_, x) => map(x, 0, x.refs.ended, 2)],
  [
    'unmap of a handle that is none',
    (_, x) => element(x, gnttabop.unmap_grant_ref, 20, [64, 0x1000], [64, 0], [32, 0x0fffffff]),
  ],
  ['query_size of a domain that is none', (_, x) => element(x, gnttabop.query_size, 12, [32, NOBODY])],
  ['get_version of a domain that is none', (_, x) => element(x, gnttabop.get_version, -1, [32, NOBODY])],
  ['set_version of 3', (_, x) => element(x, gnttabop.set_version, -1, [32, 3])],
  [
    'swap_grant_ref out of range',
    (_, x) => element(x, gnttabop.swap_grant_ref, 8, [32, x.refs.ended], [32, 0x0fffffff]),
  ],
  [
    'swap_grant_ref with itself',
    (_, x) => element(x, gnttabop.swap_grant_ref, 8, [32, x.refs.ended], [32, x.refs.ended]),
  ],
  [
    'setup_table of more frames than there may be',
    (_, x) => element(x, gnttabop.setup_table, 8, [32, SELF], [32, 1e6]),
  ],
  ['dump_table', (_, x) => element(x, gnttabop.dump_table, -1)],
  ['an operation that is none', (_, x) => element(x, 13, -1)],
];

const answers = (rows: readonly Row[], xen: AskedXen): readonly string[] =>
  rows.map(([, ask]) => ask(new Events(xen), xen));

/** (g) Event channels and grants by misuse: real Xen and ours answer the same. */
export const hypercalls = async (): Promise<string> => {
  const xen = await XenDomain.open();
  const rows = [...eventRows, ...grantRows];
  const real = answers(rows, await realXen(xen));
  const own = answers(rows, ownXen());
  xen[Symbol.dispose]();
  for (const [i, [what]] of rows.entries())
    process.stdout.write(`${what}: ${real[i]}${real[i] === own[i] ? '' : ` (ours: ${own[i]})`}\n`);
  const different = rows.flatMap(([what], i) => {
    const [wanted, ours] = known[what] ?? [real[i], real[i]];
    return real[i] === wanted && own[i] === ours ? [] : [`${what}: Xen ${real[i]}, ours ${own[i]}`];
  });
  check(different.length === 0, `${different.length} of ${rows.length} rows differ: ${different.join('; ')}`);
  return `${eventRows.length} rows of event channels and ${grantRows.length} of grants: Xen and ours answer the same, but for ${Object.keys(known).length} known ones`;
};
