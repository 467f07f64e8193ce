/* The short way of an append through a storage node: from the socket to the disk and back, as net.shell does it.

   Python opens the lane with terms (core.steady grants them) and closes it before it touches the node: from then on
   nothing new goes the short way, what went it is told in `deeds`, and an append that is being written just then is
   handed over, to be finished by Python. Invariants: an append is taken only if it continues the log on the terms'
   connection; it is acked only after it was written through, and not here once it was handed over. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "native.h"
#include "timing.h"

/* As store.frames has them, little-endian. */
#define JOURNAL_HEAD 32     /* nonce, checksum, length, kind, flags, 0, batch, lsn */
#define LAST 1
#define PIECE (1 << 20)     /* bytes of log in a journal frame */
#define POINT_EVERY (256 * 1024)

#define GROUP_BYTES (1 << 20) /* a group takes no more appends from here on */
#define BUFFER (GROUP_BYTES + PIECE + 2 * 65536)

/* Appends on their way to the disk: frames of the journal, in the lane's buffer. */
typedef struct {
  uint64_t lsn, size;       /* of the log */
  uint64_t durable, beat;
  uint64_t offset, end;     /* in the journal's file */
  uint64_t batch, frames;
  double heard;
} group;

struct lane {
  pthread_mutex_t lock;
  int open;
  int flying;               /* 1: a group is being written; 2: and it was handed over */
  group group;              /* that one */
  lane_terms at;            /* the terms, moved on with each group */
  lane_deeds done;
  uint64_t last_point;
  double since;             /* when the write that is out began */
  double bounds[LANE_BUCKETS];
  int buckets;
  uint8_t buffer[BUFFER];
};

lane *lane_new(const double *bounds, int count) {
  lane *l = count < LANE_BUCKETS ? calloc(1, sizeof *l) : NULL;
  if (l == NULL) return NULL;
  pthread_mutex_init(&l->lock, NULL);
  memcpy(l->bounds, bounds, (size_t)count * sizeof *bounds);
  l->buckets = count;
  return l;
}

void lane_free(lane *l) {
  pthread_mutex_destroy(&l->lock);
  free(l);
}

void lane_open(lane *l, const lane_terms *terms) {
  pthread_mutex_lock(&l->lock);
  l->at = *terms;
  l->open = 1;
  pthread_mutex_unlock(&l->lock);
}

int lane_close(lane *l, lane_deeds *deeds) {
  pthread_mutex_lock(&l->lock);
  l->open = 0;
  int any = l->done.count > 0 || l->flying == 1;
  if (any) {
    *deeds = l->done;
    memset(&l->done, 0, sizeof l->done);
  }
  if (l->flying == 1) { /* its end is Python's */
    const group *g = &l->group;
    l->flying = 2;
    deeds->handed = 1;
    deeds->handed_conn = l->at.conn, deeds->handed_epoch = l->at.epoch, deeds->handed_stream = l->at.stream;
    deeds->handed_lsn = g->lsn, deeds->handed_size = g->size, deeds->handed_durable = g->durable;
    deeds->handed_beat = g->beat, deeds->handed_heard = g->heard, deeds->handed_since = l->since;
    deeds->handed_offset = g->offset, deeds->handed_end = g->end, deeds->handed_batch = g->batch;
  }
  pthread_mutex_unlock(&l->lock);
  return any;
}

double lane_syncing(lane *l) {
  double since;
  __atomic_load(&l->since, &since, __ATOMIC_RELAXED);
  return since;
}

/* Size of the frame at `data` if it begins like an append that the terms allow; 0 if it does not, or cannot be told. */
static size_t likely(const lane_terms *at, const uint8_t *data, size_t have) {
  if (have < HEADER || memcmp(data, MAGIC, 4) || data[4] != VERSION || data[5] != APPEND) return 0;
  size_t body = be32(data + 44);
  if (body <= 40 || body > 40 + PIECE || be32(data + 8) != at->generation || memcmp(data + 28, at->member, 16)) return 0;
  return FRAME + body;
}

