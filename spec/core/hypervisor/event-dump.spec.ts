import { expect } from 'chai';
import { asDomid, type Port } from '../../../core/abi/units.js';
import { virq } from '../../../core/abi/virq.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { mapPirqType } from '../../../core/hypervisor/pirqs.js';
import { addDomain, connect, deliver, dom0, dom1, dom2, dom3, grant, machine, ok } from './machine.js';

const names: Readonly<Record<number, string>> = { 0: 'dom0', 1: 'backend', 2: 'guest' };

/** The lines that follow a domain's header, up to the next domain. */
const portsOf = (hypervisor: Hypervisor, domid: number): readonly string[] => {
  const lines = hypervisor.eventDump
    .text((id) => names[id])
    .trimEnd()
    .split('\n');
  const from = lines.findIndex((line) => line.startsWith(`Event channel information for domain ${domid}:`));
  expect(from).to.be.greaterThan(0);
  const rest = lines.slice(from + 3);
  const end = rest.findIndex((line) => line.startsWith('Event channel information'));
  return end < 0 ? rest : rest.slice(0, end);
};

describe("debug key e, in the format of Xen's dump_evtchn_info", () => {
  let hypervisor: Hypervisor;

  beforeEach(() => {
    ({ hypervisor } = machine());
  });

  it('prints each domain by its number, with its name behind, whoever was created first', () => {
    addDomain(hypervisor, asDomid(100));
    addDomain(hypervisor, asDomid(50));
    expect(hypervisor.eventDump.text((domid) => names[domid]).split('\n')).to.deep.equal([
      "'e' pressed -> dumping event-channel info",
      ...['0:  dom0', '1:  backend', '2:  guest', '3:  d3', '50:  d50', '100:  d100'].flatMap((who) => [
        `Event channel information for domain ${who}`,
        'Polling vCPUs: {}',
        '    port [p/m/s]',
      ]),
      '',
    ]);
  });

  it('prints no port that is free, and not port 0', () => {
    const port = ok<Port>(hypervisor.eventChannels.allocUnbound(dom1, dom1, dom2));
    ok(hypervisor.eventChannels.close(dom1, port));
    expect(portsOf(hypervisor, 1)).to.deep.equal([]);
  });

  it('numbers states as Xen does inside (ECS_UNBOUND 2, ECS_INTERDOMAIN 3), with the domain and port that they name', () => {
    ok(hypervisor.eventChannels.allocUnbound(dom1, dom1, dom3));
    connect(hypervisor, dom1, dom2);
    expect(portsOf(hypervisor, 1)).to.deep.equal([
      '       1 [0/0/0]: s=2 n=0 x=0 d=3  backend -> d3',
      '       2 [0/0/0]: s=3 n=0 x=0 d=2 p=1  backend -> guest',
    ]);
    expect(portsOf(hypervisor, 2)).to.deep.equal(['       1 [0/0/0]: s=3 n=0 x=0 d=1 p=2  guest -> backend']);
  });

  it('prints PENDING, MASK and the selector bit of the port’s word', () => {
    const [first, second] = [connect(hypervisor, dom1, dom3), connect(hypervisor, dom1, dom3)];
    const bits = (): readonly (string | undefined)[] => portsOf(hypervisor, 3).map((line) => /\[.*\]/.exec(line)?.[0]);
    hypervisor.eventChannels.mask(dom3, first[1]);
    ok(hypervisor.eventChannels.send(dom1, first[0]));
    expect(bits()).to.deep.equal(['[1/1/0]', '[0/0/0]']);
    // One selector bit stands for 64 ports.
    ok(hypervisor.eventChannels.send(dom1, second[0]));
    expect(bits()).to.deep.equal(['[1/1/1]', '[1/0/1]']);
    deliver(hypervisor, dom3);
    expect(bits()).to.deep.equal(['[1/1/0]', '[0/0/0]']);
  });

  for (const [abi, before] of [
    ['x86_64-abi', 63],
    ['x86_32-abi', 31],
  ] as const) {
    it(`takes the selector bit for that of ${before + 1} ports in the ${abi}`, () => {
      const { hypervisor: xen } = machine({ abi });
      const [port] = Array.from({ length: before + 1 }, () => connect(xen, dom1, dom2)).at(-1) ?? [];
      expect(port).to.equal(before + 1);
      ok(xen.eventChannels.send(dom1, port as Port));
      const lines = portsOf(xen, 2);
      expect(lines.at(-1)).to.equal(
        `${String(before + 1).padStart(8)} [1/0/1]: s=3 n=0 x=0 d=1 p=${before + 1}  guest -> backend`,
      );
      expect(lines.at(-2)).to.equal(
        `${String(before).padStart(8)} [0/0/0]: s=3 n=0 x=0 d=1 p=${before}  guest -> backend`,
      );
    });
  }

  it('prints interrupts with their numbers, and each port with the vCPU that it notifies', () => {
    const { hypervisor: xen } = machine({ vcpus: 4 });
    const { eventChannels, virqs, pirqs } = xen;
    ok(virqs.bind(dom1, virq.timer, 3));
    ok(eventChannels.bindIpi(dom1, 2));
    ok(pirqs.map(dom0, dom1, mapPirqType.gsi, 9, 33));
    ok(pirqs.bind(dom1, 33, 0));
    expect(portsOf(xen, 1)).to.deep.equal([
      '       1 [0/0/0]: s=5 n=3 x=0 v=0  backend',
      '       2 [0/0/0]: s=6 n=2 x=0  backend',
      '       3 [0/0/0]: s=4 n=0 x=0 p=33 i=9  backend',
    ]);
  });

  it('negates the number of an interrupt that was taken from the domain while it was bound, as Xen notes it', () => {
    const { pirqs } = hypervisor;
    ok(pirqs.map(dom0, dom1, mapPirqType.gsi, 9, 33));
    ok(pirqs.bind(dom1, 33, 0));
    ok(pirqs.unmap(dom0, dom1, 33));
    expect(portsOf(hypervisor, 1)).to.deep.equal(['       1 [0/0/0]: s=4 n=0 x=0 p=33 i=-9  backend']);
  });

  it('takes the selector bit of the vCPU that the port notifies', () => {
    const { hypervisor: xen } = machine({ vcpus: 2 });
    const port = ok<Port>(xen.eventChannels.bindIpi(dom1, 1));
    ok(xen.eventChannels.send(dom1, port));
    expect(portsOf(xen, 1)).to.deep.equal(['       1 [1/0/1]: s=6 n=1 x=0  backend']);
    xen.upcalls.scan(dom1, () => {}, undefined, 0);
    expect(portsOf(xen, 1)).to.deep.equal(['       1 [1/0/1]: s=6 n=1 x=0  backend']);
    xen.upcalls.scan(dom1, () => {}, undefined, 1);
    expect(portsOf(xen, 1)).to.deep.equal(['       1 [0/0/0]: s=6 n=1 x=0  backend']);
  });

  it('marks a port whose events Xen itself takes', () => {
    ok(hypervisor.xenChannels.allocUnbound(dom1, 0, dom2));
    // Its domain cannot use it: it counts as masked, and never as pending (`evtchn_is_masked`, `evtchn_is_pending`).
    expect(portsOf(hypervisor, 1)).to.deep.equal(['       1 [0/1/0]: s=2 n=0 x=1 d=2  backend -> guest']);
    hypervisor.eventChannels.retrigger(dom1, 1 as Port);
    expect(portsOf(hypervisor, 1)).to.deep.equal(['       1 [0/1/1]: s=2 n=0 x=1 d=2  backend -> guest']);
  });

  it('lists the vCPUs that poll as ranges', () => {
    const { hypervisor: xen } = machine({ vcpus: 32 });
    const port = ok<Port>(xen.eventChannels.allocUnbound(dom1, dom1, dom2));
    const polling = (): string | undefined =>
      xen.eventDump
        .text()
        .split('\n')
        .filter((line) => line.startsWith('Polling'))[1];
    for (const vcpu of [0, 1, 2, 5, 30, 31]) ok(xen.sched.poll(dom1, vcpu, [port], 0));
    expect(polling()).to.equal('Polling vCPUs: {0-2,5,30-31}');
  });

  it('prints a domain that lingers as a zombie, which has no ports any more', () => {
    connect(hypervisor, dom1, dom2);
    ok(hypervisor.grantMap.map(dom1, dom2, grant(hypervisor, dom2, dom1).ref, gntmap.hostMap));
    ok(hypervisor.destroyDomain(dom0, dom2));
    expect(hypervisor.domains.lifeOf(dom2)).to.equal('zombie');
    expect(portsOf(hypervisor, 2)).to.deep.equal([]);
    expect(portsOf(hypervisor, 1)).to.deep.equal(['       1 [0/0/0]: s=2 n=0 x=0 d=2  backend -> guest']);
  });
});
