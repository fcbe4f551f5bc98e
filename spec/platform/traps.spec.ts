import { expect } from 'chai';
import { firstValueFrom } from 'rxjs';
import { platforms } from '../../contract/index.js';
import { type Abi, EventChannels, GrantTable, PAGE_SIZE, type Plain, Traps } from '../../core/index.js';
import type { Machine } from '../../core/toolstack/index.js';

const debuggerModule = import.meta.resolve('../support/debugger.module.js');

for (const platform of platforms) {
  describe(`virtual exceptions on ${platform.name}`, () => {
    let machine: Machine;
    let log: string[];

    beforeEach(async () => {
      machine = await platform.create({ seed: 1 });
      log = [];
      machine.log$.subscribe(({ domain, text }) => log.push(`${domain}: ${text}`));
    });
    afterEach(() => machine[Symbol.asyncDispose]());

    const boot = async (abi: Abi, cmdline: Plain) => {
      const reports: Plain[] = [];
      machine.reports$.subscribe(({ value }) => reports.push(value));
      const ended = firstValueFrom(machine.shutdowns$);
      const domid = await machine.boot({ name: 'debugged', module: debuggerModule, abi, cmdline });
      return { domid, reports, shutdown: await ended };
    };

    for (const abi of ['x86_64-abi', 'x86_32-abi'] as const) {
      it(`let a debugger in a guest be called for int3, see its frame, and say where the program goes on: ${abi}`, async () => {
        const { reports, shutdown } = await boot(abi, undefined);
        expect(shutdown.reason, String(shutdown.error)).to.equal('poweroff');
        const cs = abi === 'x86_32-abi' ? '0xe019' : '0xe030';
        expect(reports).to.eql([
          'before',
          'after the call',
          `int3 at 0x400001, cs ${cs}, rflags 0x202, mask 0, true`,
          'goes on at 0x400011',
        ]);
      });
    }

    it('crash a domain that has no handler, alone, and name it', async () => {
      const bystander = await machine.guest('bystander');
      const { domid, reports, shutdown } = await boot('x86_64-abi', 'careless');
      expect(shutdown).to.include({ domid, name: 'debugged', reason: 'crash' });
      const text = `domain ${domid}, vCPU 0: no handler is registered, for vector 3, int3`;
      expect(shutdown.error?.message).to.equal(text);
      expect(reports).to.eql(['before', 'after the call']);
      expect(log).to.include(`debugged: crashed: ${text}`);
      // The others live: an event goes from dom0 to the bystander.
      const own = machine.dom0.get(EventChannels).allocUnbound(bystander.domid);
      const peer = bystander.get(EventChannels).bindInterdomain(machine.dom0.domid, own.port);
      const came = firstValueFrom(peer);
      own.notify();
      await came;
      expect(machine.lastShutdown(domid)?.reason).to.equal('crash');
      await machine.toolstack.destroy(domid);
    });

    it('reach a domain in the machine’s own thread as well', async () => {
      const guest = await machine.guest('guest');
      const traps = guest.get(Traps);
      expect(guest.get(Traps)).to.equal(traps);
      const stack = guest.get(GrantTable).alloc();
      traps.registers.rsp = traps.addressOf(stack, PAGE_SIZE);
      let handled = 0;
      traps.code(0x1000n, () => void handled++);
      traps.setTrapTable([{ vector: 3, address: 0x1000n }]);
      const trapped = traps.int3();
      expect(handled).to.equal(0);
      await trapped;
      expect(handled).to.equal(1);
      stack[Symbol.dispose]();
    });

    it('leave nothing in a domain that has ended', async () => {
      const { domid } = await boot('x86_64-abi', undefined);
      await machine.toolstack.destroy(domid);
      const names = (await machine.ledger()).map(({ name }) => name);
      expect(names).not.to.include('debugged');
    });
  });
}
