import { firstValueFrom, timeout } from 'rxjs';
import { asGrantRef, asPort, EventChannels, GrantError, GrantTable, type Page, XenError } from '../../core/index.js';
import { XenDomain } from '../../platform/xen/index.js';
import { check } from '../dom0/shell.js';

const DOM0 = 0 as Parameters<GrantTable['share']>[0];

const refusal = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
};

const refusedWith = (what: string, code: string, work: () => unknown): void => {
  const error = refusal(work);
  const found =
    error instanceof GrantError ? `GNTST ${error.status}` : error instanceof XenError ? error.code : String(error);
  check(found === code, `${what} is refused with ${found}, not ${code}`);
};

const soon = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const grantRules = (grants: GrantTable): number => {
  const shared = grants.share(DOM0, 3);
  check(
    shared.bytes.every((byte) => byte === 0),
    'a shared page is not zeroed',
  );
  const mapped = grants.map(DOM0, shared.refs);
  shared.bytes.set([1, 2, 3], 5000);
  check(mapped.bytes[5001] === 2 && mapped.words.length === 3072, 'a mapping does not show what its owner writes');
  mapped.words[2000] = 77;
  check(shared.words[2000] === 77, 'the owner does not see what is written to a mapping');

  // Batches longer than one call takes, both ways, with one bad element in the middle: all others are done.
  const own = grants.alloc(2);
  const count = 400;
  own.bytes.fill(9);
  grants.copyTo(
    DOM0,
    Array.from({ length: count }, (_, i) => ({
      ref: shared.refs[2] ?? shared.ref,
      offset: i * 8,
      page: own,
      pageOffset: 4096 + i * 8,
      length: 8,
    })),
  );
  check(
    shared.bytes.subarray(8192, 8192 + count * 8).every((byte) => byte === 9),
    'a long copy is not whole',
  );
  shared.bytes.fill(4);
  refusedWith('a copy with a bad reference in it', 'GNTST -3', () =>
    grants.copyFrom(
      DOM0,
      Array.from({ length: count }, (_, i) => ({
        ref: i === 200 ? asGrantRef(4_000_000_000) : shared.ref,
        offset: i * 8,
        page: own,
        pageOffset: i * 8,
        length: 8,
      })),
    ),
  );
  check(
    own.bytes.subarray(0, count * 8).every((byte, i) => byte === (i >> 3 === 200 ? 9 : 4)),
    'elements beside a bad one were not copied',
  );
  const segment = (offset: number, pageOffset: number, length: number) => [
    { ref: shared.ref, offset, page: own, pageOffset, length },
  ];
  refusedWith("a copy across the peer's page", 'GNTST -10', () => grants.copyFrom(DOM0, segment(4090, 0, 10)));
  refusedWith('a copy across an own page', 'GNTST -10', () => grants.copyFrom(DOM0, segment(0, 4090, 10)));
  check(refusal(() => grants.copyFrom(DOM0, segment(0, 8190, 10))) instanceof RangeError, 'a copy leaves its page');

  const readable = grants.share(DOM0, 1, { readonly: true });
  const looked = grants.map(DOM0, [readable.ref], { readonly: true });
  readable.bytes[0] = 5;
  check(looked.bytes[0] === 5, 'a page granted for reading is not read');
  looked[Symbol.dispose]();
  refusedWith('mapping it for writing', 'GNTST -1', () => grants.map(DOM0, [readable.ref]));
  refusedWith('copying to it', 'GNTST -1', () =>
    grants.copyTo(DOM0, [{ ref: readable.ref, offset: 0, page: own, pageOffset: 0, length: 1 }]),
  );
  readable[Symbol.dispose]();
  refusedWith('mapping a bad reference', 'GNTST -3', () => grants.map(DOM0, [asGrantRef(4_000_000_000)]));
  refusedWith('mapping one bad reference among good ones', 'GNTST -3', () =>
    grants.map(DOM0, [shared.ref, asGrantRef(4_000_000_000)]),
  );
  refusedWith('mapping of a domain that is none', 'GNTST -2', () => grants.map(0x7000 as typeof DOM0, [asGrantRef(8)]));

  // Views that were kept of what is disposed of read zeros, and writing to them reaches nobody.
  const kept = mapped.bytes;
  shared.bytes[0] = 66;
  mapped[Symbol.dispose]();
  check(kept[0] === 0, 'a view of a page that was unmapped shows what is there now');
  kept[0] = 67;
  check(shared.bytes[0] === 66, 'a view of a page that was unmapped still reaches it');
  check(refusal(() => mapped.bytes) instanceof TypeError, 'a page that was disposed of can be looked at');

  // The owner ends a grant that is still mapped: the mapping goes on, and reaches nobody else's page.
  const late = grants.map(DOM0, [shared.ref]);
  shared[Symbol.dispose]();
  late.bytes.fill(1);
  const fresh: Page[] = Array.from({ length: 50 }, () => grants.share(DOM0));
  check(
    fresh.every((page) => page.bytes.every((byte) => byte === 0)),
    'a page that is still mapped was used again',
  );
  late.bytes.fill(2);
  check(
    fresh.every((page) => page.bytes[0] === 0),
    'a page that is still mapped was used again',
  );
  late[Symbol.dispose]();
  for (const page of fresh) page[Symbol.dispose]();

  const copy = grants.copier(own, own);
  own.bytes.set([1, 2, 3, 4]);
  copy(0, 2, 4);
  check([...own.bytes.subarray(0, 6)].join() === '1,2,1,2,3,4', 'a copy over itself is wrong');
  own[Symbol.dispose]();

  // Thousands of mappings, one after another, leave nothing.
  const again = grants.share(DOM0);
  for (let i = 0; i < 1000; i++) {
    again.words[0] = i;
    const page = grants.map(DOM0, [again.ref]);
    check(page.words[0] === i, 'a mapping shows another page');
    page[Symbol.dispose]();
  }
  again[Symbol.dispose]();
  return 1000;
};

