import { expect } from 'chai';
import { Clock, Domctl } from '../../../core/index.js';
import { vcpuScene } from './vcpu-scene.js';

const MS = 1_000_000;

describe('the vCPUs of a local machine', () => {
  const scene = vcpuScene();
  const { make, guest, vcpu, now, note, sleep, channel } = scene;

  describe('that spend CPU time', () => {
    it('receive it in as much system time where nobody else wants the CPU', async () => {
      await make();
      const one = vcpu(await guest('one'));
      const start = now();
      await one.spend(25);
      expect(now() - start).to.equal(25);
      expect(one.runstate().time.running).to.equal(25 * MS);
    });

    it('share one CPU by slices: virtual time is not system time, and both add up', async () => {
      await make();
      const [a, b] = [vcpu(await guest('a')), vcpu(await guest('b'))];
      const start = now();
      await Promise.all([a.spend(50).then(note('a')), b.spend(50).then(note('b'))]);
      expect(now() - start).to.equal(100);
      for (const each of [a, b]) {
        const { time } = each.runstate();
        expect(time.running).to.equal(50 * MS);
      }
      expect(a.runstate().time.runnable + b.runstate().time.runnable).to.be.within(50 * MS, 100 * MS);
    });

    it('run at the same time where there are CPUs enough', async () => {
      await make({ cpus: 2 });
      const smp = await guest('smp', 2);
      vcpu(smp, 1).up();
      const start = now();
      await Promise.all([0, 1].map((id) => vcpu(smp, id).spend(50)));
      expect(now() - start).to.equal(50);
    });

    it('three on two CPUs take three halves of the time', async () => {
      await make({ cpus: 2, slice: 1 });
      const all = await Promise.all(['a', 'b', 'c'].map((name) => guest(name)));
      const start = now();
      await Promise.all(all.map((each) => vcpu(each).spend(40)));
      expect(now() - start).to.be.within(60, 80);
      expect(all.map((each) => vcpu(each).runstate().time.running)).to.deep.equal([40 * MS, 40 * MS, 40 * MS]);
    });

    it('get their events while they run, and wait for them while they are switched out (S1)', async () => {
      await make({ slice: 10 });
      const [a, b, sender] = [await guest('a'), await guest('b'), await guest('sender')];
      const [toA, atA] = await channel(sender, a);
      atA.subscribe(() => scene.trace.push(`event while ${vcpu(a).runstate().state}, ${vcpu(b).runstate().state}`));
      await scene.machine.idle();
      scene.trace.length = 0;
      const done = Promise.all([vcpu(a).spend(40), vcpu(b).spend(40)]);
      for (let i = 0; i < 15; i++) {
        await sleep(5);
        toA.notify();
      }
      await done;
      // Whenever the upcall came, a had the CPU and b had none.
      expect(scene.trace.length).to.be.within(2, 15);
      for (const line of scene.trace) expect(line).to.match(/^event while running, (runnable|blocked)$/);
    });

    it('are entered for an event at once, though they compute: the CPU is theirs', async () => {
      await make();
      const [a, sender] = [await guest('a'), await guest('sender')];
      const [toA, atA] = await channel(sender, a);
      await scene.machine.idle();
      atA.subscribe(note('event'));
      await scene.machine.idle();
      scene.trace.length = 0;
      const done = vcpu(a).spend(30).then(note('done'));
      await sleep(7);
      toA.notify();
      await done;
      expect(scene.trace).to.deep.equal(['event at 7', 'done at 30']);
    });

    it('keep a vCPU that has an event waiting for a slice, no longer', async () => {
      await make({ slice: 10 });
      const [a, idle, sender] = [await guest('a'), await guest('idle'), await guest('sender')];
      const [there, here] = await channel(sender, idle);
      here.subscribe(note('event'));
      await scene.machine.idle();
      scene.trace.length = 0;
      const start = now();
      const done = vcpu(a).spend(100);
      await sleep(3);
      there.notify();
      await done;
      expect(scene.trace).to.deep.equal([`event at ${start + 10}`]);
    });

    it('leave their time alone while they are paused', async () => {
      await make();
      const a = await guest('a');
      const { toolstack } = scene.machine;
      const done = vcpu(a).spend(20).then(note('done'));
      await sleep(5);
      await scene.machine.dom0.get(Domctl).pause(a.domid);
      expect(vcpu(a).runstate().state).to.equal('offline');
      await sleep(100);
      await toolstack.unpause(a.domid);
      await done;
      expect(scene.trace).to.deep.equal(['done at 120']);
      const { running, offline } = vcpu(a).runstate().time;
      expect([running, offline >= 100 * MS]).to.deep.equal([20 * MS, true]);
    });

    it('refuse less than nothing: RangeError', async () => {
      await make();
      const one = vcpu(await guest('one'));
      expect(() => one.spend(-1)).to.throw(RangeError);
      expect(() => one.virtualTimer$(Number.NaN)).to.throw(RangeError);
    });
  });

  describe('with a seed', () => {
    const run = async (seed: number): Promise<string> => {
      await make({ seed, slice: 3, cpus: 2 });
      scene.trace.length = 0;
      const picks: string[] = [];
      scene.machine.onPick((name) => picks.push(name));
      const all = await Promise.all(['a', 'b', 'c'].map((name) => guest(name, 2)));
      const busy = all.flatMap((each) => {
        vcpu(each, 1).up();
        return [0, 1].map((id) =>
          vcpu(each, id)
            .spend(10 + id)
            .then(note(`${each.name}${id}`)),
        );
      });
      for (const each of all)
        vcpu(each)
          .virtualTimer$(7)
          .subscribe(note(`virtual ${each.name}`));
      await Promise.all(busy);
      await scene.machine[Symbol.asyncDispose]();
      return JSON.stringify([scene.trace, picks]);
    };

    it('repeat who runs when, and when each has spent its time', async () => {
      for (const seed of [1, 2, 3]) expect(await run(seed)).to.equal(await run(seed));
    });

    it('run in another order with another', async () => {
      expect(await run(1)).not.to.equal(await run(2));
    });
  });

  describe('whose code does not yield', () => {
    const spin = (ms: number): void => {
      for (const end = performance.now() + ms; performance.now() < end; );
    };

    it('are named in the log with the duration, when their callback has returned', async () => {
      await make({ runaway: 100 });
      const log: string[] = [];
      scene.machine.log$.subscribe(({ domain, source, text }) => log.push(`${domain} ${source} ${text}`));
      const [a, smp] = [await guest('a'), await guest('smp', 2)];
      vcpu(smp, 1).up();
      await vcpu(a).run(() => spin(120));
      await vcpu(smp, 1).run(() => spin(120));
      a.get(Clock)
        .timer$(1)
        .subscribe(() => spin(120));
      await sleep(5);
      await scene.machine.idle();
      const named = (pattern: RegExp): number => log.filter((line) => pattern.test(line)).length;
      expect(
        named(/^a scheduler a did not yield for 1[2-9]\d ms$|^a scheduler a did not yield for [2-9]\d\d ms$/),
      ).to.be.least(2);
      expect(named(/^smp scheduler smp v1 did not yield for \d+ ms$/)).to.be.least(1);
    });
  });
});
