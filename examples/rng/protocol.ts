import { grantRef, i16, protocol, ring, struct, u16, uint } from 'splitring';

export const rng = protocol({
  device: 'vrng',
  ring: ring({
    request: struct('vrng_request', { id: u16, length: u16, gref: grantRef }), // length in bytes
    response: struct('vrng_response', { id: u16, status: i16 }), // bytes filled, or -errno
    id: 'id', // the field that pairs a response with its request
  }),
  keys: { backend: { InitWait: { 'max-bytes': uint({ default: 256, max: 4096 }) } } },
  refuse: (rsp, errno) => {
    rsp.status = -errno;
  },
});
