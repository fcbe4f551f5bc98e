import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { expect } from 'chai';
import { TerminalOutput } from '../../cli/terminal-output.js';
import { platforms } from '../../contract/index.js';
import { Cleanup } from '../../core/index.js';
import { readPart, restorePart, smallImage } from '../../examples/disk/image.js';
import { machine } from '../../examples/disk/machine.js';
import { scrambled, scratchOf } from '../../examples/disk/scratch.js';
import { type Ended, Playground, withoutTimes } from '../support/command.js';
import type { Lie } from './lying-disks.module.js';

const lyingDisks = new URL('lying-disks.module.js', import.meta.url);

const sha256 = (path: string | URL): string => createHash('sha256').update(readFileSync(path)).digest('hex');

/** A disk of so many sectors of 512 bytes that says of each byte where it lies, more or less. */
const image = (sectors: number): Uint8Array => Uint8Array.from({ length: sectors * 512 }, (_, at) => at ^ (at >> 8));

describe('splitring run disk', () => {
  let playground: Playground;
  beforeEach(() => {
    playground = new Playground();
  });
  afterEach(() => playground[Symbol.dispose]());

  const run = (...args: readonly string[]): Promise<Ended> => playground.splitring(['run', 'disk', ...args]);

  const sums = ({ stdout }: Ended): readonly (string | undefined)[] =>
    ['guest', 'file'].map((end) => new RegExp(`^${end} +sha256 ([0-9a-f]{64})$`, 'm').exec(stdout)?.[1]);

  for (const platform of ['threads', 'local']) {
    it(`reads the small image through the block driver on ${platform}, writes to a copy of it, and leaves nothing behind`, async () => {
      const before = sha256(smallImage);
      const ended = await run('--platform', platform);
      expect(ended.stderr).to.equal('');
      expect(ended.stdout).to.match(new RegExp(`^on +${platform}: `, 'm'));
      expect(ended.stdout).to.match(/^read +1 MiB +\d+\.\d ms +\d+\.\d MiB\/s$/m);
      expect(ended.code).to.equal(0);
      expect(sums(ended)).to.deep.equal([before, before]);
      expect(ended.stdout).to.match(
        /^write +256 KiB at byte 786432: written, flushed, read back, found in the file, put back$/m,
      );
      expect(ended.stdout).to.match(/^ledger +no port, grant, mapping, page or watch is left$/m);
      expect(ended.stdout).to.match(/\nok\n$/);
      expect(playground.files).to.deep.equal([]);
      expect(sha256(smallImage)).to.equal(before);
    });
  }

  const states = ({ stdout }: Ended): readonly string[] =>
    [...stdout.matchAll(/^ +\d+\.\d ms {2}(guest|backend) +\S+ +(\w+ → \w+)$/gm)].map(
      ([, end, moved]) => `${end} ${moved}`,
    );
  const handshake = [
    'backend Initialising → InitWait',
    'guest Initialising → Initialised',
    'backend InitWait → Connected',
    'guest Initialised → Connected',
    'guest Connected → Closing',
    'guest Closing → Closed',
    'backend Closing → Closed',
  ];

  it('prints the handshake as it happens, each end in order on threads, where one may tell of its step after the other of the next', async () => {
    const ended = await run();
    for (const end of ['guest', 'backend']) {
      const ofEnd = (line: string): boolean => line.startsWith(end);
      expect(states(ended).filter(ofEnd)).to.deep.equal(handshake.filter(ofEnd));
    }
  });

  it('prints the handshake as it happens, both ends in order on local, and the keys that they have exchanged', async () => {
    const ended = await run('--platform', 'local');
    const { stdout } = ended;
    expect(states(ended)).to.deep.equal(handshake);
    expect(stdout).to.match(/^guest +ring-ref=\d+ event-channel=\d+ protocol=x86_64-abi feature-persistent=1$/m);
    expect(stdout).to.match(/^backend +.*sectors=2048 sector-size=512/m);
  });

  it('repeats a run by its seed, event for event, and runs otherwise with another', async () => {
    const [seven, again, eight] = await Promise.all(['7', '7', '8'].map((seed) => run('--seed', seed)));
    const events = (ended: Ended | undefined): string => withoutTimes(ended?.stdout ?? '');
    expect(events(seven))
      .to.equal(events(again))
      .and.to.match(/^order +\d+ turns, digest [0-9a-f]{8}$/m);
    expect(events(eight).replace('--seed 8', '--seed 7')).not.to.equal(events(seven));
  });

  it('leaves an image of the user’s alone, and sees that a write to it is refused', async () => {
    const path = playground.at('a disk.img');
    writeFileSync(path, image(3001));
    chmodSync(path, 0o444);
    utimesSync(path, 1e9, 1e9);
    const [before, { mtimeMs }] = [sha256(path), statSync(path)];
    const ended = await run('--disk', 'a disk.img');
    expect(ended.stderr).to.equal('');
    expect(ended.stdout).to.match(/^\$ splitring run disk --disk 'a disk\.img' --platform threads$/m);
    expect(ended.stdout).to.match(/^disk +a disk\.img, 1\.5 MiB, read-only$/m);
    expect(ended.stdout).to.match(/^write +refused with EROFS$/m);
    expect(sums(ended)).to.deep.equal([before, before]);
    expect(ended.code).to.equal(0);
    expect([sha256(path), statSync(path).mtimeMs]).to.deep.equal([before, mtimeMs]);
    expect(playground.files).to.deep.equal(['a disk.img']);
  });

  it('writes to an image of the user’s with --write, and puts back what was there', async () => {
    const path = playground.at('d.img');
    writeFileSync(path, image(8 * 1000));
    utimesSync(path, 1e9, 1e9);
    const before = sha256(path);
    const ended = await run('--disk', path, '--write', '--sector-size', '4096');
    expect(ended.stderr).to.equal('');
    expect(ended.stdout).to.match(
      /^write +1000 KiB at byte 3072000: written, flushed, read back, found in the file, put back$/m,
    );
    expect(ended.stdout).to.match(/^backend .*sector-size=4096/m);
    expect(sums(ended)).to.deep.equal([before, before]);
    expect(ended.code).to.equal(0);
    expect(sha256(path)).to.equal(before);
    expect(statSync(path).mtimeMs).not.to.equal(1e12);
  });

  it('serves disks of a single sector', async () => {
    writeFileSync(playground.at('one.img'), image(1));
    writeFileSync(playground.at('page.img'), image(8));
    const [one, page] = await Promise.all([
      run('--disk', 'one.img', '--write'),
      run('--disk', 'page.img', '--sector-size', '4096', '--write'),
    ]);
    expect([one.code, page.code]).to.deep.equal([0, 0]);
  });

  it('takes its copy away and leaves a user’s image as it was when it is interrupted', async () => {
    const path = playground.at('d.img');
    writeFileSync(path, image(16 * 1024));
    const before = sha256(path);
    for (const args of [[], ['--disk', path, '--write']]) {
      for (const moment of ['Initialised', 'read ']) {
        const ended = await playground.splitring(['run', 'disk', ...args], moment, (child) => child.kill('SIGINT'));
        expect(ended.code).to.equal(130);
        expect(ended.stderr).to.equal('splitring: interrupted\n');
        expect(sha256(path)).to.equal(before);
        expect(playground.files).to.deep.equal(['d.img']);
      }
    }
  });

  const refused: readonly (readonly [args: readonly string[], line: RegExp])[] = [
    [['--disk', 'none.img'], /none\.img: there is no such file/],
    [['--disk', ''], /--disk "": it takes the path of an image/],
    [['--disk', 'empty.img'], /empty\.img: is empty; give it a size/],
    [
      ['--disk', 'odd.img'],
      /odd\.img: its 1000 bytes are no whole number of 512-byte sectors; extend it by truncate -s 1024/,
    ],
    [
      ['--disk', 'even.img', '--sector-size', '4096'],
      /even\.img: its 512 bytes are no whole number of 4096-byte sectors/,
    ],
    [['--disk', 'folder'], /folder: is a directory/],
    [['--disk', '/dev/null'], /\/dev\/null: is a character device; only raw image files/],
    [['--disk', 'even.img/x'], /even\.img\/x: there is no such file/],
    [['--sector-size', '513'], /--sector-size "513": it takes 512 or 4096/],
    [['--seed', '1.5'], /--seed "1\.5": it takes a whole number/],
    [['--wirte'], /unknown option '--wirte' \(Did you mean --write\?\); see splitring run disk --help/],
  ];
  for (const [args, line] of refused) {
    it(`refuses \`${args.join(' ')}\` in one line with exit code 2`, async () => {
      writeFileSync(playground.at('empty.img'), '');
      writeFileSync(playground.at('odd.img'), new Uint8Array(1000));
      writeFileSync(playground.at('even.img'), new Uint8Array(512));
      mkdirSync(playground.at('folder'));
      const { code, stdout, stderr } = await run(...args);
      expect(stderr)
        .to.match(line)
        .and.to.match(/^splitring: .*\n$/);
      expect(stdout).to.equal('');
      expect(code).to.equal(2);
    });
  }

  it('refuses an image that cannot be read, or not be written', () => {
    const path = playground.at('d.img');
    writeFileSync(path, image(1));
    const asNobody = (mode: number, write: boolean): void | Promise<void> => {
      chmodSync(path, mode);
      const root = process.geteuid?.() === 0;
      if (root) process.seteuid?.(65534);
      try {
        return machine.check?.({ disk: path, write, 'sector-size': 512 });
      } finally {
        if (root) process.seteuid?.(0);
      }
    };
    chmodSync(playground.path, 0o755);
    expect(() => asNobody(0o000, false)).to.throw(/d\.img: cannot be read \(EACCES\); make it readable/);
    expect(() => asNobody(0o444, true)).to.throw(/d\.img: cannot be opened for writing \(EACCES\); make it writable/);
    expect(() => asNobody(0o444, false)).not.to.throw();
  });

  it('says what to do when no temporary copy can be made', async () => {
    const { path } = playground;
    const ended = await playground.splitring(['run', 'disk'], '', undefined, { TMPDIR: `${path}/nowhere` });
    expect(ended.stderr).to.match(
      /^splitring: no temporary copy can be made \(ENOENT.*\): set TMPDIR to .*, or name .*--disk\n$/,
    );
    expect(ended.code).to.equal(1);
  });
});

