import type { Command } from 'commander';
import { debugKeys } from '../core/toolstack/index.js';
import { asDebugKeys, sendDebugKeys } from './debug-socket.js';
import { messageOf, refusal, UsageError } from './errors.js';
import { wholeNumber } from './machine.js';
import type { TerminalOutput } from './terminal-output.js';

const listOfKeys = (): string =>
  ['Keys:', ...Object.entries(debugKeys).map(([key, does]) => `  ${key}  ${does}`)].join('\n');

/** Adds `debug-keys` to the command: what `xl debug-keys` sends to Xen, with what Xen prints. */
export const addDebugKeys = (command: Command, out: TerminalOutput, done: () => void): void => {
  command
    .command('debug-keys')
    .description('send debug keys to the Xen of a machine that runs, and print its console')
    .usage('[options] KEYS')
    .argument('<KEYS>', 'one or more, such as e or eg')
    .option('--pid <N>', 'the process of its splitring run, where several run', pidOf)
    .exitOverride(refusal('splitring debug-keys'))
    .addHelpText('after', () => `\n${listOfKeys()}`)
    .action(async (keys: string, { pid }: { readonly pid?: number }) => {
      const text = await sendDebugKeys(asDebugKeys(keys), pid);
      for (const line of text.trimEnd().split('\n')) out.line(`(XEN) ${line}`);
      done();
    });
};

const pidOf = (text: string): number => {
  try {
    return wholeNumber({ min: 1 })(text);
  } catch (error) {
    throw new UsageError(`--pid ${JSON.stringify(text)}: ${messageOf(error)}`);
  }
};
