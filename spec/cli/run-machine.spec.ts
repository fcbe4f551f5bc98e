import { expect } from 'chai';
import { defineMachine } from '../../cli/machine.js';
import { platformNames, platformOf } from '../../cli/platforms.js';
import { runMachine } from '../../cli/run-machine.js';
import { TerminalOutput } from '../../cli/terminal-output.js';

const backend = import.meta.resolve('../../examples/rng/backend.js');
const broken = import.meta.resolve('../support/throws.module.js');
const never = new Promise<never>(() => {});

/** What the threads of domains keep in this one's event loop. */
const ports = async (): Promise<number> => {
  // What is closed leaves the list at the end of a turn.
  await new Promise((resolve) => setTimeout(resolve, 1));
  return process.getActiveResourcesInfo().filter((name) => name === 'MessagePort').length;
};

for (const name of platformNames) {
  describe(`a machine that is run on ${name}`, () => {
    const platform = platformOf(name, undefined);
    const out = new TerminalOutput({ write: () => {} }, {});
    const interruption = { happened: never, watch: () => ({ [Symbol.dispose]: () => {} }) };

    it('leaves no domain of several when one of them cannot be booted', async () => {
      const before = await ports();
      let during = -1;
      let domains: readonly string[] = [];
      const definition = defineMachine(
        { summary: 'two that run and one that does not', options: {} },
        {
          run: async ({ machine }) => {
            await Promise.all(['one', 'two'].map((domain) => machine.boot({ name: domain, module: backend })));
            during = await ports();
            try {
              await machine.boot({ name: 'three', module: broken });
            } finally {
              domains = (await machine.toolstack.domains()).map((domain) => domain.name);
            }
            return true;
          },
        },
      );
      const running = runMachine({ definition, options: {}, platform, seed: 1, out, interruption });
      const failure = await running.then(String, (error: Error) => error.message);
      expect(failure).to.match(/throws\.module\.js does not load: thrown while loading$/);
      expect(domains).to.deep.equal(['one', 'two']);
      if (name === 'threads') expect(during).to.be.greaterThan(before);
      expect(await ports()).to.equal(before);
    });

    if (name !== 'threads') return;
    it('leaves none that was still being booted when the run was interrupted', async () => {
      const before = await ports();
      const { promise: happened, reject } = withResolvers();
      let booting: Promise<unknown> = Promise.resolve();
      const definition = defineMachine(
        { summary: 'one that is being booted', options: {} },
        {
          run: async ({ machine }) => {
            booting = machine.boot({ name: 'one', module: backend }).then(
              () => 'booted',
              () => 'not booted',
            );
            setImmediate(() => reject(new Error('interrupted')));
            await booting;
            return never;
          },
        },
      );
      const interrupted = { ...interruption, happened };
      const running = runMachine({ definition, options: {}, platform, seed: 1, out, interruption: interrupted });
      expect(await running.then(String, (error: Error) => error.message)).to.equal('interrupted');
      await booting;
      expect(await ports()).to.equal(before);
    });
  });
}

function withResolvers(): { readonly promise: Promise<never>; readonly reject: (error: Error) => void } {
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<never>((_resolve, rejected) => {
    reject = rejected;
  });
  return { promise, reject };
}
