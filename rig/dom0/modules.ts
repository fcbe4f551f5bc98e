import { readFileSync } from 'node:fs';
import { run } from './shell.js';

/** Loads a module of Linux into dom0, with those that it needs before it, unless they are there. @param options of the module itself */
export const loadModule = async (module: string, ...options: readonly string[]): Promise<void> => {
  const loaded = readFileSync('/proc/modules', 'utf8');
  const folder = `/rig/modules/${module}`;
  for (const file of readFileSync(`${folder}/order`, 'utf8').trim().split('\n')) {
    const name = file.replace(/\.ko.*/, '');
    if (new RegExp(`^${name.replaceAll('-', '_')} `, 'm').test(loaded)) continue;
    await run('insmod', `${folder}/${file}`, ...(name === module ? options : []));
  }
};
