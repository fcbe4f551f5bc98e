import { filter, firstValueFrom, map, merge, ReplaySubject, tap } from 'rxjs';
import type { BridgeReport } from 'splitring/drivers/net';
import type { Machine } from 'splitring/toolstack';

/** What the guests report, each in this order, and the bridge. */
export type NetReport =
  | { readonly event: 'connected'; readonly guest: string; readonly mac: string; readonly features: string }
  | { readonly event: 'resolved'; readonly address: string; readonly mac: string; readonly ms: number }
  | { readonly event: 'ping'; readonly sequence: number; readonly bytes: number; readonly ms: number }
  | { readonly event: 'sending'; readonly bytes: number }
  | {
      readonly event: 'sent';
      readonly bytes: number;
      readonly datagrams: number;
      readonly lost: number;
      readonly wrong: number;
      readonly ms: number;
    }
  | { readonly event: 'failed'; readonly error: string }
  | BridgeReport;

type Named<E extends NetReport['event']> = Extract<NetReport, { readonly event: E }>;

/** The guests' reports for who waits for them; a domain that crashes, or a guest that fails, ends the waiting. */
export class NetReports {
  readonly #reports$ = new ReplaySubject<NetReport>();
  readonly #taken = new Set<NetReport>();

  constructor(machine: Machine) {
    const reports$ = machine.reports$.pipe(
      map(({ value }) => value as NetReport),
      tap((report) => {
        if (report.event === 'failed') throw new Error(report.error);
      }),
    );
    const crashes$ = machine.shutdowns$.pipe(
      filter(({ reason }) => reason === 'crash'),
      map(({ name, module, error }): never => {
        throw new Error(`${name} (${module}) crashed: ${error?.message ?? 'it gave no reason'}`);
      }),
    );
    merge(reports$, crashes$).subscribe(this.#reports$);
  }

  /** The first report of a kind that was not taken yet; meanwhile all others, from the very first on, go to `meanwhile`. */
  async next<E extends NetReport['event']>(event: E, meanwhile?: (report: NetReport) => void): Promise<Named<E>> {
    const found = await firstValueFrom(
      this.#reports$.pipe(
        tap((report) => meanwhile?.(report)),
        filter((report): report is Named<E> => report.event === event && !this.#taken.has(report)),
      ),
    );
    this.#taken.add(found);
    return found;
  }
}
