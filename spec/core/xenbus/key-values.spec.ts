import { expect } from 'chai';
import { flag, PeerFault, type StoreOperations, uint, XenError } from '../../../core/index.js';
import {
  parseTexts,
  readKeys,
  readTexts,
  sameTexts,
  showKeys,
  showSome,
  withDefaults,
} from '../../../core/xenbus/key-values.js';

const keys = { sectors: uint(), info: uint({ default: 3, max: 7 }), removable: flag() };

/** A directory that can be read, or not. */
const directory = (texts: Readonly<Record<string, string>>): StoreOperations =>
  ({
    read: (path: string) => {
      const name = path.slice(path.lastIndexOf('/') + 1);
      if (name === 'secret') return Promise.reject(new XenError('EACCES', path));
      return Promise.resolve(texts[name]);
    },
  }) as StoreOperations;

describe('the keys of a directory', () => {
  it('have their values, or their defaults', async () => {
    expect(await readKeys(directory({ sectors: '8', removable: '1' }), 'd', keys)).to.deep.equal({
      sectors: 8,
      info: 3,
      removable: true,
    });
  });

  it('are a fault of the peer’s when they are missing without a default, or none of their values', async () => {
    expect(() => parseTexts('d', keys, new Map())).to.throw(PeerFault, 'd/sectors is missing');
    expect(() =>
      parseTexts(
        'd',
        keys,
        new Map([
          ['sectors', '1'],
          ['info', '8'],
        ]),
      ),
    ).to.throw(PeerFault, 'd/info cannot be "8"');
    // An empty node is there: it is not the default.
    expect(() =>
      parseTexts(
        'd',
        keys,
        new Map([
          ['sectors', '1'],
          ['info', ''],
        ]),
      ),
    ).to.throw(PeerFault, 'd/info cannot be ""');
  });

  it('are not there where this domain may not read', async () => {
    const texts = await readTexts(directory({}), 'd', { secret: uint() });
    expect(texts).to.deep.equal(new Map([['secret', undefined]]));
  });

  it('are the same only if every one is', async () => {
    const one = new Map([
      ['a', '1'],
      ['b', undefined],
    ]);
    expect(sameTexts(one, new Map(one))).to.equal(true);
    expect(
      sameTexts(
        one,
        new Map([
          ['a', '1'],
          ['b', ''],
        ]),
      ),
    ).to.equal(false);
    expect(sameTexts(one, new Map([['a', '1']]))).to.equal(false);
  });
});

describe('the texts of a set of values', () => {
  it('are of all keys, defaults filled in', () => {
    expect([...showKeys('d', keys, { sectors: 9, removable: true })]).to.deep.equal([
      ['sectors', '9'],
      ['removable', '1'],
      ['info', '3'],
    ]);
    expect(withDefaults(keys, { info: 0 })).to.deep.equal({ sectors: undefined, info: 0, removable: false });
  });

  it('are the writer’s mistake when a key is not declared, has no value, or one that it cannot have', () => {
    expect(() => showKeys('d', keys, {})).to.throw(
      TypeError,
      'd gives no value for the key sectors, which has no default',
    );
    expect(() => showSome('d', keys, { size: 1 })).to.throw(
      TypeError,
      'd writes the key size, which its protocol does not declare',
    );
    expect(() => showSome('d', keys, { toString: 1 })).to.throw(TypeError, 'does not declare');
    expect(() => showSome('d', keys, { info: 8 })).to.throw(RangeError, 'd/info cannot be 8');
    expect([...showSome('d', keys, { info: undefined, sectors: 1 })]).to.deep.equal([['sectors', '1']]);
  });
});
