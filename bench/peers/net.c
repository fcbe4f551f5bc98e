/*
 * The net suite's peers in C: `net ring SIZE MS core|wall` sends frames from a tx ring through a thread that copies each, page to page,
 * into an rx ring, both of netif.h's layout, with event suppression and a futex to sleep on; `net tap SIZE MS NAME` writes frames to a TAP
 * device. Each prints frames a second. gcc -O2 -pthread net.c -o net; the clocks are those of bench/lib/clocks.ts.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 256
#define MASK (ENTRIES - 1)
#define MORE 4
#define EXTRA 8
#define WARM_UP_MS 100

struct tx_request { uint32_t gref; uint16_t offset, flags, id, size; };
struct tx_response { uint16_t id; int16_t status; };
struct rx_request { uint16_t id, pad; uint32_t gref; };
struct rx_response { uint16_t id, offset, flags; int16_t status; };
#define SRING(name, request, response)                          \
    struct name {                                               \
        _Atomic uint32_t req_prod, req_event, rsp_prod, rsp_event; \
        uint8_t pad[48];                                        \
        union { struct request req; struct response rsp; } ring[ENTRIES]; \
    }
SRING(tx_sring, tx_request, tx_response);
SRING(rx_sring, rx_request, rx_response);

struct doorbell { _Atomic int wake, asleep; char pad[120]; };

static char *memory;
static struct tx_sring *tx;
static struct rx_sring *rx;
static struct doorbell doorbells[2] __attribute__((aligned(128)));
enum { FRONT, BACK };

static void kick(int who) {
    struct doorbell *bell = &doorbells[who];
    atomic_fetch_add(&bell->wake, 1);
    if (atomic_load(&bell->asleep)) syscall(SYS_futex, &bell->wake, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

static void rest(int who, int wake) {
    struct doorbell *bell = &doorbells[who];
    atomic_store(&bell->asleep, 1);
    syscall(SYS_futex, &bell->wake, FUTEX_WAIT_PRIVATE, wake, 0, 0, 0);
    atomic_store(&bell->asleep, 0);
}

/* RING_PUSH_*_AND_CHECK_NOTIFY */
static int push(_Atomic uint32_t *prod, _Atomic uint32_t *event, uint32_t now) {
    uint32_t old = atomic_load_explicit(prod, memory_order_relaxed);
    atomic_store(prod, now);
    return (uint32_t)(now - atomic_load(event)) < (uint32_t)(now - old);
}

static double clock_ms(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static double idle_ms(void) {
    FILE *f = fopen("/proc/stat", "r");
    char line[512];
    long user, nice, system, idle, wait;
    double ms = -1;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "cpu0 %ld %ld %ld %ld %ld", &user, &nice, &system, &idle, &wait) == 5) ms = (idle + wait) * 10.0;
    if (f) fclose(f);
    return ms;
}

static int by_core;
static double now(void) {
    double idle = by_core ? idle_ms() : -1;
    return idle < 0 ? clock_ms(CLOCK_MONOTONIC) : clock_ms(CLOCK_PROCESS_CPUTIME_ID) + idle;
}
static double rough(void) { return clock_ms(by_core ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC); }

static char *page(uint32_t gref) { return memory + ((size_t)gref << 12); }

static void *backend(void *unused) {
    uint32_t tx_cons = 0, tx_prod = 0, rx_cons = 0, rx_prod = 0;
    for (;;) {
        int wake = atomic_load(&doorbells[BACK].wake);
        for (;;) {
            uint32_t sent = atomic_load(&tx->req_prod), posted = atomic_load(&rx->req_prod);
            if (tx_cons == sent || rx_cons == posted) {
                atomic_store(&tx->req_event, tx_cons + 1);
                atomic_store(&rx->req_event, rx_cons + 1);
                if (atomic_load(&tx->req_prod) != tx_cons && atomic_load(&rx->req_prod) != rx_cons) continue;
                break;
            }
            for (int n = 0; tx_cons != sent && rx_cons != posted && n < 64; n++) {
                struct tx_request from = tx->ring[tx_cons++ & MASK].req;
                struct rx_request to = rx->ring[rx_cons++ & MASK].req;
                memcpy(page(to.gref), page(from.gref) + from.offset, from.size);
                tx->ring[tx_prod++ & MASK].rsp = (struct tx_response){from.id, 0};
                rx->ring[rx_prod++ & MASK].rsp = (struct rx_response){to.id, 0, from.flags & MORE, from.size};
            }
            int one = push(&tx->rsp_prod, &tx->rsp_event, tx_prod);
            if (push(&rx->rsp_prod, &rx->rsp_event, rx_prod) || one) kick(FRONT);
        }
        rest(BACK, wake);
    }
    return unused;
}

