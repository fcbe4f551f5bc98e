/** A module that exports neither drivers nor bindings. */
export const nothing = 0;
