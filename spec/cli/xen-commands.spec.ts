import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { exampleAt, Playground } from '../support/command.js';

const RNG = exampleAt('rng/backend.js');
const onXen = existsSync('/sys/hypervisor/type');

describe('splitring on real Xen', () => {
  let playground: Playground;
  beforeEach(() => {
    playground = new Playground();
  });
  afterEach(() => playground[Symbol.dispose]());

  /** Ends with this code, and one line on stderr. */
  const expectRefusal = async (args: readonly string[], expected: number, line: RegExp): Promise<void> => {
    const { code, stdout, stderr } = await playground.splitring(args);
    expect(stderr)
      .to.match(line)
      .and.to.match(/^splitring: .*\n$/);
    expect({ code, stdout }).to.eql({ code: expected, stdout: '' });
  };

  const refused: readonly (readonly [args: readonly string[], line: RegExp])[] = [
    [['backend'], /splitring backend needs a class; see splitring backend --help/],
    [['backend', 'tape'], /there is no driver tape; there (is|are) .*blk/],
    [['backend', './none.js'], /there is no module \.\/none\.js: name a compiled module by its path/],
    [['backend', 'blk', '--config', 'none.json'], /--config none\.json cannot be read: .*ENOENT/],
    [['backend', 'blk', '--speed', '9'], /unknown option '--speed'; see splitring backend blk --help/],
    [['backend', 'net', 'more'], /unexpected argument more; see splitring backend net --help/],
    [['backend', 'net', '--bridge', 'br1'], /--bridge br1 is for a TAP device: name one with --tap/],
    [['backend', 'net', '--tap', 'a name'], /--tap a name: an interface's name has up to 15 letters/],
    [['backend', 'net', '--pcap', ''], /--pcap "": it takes the path of a folder/],
    [['backend', 'net', '--pcap', '/dev/null/x'], /--pcap \/dev\/null\/x: it is no folder/],
    [['backend', 'net', '--pcap', '/proc/x'], /--pcap \/proc\/x: no folder can be made there/],
    [['backend', 'net', '--tap', 'lo'], /--tap lo: (there is an interface lo|a TAP device needs root|there is no)/],
    [['backend', '--config', 'none.json', 'blk'], /--config none\.json cannot be read: .*ENOENT/],
    [['attach'], /splitring attach needs a domain/],
    [['attach', 'guest'], /splitring attach needs a class of devices/],
    [['attach', 'guest', 'blk', '--vdev', 'xvdb'], /--disk is missing; see splitring attach DOMAIN blk --help/],
    [['attach', 'guest', 'blk', '--disk', 'x', '--vdev', 'zebra'], /--vdev "zebra": .*names no virtual device/],
    [['attach', 'guest', 'blk', 'more'], /unexpected argument more|--vdev is missing/],
    [['attach', 'guest', 'net'], /--mac is missing; see splitring attach DOMAIN net --help/],
    [['attach', 'guest', 'net', '--mac', 'zz'], /--mac "zz": an Ethernet address is six bytes/],
    [['attach', 'guest', 'net', '--mac', '00:16:3e:00:00:01', '--rate', '9'], /--rate "9": a rate is like 10MB\/s/],
    [['attach', 'guest', 'net', '--mac', '00:16:3e:00:00:01', '--mtu', '9'], /--mtu "9": it takes a whole number/],
    [['backend', 'blk', '--type', ''], /--type "": it takes letters, digits, - and _/],
    [['attach', 'guest', 'blk', '--type', 'a/b'], /--type "a\/b": it takes letters, digits, - and _/],
    [['attach', 'guest', RNG, '--id', 'a/b'], /--id "a\/b": it takes letters, digits, - and _/],
    [['detach', 'guest', 'blk'], /--vdev is missing; see splitring detach DOMAIN blk --help/],
    [['detach', 'guest', 'blk', '--disk', 'x'], /unknown option '--disk'; see splitring detach DOMAIN blk --help/],
  ];
  for (const [args, line] of refused) {
    it(`refuses \`${['splitring', ...args].join(' ')}\` in one line, with 2`, () => expectRefusal(args, 2, line));
  }

  const configs: readonly (readonly [text: string, line: RegExp])[] = [
    ['{', /--config c\.json is not JSON: /],
    ['[]', /--config c\.json holds no object/],
    ['{"io":"async"}', /--config c\.json has a key io; there are cmdline and offer/],
    ['{"offer":1}', /--config c\.json: offer is no object/],
  ];
  for (const [text, line] of configs) {
    it(`refuses a configuration that is ${text}`, async () => {
      writeFileSync(playground.at('c.json'), text);
      await expectRefusal(['backend', 'blk', '--config', 'c.json'], 2, line);
    });
  }

  it('refuses a module without a backend', async () => {
    const frontend = fileURLToPath(new URL('../../examples/rng/frontend.js', import.meta.url));
    await expectRefusal(
      ['backend', frontend],
      1,
      /exports no backend: name a module that exports one class with @backend/,
    );
  });

  const title = 'says in one line that this machine does not run on Xen, and ends with 1';
  (onXen ? it.skip : it)(onXen ? `${title} (this one does)` : title, async () => {
    const line =
      /this machine does not run on Xen \(there is no \/sys\/hypervisor\/type\): start it in dom0 or in a guest/;
    await expectRefusal(['backend', 'blk'], 1, line);
    await expectRefusal(['attach', 'guest', 'blk', '--disk', 'x', '--vdev', 'xvdb'], 1, line);
    await expectRefusal(['detach', 'guest', 'blk', '--vdev', 'xvdb'], 1, line);
  });

  it('shows what a class takes when it is asked for help after its name', async () => {
    const { code, stdout } = await playground.splitring(['attach', 'guest', 'blk', '--help']);
    expect(code).to.equal(0);
    for (const option of ['--vdev <VDEV>', '--disk <FILE>', '--readonly', '--backend <DOMAIN>', '--type <NAME>']) {
      expect(stdout).to.include(option);
    }
  });
});
