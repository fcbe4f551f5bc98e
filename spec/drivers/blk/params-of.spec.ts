import { expect } from 'chai';
import { DiskError } from '../../../drivers/blk/disk.js';
import { paramsOf } from '../../../drivers/blk/params-of.js';

describe('the disk that a toolstack means', () => {
  it('is what params says', () => {
    expect(paramsOf({ type: 'phy', params: '/srv/a.img' })).to.equal('/srv/a.img');
    expect(paramsOf({ type: 'phy', params: 'aio:/srv/a.img' })).to.equal('aio:/srv/a.img');
  });

  it('follows the format where xl takes the backend for QEMU’s (libxl__device_disk_string_of_format)', () => {
    expect(paramsOf({ type: 'qdisk', params: 'aio:/srv/a.img' })).to.equal('/srv/a.img');
    expect(paramsOf({ type: 'qdisk', params: 'raw:/srv/with:colon' })).to.equal('/srv/with:colon');
    expect(paramsOf({ type: 'qdisk', params: '/srv/a:b' })).to.equal('/srv/a:b');
  });

  it('is refused in another format than raw', () => {
    const meant = (): string => paramsOf({ type: 'qdisk', params: 'qcow2:/srv/a.img' });
    expect(meant).to.throw(DiskError, '/srv/a.img: is to be served as qcow2; only raw images are served');
  });
});