static int ring(int size, double ms) {
    memory = aligned_alloc(4096, 4 << 20);
    memset(memory, 0, 4 << 20);
    tx = (void *)memory;
    rx = (void *)(memory + 4096);
    tx->req_event = tx->rsp_event = rx->req_event = rx->rsp_event = 1;
    pthread_t thread;
    pthread_create(&thread, 0, backend, 0);
    uint32_t tx_prod = 0, tx_cons = 0, rx_prod = 0, rx_cons = 0;
    int slots = size > 4096 ? (size + 4095) / 4096 + 1 : 1, warm = 0, looked = 0;
    long frames = 0;
    double begin = 0, end = rough() + WARM_UP_MS;
    uint64_t sum = 0;
    for (;;) {
        int wake = atomic_load(&doorbells[FRONT].wake);
        uint32_t came = atomic_load(&rx->rsp_prod), done = atomic_load(&tx->rsp_prod);
        for (; rx_cons != came; rx_cons++) {
            struct rx_response rsp = rx->ring[rx_cons & MASK].rsp;
            sum += *(int *)page(300 + rsp.id);
            if (!(rsp.flags & MORE)) frames++;
        }
        tx_cons = done;
        if (frames - looked >= 1024) {
            looked = frames;
            if (rough() > end) {
                if (warm) break;
                warm = 1;
                looked = frames = 0;
                begin = now();
                end = rough() + ms;
            }
        }
        for (; rx_prod - rx_cons < ENTRIES; rx_prod++)
            rx->ring[rx_prod & MASK].req = (struct rx_request){rx_prod & MASK, 0, 300 + (rx_prod & MASK)};
        while (ENTRIES - (tx_prod - tx_cons) >= (uint32_t)slots) {
            int left = size;
            for (int k = 0; k < slots; k++, tx_prod++) {
                int extra = slots > 1 && k == 1, part = extra ? 0 : left < 4096 ? left : 4096;
                uint16_t id = tx_prod & MASK, flags = (k < slots - 1 ? MORE : 0) | (slots > 1 && k == 0 ? EXTRA : 0);
                left -= part;
                if (part) *(int *)page(16 + id) = tx_prod;
                tx->ring[id].req = (struct tx_request){16 + id, 0, flags, id, part};
            }
        }
        int one = push(&rx->req_prod, &rx->req_event, rx_prod);
        if (push(&tx->req_prod, &tx->req_event, tx_prod) || one) kick(BACK);
        if (atomic_load(&rx->rsp_prod) != rx_cons || atomic_load(&tx->rsp_prod) != tx_cons) continue;
        atomic_store(&rx->rsp_event, rx_cons + 1);
        atomic_store(&tx->rsp_event, tx_cons + 1);
        if (atomic_load(&rx->rsp_prod) != rx_cons || atomic_load(&tx->rsp_prod) != tx_cons) continue;
        rest(FRONT, wake);
    }
    printf("%.0f\n", frames / (now() - begin) * 1e3);
    fflush(stdout);
    _exit(sum == 1);
}

static int tap(int size, double ms, const char *name) {
    static char frame[70000];
    struct ifreq ifr = {0};
    int fd = open("/dev/net/tun", O_RDWR), s = socket(AF_INET, SOCK_DGRAM, 0);
    strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
    ifr.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0) return 1;
    ioctl(s, SIOCGIFFLAGS, &ifr);
    ifr.ifr_flags |= IFF_UP;
    if (ioctl(s, SIOCSIFFLAGS, &ifr) < 0) return 1;
    memset(frame, 0xff, 6);
    frame[6] = 2;
    frame[12] = 0x88;
    frame[13] = 0xb5;
    double rate = 0;
    for (int round = 0; round < 2; round++) {
        long n = 0;
        double begin = rough();
        while (rough() - begin < ms)
            for (int k = 0; k < 64; k++, n++)
                if (write(fd, frame, size) < 0) return 1;
        rate = n / (rough() - begin) * 1e3;
    }
    printf("%.0f\n", rate);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    by_core = 1;
    if (!strcmp(argv[1], "tap")) return tap(atoi(argv[2]), atof(argv[3]), argv[4]);
    by_core = !strcmp(argv[4], "core");
    return ring(atoi(argv[2]), atof(argv[3]));
}
