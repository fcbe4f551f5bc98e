/** Something that has reached a handler, as its domain reports it; a type and no interface, so that it may cross as Plain. */
export type Delivery = {
  /** System time in milliseconds. */
  readonly time: number;
  /** The port of a channel, or the vector of an exception, which comes by the trap table. */
  readonly by: `port ${number}` | `vector ${number}`;
  readonly what: 'PIRQ' | 'event' | 'VIRQ_TIMER' | 'int3';
  readonly text: string;
};
