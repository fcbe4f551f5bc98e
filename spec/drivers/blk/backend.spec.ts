import { renameSync } from 'node:fs';
import { expect } from 'chai';
import { XenStore } from '../../../core/index.js';
import { vbdKeys } from '../../../drivers/blk/vbd-keys.js';
import { blkifRsp } from '../../../drivers/blk/wire.js';
import { contentOf, differing, pattern } from './images.js';
import { RawFrontend } from './raw-frontend.js';
import { onRawFrontends, type RawSetup, read, write } from './raw-rig.js';

const { okay } = blkifRsp;

onRawFrontends('the backend of class vbd', ({ images, calls, rig, boot, withFrontend }) => {
  describe('says what it serves:', () => {
    const keysOf = async (setup: RawSetup): Promise<Readonly<Record<string, string | undefined>>> => {
      const found: Record<string, string | undefined> = {};
      await withFrontend(setup, async ({ otherendPath }, _image, { machine }) => {
        const store = machine.dom0.get(XenStore);
        for (const name of (await store.directory(otherendPath)) ?? []) {
          found[name] = await store.read(`${otherendPath}/${name}`);
        }
      });
      return found;
    };

    it('flush, persistent grants, the size in units of 512 bytes, the sectors, and no more than it has (blkif.h)', async () => {
      const { frontend, 'frontend-id': _id, online, state, params, ...rest } = await keysOf({});
      expect(rest).to.deep.equal({
        script: '/etc/xen/scripts/block',
        removable: '0',
        bootable: '1',
        dev: 'xvda',
        type: 'phy',
        mode: 'w',
        'device-type': 'disk',
        'discard-enable': '1',
        'feature-flush-cache': '1',
        'feature-persistent': '1',
        sectors: '64',
        'sector-size': '512',
        'physical-sector-size': '512',
        info: '0',
      });
    });

    it('4096-byte sectors, of which sectors still counts 512-byte units (blkif.h)', async () => {
      expect(await keysOf({ disk: { sectorSize: 4096 } })).to.include({
        sectors: '64',
        'sector-size': '4096',
        'physical-sector-size': '4096',
      });
    });

    it('that it is a CD, removable, read-only (blkif.h VDISK_CDROM, VDISK_REMOVABLE, VDISK_READONLY)', async () => {
      expect(await keysOf({ mode: 'r' })).to.include({ info: '4' });
      expect(await keysOf({ mode: 'r', cdrom: true, removable: true, vdev: 'xvdb' })).to.include({ info: '7' });
    });

    it('why it cannot serve a disk, once, and closes', async () => {
      const { machine, guest } = rig();
      const backend = await boot();
      const lines: string[] = [];
      machine.log$.subscribe(({ level, text }) => level === 'error' && lines.push(text));
      const params = `${images.make(8)}.not`;
      const keys = vbdKeys({ vdev: 'xvda', params });
      await machine.toolstack.attach({ device: 'vbd', id: 51712, frontend: guest.domid, backend, keys });
      // The guest has no driver yet, and stays Initialising.
      await machine.idle();
      const store = machine.dom0.get(XenStore);
      const path = `backend/vbd/${guest.domid}/51712`;
      const why = `DiskError: ${params}: there is no such file; check the path, or make an image with truncate -s 16M`;
      expect(await store.read(`/local/domain/${backend}/error/${path}/error`)).to.equal(`5 ${why}`);
      expect(await store.read(`/local/domain/${backend}/${path}/state`)).to.equal('6');
      expect(lines).to.deep.equal([why]);
    });

    it('why it cannot serve a disk, and serves it when the frontend begins anew and it can', async () => {
      const { machine, guest } = rig();
      const backend = await boot();
      const params = images.make(8);
      const hidden = `${params}.hidden`;
      renameSync(params, hidden);
      const frontend = await RawFrontend.attach(machine, guest, { params, backend });
      await machine.idle();
      renameSync(hidden, params);
      await frontend.store.write(`${frontend.path}/state`, '6');
      await machine.idle();
      await frontend.store.write(`${frontend.path}/state`, '1');
      await frontend.share();
      expect(await frontend.statuses(read(0, { gref: frontend.shareMore().ref }))).to.deep.equal([okay]);
      await frontend.close();
    });
  });

  it('closes the link of a frontend that publishes more than its ring holds, and no other (XSA-39)', async () => {
    const { machine, guest } = rig();
    const backend = await boot();
    const [image, other] = [images.make(64), images.make(64)];
    const liar = await RawFrontend.connect(machine, guest, { mode: 'w', params: image, backend });
    const honest = await RawFrontend.connect(machine, guest, { mode: 'w', params: other, backend, vdev: 'xvdb' });
    liar.submit(write(0, { gref: liar.shareMore().ref }));
    liar.publish(33);
    await machine.idle();
    expect(await liar.store.read(`${liar.otherendPath}/state`)).to.equal('5');
    const error = `/local/domain/${backend}/error/backend/vbd/${guest.domid}/51712/error`;
    expect(await machine.dom0.get(XenStore).read(error)).to.match(/^22 PeerFault: .*req_prod.* 33$/);
    expect(differing(contentOf(image), pattern(64))).to.deep.equal([]);
    expect(await honest.statuses(write(0, { gref: honest.shareMore().ref }))).to.deep.equal([okay]);
    await liar.close();
    await honest.close();
  });

  it('writes nothing that a guest has not asked for when the guest dies with its ring full', async () => {
    const { machine } = rig();
    const backend = await boot();
    const image = images.make(512);
    const guest = await machine.guest('mortal');
    const frontend = await RawFrontend.connect(machine, guest, { mode: 'w', params: image, backend });
    const pages = frontend.shareMore(32);
    pages.bytes.fill(0x13);
    for (const [i, gref] of pages.refs.entries()) frontend.submit(write(i * 16, { gref }));
    frontend.push();
    await machine.toolstack.destroy(guest.domid);
    await machine.idle();
    const disk = pattern(512);
    const written = differing(contentOf(image), disk);
    expect(written.every((sector) => sector % 16 < 8)).to.equal(true);
    for (const sector of written) disk.fill(0x13, sector * 512, (sector + 1) * 512);
    expect(differing(contentOf(image), disk)).to.deep.equal([]);
    expect(calls.at(-1)).to.deep.equal({ call: 'close' });
  });

  it('closes its disk with the link, and opens it again for the next', async () => {
    const { machine, guest } = rig();
    const backend = await boot();
    const image = images.make(64);
    const frontend = await RawFrontend.connect(machine, guest, { mode: 'w', params: image, backend });
    await frontend.store.write(`${frontend.path}/state`, '6');
    await frontend.backendIs('6');
    expect(calls).to.deep.equal([{ call: 'close' }]);
    await frontend.store.write(`${frontend.path}/state`, '1');
    await frontend.share();
    expect(calls).to.deep.equal([{ call: 'close' }]);
    await frontend.close();
    expect(calls).to.deep.equal([{ call: 'close' }, { call: 'close' }]);
  });
});
