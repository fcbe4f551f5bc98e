import {
  BackRing,
  creditRing,
  FrontRing,
  type GrantRef,
  grantRef,
  i16,
  packetRing,
  padding,
  type Slot,
  struct,
  u8,
  u16,
} from '../../../core/index.js';
import { Credit } from '../../../core/xenbus/credit.js';
import { PacketResponses } from '../../../core/xenbus/packet-responses.js';
import { Posted } from '../../../core/xenbus/posted.js';
import { Requests } from '../../../core/xenbus/requests.js';

const packet = {
  flags: 'flags',
  moreData: 4,
  extraInfo: 8,
  extra: struct('extra', { type: u8, flags: u8, value: u16 }),
  moreExtras: 1,
  slots: 4,
  extras: 2,
} as const;

/** Packets of up to 4 slots that are copied; NULL is 1. */
export const sending = packetRing({
  request: struct('tx_request', { gref: grantRef, flags: u16, id: u16 }),
  response: struct('tx_response', { id: u16, status: i16 }),
  id: 'id',
  packet,
  isExtra: ({ status }) => status === 1,
});

export const posting = creditRing({
  request: struct('rx_request', { id: u16, pad: padding(2), gref: grantRef }),
  response: struct('rx_response', { id: u16, flags: u16, status: i16, pad: padding(2) }),
  packet,
});

const memory = (slotBytes: number): Int32Array => new Int32Array(new SharedArrayBuffer(64 + 8 * slotBytes));

/** Both ends of a ring of eight slots on which a frontend sends packets. @param whole whether it has to publish each at once */
export const packetPumps = (whole = false) => {
  const words = memory(8);
  const notified = { front: 0, back: 0 };
  const errors: unknown[] = [];
  const onError = (error: unknown): void => {
    errors.push(error);
  };
  const front = new Requests(new FrontRing(words, sending, { first: -3 }), {
    notify: () => void notified.back++,
    again: () => {},
    onError,
    isExtra: sending.isExtra,
  });
  const back = new PacketResponses(new BackRing(words, sending), sending, { ...packet, whole }, 'x86_64-abi', {
    notify: () => void notified.front++,
    again: () => {},
    onError,
  });
  return { words, front, back, notified, errors };
};

/** Both ends of a ring of eight slots on which a frontend posts buffers. */
export const creditPumps = () => {
  const words = memory(8);
  const notified = { front: 0, back: 0 };
  const errors: unknown[] = [];
  const lies: unknown[] = [];
  const onError = (error: unknown): void => {
    errors.push(error);
  };
  const front = new Posted(new FrontRing(words, posting, { first: -3 }), posting, packet, 'x86_64-abi', {
    notify: () => void notified.back++,
    onError,
  });
  const back = new Credit(new BackRing(words, posting), {
    notify: () => void notified.front++,
    onError,
    onLie: (error) => lies.push(error),
  });
  return { words, front, back, notified, errors, lies };
};

type TxSlot = Slot<typeof sending.request, 'id'>;

/** Fills the slots of a packet: `slots` in all, of which the `extras` after the first are extras. */
export const fillOf =
  (slots: number, extras: number, mark: number) =>
  (slot: TxSlot, id: number, i: number): void => {
    if (id < 0) {
      // An extra lies over the request: type 1, more if another follows, a value.
      slot.set({ gref: (1 | (i < extras ? 0x100 : 0) | ((mark & 0xffff) << 16)) as GrantRef, flags: 0 });
      return;
    }
    const data = i === 0 ? 0 : i - extras;
    const more = data < slots - extras - 1 ? 4 : 0;
    slot.set({ gref: (mark + data) as GrantRef, flags: more | (i === 0 && extras > 0 ? 8 : 0) });
  };
