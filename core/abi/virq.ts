/** Virtual interrupts by their names (xen.h `enum virq`); 16 … 23 are the architecture's. */
export const virq = {
  timer: 0,
  debug: 1,
  console: 2,
  domExc: 3,
  tbuf: 4,
  debugger: 6,
  xenoprof: 7,
  conRing: 8,
  pcpuState: 9,
  memEvent: 10,
  argo: 11,
  enomem: 12,
  xenpmu: 13,
  arch0: 16,
  arch1: 17,
  arch2: 18,
  arch3: 19,
  arch4: 20,
  arch5: 21,
  arch6: 22,
  arch7: 23,
} as const satisfies Readonly<Record<string, number>>;

/** A virtual interrupt that has a name. */
export type Virq = (typeof virq)[keyof typeof virq];

/** One that each vCPU has for itself (xen.h marks it `V.`). */
export type VcpuVirq = (typeof virq)['timer' | 'debug' | 'xenoprof' | 'xenpmu'];

/** How many virtual interrupts a vCPU has, the unused numbers included (xen.h `NR_VIRQS`). */
export const NR_VIRQS = 24;

/**
 * Who gets a virtual interrupt: `vcpu` each vCPU its own, on a port that stays there; `domain` one port of each domain; `global` one
 * port of the one domain that owns it.
 */
export type VirqClass = 'vcpu' | 'domain' | 'global';

/** The class of a virtual interrupt (event_channel.c `get_virq_type`, x86); an unused number is global. */
export const virqClass = (number: number): VirqClass => {
  switch (number) {
    case virq.timer:
    case virq.debug:
    case virq.xenoprof:
    case virq.xenpmu:
      return 'vcpu';
    case virq.argo:
      return 'domain';
    default:
      return 'global';
  }
};

const names = new Map<number, string>(
  Object.entries(virq).map(([name, number]) => [number, name.replaceAll(/[A-Z]|(?<=arch)\d/g, '_$&').toUpperCase()]),
);

/** `VIRQ_TIMER` for 0; `VIRQ 5` for a number without a name. */
export const virqName = (number: number): string => {
  const name = names.get(number);
  return name === undefined ? `VIRQ ${number}` : `VIRQ_${name}`;
};
