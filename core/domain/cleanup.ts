/** What must be undone, last in first out; a step that fails does not keep the others from running. */
export class Cleanup implements Disposable {
  readonly #steps: (() => void)[] = [];
  #done = false;

  /** Adds a step; after disposal it runs at once. */
  add(step: () => void): void {
    if (this.#done) step();
    else this.#steps.push(step);
  }

  /** Adds something disposable and returns it. */
  use<T extends Disposable>(resource: T): T {
    this.add(() => resource[Symbol.dispose]());
    return resource;
  }

  /** @throws AggregateError of what the steps threw, after all of them have run */
  [Symbol.dispose](): void {
    this.#done = true;
    const errors: unknown[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        step();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, 'several clean-up steps failed');
  }
}
