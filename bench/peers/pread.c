// Reads of a file by pread, one after another: what one thread can do at most.
// pread FILE BYTES random|sequential MS prints reads a second of processor time.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUFFERS 32

// Of the processor, as all threads have had it.
static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  int fd = open(argv[1], O_RDONLY);
  long bytes = atol(argv[2]);
  int sequential = argv[3][0] == 's';
  double span = atof(argv[4]) / 1e3;
  struct stat st;
  char *buffer;
  if (fd < 0 || fstat(fd, &st) < 0 || posix_memalign((void **)&buffer, 4096, bytes * BUFFERS)) return 1;
  memset(buffer, 1, bytes * BUFFERS);
  uint32_t blocks = st.st_size / bytes, x = 12345, at = 0;
  for (int warm = 1; warm >= 0; warm--) {
    long done = 0;
    double start = seconds(), end = start + (warm ? 0.1 : span);
    do {
      for (int i = 0; i < 64; i++, done++) {
        uint32_t block;
        if (sequential) {
          block = at;
          at = at + 1 == blocks ? 0 : at + 1;
        } else {
          x = x * 1664525u + 1013904223u;
          block = x % blocks;
        }
        if (pread(fd, buffer + done % BUFFERS * bytes, bytes, (off_t)block * bytes) != bytes) return 1;
      }
    } while (seconds() < end);
    if (!warm) printf("%.0f\n", done / (seconds() - start));
  }
  return 0;
}
