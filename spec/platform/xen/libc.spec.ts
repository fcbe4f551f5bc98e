import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { failure } from '../../support/failure.js';

const compiled = fileURLToPath(new URL('../../../platform/xen/', import.meta.url));

describe('the calls of the C library', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'splitring-libc-'));
    for (const name of ['libc.js', 'unavailable.js']) cpSync(join(compiled, name), join(folder, name));
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const load = async (): Promise<Error> => {
    const { loadLibc } = await import(pathToFileURL(join(folder, 'libc.js')).href);
    return failure(loadLibc());
  };

  it('say in one line that koffi is not installed, and how to mend that', async () => {
    const { name, message } = await load();
    expect(name).to.equal('XenUnavailable');
    expect(message).to.match(
      /^real Xen is reached through the package koffi, and it is not installed: npm install koffi [^\n]*$/,
    );
  });

  it('say what koffi says where it does not load', async () => {
    const koffi = join(folder, 'node_modules/koffi');
    mkdirSync(koffi, { recursive: true });
    writeFileSync(join(koffi, 'package.json'), '{ "type": "module", "exports": "./index.js" }');
    writeFileSync(join(koffi, 'index.js'), "throw new Error('Cannot find the native\\nmodule for this machine');");
    expect((await load()).message).to.match(
      /koffi, and Error: Cannot find the native module for this machine: [^\n]*$/,
    );
  });
});
