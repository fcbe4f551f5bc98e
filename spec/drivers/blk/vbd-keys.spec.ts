import { expect } from 'chai';
import { blk } from '../../../drivers/blk/protocol.js';
import { vbdKeys } from '../../../drivers/blk/vbd-keys.js';

describe('vbdKeys', () => {
  it('gives the texts that xl writes for a read-only disk (libxl_disk.c device_disk_add)', () => {
    expect(vbdKeys({ vdev: 'xvda', params: '/images/a.img' })).to.deep.equal({
      frontend: { 'virtual-device': '51712', 'device-type': 'disk', trusted: '1' },
      backend: {
        params: '/images/a.img',
        script: '/etc/xen/scripts/block',
        removable: '0',
        bootable: '1',
        dev: 'xvda',
        type: 'phy',
        mode: 'r',
        'device-type': 'disk',
        'discard-enable': '1',
      },
    });
  });

  it('gives those of a writable, removable CD without discard to an untrusted backend', () => {
    const { frontend, backend } = vbdKeys({
      vdev: 'hdc',
      params: 'cd.iso',
      mode: 'w',
      cdrom: true,
      removable: true,
      discard: false,
      trusted: false,
    });
    expect(frontend).to.deep.equal({ 'virtual-device': '5632', 'device-type': 'cdrom', trusted: '0' });
    expect(backend).to.include({ mode: 'w', 'device-type': 'cdrom', removable: '1', 'discard-enable': '0' });
  });

  it('writes every key of the toolstack that a driver cannot do without, and only texts that the drivers take', () => {
    const texts = vbdKeys({ vdev: 'xvda', params: 'a' });
    for (const end of ['frontend', 'backend'] as const) {
      for (const [name, key] of Object.entries(blk.keys.toolstack[end])) {
        const text = (texts[end] as Readonly<Record<string, string>>)[name];
        if (text !== undefined) expect(() => key.parse(name, text)).not.to.throw();
        else expect(key.default, `${end} ${name}`).not.to.equal(undefined);
      }
    }
  });

  it('refuses a name that is no virtual device', () => {
    expect(() => vbdKeys({ vdev: 'vda', params: 'a' })).to.throw(RangeError, '"vda" names no virtual device');
  });
});
