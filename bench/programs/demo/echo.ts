import { i16, protocol, ring, struct, u16 } from 'splitring';

/** The least device: it answers with what it was asked. */
export const echo = protocol({
  device: 'echo',
  ring: ring({
    request: struct('echo_request', { id: u16, value: i16 }),
    response: struct('echo_response', { id: u16, value: i16 }),
    id: 'id',
  }),
  keys: {},
  refuse: (rsp, errno) => {
    rsp.value = -errno;
  },
});
