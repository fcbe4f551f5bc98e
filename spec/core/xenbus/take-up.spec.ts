import { expect } from 'chai';
import { ResponseJournal } from '../../../core/abi/response-journal.js';
import { sring } from '../../../core/abi/ring.js';
import { type BackLink, backend, connection, type Protocol, serveDevices } from '../../../core/index.js';
import { backBeginning, backDecision } from '../../../core/xenbus/back-table.js';
import { type XenbusState, xenbusState } from '../../../core/xenbus/states.js';
import { PersonaFront } from '../../support/personas.js';
import { DoublerBackend, DoublerFrontend, vtest, XenbusRig } from '../../support/xenbus-rig.js';

const states = Object.keys(xenbusState) as readonly XenbusState[];

/** What a backend that is started anew does first. */
const first = (own: XenbusState, other: XenbusState, repeatable: boolean, online = true) =>
  backDecision(backBeginning, own, other, online, repeatable).does;

describe('a backend that is started anew', () => {
  it('takes up a ring that its frontend is connected to, if requests may be carried out twice (blkback)', () => {
    expect(first('Connected', 'Connected', true)).to.equal('takeUp');
    expect(first('Connected', 'Connected', false)).to.equal('close');
    expect(first('Connected', 'Connected', true, false)).to.equal('close');
    for (const other of states.filter((state) => state !== 'Connected')) {
      expect(first('Connected', other, true), other).to.equal(first('Connected', other, false));
    }
  });

  it('offers itself again to a frontend that has not connected: Linux’ does not come back from Closing', () => {
    expect(first('InitWait', 'Initialising', true)).to.equal('offer');
    expect(first('InitWait', 'Initialised', true)).to.equal('offer');
    expect(first('InitWait', 'Unknown', true)).to.equal('close');
    expect(first('InitWait', 'Initialising', false)).to.equal('close');
  });

  it('goes on by the table afterwards, and comes back from no failure of it', () => {
    const { memory } = backDecision(backBeginning, 'Connected', 'Connected', true, true);
    expect(memory).to.include({ begun: true, comeBack: false });
    expect(backDecision(memory, 'Connected', 'Connected', true, true).does).to.equal('stay');
    expect(backDecision(memory, 'Connected', 'Closing', true, true).does).to.equal('close');
  });

  describe('on a machine', () => {
    let rig: XenbusRig;
    let offers: number;
    let seen: readonly (readonly [offered: unknown, peer: unknown])[];

    const repeatable: Protocol<'vtest', typeof vtest.ring, typeof vtest.keys> = { ...vtest, repeatable: true };

    class LastingBackend {
      offer(): { 'max-bytes': number } {
        offers++;
        return { 'max-bytes': 100 + offers };
      }

      connect({ serve, publish, own, peer }: BackLink<typeof repeatable>): void {
        seen = [...seen, [own['max-bytes'], peer.depth]];
        publish({ sectors: 100 });
        serve((req, rsp) => {
          rsp.status = 2 * req.value;
        });
      }
    }
    backend(repeatable)(LastingBackend);

    beforeEach(async () => {
      offers = 0;
      seen = [];
      rig = await XenbusRig.create();
    });
    afterEach(() => rig[Symbol.asyncDispose]());

    it('answers what the one before it had not, while its frontend stays connected and notices nothing', async () => {
      const serving = serveDevices(rig.backend, LastingBackend);
      await rig.attach();
      const doubler = await connection(rig.guest, DoublerFrontend);
      expect(await doubler.double(2)).to.equal(4);
      serving.unsubscribe();
      await rig.idle();
      expect(rig.ledgerOf(rig.backend)).to.include({ ports: 0, mappings: 0 });
      const pending = doubler.double(5);
      await rig.idle();
      const moves = rig.moves();
      serveDevices(rig.backend, LastingBackend);
      expect(await pending).to.equal(10);
      expect(await doubler.double(7)).to.equal(14);
      await rig.idle();
      expect(await rig.states()).to.equal('4 4');
      expect(rig.moves().slice(moves.length)).to.eql(['backend: Connected again']);
      // What the frontend was told stands, whatever would be offered now.
      expect(seen).to.eql([
        [101, 1],
        [101, 1],
      ]);
      await doubler.close();
      await rig.idle();
      rig.expectNothingHeld();
    });

    it('has nothing to take up of a ring that its frontend has just shared, whatever lies in the pad', async () => {
      const front = new PersonaFront(rig);
      await rig.attach();
      const keys = front.share();
      const words = front.page?.words ?? new Int32Array();
      // Two requests, and what an earlier life of this page says of their answers.
      new ResponseJournal(words, 1).put(sring.entries, 2);
      for (const [i, value] of [3, 4].entries()) words[sring.entries + 2 * i] = i | (value << 16);
      words[sring.reqProd] = 2;
      serveDevices(rig.backend, LastingBackend);
      await front.becomes('Initialised', keys);
      await front.sees('Connected');
      await rig.idle();
      expect(words[sring.rspProd]).to.equal(2);
      expect([0, 1].map((i) => words[sring.entries + 2 * i])).to.eql([6 << 16, 1 | (8 << 16)]);
    });

    it('closes as any other when what its frontend wrote cannot be used any more', async () => {
      const serving = serveDevices(rig.backend, LastingBackend);
      await rig.attach();
      await connection(rig.guest, DoublerFrontend);
      serving.unsubscribe();
      await rig.idle();
      await rig.store.write(`${rig.paths.frontend}/ring-ref`, '4000000000');
      serveDevices(rig.backend, LastingBackend);
      await rig.idle();
      expect(rig.lines('error').join()).to.match(/ring-ref/);
      expect(await rig.state('backend')).to.equal('6');
      rig.expectNothingHeld();
    });

    it('closes what the one before it left, if requests may not be carried out twice', async () => {
      const serving = rig.serve(DoublerBackend);
      await rig.attach();
      await connection(rig.guest, DoublerFrontend);
      serving.unsubscribe();
      await rig.idle();
      rig.serve(DoublerBackend);
      await rig.idle();
      expect(rig.moves().filter((move) => move.startsWith('backend'))).to.include('backend: Connected → Closing');
    });
  });
});
