// Long, since each kind of exception has its frame, its order and its end.
import { expect } from 'chai';
import type { EventChannel } from '../../../core/domain/event-channels.js';
import type { Registers, TrapFrame } from '../../../core/domain/traps.js';
import { XenError } from '../../../core/errors.js';
import type { DomainCrash } from '../../../core/hypervisor/domain-crash.js';
import { shutdownReason } from '../../../core/hypervisor/sched.js';
import { type Abi, type Domid, PAGE_SIZE, type Page } from '../../../core/index.js';
import { HypervisorEventChannels } from '../../../platform/hypervisor/event-channels.js';
import { HypervisorGrantTable } from '../../../platform/hypervisor/grant-table.js';
import { GuestEntry } from '../../../platform/hypervisor/guest-entry.js';
import { HypervisorTraps } from '../../../platform/hypervisor/traps.js';
import { dom0, dom1, dom2, machine } from '../../core/hypervisor/machine.js';

const HANDLER = 0x1000n;
const OTHER = 0x2000n;
const EVENT = 0x3000n;
const FAILSAFE = 0x4000n;
/** A place in the program: no code lies there that Xen could call. */
const PROGRAM = 0x9000n;

const guest = (abi: Abi = 'x86_64-abi', vcpus = 1) => {
  const { hypervisor } = machine({ abi: abi === 'arm-abi' ? 'x86_64-abi' : abi, vcpus });
  const errors: unknown[] = [];
  const crashes: DomainCrash[] = [];
  const channels = new HypervisorEventChannels(hypervisor, dom1, (error) => errors.push(error));
  const theirs = new HypervisorEventChannels(hypervisor, dom2, (error) => errors.push(error));
  const entry = new GuestEntry(hypervisor, dom1, channels, (error) => errors.push(error));
  const grants = new HypervisorGrantTable(hypervisor, dom1);
  const onError = (error: unknown) => void errors.push(error);
  const onCrash = (crash: DomainCrash) => void crashes.push(crash);
  const traps = new HypervisorTraps({ hypervisor, domid: dom1, channels, entry, onError, onCrash });
  const stack = grants.alloc();
  traps.registers.rsp = traps.addressOf(stack, PAGE_SIZE);
  traps.registers.rip = PROGRAM;
  const seen: string[] = [];
  const says = (what: string) => (): void => void seen.push(what);
  return { hypervisor, errors, crashes, channels, theirs, entry, grants, traps, stack, seen, says };
};

