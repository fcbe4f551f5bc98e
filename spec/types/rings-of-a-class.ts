// What a driver of a class with several rings cannot say: the verbs of the other end, or of a ring of another kind (core/xenbus).
import {
  type BackLink,
  creditRing,
  type FrontLink,
  flag,
  grantRef,
  i16,
  packetRing,
  padding,
  protocol,
  struct,
  u8,
  u16,
  uint,
} from '../../core/index.js';

const packet = {
  flags: 'flags',
  moreData: 4,
  extraInfo: 8,
  extra: struct('extra', { type: u8, flags: u8, value: u16 }),
  moreExtras: 1,
  slots: 4,
  extras: 2,
} as const;
const request = struct('tx_request', { gref: grantRef, flags: u16, id: u16 });
const response = struct('tx_response', { id: u16, status: i16 });
const rings = {
  tx: packetRing({ request, response, id: 'id', packet, isExtra: ({ status }) => status === 1 }),
  rx: creditRing({
    request: struct('rx_request', { id: u16, pad: padding(2), gref: grantRef }),
    response: struct('rx_response', { id: u16, flags: u16, status: i16, pad: padding(2) }),
    packet,
  }),
};
const keys = {
  backend: { InitWait: { 'max-queues': uint({ default: 1 }), split: flag() } },
  frontend: { Initialised: { queues: uint({ default: 1 }) } },
} as const;
const one = protocol({ device: 'vone', rings, keys, split: 'split' });
const many = protocol({ device: 'vmany', rings, keys, queues: { offered: 'max-queues', chosen: 'queues' } });

declare const front: FrontLink<typeof one>;
declare const back: BackLink<typeof one>;
declare const fronts: FrontLink<typeof many>;
declare const backs: BackLink<typeof many>;

front.tx.chain(
  1,
  0,
  (slot) => slot.set({ gref: 1 as never, flags: 0 }),
  ({ status }) => void status,
);
front.rx.keepPosted((slot, i) => slot.set({ id: i, gref: 1 as never }));
back.tx.drain((packets) => packets.answer((rsp) => void rsp.status));
back.rx.hold(1, ({ gref }) => void gref);
fronts.queues[0]?.tx.push();
backs.queues[0]?.rx.push();

// @ts-expect-error a frontend sends no packets on a ring that it posts buffers on
front.rx.chain(
  1,
  0,
  () => {},
  () => {},
);
// @ts-expect-error a frontend posts no buffers on a ring that it sends packets on
front.tx.keepPosted(() => {});
// @ts-expect-error a frontend does not take the packets that it sends
front.tx.drain(() => {});
// @ts-expect-error a backend does not send on the frontend's ring
back.tx.chain(
  1,
  0,
  () => {},
  () => {},
);
// @ts-expect-error a backend posts no buffers
back.rx.keepPosted(() => {});
// @ts-expect-error a class with several rings has not one that is served
back.serve(() => {});
// @ts-expect-error a class with several rings has none that is just the ring
front.ring.push();
// @ts-expect-error a ring that the class does not have
front.ctrl;
// @ts-expect-error a class with queues has its rings in them
fronts.tx.push();
// @ts-expect-error a class without queues has none
front.queues;
front.tx.chain(
  1,
  0,
  // @ts-expect-error the id of a packet's slot is the ring's
  (slot) => slot.set({ gref: 1 as never, flags: 0, id: 1 }),
  () => {},
);
back.tx.drain((packets) => {
  const packet = packets.look();
  // @ts-expect-error what the frontend wrote is read, never written
  if (packet !== undefined) packet.slot(0).flags = 1;
});
// @ts-expect-error only a member of both can pair a response with its request
packetRing({ request, response, id: 'gref', packet, isExtra: () => false });
// @ts-expect-error nobody notes the answers on several rings, so requests may not be carried out twice
protocol({ device: 'vone', rings, keys, repeatable: true });
// @ts-expect-error a ring of packets has no verbs but by its name
protocol({ device: 'vone', ring: rings.tx, refuse: () => {} });
