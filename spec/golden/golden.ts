import { readFileSync } from 'node:fs';

/** The x86 ABIs of layouts.json. */
export const abis = ['x86_64', 'x86_32'] as const;
/** One of them. */
export type AbiName = (typeof abis)[number];

/** A C struct or union: offset and size of each field in bytes; a flexible array has size 0. */
export interface CLayout {
  readonly size: number;
  readonly align: number;
  readonly fields: Readonly<Record<string, readonly [offset: number, size: number]>>;
}

/** A constant of a header; one value for each ABI where they differ. */
export type CConstant = number | string | Readonly<Record<AbiName, number>>;

/** What layouts.c prints, for both ABIs. */
export interface Golden extends Readonly<Record<AbiName, Readonly<Record<string, CLayout>>>> {
  /** The headers' version, as their package has it. */
  readonly xen: string;
  readonly constants: Readonly<Record<string, CConstant>>;
}

/** The repository's root, seen from the compiled spec. */
export const root = new URL('../../../', import.meta.url);

/** What the C program printed over Xen's public headers (spec/golden/layouts.json). */
export const golden = JSON.parse(readFileSync(new URL('spec/golden/layouts.json', root), 'utf8')) as Golden;

/** The headers behind it, for the titles of specs: `Xen 4.17.7`. */
export const headers = `Xen ${golden.xen.split('+')[0]}`;
