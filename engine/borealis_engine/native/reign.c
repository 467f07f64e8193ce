/* The short way of a commit through the writer's agent: from PostgreSQL's walsender to six members, and D back.

   Python lends a steady reign with its state (core.steady_reign) and takes it back before it touches the reign; the
   state then says what went the short way. A thread of the library serves it meanwhile: it reads WAL, sends it to the
   members that are in step, hears their acks, moves D to what four of the six hold and reports that. Whatever else
   comes is left to Python: the thread stands still and rings the bell. Invariants: D is the fourth highest place that
   members acked in the epoch, so nothing is reported that four do not hold; nothing is touched that is not lent. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "native.h"
#include "timing.h"

#define INBOX (256 * 1024)     /* bytes of PostgreSQL's stream; a message of WAL has 128 KiB */
#define PIECE (256 * 1024)     /* bytes of one append */
#define ENOUGH (128 * 1024)    /* bytes that wait for nothing but room: postgres.logwriter */
#define IN_FLIGHT (8 << 20)    /* bytes sent to a member and not acked: core.reign */
#define QUORUM 4
#define BEAT_S 0.005           /* appends within so long share a beat: its time is that of the first of them */
#define ANNOUNCE_S 0.001       /* core.reign */
#define LONG_S 3600.0
#define WAL_HEAD 25            /* 'w', start, end, time */
#define STATUS_SIZE 39
#define POSTGRES_EPOCH_S 946684800L

struct reign {
  pthread_mutex_t lock;
  pthread_cond_t change;
  pthread_t thread;
  int lent, ended;
  int bell;                 /* rings for Python */
  int kick;                 /* wakes the thread out of its wait */
  reign_state at;
  double bounds[REIGN_BUCKETS];
  int buckets;
  size_t have;
  uint8_t inbox[INBOX];     /* of PostgreSQL's stream, not looked at yet */
  uint8_t log[REIGN_LOG];   /* [first, end) of the WAL */
};

static void ring(int bell) {
  uint64_t one = 1;
  while (write(bell, &one, sizeof one) < 0 && errno == EINTR) continue;
}

/* --- to the members */
static uint64_t next_beat(reign_state *at, double now) {
  if (at->beat_count == REIGN_BEATS) return at->beat;
  if (at->beat_count && now - at->beats_at[at->beat_count - 1] < BEAT_S) return at->beat;
  at->beats[at->beat_count] = ++at->beat;
  at->beats_at[at->beat_count++] = now;
  return at->beat;
}

/* Send `size` bytes of log at `lsn` to the members that are in step there; none: D alone, to those that feed readers. */
static void send_out(reign *r, uint64_t lsn, size_t size, uint64_t beat) {
  reign_state *at = &r->at;
  fan_copy copies[REIGN_LINES];
  reign_line *lines[REIGN_LINES];
  int count = 0;
  for (int i = 0; i < REIGN_LINES; i++) {
    reign_line *line = &at->lines[i];
    if (!line->to || !line->streaming || line->next != lsn) continue;
    if (size ? line->next - line->acked >= IN_FLIGHT : !line->feeding || line->told >= at->durable) continue;
    copies[count] = (fan_copy){.to = line->to, .stream = line->stream, .beat = beat};
    memcpy(copies[count].member, line->member, 16);
    lines[count++] = line;
  }
  if (count == 0) return;
  fan_append(copies, count, at->generation, at->sender, at->epoch, lsn, at->durable, r->log + (lsn - at->first), size);
  for (int i = 0; i < count; i++) {
    lines[i]->told = at->durable, lines[i]->next = lsn + size;
    if (beat && !lines[i]->beat_first) lines[i]->beat_first = beat;
    if (beat) lines[i]->beat_last = beat;
    if (copies[i].result != 1 && copies[i].result != WIRE_LATER) lines[i]->code = copies[i].result, at->special = 1;
  }
}

/* Let log leave that need not wait; give the time at which to look again. */
static double pass_on(reign *r, double now) {
  reign_state *at = &r->at;
  for (;;) {
    uint64_t size = at->end - at->offered, room = at->offered - at->durable;
    room = room < at->limit ? at->limit - room : 0;
    if (size == 0 || room == 0 || at->under_way == REIGN_UNDER_WAY) return now + LONG_S;
    double wait = size >= ENOUGH ? 0 : gathering_hold(at, now);
    if (wait) return now + (wait > 0 ? wait : LONG_S);
    uint64_t leaving = size < room ? size : room;
    STAMP("offered", at->offered + leaving);
    gathering_left(at, at->offered + leaving, now);
    at->bytes += leaving;
    at->announce_at = 0; /* D rides */
    uint64_t beat = next_beat(at, now);
    while (leaving) {
      size_t piece = leaving < PIECE ? leaving : PIECE;
      send_out(r, at->offered, piece, beat);
      at->offered += piece, leaving -= piece;
    }
    STAMP("sent", at->offered);
  }
}

