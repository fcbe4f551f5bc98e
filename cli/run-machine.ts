import { Cleanup } from '../core/index.js';
import { listenForDebugKeys } from './debug-socket.js';
import type { Interruption } from './interruption.js';
import type { MachineDefinition, MachineOptions, OptionValues } from './machine.js';
import type { Platform } from './platforms.js';
import type { TerminalOutput } from './terminal-output.js';

/** What is run, and where. */
export interface Run {
  readonly definition: MachineDefinition;
  readonly options: OptionValues<MachineOptions>;
  readonly platform: Platform;
  readonly seed: number;
  readonly out: TerminalOutput;
  /** What ends the run before it is done. */
  readonly interruption: Pick<Interruption, 'happened' | 'watch'>;
}

/**
 * Runs a machine to its end, then ends its domains and runs its clean-up, whatever has happened. Resolves to whether all was well.
 * @throws what failed; AggregateError when the clean-up failed too
 */
export const runMachine = async ({ definition, options, platform, seed, out, interruption }: Run): Promise<boolean> => {
  const { happened } = interruption;
  const cleanup = new Cleanup();
  const lastResort = (): void => cleanup[Symbol.dispose]();
  // The process may end in the middle: by a second signal.
  process.once('exit', lastResort);
  const errors: unknown[] = [];
  const attempt = async <T>(work: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      errors.push(error);
      return undefined;
    }
  };
  const booted = await attempt(() => Promise.race([happened, platform.create({ seed })]));
  let well: boolean | undefined;
  if (booted !== undefined) {
    const { machine, order, standsStill } = booted;
    const said = machine.log$.subscribe((entry) => out.log(entry));
    said.add(machine.shutdowns$.subscribe((shutdown) => out.shutdown(shutdown)));
    const watch = standsStill && interruption.watch(standsStill);
    cleanup.use(listenForDebugKeys(machine, (error) => out.row('keys', `debug-keys do not work: ${error.message}`)));
    well = await attempt(() => Promise.race([happened, definition.run({ machine, options, out, cleanup })]));
    watch?.[Symbol.dispose]();
    said.unsubscribe();
    out.close();
    if (well !== undefined && order !== undefined) out.row('order', order());
    await attempt(() => machine[Symbol.asyncDispose]());
  }
  await attempt(() => cleanup[Symbol.dispose]());
  process.off('exit', lastResort);
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, 'several things failed');
  out.line(well === true ? out.style('green', 'ok') : out.style('red', 'not ok'));
  return well === true;
};
