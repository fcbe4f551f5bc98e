import { expect } from 'chai';
import { XenStore } from '../../../core/index.js';
import { LocalMachine } from '../../../platform/local/index.js';
import { sweep$ } from '../../../platform/xen/sweep.js';

describe('the directories of backends whose frontends’ domains are gone', () => {
  let machine: LocalMachine;
  let store: XenStore;
  let removed: string[];
  const directory = 'backend/splitring-vbd';
  const node = (domid: number): string => `/local/domain/0/${directory}/${domid}/51712/state`;

  beforeEach(async () => {
    machine = await LocalMachine.create({ seed: 1, clock: 'simulated', memory: 16 << 20 });
    store = machine.dom0.get(XenStore);
    removed = [];
  });
  afterEach(() => machine[Symbol.asyncDispose]());

  const sweep = async (): Promise<void> => {
    sweep$(store, directory).subscribe((path) => removed.push(path));
    await machine.idle();
  };

  it('are removed as the domains go, and those of an earlier process at once, with the reasons of failures', async () => {
    const guest = await machine.guest('guest');
    await store.write(node(guest.domid), '4');
    await store.write(node(77), '4');
    await store.write(`/local/domain/0/error/${directory}/77/51712/error`, '22 PeerFault');
    await sweep();
    expect(removed).to.eql([`${directory}/77`]);
    expect(await store.read(node(77))).to.equal(undefined);
    expect(await store.read(`/local/domain/0/error/${directory}/77`)).to.equal(undefined);
    expect(await store.read(node(guest.domid))).to.equal('4');
    await machine.toolstack.destroy(guest.domid);
    await machine.idle();
    expect(removed).to.eql([`${directory}/77`, `${directory}/${guest.domid}`]);
    expect(await store.directory(`/local/domain/0/${directory}`)).to.equal(undefined);
  });

  it('take nothing with them that comes while they are removed: a guest that reboots is another domain', async () => {
    const guest = await machine.guest('guest');
    await store.write(node(77), '4');
    let attached: Promise<void> | undefined;
    sweep$(store, directory).subscribe(() => {
      attached ??= store.write(node(guest.domid), '1');
    });
    await machine.idle();
    await attached;
    expect(await store.read(node(guest.domid))).to.equal('1');
    expect(await store.read(node(77))).to.equal(undefined);
  });

  it('stay where this domain may not know of others', async () => {
    const driver = await machine.guest('driver');
    const own = driver.get(XenStore);
    const path = `/local/domain/${driver.domid}/${directory}/77/51712/state`;
    await store.write(path, '4');
    await store.setPermissions('/local/domain', [{ domid: 0 as typeof driver.domid, access: 'n' }]);
    sweep$(own, directory).subscribe({
      next: (gone) => removed.push(gone),
      error: (error) => removed.push(String(error)),
    });
    await machine.idle();
    expect(removed).to.eql([]);
    expect(await store.read(path)).to.equal('4');
  });
});
