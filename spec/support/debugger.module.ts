import { ContainerModule, inject, injectable } from 'inversify';
import { CommandLine, GrantTable, PAGE_SIZE, Program, Reporter, Traps } from '../../core/index.js';

/** Canonical, and of 32 bits: for guests of either ABI. */
const BREAKPOINT = 0x3000_0000n;
const PROGRAM = 0x40_0000n;

/**
 * A guest with a debugger: it registers vector 3, and its program executes int3, as often as it is told. The debugger reports the frames
 * that it finds, skips what lies behind the breakpoint, and returns. Told to be `careless`, it registers nothing.
 */
@injectable()
class Debugged extends Program {
  constructor(
    @inject(Traps) private readonly traps: Traps,
    @inject(GrantTable) private readonly grants: GrantTable,
    @inject(Reporter) private readonly reporter: Reporter,
    @inject(CommandLine) private readonly cmdline: CommandLine,
  ) {
    super();
  }

  async run(): Promise<void> {
    const { traps } = this;
    using stack = this.grants.alloc();
    traps.registers.rsp = traps.addressOf(stack, PAGE_SIZE);
    traps.registers.rip = PROGRAM;
    if (this.cmdline.value !== 'careless') {
      traps.code(BREAKPOINT, (frame) => {
        const { rip, cs, rflags, savedUpcallMask } = frame;
        const onStack = frame.rsp === undefined || frame.rsp === traps.addressOf(stack, PAGE_SIZE);
        this.reporter.report(
          `int3 at ${hex(rip)}, cs ${hex(cs)}, rflags ${hex(rflags)}, mask ${savedUpcallMask}, ${onStack}`,
        );
        frame.rip = rip + 0x10n;
      });
      traps.setTrapTable([{ vector: 3, dpl: 3, address: BREAKPOINT }]);
    }
    this.reporter.report('before');
    const trapped = traps.int3();
    this.reporter.report('after the call');
    const { rip } = await trapped;
    this.reporter.report(`goes on at ${hex(rip)}`);
  }
}

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

export default new ContainerModule(({ bind }) => {
  bind(Program).to(Debugged);
});
