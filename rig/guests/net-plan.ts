/** Addresses of dom0 and the guest on the network between them. */
export const DOM0_ADDRESS = '10.9.0.1';
export const GUEST_ADDRESS = '10.9.0.2';
export const DOM0_ADDRESS6 = 'fd09::1';
export const GUEST_ADDRESS6 = 'fd09::2';
/** Where each end echoes UDP datagrams. */
export const ECHO_PORT = 7;
/** Where dom0 takes datagrams that nobody answers. */
export const SINK_PORT = 9;
/** The first of the ports that datagrams come from, one a flow; how many flows there are. */
export const FLOW_PORT = 7100;
export const FLOWS = 16;
/** Bytes of payload: within a page, and of several slots. */
export const PING_SIZES = [56, 1400, 8000] as const;
export const DATAGRAM_SIZES = [1, 1400, 8900] as const;
/** Bytes that the network takes where the host of ours is on it. */
export const LARGE_MTU = 9000;
/** The guest's TAP device. */
export const TAP = 'tap0';
/** Where each end takes bytes by TCP, and how many go each way: in large packets, and frame by frame. */
export const BULK_PORT = 9000;
export const BULK_BYTES = { large: 1 << 20, whole: 1 << 18 } as const;