for (const platform of platforms) {
  describe(`the disk machine on ${platform.name}`, () => {
    let playground: Playground;
    beforeEach(() => {
      playground = new Playground();
    });
    afterEach(() => playground[Symbol.dispose]());

    /** Runs it over a backend that lies. Resolves to what the image holds when all is cleaned up. */
    const runWith = async (lie: Lie, image: string): Promise<boolean> => {
      await using host = await platform.create({ seed: 1 });
      const boot = host.boot.bind(host);
      host.boot = (config) =>
        boot(config.name === 'backend' ? { ...config, module: lyingDisks, cmdline: { lie } } : config);
      using cleanup = new Cleanup();
      const out = new TerminalOutput({ write: () => {} }, {});
      return await machine.run({
        machine: host,
        options: { disk: image, write: true, 'sector-size': 512 },
        out,
        cleanup,
      });
    };

    const lies: readonly (readonly [lie: Lie, error: RegExp])[] = [
      ['flips a bit', /d\.img holds other bytes than the guest read/],
      ['forgets writes', /the guest read back other bytes than it wrote: 2 KiB at byte 6144/],
      ['keeps writes to itself', /d\.img does not hold what the guest wrote and flushed: 2 KiB at byte 6144/],
      ['writes once', /the guest \(file:.*guest\.js\) crashed: .*EIO/],
      ['fails to read', /the guest \(file:.*guest\.js\) crashed: .*EIO/],
      ['shrinks', /the guest sees 7680 bytes in sectors of 512, not 8192 in sectors of 512/],
    ];
    for (const [lie, error] of lies) {
      it(`fails over a disk that ${lie}, and leaves the image as it was`, async () => {
        const path = playground.at('d.img');
        writeFileSync(path, image(16));
        const before = sha256(path);
        const failure = await runWith(lie, path).then(String, (reason: Error) => reason.message);
        expect(failure).to.match(error);
        expect(sha256(path)).to.equal(before);
      });
    }
  });
}

