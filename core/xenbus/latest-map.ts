import { Observable, type OperatorFunction, Subscription } from 'rxjs';

/**
 * Runs `step` for the latest value while no earlier step runs: values that arrive meanwhile merge into one more run, so that
 * a flood of watch events costs one step and no memory (XSA-349).
 */
export const latestMap =
  <T, R>(step: (value: T) => Promise<R>): OperatorFunction<T, R> =>
  (source) =>
    new Observable<R>((subscriber) => {
      let waiting: { readonly value: T } | undefined;
      let running = false;
      let completed = false;
      const run = async (): Promise<void> => {
        running = true;
        try {
          while (waiting !== undefined && !subscriber.closed) {
            const { value } = waiting;
            waiting = undefined;
            subscriber.next(await step(value));
          }
          if (completed) subscriber.complete();
        } catch (error) {
          subscriber.error(error);
        } finally {
          running = false;
        }
      };
      const subscription = new Subscription();
      subscription.add(
        source.subscribe({
          next: (value) => {
            waiting = { value };
            if (!running) void run();
          },
          error: (error) => subscriber.error(error),
          complete: () => {
            completed = true;
            if (!running) subscriber.complete();
          },
        }),
      );
      return subscription;
    });
