/*
 * The threads suite's peer in C: two threads with one blkif ring between them, event suppression by req_event and rsp_event, and a
 * futex to sleep on. gcc -O2 -pthread futex.c -o futex; ./futex DEPTH MILLISECONDS core|wall prints what it
 * measured as JSON. The clocks are those of bench/lib/clocks.ts.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 32
#define MASK (ENTRIES - 1)
#define WARM_UP_MS 100

struct segment {
    uint32_t gref;
    uint8_t first_sect, last_sect;
};
struct request {
    uint8_t operation, nr_segments;
    uint16_t handle;
    uint64_t id, sector_number;
    struct segment seg[11];
};
struct response {
    uint64_t id;
    uint8_t operation;
    int16_t status;
};
struct sring {
    _Atomic uint32_t req_prod, req_event;
    _Atomic uint32_t rsp_prod, rsp_event;
    uint8_t pad[48];
    union {
        struct request req;
        struct response rsp;
    } ring[ENTRIES];
};

/* What a thread sleeps on; a kick of one that runs is one addition, and no system call. */
struct doorbell {
    _Atomic int wake, asleep;
    char pad[120];
};

static struct sring *s;
static struct doorbell doorbells[2] __attribute__((aligned(128)));
enum { FRONT, BACK };
static uint64_t sum;

static void kick(int who) {
    struct doorbell *bell = &doorbells[who];
    atomic_fetch_add(&bell->wake, 1);
    if (atomic_load(&bell->asleep))
        syscall(SYS_futex, &bell->wake, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

static void rest(int who, int wake) {
    struct doorbell *bell = &doorbells[who];
    atomic_store(&bell->asleep, 1);
    syscall(SYS_futex, &bell->wake, FUTEX_WAIT_PRIVATE, wake, 0, 0, 0);
    atomic_store(&bell->asleep, 0);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* Milliseconds of processor that both threads have had. */
static double process(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* Milliseconds that core 0 was this process's, or nobody's. */
static double core(void) {
    unsigned long user, nice, system, idle, waiting;
    FILE *stat = fopen("/proc/stat", "r");
    if (stat == 0)
        return now();
    if (fscanf(stat, "%*[^\n] cpu0 %lu %lu %lu %lu %lu", &user, &nice, &system, &idle, &waiting) != 5)
        exit(1);
    fclose(stat);
    return process() + (idle + waiting) * 10.0;
}

static void *back(void *unused) {
    uint32_t cons = 0, prod = 0;
    (void)unused;
    for (;;) {
        int wake = atomic_load(&doorbells[BACK].wake);
        for (;;) {
            uint32_t req_prod = atomic_load(&s->req_prod);
            if (req_prod == cons) {
                atomic_store(&s->req_event, cons + 1);
                if (atomic_load(&s->req_prod) == cons)
                    break;
                continue;
            }
            for (; cons != req_prod; cons++, prod++) {
                const struct request *req = &s->ring[cons & MASK].req;
                uint8_t operation = req->operation;
                uint64_t id = req->id;
                sum += req->sector_number + req->seg[0].gref + req->seg[0].last_sect;
                struct response *rsp = &s->ring[prod & MASK].rsp;
                rsp->id = id;
                rsp->operation = operation;
                rsp->status = 0;
            }
            uint32_t old = atomic_load_explicit(&s->rsp_prod, memory_order_relaxed);
            atomic_store(&s->rsp_prod, prod);
            if (prod - atomic_load(&s->rsp_event) < prod - old)
                kick(FRONT);
        }
        rest(BACK, wake);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    int shared = strcmp(argv[3], "core") == 0;
    double (*exact)(void) = shared ? core : now;
    double (*rough)(void) = shared ? process : now;
    int depth = atoi(argv[1]);
    double length = atof(argv[2]);
    s = aligned_alloc(4096, 4096);
    memset(s, 0, 4096);
    s->req_event = s->rsp_event = 1;
    pthread_t thread;
    if (pthread_create(&thread, 0, back, 0) != 0)
        return 1;
    uint32_t prod = 0, cons = 0;
    long done = 0, kicks = 0;
    int warm = 1, n = depth;
    double start = 0, end = rough() + WARM_UP_MS;
    uint64_t got = 0;
    for (;;) {
        for (int i = 0; i < n; i++, prod++) {
            struct request *req = &s->ring[prod & MASK].req;
            req->operation = 0;
            req->nr_segments = 1;
            req->handle = 51712;
            req->id = prod;
            req->sector_number = (uint64_t)prod * 8;
            req->seg[0].gref = 8;
            req->seg[0].first_sect = 0;
            req->seg[0].last_sect = 7;
        }
        uint32_t old = atomic_load_explicit(&s->req_prod, memory_order_relaxed);
        atomic_store(&s->req_prod, prod);
        if (prod - atomic_load(&s->req_event) < prod - old) {
            kicks++;
            kick(BACK);
        }
        for (;;) {
            int wake = atomic_load(&doorbells[FRONT].wake);
            uint32_t rsp_prod = atomic_load(&s->rsp_prod);
            if (rsp_prod != cons) {
                for (n = 0; cons != rsp_prod; cons++, n++)
                    got += s->ring[cons & MASK].rsp.id;
                break;
            }
            atomic_store(&s->rsp_event, cons + 1);
            if (atomic_load(&s->rsp_prod) == cons)
                rest(FRONT, wake);
        }
        /* As often as the cases in JavaScript look at the clock. */
        if ((done & 1023) + n >= 1024) {
            double t = rough();
            if (t > end && warm) {
                warm = 0;
                done = kicks = 0;
                start = exact();
                end = t + length;
            } else if (t > end) {
                start = exact() - start;
                break;
            }
        }
        done += n;
    }
    printf("{\"rate\":%.0f,\"sends\":%.4f}\n", done / start * 1e3, (double)kicks / done);
    fprintf(stderr, "%lu\n", (unsigned long)(got + sum));
    fflush(stdout);
    _exit(0);
}