/* Take the frame into the group if it is whole and right and continues the log on the lane's terms. */
static int join(lane *l, group *g, const uint8_t *data, size_t size) {
  const lane_terms *at = &l->at;
  uint32_t crc = borealis_crc32c(data, HEADER, 0);
  if (borealis_crc32c(data + FRAME, size - FRAME, crc) != be32(data + HEADER)) return 0;
  uint64_t flush = g->lsn + g->size, durable = be64(data + FRAME + 24);
  if (be64(data + FRAME) != at->epoch || be64(data + FRAME + 8) != at->stream || be64(data + FRAME + 16) != flush) return 0;
  if (durable < g->durable || durable > flush) return 0;
  size_t length = size - APPEND_HEAD;
  if (g->end + JOURNAL_HEAD + length > at->limit) return 0;
  uint8_t *head = l->buffer + (g->end - g->offset);
  memcpy(head, at->nonce, 4);
  uint32_t le = htole32((uint32_t)length);
  memcpy(head + 8, &le, 4);
  head[12] = at->kind, head[13] = head[14] = head[15] = 0;
  uint64_t batch = htole64(g->batch), lsn = htole64(flush);
  memcpy(head + 16, &batch, 8);
  memcpy(head + 24, &lsn, 8);
  memcpy(head + JOURNAL_HEAD, data + APPEND_HEAD, length);
  g->frames++, g->size += length, g->end += JOURNAL_HEAD + length;
  g->durable = durable, g->beat = be64(data + FRAME + 32);
  return 1;
}

/* Checksum the frames in the buffer; the last one ends the batch. */
static void seal(lane *l, const group *g) {
  for (uint8_t *head = l->buffer, *end = head + (g->end - g->offset); head < end;) {
    uint32_t length;
    memcpy(&length, head + 8, 4);
    length = le32toh(length);
    if (head + JOURNAL_HEAD + length == end) head[13] = LAST;
    uint32_t crc = htole32(borealis_crc32c(head + 8, JOURNAL_HEAD - 8 + length, 0));
    memcpy(head + 4, &crc, 4);
    head += JOURNAL_HEAD + length;
  }
}

/* Note where the group begins, if that is the first one since Python knew, or some way behind the last one noted. */
static void note(lane *l, const group *g) {
  lane_deeds *done = &l->done;
  if (done->points && (g->lsn - l->last_point < POINT_EVERY || done->points == LANE_POINTS)) return;
  done->lsns[done->points] = l->last_point = g->lsn;
  done->offsets[done->points++] = g->offset;
}

/* Under the lock: take the appends that are there whole as a group, which then flies; give the bytes taken. 0: none,
   and `more` says whether the rest of one may be on its way. */
static size_t take_off(lane *l, uint64_t conn, const uint8_t *data, size_t have, int *more) {
  group *g = &l->group;
  size_t taken = 0;
  *more = 0;
  if (!l->open || l->flying || conn != l->at.conn) return 0;
  *g = (group){.lsn = l->at.flush, .durable = l->at.durable, .offset = l->at.end, .end = l->at.end, .batch = l->at.batch + 1};
  while (g->size < GROUP_BYTES && g->end - g->offset < BUFFER - PIECE - JOURNAL_HEAD) {
    size_t left = have - taken, size = likely(&l->at, data + taken, left);
    *more = left < HEADER || size > left;
    if (size == 0 || size > left || !join(l, g, data + taken, size)) break;
    taken += size;
  }
  if (taken == 0) return 0;
  seal(l, g);
  double now = monotonic(), passed = now - l->at.clock_read;
  g->heard = l->at.clock_base + (passed < l->at.clock_most ? passed : l->at.clock_most);
  l->flying = 1;
  __atomic_store(&l->since, &now, __ATOMIC_RELAXED);
  return taken;
}

