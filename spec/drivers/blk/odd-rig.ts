import { onEveryPlatform, type Rig } from '../../../contract/index.js';
import { asDomid, XenStore } from '../../../core/index.js';
import type { BlockDevice } from '../../../drivers/blk/block-device.js';
import { BlkFrontend } from '../../../drivers/blk/frontend.js';
import { blk } from '../../../drivers/blk/protocol.js';
import { vbdKeys } from '../../../drivers/blk/vbd-keys.js';
import { vdevOf } from '../../../drivers/blk/vdev.js';
import type { Said } from './odd-backend.js';
import { OddPeer } from './odd-peer.js';

/** What a suite of disks with odd backends works with. */
export interface OddRig {
  readonly rig: () => Rig;
  /** A disk of an odd backend, and that backend, which says what it is told besides what it says of itself. */
  open(vdev?: string, says?: Partial<Said>): Promise<{ readonly disk: BlockDevice; readonly peer: OddPeer }>;
  /** Lets everybody do what they can. */
  idle(): Promise<void>;
  /** Begins something, and lets everybody do what they can. */
  begin(...calls: readonly Promise<void>[]): Promise<readonly Promise<void>[]>;
  /** Whether a promise is not settled when everybody has done what they can. */
  isPending(promise: Promise<void> | undefined): Promise<boolean>;
}

/** What a call has come to: undefined, or what it was rejected with. */
export const outcome = async (call: Promise<unknown> | undefined): Promise<unknown> => {
  try {
    return await call;
  } catch (error) {
    return error;
  }
};

/** Runs a suite on every platform whose backends the spec plays, request by request. */
export const onOddBackends = (name: string, suite: (rig: OddRig) => void): void => {
  onEveryPlatform(blk, BlkFrontend, import.meta.resolve('./odd-backend.js'), (connect, rig) => {
    const open: OddRig['open'] = async (vdev = 'xvda', says = {}) => {
      const { machine } = rig();
      const keys = vbdKeys({ vdev, params: 'odd', mode: 'w' });
      const disk = await connect({ id: vdevOf(vdev), keys, cmdline: says });
      const path = `device/vbd/${vdevOf(vdev)}/backend-id`;
      const domid = asDomid(Number(await rig().guest.get(XenStore).read(path)));
      return { disk, peer: new OddPeer(machine, domid) };
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
