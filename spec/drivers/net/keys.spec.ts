import { expect } from 'chai';
import fc from 'fast-check';
import { draft, view } from '../../../core/index.js';
import { attachment } from '../../../drivers/net/attachment.js';
import { tapProblem } from '../../../drivers/net/host/tap.js';
import { parseMac, showMac } from '../../../drivers/net/mac.js';
import { MulticastFilter } from '../../../drivers/net/multicast-filter.js';
import { LEAST_BURST, parseRate, parseXlRate, RateLimit } from '../../../drivers/net/rate-limit.js';
import { vifKeys } from '../../../drivers/net/vif-keys.js';
import { netifExtraInfo, netifRxResponse, netifTxRequest } from '../../../drivers/net/wire.js';

describe('the keys of class vif', () => {
  it('are what libxl writes', () => {
    expect(vifKeys({ mac: '00:16:3E:01:02:0a', rate: { bytes: 6000, usec: 50000 }, mtu: 9000 })).to.deep.equal({
      frontend: { handle: '0', mac: '00:16:3e:01:02:0a', mtu: '9000', trusted: '1' },
      backend: {
        script: '/etc/xen/scripts/vif-bridge',
        mac: '00:16:3e:01:02:0a',
        bridge: 'xenbr0',
        handle: '0',
        type: 'vif',
        mtu: '9000',
        rate: '6000,50000',
      },
    });
  });

  it('are those of what `splitring attach` is told', () => {
    const { backend } = attachment.keys({ devid: 3, mac: '00:16:3e:00:00:01', bridge: 'br', mtu: 1500, rate: '1MB/s' });
    expect(backend).to.include({ handle: '3', bridge: 'br', mtu: '1500', rate: '50000,50000' });
    const more = {
      devid: 0,
      mac: '00:16:3e:00:00:01',
      bridge: 'xenbr0',
      mtu: 1500,
      rate: attachment.more.rate.default,
    };
    expect(attachment.keys(more).backend).not.to.have.property('rate');
    for (const [option, text] of [
      ['mac', 'zz'],
      ['mtu', '67'],
      ['mtu', '1e3'],
      ['rate', 'much'],
    ] as const)
      expect(() => attachment.more[option].parse(text), text).to.throw(RangeError);
    expect(() => attachment.options.devid.parse('-1')).to.throw(RangeError);
  });

  it('hold an address of one station', () => {
    for (const mac of [
      '',
      '00:16:3e:01:02',
      '00:16:3e:01:02:0g',
      '01:00:5e:00:00:01',
      'ff:ff:ff:ff:ff:ff',
      '00:00:00:00:00:00',
    ])
      expect(() => vifKeys({ mac }), mac).to.throw(RangeError);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (mac) => {
        mac[0] = ((mac[0] as number) & 0xfe) | 2;
        expect(parseMac(showMac(mac))).to.deep.equal(mac);
      }),
    );
  });

  it('hold an MTU and a rate that can be', () => {
    const mac = '00:16:3e:00:00:01';
    for (const mtu of [0, 67, 65522, 1.5, Number.NaN])
      expect(() => vifKeys({ mac, mtu }), String(mtu)).to.throw(RangeError);
    expect(() => vifKeys({ mac, rate: { bytes: 0, usec: 1 } })).to.throw(RangeError);
  });
});

