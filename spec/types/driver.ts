// What a driver cannot say: the other end's verbs, keys and protocols (core/xenbus).
import {
  type Backend,
  type BackLink,
  type BackOffer,
  backend,
  type Frontend,
  type FrontLink,
  type FrontNegotiation,
  frontend,
  type GrantRef,
  grantRef,
  i16,
  type OfferValues,
  type Port,
  protocol,
  ring,
  struct,
  u16,
  uint,
} from '../../core/index.js';

const request = struct('request', { id: u16, length: u16, gref: grantRef });
const response = struct('response', { id: u16, status: i16 });
const rng = protocol({
  device: 'vrng',
  ring: ring({ request, response, id: 'id' }),
  keys: {
    backend: { InitWait: { 'max-bytes': uint({ default: 256 }) }, Connected: { sectors: uint() } },
    frontend: { Initialised: { depth: uint({ default: 1 }) } },
  },
  refuse: (rsp, errno) => {
    rsp.status = -errno;
  },
});
const other = protocol({ device: 'vother', ring: rng.ring, keys: rng.keys, refuse: rng.refuse });
type Rng = typeof rng;
type Other = typeof other;

declare const front: FrontLink<Rng>;
declare const back: BackLink<Rng>;
declare const gref: GrantRef;
declare const port: Port;

// @ts-expect-error only a member of both can pair a response with its request
ring({ request, response, id: 'length' });
// @ts-expect-error the id is spelt as in the structs
ring({ request, response, id: 'ID' });

front.ring.request(
  (req) => {
    req.gref = gref;
    req.length = 3;
    // @ts-expect-error a port is no grant reference
    req.gref = port;
    // @ts-expect-error a plain number is no grant reference
    req.gref = 7;
    // @ts-expect-error the wire has no such field
    req.bytes = 3;
    // @ts-expect-error the id is the ring's
    req.id = 7;
    // @ts-expect-error a whole request is of the wire's types too
    req.set({ gref: port, length: 3 });
    // @ts-expect-error no field of a whole request is left out
    req.set({ gref });
  },
  (rsp) => {
    // @ts-expect-error what the backend wrote is read, never written
    rsp.status = 1;
    return rsp.status;
  },
);
back.serve((req, rsp) => {
  rsp.status = req.length;
  // @ts-expect-error what the frontend wrote is read, never written
  req.length = 1;
  // @ts-expect-error the response has no such field
  rsp.length = 1;
  // @ts-expect-error the id is the ring's
  rsp.id = 1;
});

// @ts-expect-error a frontend does not serve
front.serve(() => {});
// @ts-expect-error a frontend has no requests to drain
front.drain(() => {});
// @ts-expect-error a backend does not request
back.request(() => {});
// @ts-expect-error a backend has no ring to put requests on
back.ring.submit(() => {});
// @ts-expect-error a frontend maps nothing of its backend's
front.grants.map(gref);
// @ts-expect-error a backend's pages are not for its frontend
back.grants.share();

const offered: number = front.peer['max-bytes'] + front.peer.sectors + back.peer.depth;
// @ts-expect-error a key that the protocol does not declare
front.peer['max-pages'];
// @ts-expect-error a key of the other writer
front.own['max-bytes'];
// @ts-expect-error a key of the other writer
back.own.depth;
// @ts-expect-error what this end wrote is settled
front.own.depth = 2;
// @ts-expect-error a key of an earlier state
back.publish({ 'max-bytes': 1 });
// @ts-expect-error a key that the protocol does not declare
back.publish({ capacity: 1 });
// @ts-expect-error a number's key takes a number
back.publish({ sectors: '1' });

@frontend(rng)
class RngFrontend implements Frontend<Rng, number> {
  negotiate({ offered }: FrontNegotiation<Rng>): { depth: number } {
    // @ts-expect-error the frontend's own key is not yet there
    void offered.depth;
    return { depth: offered['max-bytes'] };
  }
  connect({ own }: FrontLink<Rng>): number {
    return own.depth;
  }
}
@backend(rng)
class RngBackend implements Backend<Rng> {
  offer({ toolstack }: BackOffer<Rng>): Partial<OfferValues<Rng>> {
    // @ts-expect-error a key that the toolstack does not write
    void toolstack.mode;
    return { 'max-bytes': 128 };
  }
  connect({ serve }: BackLink<Rng>): void {
    serve(() => {});
  }
}

// @ts-expect-error a frontend of another protocol, though the layouts are the same
@frontend(other)
class OtherFrontend {
  connect({ own }: FrontLink<Rng>): number {
    return own.depth;
  }
}
// @ts-expect-error a backend of another protocol, though the layouts are the same
@backend(other)
class OtherBackend {
  connect({ serve }: BackLink<Rng>): void {
    serve(() => {});
  }
}
// @ts-expect-error a backend declared as a frontend
@frontend(rng)
class Turned {
  connect({ serve }: BackLink<Rng>): void {
    serve(() => {});
  }
}
class Mixed implements Frontend<Other, number> {
  // @ts-expect-error the link of another protocol
  connect({ own }: FrontLink<Rng>): number {
    return own.depth;
  }
}
class Undeclared implements Backend<Rng> {
  // @ts-expect-error a key that the protocol does not declare
  offer(): { capacity: number } {
    return { capacity: 1 };
  }
  connect(): void {}
}
