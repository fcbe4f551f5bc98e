import { type Key, PeerFault } from '../../core/index.js';

/** An Ethernet address as six bytes. */
export type Mac = Uint8Array;

/** Bytes of an Ethernet address. */
export const MAC_BYTES = 6;
/** The address that all stations listen to. */
export const BROADCAST: Mac = new Uint8Array(MAC_BYTES).fill(0xff);

/** Reads `00:16:3e:12:34:56`. @throws RangeError unless it is the address of one station */
export const parseMac = (text: string): Mac => {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text))
    throw new RangeError(`an Ethernet address is six bytes like 00:16:3e:12:34:56, not ${JSON.stringify(text)}`);
  const mac = Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16));
  if (((mac[0] as number) & 1) !== 0) throw new RangeError(`${text} is the address of a group, not of one station`);
  if (mac.every((byte) => byte === 0)) throw new RangeError(`${text} is no station's address`);
  return mac;
};

/** `00:16:3e:12:34:56`. */
export const showMac = (mac: Uint8Array, at = 0): string =>
  Array.from(mac.subarray(at, at + MAC_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join(':');

/** Whether two addresses are the same. */
export const sameMac = (one: Uint8Array, other: Uint8Array): boolean => one.every((byte, i) => byte === other[i]);

/** The key `mac`, which must be there; as text, checked. */
export const macKey = (): Key<string> => {
  const check = (text: string): string | undefined => {
    try {
      return showMac(parseMac(text));
    } catch {
      return undefined;
    }
  };
  return {
    default: undefined,
    parse: (name, text) => {
      const mac = check(text);
      if (mac === undefined) throw new PeerFault(name, JSON.stringify(text));
      return mac;
    },
    show: (_name, value) => showMac(parseMac(value)),
  };
};
