import { stripVTControlCharacters } from 'node:util';
import { expect } from 'chai';
import { TerminalOutput } from '../../cli/terminal-output.js';
import { asDomid } from '../../core/index.js';

/** What was written, in pieces. */
const outputTo = (
  { columns, isTTY = true }: { readonly columns?: number; readonly isTTY?: boolean },
  env: NodeJS.ProcessEnv = {},
): { readonly out: TerminalOutput; readonly written: string[] } => {
  const written: string[] = [];
  const stream = { isTTY, columns: columns ?? 80, write: (text: string) => written.push(text) };
  return { out: new TerminalOutput(stream, env), written };
};

const entry = { time: 12.34, domid: asDomid(1), domain: 'guest', source: 'device/vbd/51712', level: 'info' } as const;

describe('TerminalOutput', () => {
  it('writes to a pipe lines alone: no colour, no bar, nothing that moves a cursor', () => {
    const { out, written } = outputTo({ isTTY: false });
    out.row('disk', 'x');
    const progress = out.progress('read', 1024);
    progress.update(512);
    out.log({ ...entry, level: 'warning', text: 'slow' });
    progress.end(2000);
    expect(written).to.deep.equal([
      'disk    x\n',
      '   12.3 ms  guest  device/vbd/51712  warning: slow\n',
      'read    1 KiB   2000.0 ms       0.0 MiB/s\n',
    ]);
  });

  it('aligns the columns of the log with the widest so far', () => {
    const { out, written } = outputTo({ isTTY: false });
    out.log({ ...entry, text: 'a' });
    out.log({ ...entry, domain: 'b', source: 'x', text: 'c' });
    expect(written.map((line) => line.search(/\S\n/))).to.deep.equal([37, 37]);
  });

  it('draws a bar below the lines on a terminal, and takes it away', () => {
    const { out, written } = outputTo({ columns: 60 });
    const progress = out.progress('read', 100);
    progress.update(50);
    out.line('above');
    progress.end(1);
    const drawn = written.join('').replaceAll('\x1b', '^');
    expect(drawn).to.match(
      /^\r\^\[Kread {4}░+ {3}0% .*\r\^\[Kabove\n\r\^\[Kread {4}█+░+ {2}50% .*\r\^\[K\^\[1mread .*\n$/,
    );
  });

  it('never draws a bar into the last column, however narrow the terminal', () => {
    for (let columns = 1; columns <= 130; columns++) {
      const { out, written } = outputTo({ columns });
      out.progress('read', 100).update(100);
      const [bar = ''] = written;
      expect(stripVTControlCharacters(bar).replace('\r', '').length, `${columns}`).to.be.below(Math.max(columns, 1));
    }
  });

  it('takes the width from COLUMNS before that of the terminal', () => {
    const { out, written } = outputTo({ columns: 100 }, { COLUMNS: '30' });
    out.progress('read', 100);
    expect(stripVTControlCharacters(written.join('')).length).to.be.below(31);
  });

  it('breaks a row between words on a narrow terminal, under its text', () => {
    const { out, written } = outputTo({ columns: 20 }, { NO_COLOR: '1' });
    out.row('keys', 'ring-ref=8 port=1 protocol=x86_64-abi');
    expect(written).to.deep.equal(['keys    ring-ref=8\n        port=1\n        protocol=x86_64-abi\n']);
  });

  it('colours on a terminal, but where NO_COLOR is set or the terminal is dumb', () => {
    const written = ([{}, { NO_COLOR: '1' }, { TERM: 'dumb' }] as const).map((env) => {
      const { out, written } = outputTo({}, env);
      out.log({ ...entry, level: 'error', text: 'bad' });
      return written.join('');
    });
    expect(written[0]).to.include('\x1b[31merror: bad\x1b[39m');
    expect(written.slice(1).join('')).not.to.include('\x1b');
  });

  it('remembers who waits, until they go on', () => {
    const { out } = outputTo({});
    out.log({ ...entry, level: 'warning', text: 'waiting for the backend' });
    out.log({ ...entry, domain: 'backend', text: 'Initialising → InitWait' });
    expect(out.waits).to.deep.equal(['guest device/vbd/51712: waiting for the backend']);
    out.log({ ...entry, text: 'Initialising → Initialised' });
    expect(out.waits).to.deep.equal([]);
  });
});
