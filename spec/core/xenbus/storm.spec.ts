import { expect } from 'chai';
import { channelsOf } from '../../../bench/suites/storm/stormer.js';
import { Clock, connection, type Domain, type EventChannel, EventChannels } from '../../../core/index.js';
import { type Doubler, DoublerFrontend, XenbusRig } from '../../support/xenbus-rig.js';

/** Events of a storm, each of which the other end has the time to hear. */
const EVENTS = 100;

describe('a link under a storm of spurious events (XSA-391, XSA-332)', () => {
  let rig: XenbusRig;
  let other: Domain;
  let frontend: Doubler;
  let neighbour: Doubler;
  /** The rogue's end of the channel. */
  let channel: EventChannel;
  const now = (): number => rig.machine.dom0.get(Clock).now();
  const storm = async (): Promise<void> => {
    for (let i = 0; i < EVENTS; i++) {
      channel.notify();
      await rig.idle();
    }
  };
  /** The simulated time that something takes. */
  const timeOf = async (work: () => Promise<unknown>): Promise<number> => {
    const start = now();
    await work();
    return now() - start;
  };
  const connectWith = async (rogue: 'frontend' | 'backend'): Promise<void> => {
    rig = await XenbusRig.create();
    other = await rig.machine.guest('other');
    const opened = channelsOf((rogue === 'frontend' ? rig.guest : rig.backend).get(EventChannels));
    rig.serve();
    await rig.attach();
    frontend = await connection(rig.guest, DoublerFrontend);
    await rig.idle();
    channel = opened.at(-1) as EventChannel;
    await rig.machine.toolstack.attach({ ...rig.device, frontend: other.domid });
    neighbour = await connection(other, DoublerFrontend);
  };
  afterEach(() => rig[Symbol.asyncDispose]());

  for (const rogue of ['frontend', 'backend'] as const) {
    it(`costs the ${rogue} that raises them its own time, and its neighbour none`, async () => {
      await connectWith(rogue);
      expect(await timeOf(() => frontend.double(1))).to.equal(0);
      await storm();
      expect(await timeOf(() => neighbour.double(2))).to.equal(0);
      expect(await timeOf(() => frontend.double(3))).to.be.above(0);
    });

    it(`goes on as before once the ${rogue} has something to tell again`, async () => {
      await connectWith(rogue);
      await storm();
      expect(await frontend.double(4)).to.equal(8);
      expect(await timeOf(() => frontend.double(5))).to.equal(0);
    });
  }

  it('leaves nothing behind when the device goes in the middle of it', async () => {
    await connectWith('frontend');
    await storm();
    await rig.detach();
    await rig.idle();
    await rig.machine.toolstack.detach({ ...rig.device, frontend: other.domid });
    rig.expectNothingHeld();
  });
});
