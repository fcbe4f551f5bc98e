import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { layoutFor } from '../../core/abi/layout.js';
import { ringEntries, sring } from '../../core/abi/ring.js';
import type { Struct } from '../../core/abi/struct.js';
import * as blk from '../../drivers/blk/wire.js';
import * as net from '../../drivers/net/wire.js';
import { ringPage } from '../../xenstore/ring-page.js';
import { encodeMessage } from '../../xenstore/wire.js';
import { type AbiName, abis, type CLayout, type Golden, golden, headers, root } from './golden.js';
import { type Newer, newerLayouts } from './newer.js';
import * as unused from './unused-layouts.js';

const newer: Readonly<Record<string, Newer>> = newerLayouts;

/** A layout as the newest source has it. */
const expected = (name: string, abi: AbiName): CLayout => {
  const kept = golden[abi][name];
  const added = newer[name];
  if (kept === undefined && added === undefined) throw new Error(`no header has ${name}`);
  return {
    size: added?.size ?? kept?.size ?? 0,
    align: Math.max(kept?.align ?? 1, added?.align ?? 1),
    fields: { ...kept?.fields, ...added?.fields },
  };
};

/** Offset and size of each member by its C designator; members of nested structs and unions too. */
const fieldsOf = (of: Struct, abi: AbiName): Record<string, readonly [offset: number, size: number]> => {
  const fields: Record<string, readonly [number, number]> = {};
  for (const { name, field, offset, size } of layoutFor(of, `${abi}-abi`).members) {
    fields[name] = [offset, size];
    if (field.kind !== 'struct' && field.kind !== 'overlay') continue;
    for (const [inner, [at, length]] of Object.entries(fieldsOf(field, abi))) {
      fields[`${name}.${inner}`] = [offset + at, length];
    }
  }
  return fields;
};

/** A struct() as layouts.json would write it, of those members that C has. */
const declared = (of: Struct, abi: AbiName): CLayout => {
  const { size, align } = layoutFor(of, `${abi}-abi`);
  const known = expected(of.name, abi).fields;
  return {
    size,
    align,
    fields: Object.fromEntries(Object.entries(fieldsOf(of, abi)).filter(([name]) => name in known)),
  };
};

const isStruct = (value: unknown): value is Struct => typeof value === 'object' && value !== null && 'fields' in value;
const { rw, discard, indirect } = blk.blkifRequest.fields;
const structs = [
  rw,
  discard,
  indirect,
  ...[blk, net, unused].flatMap((module) => Object.values(module).flat().filter(isStruct)),
].filter((of) => of !== blk.blkifRequest);

/** Layouts that struct() cannot declare, or that are declared elsewhere. */
const elsewhere = {
  'a ring page, whose words ring.ts names': /_sring$/,
  'a union of what a ring carries, which ring.ts makes': /_sring_entry$/,
  'with members as wide as a C long, which no member of a struct() is; hypervisor.spec.ts has ours':
    /^(shared_info|vcpu_info)$/,
  'with a frame number or a pointer as wide as a C long, which calls of ours do not pass in memory':
    /^(sched_poll|gnttab_setup_table|gnttab_copy|gnttab_get_status_frames)$/,
  'arguments that our calls take one by one, not in memory; docs/hypercalls.md shows them':
    /^(sched|physdev|xen_domctl)_\w+$|^vcpu_register_(runstate|time)_memory_area$|^gnttab_(transfer|unmap_and_replace)$/,
  'with an address or a register as wide as a C long; traps.spec.ts has ours':
    /^(trap_info|arch_vcpu_info|arch_shared_info|callback_(un)?register|xennmi_callback|iret_context)$/,
} as const satisfies Readonly<Record<string, RegExp>>;

describe(`struct() against the headers of ${headers}`, () => {
  for (const of of structs) {
    for (const abi of abis) {
      it(`lays out ${of.name} as C does for ${abi}`, () => {
        const c = expected(of.name, abi);
        // For i386 the header ends it with 8 bytes that nothing reads; in a slot of 108 they make no difference.
        const size = of === indirect && abi === 'x86_32' ? c.size - 8 : c.size;
        expect(declared(of, abi)).to.eql({ ...c, size });
      });
    }
  }

  it('declares every layout of the headers, or says why not', () => {
    const names = [...new Set([...Object.keys(golden.x86_64), ...Object.keys(newer)])];
    const missing = names.filter((name) => !structs.some((of) => of.name === name));
    expect(missing.filter((name) => !Object.values(elsewhere).some((reason) => reason.test(name)))).to.eql([]);
  });

  it('gives an overlay the size and alignment of the union (blkif_request)', () => {
    for (const abi of abis) {
      const { size, align } = layoutFor(blk.blkifRequest, `${abi}-abi`);
      expect({ size, align }).to.eql({
        size: golden[abi].blkif_request?.size,
        align: golden[abi].blkif_request?.align,
      });
    }
  });

  it('aligns as the 64-bit ABI does for Arm', () => {
    for (const of of structs) expect(layoutFor(of, 'arm-abi').offsets).to.eql(layoutFor(of, 'x86_64-abi').offsets);
  });
});

