import { expect } from 'chai';
import fc from 'fast-check';
import { asVdev } from '../../../core/index.js';
import { vdevName, vdevOf } from '../../../drivers/blk/vdev.js';

describe('the number of a virtual device', () => {
  const known: readonly (readonly [string, number])[] = [
    ['xvda', 51712],
    ['xvda1', 51713],
    ['xvdb', 51728],
    ['xvdp15', (202 << 8) | (15 << 4) | 15],
    ['xvdq', (1 << 28) | (16 << 8)],
    ['xvda16', (1 << 28) | 16],
    ['xvdtq37', (1 << 28) | (536 << 8) | 37],
    ['sda', 2048],
    ['sdb3', (8 << 8) | (1 << 4) | 3],
    ['hda', 768],
    ['hdb63', (3 << 8) | (1 << 6) | 63],
    ['hdc2', (22 << 8) | 2],
    ['hdd', (22 << 8) | (1 << 6)],
  ];

  for (const [name, number] of known) {
    it(`of ${name} is ${number} (xen-vbd-interface(7))`, () => {
      expect(vdevOf(name)).to.equal(number);
      expect(vdevName(asVdev(number))).to.equal(name);
    });
  }

  it('is taken in the forms d0p0 and d536p37 too (xen-vbd-interface(7))', () => {
    expect(vdevOf('d0p0')).to.equal(vdevOf('xvda'));
    expect(vdevOf('d1p2')).to.equal(vdevOf('xvdb2'));
    expect(vdevOf('d536p37')).to.equal(vdevOf('xvdtq37'));
  });

  it('can be given itself, decimal or hexadecimal', () => {
    expect(vdevOf('51712')).to.equal(51712);
    expect(vdevOf('0xca00')).to.equal(51712);
    expect(vdevOf('5632')).to.equal(5632);
  });

  it('survives the way to its name and back, for every disk and partition of a kind', () => {
    const xvd = fc.tuple(fc.nat((1 << 20) - 1), fc.nat(255)).map(([d, p]) => `d${d}p${p}`);
    const sd = fc.tuple(fc.nat(15), fc.nat(15)).map(([d, p]) => (8 << 8) | (d << 4) | p);
    const hd = fc.tuple(fc.nat(3), fc.nat(63)).map(([d, p]) => ((d < 2 ? 3 : 22) << 8) | ((d & 1) << 6) | p);
    fc.assert(
      fc.property(fc.oneof(xvd.map(vdevOf), sd.map(asVdev), hd.map(asVdev)), (vdev) => {
        const name = vdevName(vdev);
        expect(name).to.match(/^(xvd|sd|hd)[a-z]+([1-9][0-9]*)?$/);
        expect(vdevOf(name ?? '')).to.equal(vdev);
      }),
    );
  });

  it('uses the extended form only where the other has not enough bits (xen-vbd-interface(7))', () => {
    fc.assert(
      fc.property(fc.nat(100), fc.nat(100), (disk, partition) => {
        expect(vdevOf(`d${disk}p${partition}`) >= 1 << 28).to.equal(disk > 15 || partition > 15);
      }),
    );
  });

  it('has no name when guests should ignore it', () => {
    for (const number of [0, 255, 3 * 256 + 128, 22 * 256 + 200, 5 << 8, 2 ** 29, 2 ** 31, 0xffffffff]) {
      expect(vdevName(asVdev(number)), String(number)).to.equal(undefined);
    }
  });

  for (const name of [
    '',
    'xvd',
    'xvdA',
    'xvda0',
    'xvda01',
    'xvda256',
    'd1048576p0',
    'd0p256',
    'sdq',
    'sda16',
    'hde',
    'hda64',
  ]) {
    it(`is not to be had from ${JSON.stringify(name)}`, () => {
      expect(() => vdevOf(name)).to.throw(RangeError, 'names no virtual device');
    });
  }

  for (const name of ['vda', 'XVDA', 'xvda 1', '-1', '2147483648', '1e3', '0x', 'd-1p0', 'xvdaaaaaa']) {
    it(`is not to be had from ${JSON.stringify(name)}`, () => {
      expect(() => vdevOf(name)).to.throw(RangeError, 'names no virtual device');
    });
  }
});
