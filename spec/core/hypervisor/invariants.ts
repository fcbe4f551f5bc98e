import { expect } from 'chai';
import type { Domid } from '../../../core/abi/units.js';
import { NR_VIRQS, virqClass, virqName } from '../../../core/abi/virq.js';
import { frameKind } from '../../../core/hypervisor/frames.js';
import { gtf } from '../../../core/hypervisor/grant-entries.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import { GrantPins, pinOf } from '../../../core/hypervisor/grant-pins.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { control, header, life, PAGE_WORDS, slotPage, vcpuWord } from '../../../core/hypervisor/layout.js';
import { flagsOf, granterOf, Maptrack, mapping } from '../../../core/hypervisor/maptrack.js';
import { NR_IRQS, NR_PIRQS, PirqTable } from '../../../core/hypervisor/pirq-table.js';
import {
  irqOf,
  Ports,
  peerPortOf,
  peerSlotOf,
  pirqPort,
  portState,
  stateOf,
  virqPort,
} from '../../../core/hypervisor/ports.js';
import { VirqPorts } from '../../../core/hypervisor/virq-ports.js';

const halves = gntmap.hostMap | gntmap.deviceMap;

const range = (count: number): readonly number[] => [...Array(count).keys()];

/** What must hold in every machine whose lock nobody has, read from the tables themselves. */
export const expectSound = (hypervisor: Hypervisor, when: string): void => {
  const { memory, domains, frames, sharedInfo, grantEntries, vcpus } = hypervisor;
  const { words } = memory;
  const ports = new Ports(memory, frames, sharedInfo);
  const virqPorts = new VirqPorts(memory, vcpus);
  const pirqs = new PirqTable(memory, frames);
  const maptrack = new Maptrack(memory, frames);
  const pins = new GrantPins(memory, grantEntries, frames);
  const slots = domains.slots();
  const wrong: string[] = [];
  const check = (right: boolean, what: string): void => {
    if (!right) wrong.push(what);
  };

  check(words[header.lock] === 0, `the lock is held: ${words[header.lock]}`);
  const expectedPins = new Map<string, number>();
  const mappings = new Map<number, number>();
  for (const slot of slots) {
    const at = memory.control(slot);
    const domid = domains.domid(slot);
    const now = words[at + control.life];
    check(now === life.alive || now === life.zombie, `domain ${domid} is in life ${now}`);
    check(memory.slotOf(domid) === slot, `domain ${domid} is not found`);
    let lowest = 0;
    while (stateOf(ports.get(slot, lowest)) !== portState.free) lowest++;
    check((words[at + control.freePortHint] as number) <= lowest, `domain ${domid} would not find port ${lowest}`);
    const page = sharedInfo.at(slot);
    const abi32 = sharedInfo.isAbi32(slot);
    for (let port = 1; port < ports.valid(slot); port++) {
      const word = ports.get(slot, port);
      if (stateOf(word) === portState.interdomain) {
        const peer = ports.get(peerSlotOf(word), peerPortOf(word));
        const back = stateOf(peer) === portState.interdomain && peerSlotOf(peer) === slot && peerPortOf(peer) === port;
        check(back, `port ${port} of domain ${domid} has no peer`);
      }
      if (now === life.alive && sharedInfo.isPending(page, port) && !sharedInfo.isMasked(page, abi32, port)) {
        // One that was moved meanwhile stays selected where it was.
        const knows = range(vcpus.count(slot)).some((vcpu) => words[sharedInfo.infoIn(page, vcpu)] !== 0);
        check(knows, `domain ${domid} does not know that port ${port} is pending`);
      }
      check(ports.vcpu(slot, port) < vcpus.count(slot), `port ${port} of domain ${domid} notifies no vCPU`);
      if (stateOf(word) === portState.free) {
        check(
          ports.vcpu(slot, port) === 0,
          `port ${port} of domain ${domid}, which is free, notifies vCPU ${ports.vcpu(slot, port)}`,
        );
      }
      if (stateOf(word) === portState.pirq) {
        check(pirqs.port(slot, irqOf(word)) === port, `port ${port} of domain ${domid} is not bound to its interrupt`);
      }
      if (stateOf(word) === portState.virq) {
        const by = range(vcpus.count(slot)).filter((vcpu) => virqPorts.get(slot, vcpu, irqOf(word)) === port);
        const own = virqClass(irqOf(word)) === 'vcpu' ? ports.vcpu(slot, port) : 0;
        check(
          by.length === 1 && by[0] === own,
          `port ${port} of domain ${domid} is not bound to ${virqName(irqOf(word))}`,
        );
      }
    }
    for (const vcpu of range(vcpus.count(slot))) {
      for (const virq of range(NR_VIRQS)) {
        const port = virqPorts.get(slot, vcpu, virq);
        const bound = port === 0 || ports.get(slot, port) === virqPort(virq);
        check(bound, `${virqName(virq)} on vCPU ${vcpu} of domain ${domid} is bound to port ${port}, which is not`);
      }
    }
    for (const pirq of range(NR_PIRQS)) {
      if (!pirqs.isKnown(slot, pirq)) continue;
      const port = pirqs.port(slot, pirq);
      const what = `interrupt ${pirq} of domain ${domid}`;
      check(port === 0 || ports.get(slot, port) === pirqPort(pirq), `${what} is bound to port ${port}, which is not`);
      const irq = pirqs.irq(slot, pirq);
      check(irq < 0 || pirqs.pirq(slot, irq) === pirq, `${what} is not found by the host’s ${irq}`);
      const idle = !pirqs.isMasked(slot, pirq) && !pirqs.isForced(slot, pirq);
      check(port !== 0 || idle, `${what} is in flight or taken away, and not bound`);
      if (irq >= 0 && pirqs.isLevel(irq) && pirqs.isAsserted(irq) && port !== 0) {
        check(pirqs.isInFlight(irq), `${what} is asserted, and was not told`);
      }
    }
    for (const irq of range(NR_IRQS)) {
      const pirq = pirqs.pirq(slot, irq);
      check(pirq < 0 || pirqs.isKnown(slot, pirq), `the host’s interrupt ${irq} is not domain ${domid}’s ${pirq}`);
    }
    check(words[at + control.resetBy] === 0, `domain ${domid} is being reset`);
    for (let handle = 0; handle < maptrack.count(slot); handle++) {
      const entry = maptrack.find(slot, handle);
      if (entry === 0) continue;
      const flags = flagsOf(words[entry] as number);
      check((flags & halves) !== 0, `handle ${handle} of domain ${domid} maps nothing`);
      const key = `${granterOf(words[entry] as number)} ${words[entry + mapping.ref]}`;
      const readonly = (flags & gntmap.readonly) !== 0;
      const host = flags & gntmap.hostMap ? (readonly ? pinOf.hostRead : pinOf.hostWrite) : 0;
      const device = flags & gntmap.deviceMap ? (readonly ? pinOf.deviceRead : pinOf.deviceWrite) : 0;
      expectedPins.set(key, (expectedPins.get(key) ?? 0) + host + device);
      const frame = words[entry + mapping.frame] as number;
      mappings.set(frame, (mappings.get(frame) ?? 0) + 1);
    }
  }
  for (const slot of slots) {
    for (let ref = 0; ref < grantEntries.count(slot); ref++) {
      const pinned = pins.pins(slot, ref);
      const what = `grant ${ref} of domain ${domains.domid(slot)}`;
      check(pinned === ((expectedPins.get(`${slot} ${ref}`) ?? 0) | 0), `${what} is pinned ${pinned} times`);
      const inUse = (words[grantEntries.entry(slot, ref)] as number) & (gtf.reading | gtf.writing);
      const writers = pinned & 0x00ff00ff;
      const right = pinned === 0 ? 0 : writers === 0 ? gtf.reading : gtf.reading | gtf.writing;
      check(inUse === right, `${what} has in-use bits ${inUse} for pins ${pinned}`);
    }
  }
  const owned = new Map<Domid, number>();
  const tables = new Map<number, Domid>();
  for (const slot of slots) {
    const at = memory.control(slot);
    const lists = [
      ...words.subarray(at + control.grantFrameList, at + PAGE_WORDS),
      ...words.subarray(at + slotPage.maptrackFrameList, at + slotPage.maptrackFrameList + PAGE_WORDS),
      ...Array.from({ length: hypervisor.vcpus.count(slot) }, (_, vcpu) => {
        const table = words[hypervisor.vcpus.word(slot, vcpu) + vcpuWord.trapTable] as number;
        return table === 0 ? [] : [table, table + 1];
      }).flat(),
    ];
    for (const frame of lists) {
      if (frame === 0) continue;
      check(!tables.has(frame), `frame ${frame} serves two tables`);
      tables.set(frame, domains.domid(slot));
    }
  }
  frames.each((frame, owner, kind) => {
    check(
      (mappings.get(frame) ?? 0) === frames.mappings(frame),
      `frame ${frame} counts ${frames.mappings(frame)} mappings`,
    );
    mappings.delete(frame);
    if (kind === frameKind.page || kind === frameKind.released) owned.set(owner, (owned.get(owner) ?? 0) + 1);
    else check(tables.get(frame) === owner, `frame ${frame} of domain ${owner} serves no table`);
    if (kind === frameKind.released) check(frames.mappings(frame) > 0, `frame ${frame} is held by nobody`);
    tables.delete(frame);
    check(memory.slotOf(owner) >= 0, `frame ${frame} is of domain ${owner}, which does not exist`);
  });
  check(tables.size === 0, `tables in frames of nobody: ${[...tables.keys()]}`);
  check(mappings.size === 0, `mappings of frames of nobody: ${[...mappings.keys()]}`);
  for (const slot of slots) {
    const pages = words[memory.control(slot) + control.pages];
    check(pages === (owned.get(domains.domid(slot)) ?? 0), `domain ${domains.domid(slot)} counts ${pages} pages`);
  }
  expect(wrong, when).to.deep.equal([]);
};
