import { filter, firstValueFrom, map, merge, ReplaySubject, tap } from 'rxjs';
import type { Machine } from 'splitring/toolstack';

/** What the guest reports, each once but for `reading`, in this order; sums are SHA-256. */
export type DiskReport =
  | { readonly event: 'connected'; readonly bytes: number; readonly sectorSize: number }
  | { readonly event: 'reading'; readonly bytes: number }
  | { readonly event: 'read'; readonly sum: string; readonly ms: number }
  | { readonly event: 'written'; readonly sum: string; readonly readBack: string }
  | { readonly event: 'restored'; readonly same: boolean }
  | { readonly event: 'refused'; readonly error: string | undefined }
  | { readonly event: 'done' };

type Named<E extends DiskReport['event']> = Extract<DiskReport, { readonly event: E }>;

/** The guest's reports for who waits for them, from the first on; a domain that crashes ends the waiting. */
export class DiskReports {
  readonly #reports$ = new ReplaySubject<DiskReport>();

  constructor(machine: Machine) {
    // Nobody else reports on this machine.
    const reports$ = machine.reports$.pipe(map(({ value }) => value as DiskReport));
    const crashes$ = machine.shutdowns$.pipe(
      filter(({ reason }) => reason === 'crash'),
      map(({ name, module, error }): never => {
        throw new Error(`the ${name} (${module}) crashed: ${error?.message ?? 'it gave no reason'}`);
      }),
    );
    merge(reports$, crashes$).subscribe(this.#reports$);
  }

  /** The first report of a kind, when it is there; meanwhile all others, from the very first on, go to `meanwhile`. */
  next<E extends DiskReport['event']>(event: E, meanwhile?: (report: DiskReport) => void): Promise<Named<E>> {
    return firstValueFrom(
      this.#reports$.pipe(
        tap((report) => meanwhile?.(report)),
        filter((report): report is Named<E> => report.event === event),
      ),
    );
  }
}
