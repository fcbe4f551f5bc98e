import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { DOMID_SELF, type Domid, type Port } from '../../../core/abi/units.js';
import { NR_VIRQS, virq, virqName } from '../../../core/abi/virq.js';
import { eventChannelOp, evtchnop } from '../../../core/hypervisor/event-channel-op.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { BIND_PIRQ_WILL_SHARE, mapPirqType } from '../../../core/hypervisor/pirqs.js';
import { abis, golden, headers } from '../../golden/golden.js';
import { connect, deliver, dom0, dom1, dom2, machine, ok } from './machine.js';

/** The structure of each command, in event_channel.h. */
const structs = {
  bindInterdomain: 'evtchn_bind_interdomain',
  bindVirq: 'evtchn_bind_virq',
  bindPirq: 'evtchn_bind_pirq',
  close: 'evtchn_close',
  send: 'evtchn_send',
  status: 'evtchn_status',
  allocUnbound: 'evtchn_alloc_unbound',
  bindIpi: 'evtchn_bind_ipi',
  bindVcpu: 'evtchn_bind_vcpu',
  unmask: 'evtchn_unmask',
  reset: 'evtchn_reset',
  initControl: 'evtchn_init_control',
  expandArray: 'evtchn_expand_array',
  setPriority: 'evtchn_set_priority',
} as const satisfies Record<keyof typeof evtchnop, string>;
type Command = keyof typeof structs;
const commands = Object.keys(structs) as Command[];

