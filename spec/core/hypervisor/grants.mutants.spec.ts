import { expect } from 'chai';
import { gntst } from '../../../core/abi/gntst.js';
import { DOMID_SELF } from '../../../core/abi/units.js';
import { Frames } from '../../../core/hypervisor/frames.js';
import { GrantCopy } from '../../../core/hypervisor/grant-copy.js';
import { GrantEntries } from '../../../core/hypervisor/grant-entries.js';
import { GrantMap } from '../../../core/hypervisor/grant-map.js';
import { GrantPins, pinOf } from '../../../core/hypervisor/grant-pins.js';
import { Maptrack } from '../../../core/hypervisor/maptrack.js';
import { differs } from './grant-commands.js';

/** Puts `make`'s method in the place of a class's, for as long as `during` runs. */
const mutated = <T extends object, K extends keyof T>(
  { prototype }: { readonly prototype: T },
  name: K,
  make: (real: T[K]) => T[K],
  during: () => boolean,
): boolean => {
  const real = prototype[name];
  prototype[name] = make(real);
  try {
    return during();
  } finally {
    prototype[name] = real;
  }
};

const noticed = (): boolean => differs(150, 1);

/** Mistakes that Xen has made, or that are near. */
const mistakes: Readonly<Record<string, () => boolean>> = {
  'the in-use bits stay after the last read (XSA-394)': () =>
    mutated(
      GrantPins,
      'unpin',
      (real) =>
        function (this: GrantPins, slot, ref, pins) {
          if (pins === pinOf.hostRead) return;
          real.call(this, slot, ref, pins);
        },
      noticed,
    ),
  'a half that was unmapped is not remembered (XSA-394)': () => mutated(Maptrack, 'keep', () => () => {}, noticed),
  'a mapping does not hold its page (XSA-224)': () => mutated(Frames, 'hold', () => () => {}, noticed),
  'the last unmap does not free a released page': () =>
    mutated(
      Frames,
      'drop',
      (real) =>
        function (this: Frames, frame) {
          return this.mappings(frame) > 1 && real.call(this, frame);
        },
      noticed,
    ),
  'read-only mappings are counted as writable (XSA-227)': () =>
    mutated(
      GrantMap,
      'pinsOf',
      (real) => (flags, halves) => real.call(undefined as never, flags & ~4, halves),
      noticed,
    ),
  'an access is ended while the peer has it mapped (XSA-396)': () =>
    mutated(
      GrantEntries,
      'endAccess',
      (real) =>
        function (this: GrantEntries, domid, ref) {
          real.call(this, domid, ref);
          return true;
        },
      noticed,
    ),
  'a copy believes an entry that was changed while in use (XSA-500)': () =>
    mutated(
      GrantPins,
      'pin',
      (real) =>
        function (this: GrantPins, slot, ref, domid, pins, readonly) {
          return real.call(this, slot, ref, domid, pins, readonly, 'map');
        },
      noticed,
    ),
  'another’s page can be granted': () =>
    mutated(
      Frames,
      'isPage',
      (real) =>
        function (this: Frames, frame, owner) {
          return real.call(this, frame, this.ownerOf(frame) ?? owner);
        },
      noticed,
    ),
  'references are swapped while in use': () => mutated(GrantPins, 'pins', () => () => 0, noticed),
  'the end of a domain leaves its mappings (XSA-380)': () => mutated(GrantMap, 'releaseSome', () => () => {}, noticed),
  'a batch of copies ends at the first that fails (XSA-295)': () =>
    mutated(
      GrantCopy,
      'copyAll',
      (real) =>
        function (this: GrantCopy, caller, elements) {
          for (const element of elements) {
            real.call(this, caller, [element]);
            if (element.status !== gntst.okay) return;
          }
        },
      noticed,
    ),
  'a frame of another domain is taken for the caller’s own (CVE-2026-102704)': () =>
    mutated(
      GrantCopy,
      'copy',
      (real) =>
        function (this: GrantCopy, caller, from, source, sourceOffset, to, dest, destOffset, len, flags) {
          const own = (flags & 1) === 0 ? DOMID_SELF : from;
          return real.call(this, caller, own, source, sourceOffset, to, dest, destOffset, len, flags);
        },
      noticed,
    ),
  'anybody may grow anybody’s table': () =>
    mutated(
      GrantEntries,
      'target',
      (real) =>
        function (this: GrantEntries, caller, dom) {
          const slot = real.call(this, caller, dom);
          return slot === gntst.permission_denied ? real.call(this, dom, dom) : slot;
        },
      noticed,
    ),
};

describe('the comparison of grants with a plain model notices that', () => {
  for (const [mistake, isNoticed] of Object.entries(mistakes)) {
    it(mistake, () => {
      expect(isNoticed()).to.equal(true);
    });
  }

  it('nothing is wrong when nothing is', () => {
    expect(differs(30, 1)).to.equal(false);
  });
});
