import { expect } from 'chai';
import { protocol, ring, struct, u32 } from '../../../core/index.js';
import type { AnyProtocol } from '../../../core/xenbus/protocol.js';
import { posting, sending } from './packet-rings.js';

const words = (count: number) =>
  struct('message', Object.fromEntries(Array.from({ length: count }, (_, i) => [`word${i}`, u32])));

const declare = (spec: object) => (): AnyProtocol => protocol({ device: 'vtest', refuse: () => {}, ...spec } as never);

describe('the protocol of a device class', () => {
  it('may say that requests can be carried out twice, where its backend has room to note the responses', () => {
    const of = (count: number, repeatable: boolean) =>
      declare({ ring: ring({ request: words(1), response: words(count) }), repeatable });
    expect(of(4, true)().repeatable).to.equal(true);
    expect(of(5, true)).to.throw(TypeError, 'message has 20 bytes, and a backend has room to note 16 bytes: vtest');
    expect(of(5, false)().repeatable).to.equal(false);
  });

  it('may not where it has several rings, whose answers nobody notes', () => {
    expect(declare({ rings: { tx: sending } })().rings).to.have.property('tx');
    expect(declare({ rings: { tx: sending }, repeatable: true })).to.throw(TypeError, 'vtest has several rings');
  });

  it('has rings of packets and of credit by their names, since it has no verbs for one alone', () => {
    expect(declare({ ring: sending })).to.throw(TypeError, 'a ring of packets, which belongs under rings');
    expect(declare({ ring: posting })).to.throw(TypeError, 'a ring of credit, which belongs under rings');
  });
});
