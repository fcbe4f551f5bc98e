import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { readCapture } from '../../drivers/net/pcap-reader.js';
import { type Ended, Playground, withoutTimes } from '../support/command.js';

describe('splitring run net', () => {
  let playground: Playground;
  beforeEach(() => {
    playground = new Playground();
  });
  afterEach(() => playground[Symbol.dispose]());

  const run = (...args: readonly string[]): Promise<Ended> =>
    playground.splitring(['run', 'net', '--bulk', '1', ...args]);

  for (const platform of ['threads', 'local']) {
    it(`lets two guests on one bridge resolve, ping and send to each other on ${platform}, and leaves nothing behind`, async () => {
      const ended = await run('--platform', platform);
      expect(ended.stderr).to.equal('');
      expect(ended.stdout).to.match(/^arp +10\.0\.0\.2 is at 00:16:3e:00:00:02, \d+\.\d ms$/m);
      expect(ended.stdout.match(/^ping +56 bytes, sequence \d: \d+\.\d ms$/gm)).to.have.length(3);
      expect(ended.stdout).to.match(/^bulk +713 datagrams, 1 MiB, none lost, \d+\.\d Gbit\/s$/m);
      expect(ended.stdout).to.match(/^ledger +no port, grant, mapping, page or watch is left$/m);
      expect(ended.stdout).to.match(/\nok\n$/);
      expect(ended.code).to.equal(0);
    });
  }

  it('shows the keys by which the two ends have agreed', async () => {
    const { stdout } = await run();
    expect(stdout).to.match(
      /^guest +tx-ring-ref=\d+ event-channel-tx=\d+ rx-ring-ref=\d+ event-channel-rx=\d+ .*request-rx-copy=1/m,
    );
    expect(stdout).to.match(/^bridge +feature-rx-copy=1 .*multi-queue-max-queues=8 carrier=1$/m);
  });

  it('sends frames of any size', async () => {
    const { stdout } = await run('--mtu', '65000');
    expect(stdout).to.match(/^bulk +17 datagrams, 1\.1 MiB, none lost/m);
  });

  it('repeats itself by a seed, event for event', async () => {
    const [one, two] = [await run('--seed', '11'), await run('--seed', '11')];
    const told = ({ stdout }: Ended): string => withoutTimes(stdout).replace(/[\d.]+ Gbit\/s/, '');
    expect(told(one)).to.equal(told(two));
    expect(told(one)).to.match(/^order +\d+ turns, digest [0-9a-f]{8}$/m);
  });

  it('writes a capture, and plays one', async () => {
    const folder = join(playground.path, 'captures');
    const ended = await run('--pcap', folder);
    expect(ended.stdout).to.match(/^pcap +.*bridge\.pcapng, /m);
    const packets = readCapture(readFileSync(join(folder, 'bridge.pcapng')));
    // Each goes through two interfaces.
    expect(packets.length).to.be.above(2 * (713 + 8));
    const other = packets[0]?.bytes.slice() ?? new Uint8Array();
    other[11] = 0x77; // another station
    const file = join(playground.path, 'one.pcap');
    const header = new DataView(new ArrayBuffer(40 + other.length));
    header.setUint32(0, 0xa1b2c3d4, true);
    header.setUint32(20, 1, true);
    header.setUint32(32, other.length, true);
    header.setUint32(36, other.length, true);
    new Uint8Array(header.buffer).set(other, 40);
    writeFileSync(file, new Uint8Array(header.buffer));
    const replayed = await run('--replay', file);
    expect(replayed.stdout).to.match(/^replay +1 packets of /m);
    expect(replayed.code).to.equal(0);
  });

  it('goes on without a capture that cannot be written to, and says so once', async () => {
    const folder = join(playground.path, 'captures');
    mkdirSync(join(folder, 'bridge.pcapng'), { recursive: true });
    const ended = await run('--pcap', folder);
    expect(ended.stdout.match(/the capture in .* is given up: EISDIR/g)).to.have.length(1);
    expect(ended.stdout).to.match(/^bulk +713 datagrams, 1 MiB, none lost/m);
  });

  describe('is refused in one line, exit code 2:', () => {
    for (const [what, args, why] of [
      ['a MAC that is none', ['--mac', 'zz'], /--mac "zz": an Ethernet address is six bytes/],
      ['a MAC of a group', ['--mac', '01:00:5e:00:00:01'], /address of a group/],
      ['an MTU that cannot be', ['--mtu', '70000'], /--mtu "70000": it takes a whole number from 576 to 65000/],
      ['a capture that is not there', ['--replay', 'nowhere.pcap'], /--replay nowhere\.pcap: there is no such file/],
      ['a capture that is a folder', ['--replay', '.'], /--replay \.: it is a folder/],
      [
        'a MAC that the other guest has',
        ['--mac', '00:16:3E:00:00:02'],
        /--mac 00:16:3E:00:00:02 is the other guest's/,
      ],
      ['a folder that is a file', ['--pcap', 'file'], /--pcap file: it is no folder/],
      ['a folder in a file', ['--pcap', 'file/captures'], /--pcap file\/captures: it is no folder/],
      ['a folder where none can be made', ['--pcap', '/proc/splitring'], /--pcap \/proc\/splitring: /],
      ['a folder without a name', ['--pcap', ''], /--pcap "": it takes the path of a folder/],
      ['an option without a value', ['--replay'], /--replay/],
      ['a TAP device with a bad name', ['--tap', 'a/b'], /--tap a\/b: /],
      [
        'a TAP device that is another interface',
        ['--tap', 'lo'],
        /--tap lo: (there is an interface lo|a TAP device needs root|there is no \/dev)/,
      ],
      ['a bridge without a TAP device', ['--bridge', 'br0'], /--bridge br0 is for a TAP device/],
      [
        'a TAP device on a bridge that is not there, or without root',
        ['--tap', 'srt9', '--bridge', 'srt-none'],
        /--tap srt9: (there is no Linux bridge srt-none|a TAP device needs root|there is no \/dev)/,
      ],
    ] as const) {
      it(what, async () => {
        mkdirSync(playground.path, { recursive: true });
        writeFileSync(join(playground.path, 'file'), 'no capture');
        const ended = await run(...args);
        expect(ended.stderr).to.match(why);
        expect(ended.stderr.trim().split('\n')).to.have.length(1);
        expect(ended.code).to.equal(2);
      });
    }

    const canBeOther = process.getuid?.() === 0 && process.platform === 'linux';
    const asNobody = 'a TAP device for who is not root';
    (canBeOther ? it : it.skip)(
      canBeOther ? asNobody : `${asNobody} (skipped: only root can be somebody else)`,
      async function () {
        // Whoever may not read the checkout cannot run it.
        chmodSync(playground.path, 0o777);
        const ended = await playground.splitring(['run', 'net', '--tap', 'srt9'], '', () => {}, {}, 65534);
        if (/EACCES|Cannot find module/.test(ended.stderr)) {
          if (this.test !== undefined) this.test.title += ' (skipped: only its owner may read this checkout)';
          return this.skip();
        }
        expect(ended.stderr).to.match(/^splitring: --tap srt9: a TAP device needs root[^\n]*\n$/);
        expect(ended.code).to.equal(2);
      },
    );
  });
});

describe('splitring run disk+net', () => {
  it('runs both on one machine, one after the other, with the options of both', async () => {
    using playground = new Playground();
    const ended = await playground.splitring(['run', 'disk+net', '--bulk', '1', '--sector-size', '4096']);
    expect(ended.stderr).to.equal('');
    expect(ended.stdout).to.match(/^read +1 MiB .*$/m);
    expect(ended.stdout).to.match(/^bulk +713 datagrams/m);
    expect(ended.stdout.match(/^ledger /gm)).to.have.length(2);
    expect(ended.code).to.equal(0);
  });

  it('is refused with a name that is none, exit code 2', async () => {
    using playground = new Playground();
    const ended = await playground.splitring(['run', 'disk+nut']);
    expect(ended.stderr).to.match(/there is no machine nut/);
    expect(ended.code).to.equal(2);
  });
});
