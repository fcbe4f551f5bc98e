import { Backend, splitring } from '../dom0/backend.js';
import { Guest } from '../dom0/guest.js';
import { nothingLeftOf } from '../dom0/leftovers.js';
import { check, same } from '../dom0/shell.js';

/** Two guests with Linux' netfront on one bridge of ours: ping, both ways, small and of many slots. */
export const net = async (step: (text: string) => void): Promise<string> => {
  const backend = await Backend.start('net');
  const idle = await backend.holdings();
  const guests: Guest[] = [];
  for (const n of [1, 2]) {
    const guest = await Guest.create(`station${n}`);
    await splitring('attach', guest.name, 'net', '--mac', `00:16:3e:00:00:0${n}`);
    await guest.start();
    await guest.sh(
      'i=0; while [ ! -e /sys/class/net/eth0 ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done; ip link set eth0 up',
    );
    await guest.sh(`ip addr add 10.0.0.${n}/24 dev eth0`);
    guests.push(guest);
  }
  step('both guests have their interfaces');
  const [one, two] = guests as [Guest, Guest];
  const lost = async (guest: Guest, line: string): Promise<void> => {
    const said = await guest.sh(line);
    check(/ 0% packet loss/.test(said), `${guest.name}: ${line}: ${said.split('\n').slice(-3).join('; ')}`);
  };
  await one.sh('ping -c 1 -w 20 10.0.0.2 > /dev/null');
  await lost(one, 'ping -q -c 10 -i 0.1 -s 56 10.0.0.2');
  await lost(two, 'ping -q -c 10 -i 0.1 -s 1400 10.0.0.1');
  await lost(two, 'ping -q -c 5 -i 0.1 -s 8000 10.0.0.1');
  // As fast as it goes: a file, whose sum is compared at the other end.
  const bytes = 64 * 1024;
  await two.sh('(nc -l -p 9000 > /tmp/got) > /dev/null 2>&1 &');
  await one.sh(`head -c ${bytes} /dev/urandom > /tmp/file; (nc 10.0.0.2 9000 < /tmp/file) > /dev/null 2>&1 &`);
  await two.sh(`i=0; while [ $(wc -c < /tmp/got) -lt ${bytes} ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done`);
  same('the bytes that came', await two.sh('wc -c < /tmp/got'), String(bytes));
  same(
    'their sum',
    await two.sh("sha256sum /tmp/got | cut -d' ' -f1"),
    await one.sh("sha256sum /tmp/file | cut -d' ' -f1"),
  );
  await one.destroy();
  await nothingLeftOf(one);
  await two.destroy();
  await nothingLeftOf(two);
  await backend.holdsNothing(idle);
  await backend.end();
  return "two guests with Linux' netfront on our bridge: 25 pings of 56 to 8000 bytes, none lost; 64 KiB by TCP, the same at the other end";
};
