import { asError, boot, type Domain, type DomainModule, Program } from '../../core/index.js';

/**
 * Loads a domain's module and starts its drivers and its program. Resolves when they run.
 * @param load imports the module, by its URL
 * @param stopped told when the program has ended, with the error that it crashed by
 * @throws Error when the module does not load, naming it and the reason
 */
export const startDomain = async (
  domain: Domain,
  url: string,
  load: (url: string) => Promise<DomainModule>,
  stopped: (error: Error | undefined) => void,
): Promise<void> => {
  let program: Program | undefined;
  try {
    boot(domain, await load(url), url);
    if (domain.container.isBound(Program)) program = domain.get(Program);
  } catch (error) {
    const { message } = asError(error);
    throw new Error(message.includes(url) ? message : `${url} does not load: ${message}`, { cause: error });
  }
  if (program === undefined) return;
  const { run } = program;
  // What it throws before it first waits is a crash as any other.
  const running = new Promise<void>((resolve) => resolve(run.call(program)));
  running.then(
    () => stopped(undefined),
    (error: unknown) => stopped(asError(error)),
  );
};
