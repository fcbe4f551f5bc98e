/** rxjs, from the copy that this package runs on: a domain's thread that takes it from here does not load another. */
export * from 'rxjs';
