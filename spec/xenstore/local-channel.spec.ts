import { expect } from 'chai';
import { localChannelPair } from '../../xenstore/index.js';

describe('an event channel within one program', () => {
  const pair = () => {
    const tasks: (() => void)[] = [];
    const [one, other] = localChannelPair((task) => tasks.push(task));
    const run = (): void => {
      for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) task();
    };
    return { one, other, tasks, run };
  };

  it('delivers to the other end, and never inside the call', () => {
    const { one, other, run } = pair();
    let upcalls = 0;
    other.subscribe(() => upcalls++);
    one.notify();
    expect(upcalls).to.equal(0);
    run();
    expect(upcalls).to.equal(1);
  });

  it('merges what comes before an upcall', () => {
    const { one, other, tasks, run } = pair();
    let upcalls = 0;
    other.subscribe(() => upcalls++);
    for (let i = 0; i < 5; i++) one.notify();
    expect(tasks).to.have.length(1);
    run();
    expect(upcalls).to.equal(1);
  });

  it('keeps an event for whoever subscribes later, as a masked port does', () => {
    const { one, other, run } = pair();
    one.notify();
    run();
    let upcalls = 0;
    const subscription = other.subscribe(() => upcalls++);
    run();
    expect(upcalls).to.equal(1);
    subscription.unsubscribe();
    one.notify();
    run();
    expect(upcalls).to.equal(1);
    other.subscribe(() => upcalls++);
    run();
    expect(upcalls).to.equal(2);
  });

  it('completes its own end when closed; the other’s events are lost', () => {
    const { one, other, run } = pair();
    const seen: string[] = [];
    one.subscribe({ complete: () => seen.push('one') });
    other.subscribe({ next: () => seen.push('upcall'), complete: () => seen.push('other') });
    one[Symbol.dispose]();
    one[Symbol.dispose]();
    other.notify();
    one.notify();
    run();
    expect(seen).to.deep.equal(['one']);
    one.subscribe({ complete: () => seen.push('late') });
    expect(seen).to.deep.equal(['one', 'late']);
  });

  it('delivers nothing that was posted before it was closed', () => {
    const { one, other, run } = pair();
    let upcalls = 0;
    other.subscribe(() => upcalls++);
    one.notify();
    other[Symbol.dispose]();
    run();
    expect(upcalls).to.equal(0);
  });
});