describe('the virtual exceptions of a domain', () => {
  let it_: ReturnType<typeof guest>;
  /** What a promise has come to by now. */
  const settled = async <T>(promise: Promise<T>): Promise<T | 'not yet'> => {
    await new Promise((resolve) => setImmediate(resolve));
    return Promise.race([promise, Promise.resolve('not yet' as const)]);
  };
  /** A channel of the guest's, subscribed to, and its peer's end; its first upcall is over. */
  const channel = (): EventChannel => {
    const { channels, theirs, entry, says, seen } = it_;
    const own = channels.allocUnbound(dom2);
    const peer = theirs.bindInterdomain(dom1, own.port);
    own.subscribe(says('event'));
    entry.enterAll();
    seen.length = 0;
    return peer;
  };

  beforeEach(() => {
    it_ = guest();
  });

  for (const abi of ['x86_64-abi', 'x86_32-abi'] as const) {
    it(`int3 calls its handler on the way back, never inside the call, and resumes where it was: ${abi}`, async () => {
      it_ = guest(abi);
      const { traps, entry, seen, says } = it_;
      traps.code(HANDLER, says('handler'));
      traps.setTrapTable([{ vector: 3, dpl: 3, address: HANDLER }]);
      const resumed = traps.int3();
      expect(seen).to.eql([]);
      expect(await settled(resumed)).to.equal('not yet');
      entry.enterAll();
      expect(seen).to.eql(['handler']);
      expect(await resumed).to.include({ rip: PROGRAM + 1n, kernelMode: true });
      entry.enterAll();
      expect(seen).to.eql(['handler']);
    });
  }

  it('gives a handler its frame, which lies on the stack that the guest has named', async () => {
    const { traps, entry, stack } = it_;
    const top = traps.addressOf(stack, PAGE_SIZE);
    let frame: Record<string, unknown> = {};
    traps.code(HANDLER, ({ address, rip, cs, rflags, rsp, ss, savedUpcallMask, errorCode, segments }) => {
      frame = { address, rip, cs, rflags, rsp, ss, savedUpcallMask, errorCode, segments };
    });
    traps.setTrapTable([{ vector: 14, address: HANDLER }]);
    void traps.raise({ vector: 14, errorCode: 2, cr2: 0x1234n });
    entry.enterAll();
    expect(frame).to.eql({
      address: top - 64n,
      rip: PROGRAM,
      cs: 0xe030,
      rflags: 0x202n,
      rsp: top,
      ss: 0xe02b,
      savedUpcallMask: 0,
      errorCode: 2,
      segments: undefined,
    });
    const view = new DataView(stack.bytes.buffer, stack.bytes.byteOffset);
    expect(view.getBigUint64(PAGE_SIZE - 16, true), 'rsp, in the guest’s page').to.equal(top);
    expect(traps.registers.cr2).to.equal(0x1234n);
  });

  it('restores what a handler has made of its frame: rip, rflags with the upcall mask, rcx and r11', async () => {
    const { traps, entry, hypervisor } = it_;
    traps.code(HANDLER, (frame) => {
      frame.rip = 0xabcden;
      frame.rcx = 0xccn;
      frame.r11 = 0x11n;
      frame.rflags &= ~0x200n;
    });
    traps.setTrapTable([{ vector: 3, address: HANDLER }]);
    const resumed = traps.int3();
    entry.enterAll();
    expect(await resumed).to.include({ rip: 0xabcden, rcx: 0xccn, r11: 0x11n });
    expect(hypervisor.sharedInfo.hasUpcall(hypervisor.sharedInfo.infoOf(1, 0))).to.equal(false);
    const peer = channel();
    peer.notify();
    entry.enterAll();
    expect(it_.seen, 'upcalls are masked').to.eql([]);
    traps.iret({ ...traps.registers, rip: PROGRAM, cs: 0xe030, rflags: 0x202n, rsp: traps.registers.rsp, ss: 0xe02b });
    entry.enterAll();
    expect(it_.seen).to.eql(['event']);
  });

  it('stacks the event upcall over an exception: the event’s handler runs first', () => {
    const { traps, entry, seen, says } = it_;
    const peer = channel();
    traps.code(HANDLER, says('int3'));
    traps.code(EVENT, () => {
      seen.push('callback');
      traps.upcall();
    });
    traps.setTrapTable([{ vector: 3, address: HANDLER }]);
    traps.setCallbacks({ event: EVENT, failsafe: FAILSAFE });
    void traps.int3();
    peer.notify();
    entry.enterAll();
    expect(seen).to.eql(['callback', 'event', 'int3']);
  });

  it('does so without a callback, too, where the subscribers are what an upcall calls', () => {
    const { traps, entry, seen, says } = it_;
    const peer = channel();
    traps.code(HANDLER, says('int3'));
    traps.setTrapTable([{ vector: 3, address: HANDLER }]);
    void traps.int3();
    peer.notify();
    expect(entry.enterAll()).to.equal(1);
    expect(seen).to.eql(['event', 'int3']);
  });

  for (const callback of [false, true]) {
    it(`holds events back while a handler runs whose entry masks them${callback ? ', with a callback' : ''}`, () => {
      const { traps, entry, seen, says } = it_;
      const peer = channel();
      traps.code(HANDLER, says('int3'));
      traps.setTrapTable([{ vector: 3, address: HANDLER, maskEvents: true }]);
      if (callback) {
        traps.code(EVENT, () => void traps.upcall());
        traps.setCallbacks({ event: EVENT, failsafe: FAILSAFE });
      }
      void traps.int3();
      peer.notify();
      entry.enterAll();
      expect(seen).to.eql(['int3', 'event']);
    });
  }

  it('nests an exception in the handler that has it: it runs before that handler’s return', async () => {
    const { traps, entry, seen } = it_;
    const frames: bigint[] = [];
    let inner: Promise<Readonly<Registers>> | undefined;
    traps.code(HANDLER, (frame) => {
      seen.push('int3');
      frames.push(frame.address);
      inner = traps.raise({ vector: 6 });
      seen.push('int3 ends');
    });
    traps.code(OTHER, (frame) => {
      seen.push('ud');
      frames.push(frame.address);
      frame.rip += 2n;
    });
    traps.setTrapTable([
      { vector: 3, address: HANDLER },
      { vector: 6, address: OTHER },
    ]);
    const outer = traps.int3();
    entry.enterAll();
    expect(seen).to.eql(['int3', 'int3 ends', 'ud']);
    const [first = 0n, second = 0n] = frames;
    expect(second, 'below the frame of the handler that it interrupts').to.equal((first & ~0xfn) - 56n);
    expect((await inner)?.rip).to.equal(HANDLER + 2n);
    expect((await outer).rip).to.equal(PROGRAM + 1n);
    expect(traps.registers.rsp).to.equal(traps.addressOf(it_.stack, PAGE_SIZE));
  });

  it('executes what a program executes at once one after another', async () => {
    const { traps, entry, seen, says } = it_;
    traps.code(HANDLER, says('int3'));
    traps.code(OTHER, says('int 33'));
    traps.setTrapTable([
      { vector: 3, address: HANDLER },
      { vector: 33, address: OTHER, dpl: 3 },
    ]);
    const all = [traps.int3(), traps.softwareInterrupt(33), traps.int3()];
    entry.enterAll();
    expect(seen).to.eql(['int3', 'int 33', 'int3']);
    expect((await Promise.all(all)).map(({ rip }) => rip)).to.eql([PROGRAM + 1n, PROGRAM + 3n, PROGRAM + 4n]);
  });

  it('runs a number of handlers at once, and leaves the rest for the next entry', () => {
    const { traps, entry, seen, says, hypervisor } = it_;
    traps.code(HANDLER, says('int3'));
    traps.setTrapTable([{ vector: 3, address: HANDLER }]);
    for (let i = 0; i < 100; i++) void traps.int3();
    entry.enterAll();
    expect(seen.length).to.be.within(1, 99);
    while (hypervisor.doorbell.hasUpcall(dom1)) entry.enterAll();
    expect(seen).to.have.length(100);
  });

  it('goes on in the next entry where it was, deep in handlers that return', async () => {
    const { traps, entry, hypervisor, grants } = it_;
    traps.registers.rsp = traps.addressOf(grants.alloc(4), 4 * PAGE_SIZE);
    let depth = 0;
    traps.code(HANDLER, () => {
      if (++depth < 200) void traps.int3();
    });
    traps.setTrapTable([{ vector: 3, address: HANDLER }]);
    const resumed = traps.int3();
    let entries = 0;
    for (; hypervisor.doorbell.hasUpcall(dom1); entries++) entry.enterAll();
    expect([depth, entries > 1]).to.eql([200, true]);
    expect((await settled(resumed)) !== 'not yet').to.equal(true);
  });

  it('comes back to an event callback that leaves events pending, and to others in between', () => {
    const { traps, entry, seen, hypervisor } = it_;
    const peer = channel();
    traps.code(EVENT, () => void seen.push('callback'));
    traps.setCallbacks({ event: EVENT, failsafe: FAILSAFE });
    peer.notify();
    entry.enterAll();
    const once = seen.length;
    expect(once).to.be.greaterThan(0);
    expect(hypervisor.doorbell.hasUpcall(dom1)).to.equal(true);
    entry.enterAll();
    expect(seen.length).to.be.greaterThan(once);
    expect(seen).not.to.include('event');
  });

  it('calls the failsafe callback where an iret leaves what cannot be loaded, with the segments (XSA-40)', async () => {
    for (const abi of ['x86_64-abi', 'x86_32-abi'] as const) {
      it_ = guest(abi);
      const { traps, entry, seen } = it_;
      traps.code(HANDLER, (frame) => {
        if (abi === 'x86_32-abi') frame.cs = 0x0001;
        else frame.rip = 0x8000_0000_0000_0000n;
      });
      let segments: TrapFrame['segments'];
      traps.code(FAILSAFE, (frame) => {
        seen.push('failsafe');
        ({ segments } = frame);
        Object.assign(traps.registers, { ds: 0, es: 0, fs: 0, gs: 0 });
        frame.cs = abi === 'x86_32-abi' ? 0xe019 : 0xe030;
        frame.rip = 0x7777n;
      });
      traps.setTrapTable([{ vector: 3, address: HANDLER }]);
      traps.setCallbacks({ event: 0n, failsafe: FAILSAFE });
      Object.assign(traps.registers, { ds: 0x11, es: 0x22, fs: 0x33, gs: 0x44 });
      const { rsp } = traps.registers;
      const resumed = traps.int3();
      entry.enterAll();
      expect(seen, abi).to.eql(['failsafe']);
      expect(segments).to.eql({ ds: 0x11, es: 0x22, fs: 0x33, gs: 0x44 });
      expect(await resumed).to.include({ rip: 0x7777n, rsp, ds: 0x11, es: 0x22, fs: 0x33, gs: 0x44 });
    }
  });

  it('enters the kernel from user mode on the stack of stack_switch, and returns there', async () => {
    const { traps, entry, grants } = it_;
    const kernel = grants.alloc();
    traps.stackSwitch(traps.addressOf(kernel, PAGE_SIZE));
    let frame: Record<string, unknown> = {};
    traps.code(HANDLER, ({ address, cs, rsp }) => {
      frame = { address, cs, rsp, kernelMode: traps.registers.kernelMode };
    });
    traps.setTrapTable([{ vector: 3, dpl: 3, address: HANDLER }]);
    traps.iret({ rip: 0x5000n, cs: 0xe033, rflags: 0x202n, rsp: 0x7fff_0000n, ss: 0xe02b });
    expect(traps.registers.kernelMode).to.equal(false);
    const resumed = traps.int3();
    entry.enterAll();
    const address = traps.addressOf(kernel, PAGE_SIZE) - 56n;
    expect(frame).to.eql({ address, cs: 0xe033, rsp: 0x7fff_0000n, kernelMode: true });
    expect(await resumed).to.include({ kernelMode: false, rip: 0x5001n, rsp: 0x7fff_0000n });
  });

  it('lets user mode call its kernel, and is ENOSYS in the kernel', async () => {
    const { traps, entry, seen, says, grants } = it_;
    traps.stackSwitch(traps.addressOf(grants.alloc(), PAGE_SIZE));
    traps.code(OTHER, says('syscall'));
    traps.registerCallback('syscall', OTHER, { maskEvents: true });
    const refused = await traps.syscall().catch((error: unknown) => error);
    expect(refused).to.be.instanceOf(XenError).with.property('code', 'ENOSYS');
    traps.iret({ rip: 0x5000n, cs: 0xe033, rflags: 0x202n, rsp: 0x7fff_0000n, ss: 0xe02b });
    const resumed = traps.syscall();
    entry.enterAll();
    expect(seen).to.eql(['syscall']);
    expect((await resumed).rip).to.equal(0x5002n);
  });

  it('takes NMIs on the vCPU that they are sent to', () => {
    it_ = guest('x86_64-abi', 2);
    const { traps, entry, seen, says } = it_;
    traps.code(HANDLER, says('nmi'));
    traps.registerCallback('nmi', HANDLER);
    traps.sendNmi();
    entry.enterAll();
    expect(seen).to.eql(['nmi']);
    traps.unregisterCallback('nmi');
    traps.sendNmi();
    entry.enterAll();
    expect(seen).to.eql(['nmi']);
    expect(() => traps.sendNmi(2)).to.throw(XenError, 'VCPUOP_send_nmi to vCPU 2');
  });

  describe('crash the domain', () => {
    const expectCrash = (text: RegExp): void => {
      const { entry, crashes, hypervisor } = it_;
      entry.enterAll();
      expect(crashes.map(({ message }) => message)).to.have.length(1);
      expect(crashes[0]?.message).to.match(text);
      expect(hypervisor.sched.shutdownOf(dom1)).to.equal(shutdownReason.crash);
      const may = (domid: Domid): boolean => hypervisor.vcpus.mayRun(hypervisor.memory.slotOf(domid), 0);
      expect([may(dom0), may(dom1), may(dom2)]).to.eql([true, false, true]);
      expect(hypervisor.doorbell.hasUpcall(dom1)).to.equal(false);
      entry.enterAll();
      expect(crashes).to.have.length(1);
    };

    it('that has no handler for what it raises, and do not resume it', async () => {
      const { traps } = it_;
      const resumed = traps.int3();
      expectCrash(/^domain 1, vCPU 0: no handler is registered, for vector 3, int3$/);
      expect(await settled(resumed)).to.equal('not yet');
    });

    it('that has registered an address at which no code of its lies, naming it', () => {
      it_.traps.setTrapTable([{ vector: 3, address: 0xdeadn }]);
      void it_.traps.int3();
      expectCrash(/^domain 1, vCPU 0: no code lies at 0xdead, where a handler was to be$/);
    });

    it('that has named no stack, or one that it has given back', () => {
      it_.traps.code(HANDLER, () => {});
      it_.traps.setTrapTable([{ vector: 3, address: HANDLER }]);
      it_.traps.registers.rsp = 0n;
      void it_.traps.int3();
      expectCrash(/its stack at 0x-?[0-9a-f]+ … 0x0 is no memory of its, for vector 3, int3/);
    });

    it('whose handler gives the stack back that its frame lies on', () => {
      const { traps, hypervisor, stack } = it_;
      const frame = Number(traps.addressOf(stack)) / PAGE_SIZE;
      traps.code(HANDLER, () => void hypervisor.pages.release(dom1, frame, 1));
      traps.setTrapTable([{ vector: 3, address: HANDLER }]);
      void traps.int3();
      expectCrash(/its iret frame at 0x[0-9a-f]+ is no memory of its/);
    });

    it('whose handlers trap in themselves for ever, when its stack is full', () => {
      const { traps, hypervisor, entry, crashes } = it_;
      traps.code(HANDLER, () => void traps.int3());
      traps.setTrapTable([{ vector: 3, address: HANDLER }]);
      void traps.int3();
      for (let i = 0; i < 100 && hypervisor.doorbell.hasUpcall(dom1); i++) entry.enterAll();
      expect(crashes[0]?.message).to.match(/is no memory of its, for vector 3, int3/);
    });
  });

  it('of a domain that is destroyed stay as they are, since none of its code goes on; those it would raise later reject', async () => {
    const { traps, hypervisor, entry, errors } = it_;
    const waiting = [traps.int3(), traps.raise({ vector: 6 })];
    expect(hypervisor.destroyDomain(dom0, dom1)).to.equal(0);
    entry.enterAll();
    for (const wait of waiting) expect(await settled(wait)).to.equal('not yet');
    const refused = [traps.int3(), traps.softwareInterrupt(33), traps.raise({ vector: 6 }), traps.syscall()];
    for (const call of refused) expect(await settled(call.catch(String))).to.match(/ESRCH/);
    expect(errors).to.eql([]);
  });

  it('tell of what a handler throws, and return from it', async () => {
    const { traps, entry, errors } = it_;
    traps.code(HANDLER, () => {
      throw new Error('oops');
    });
    traps.setTrapTable([{ vector: 3, address: HANDLER }]);
    const resumed = traps.int3();
    entry.enterAll();
    expect(errors.map(String)).to.eql(['Error: oops']);
    expect((await resumed).rip).to.equal(PROGRAM + 1n);
  });

  it('say by a XenError which call was refused, and why', () => {
    const { traps } = it_;
    const table = [{ vector: 3, address: 0x8000_0000_0000n }];
    expect(() => traps.setTrapTable(table))
      .to.throw(XenError, 'HYPERVISOR_set_trap_table: an address is not canonical')
      .with.property('code', 'EINVAL');
    expect(() => traps.setTrapTable(1n))
      .to.throw(XenError)
      .with.property('code', 'EFAULT');
    expect(() => traps.registerCallback('syscall', 0x8000_0000_0000n)).to.throw(
      XenError,
      'CALLBACKOP_register of syscall',
    );
    expect(() => traps.unregisterCallback('event'))
      .to.throw(XenError, 'only nmi')
      .with.property('code', 'EINVAL');
  });

  it('let code lie at one address once, never at 0, until it is disposed', () => {
    const { traps } = it_;
    const code = traps.code(HANDLER, () => {});
    expect(() => traps.code(HANDLER, () => {})).to.throw(RangeError, '0x1000');
    expect(() => traps.code(0n, () => {})).to.throw(RangeError, 'address 0');
    code[Symbol.dispose]();
    traps.code(HANDLER, () => {});
  });

  it('know the addresses of own pages, up to their end, and of nothing else', () => {
    const { traps, stack } = it_;
    expect(traps.addressOf(stack, 16) - traps.addressOf(stack)).to.equal(16n);
    expect(() => traps.addressOf(stack, PAGE_SIZE + 1)).to.throw(RangeError, 'no byte 4097');
    expect(() => traps.addressOf({ bytes: new Uint8Array(1), words: new Int32Array(1) } as unknown as Page)).to.throw(
      TypeError,
    );
  });

  it('keep a 32-bit guest from fields that its frames do not have', () => {
    it_ = guest('x86_32-abi');
    const { traps, entry } = it_;
    const found: unknown[] = [];
    traps.code(HANDLER, (frame) => {
      found.push(frame.rsp, frame.ss, frame.rcx, frame.r11);
      expect(() => {
        frame.rsp = 1n;
      }).to.throw(RangeError, 'no stack pointer');
      expect(() => {
        frame.rcx = 1n;
      }).to.throw(RangeError, 'neither rcx nor r11');
    });
    traps.setTrapTable([{ vector: 3, address: HANDLER }]);
    void traps.int3();
    entry.enterAll();
    expect(found).to.eql([undefined, undefined, undefined, undefined]);
    expect(it_.errors).to.eql([]);
  });

  it('answer ESRCH once their domain is gone', () => {
    it_.hypervisor.destroyDomain(dom0, dom1);
    expect(() => it_.traps.setTrapTable(undefined))
      .to.throw(XenError)
      .with.property('code', 'ESRCH');
  });
});
