/** A frame with a payload of one byte again and again. */
export const frameOf = (options: {
  readonly to: Uint8Array;
  readonly from: Uint8Array;
  readonly length: number;
  readonly fill: number;
}): Uint8Array => {
  const bytes = new Uint8Array(options.length).fill(options.fill);
  bytes.set(options.to, 0);
  bytes.set(options.from, 6);
  bytes.set([0x88, 0xb5], 12); // local experimental (if_ether.h ETH_P_802_EX1)
  for (let i = 14; i < options.length; i++) bytes[i] = options.fill + i;
  return bytes;
};