for (const abi of abis) {
  describe(`the event-channel call with the structures of ${headers}, ${abi}`, () => {
    let hypervisor: Hypervisor;
    const layout = (command: Command) => {
      const found = golden[abi][structs[command]];
      if (found === undefined) throw new Error(`no layout of ${structs[command]}`);
      return found;
    };
    const read = (command: Command, bytes: Uint8Array, name: string): number => {
      const [offset, size] = layout(command).fields[name] as readonly [number, number];
      return new DataView(bytes.buffer)[size === 2 ? 'getUint16' : 'getUint32'](offset, true);
    };
    /** Makes a call with the fields given, and 0xa5 in all others; the answer, and the structure as it is left. */
    const call = (caller: Domid, command: Command, fields: Readonly<Record<string, number>>) => {
      const bytes = new Uint8Array(layout(command).size).fill(0xa5);
      const view = new DataView(bytes.buffer);
      for (const [name, value] of Object.entries(fields)) {
        const [offset, size] = layout(command).fields[name] as readonly [number, number];
        if (size === 2) view.setUint16(offset, value, true);
        else view.setUint32(offset, value, true);
      }
      const before = bytes.slice();
      const result = eventChannelOp(hypervisor, caller, evtchnop[command], bytes);
      return { result, before, bytes, get: (name: string) => read(command, bytes, name) };
    };

    beforeEach(() => {
      ({ hypervisor } = machine({ vcpus: 2 }));
    });

    it('numbers its commands as the header', () => {
      for (const command of commands) {
        const name = structs[command].replace('evtchn', 'EVTCHNOP');
        expect(evtchnop[command], name).to.equal(golden.constants[name]);
      }
    });

    it('takes and gives back what each command says', () => {
      const alloc = call(dom1, 'allocUnbound', { dom: DOMID_SELF, remote_dom: dom2 });
      expect([alloc.result, alloc.get('port')]).to.deep.equal([0, 1]);
      const bind = call(dom2, 'bindInterdomain', { remote_dom: dom1, remote_port: 1 });
      expect([bind.result, bind.get('local_port')]).to.deep.equal([0, 1]);
      const timer = call(dom1, 'bindVirq', { virq: virq.timer, vcpu: 1 });
      expect([timer.result, timer.get('port')]).to.deep.equal([0, 2]);
      const ipi = call(dom1, 'bindIpi', { vcpu: 1 });
      expect([ipi.result, ipi.get('port')]).to.deep.equal([0, 3]);
      ok(hypervisor.pirqs.map(dom0, dom1, mapPirqType.gsi, 20, 33));
      const line = call(dom1, 'bindPirq', { pirq: 33, flags: 0 });
      expect([line.result, line.get('port')]).to.deep.equal([0, 4]);
      expect(call(dom1, 'bindVcpu', { port: 4, vcpu: 1 }).result).to.equal(0);
      ok(call(dom1, 'allocUnbound', { dom: dom1, remote_dom: 77 }).result);

      const status = (port: number, ...names: readonly string[]): readonly number[] => {
        const { result, get } = call(dom1, 'status', { dom: DOMID_SELF, port });
        return [result, ...['status', 'vcpu', ...names].map(get)];
      };
      const c = golden.constants;
      expect(status(0)).to.deep.equal([0, c.EVTCHNSTAT_closed, 0]);
      expect(status(1, 'u.interdomain.dom', 'u.interdomain.port')).to.deep.equal([
        0,
        c.EVTCHNSTAT_interdomain,
        0,
        2,
        1,
      ]);
      expect(status(2, 'u.virq')).to.deep.equal([0, c.EVTCHNSTAT_virq, 1, virq.timer]);
      expect(status(3)).to.deep.equal([0, c.EVTCHNSTAT_ipi, 1]);
      expect(status(4, 'u.pirq')).to.deep.equal([0, c.EVTCHNSTAT_pirq, 1, 33]);
      expect(status(5, 'u.unbound.dom')).to.deep.equal([0, c.EVTCHNSTAT_unbound, 0, 77]);

      hypervisor.eventChannels.mask(dom2, 1 as Port);
      deliver(hypervisor, dom2);
      expect(call(dom1, 'send', { port: 1 }).result).to.equal(0);
      expect(call(dom2, 'unmask', { port: 1 }).result).to.equal(0);
      expect(deliver(hypervisor, dom2)).to.deep.equal([1]);
      expect(call(dom1, 'close', { port: 3 }).result).to.equal(0);
      expect(call(dom1, 'reset', { dom: DOMID_SELF }).result).to.equal(0);
      expect(hypervisor.ledger(dom1).ports).to.include({ virq: 0, pirq: 0, ipi: 0, unbound: 0, interdomain: 0 });
    });

    it('answers what each command refuses, and leaves the structure as it was', () => {
      connect(hypervisor, dom1, dom2);
      const refusals: readonly (readonly [Command, Readonly<Record<string, number>>, number])[] = [
        ['bindInterdomain', { remote_dom: 77, remote_port: 1 }, errno.ESRCH],
        ['bindVirq', { virq: 24, vcpu: 0 }, errno.EINVAL],
        ['bindPirq', { pirq: 20, flags: 0 }, errno.EPERM],
        ['close', { port: 9 }, errno.EINVAL],
        ['send', { port: 9 }, errno.EINVAL],
        ['status', { dom: dom2, port: 1 }, errno.EPERM],
        ['allocUnbound', { dom: dom2, remote_dom: dom1 }, errno.EPERM],
        ['bindIpi', { vcpu: 2 }, errno.ENOENT],
        ['bindVcpu', { port: 1, vcpu: 2 }, errno.ENOENT],
        ['unmask', { port: 64 }, errno.EINVAL],
        ['reset', { dom: dom2 }, errno.EPERM],
        ['initControl', { offset: 0, vcpu: 0 }, errno.EOPNOTSUPP],
        ['expandArray', {}, errno.EOPNOTSUPP],
        ['setPriority', { port: 1, priority: 7 }, errno.ENOSYS],
      ];
      for (const [command, fields, error] of refusals) {
        const { result, before, bytes } = call(dom1, command, fields);
        expect(result, command).to.equal(-error);
        expect(bytes, command).to.deep.equal(before);
      }
    });

    it('answers EFAULT for a structure that is not there as a whole, and changes nothing', () => {
      connect(hypervisor, dom1, dom2);
      const before = hypervisor.memory.words.slice();
      for (const command of commands) {
        for (const arg of [undefined, new Uint8Array(layout(command).size - 1)]) {
          expect(eventChannelOp(hypervisor, dom1, evtchnop[command], arg), command).to.equal(-errno.EFAULT);
        }
      }
      expect(hypervisor.memory.words.every((word, i) => word === before[i])).to.equal(true);
    });

    it('answers ENOSYS for another command, before it looks at the structure', () => {
      for (const command of [14, 15, -1, 0.5, 0x7fffffff]) {
        expect(eventChannelOp(hypervisor, dom1, command, undefined)).to.equal(-errno.ENOSYS);
      }
    });
  });
}

describe(`our interrupts against ${headers}`, () => {
  it('number VIRQs and flags as xen.h and event_channel.h', () => {
    for (const [name, value] of Object.entries(golden.constants)) {
      if (/^VIRQ_[A-Z]/.test(name)) expect(virqName(value as number)).to.equal(name);
    }
    expect([NR_VIRQS, BIND_PIRQ_WILL_SHARE]).to.deep.equal([
      golden.constants.NR_VIRQS,
      golden.constants.BIND_PIRQ__WILL_SHARE,
    ]);
  });
});