/* --- D */
static void leave_postgres(reign_state *at, int code) {
  at->postgres_code = code, at->special = 1;
}

static void report(reign *r) {
  reign_state *at = &r->at;
  uint8_t status[STATUS_SIZE] = {'d', [5] = 'r'};
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  put32(status + 1, STATUS_SIZE - 1);
  for (int i = 0; i < 3; i++) put64(status + 6 + 8 * i, at->durable); /* written, flushed, applied */
  put64(status + 30, (uint64_t)(t.tv_sec - POSTGRES_EPOCH_S) * 1000000u + (uint64_t)t.tv_nsec / 1000u);
  ssize_t done = send(at->postgres, status, sizeof status, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (done == STATUS_SIZE) at->reported = at->durable, at->reply = 0;
  else if (done >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) leave_postgres(at, REIGN_BROKEN);
}

static int owes(const reign_state *at) { return at->reported < at->durable || at->reply; }

static void count(reign *r, double now) {
  reign_state *at = &r->at;
  uint64_t top[QUORUM] = {0}; /* the highest, in order */
  int feeding = 0;
  for (int i = 0; i < REIGN_LINES; i++) {
    uint64_t acked = at->lines[i].acked >= at->start ? at->lines[i].acked : 0;
    feeding |= at->lines[i].streaming && at->lines[i].feeding;
    for (int k = 0; k < QUORUM; k++) {
      if (acked <= top[k]) continue;
      uint64_t lower = top[k];
      top[k] = acked, acked = lower;
    }
  }
  if (top[QUORUM - 1] <= at->durable) return;
  at->durable = top[QUORUM - 1];
  STAMP("durable", at->durable);
  gathering_landed(at, now, r->bounds, r->buckets);
  report(r);
  STAMP("released", at->durable);
  if (feeding && !at->announce_at) at->announce_at = now + ANNOUNCE_S;
}

static void hear(reign *r, reign_line *line) {
  reign_state *at = &r->at;
  fan_ack acks[FAN_ACKS];
  int code, heard;
  do {
    heard = fan_acks(line->to, line->member, acks, &code);
    for (int i = 0; i < heard; i++) {
      if (acks[i].epoch != at->epoch) continue;
      STAMP("heard", acks[i].flush);
      if (acks[i].flush > at->offered) at->violated = 1, at->special = 1;
      if (acks[i].flush > line->acked) line->acked = acks[i].flush;
      if (acks[i].beat > line->answered) line->answered = acks[i].beat;
      line->feeding = (uint8_t)acks[i].feeding;
      line->generation = acks[i].generation;
    }
  } while (heard == FAN_ACKS && code == 1);
  if (code != WIRE_LATER) line->code = code, at->special = 1;
  if (line->streaming && line->next != at->offered) at->special = 1; /* it lacks log, and may have room again */
}

/* --- from PostgreSQL */

/* Take one whole message at `data`; its size, or 0: there is none, or it is Python's. */
static size_t take_message(reign *r, const uint8_t *data, size_t have, int *wal) {
  reign_state *at = &r->at;
  if (have < 5) return 0;
  size_t size = (size_t)be32(data + 1) + 1, body = size - 5;
  int known = data[0] == 'd' && size >= 6 && size <= INBOX;
  if (known && have >= size && data[5] == 'k' && body == 18) {
    at->reply |= data[5 + 17];
    return size;
  }
  if (known && have >= size && data[5] == 'w' && body >= WAL_HEAD && be64(data + 6) == at->end) {
    size_t length = body - WAL_HEAD;
    if (at->end - at->first + length <= REIGN_LOG) {
      memcpy(r->log + (at->end - at->first), data + 5 + WAL_HEAD, length);
      at->end += length;
      *wal = 1;
      return size;
    }
  }
  if (!known || have >= size) leave_postgres(at, REIGN_OTHER);
  return 0;
}

static void read_postgres(reign *r) {
  reign_state *at = &r->at;
  ssize_t got = recv(at->postgres, r->inbox + r->have, INBOX - r->have, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
  if (got <= 0) {
    leave_postgres(at, REIGN_BROKEN);
    return;
  }
  r->have += (size_t)got;
  size_t taken = 0, size;
  int wal = 0;
  while ((size = take_message(r, r->inbox + taken, r->have - taken, &wal))) taken += size;
  r->have -= taken;
  memmove(r->inbox, r->inbox + taken, r->have);
  at->waiting += (uint64_t)wal;
  if (wal) STAMP("read", at->end);
  if (at->reply) report(r);
}

/* --- the thread */

/* Wait, without the lock, until something can be done or `until`; what can be done is in `fds`. */
static void await(reign *r, struct pollfd *fds, double until) {
  reign_state *at = &r->at;
  for (int i = 0; i < REIGN_LINES; i++) {
    reign_line *line = &at->lines[i];
    short events = POLLIN;
    if (line->to && wire_pending(line->to)) events |= POLLOUT;
    fds[i] = (struct pollfd){.fd = line->to ? line->fd : -1, .events = events};
  }
  short events = at->end - at->offered < ENOUGH ? POLLIN : 0;
  if (owes(at)) events |= POLLOUT;
  fds[REIGN_LINES] = (struct pollfd){.fd = at->postgres, .events = events};
  fds[REIGN_LINES + 1] = (struct pollfd){.fd = r->kick, .events = POLLIN};
  double left = until - monotonic();
  struct timespec span = {0, 0};
  if (left > 0) span.tv_sec = (time_t)left, span.tv_nsec = (long)((left - (double)span.tv_sec) * 1e9);
  pthread_mutex_unlock(&r->lock);
  if (ppoll(fds, REIGN_LINES + 2, &span, NULL) <= 0)
    for (int i = 0; i < REIGN_LINES + 2; i++) fds[i].revents = 0;
  uint64_t kicks;
  if (fds[REIGN_LINES + 1].revents) (void)!read(r->kick, &kicks, sizeof kicks);
  pthread_mutex_lock(&r->lock);
}

static void work_off(reign *r, const struct pollfd *fds) {
  reign_state *at = &r->at;
  for (int i = 0; i < REIGN_LINES; i++) {
    reign_line *line = &at->lines[i];
    if (!line->to || fds[i].fd != line->fd) continue;
    if (fds[i].revents & POLLOUT) {
      int sent = wire_flush(line->to);
      if (sent != 1 && sent != WIRE_LATER) line->code = sent, at->special = 1;
    }
    if (fds[i].revents & ~POLLOUT) hear(r, line);
  }
  if (!at->violated) count(r, monotonic());
  const struct pollfd *postgres = &fds[REIGN_LINES];
  if (postgres->fd != at->postgres) return;
  if (postgres->revents & POLLOUT) report(r);
  if (postgres->revents & ~POLLOUT) read_postgres(r);
}

static void *serve(void *given) {
  reign *r = given;
  struct pollfd fds[REIGN_LINES + 2];
  pthread_mutex_lock(&r->lock);
  for (;;) {
    while (!r->lent && !r->ended) pthread_cond_wait(&r->change, &r->lock);
    if (r->ended) break;
    reign_state *at = &r->at;
    double now = monotonic(), until = pass_on(r, now);
    if (at->announce_at && now >= at->announce_at) {
      send_out(r, at->offered, 0, 0);
      at->announce_at = 0;
    }
    if (at->announce_at && at->announce_at < until) until = at->announce_at;
    if (at->special) {
      r->lent = 0;
      ring(r->bell);
      continue;
    }
    uint64_t turn = at->turn;
    await(r, fds, until);
    if (r->lent && at->turn == turn) work_off(r, fds);
  }
  pthread_mutex_unlock(&r->lock);
  return NULL;
}

reign *reign_new(int bell, const double *bounds, int count) {
  reign *r = count < REIGN_BUCKETS ? calloc(1, sizeof *r) : NULL;
  if (r == NULL) return NULL;
  memcpy(r->bounds, bounds, (size_t)count * sizeof *bounds);
  r->buckets = count, r->bell = bell;
  r->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  pthread_mutex_init(&r->lock, NULL);
  pthread_cond_init(&r->change, NULL);
  if (r->kick >= 0 && pthread_create(&r->thread, NULL, serve, r) == 0) return r;
  if (r->kick >= 0) close(r->kick);
  free(r);
  return NULL;
}

void reign_free(reign *r) {
  pthread_mutex_lock(&r->lock);
  r->ended = 1, r->lent = 0;
  pthread_cond_signal(&r->change);
  pthread_mutex_unlock(&r->lock);
  ring(r->kick);
  pthread_join(r->thread, NULL);
  close(r->kick);
  free(r);
}

int reign_lend(reign *r, const reign_state *state, const void *waiting, const void *rest, size_t size) {
  if (state->end - state->first > REIGN_LOG / 2 || size > INBOX / 2 || state->under_way > REIGN_UNDER_WAY) return 0;
  pthread_mutex_lock(&r->lock);
  uint64_t turn = r->at.turn;
  r->at = *state;
  r->at.turn = turn + 1; /* what was being waited for is of no interest any more */
  memcpy(r->log, waiting, state->end - state->first);
  memcpy(r->inbox, rest, size);
  r->have = size, r->lent = 1;
  pthread_cond_signal(&r->change);
  pthread_mutex_unlock(&r->lock);
  ring(r->kick);
  return 1;
}

void reign_take(reign *r, reign_state *state, const uint8_t **log, const uint8_t **rest, size_t *size) {
  pthread_mutex_lock(&r->lock);
  r->lent = 0;
  *state = r->at;
  *log = r->log, *rest = r->inbox, *size = r->have;
  pthread_mutex_unlock(&r->lock);
}
