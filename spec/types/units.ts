// Numbers of different kinds do not mix (core/abi/units.ts).
import { asDomid, asGrantRef, asPort, asSector, type Domid, type GrantRef, type Port } from '../../core/abi/units.js';
import type { EventChannels } from '../../core/domain/event-channels.js';
import type { CopySegment, GrantTable, Page } from '../../core/domain/grant-table.js';

declare const channels: EventChannels;
declare const grants: GrantTable;
declare const page: Page;
const peer: Domid = asDomid(1);
const port: Port = asPort(3);

grants.map(peer, [asGrantRef(8)]);
// @ts-expect-error a port is no grant reference
grants.map(peer, [port]);
// @ts-expect-error a plain number is no grant reference
grants.map(peer, [8]);
// @ts-expect-error a grant reference is no domid
grants.share(asGrantRef(8));
// @ts-expect-error a plain number is no domid
channels.allocUnbound(1);
// @ts-expect-error a domid is no port
channels.bindInterdomain(peer, peer);
// @ts-expect-error the domid comes first
channels.bindInterdomain(port, peer);

const ref: GrantRef = asGrantRef(8);
const segment: CopySegment = { ref, offset: 0, page, pageOffset: 0, length: 512 };
// @ts-expect-error a segment's reference is a grant reference
const wrong: CopySegment = { ...segment, ref: port };
// @ts-expect-error what a peer granted is not written over
segment.ref = ref;
// @ts-expect-error 512-byte sectors and domids do not mix
const sector: Domid = asSector(8);
// @ts-expect-error arithmetic gives a plain number, which is checked again
const next: GrantRef = ref + 1;
