// Frames of every kind, and what must come of them at a guest that takes some things unfinished and others not.
import { expect } from 'chai';
import { verifyChecksum } from '../../../drivers/net/checksum.js';
import type { NetFeatures } from '../../../drivers/net/frontend.js';
import { Headers, read16 } from '../../../drivers/net/headers.js';
import type { OutgoingFrame } from '../../../drivers/net/nic.js';
import { frameOf } from './frames.js';
import type { Station } from './lan.js';
import { packetOf } from './packets.js';

/** Bytes of payload of the large packets, and of their segments. */
const LARGE = 5000;
const SEGMENT = 1400;
/** A frame of several pages that is to stay one. */
const JUMBO = 8000;
/** The group that stations have joined which filter. */
export const GROUP = Uint8Array.of(1, 0, 0x5e, 0, 0, 0x42);

interface Arrived {
  readonly bytes: Uint8Array;
  readonly checksum: number;
  readonly gso: number;
}

interface Kind {
  readonly name: string;
  readonly frame: OutgoingFrame;
  /** Whether the sender can send it, and the receiver receive it. */
  readonly goes?: boolean;
  expect(came: readonly Arrived[]): void;
}

const blank = 2;

/** Which kind a frame is of: by its source port, or its payload. */
const kindOf = (bytes: Uint8Array): number => {
  const type = read16(bytes, 12);
  return type === 0x0800 ? read16(bytes, 34) : type === 0x86dd ? read16(bytes, 54) : (bytes[14] as number);
};

const kindsOf = (sender: Station, receiver: Station, taken: Partial<NetFeatures>): readonly Kind[] => {
  const from = sender.mac;
  const to = receiver.mac;
  const kinds: Kind[] = [];
  const same = (bytes: Uint8Array) => (came: readonly Arrived[]) =>
    expect(came.map((one) => one.bytes)).to.deep.equal([bytes]);
  for (const [name, address] of [
    ['one station', to],
    ['all', new Uint8Array(6).fill(0xff)],
    ['a group', GROUP],
  ] as const) {
    const bytes = frameOf({ to: address, from, length: 60, fill: kinds.length - 14 });
    kinds.push({ name: `no IP, to ${name}`, frame: bytes, expect: same(bytes) });
  }
  const jumbo = frameOf({ to, from, length: JUMBO, fill: kinds.length - 14 });
  if (sender.nic.offloads.sg)
    kinds.push({ name: 'several pages', frame: jumbo, goes: taken.sg !== false, expect: same(jumbo) });
  for (const version of [4, 6] as const) {
    const takesBlank = (version === 4 ? taken.checksum4 : taken.checksum6) !== false;
    const takesLarge = (version === 4 ? taken.gso4 : taken.gso6) !== false && takesBlank && taken.sg !== false;
    for (const protocol of ['tcp', 'udp'] as const) {
      for (const payload of [1, 700, 1400]) {
        const options = { to, from, version, protocol, payload, port: kinds.length };
        const whole = packetOf(options);
        kinds.push({
          name: `${protocol}, IPv${version}, ${payload} bytes, whole`,
          frame: payload === 1 ? whole : { bytes: whole, checksum: 1 },
          expect: same(whole),
        });
        const other = { ...options, port: kinds.length };
        const unfinished = packetOf({ ...other, blank: true });
        kinds.push({
          name: `${protocol}, IPv${version}, ${payload} bytes, its checksum blank`,
          frame: { bytes: unfinished, checksum: blank },
          expect: (came) => {
            const [only] = came;
            expect(came).to.have.length(1);
            if (only?.checksum === blank) expect(takesBlank).to.equal(true);
            expect(only?.bytes).to.deep.equal(only?.checksum === blank ? unfinished : packetOf(other));
          },
        });
      }
    }
    const large = packetOf({ to, from, version, payload: LARGE, port: kinds.length, blank: true });
    kinds.push({
      name: `a large packet over IPv${version}`,
      frame: { bytes: large, checksum: blank, gso: { type: version === 4 ? 1 : 2, size: SEGMENT } },
      expect: (came) => {
        const headers = new Headers();
        const payload: number[] = [];
        for (const { bytes, checksum, gso } of came) {
          expect(headers.parse(bytes, 0, bytes.length)).to.equal(true);
          if (gso !== 0) expect(takesLarge).to.equal(true);
          else expect(bytes.length).to.be.at.most(headers.payload + SEGMENT);
          if (checksum === blank) expect(takesBlank).to.equal(true);
          else expect(verifyChecksum(bytes, headers)).to.equal(true);
          payload.push(...bytes.subarray(headers.payload, headers.end));
        }
        expect(payload).to.deep.equal([...large.subarray(large.length - LARGE)]);
      },
    });
  }
  return kinds;
};

/** Sends one frame of each kind, and looks at what comes of it: whole, and nothing unfinished that the receiver does not take. */
export const expectExchange = async (
  sender: Station,
  receiver: Station,
  taken: Partial<NetFeatures>,
  idle: () => Promise<void>,
  what: string,
): Promise<void> => {
  const came = new Map<number, Arrived[]>();
  const subscription = receiver.nic.frames$.subscribe((batch) => {
    for (const frame of batch) {
      const bytes = frame.copy();
      const kind = kindOf(bytes);
      came.set(kind, [...(came.get(kind) ?? []), { bytes, checksum: frame.checksum, gso: frame.gsoType }]);
    }
  });
  const kinds = kindsOf(sender, receiver, taken);
  await sender.nic.sendAll(kinds.map(({ frame }) => frame));
  await idle();
  subscription.unsubscribe();
  for (const [i, kind] of kinds.entries()) {
    const arrived = came.get(i) ?? [];
    try {
      if (kind.goes === false) expect(arrived).to.deep.equal([]);
      else kind.expect(arrived);
    } catch (error) {
      throw new Error(`${kind.name}, ${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  expect(
    [...came.keys()].every((kind) => kind < kinds.length),
    what,
  ).to.equal(true);
};
