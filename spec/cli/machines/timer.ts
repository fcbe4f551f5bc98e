import { firstValueFrom } from 'rxjs';
import { Clock } from 'splitring';
import { defineMachine, oneOf, wholeNumber } from 'splitring/machine';

const forever = new Promise<never>(() => {});

export const machine = defineMachine(
  {
    summary: 'ends after a while, in the way that it is told',
    options: {
      ms: { value: 'MS', description: 'how long it takes', parse: wholeNumber({ max: 60_000 }), default: 1 },
      well: { value: 'N', description: 'whether all is well', parse: oneOf(0, 1), default: 1 },
      fail: { value: 'TEXT', description: 'throw an error', parse: (text) => text },
      mistake: { description: 'have a mistake in the code' },
      uncaught: { description: 'throw where nobody catches' },
      stuck: { description: 'wait for what never comes' },
      'slow-end': { description: 'do not end when the machine is ended' },
    },
  },
  {
    check({ fail }) {
      if (fail === '') throw new Error('an error needs a text: give one');
    },
    async run({ machine, options, out, cleanup }) {
      cleanup.add(() => process.stderr.write('cleaned up\n'));
      const clock = machine.dom0.get(Clock);
      const wait = (ms: number): Promise<void> => firstValueFrom(clock.timer$(ms));
      if (options['slow-end']) machine[Symbol.asyncDispose] = () => forever;
      out.row('takes', `${options.ms} ms`);
      if (options.uncaught) setTimeout(() => Promise.reject(new Error('it was late')), 1);
      if (options.stuck) await forever;
      await wait(50);
      out.line('and goes on');
      const progress = out.progress('wait', options.ms);
      await wait(options.ms);
      progress.end();
      if (options.fail !== undefined) throw new Error(options.fail);
      if (options.mistake) throw new TypeError('it is no number');
      return options.well === 1;
    },
  },
);
