/**
 * Spares the workers that start from now on the compilation of this package. Does nothing in a checkout, whose modules Node has no code
 * cache for; the published package has one script in their place, and a function that shares its code in the place of this one.
 */
export const shareCode = (): void => {};
