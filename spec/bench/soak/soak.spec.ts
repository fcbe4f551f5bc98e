import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { inMemory } from '../../../bench/soak/folder.js';
import { Soak, type SoakResult } from '../../../bench/soak/soak.js';

/** What a busy machine may take to boot six threads, and to end them. */
const PATIENCE = 120_000;

describe('npm run soak', function () {
  this.timeout(PATIENCE);
  let folder: string;
  let lines: string[];
  const soak = (options: { readonly seconds: number; readonly signal?: AbortSignal; readonly onLine?: () => void }) =>
    Soak.run({
      seed: 7,
      interval: 1,
      linesPerLook: 2,
      sectors: 1024,
      folder,
      signal: new AbortController().signal,
      ...options,
      say: (line) => {
        lines.push(line);
        options.onLine?.();
      },
    });
  const expectWell = ({ differences, requests, connections }: SoakResult): void => {
    expect(differences, lines.join('\n')).to.deep.equal([]);
    expect(requests).to.be.above(0);
    expect(connections).to.be.at.least(4);
  };

  beforeEach(() => {
    folder = mkdtempSync(join(inMemory() ?? tmpdir(), 'splitring-spec-'));
    lines = [];
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('loads four guests while disks and domains come and go, and finds each byte right and nothing left', async () => {
    const result = await soak({ seconds: 4 });
    expectWell(result);
    expect(lines).to.have.length(4);
    expect(result.samples).to.have.length(2);
    expect(readdirSync(folder)).to.deep.equal([]);
  });

  it('comes to its end at once when it is interrupted, and has still compared everything', async () => {
    const controller = new AbortController();
    const result = await soak({ seconds: 600, signal: controller.signal, onLine: () => controller.abort() });
    expectWell(result);
    expect(result.interrupted).to.equal(true);
  });

  it('tells which byte is not what was written', async () => {
    const spoil = (): void => {
      const fd = openSync(join(folder, readdirSync(folder)[0] ?? '', 'disk.img'), 'r+');
      for (let sector = 0; sector < 1024; sector++)
        writeSync(fd, new Uint8Array(8).fill(255), 0, 8, sector * 512 + 100);
      closeSync(fd);
    };
    const { differences } = await soak({ seconds: 20, onLine: spoil });
    expect(differences[0]).to.match(/sector [0-9]+ differs from byte [0-9]+ \(of 512\) on: it must hold version/);
  });
});
