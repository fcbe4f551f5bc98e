import { firstValueFrom } from 'rxjs';
import { Clock } from 'splitring';
import { defineMachine, oneOf, wholeNumber } from 'splitring/machine';

export const machine = defineMachine({
  summary: 'ends after a while, in the way that it is told',
  options: {
    ms: { value: 'MS', description: 'how long it takes', parse: wholeNumber({ max: 60_000 }), default: 1 },
    how: { value: 'N', description: 'exit code', parse: oneOf(0, 1), default: 0 },
    fail: { value: 'TEXT', description: 'throws an error', parse: (text) => text },
    mistake: { description: 'has a mistake in its code' },
    stuck: { description: 'waits for what never comes' },
    late: { description: 'throws where nobody catches it' },
  },
  check: ({ fail }) => {
    if (fail === '') throw new Error('an error needs a text: give one');
  },
  run: async ({ machine, options, out, cleanup }) => {
    cleanup.add(() => process.stderr.write('cleaned up\n'));
    out.row('waits', `for ${options.ms} ms`);
    if (options.late) setTimeout(() => Promise.reject(new Error('nobody saw it coming')), 1);
    if (options.stuck) await new Promise(() => {});
    await firstValueFrom(machine.dom0.get(Clock).timer$(options.ms), { defaultValue: undefined });
    if (options.fail !== undefined) throw new Error(options.fail);
    if (options.mistake) (undefined as unknown as { go(): void }).go();
    const progress = out.progress('count', 1024 * 1024);
    for (let i = 0; i <= 64; i++) {
      progress.update(i * 16384);
      await firstValueFrom(machine.dom0.get(Clock).timer$(options.ms / 64), { defaultValue: undefined });
    }
    progress.end();
    return options.how === 0;
  },
});
