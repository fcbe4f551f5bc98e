/** Those who wait until an end of a ring has nothing to do. */
export class Idle {
  readonly #isBusy: () => boolean;
  #waiting: (() => void)[] = [];

  constructor(isBusy: () => boolean) {
    this.#isBusy = isBusy;
  }

  /** Resolves when there is nothing to do. */
  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.tell();
    });
  }

  /** To be called whenever there may be nothing to do any more. */
  tell(): void {
    if (this.#waiting.length === 0 || this.#isBusy()) return;
    const tell = this.#waiting;
    this.#waiting = [];
    for (const resolve of tell) resolve();
  }
}
