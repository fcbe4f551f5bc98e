// A shared ring between two threads, the one behind it reading a file by pread straight into the pages of the one before it:
// the block path of two domains, in C, with futexes for event channels and nothing checked.
// ring-pread FILE BYTES random|sequential MS DEPTH prints reads a second of processor time.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 128
#define SLOT(i) (&ring->slots[(i) & (SLOTS - 1)])

// As blkif's with one segment: 112 bytes a slot.
struct slot {
  uint64_t id, sector;
  uint32_t page, rest[23];
};
struct ring {
  _Atomic uint32_t req_prod, req_event, rsp_prod, rsp_event;
  uint32_t pad[12];
  struct slot slots[SLOTS];
};
struct bell {
  _Atomic uint32_t events, asleep;
  char pad[120];
};

static struct ring *ring;
static char *pages;
static int fd;
static long bytes;
static struct bell front, back;

// Of the processor, as all threads have had it.
static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void notify(struct bell *bell) {
  atomic_fetch_add(&bell->events, 1);
  if (atomic_load(&bell->asleep)) syscall(SYS_futex, &bell->events, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

static void rest(struct bell *bell, uint32_t seen) {
  atomic_store(&bell->asleep, 1);
  syscall(SYS_futex, &bell->events, FUTEX_WAIT_PRIVATE, seen, 0, 0, 0);
  atomic_store(&bell->asleep, 0);
}

// Whether the other end asked to be told of what is published now (RING_PUSH_*_AND_CHECK_NOTIFY).
static int push(_Atomic uint32_t *prod, _Atomic uint32_t *event, uint32_t now) {
  uint32_t old = atomic_load(prod);
  atomic_store(prod, now);
  return now - atomic_load(event) < now - old;
}

static void *serve(void *unused) {
  uint32_t cons = 0, prod = 0;
  for (;;) {
    uint32_t seen = atomic_load(&back.events);
    for (;;) {
      uint32_t end = atomic_load(&ring->req_prod);
      if (cons == end) {
        atomic_store(&ring->req_event, cons + 1);
        if (atomic_load(&ring->req_prod) == cons) break;
        continue;
      }
      while (cons != end) {
        struct slot req = *SLOT(cons++);
        if (pread(fd, pages + req.page * bytes, bytes, req.sector * 512) != bytes) _exit(1);
        SLOT(prod++)->id = req.id;
      }
      if (push(&ring->rsp_prod, &ring->rsp_event, prod)) notify(&front);
    }
    rest(&back, seen);
  }
  return unused;
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  fd = open(argv[1], O_RDONLY);
  bytes = atol(argv[2]);
  int sequential = argv[3][0] == 's';
  double span = atof(argv[4]) / 1e3;
  uint32_t depth = atoi(argv[5]);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0 || depth > SLOTS) return 1;
  if (posix_memalign((void **)&ring, 4096, sizeof *ring) || posix_memalign((void **)&pages, 4096, bytes * depth)) return 1;
  memset(ring, 0, sizeof *ring);
  memset(pages, 1, bytes * depth);
  ring->req_event = ring->rsp_event = 1;
  pthread_t thread;
  if (pthread_create(&thread, 0, serve, 0)) return 1;

  uint32_t blocks = st.st_size / bytes, x = 12345, at = 0, prod = 0, cons = 0, spare[SLOTS], spares = 0;
  for (uint32_t i = 0; i < depth; i++) spare[spares++] = i;
  double start = 0, end = seconds() + 0.1;
  long done = 0, rounds = 0;
  for (int warm = 1;;) {
    while (spares > 0) {
      uint32_t page = spare[--spares], block;
      if (sequential) {
        block = at;
        at = at + 1 == blocks ? 0 : at + 1;
      } else {
        x = x * 1664525u + 1013904223u;
        block = x % blocks;
      }
      struct slot *req = SLOT(prod++);
      req->id = req->page = page;
      req->sector = (uint64_t)block * bytes / 512;
    }
    if (push(&ring->req_prod, &ring->req_event, prod)) notify(&back);
    for (;;) {
      uint32_t seen = atomic_load(&front.events), last = atomic_load(&ring->rsp_prod);
      while (cons != last) {
        spare[spares++] = SLOT(cons++)->id;
        done++;
      }
      if (spares > 0) break;
      atomic_store(&ring->rsp_event, cons + 1);
      if (atomic_load(&ring->rsp_prod) == cons) rest(&front, seen);
    }
    if (++rounds % 64 != 0 || seconds() < end) continue;
    if (!warm) break;
    warm = 0;
    done = 0;
    start = seconds();
    end = seconds() + span;
  }
  printf("%.0f\n", done / (seconds() - start));
  return 0;
}
