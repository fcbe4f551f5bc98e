import { firstValueFrom, from, map, merge } from 'rxjs';
import type { Domid } from '../../core/index.js';
import type { Machine } from '../../core/toolstack/index.js';

/** The first number that a guest reports. @throws what ended the guest before that */
export const reportedRate = (machine: Machine, guest: Domid): Promise<number> =>
  firstValueFrom(
    merge(
      machine.reportsOf$(guest).pipe(map(Number)),
      from(machine.shutdownOf(guest)).pipe(
        map(({ error }): never => {
          throw error ?? new Error('the guest has ended');
        }),
      ),
    ),
  );