describe('a rate', () => {
  it('is two numbers, and whatever else is written is no limit (netback: xen_net_read_rate, XSA-68)', () => {
    expect(parseRate('6000,50000')).to.deep.equal({ bytes: 6000, usec: 50000 });
    for (const text of [
      undefined,
      '',
      ',',
      '1',
      '1,',
      ',1',
      '1,2,3',
      '-1,5',
      '1, 5',
      '0x10,5',
      '0,5',
      '5,0',
      '9'.repeat(20),
    ])
      expect(parseRate(text), String(text)).to.equal(undefined);
    fc.assert(fc.property(fc.string(), (text) => void parseRate(text)));
  });

  it('is read as in xl’s configuration, by bytes or bits, in 50 ms where no time is said (xl-network-configuration)', () => {
    for (const [text, bytes, usec] of [
      ['1MB/s', 50_000, 50_000],
      ['10Mb/s', 62_500, 50_000],
      ['1Gb/s@20ms', 2_500_000, 20_000],
      ['800Kb/s@1s', 100_000, 1_000_000],
      ['100B/s@500000us', 50, 500_000],
    ] as const)
      expect(parseXlRate(text), text).to.deep.equal({ bytes, usec });
    for (const text of [
      '',
      '1',
      '1MB',
      'MB/s',
      '-1MB/s',
      '1.5MB/s',
      '1mB/s',
      '1MB/s@',
      '1MB/s@0ms',
      '0MB/s',
      '1b/s@1us',
      '1MB/s@1m',
    ])
      expect(() => parseXlRate(text), text).to.throw(RangeError);
  });

  it('lets pass so many bytes in each period, and saves up no more than a large packet', () => {
    const limit = new RateLimit();
    expect(limit.wait(1e9, 0)).to.equal(0);
    limit.set({ bytes: 1000, usec: 10_000 }, 0);
    expect(limit.wait(1000, 0)).to.equal(0);
    limit.spend(1000);
    expect(limit.wait(1, 4)).to.equal(6);
    expect(limit.wait(1000, 10)).to.equal(0);
    limit.spend(1000);
    let passed = 0;
    for (let now = 11; now < 1011; now++) {
      if (limit.wait(500, now) > 0) continue;
      limit.spend(500);
      passed += 500;
    }
    expect(passed).to.be.within(98_000, 101_000);
    // A packet larger than a period's bytes passes when enough has been saved.
    let waited = 0;
    for (let now = 2000; limit.wait(65535, now) > 0; now += 10) waited++;
    expect(waited).to.be.within(60, 70);
    for (let now = 10_000; now < 20_000; now += 10) limit.wait(Number.MAX_SAFE_INTEGER, now);
    expect(limit.wait(LEAST_BURST, 20_000)).to.equal(0);
    expect(limit.wait(LEAST_BURST + 1001, 20_001)).to.be.above(0);
  });
});

describe('a filter of groups', () => {
  it('lets pass what goes to one station, to all, and to the groups that were joined', () => {
    const filter = new MulticastFilter();
    const group = Uint8Array.of(1, 2, 3, 4, 5, 6);
    expect(filter.passes(Uint8Array.of(2, 2, 3, 4, 5, 6), 0)).to.equal(true);
    expect(filter.passes(new Uint8Array(6).fill(255), 0)).to.equal(true);
    expect(filter.passes(group, 0)).to.equal(false);
    filter.add(group);
    filter.add(group);
    expect(filter.passes(Uint8Array.of(9, ...group), 1)).to.equal(true);
    filter.delete(group);
    filter.delete(group);
    expect(filter.passes(group, 0)).to.equal(false);
  });
});

describe('an extra', () => {
  it('lies over a request of the tx ring and a response of the rx ring as the drivers write it (netif.h)', () => {
    const words = new Int32Array(3);
    draft(netifTxRequest, words).set({ gref: (1 | (1448 << 16)) as never, offset: 2, flags: 0, id: 0, size: 0 });
    const extra = view(netifExtraInfo, words);
    expect([extra.type, extra.flags, extra.u.gso.size, extra.u.gso.type, extra.u.gso.features]).to.deep.equal([
      1, 0, 1448, 2, 0,
    ]);
    draft(netifRxResponse, words).set({ id: 1, offset: 9000, flags: 1, status: 0 });
    expect([extra.type, extra.flags, extra.u.gso.size, extra.u.gso.type]).to.deep.equal([1, 0, 9000, 1]);
  });
});

describe('a TAP device', () => {
  const here = { uid: 0, exists: () => true };

  it('is refused with what to do about it', function () {
    if (process.platform !== 'linux') this.skip();
    expect(tapProblem({ name: 'tap0' }, here)).to.equal(undefined);
    expect(tapProblem({ name: 'tap0' }, { ...here, uid: 1000 })).to.match(/needs root/);
    expect(tapProblem({ name: 'tap0' }, { ...here, exists: () => false })).to.match(/no \/dev\/net\/tun: .*modprobe/);
    expect(tapProblem({ name: 'tap0', bridge: 'br9' }, { uid: 0, exists: (path) => path === '/dev/net/tun' })).to.match(
      /no Linux bridge br9/,
    );
    expect(tapProblem({ name: 'eth0' }, { uid: 0, exists: (path) => !/tun_flags/.test(path) })).to.match(
      /there is an interface eth0, and it is no TAP device/,
    );
    for (const name of ['', 'a/b', 'x'.repeat(16), 'a b', '..'])
      expect(tapProblem({ name }, here), name).to.match(/name has/);
  });
});
