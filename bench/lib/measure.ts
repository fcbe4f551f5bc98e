/** One thing to be measured, by name; larger is better. */
export interface Subject {
  readonly name: string;
  measure(): number;
}

/** What each subject gave, one number for each round. */
export type Samples = ReadonlyMap<string, readonly number[]>;

/**
 * Measures all subjects in turn, round after round, each round beginning with another: what disturbs the machine for a while then
 * disturbs all of them. A round counts only if `undisturbed` held before and after it.
 */
export const interleave = (
  subjects: readonly Subject[],
  rounds: number,
  undisturbed: () => boolean = () => true,
): Samples => {
  const samples = new Map(subjects.map(({ name }): [string, number[]] => [name, []]));
  for (let round = 0; round < rounds; round++) {
    if (!undisturbed()) continue;
    const measured = subjects.map((_, i) => {
      const { name, measure } = subjects[(i + round) % subjects.length] as Subject;
      return { name, value: measure() };
    });
    if (!undisturbed()) continue;
    for (const { name, value } of measured) samples.get(name)?.push(value);
  }
  return samples;
};

/** The middle one, or the mean of the two in the middle. */
export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
};

/** Each round's number over the same round's number of another subject. */
export const ratios = (of: readonly number[], to: readonly number[]): readonly number[] =>
  of.map((value, round) => value / (to[round] ?? Number.NaN));
