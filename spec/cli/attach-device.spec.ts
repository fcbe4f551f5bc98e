import { expect } from 'chai';
import { domidOf } from '../../cli/attach-device.js';
import { LocalMachine } from '../../platform/local/index.js';

describe('the domain that a device is attached to', () => {
  let machine: LocalMachine;
  beforeEach(async () => {
    machine = await LocalMachine.create({ seed: 1, clock: 'simulated', memory: 16 << 20 });
  });
  afterEach(() => machine[Symbol.asyncDispose]());

  it('is that of the number before one that has the number for a name, as with xl', async () => {
    const { toolstack } = machine;
    const called2 = await toolstack.create({ name: '2' });
    const second = await toolstack.create({ name: 'second' });
    expect([called2, second]).to.eql([1, 2]);
    expect(await domidOf(toolstack, '2')).to.equal(second);
    expect(await domidOf(toolstack, 'second')).to.equal(second);
    expect(await domidOf(toolstack, '1')).to.equal(called2);
  });

  it('is dom0 by its number, and none by a name that nobody has', async () => {
    await machine.toolstack.create({ name: 'guest' });
    expect(await domidOf(machine.toolstack, '0')).to.equal(0);
    const refused = await domidOf(machine.toolstack, 'nobody').then(String, String);
    expect(refused).to.match(/there is no domain nobody: there are guest$/);
  });
});
