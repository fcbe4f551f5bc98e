/*
 * The ring suite's peer: the same loops over the same layouts as bench/suites/ring-cases.ts, without checks and without private copies.
 * gcc -O2 ring.c -o ring; ./ring blk|net SEGMENTS prints millions of requests a second.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 32
#define REQUESTS 32000000L

struct segment {
    uint32_t gref;
    uint8_t first_sect, last_sect;
};
struct blk_request {
    uint8_t operation, nr_segments;
    uint16_t handle;
    uint64_t id, sector_number;
    struct segment seg[11];
};
struct blk_response {
    uint64_t id;
    uint8_t operation;
    int16_t status;
};
struct net_request {
    uint32_t gref;
    uint16_t offset, flags, id, size;
};
struct net_response {
    uint16_t id;
    int16_t status;
};

#define RING(name, request, response, entries)           \
    struct name {                                        \
        _Atomic uint32_t req_prod, req_event;            \
        _Atomic uint32_t rsp_prod, rsp_event;            \
        uint8_t pad[48];                                 \
        union {                                          \
            struct request req;                          \
            struct response rsp;                         \
        } ring[entries];                                 \
    }
RING(blk_sring, blk_request, blk_response, 32);
RING(net_sring, net_request, net_response, 256);

_Static_assert(sizeof(struct blk_request) == 112, "blkif_request");
_Static_assert(sizeof(struct net_request) == 12, "netif_tx_request");

static uint64_t sum;

/* The other end would run on another processor: the compiler may not carry what it knows of the page across. */
static inline void publish(_Atomic uint32_t *index, uint32_t value) {
    atomic_store_explicit(index, value, memory_order_release);
    __asm__ volatile("" ::: "memory");
}
static inline uint32_t observe(_Atomic uint32_t *index) {
    return atomic_load_explicit(index, memory_order_acquire);
}

static void blk(struct blk_sring *s, int segments) {
    uint32_t req_prod = 0, req_cons = 0, rsp_prod = 0, rsp_cons = 0;
    for (long n = 0; n < REQUESTS; n += BATCH) {
        for (int k = 0; k < BATCH; k++, req_prod++) {
            struct blk_request *req = &s->ring[req_prod & 31].req;
            req->operation = 0;
            req->nr_segments = segments;
            req->handle = 51712;
            req->id = req_prod;
            req->sector_number = (uint64_t)(req_prod & 0xffffff) << 3;
            for (int i = 0; i < segments; i++) {
                req->seg[i].gref = 8 + i;
                req->seg[i].first_sect = 0;
                req->seg[i].last_sect = 7;
            }
        }
        publish(&s->req_prod, req_prod);
        for (uint32_t prod = observe(&s->req_prod); req_cons != prod; req_cons++, rsp_prod++) {
            const struct blk_request *req = &s->ring[req_cons & 31].req;
            uint8_t operation = req->operation;
            uint64_t id = req->id;
            uint64_t t = req->sector_number + req->handle;
            for (int i = 0, e = req->nr_segments; i < e; i++)
                t += req->seg[i].gref + req->seg[i].last_sect - req->seg[i].first_sect;
            sum += t;
            struct blk_response *rsp = &s->ring[rsp_prod & 31].rsp;
            rsp->id = id;
            rsp->operation = operation;
            rsp->status = 0;
        }
        publish(&s->rsp_prod, rsp_prod);
        for (uint32_t prod = observe(&s->rsp_prod); rsp_cons != prod; rsp_cons++) {
            const struct blk_response *rsp = &s->ring[rsp_cons & 31].rsp;
            sum += rsp->id + rsp->status;
        }
    }
}

static void net(struct net_sring *s) {
    uint32_t req_prod = 0, req_cons = 0, rsp_prod = 0, rsp_cons = 0;
    for (long n = 0; n < REQUESTS; n += BATCH) {
        for (int k = 0; k < BATCH; k++, req_prod++) {
            struct net_request *req = &s->ring[req_prod & 255].req;
            req->gref = 8 + (req_prod & 255);
            req->offset = 0;
            req->flags = 1;
            req->id = req_prod;
            req->size = 1500;
        }
        publish(&s->req_prod, req_prod);
        for (uint32_t prod = observe(&s->req_prod); req_cons != prod; req_cons++, rsp_prod++) {
            const struct net_request *req = &s->ring[req_cons & 255].req;
            uint16_t id = req->id;
            sum += req->gref + req->offset + req->flags + req->size;
            struct net_response *rsp = &s->ring[rsp_prod & 255].rsp;
            rsp->id = id;
            rsp->status = 0;
        }
        publish(&s->rsp_prod, rsp_prod);
        for (uint32_t prod = observe(&s->rsp_prod); rsp_cons != prod; rsp_cons++) {
            const struct net_response *rsp = &s->ring[rsp_cons & 255].rsp;
            sum += rsp->id + rsp->status;
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    void *page = aligned_alloc(4096, 4096);
    struct timespec from, to;
    memset(page, 0, 4096);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    if (strcmp(argv[1], "blk") == 0)
        blk(page, atoi(argv[2]));
    else
        net(page);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    double seconds = (to.tv_sec - from.tv_sec) + (to.tv_nsec - from.tv_nsec) / 1e9;
    printf("%.2f\n", REQUESTS / seconds / 1e6);
    fprintf(stderr, "%lu\n", (unsigned long)sum);
    return 0;
}
