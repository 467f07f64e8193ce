/* When log that waits in the writer's agent leaves for the volume: what postgres.gathering does, and says why. */
#include <string.h>

#include "native.h"
#include "timing.h"

#define SINGLES 2
#define FLIGHTS 3
#define FADE 0.99
#define HOLD_S 0.005
#define SHARE 0.1

double gathering_hold(const reign_state *at, double now) {
  if (at->under_way && (at->left > 1 || at->under_way >= SINGLES)) return -1;
  double company = (double)at->left, more = 2 * company < at->most ? 2 * company : at->most;
  if (at->crowded && more > company) company = more;
  if ((double)at->waiting >= company) return 0;
  return at->until > now ? at->until - now : 0;
}

void gathering_left(reign_state *at, uint64_t end, double now) {
  at->ends[at->under_way] = end, at->left_at[at->under_way++] = now;
  double waiting = (double)at->waiting, faded = FADE * at->most;
  at->most = waiting > faded ? waiting : faded;
  at->left = at->waiting, at->waiting = 0;
}

void gathering_landed(reign_state *at, double now, const double *bounds, int buckets) {
  uint64_t gone = 0;
  for (; gone < at->under_way && at->ends[gone] <= at->durable; gone++) {
    double took = now - at->left_at[gone];
    at->counts[bucket_of(bounds, buckets, took)]++, at->seconds += took;
    at->flight += SHARE * (took - at->flight);
  }
  if (gone == 0) return;
  at->under_way -= gone;
  memmove(at->ends, at->ends + gone, at->under_way * sizeof *at->ends);
  memmove(at->left_at, at->left_at + gone, at->under_way * sizeof *at->left_at);
  double longest = FLIGHTS * at->flight;
  at->until = now + (longest < HOLD_S ? longest : HOLD_S);
}
