/* Stamps on the path of a commit: compiled with STAMPS alone, into a library that only benchmarks.stages builds. */
#include "native.h"

#ifdef STAMPS
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

void borealis_stamp(const char *name, uint64_t end) {
  static int file = -1;
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  if (file < 0) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%d.stamps", getenv("BOREALIS_BENCH_STAMPS"), (int)getpid());
    file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  }
  dprintf(file, "%s %llu %lld\n", name, (unsigned long long)end, t.tv_sec * 1000000000LL + t.tv_nsec);
}
#endif
