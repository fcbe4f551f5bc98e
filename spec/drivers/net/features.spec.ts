import { expect } from 'chai';
import fc from 'fast-check';
import type { Plain } from '../../../core/index.js';
import { verifyChecksum } from '../../../drivers/net/checksum.js';
import type { NetFeatures } from '../../../drivers/net/frontend.js';
import { Headers, read16 } from '../../../drivers/net/headers.js';
import type { Nic } from '../../../drivers/net/nic.js';
import { onLans, type Station } from './lan.js';
import { packetOf } from './packets.js';

const frontendFeatures = [
  'sg',
  'gso4',
  'gso6',
  'checksum4',
  'checksum6',
  'splitChannels',
  'rxNotify',
  'multicastControl',
] as const;
const backendKeys = [
  'feature-sg',
  'feature-gso-tcpv4',
  'feature-gso-tcpv6',
  'feature-no-csum-offload',
  'feature-ipv6-csum-offload',
  'feature-split-event-channels',
  'feature-multicast-control',
] as const;

const subset = <K extends string>(names: readonly K[], bits: number): Readonly<Record<K, boolean>> =>
  Object.fromEntries(names.map((name, i) => [name, (bits & (1 << i)) !== 0])) as Record<K, boolean>;

/** Bytes of payload of the large packets. */
const LARGE = 5000;
const SEGMENT = 1400;

onLans('features of class vif', ({ rig, station }) => {
  let bridges = 0;
  const boot = (offer: Readonly<Record<string, Plain>>) =>
    rig().machine.boot({ name: `bridge-${bridges++}`, module: import.meta.resolve('./lan.module.js'), offer });

  /** Sends one of each kind, and looks at what comes: nothing may be unfinished that the receiver does not take. */
  const expectWorks = async (
    sender: Station,
    receiver: Station,
    taken: Partial<NetFeatures>,
    what: string,
  ): Promise<void> => {
    const to = receiver.mac;
    const from = sender.mac;
    const states: { readonly checksum: number; readonly gso: number; readonly bytes: Uint8Array }[] = [];
    const subscription = receiver.nic.frames$.subscribe((batch) => {
      for (const frame of batch) states.push({ checksum: frame.checksum, gso: frame.gsoType, bytes: frame.copy() });
    });
    for (const version of [4, 6] as const) {
      const udp = packetOf({ to, from, version, protocol: 'udp', payload: 500, blank: true });
      const tcp = packetOf({ to, from, version, payload: LARGE, blank: true });
      await sender.nic.sendAll([{ bytes: udp, checksum: 2 }]);
      await sender.nic.sendAll([{ bytes: tcp, checksum: 2, gso: { type: version === 4 ? 1 : 2, size: SEGMENT } }]);
    }
    await rig().machine.idle();
    let payload = 0;
    for (const { checksum, gso, bytes } of states) {
      const headers = new Headers();
      expect(headers.parse(bytes, 0, bytes.length), what).to.equal(true);
      const v4 = headers.version === 4;
      if (checksum !== 2) expect(verifyChecksum(bytes, headers), what).to.equal(true);
      else expect(v4 ? taken.checksum4 : taken.checksum6, what).not.to.equal(false);
      if (gso !== 0) expect(v4 ? taken.gso4 : taken.gso6, what).not.to.equal(false);
      else if (headers.protocol === 6) expect(bytes.length, what).to.be.at.most(headers.payload + SEGMENT);
      if (bytes.length > 4096) expect(taken.sg, what).not.to.equal(false);
      if (v4) expect(read16(bytes, 16), what).to.equal(bytes.length - 14);
      for (let i = headers.payload; i < headers.end; i++) payload += bytes[i] as number;
    }
    const sum = (length: number): number => Array.from({ length }, (_, i) => (i * 7) & 255).reduce((a, b) => a + b, 0);
    expect(payload, what).to.equal(2 * (sum(500) + sum(LARGE)));
    subscription.unsubscribe();
  };

  const close = (...stations: readonly { readonly nic: Nic }[]): Promise<unknown> =>
    Promise.all(stations.map(({ nic }) => nic.close()));

  it('work in every subset that a frontend has', async function () {
    this.timeout(300_000);
    // One machine has room for so many guests at a time; threads are dear, and the frontends are in the test's own anyway.
    const step = rig().platform === 'local' ? 1 : 17;
    const bridge = await boot({});
    const sender = await station(bridge);
    for (let bits = 0; bits < 1 << frontendFeatures.length; bits += step) {
      const features = subset(frontendFeatures, bits);
      const receiver = await station(bridge, { features });
      await expectWorks(sender, receiver, features, `frontend ${JSON.stringify(features)}`);
      await expectWorks(receiver, sender, {}, `frontend ${JSON.stringify(features)}, sending`);
      await close(receiver);
      await rig().machine.toolstack.destroy(receiver.guest.domid);
    }
    await close(sender);
  });

  it('work in every subset that a backend offers', async function () {
    this.timeout(300_000);
    const step = rig().platform === 'local' ? 1 : 43;
    for (let bits = 0; bits < 1 << backendKeys.length; bits += step) {
      const offer = subset(backendKeys, bits);
      const bridge = await boot(offer);
      const [sender, receiver] = [await station(bridge), await station(bridge)];
      await expectWorks(sender, receiver, {}, `backend ${JSON.stringify(offer)}`);
      await close(sender, receiver);
      for (const domid of [sender.guest.domid, receiver.guest.domid, bridge])
        await rig().machine.toolstack.destroy(domid);
    }
  });

  it('work in any subset on either side, with any number of queues', async function () {
    this.timeout(300_000);
    const numRuns = rig().platform === 'local' ? 40 : 3;
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: 255 }),
        fc.nat({ max: 255 }),
        fc.nat({ max: 127 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 4 }),
        async (one, two, offered, queues, most) => {
          const offer = { ...subset(backendKeys, offered), 'multi-queue-max-queues': most };
          const bridge = await boot(offer);
          const features = subset(frontendFeatures, two);
          const sender = await station(bridge, { features: { ...subset(frontendFeatures, one), queues } });
          const receiver = await station(bridge, { features: { ...features, queues } });
          await expectWorks(sender, receiver, features, JSON.stringify({ one, two, offered, queues, most }));
          await close(sender, receiver);
          for (const domid of [sender.guest.domid, receiver.guest.domid, bridge])
            await rig().machine.toolstack.destroy(domid);
        },
      ),
      { numRuns },
    );
  });
});
