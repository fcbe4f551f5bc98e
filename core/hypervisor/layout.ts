/*
 * Where our Xen keeps its state in the machine's one memory, in 32-bit words. Everything that matters lies there, so that any
 * thread which holds the memory can make any call.
 *
 *   header │ domid → slot │ frame table │ slot 0 │ slot 1 │ … │ frames for domains and for growing tables
 *
 * Tables that grow (ports, grants, maptrack) take frames of the common pool, as Xen takes them from its heap.
 */

/** Words of a page. */
export const PAGE_WORDS = 1024;

/** Words of the header, each group on its own 128-byte line. */
export const header = {
  magic: 0,
  frames: 1,
  slots: 2,
  /** Domains ever created; numbers each domain's incarnation. */
  created: 3,
  /** Where the search for free frames begins. */
  frameHint: 4,
  /** How many have attached to the memory: one is the only thread that makes calls. Never counts down. */
  attached: 5,
  lock: 32,
  /** The owner's domid + 1 of each of the 24 virtual interrupts; 0 where it is the hardware domain's. */
  virqOwners: 64,
  /** A word for each of the host's 256 interrupts. */
  irqs: 128,
} as const;

/** Marks a memory that holds our Xen, in this layout. */
export const MAGIC = 0x53585203;

/**
 * Pages of a slot: control page, shared_info, list of maptrack frames, map of the guest's used grant references, shared_info
 * once more, for a domain of the 32-bit ABI, two of vCPUs, one of physical interrupts, and for a domain of Arm one of vcpu_info and
 * its shared_info. Who raises an event without the lock may still take the slot for that of the domain before; in a page of another
 * ABI it would set a bit of the mask where it means one of PENDING.
 */
export const SLOT_PAGES = 10;
/** As many domains as the slot field of a port's word can tell apart. */
export const MAX_SLOTS = 256;

/** Words of a slot's control page. The first two stand on lines of their own: other domains write them. */
export const control = {
  /** What the domain's thread does: see {@link running}. */
  state: 0,
  /** Counts the kicks that the domain has got. */
  wake: 32,
  life: 64,
  domid: 65,
  flags: 66,
  /** The highest port number that the toolstack allows. */
  maxPort: 67,
  /** Ports that have an entry; grows by {@link PORTS_PER_BUCKET}. */
  validPorts: 68,
  /** No port below this one is free. */
  freePortHint: 69,
  grantFrames: 70,
  maxGrantFrames: 71,
  maptrackFrames: 72,
  maxMaptrackFrames: 73,
  /** The first maptrack handle that was used and is free again, + 1. */
  freeHandle: 74,
  /** No word of the reference map below this one has a free bit. */
  freeRefHint: 75,
  /** Pages that the domain owns, released ones that others still map included. */
  pages: 76,
  incarnation: 77,
  /** Maptrack handles from this one on were never used. */
  freshHandle: 79,
  /** How many vCPUs the domain has. */
  vcpus: 78,
  /** The thread that makes the domain's calls, as its platform numbers threads, and when it began; 0 where nobody told. */
  thread: 80,
  threadStart: 81,
  /** How often a toolstack has paused the domain and not unpaused it (sched.h `controller_pause_count`). */
  pauseCount: 82,
  /** The domid + 1 of who resets the domain's ports, while one does. */
  resetBy: 83,
  /** What the domain has been shut down for: see sched.ts. */
  shutdown: 96,
  /** A bit for each vCPU that waits in SCHEDOP_poll (sched.h `poll_mask`). */
  pollMask: 97,
  /** A bit for each vCPU that is to be entered though it has no upcall. */
  attention: 98,
  /** Which of the two watchdog timers are in use. */
  watchdogs: 99,
  /** When each watchdog fires, in two words. */
  watchdogAt: 100,
  /** Lists of frames. */
  grantFrameList: 128,
  activeFrameList: 192,
  portFrameList: 512,
  /** The timers of the vCPUs, {@link TIMER_WORDS} for each. */
  timers: 768,
} as const;

