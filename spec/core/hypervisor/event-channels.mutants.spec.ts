import { expect } from 'chai';
import { EventChannelOps } from '../../../core/hypervisor/event-channels.js';
import { PirqTable } from '../../../core/hypervisor/pirq-table.js';
import { Ports } from '../../../core/hypervisor/ports.js';
import { SharedInfo } from '../../../core/hypervisor/shared-info.js';
import { VirqPorts } from '../../../core/hypervisor/virq-ports.js';
import { Virqs } from '../../../core/hypervisor/virqs.js';
import { agree } from './event-commands.js';

const differs = (runs: number): boolean => {
  try {
    agree(runs, 5, false);
    return false;
  } catch {
    return true;
  }
};

/** Whether the comparison notices that `make`'s method stands in the place of a class's. */
const isNoticed = <T extends object, K extends keyof T>(
  { prototype }: { readonly prototype: T },
  name: K,
  make: (real: T[K]) => T[K],
): boolean => {
  const real = prototype[name];
  prototype[name] = make(real);
  try {
    return differs(300);
  } finally {
    prototype[name] = real;
  }
};

/** Mistakes that Xen has made, or that are near. */
const mistakes: Readonly<Record<string, () => boolean>> = {
  'a VIRQ stays bound when its port closes': () => isNoticed(VirqPorts, 'release', () => () => {}),
  'a port that closes keeps its PENDING (evtchn_free)': () => isNoticed(SharedInfo, 'clearPending', () => () => {}),
  'a port that closes keeps its vCPU (evtchn_free)': () =>
    isNoticed(
      Ports,
      'free',
      (real) =>
        function (this: Ports, slot, port) {
          const vcpu = this.vcpu(slot, port);
          real.call(this, slot, port);
          this.setVcpu(slot, port, vcpu);
        },
    ),
  'a masked port is selected': () => isNoticed(SharedInfo, 'isMasked', () => () => false),
  'a vCPU is not told of what is selected on it': () => isNoticed(SharedInfo, 'setUpcall', () => () => true),
  'a vCPU handles another’s events': () => isNoticed(EventChannelOps, 'handsOn', () => () => false),
  'an event that was found on the wrong vCPU is dropped': () =>
    isNoticed(
      EventChannelOps,
      'handsOn',
      (real) =>
        function (this: EventChannelOps, slot, vcpu, port) {
          const { select } = SharedInfo.prototype;
          SharedInfo.prototype.select = () => true;
          const isOthers = real.call(this, slot, vcpu, port);
          SharedInfo.prototype.select = select;
          return isOthers;
        },
    ),
  'a guest closes Xen’s ports': () =>
    isNoticed(
      EventChannelOps,
      'closeIn',
      (real) =>
        function (this: EventChannelOps, slot, port) {
          return real.call(this, slot, port, false);
        },
    ),
  'any domain binds a global VIRQ': () =>
    isNoticed(
      Virqs,
      'bind',
      (real) =>
        function (this: Virqs, caller, virq, vcpu) {
          const owner = this.owner(virq);
          this.owner = () => caller;
          const result = real.call(this, caller, virq, vcpu);
          this.owner = () => owner;
          return result;
        },
    ),
  'a line that is up is told again before its EOI': () => isNoticed(PirqTable, 'isInFlight', () => () => false),
  'a line waits for the EOI of a domain that closed its port': () =>
    isNoticed(
      PirqTable,
      'release',
      (real) =>
        function (this: PirqTable, slot, pirq) {
          const { isAsserted } = this;
          this.isAsserted = () => false;
          real.call(this, slot, pirq);
          this.isAsserted = isAsserted;
        },
    ),
  'an interrupt is shared with one who does not share it': () => isNoticed(PirqTable, 'isShareable', () => () => true),
  'an interrupt that was taken away is still told': () => isNoticed(PirqTable, 'isForced', () => () => false),
};

describe('the comparison of events with a plain model notices that', () => {
  for (const [mistake, check] of Object.entries(mistakes)) {
    it(mistake, () => {
      expect(check()).to.equal(true);
    });
  }

  it('nothing is wrong when nothing is', () => {
    expect(differs(30)).to.equal(false);
  });
});
