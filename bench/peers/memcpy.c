/*
 * The copy suite's peer: memcpy from 256 pages to 256 others, as bench/suites/copy-case.ts copies, without checks.
 * gcc -O2 memcpy.c -o memcpy; ./memcpy BYTES prints millions of copies a second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGES 256
#define PAGE 4096L

/* By a pointer that may change: the compiler must not know what is called, nor leave it out. */
static void *(*volatile copy)(void *, const void *, size_t) = memcpy;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    size_t size = strtoul(argv[1], NULL, 10);
    char *from = aligned_alloc(PAGE, PAGES * PAGE), *to = aligned_alloc(PAGE, PAGES * PAGE);
    long copies = 10000000000L / (long)(size + 300);
    memset(from, 1, PAGES * PAGE);
    memset(to, 2, PAGES * PAGE);
    for (int run = 0; run < 2; run++) {
        double start = seconds();
        for (long i = 0; i < copies; i++)
            copy(to + (i & (PAGES - 1)) * PAGE, from + (i & (PAGES - 1)) * PAGE, size);
        if (run == 1)
            printf("%.3f\n", copies / (seconds() - start) / 1e6);
    }
    return to[0] == 1 ? 0 : 1;
}
