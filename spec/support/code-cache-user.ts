/** A domain that reports how its thread came to its code, and whether the classes that it imports are those that its thread runs on. */
const domain = `
import { ContainerModule, Domain, inject, injectable, Program, Reporter } from 'splitring';
import { code } from '../node_modules/splitring/dist/chunks/splitring.js';

class Teller extends Program {
  constructor(domain, reporter) {
    super();
    this.run = async () => reporter.report([code, domain instanceof Domain, domain.constructor.name].join());
  }
}
injectable()(Teller);
inject(Domain)(Teller, undefined, 0);
inject(Reporter)(Teller, undefined, 1);

export default new ContainerModule(({ bind }) => {
  bind(Program).to(Teller);
});
`;

/** Boots such domains, the last of them with a cache of a V8 that is not this one, and prints what they report. */
const main = `
import { ThreadsMachine } from 'splitring/platform/threads';
import { firstValueFrom } from 'splitring/rxjs';
import { code, threadCode } from '../node_modules/splitring/dist/chunks/splitring.js';

const machine = await ThreadsMachine.create();
const boot = async (name) => {
  const reported = firstValueFrom(machine.reports$);
  await machine.boot({ name, module: new URL('domain.js', import.meta.url) });
  return (await reported).value;
};
const said = [code, await boot('first'), await boot('second')];
const header = new Uint8Array(threadCode().code.cache, 4, 16);
header.set(header.map((byte) => byte ^ 0xff));
said.push(await boot('third'));
console.log(said.join(' '));
await machine[Symbol.asyncDispose]();
`;

/** A program beside the package that looks at the code cache of domains' threads, file by file. */
export const codeCacheUser: Readonly<Record<string, string>> = {
  'code-cache/domain.js': domain,
  'code-cache/main.js': main,
};