/** Words from a slot's beginning to its further pages. */
export const slotPage = {
  sharedInfo: PAGE_WORDS,
  maptrackFrameList: 2 * PAGE_WORDS,
  refMap: 3 * PAGE_WORDS,
  sharedInfo32: 4 * PAGE_WORDS,
  vcpus: 5 * PAGE_WORDS,
  pirqs: 7 * PAGE_WORDS,
  sharedInfoArm: 9 * PAGE_WORDS,
} as const;

/** vCPUs that a domain can have: as many as shared_info has room for (xen.h `XEN_LEGACY_MAX_VCPUS`). */
export const MAX_VCPUS = 32;
/** Words of a vCPU. */
export const VCPU_WORDS = 64;
/** Words of a vCPU, from its first. */
export const vcpuWord = {
  /** The port at which the next scan begins. */
  scanNext: 0,
  /** vcpu_runstate_info: the state, when it was entered, and the time spent in each of the four (vcpu.h). */
  runstate: 4,
  runstateEntry: 8,
  runstateTimes: 10,
  /** Bits of {@link vcpuFlag}. */
  flags: 5,
  /** The port that the vCPU polls, -1 for several or none in particular, 0 where it does not poll (sched.h `poll_evtchn`). */
  pollPort: 7,
  /** Addresses of the registered copies of runstate and time; 0 for none. */
  runstateArea: 18,
  timeArea: 19,
  /** When the time page was written last. */
  timeStamp: 20,
  /** The frame of its virtual IDT, before that of its context; 0 where it uses neither. */
  trapTable: 24,
  /** The port that a VIRQ raises, for each of the 24; 0 where it is unbound. */
  virqPorts: 40,
} as const;

/** Bits of {@link control.shutdown}: the code + 1, 0 while there is none (SHUTDOWN_CODE_INVALID); is_shutting_down; is_shut_down. */
export const SHUTDOWN_CODE = 0x1ff;
export const SHUTTING_DOWN = 0x200;
export const SHUT_DOWN = 0x400;

/** Bits of {@link vcpuWord.flags}. */
export const vcpuFlag = { initialised: 1, up: 2, blocked: 4 } as const;

/** Words of a vCPU's timers. */
export const TIMER_WORDS = 8;
/** Words of a vCPU's timers, two each: 0 where a timer is stopped. */
export const timerWord = { singleshot: 0, period: 2, periodicLast: 4, poll: 6 } as const;

/**
 * A slot's life. One that is `building` while nobody holds the lock was left by a caller who died; one that is `dying` too, unless
 * its destroyer only lets others in between two parts of its end.
 */
export const life = { none: 0, building: 1, alive: 2, dying: 3, zombie: 4 } as const;

/** Bits of {@link control.flags}. */
export const domainFlag = { privileged: 1, abi32: 2, ownThread: 4, runstateUpdate: 8, arm: 16 } as const;

/** Entries by which Xen grows a port table (sched.h `EVTCHNS_PER_BUCKET`). */
export const PORTS_PER_BUCKET = 64;
/** Entries of two words in one frame, as a shift: ports, and grants of version 1 (grant_table.h). */
export const PAIRS_SHIFT = 9;
/** Entries of four words in one frame, as a shift: active grants, and mappings, as many as in Xen. */
export const QUADS_SHIFT = 8;
/** Grant entries of version 1 in one frame. */
export const GRANTS_PER_FRAME = 1 << PAIRS_SHIFT;
/** Active grant entries, or maptrack entries, in one frame. */
export const ACTIVE_PER_FRAME = 1 << QUADS_SHIFT;

/** The first word of an entry of two words, in a table whose frames are listed from word `list`. */
export const pairAt = (words: Int32Array, list: number, index: number): number =>
  (words[list + (index >>> PAIRS_SHIFT)] as number) * PAGE_WORDS + (index & (GRANTS_PER_FRAME - 1)) * 2;

/** The first word of an entry of four words, in a table whose frames are listed from word `list`. */
export const quadAt = (words: Int32Array, list: number, index: number): number =>
  (words[list + (index >>> QUADS_SHIFT)] as number) * PAGE_WORDS + (index & (ACTIVE_PER_FRAME - 1)) * 4;
/** Grant frames for which the reference map has room; Xen's default limit. */
export const GRANT_FRAMES_LIMIT = 64;
/** Maptrack frames for which their list has room; Xen's default limit. */
export const MAPTRACK_FRAMES_LIMIT = 1024;
