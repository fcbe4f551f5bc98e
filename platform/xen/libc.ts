import { XenUnavailable } from './unavailable.js';

/** mman.h, as Linux has it on every architecture that Xen runs on. */
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;

/** The calls of the C library that Node lacks. Addresses are below 2^53; a negative result is -errno. */
export interface Libc {
  ioctl(fd: number, request: number, argument: number): number;
  /** The address of the mapping. */
  mmap(address: number, length: number, prot: number, flags: number, fd: number, offset: number): number;
  /** The bytes at an address, which must stay mapped for as long as anybody has them: to touch a hole ends the process. */
  view(address: number, length: number): ArrayBuffer;
}

/** Koffi, as far as it is used here. */
type Koffi = Pick<typeof import('koffi'), 'load' | 'view' | 'errno'>;

const load = async (): Promise<Koffi> => {
  try {
    return await import('koffi');
  } catch (error) {
    const why = /Cannot find package 'koffi'/.test(String(error))
      ? 'it is not installed'
      : String(error).replaceAll(/\s+/g, ' ');
    throw new XenUnavailable(
      `real Xen is reached through the package koffi, and ${why}: npm install koffi where splitring is installed`,
    );
  }
};

/** Loads the C library by koffi. @throws XenUnavailable when koffi is not installed or does not run here */
export const loadLibc = async (): Promise<Libc> => {
  const koffi = await load();
  const library = koffi.load('libc.so.6');
  const ioctl: (fd: number, request: number, argument: number) => number = library.func(
    'int ioctl(int fd, unsigned long request, uintptr_t argument)',
  );
  const mmap: Libc['mmap'] = library.func(
    'int64_t mmap(uintptr_t address, size_t length, int prot, int flags, int fd, int64_t offset)',
  );
  const orErrno = (result: number): number => (result === -1 ? -koffi.errno() : result);
  return {
    ioctl: (fd, request, argument) => orErrno(ioctl(fd, request, argument)),
    mmap: (address, length, prot, flags, fd, offset) => orErrno(mmap(address, length, prot, flags, fd, offset)),
    view: (address, length) => koffi.view(BigInt(address), length),
  };
};
