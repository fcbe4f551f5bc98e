/** Those who wait until nothing is pending. */
export class Idle {
  readonly #pending: () => number;
  #waiting: (() => void)[] = [];

  constructor(pending: () => number) {
    this.#pending = pending;
  }

  /** Resolves when nothing is pending. */
  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.tell();
    });
  }

  /** To be called whenever less is pending. */
  tell(): void {
    if (this.#waiting.length === 0 || this.#pending() > 0) return;
    const tell = this.#waiting;
    this.#waiting = [];
    for (const resolve of tell) resolve();
  }
}