const eventRules = async (channels: EventChannels): Promise<void> => {
  refusedWith('binding to a port that is none', 'EINVAL', () => channels.bindInterdomain(DOM0, asPort(4000)));
  refusedWith('binding to port 0', 'EINVAL', () => channels.bindInterdomain(DOM0, asPort(0)));
  refusedWith('binding to a domain that is none', 'ESRCH', () =>
    channels.bindInterdomain(0x7000 as typeof DOM0, asPort(1)),
  );
  const one = channels.allocUnbound(DOM0);
  one.notify(); // nobody is there: it is lost
  const other = channels.bindInterdomain(DOM0, one.port);
  await firstValueFrom(other.pipe(timeout(10_000))); // the first comes unconditionally
  const count = { upcalls: 0, throws: 0, completed: false };
  const upcalls = (): number => count.upcalls;
  const listening = other.subscribe(() => {
    count.upcalls++;
  });
  await soon(200);
  check(upcalls() === 0, `${upcalls()} upcalls came for nothing`);
  one.notify();
  check(upcalls() === 0, 'an upcall came inside the call that caused it');
  await soon(300);
  check(upcalls() === 1, `one event made ${upcalls()} upcalls`);
  for (let i = 0; i < 50; i++) one.notify();
  await soon(300);
  check(upcalls() >= 2 && upcalls() <= 4, `50 events at once made ${upcalls() - 1} upcalls`);
  listening.unsubscribe();
  const before = upcalls();
  one.notify();
  await soon(300);
  check(upcalls() === before, 'an upcall came to somebody who no longer listens');
  await firstValueFrom(other.pipe(timeout(10_000))); // what came meanwhile is delivered
  other.retrigger();
  await firstValueFrom(other.pipe(timeout(10_000)));
  const bad = other.subscribe(() => {
    count.throws++;
    throw new Error('this is a test');
  });
  one.notify();
  await soon(300);
  one.notify();
  await soon(300);
  check(count.throws === 2, `a subscriber that throws was called ${count.throws} times`);
  bad.unsubscribe();
  other.subscribe({
    complete: () => {
      count.completed = true;
    },
  });
  other[Symbol.dispose]();
  other[Symbol.dispose]();
  check(count.completed, 'the end of a channel does not complete its subscribers');
  refusedWith('raising an event on a closed channel', 'EINVAL', () => other.notify());
  one.notify(); // fell back to unbound
  const third = channels.bindInterdomain(DOM0, one.port);
  await firstValueFrom(third.pipe(timeout(10_000)));
  third[Symbol.dispose]();
  one[Symbol.dispose]();
};

/** The tokens of a domain on real Xen, by loop-back in dom0: grants, mappings, copies in batches, event channels, and what they refuse. */
export const grants = async (): Promise<string> => {
  const errors: string[] = [];
  const xen = await XenDomain.open({ log: ({ text }) => errors.push(text) });
  const idle = JSON.stringify(xen.holdings);
  const mappings = grantRules(xen.domain.get(GrantTable));
  await eventRules(xen.domain.get(EventChannels));
  check(JSON.stringify(xen.holdings) === idle, `left: ${JSON.stringify(xen.holdings)}`);
  check(
    errors.length === 2 && errors.every((text) => /this is a test/.test(text)),
    `the log says ${errors.join('; ')}`,
  );
  xen[Symbol.dispose]();
  return `pages shared, mapped and copied, in batches of 400; upcalls merge and wait; ${mappings} mappings leave nothing; refusals as on our Xen`;
};
