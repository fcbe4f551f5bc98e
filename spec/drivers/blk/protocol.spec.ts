import { expect } from 'chai';
import { draft, PeerFault, view } from '../../../core/index.js';
import { blk } from '../../../drivers/blk/protocol.js';
import { blkifOp, blkifRequest, blkifResponse, blkifRsp } from '../../../drivers/blk/wire.js';

describe('the protocol of class vbd', () => {
  it('refuses a request by ERROR, with its operation', () => {
    const words = new Int32Array(28);
    draft(blkifRequest, words).operation = blkifOp.write;
    const rsp = draft(blkifResponse, new Int32Array(4));
    blk.refuse(rsp, 22, view(blkifRequest, words));
    expect(rsp.operation).to.equal(blkifOp.write);
    expect(rsp.status).to.equal(blkifRsp.error);
  });

  const { 'sector-size': sectorSize, sectors } = blk.keys.backend.Connected;

  for (const bytes of [512, 1024, 2048, 4096]) {
    it(`knows a sector-size of ${bytes} bytes`, () => {
      expect(sectorSize.parse('sector-size', String(bytes))).to.equal(bytes);
      expect(sectorSize.show('sector-size', bytes)).to.equal(String(bytes));
    });
  }

  for (const text of ['0', '256', '513', '1536', '8192', '', '-512', '0x200', '512 ']) {
    it(`knows no sector-size ${JSON.stringify(text)}: no power of two that a page's segment holds`, () => {
      expect(() => sectorSize.parse('sector-size', text)).to.throw(PeerFault, 'sector-size');
    });
  }

  it('must be told sectors and sector-size by the backend', () => {
    expect(sectors.default).to.equal(undefined);
    expect(sectorSize.default).to.equal(undefined);
  });
});
