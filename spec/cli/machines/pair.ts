import { firstValueFrom } from 'rxjs';
import { Clock } from 'splitring';
import { defineMachine } from 'splitring/machine';
import type { Fault } from './faulty.module.js';

const backend = import.meta.resolve('../../../examples/rng/backend.js');

export const machine = defineMachine(
  {
    summary: 'two domains, of which the second fails, and a run that waits for nothing of theirs',
    options: {
      module: {
        value: 'URL',
        description: 'what the second domain boots from',
        parse: (url) => url,
        default: import.meta.resolve('./faulty.module.js'),
      },
      fault: { value: 'FAULT', description: 'how it fails', parse: (text) => text as Fault, default: 'waits' },
      tick: { description: 'go on for ever' },
    },
  },
  {
    async run({ machine, options, out, cleanup }) {
      cleanup.add(() => process.stderr.write('cleaned up\n'));
      const clock = machine.dom0.get(Clock);
      await machine.boot({ name: 'entropy', module: backend });
      out.row('one', 'runs');
      await machine.boot({ name: 'guest', module: options.module, cmdline: options.fault });
      out.row('two', 'run');
      while (options.tick) {
        await firstValueFrom(clock.timer$(20));
        out.line('tick');
      }
      return new Promise<never>(() => {});
    },
  },
);