describe('disk.img', () => {
  it('is 1 MiB of lines that say where they lie', () => {
    const lines = Array.from({ length: 32768 }, (_, line) => {
      const at = (line * 32).toString(16).padStart(6, '0');
      return `splitring disk.img, at 0x${at}\n`;
    });
    expect(readFileSync(smallImage, 'latin1') === lines.join('')).to.equal(true);
  });
});

describe('scratchOf', () => {
  it('is the last MiB, of a small disk the last quarter, whole sectors and at least one', () => {
    expect(scratchOf(2 ** 33, 512)).to.deep.equal({ offset: 2 ** 33 - 2 ** 20, length: 2 ** 20 });
    expect(scratchOf(2 ** 20, 4096)).to.deep.equal({ offset: 3 * 2 ** 18, length: 2 ** 18 });
    expect(scratchOf(7 * 512, 512)).to.deep.equal({ offset: 6 * 512, length: 512 });
    expect(scratchOf(4096, 4096)).to.deep.equal({ offset: 0, length: 4096 });
  });
});

describe('scrambled', () => {
  it('leaves no byte as it was, and gives sectors that were alike different bytes', () => {
    const bytes = scrambled(new Uint8Array(2048 * 512));
    expect(bytes.every((byte) => byte !== 0)).to.equal(true);
    const first = bytes.slice(0, 512);
    expect(first).not.to.deep.equal(bytes.slice(512, 1024));
  });
});

