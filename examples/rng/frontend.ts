import { type FrontLink, frontend, PeerFault, XenError } from 'splitring';
import { rng } from './protocol.js';

export interface Rng {
  read(length: number): Promise<Uint8Array>;
}

@frontend(rng)
export class RngFrontend {
  connect({ ring, grants, peer }: FrontLink<typeof rng>): Rng {
    return {
      async read(length) {
        using page = grants.share();
        const want = Math.min(length, peer['max-bytes']);
        const got = await ring.request(
          (req) => req.set({ gref: page.ref, length: want }),
          (rsp) => rsp.status,
        );
        if (got < 0) throw new XenError(-got, 'vrng read');
        if (got > want) throw new PeerFault('vrng status', got);
        return page.bytes.slice(0, got);
      },
    };
  }
}
