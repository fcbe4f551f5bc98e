import { type Domain, Domctl, XenError } from '../../core/index.js';
import { Toolstack } from '../../core/toolstack/index.js';

const leftToXl = (what: string) => (): Promise<never> =>
  Promise.reject(new XenError('EOPNOTSUPP', `domains are not ${what} here: xl does that`));

/** The toolstack of a privileged domain of real Xen, for devices alone: domains are xl's. */
export const toolstackOf = (domain: Domain): Toolstack => {
  const { container } = domain;
  if (!container.isBound(Toolstack)) {
    const domctl: Domctl = {
      create: leftToXl('created'),
      unpause: leftToXl('unpaused'),
      pause: leftToXl('paused'),
      shutdown: leftToXl('shut down'),
      resume: leftToXl('resumed'),
      destroy: leftToXl('destroyed'),
    };
    container.bind(Domctl).toConstantValue(domctl);
    container.bind(Toolstack).toSelf().inSingletonScope();
  }
  return container.get(Toolstack);
};
