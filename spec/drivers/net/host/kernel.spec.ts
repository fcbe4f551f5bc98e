// The kernel's own network stack and tools as peers of a guest, over a TAP device in a network namespace.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { filter, firstValueFrom } from 'rxjs';
import { Clock, connection, type Domain } from '../../../../core/index.js';
import { NetFrontend } from '../../../../drivers/net/frontend.js';
import type { BridgeReport } from '../../../../drivers/net/host/uplinks.js';
import type { Nic } from '../../../../drivers/net/nic.js';
import { vifKeys } from '../../../../drivers/net/vif-keys.js';
import { Host, UDP_HEADERS } from '../../../../examples/net/host.js';
import { parseIpv4, showIpv4 } from '../../../../examples/net/ipv4.js';
import { ThreadsMachine } from '../../../../platform/threads/index.js';
import { lacking, run } from './namespaces.js';

const GUEST = '10.97.0.2';
const KERNEL = '10.97.0.1';

describe('a guest and the kernel, over a TAP device', function () {
  this.timeout(60_000);
  const ns = `srt-${process.pid}`;
  const tap = `srt${process.pid % 100_000}`;
  let machine: ThreadsMachine;
  let guest: Domain;
  let nic: Nic;
  let host: Host;
  let folder: string;

  /** A test, skipped visibly where it lacks something. */
  const withTools = (title: string, tools: readonly string[], body: () => Promise<void>): void => {
    const problem = lacking(...tools);
    if (problem === undefined) it(title, body);
    else it.skip(`${title} (skipped: ${problem})`, () => {});
  };
  const inNamespace = (command: string, args: readonly string[], input?: string): Promise<string> =>
    run('ip', ['netns', 'exec', ns, command, ...args], input);

  before(async function () {
    if (lacking() !== undefined) return this.skip();
    folder = mkdtempSync(join(tmpdir(), 'splitring-net-'));
    execFileSync('ip', ['netns', 'add', ns]);
    machine = await ThreadsMachine.create();
    const made = firstValueFrom(machine.reports$.pipe(filter(({ value }) => (value as BridgeReport).event === 'tap')));
    const bridge = await machine.boot({
      name: 'bridge',
      module: import.meta.resolve('../../../../drivers/net/module.js'),
      cmdline: { tap: { name: tap, mtu: 9000 }, pcap: folder },
    });
    await made;
    for (const args of [
      ['link', 'set', tap, 'netns', ns],
      ['-n', ns, 'addr', 'add', `${KERNEL}/24`, 'dev', tap],
      ['-n', ns, 'link', 'set', tap, 'mtu', '9000', 'up'],
    ])
      execFileSync('ip', args);
    guest = await machine.guest('guest');
    const keys = vifKeys({ mac: '00:16:3e:97:00:02', mtu: 9000 });
    await machine.toolstack.attach({ device: 'vif', id: 0, frontend: guest.domid, backend: bridge, keys });
    nic = await connection(guest, NetFrontend);
    host = new Host(nic, guest.get(Clock), parseIpv4(GUEST));
  });

  after(async () => {
    if (machine === undefined) return;
    await nic?.close();
    host?.[Symbol.dispose]();
    await machine[Symbol.asyncDispose]();
    execFileSync('ip', ['netns', 'del', ns]);
    rmSync(folder, { recursive: true });
  });

  withTools('answers its ping, small, of a page and more', ['ping'], async () => {
    for (const size of ['0', '56', '1472', '4100', '8900']) {
      const said = await inNamespace('ping', ['-c', '3', '-i', '0.05', '-W', '5', '-M', 'do', '-s', size, GUEST]);
      expect(said).to.match(/3 packets transmitted, 3 received, 0% packet loss/);
    }
  });

  withTools('answers its arping', ['arping'], async () => {
    const said = await inNamespace('arping', ['-c', '2', '-I', tap, GUEST]);
    expect(said.toLowerCase()).to.include('00:16:3e:97:00:02');
    expect(said).to.match(/Received 2 response/);
  });

  withTools('gets an answer to its own ping from it', [], async () => {
    expect(await host.ping(parseIpv4(KERNEL), 7, 1000)).to.be.a('number');
  });

  withTools('echoes datagrams that socat sends, whose checksums each end leaves to the other', ['socat'], async () => {
    host.bind(7, ({ from, port, data }) => {
      const copy = data.slice();
      void host.resolve(from).then((to) => {
        const answer = host.datagram(to, from, port, 7, copy.length);
        answer.set(copy, UDP_HEADERS);
        return host.send([answer]);
      });
    });
    const texts = ['hello', 'x'.repeat(1400), 'y'.repeat(8900)];
    // At once: each socat waits three seconds for more.
    const socat = ['-t', '3', '-b', '9000', '-', `UDP:${GUEST}:7`];
    expect(await Promise.all(texts.map((text) => inNamespace('socat', socat, text)))).to.deep.equal(texts);
  });

  withTools('takes a bulk of datagrams that socat sends, in their order and whole', ['socat'], async () => {
    const lines = Array.from({ length: 2000 }, (_, i) => `${String(i).padStart(999, '.')}\n`);
    let came = '';
    host.bind(9, ({ data }) => {
      came += new TextDecoder().decode(data.slice());
    });
    const file = join(folder, 'lines');
    writeFileSync(file, lines.join(''));
    await inNamespace('socat', ['-u', '-b', '1000', `OPEN:${file}`, `UDP:${GUEST}:9`]);
    for (let before = -1; before !== came.length; ) {
      before = came.length;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const numbers = (came.match(/\d+(?=\n)/g) ?? []).map(Number);
    // What the kernel's queue of the device has no room for is dropped there: what comes is in order, and whole.
    expect(numbers.length).to.be.above(100);
    expect(numbers).to.deep.equal([...numbers].sort((a, b) => a - b));
    expect(came.length).to.equal(numbers.length * 1000);
  });

  withTools('sends it nothing that is too long, which is named once in the log', ['ping'], async () => {
    const lines: string[] = [];
    const heard = machine.log$.subscribe(({ source, text }) => source === tap && lines.push(text));
    execFileSync('ip', ['-n', ns, 'link', 'set', tap, 'mtu', '9500']);
    const tooLong = ['-c', '3', '-i', '0.05', '-W', '1', '-M', 'do', '-s', '9300', GUEST];
    expect(await inNamespace('ping', tooLong).catch(String)).to.match(/0 received|100% packet loss/);
    execFileSync('ip', ['-n', ns, 'link', 'set', tap, 'mtu', '9000']);
    heard.unsubscribe();
    expect(lines).to.deep.equal(['drops a frame: too-long; more are only counted']);
    expect(await inNamespace('ping', ['-c', '1', '-W', '5', '-s', '8900', GUEST])).to.match(/1 received/);
  });

  withTools(
    'leaves a capture that tcpdump reads, and in which tshark finds no frame malformed',
    ['tcpdump', 'tshark'],
    async () => {
      await host.ping(parseIpv4(KERNEL), 8);
      const file = join(folder, 'bridge.pcapng');
      const listed = await run('tcpdump', ['-nr', file]);
      expect(listed).to.include(`${showIpv4(parseIpv4(KERNEL))} > ${GUEST}: ICMP echo request`);
      const bad = await run('tshark', [
        '-r',
        file,
        '-Y',
        '_ws.malformed || ip.checksum.status == "Bad" || icmp.checksum.status == "Bad"',
      ]);
      expect(bad).to.equal('');
      const fields = await run('tshark', [
        '-r',
        file,
        '-T',
        'fields',
        '-e',
        'frame.interface_name',
        '-e',
        'frame.comment',
      ]);
      expect(fields).to.match(/vif\d+\.0-tx\ttx: flags .*; slots \d+; checksum/);
      expect(fields).to.match(/vif\d+\.0-rx\trx: flags .*; slots \d+; checksum/);
      expect(fields).to.match(/tx: flags csum_blank\|data_validated.*checksum blank/);
    },
  );

  withTools('is told in the log when the device is deleted, and goes on without it', [], async () => {
    const gone = firstValueFrom(
      machine.log$.pipe(filter(({ source, text }) => source === tap && /is gone/.test(text))),
    );
    execFileSync('ip', ['-n', ns, 'link', 'del', tap]);
    expect((await gone).level).to.equal('error');
    expect(await host.ping(parseIpv4(KERNEL), 9).catch(String)).to.match(/does not answer pings/);
  });
});
