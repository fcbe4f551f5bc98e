import { expect } from 'chai';
import fc from 'fast-check';
import { flag, oneOf, PeerFault, text, uint } from '../../../core/index.js';

describe('uint', () => {
  it('reads decimal numbers within its bounds, and nothing else (XSA-68)', () => {
    const key = uint({ min: 1, max: 4096 });
    expect(key.parse('k', '1')).to.equal(1);
    expect(key.parse('k', '4096')).to.equal(4096);
    expect(key.parse('k', '0007')).to.equal(7);
    for (const wrong of [
      '',
      '0',
      '4097',
      '-1',
      '+1',
      '1.0',
      '1e3',
      '0x10',
      ' 1',
      '1 ',
      'one',
      '99999999999999999999',
      '１',
    ]) {
      expect(() => key.parse('k', wrong), JSON.stringify(wrong)).to.throw(PeerFault, 'k cannot be');
    }
  });

  it('shows what it reads again, and refuses the rest', () => {
    const key = uint();
    fc.assert(fc.property(fc.nat(Number.MAX_SAFE_INTEGER), (value) => key.parse('k', key.show('k', value)) === value));
    for (const wrong of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      expect(() => key.show('k', wrong), String(wrong)).to.throw(RangeError, 'k cannot be');
    }
    expect(() => uint({ max: 5 }).show('k', 6)).to.throw(RangeError);
  });

  it('reads no text that another implementation would read otherwise', () => {
    fc.assert(
      fc.property(fc.string(), (written) => {
        try {
          return uint().parse('k', written) === Number(written) && /^[0-9]+$/.test(written);
        } catch (error) {
          return error instanceof PeerFault;
        }
      }),
    );
  });
});

describe('flag', () => {
  it('is false unless it is there and not zero, as in Linux', () => {
    expect(flag().default).to.equal(false);
    expect(['0', '00', '1', '2'].map((written) => flag().parse('f', written))).to.deep.equal([
      false,
      false,
      true,
      true,
    ]);
    for (const wrong of ['', 'yes', '-1']) expect(() => flag().parse('f', wrong)).to.throw(PeerFault);
    expect([flag().show('f', true), flag().show('f', false)]).to.deep.equal(['1', '0']);
  });
});

describe('oneOf and text', () => {
  it('know their words', () => {
    const key = oneOf(['r', 'w'], { default: 'r' });
    expect(key.parse('mode', 'w')).to.equal('w');
    expect(() => key.parse('mode', 'rw')).to.throw(PeerFault, 'mode cannot be "rw"');
    expect(() => key.show('mode', 'x' as 'r')).to.throw(RangeError);
  });

  it('take any text as it is', () => {
    expect(text().parse('t', 'any\nthing')).to.equal('any\nthing');
    expect(text({ default: '' }).default).to.equal('');
  });

  it('quote what a peer wrote in one short line', () => {
    expect(() => oneOf(['a']).parse('k', `\n${'x'.repeat(5000)}`))
      .to.throw(PeerFault)
      .with.property('message')
      .that.matches(/^k cannot be "\\nx+…"$/)
      .and.has.length.below(100);
  });
});
