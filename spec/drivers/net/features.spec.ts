import { expect } from 'chai';
import fc from 'fast-check';
import type { Domid, Plain } from '../../../core/index.js';
import type { NetFeatures } from '../../../drivers/net/frontend.js';
import type { Nic } from '../../../drivers/net/nic.js';
import { expectExchange, GROUP } from './exchange.js';
import { onLans, type Station } from './lan.js';

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

const FRONTENDS = 1 << frontendFeatures.length;
const BACKENDS = 1 << backendKeys.length;
/** Frontends that are tried with each subset of a backend's, on the platform where a guest is cheap. */
const EACH = 2;
const MTU = 9000;

const seed = Number(process.env.SPLITRING_SEED ?? Math.floor(Math.random() * 2 ** 31)) | 0;

onLans('features of class vif', ({ rig, station }) => {
  let bridges = 0;
  const boot = (offer: Readonly<Record<string, Plain>>) =>
    rig().machine.boot({ name: `bridge-${bridges++}`, module: import.meta.resolve('./lan.module.js'), offer });
  const idle = () => rig().machine.idle();

  const connected = async (bridge: Domid, features: NetFeatures): Promise<Station> => {
    const made = await station(bridge, { features, mtu: MTU });
    if (features.multicastControl === true) await made.nic.join(GROUP);
    return made;
  };
  const close = (...stations: readonly { readonly nic: Nic }[]): Promise<unknown> =>
    Promise.all(stations.map(({ nic }) => nic.close()));
  const destroy = async (...domids: readonly Domid[]): Promise<void> => {
    for (const domid of domids) await rig().machine.toolstack.destroy(domid);
  };

  const all = `${FRONTENDS} subsets of a frontend's`;
  it(`work both ways in all ${all}, of a backend that offers all (on threads, in every 17th)`, async function () {
    this.timeout(300_000);
    // One machine has room for so many guests at a time; threads are dear, and the frontends are in the test's own anyway.
    const step = rig().platform === 'local' ? 1 : 17;
    const bridge = await boot({});
    const other = await connected(bridge, {});
    for (let bits = 0; bits < FRONTENDS; bits += step) {
      const features = subset(frontendFeatures, bits);
      const one = await connected(bridge, features);
      const what = `frontend ${JSON.stringify(features)}`;
      await expectExchange(other, one, features, idle, `to ${what}`);
      await expectExchange(one, other, {}, idle, `from ${what}`);
      await close(one);
      await destroy(one.guest.domid);
    }
    await close(other);
  });

  it(`work both ways in all ${BACKENDS} subsets that a backend offers, each with ${EACH} of the ${all} and any number of queues, by seed ${seed} (on threads, in every 43rd, with 2)`, async function () {
    this.timeout(600_000);
    const isLocal = rig().platform === 'local';
    const random = fc.sample(
      fc.record({ bits: fc.nat({ max: FRONTENDS - 1 }), queues: fc.integer({ min: 1, max: 4 }) }),
      { seed, numRuns: BACKENDS * EACH },
    );
    for (let bits = 0; bits < BACKENDS; bits += isLocal ? 1 : 43) {
      const offer = { ...subset(backendKeys, bits), 'multi-queue-max-queues': (bits % 4) + 1 };
      const bridge = await boot(offer);
      let before: { readonly station: Station; readonly features: NetFeatures } | undefined;
      for (const { bits: chosen, queues } of random.slice(bits * EACH, bits * EACH + (isLocal ? EACH : 2))) {
        const features = { ...subset(frontendFeatures, chosen), queues };
        const one = await connected(bridge, features);
        expect(one.nic.queues).to.equal(Math.min(queues, offer['multi-queue-max-queues']));
        const what = `backend ${JSON.stringify(offer)}, frontend ${JSON.stringify(features)}`;
        if (before !== undefined) {
          await expectExchange(before.station, one, features, idle, `to ${what}`);
          await expectExchange(one, before.station, before.features, idle, `from ${what}`);
          await close(before.station);
          await destroy(before.station.guest.domid);
        }
        before = { station: one, features };
      }
      if (before !== undefined) {
        await close(before.station);
        await destroy(before.station.guest.domid);
      }
      await destroy(bridge);
    }
  });
});
