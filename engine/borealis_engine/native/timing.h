/* What both short ways measure with: seconds of CLOCK_MONOTONIC, and buckets of a histogram. */
#ifndef BOREALIS_TIMING_H
#define BOREALIS_TIMING_H

#include <time.h>

static inline double monotonic(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The first bucket whose bound is not below `took`; `count` is the one above every bound. */
static inline int bucket_of(const double *bounds, int count, double took) {
  int bucket = 0;
  while (bucket < count && took > bounds[bucket]) bucket++;
  return bucket;
}

#endif
