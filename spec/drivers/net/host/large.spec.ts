// Large packets between two kernels' TCP: a TAP device at the backend's bridge, both ends of a vif, and a bridge of the guest's with another.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { filter, firstValueFrom } from 'rxjs';
import { Clock, connection, type Domain, GrantTable } from '../../../../core/index.js';
import { Bridge } from '../../../../drivers/net/bridge.js';
import { NetFrontend } from '../../../../drivers/net/frontend.js';
import { TapPort } from '../../../../drivers/net/host/tap-port.js';
import type { BridgeReport } from '../../../../drivers/net/host/uplinks.js';
import type { Nic } from '../../../../drivers/net/nic.js';
import { NicPort } from '../../../../drivers/net/nic-port.js';
import { vifKeys } from '../../../../drivers/net/vif-keys.js';
import { ThreadsMachine } from '../../../../platform/threads/index.js';
import { lacking, run } from './namespaces.js';

const BYTES = 4 << 20;
const near = { ns: `srn-${process.pid}`, tap: `srn${process.pid % 100_000}`, v4: '10.98.0.1', v6: 'fd98::1' };
const far = { ns: `srf-${process.pid}`, tap: `srf${process.pid % 100_000}`, v4: '10.98.0.2', v6: 'fd98::2' };
type End = typeof near;

/** Moves a TAP device into a namespace of its own, with addresses. */
const place = ({ ns, tap, v4, v6 }: End): void => {
  for (const args of [
    ['link', 'set', tap, 'netns', ns],
    ['-n', ns, 'addr', 'add', `${v4}/24`, 'dev', tap],
    ['-n', ns, 'addr', 'add', `${v6}/64`, 'dev', tap, 'nodad'],
    ['-n', ns, 'link', 'set', tap, 'up'],
  ])
    execFileSync('ip', args);
};

for (const offload of [true, false]) {
  describe(`TCP through a vif to a TAP device ${offload ? 'with' : 'without'} offload`, function () {
    this.timeout(60_000);
    let machine: ThreadsMachine;
    let guest: Domain;
    let nic: Nic;
    let nicPort: NicPort;
    let tapPort: TapPort;
    let folder: string;
    before(async function () {
      if (lacking('socat') !== undefined) return this.skip();
      folder = mkdtempSync(join(tmpdir(), 'splitring-large-'));
      for (const { ns } of [near, far]) execFileSync('ip', ['netns', 'add', ns]);
      machine = await ThreadsMachine.create();
      const made = firstValueFrom(
        machine.reports$.pipe(filter(({ value }) => (value as BridgeReport).event === 'tap')),
      );
      const bridge = await machine.boot({
        name: 'bridge',
        module: import.meta.resolve('../../../../drivers/net/module.js'),
        cmdline: { tap: { name: near.tap } },
      });
      await made;
      guest = await machine.guest('guest');
      const keys = vifKeys({ mac: '00:16:3e:98:00:02' });
      await machine.toolstack.attach({ device: 'vif', id: 0, frontend: guest.domid, backend: bridge, keys });
      nic = await connection(guest, NetFrontend);
      const inGuest = new Bridge(guest.get(Clock), guest.get(GrantTable));
      nicPort = new NicPort('eth0', nic, inGuest);
      tapPort = await TapPort.open({ name: far.tap, offload }, inGuest, guest.get(GrantTable));
      place(near);
      place(far);
    });

    after(async () => {
      if (machine === undefined) return;
      tapPort?.[Symbol.dispose]();
      nicPort?.[Symbol.dispose]();
      await nic?.close();
      const ledger = await machine.ledger();
      const { pages } = ledger.find(({ domid }) => domid === guest.domid) ?? {};
      await machine[Symbol.asyncDispose]();
      for (const { ns } of [near, far]) execFileSync('ip', ['netns', 'del', ns]);
      rmSync(folder, { recursive: true });
      expect(pages).to.equal(0);
    });

    /** Sends a file from one end to the other by TCP. */
    const transfer = async (from: End, to: End, version: 4 | 6): Promise<void> => {
      const [source, target] = [join(folder, 'source'), join(folder, 'target')];
      writeFileSync(source, randomBytes(BYTES));
      const listening = run('ip', [
        ...['netns', 'exec', to.ns],
        ...['socat', '-u', `TCP${version}-LISTEN:9000,reuseaddr`, `OPEN:${target},creat,trunc`],
      ]);
      const address = version === 4 ? to.v4 : `[${to.v6}]`;
      const sending = run('ip', [
        ...['netns', 'exec', from.ns],
        ...['socat', '-u', `OPEN:${source}`, `TCP${version}:${address}:9000,retry=50,interval=0.1`],
      ]);
      await Promise.all([listening, sending]);
      expect(Buffer.compare(readFileSync(source), readFileSync(target))).to.equal(0);
    };

    it(`has the checksums of the near kernel's datagrams finished by ${offload ? 'the far kernel' : 'the bridge'}`, async () => {
      // It verifies what comes for a port that nobody listens at before it counts it as such.
      const counted = async (): Promise<readonly (string | undefined)[]> => {
        const text = await run('ip', ['netns', 'exec', far.ns, 'cat', '/proc/net/snmp']);
        const [names, values] = [...text.matchAll(/^Udp: (.*)$/gm)].map(([, line = '']) => line.split(' '));
        return ['NoPorts', 'InCsumErrors'].map((name) => values?.[names?.indexOf(name) ?? -1]);
      };
      expect(await counted()).to.deep.equal(['0', '0']);
      const before = tapPort.statistics.checksummed;
      const args = ['netns', 'exec', near.ns, 'socat', '-u', '-b', '1000', '-', `UDP:${far.v4}:9`];
      await run('ip', args, 'x'.repeat(999));
      while ((await counted()).join() === '0,0');
      expect(await counted()).to.deep.equal(['1', '0']);
      expect(tapPort.statistics.checksummed - before).to.equal(offload ? 0 : 1);
    });

    for (const version of [4, 6] as const) {
      it(`brings the near kernel's large packets over IPv${version} into the guest, and ${offload ? 'whole' : 'cut'} to the far one`, async () => {
        const before = { ...nic.statistics, segmented: tapPort.statistics.segmented };
        await transfer(near, far, version);
        const { receivedLarge, receivedSlots, received } = nic.statistics;
        expect(receivedLarge).to.be.above(before.receivedLarge);
        expect(receivedSlots - before.receivedSlots).to.be.above(received - before.received);
        const segmented = tapPort.statistics.segmented - before.segmented;
        expect(segmented).to.equal(offload ? 0 : receivedLarge - before.receivedLarge);
      });

      it(`brings the far kernel's ${offload ? 'large packets' : 'frames'} over IPv${version} to the near one`, async () => {
        const before = nic.statistics;
        await transfer(far, near, version);
        const { sentLarge, sentSlots, sent } = nic.statistics;
        if (offload) {
          expect(sentLarge).to.be.above(before.sentLarge);
          expect(sentSlots - before.sentSlots).to.be.above(sent - before.sent);
        } else expect(sentLarge).to.equal(0);
      });
    }
  });
}
