import { expect } from 'chai';
import { Subject } from 'rxjs';
import { latestMap } from '../../../core/xenbus/latest-map.js';

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('latestMap', () => {
  it('runs one step at a time, and the last value that came meanwhile after it (XSA-349)', async () => {
    const source$ = new Subject<number>();
    const running: { readonly value: number; readonly done: () => void }[] = [];
    const results: number[] = [];
    source$
      .pipe(latestMap((value) => new Promise<number>((resolve) => running.push({ value, done: () => resolve(value) }))))
      .subscribe((value) => results.push(value));
    for (let i = 0; i < 100_000; i++) source$.next(i);
    await settled();
    expect(running.map(({ value }) => value)).to.deep.equal([0]);
    running[0]?.done();
    await settled();
    expect(running.map(({ value }) => value)).to.deep.equal([0, 99_999]);
    running[1]?.done();
    await settled();
    expect(results).to.deep.equal([0, 99_999]);
  });

  it('misses no value that comes while a step ends', async () => {
    const source$ = new Subject<number>();
    const seen: number[] = [];
    source$
      .pipe(
        latestMap(async (value) => {
          await settled();
          seen.push(value);
        }),
      )
      .subscribe(() => {
        if (seen.length < 5) source$.next(seen.length);
      });
    source$.next(0);
    for (let i = 0; i < 20; i++) await settled();
    expect(seen).to.deep.equal([0, 1, 2, 3, 4]);
  });

  it('ends with an error of the step, or of the source, once', async () => {
    for (const fail of ['step', 'source'] as const) {
      const source$ = new Subject<number>();
      const errors: unknown[] = [];
      source$
        .pipe(
          latestMap(async () => {
            if (fail === 'step') throw new Error(fail);
          }),
        )
        .subscribe({ error: (error) => errors.push(error) });
      source$.next(1);
      if (fail === 'source') source$.error(new Error(fail));
      await settled();
      source$.next(2);
      await settled();
      expect(errors.map(String)).to.deep.equal([`Error: ${fail}`]);
    }
  });

  it('completes after the step that runs, and begins none after it is unsubscribed', async () => {
    const source$ = new Subject<number>();
    let steps = 0;
    let completed = false;
    const step = async (): Promise<void> => {
      steps++;
      await settled();
    };
    const subscription = source$.pipe(latestMap(step)).subscribe({
      complete: () => {
        completed = true;
      },
    });
    source$.next(1);
    source$.next(2);
    source$.complete();
    expect(completed).to.equal(false);
    for (let i = 0; i < 5; i++) await settled();
    expect({ steps, completed }).to.deep.equal({ steps: 2, completed: true });
    subscription.unsubscribe();

    const other$ = new Subject<number>();
    const other = other$.pipe(latestMap(step)).subscribe();
    other$.next(1);
    other$.next(2);
    other.unsubscribe();
    for (let i = 0; i < 5; i++) await settled();
    expect(steps).to.equal(3);
  });
});
