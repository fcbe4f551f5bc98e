// A capture, as others' programs read it.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Subject } from 'rxjs';
import type { Page } from '../../../../core/index.js';
import { type Checksum, Frame } from '../../../../drivers/net/frame.js';
import { pcapng$ } from '../../../../drivers/net/pcapng.js';
import type { Passing } from '../../../../drivers/net/vif.js';
import type { GsoType } from '../../../../drivers/net/wire.js';
import { packetOf } from '../packets.js';

const has = (tool: string): boolean =>
  (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, tool)));

const to = Uint8Array.of(0, 0x16, 0x3e, 0, 0, 1);
const from = Uint8Array.of(0, 0x16, 0x3e, 0, 0, 2);
const BEGIN = Date.UTC(2026, 10, 22, 10, 0, 0);

/** Frames of all lengths and states, 0.25 ms one after the other. */
const captured = (): { readonly file: Uint8Array; readonly count: number } => {
  const passing$ = new Subject<Passing>();
  const blocks: Uint8Array[] = [];
  let now = BEGIN;
  pcapng$({ name: 'vif7.0', passing$ }, () => now).subscribe((block) => blocks.push(block));
  let count = 0;
  const pass = (bytes: Uint8Array, sum: Checksum, type: GsoType = 0, size = 0): void => {
    const page: Page = { bytes, words: new Int32Array(0), [Symbol.dispose]() {} };
    const frame = new Frame(page);
    frame.set(0, bytes.length, sum, type, size);
    const slots = Math.ceil(bytes.length / 4096);
    passing$.next({
      direction: count % 2 === 0 ? 'tx' : 'rx',
      frame,
      flags: (slots > 1 ? 4 : 0) | (type === 0 ? 0 : 8) | (sum === 2 ? 3 : 0),
      slots,
      extras: type === 0 ? 0 : 2,
    });
    count++;
    now += 0.25;
  };
  for (const version of [4, 6] as const) {
    for (const payload of [0, 1, 2, 3, 1400, 8900]) {
      pass(packetOf({ to, from, version, protocol: 'udp', payload }), 1);
      pass(packetOf({ to, from, version, protocol: 'udp', payload, blank: true }), 2);
    }
    const headers = version === 4 ? 54 : 74;
    pass(packetOf({ to, from, version, payload: 65_535 - headers, blank: true }), 2, version === 4 ? 1 : 2, 1448);
  }
  passing$.complete();
  return { file: Uint8Array.from(blocks.flatMap((block) => [...block])), count };
};

describe('a capture, as others read it', function () {
  this.timeout(60_000);
  let folder: string;
  let file: string;
  let count: number;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'splitring-capture-'));
    file = join(folder, 'vif.pcapng');
    const made = captured();
    count = made.count;
    writeFileSync(file, made.file);
  });
  after(() => rmSync(folder, { recursive: true }));

  const withTool = (title: string, tool: string, body: () => void): void => {
    if (has(tool)) it(title, body);
    else it.skip(`${title} (skipped: there is no ${tool})`, () => {});
  };
  /** What a program prints, which may complain of nothing but being run by root. */
  const said = (tool: string, ...args: readonly string[]): string => {
    const { stdout, stderr, status } = spawnSync(tool, args, { encoding: 'utf8' });
    const complaints = stderr
      .split('\n')
      .filter((line) => line !== '' && !/^Running as user|^reading from file/.test(line));
    expect(complaints).to.deep.equal([]);
    expect(status).to.equal(0);
    return stdout;
  };

  withTool('is whole, in order, and has an interface for each direction: capinfos', 'capinfos', () => {
    const text = said('capinfos', '-M', file);
    expect(text).to.match(new RegExp(`Number of packets: +${count}$`, 'm'));
    expect(text).to.match(/Strict time order: +True/);
    expect(text).to.match(/First packet time: +2026-11-22 \d\d:00:00\.000000000/);
    expect(text).to.match(/Capture duration: +0\.006250000 seconds/);
    expect(text).to.match(/Number of interfaces in file: 2/);
    expect(text).to.match(/Name = vif7\.0-tx[\s\S]*Name = vif7\.0-rx/);
  });

  withTool('has nothing malformed, and no error or warning: tshark', 'tshark', () => {
    const checks = ['-o', 'udp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE'];
    const found = said('tshark', '-r', file, ...checks, '-q', '-z', 'expert');
    // Checksums that are blank are wrong until they are finished, and the comments say which those are.
    const groups = [...found.matchAll(/^(\w+)s \(\d+\)/gm)].map(([, group]) => group);
    expect(groups.filter((group) => group !== 'Comment' && group !== 'Error')).to.deep.equal([]);
    const wrong = said(
      'tshark',
      ...[
        '-r',
        file,
        ...checks,
        '-Y',
        '_ws.expert.severity == error || _ws.malformed',
        '-T',
        'fields',
        '-e',
        'frame.comment',
      ],
    );
    for (const line of wrong.split('\n')) if (line !== '') expect(line).to.match(/checksum blank/);
    const longest = said('tshark', '-r', file, '-Y', 'frame.len == 65535', '-T', 'fields', '-e', 'frame.comment');
    expect(longest.trim().split('\n')).to.deep.equal([
      'tx: flags csum_blank|data_validated|more_data|extra_info; slots 16; checksum blank; extra gso tcpv4, segments of 1448',
      'rx: flags csum_blank|data_validated|more_data|extra_info; slots 16; checksum blank; extra gso tcpv6, segments of 1448',
    ]);
  });

  withTool('is listed to its end, its times to the microsecond: tcpdump', 'tcpdump', () => {
    const lines = said('tcpdump', '-ttttnr', file).trim().split('\n');
    expect(lines).to.have.length(count);
    expect(lines[1]).to.match(/00:00\.000250 /);
    expect(lines.join('\n')).not.to.match(/truncated|\[\|/);
  });

  withTool('is taken by editcap, which writes it as a pcap', 'editcap', () => {
    const other = join(folder, 'vif.pcap');
    execFileSync('editcap', ['-F', 'nsecpcap', file, other], { stdio: 'ignore' });
    expect(existsSync(other)).to.equal(true);
  });
});
