import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FileSystem } from 'typescript/unstable/fs';
import { API, type Project } from 'typescript/unstable/sync';

/** The project's own folder. */
export const projectRoot: string = dirname(fileURLToPath(import.meta.resolve('splitring/package.json')));

/**
 * Lets TypeScript read the project of a tsconfig.json and gives it to `use`; it is gone afterwards.
 * @param readFile the text of files that are to differ from the disk's; undefined for all others
 */
export const withProject = <T>(
  config: string,
  use: (project: Project) => T,
  readFile?: NonNullable<FileSystem['readFile']>,
): T => {
  const api = new API({ cwd: dirname(config), ...(readFile && { fs: { readFile } }) });
  try {
    const project = api.updateSnapshot({ openProjects: [config] }).getProject(config);
    if (project === undefined) throw new Error(`TypeScript finds no project at ${config}`);
    return use(project);
  } finally {
    api.close();
  }
};
