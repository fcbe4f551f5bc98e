import { parseMac } from './mac.js';
import { MTU } from './protocol.js';
import { parseXlRate } from './rate-limit.js';
import { type VifKeys, vifKeys } from './vif-keys.js';

/** A whole number that fits. */
const whole =
  (min: number, max: number) =>
  (text: string): number => {
    const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new RangeError(`it takes a whole number from ${min} to ${max}`);
    return value;
  };

/** What `splitring attach` is told of an interface, and what it makes of that. */
export const attachment = {
  options: {
    devid: { value: 'N', description: "the interface's number", parse: whole(0, 255), default: 0 },
  },
  /** What is needed besides to attach. */
  more: {
    mac: {
      value: 'MAC',
      description: "the guest's address: 00:16:3e:12:34:56",
      parse: (text: string): string => {
        parseMac(text);
        return text;
      },
    },
    bridge: {
      value: 'NAME',
      description: 'the bridge that it is a port of',
      parse: (text: string): string => text,
      default: 'xenbr0',
    },
    mtu: {
      value: 'BYTES',
      description: 'bytes of payload',
      parse: whole(MTU.min, MTU.max),
      default: MTU.usual,
    },
    rate: {
      value: 'RATE',
      description: "what the guest may send, as in xl's configuration: 10MB/s, 800Kb/s@20ms",
      parse: (text: string): string => {
        parseXlRate(text);
        return text;
      },
      default: '',
    },
  },
  id: ({ devid }: { readonly devid: number }): number => devid,
  keys: ({
    rate,
    ...config
  }: {
    readonly devid: number;
    readonly mac: string;
    readonly bridge: string;
    readonly mtu: number;
    readonly rate: string;
  }): VifKeys => vifKeys({ ...config, ...(rate !== '' && { rate: parseXlRate(rate) }) }),
};