describe(`ring.ts against ring.h of ${headers}`, () => {
  const rings = Object.keys(golden.x86_64).filter((name) => name.endsWith('_sring'));

  for (const abi of abis) {
    it(`finds the indices and the first slot of every ring where ring.h has them for ${abi}`, () => {
      expect(rings).to.have.length(5);
      for (const name of rings) {
        const { req_prod, req_event, rsp_prod, rsp_event, ring } = golden[abi][name]?.fields ?? {};
        const words = { reqProd: req_prod, reqEvent: req_event, rspProd: rsp_prod, rspEvent: rsp_event, entries: ring };
        for (const [index, field] of Object.entries(words))
          expect(field?.[0], `${name} ${index}`).to.equal(4 * sring[index as keyof typeof sring]);
      }
    });

    it(`gives every ring as many slots as __CONST_RING_SIZE does for ${abi}`, () => {
      const sizes = Object.entries(golden.constants).flatMap(([name, slots]) => {
        const [, tag = '', bytes] = /^__CONST_RING_SIZE\((\w+), (\d+)\)$/.exec(name) ?? [];
        return bytes === undefined ? [] : [{ tag, bytes: Number(bytes), slots }];
      });
      expect(sizes).to.have.length(9);
      for (const { tag, bytes, slots } of sizes) {
        const slot = golden[abi][`${tag}_sring_entry`]?.size ?? 0;
        expect(ringEntries(bytes, slot), `${tag}, ${bytes} bytes`).to.equal(slots);
      }
    });
  }
});

describe(`the store's wire against io/xs_wire.h of ${headers}`, () => {
  for (const abi of abis) {
    it(`finds the rings and words of the ring page where xenstore_domain_interface has them for ${abi}`, () => {
      const { req, rsp, serverFeatures, connection, error, evtchnPort } = ringPage;
      const { fields } = expected('xenstore_domain_interface', abi);
      expect({
        req: [req.data, req.size],
        rsp: [rsp.data, rsp.size],
        req_cons: [req.cons, 4],
        req_prod: [req.prod, 4],
        rsp_cons: [rsp.cons, 4],
        rsp_prod: [rsp.prod, 4],
        server_features: [serverFeatures, 4],
        connection: [connection, 4],
        error: [error, 4],
        evtchn_port: [evtchnPort, 4],
      }).to.eql(fields);
    });

    it(`writes a message's header as xsd_sockmsg for ${abi}`, () => {
      const { size, fields } = expected('xsd_sockmsg', abi);
      const bytes = encodeMessage({ type: 2, reqId: 0x01020304, txId: 0x05060708, payload: new Uint8Array(9) });
      const header = new DataView(bytes.buffer);
      const values = Object.entries(fields).map(([name, [offset]]) => [name, header.getUint32(offset, true)]);
      expect(Object.fromEntries(values)).to.eql({ type: 2, req_id: 0x01020304, tx_id: 0x05060708, len: 9 });
      expect(bytes).to.have.length(size + 9);
    });
  }
});

describe('spec/golden/layouts.json', () => {
  it('is what layouts.c prints over the headers of this machine', function () {
    const text = readFileSync(new URL('spec/golden/layouts.json', root), 'utf8');
    const script = fileURLToPath(new URL('scripts/golden.mjs', root));
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--print'], { encoding: 'utf8' });
    if (status === 3 && this.test !== undefined) {
      this.test.title += ` (not checked: ${stderr.trim()})`;
      this.skip();
    }
    expect(status, stderr).to.equal(0);
    if (stdout === text) return;
    const here = JSON.parse(stdout) as Golden;
    expect(here.constants).to.eql(golden.constants);
    for (const abi of abis) {
      expect(Object.keys(here[abi])).to.eql(Object.keys(golden[abi]));
      for (const [name, kept] of Object.entries(golden[abi])) {
        // Headers of a later Xen may end a struct with fields that layouts.c does not know.
        const size = here[abi][name]?.size === newer[name]?.size ? newer[name]?.size : kept.size;
        expect(here[abi][name], `${name}, ${abi}`).to.eql({ ...kept, size });
      }
    }
  });
});
