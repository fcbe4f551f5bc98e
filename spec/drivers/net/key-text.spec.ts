import { expect } from 'chai';
import { Subject } from 'rxjs';
import { XenError, type XenStore } from '../../../core/index.js';
import { keyText$ } from '../../../drivers/net/key-text.js';

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a key that is followed', () => {
  it('is read once at a time, and once more for all changes meanwhile (XSA-349)', async () => {
    const changes$ = new Subject<string>();
    const reads: ((text: string) => void)[] = [];
    const store = {
      watch$: () => changes$,
      read: () => new Promise<string>((resolve) => reads.push(resolve)),
    } as unknown as XenStore;
    const seen: (string | undefined)[] = [];
    keyText$(store, 'a/b').subscribe((text) => seen.push(text));
    for (let i = 0; i < 100_000; i++) changes$.next('a/b');
    expect(reads).to.have.length(1);
    reads[0]?.('first');
    await settled();
    expect(reads).to.have.length(2);
    reads[1]?.('last');
    await settled();
    expect(reads).to.have.length(2);
    expect(seen).to.deep.equal(['first', 'last']);
  });

  it('is as if it were not there when it may not be read, and fails as the store does', async () => {
    const changes$ = new Subject<string>();
    const errors = [new XenError(13, 'read'), new XenError(5, 'read')];
    const store = {
      watch$: () => changes$,
      read: () => Promise.reject(errors.shift()),
    } as unknown as XenStore;
    const seen: unknown[] = [];
    keyText$(store, 'a/b').subscribe({ next: (text) => seen.push(text), error: (error) => seen.push(error.code) });
    changes$.next('a/b');
    await settled();
    changes$.next('a/b');
    await settled();
    expect(seen).to.deep.equal([undefined, 'EIO']);
  });
});
