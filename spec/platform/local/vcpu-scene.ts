// A local machine, made anew for each test that asks for one, and what happened on it, by the machine's time.
import { firstValueFrom } from 'rxjs';
import { Clock, type Domain, EventChannels, type Vcpu, Vcpus } from '../../../core/index.js';
import { LocalMachine, type LocalMachineOptions } from '../../../platform/local/index.js';

/** To be called in a `describe`: its tests make their machine by `make`, which is gone after each. */
export const vcpuScene = () => {
  let machine: LocalMachine;
  let trace: string[];

  const make = async (options: LocalMachineOptions = {}): Promise<void> => {
    machine = await LocalMachine.create({ seed: 1, clock: 'simulated', memory: 8 << 20, ...options });
  };
  const guest = (name: string, vcpus?: number): Promise<Domain> => machine.guest(name, undefined, vcpus);
  const vcpu = (domain: Domain, id = 0): Vcpu => domain.get(Vcpus).vcpu(id);
  /** System time in milliseconds. */
  const now = (): number => machine.dom0.get(Clock).now();
  const note = (what: string) => (): void => {
    trace.push(`${what} at ${Math.round(now() * 1000) / 1000}`);
  };
  const sleep = (ms: number): Promise<void> => firstValueFrom(machine.dom0.get(Clock).timer$(ms));
  /** A channel: what raises its event, what it raises it in. */
  const channel = async (from: Domain, to: Domain) => {
    const there = to.get(EventChannels).allocUnbound(from.domid);
    const here = from.get(EventChannels).bindInterdomain(to.domid, there.port);
    await machine.idle();
    return [here, there] as const;
  };
  /** A machine with a guest that notes each upcall of a channel, and its sender; nothing is pending, and nothing noted. */
  const listening = async () => {
    await make();
    const [a, sender] = [await guest('a'), await guest('sender')];
    const [toA, atA] = await channel(sender, a);
    atA.subscribe(note('upcall'));
    await machine.idle();
    trace.length = 0;
    return { a, sender, toA, atA };
  };

  beforeEach(() => {
    trace = [];
  });
  afterEach(() => machine[Symbol.asyncDispose]());

  return {
    make,
    guest,
    vcpu,
    now,
    note,
    sleep,
    channel,
    listening,
    /** The machine of this test. */
    get machine() {
      return machine;
    },
    /** What was noted in this test; a test may begin it anew by its length. */
    get trace() {
      return trace;
    },
  };
};