describe('restorePart', () => {
  let playground: Playground;
  beforeEach(() => {
    playground = new Playground();
  });
  afterEach(() => playground[Symbol.dispose]());

  it('puts back what an interrupted run has left, and writes nothing where nothing has changed', () => {
    const path = playground.at('d.img');
    copyFileSync(smallImage, path);
    utimesSync(path, 1e9, 1e9);
    const part = { offset: 4096, length: 1024 };
    const former = readPart(path, part);
    expect(restorePart(path, part, former)).to.equal(false);
    expect(statSync(path).mtimeMs).to.equal(1e12);
    const bytes = readFileSync(path);
    bytes.fill(0xff, 4096, 5120);
    writeFileSync(path, bytes);
    expect(restorePart(path, part, former)).to.equal(true);
    expect(sha256(path)).to.equal(sha256(smallImage));
  });

  it('leaves the holes of a sparse image that the guest did not write to', () => {
    const path = playground.at('sparse.img');
    writeFileSync(path, '');
    truncateSync(path, 1 << 20);
    const part = { offset: 0, length: 1 << 20 };
    const former = readPart(path, part);
    const fd = openSync(path, 'r+');
    writeSync(fd, 'guest', 100_000);
    closeSync(fd);
    const blocks = statSync(path).blocks;
    expect(restorePart(path, part, former)).to.equal(true);
    expect(Buffer.compare(readPart(path, part), former)).to.equal(0);
    expect(statSync(path).blocks).to.equal(blocks);
  });

  it('names the image that it cannot put right, and why (needs /dev/full)', function () {
    if (!existsSync('/dev/full')) this.skip();
    const part = { offset: 0, length: 512 };
    expect(() => restorePart('/dev/full', part, new Uint8Array(512).fill(1))).to.throw(
      /^\/dev\/full still holds some of what the guest wrote .*ENOSPC.*: take a copy of yours$/,
    );
  });
});
