import { repeat } from 'rxjs';
import { Clock, HostInterrupt, Physdev, type Shutdown, XenStore } from 'splitring';
import { defineMachine, type Output, wholeNumber } from 'splitring/machine';
import type { BackendCommandLine } from './backend.js';
import type { Delivery } from './delivery.js';
import type { GuestCommandLine } from './guest.js';

/** The host's number of the device's interrupt. */
const IRQ = 16;
/** How often the device interrupts, and how far ahead the guest sets its timer, in milliseconds. */
const DEVICE_PERIOD = 25;
const TIMER_PERIOD = 10;

const backendModule = new URL('backend.js', import.meta.url);
const guestModule = new URL('guest.js', import.meta.url);

export const machine = defineMachine(
  {
    summary: 'a PIRQ, a VIRQ, an int3 and a channel between two domains: each delivery with domain, port and time',
    options: {
      times: {
        value: 'N',
        description: 'how many events of the backend, and of the timer, the guest handles',
        parse: wholeNumber({ min: 2, max: 10_000 }),
        default: 3,
      },
    },
  },
  {
    async run({ machine, options: { times }, out, cleanup }) {
      const { toolstack, dom0 } = machine;
      const clock = dom0.get(Clock);
      const deliveries = new Deliveries(out);

      const backendLine: BackendCommandLine = { pirq: IRQ };
      const backend = await toolstack.create({ name: 'backend', module: backendModule, cmdline: backendLine });
      const pirq = dom0.get(Physdev).mapPirq(backend, { type: 'gsi', index: IRQ });
      if (pirq !== IRQ) throw new Error(`the backend knows interrupt ${IRQ} of the host as ${pirq}`);
      const guestLine: GuestCommandLine = { backend, times, period: TIMER_PERIOD };
      const guest = await toolstack.create({ name: 'guest', module: guestModule, cmdline: guestLine });
      await dom0.get(XenStore).write(`/local/domain/${backend}/data/guest`, String(guest));

      const names = new Map([
        [backend, 'backend'],
        [guest, 'guest'],
      ]);
      const reports = machine.reports$.subscribe(({ domid, value }) =>
        deliveries.add(names.get(domid) ?? '', value as Delivery),
      );
      // The device: it interrupts again and again, whether somebody listens or not.
      const device = machine.attach([HostInterrupt.edge(IRQ, clock.timer$(DEVICE_PERIOD).pipe(repeat()))]);
      cleanup.add(() => device.unsubscribe());
      await Promise.all([toolstack.unpause(backend), toolstack.unpause(guest)]);
      // One that crashes ends the run at once: the other might wait for it for ever.
      await Promise.all([backend, guest].map(async (domid) => expectPoweroff(await machine.shutdownOf(domid))));
      await machine.idle();
      reports.unsubscribe();
      return deliveries.are({ event: times, VIRQ_TIMER: times, int3: 1 });
    },
  },
);

const expectPoweroff = ({ name, reason, error }: Shutdown): void => {
  if (reason !== 'poweroff')
    throw new Error(`the ${name} ended by ${reason}: ${error?.message ?? 'it gave no reason'}`);
};

/** What has been delivered, printed as it comes. */
class Deliveries {
  readonly #out: Output;
  readonly #counts = new Map<Delivery['what'], number>();

  constructor(out: Output) {
    this.#out = out;
  }

  add(domain: string, { time, by, what, text }: Delivery): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
    const columns = [`${time.toFixed(1)} ms`.padStart(10), domain.padEnd(7), by.padEnd(8), what.padEnd(10), text];
    this.#out.line(columns.join('  '));
  }

  /** Whether there were as many of each as there should; tells how many there were. */
  are(expected: Readonly<Partial<Record<Delivery['what'], number>>>): boolean {
    const whats = Object.keys(expected) as Delivery['what'][];
    this.#out.row('counted', whats.map((what) => `${this.#counts.get(what) ?? 0} ${what}`).join(', '));
    return whats.every((what) => this.#counts.get(what) === expected[what]);
  }
}
