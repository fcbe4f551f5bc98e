import { expect } from 'chai';
import { defineMachine, oneOf, size, wholeNumber } from '../../cli/machine.js';

describe('defineMachine', () => {
  const withOption = (name: string): unknown =>
    defineMachine({ summary: 'x', options: { [name]: { description: 'x' } } }, { run: async () => true });

  it('refuses options that cannot be on a command line, or that every machine has', () => {
    for (const name of ['Disk', 'sectorSize', '-x', 'a--b', 'no-write', '']) {
      expect(() => withOption(name), name).to.throw(TypeError, `unlike ${name}`);
    }
    for (const name of ['seed', 'help', 'platform']) {
      expect(() => withOption(name), name).to.throw(TypeError, `has an option --${name} already`);
    }
    expect(() => withOption('sector-size')).not.to.throw();
  });

  it('types what is not given as undefined, but where there is a default', () => {
    const { run } = defineMachine(
      {
        summary: 'x',
        options: {
          depth: { value: 'N', description: 'x', parse: wholeNumber() },
          size: { value: 'N', description: 'x', parse: oneOf(512, 4096), default: 512 },
          write: { description: 'x' },
        },
      },
      {
        run: ({ options }) => {
          const depth: number | undefined = options.depth;
          const sectorSize: 512 | 4096 = options.size;
          const write: boolean = options.write;
          // @ts-expect-error: it may not be given
          const certain: number = options.depth;
          // @ts-expect-error: there is no such option
          const missing: unknown = options.discard;
          return Promise.resolve(write && depth === certain && sectorSize === 512 && missing === undefined);
        },
      },
    );
    expect(run).to.be.a('function');
  });
});

describe('wholeNumber', () => {
  it('takes the digits of a number in its range', () => {
    const parse = wholeNumber({ min: 1, max: 20 });
    expect([parse('1'), parse('20'), parse('007')]).to.deep.equal([1, 20, 7]);
  });

  it('refuses anything else', () => {
    const parse = wholeNumber({ min: 1, max: 20 });
    for (const text of ['', ' ', '0', '21', '-1', '1.5', '1e1', '0x1', '१', '99999999999999999999']) {
      expect(() => parse(text), text).to.throw(RangeError, 'it takes a whole number from 1 to 20');
    }
  });
});

describe('oneOf', () => {
  it('takes one of its numbers as they are written, and nothing else', () => {
    const parse = oneOf(512, 4096);
    expect(parse('4096')).to.equal(4096);
    for (const text of ['', '512.0', '0512', '1024']) {
      expect(() => parse(text), text).to.throw(RangeError, 'it takes 512 or 4096');
    }
  });
});

describe('size', () => {
  it('shows bytes in the largest unit that there is a whole one of', () => {
    const shown = [0, 512, 1023, 1024, 1536, 2 ** 20 - 1, 2 ** 20, 700 * 2 ** 20, 3 * 2 ** 40, 2 ** 52].map(size);
    expect(shown).to.deep.equal([
      '0 bytes',
      '512 bytes',
      '1023 bytes',
      '1 KiB',
      '1.5 KiB',
      '1024 KiB',
      '1 MiB',
      '700 MiB',
      '3 TiB',
      '4096 TiB',
    ]);
  });
});
