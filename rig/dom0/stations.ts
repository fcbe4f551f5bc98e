import { run, same, until } from './shell.js';

/** A host on a bridge: a guest, or dom0 itself. */
export interface Station {
  readonly name: string;
  readonly address: string;
  /** Runs a line of shell there; resolves to what it wrote. @throws Error unless it ends with 0 */
  sh(line: string): Promise<string>;
}

/** dom0's own kernel, on the bridge by a TAP device. */
export const dom0At = (address: string): Station => ({
  name: 'dom0',
  address,
  sh: (line) => run('sh', '-c', line),
});

/** Pings of these many bytes, one after the other, each of which is answered within ten seconds. */
export const pinged = async (from: Station, to: Station, count: number, size: number): Promise<number> => {
  const each = `ping -q -c 1 -W 10 -s ${size} ${to.address} > /dev/null`;
  await from.sh(
    `(for i in $(seq ${count}); do ${each} || { echo ping $i of ${size} bytes is not answered; exit 1; }; done)`,
  );
  return count;
};

/**
 * One datagram of each size, from a port of its own each, to one of its own; what came is compared by its sum. Those longer than the MTU
 * come in fragments.
 */
export const datagrams = async (from: Station, to: Station, sizes: readonly number[]): Promise<number> => {
  const ports = sizes.map((_, i) => 5000 + i);
  const names = (what: string): string => ports.map((port) => `/tmp/${what}${port}`).join(' ');
  const listen = ports.map(
    (port) => `nc.traditional -u -l -p ${port} < /dev/null > /tmp/in${port} 2> /dev/null & echo $!`,
  );
  const listeners = (await to.sh(listen.join('\n').replaceAll('\n', '; '))).split(/\s+/).join(' ');
  const make = ports.map((port, i) => `head -c ${sizes[i]} /dev/urandom > /tmp/out${port}`).join('; ');
  const send = ports.map((port) => `nc.traditional -u -q 0 ${to.address} ${port} < /tmp/out${port}`).join('; ');
  const sum = await from.sh(`${make}; cat ${names('out')} | sha256sum; sleep 0.2; ${send}`);
  const all = sizes.reduce((total, size) => total + size, 0);
  const arrived = async (): Promise<true | undefined> =>
    (await to.sh(`cat ${names('in')} | wc -c`)) === String(all) ? true : undefined;
  await until(`the end of ${sizes.length} datagrams from ${from.name} to ${to.name}`, arrived, 20);
  const came = await to.sh(`kill ${listeners}; cat ${names('in')} | sha256sum; rm ${names('in')}`);
  same(`the datagrams from ${from.name} to ${to.name}`, came, sum);
  return sizes.length;
};

/** So many KiB by TCP, whose sum is compared at the other end. */
export const bulk = async (from: Station, to: Station, kib: number): Promise<number> => {
  const listener = await to.sh('nc.traditional -l -p 9000 < /dev/null > /tmp/got 2> /dev/null & echo $!');
  const sum = await from.sh(
    `head -c ${kib * 1024} /dev/urandom > /tmp/file; sha256sum < /tmp/file; nc.traditional -q 0 ${to.address} 9000 < /tmp/file`,
  );
  const ended = async (): Promise<true | undefined> =>
    (await to.sh(`kill -0 ${listener} 2> /dev/null || echo it has ended`)) === '' ? undefined : true;
  await until(`the end of ${kib} KiB from ${from.name} to ${to.name}`, ended, 60);
  same(`${kib} KiB by TCP from ${from.name} to ${to.name}`, await to.sh('sha256sum < /tmp/got'), sum);
  return kib;
};
