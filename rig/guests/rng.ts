// What a guest runs: asks its vrng device for bytes, closes it, and says what it saw.
import { firstValueFrom, Subscription } from 'rxjs';
import { type Device, devices$, XenError } from '../../core/index.js';
import { type Rng, RngFrontend } from '../../examples/rng/frontend.js';
import { XenDomain } from '../../platform/xen/index.js';

const xen = await XenDomain.open({ log: ({ level, source, text }) => console.error(`${level} ${source} ${text}`) });
const idle = xen.holdings;
// A device is given up when nobody is subscribed for it.
const stay = new Subscription();
const device = await new Promise<Device<Rng>>((resolve) => {
  stay.add(devices$(xen.domain, RngFrontend).subscribe(resolve));
});
const rng = await firstValueFrom(device.connections$);
const read: string[] = [];
for (let length = 1; length <= 300; length += 13) {
  const bytes = await rng.read(length);
  if (bytes.length !== Math.min(length, 256)) throw new Error(`asked for ${length} bytes, ${bytes.length} came`);
  read.push(Buffer.from(bytes).toString('hex'));
}
// Many at once, more than the ring has slots.
const many = await Promise.all(Array.from({ length: 600 }, () => rng.read(16)));
const different = new Set(many.map((bytes) => Buffer.from(bytes).toString('hex'))).size;
await device.close();
stay.unsubscribe();
const left = Object.entries(xen.holdings).filter(([what, count]) => count > idle[what as keyof typeof idle]);
const after = await rng.read(1).catch((error: unknown) => error);
if (!(after instanceof Error) || after instanceof XenError) throw new Error(`after the end a read came to ${after}`);
xen[Symbol.dispose]();
console.log(
  JSON.stringify({
    domid: xen.domain.domid,
    reads: read.length + many.length,
    different,
    left: Object.fromEntries(left),
  }),
);
process.exit(0);
