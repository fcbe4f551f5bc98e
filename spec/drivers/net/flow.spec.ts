import { expect } from 'chai';
import fc from 'fast-check';
import { flowOf } from '../../../drivers/net/flow.js';
import { write16 } from '../../../drivers/net/headers.js';
import { frameOf } from './frames.js';
import { packetOf } from './packets.js';

const to = Uint8Array.of(2, 0, 0, 0, 0, 1);
const from = Uint8Array.of(2, 0, 0, 0, 0, 2);
const flow = (bytes: Uint8Array): number => flowOf(bytes, 0, bytes.length);

describe('the flow of a frame', () => {
  for (const version of [4, 6] as const) {
    for (const protocol of ['tcp', 'udp'] as const) {
      const sent = packetOf({ to, from, version, protocol, payload: 100 });
      const transport = version === 4 ? 34 : 54;

      it(`of ${protocol} over IPv${version} is the same whatever is sent, and another for other ports`, () => {
        for (let at = transport + 4; at < sent.length; at++) {
          const other = sent.slice();
          other[at] = (other[at] as number) ^ 0xff;
          expect(flow(other)).to.equal(flow(sent));
        }
        for (const at of [transport, transport + 3]) {
          const other = sent.slice();
          other[at] = (other[at] as number) ^ 1;
          expect(flow(other)).not.to.equal(flow(sent));
        }
      });
    }
  }

  it('is one for all fragments of an IPv4 packet: a later one has data where the first has ports', () => {
    const first = packetOf({ to, from, protocol: 'udp', payload: 100 });
    write16(first, 20, 0x2000);
    const later = first.slice();
    write16(later, 20, 0x2001);
    later.fill(0x77, 34);
    const last = later.slice();
    write16(last, 20, 0x00a0);
    last.fill(0x99, 34);
    expect(flow(later)).to.equal(flow(first));
    expect(flow(last)).to.equal(flow(first));
  });

  it('of what is no IP goes by the stations, and nothing is read beyond a frame', () => {
    expect(flow(frameOf({ to, from, length: 60, fill: 1 }))).to.equal(flow(frameOf({ to, from, length: 14, fill: 9 })));
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 14, maxLength: 80 }),
        fc.constantFrom(0x0800, 0x86dd),
        fc.nat({ max: 255 }),
        (bytes, type, behind) => {
          const frame = bytes.slice();
          write16(frame, 12, type);
          const followed = Uint8Array.from([...frame, ...new Uint8Array(64).fill(behind)]);
          expect(flowOf(followed, 0, frame.length)).to.equal(flow(frame));
        },
      ),
    );
  });
});
