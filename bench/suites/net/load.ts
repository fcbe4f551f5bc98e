import type { GrantTable } from '../../../core/index.js';
import { Frame, type Nic, type WritePart } from '../../../drivers/net/index.js';
import { Meter } from '../../lib/meter.js';
import { packetHeader } from './packet-header.js';

/** What is sent, and how it is measured. */
export interface NetLoad {
  /** Bytes of a frame; above 4096 a packet to be segmented. */
  readonly size: number;
  /** Milliseconds that are measured, and by which clock. */
  readonly length: number;
  readonly clock: 'core' | 'wall';
  /** Whether each frame is copied whole into the granted pages, from own memory; without it only its headers are, from JavaScript's. */
  readonly payload: boolean;
}

/** Milliseconds before anything counts: the whole way through both ends is much for the compiler, which has no core of its own. */
const WARM_UP = 1500;

/** Keeps a ring full of frames from one interface to another; resolves to the frames a second that came. */
export const load = async (
  from: Nic,
  to: Nic,
  grants: GrantTable,
  { size, length, clock, payload }: NetLoad,
): Promise<number> => {
  const large = size > 4096;
  const bytes = packetHeader(from.mac, to.mac, size);
  const header = bytes.subarray(0, Math.min(54, size));
  const write: WritePart = (memory, at, start) => {
    if (start === 0) memory.set(header, at);
  };
  const frame = new Frame(grants.alloc(Math.ceil(size / 4096)));
  frame.bytes.set(bytes);
  // The checksum is blank, as a guest's own stack leaves it.
  frame.set(0, size, 2, large ? 1 : 0, large ? 1448 : 0);
  const tx = from.queue(0);
  const meter = new Meter(clock, length, WARM_UP);
  let stopped = false;
  let waiting = false;
  const fill = (): void => {
    if (stopped) return;
    if (payload) while (tx.transmitFrame(frame));
    else while (tx.transmit(size, write, frame.checksum, frame.gsoType, frame.gsoSize));
    tx.push();
    if (waiting) return;
    waiting = true;
    void tx.room(size).then(() => {
      waiting = false;
      fill();
    });
  };
  // The bridge learns where the receiver is.
  to.send(packetHeader(to.mac, from.mac, 64));
  await new Promise((resolve) => setTimeout(resolve, 20));
  return new Promise((resolve) => {
    to.frames$.subscribe((batch) => {
      for (let i = batch.length; i > 0; i--) {
        if (!meter.done()) continue;
        stopped = true;
        resolve(meter.rate);
      }
      fill();
    });
    fill();
  });
};
