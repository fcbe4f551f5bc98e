import { onEveryPlatform, type Rig } from '../../../contract/index.js';
import type { BlockDevice } from '../../../drivers/blk/block-device.js';
import { BlkFrontend } from '../../../drivers/blk/frontend.js';
import { blk } from '../../../drivers/blk/protocol.js';
import { vbdKeys } from '../../../drivers/blk/vbd-keys.js';
import { vdevOf } from '../../../drivers/blk/vdev.js';
import { type OddBackend, odd } from './odd-backend.js';

/** What a suite of disks with odd backends works with. */
export interface OddRig {
  readonly rig: () => Rig;
  /** A disk of an odd backend, and that backend. */
  open(vdev?: string): Promise<{ readonly disk: BlockDevice; readonly peer: OddBackend }>;
  /** Lets everybody do what they can. */
  idle(): Promise<void>;
  /** Begins something, and lets everybody do what they can. */
  begin(...calls: readonly Promise<void>[]): Promise<readonly Promise<void>[]>;
  /** Whether a promise is not settled when everybody has done what they can. */
  isPending(promise: Promise<void> | undefined): Promise<boolean>;
}

/** What a call has come to: undefined, or what it was rejected with. */
export const outcome = async (call: Promise<void> | undefined): Promise<unknown> => {
  try {
    return await call;
  } catch (error) {
    return error;
  }
};

/** Runs a suite where the spec, which plays the backend, shares its thread. */
export const onOddBackends = (name: string, suite: (rig: OddRig) => void): void => {
  onEveryPlatform(blk, BlkFrontend, import.meta.resolve('./odd-backend.js'), (connect, rig) => {
    const says = odd.says;

    beforeEach(function () {
      if (rig().platform !== 'local') this.skip();
      odd.says = says;
      odd.all.length = 0;
    });

    const open: OddRig['open'] = async (vdev = 'xvda') => {
      const disk = await connect({ id: vdevOf(vdev), keys: vbdKeys({ vdev, params: 'odd', mode: 'w' }) });
      const peer = odd.all.at(-1);
      if (peer === undefined) throw new Error('nobody has connected');
      return { disk, peer };
    };

    const idle: OddRig['idle'] = () => rig().machine.idle();

    const begin: OddRig['begin'] = async (...calls) => {
      for (const call of calls) void outcome(call);
      await idle();
      return calls;
    };

    const isPending: OddRig['isPending'] = async (promise) => {
      let pending = true;
      void outcome(promise).then(() => {
        pending = false;
      });
      await idle();
      return pending;
    };

    describe(name, () => suite({ rig, open, idle, begin, isPending }));
  });
};