/* Write it and make it durable; 0 or errno. */
static int write_through(int fd, const uint8_t *data, size_t size, uint64_t offset) {
  int through = RWF_DSYNC;
  while (size) {
    struct iovec part = {(void *)data, size};
    ssize_t done = pwritev2(fd, &part, 1, (off_t)offset, through);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0 && (errno != EOPNOTSUPP || !through)) return errno;
    if (done < (ssize_t)size) through = 0; /* cut short, or a file system that cannot: the rest, then one flush for all */
    if (done > 0) data += done, size -= (size_t)done, offset += (uint64_t)done;
  }
  return through || fdatasync(fd) == 0 ? 0 : errno;
}

/* Under the lock: the group is durable. */
static void land(lane *l, double took) {
  const group *g = &l->group;
  lane_deeds *done = &l->done;
  done->syncs[bucket_of(l->bounds, l->buckets, took)]++, done->sync_seconds += took;
  note(l, g);
  l->at.flush = g->lsn + g->size, l->at.durable = g->durable, l->at.end = g->end, l->at.batch = g->batch;
  done->count += g->frames, done->bytes += g->size;
  done->durable = g->durable, done->beat = g->beat, done->heard = g->heard;
  done->end = g->end, done->batch = g->batch;
  l->flying = 0;
}

static int acknowledge(wire *w, const lane_terms *at, uint64_t beat, int wait_ms) {
  uint8_t ack[ACK_SIZE] = MAGIC;
  ack[4] = VERSION, ack[5] = ACK;
  put32(ack + 8, at->generation);
  memcpy(ack + 12, at->member, 16);
  put32(ack + 44, ACK_SIZE - FRAME);
  put64(ack + FRAME, at->epoch);
  put64(ack + FRAME + 8, at->flush);
  put64(ack + FRAME + 16, beat);
  ack[FRAME + 24] = at->feeding;
  put32(ack + HEADER, borealis_crc32c(ack + FRAME, ACK_SIZE - FRAME, borealis_crc32c(ack, HEADER, 0)));
  return wire_send(w, ack, sizeof ack, NULL, 0, MSG_DONTWAIT, wait_ms);
}

/* Write the group that flies, and acknowledge it unless it was handed over: 0 to go on, or what lane_serve gives. */
static int fly(lane *l, wire *w, int wait_ms, int *error) {
  uint64_t before = l->at.durable;
  double began = l->since, none = 0;
  STAMP("write", l->group.lsn + l->group.size);
  *error = write_through(l->at.fd, l->buffer, l->group.end - l->group.offset, l->group.offset);
  STAMP("synced", l->group.lsn + l->group.size);
  pthread_mutex_lock(&l->lock);
  __atomic_store(&l->since, &none, __ATOMIC_RELAXED);
  if (l->flying == 2 || *error) {
    l->open = 0;
    if (l->flying == 2) l->flying = 0; /* else it stays, to be handed over: the node is lost */
    pthread_mutex_unlock(&l->lock);
    return LANE_HANDED;
  }
  land(l, monotonic() - began);
  lane_terms at = l->at;
  uint64_t beat = l->group.beat;
  pthread_mutex_unlock(&l->lock);
  int sent = acknowledge(w, &at, beat, wait_ms);
  STAMP("acked", at.flush);
  if (sent != 1) return sent;
  return at.feeding && at.durable > before ? LANE_FEED : 0;
}

int lane_serve(lane *l, wire *w, uint64_t conn, int aligned, int wait_ms, int *error) {
  *error = 0;
  for (;;) {
    size_t have;
    int more = aligned;
    const uint8_t *data = wire_bytes(w, &have);
    if (have && aligned) {
      pthread_mutex_lock(&l->lock);
      size_t taken = take_off(l, conn, data, have, &more);
      pthread_mutex_unlock(&l->lock);
      if (taken) {
        wire_take(w, taken);
        int done = fly(l, w, wait_ms, error);
        if (done) return done;
        continue;
      }
    }
    if (have && !more) return LANE_BYTES;
    int got = wire_receive(w);
    if (got != 1) return got;
  }
}
