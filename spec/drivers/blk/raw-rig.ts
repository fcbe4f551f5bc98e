import { onEveryPlatform, type Rig } from '../../../contract/index.js';
import type { Domid, SharedPage } from '../../../core/index.js';
import { BlkFrontend } from '../../../drivers/blk/frontend.js';
import { blk } from '../../../drivers/blk/protocol.js';
import { blkifOp } from '../../../drivers/blk/wire.js';
import { reportsBesides$ } from '../../support/orders.js';
import { Images } from './images.js';
import { RawFrontend, type RawOptions, type RawRequest } from './raw-frontend.js';
import type { Call, RecordingOptions } from './recording.module.js';

const module = import.meta.resolve('./recording.module.js');

/** How a disk and the frontend made by hand of it are set up. */
export interface RawSetup extends Partial<Omit<RawOptions, 'backend'>> {
  readonly disk?: RecordingOptions;
}

/** What a suite of frontends made by hand works with. */
export interface RawRig {
  readonly images: Images;
  /** The calls on the disks of this test so far. */
  readonly calls: readonly Call[];
  readonly rig: () => Rig;
  /** A new domain that serves disks. */
  boot(options?: RecordingOptions): Promise<Domid>;
  /** Runs `body` with a frontend made by hand, on a backend of its own. */
  withFrontend(setup: RawSetup, body: (frontend: RawFrontend, image: string, rig: Rig) => Promise<void>): Promise<void>;
}

/** Runs a suite on every platform, with real backends over disks that tell what is asked of them. */
export const onRawFrontends = (name: string, suite: (raw: RawRig) => void): void => {
  onEveryPlatform(blk, BlkFrontend, module, (_connect, rig) => {
    const images = new Images();
    const calls: Call[] = [];
    let backends: number;

    beforeEach(() => {
      backends = 0;
      calls.length = 0;
    });

    afterEach(() => images.remove());

    const boot: RawRig['boot'] = async (cmdline = {}) => {
      const { machine } = rig();
      const domid = await machine.boot({ name: `disks-${backends++}`, module, cmdline });
      reportsBesides$(machine, domid).subscribe((call) => calls.push(call as Call));
      return domid;
    };

    const withFrontend: RawRig['withFrontend'] = async (setup, body) => {
      const { machine, guest } = rig();
      const backend = await boot(setup.disk);
      const params = setup.params ?? images.make(64);
      const frontend = await RawFrontend.connect(machine, guest, { mode: 'w', ...setup, params, backend });
      await body(frontend, params, rig());
      await frontend.close();
    };

    describe(name, () => suite({ images, calls, rig, boot, withFrontend }));
  });
};

type Segments = NonNullable<RawRequest['segments']>;

export const read = (sector: number | bigint, ...segments: Segments): RawRequest => ({
  operation: blkifOp.read,
  sector,
  segments,
});

export const write = (sector: number | bigint, ...segments: Segments): RawRequest => ({
  operation: blkifOp.write,
  sector,
  segments,
});

export const flush: RawRequest = { operation: blkifOp.flush };

/** What the backends have mapped of the guest besides one ring. */
export const mapped = async ({ machine, guest }: Rig): Promise<number> =>
  ((await machine.ledger()).find(({ domid }) => domid === guest.domid)?.mapped ?? Number.NaN) - 1;

/** The references of up to four pages. */
export const refsOf = ({ refs }: SharedPage): readonly [number, number, number, number] =>
  refs as readonly number[] as readonly [number, number, number, number];
