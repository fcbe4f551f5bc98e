import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import * as splitring from 'splitring';

const page = readFileSync(new URL('docs/hypercalls.md', import.meta.resolve('splitring/package.json')), 'utf8');
const readme = readFileSync(new URL('README.md', import.meta.resolve('splitring/package.json')), 'utf8');

/** The tokens through which a domain's code makes calls, by their names on the page. */
const tokens = ['EventChannels', 'GrantTable', 'Physdev', 'Sched', 'Traps', 'Vcpu', 'Domctl'] as const;

describe('S12, the interface', () => {
  it('is documented where a reader looks it up, and README leads there', () => {
    expect(readme).to.include('(docs/hypercalls.md)');
    expect(page).to.match(/^## event_channel_op · 32$/m);
    expect(page).to.match(/^### 6 · EVTCHNOP_alloc_unbound$/m);
  });

  it('says of each call how code in a domain makes it', () => {
    for (const token of tokens) {
      expect(page, token).to.match(new RegExp(`^- token: .*\`${token}[.[]`, 'm'));
      expect(splitring, token).to.have.property(token);
    }
  });

  it('is answered by what it says: a name in it is a name of the package’s', () => {
    const named = [...page.matchAll(/^- token: (.*)$/gm)].flatMap(([, list = '']) =>
      [...list.matchAll(/`(\w+)(?:\.(\w+)|\[)/g)].map(([, token = '', method]) => ({ token, method })),
    );
    expect(named.length).to.be.greaterThan(30);
    for (const { token } of named) expect(splitring).to.have.property(token);
  });

  it('gives a refusal Xen’s number, and names the call, the port and the rule', async () => {
    const { LocalMachine } = await import('splitring/platform/local');
    await using machine = await LocalMachine.create({ clock: 'simulated', memory: 16 << 20 });
    const guest = await machine.guest('guest');
    const error = await Promise.resolve()
      .then(() => guest.get(splitring.EventChannels).bindInterdomain(splitring.asDomid(0), splitring.asPort(99)))
      .catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(splitring.XenError);
    expect(error).to.include({ code: 'EINVAL', errno: splitring.errno.EINVAL });
    expect(String(error)).to.match(/EVTCHNOP_bind_interdomain to port 99 of domain 0 .*unbound, and reserved for/);
  });
});
