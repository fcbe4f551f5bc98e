import { expect } from 'chai';
import { platforms } from '../../../contract/index.js';
import { EventChannels, GrantTable } from '../../../core/index.js';

for (const platform of platforms) {
  describe(`a machine's debug keys on ${platform.name}`, () => {
    it('print every port with its state, under the domain that owns it and with its name behind (e)', async () => {
      await using machine = await platform.create({ seed: 1 });
      const guest = await machine.guest('guest');
      const other = await machine.guest('other');
      using waiting = guest.get(EventChannels).allocUnbound(other.domid);
      const text = await machine.debugKey('e');
      const [, ...domains] = text.split(/(?=^Event channel information)/m);
      expect(domains.map((domain) => domain.split('\n')[0])).to.deep.equal([
        'Event channel information for domain 0:  dom0',
        `Event channel information for domain ${guest.domid}:  guest`,
        `Event channel information for domain ${other.domid}:  other`,
      ]);
      // Its store's channel, which dom0 has bound, and the new one.
      expect(domains[1]).to.match(
        new RegExp(
          `^ {7}1 \\[0/0/[01]\\]: s=3 n=0 x=0 d=0 p=\\d+  guest -> dom0
 {7}${waiting.port} \\[0/1/[01]\\]: s=2 n=0 x=0 d=${other.domid}  guest -> other$`,
          'm',
        ),
      );
    });

    it('print every grant that somebody uses, under the domain that gave it, with both names behind (g)', async () => {
      await using machine = await platform.create({ seed: 1 });
      const guest = await machine.guest('guest');
      const other = await machine.guest('other');
      using page = guest.get(GrantTable).share(other.domid);
      const active = async (): Promise<readonly string[]> => {
        const [, table = ''] = (await machine.debugKey('g')).split(`grant-table for remote d${guest.domid} (v1)`);
        return table.split('grant-table')[0]?.match(/^\[.*guest -> .*$/gm) ?? [];
      };
      // Its store's ring, which dom0 has mapped.
      expect(await active()).to.have.length(1);
      using _mapping = other.get(GrantTable).map(guest.domid, [page.ref]);
      const [, mapped, ...rest] = await active();
      expect(mapped).to.match(new RegExp(`^\\[0x0*${page.ref.toString(16)}\\] +${other.domid} .*  guest -> other$`));
      expect(rest).to.deep.equal([]);
    });

    it('print what keys there are (h)', async () => {
      await using machine = await platform.create({ seed: 1 });
      const [head, ...keys] = (await machine.debugKey('h')).trimEnd().split('\n');
      expect(head).to.equal("'h' pressed -> showing installed handlers");
      expect(keys).to.include(" key 'e' (ascii '65') => dump evtchn info");
    });

    for (const key of ['', 'x', 'ee', 'toString']) {
      it(`refuse ${JSON.stringify(key)}, and name those that there are`, async () => {
        await using machine = await platform.create({ seed: 1 });
        const error = await machine.debugKey(key).catch((reason: unknown) => reason);
        expect(error).to.be.instanceOf(RangeError);
        expect(error)
          .to.have.property('message')
          .that.matches(/^there is no debug key .*; there are e \(/);
      });
    }
  });
}
