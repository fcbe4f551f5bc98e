import { AdaptiveSpinner } from '../../../platform/threads/spinner.js';

/** How long a thread looks for more work before it rests: as the platform has it, not at all, or always for a while. */
export type Spin = 'adaptive' | 'never' | 'always';

/** Looks of a spinner that always spins: as long as an adaptive one's probe. */
const LOOKS = 16_000;

const spinners: Readonly<Record<Exclude<Spin, 'adaptive'>, (hasWork: () => boolean) => boolean>> = {
  never: (hasWork) => hasWork(),
  always: (hasWork) => {
    for (let i = 0; i < LOOKS; i++) if (hasWork()) return true;
    return false;
  },
};

/**
 * Lets this thread's domain spin otherwise than the platform has it.
 * @returns whether the platform has used it yet
 */
export const spinning = (spin: Spin): (() => boolean) => {
  if (spin === 'adaptive') return () => true;
  const other = spinners[spin];
  let used = false;
  AdaptiveSpinner.prototype.spin = (hasWork) => {
    used = true;
    return other(hasWork);
  };
  return () => used;
};
