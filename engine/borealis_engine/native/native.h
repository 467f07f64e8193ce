/* The native part of the engine: the short way of a commit, in C, without a line of Python in it.

   What is here does nothing that Python does not do as well; it does it with a tenth of the code and data, which is
   what a commit that waits for four processes pays for (docs/decisions/014). Everything is called through ctypes. */
#ifndef BOREALIS_NATIVE_H
#define BOREALIS_NATIVE_H

#include <stddef.h>
#include <stdint.h>

/* --- CRC-32C (Castagnoli), as proto.frames and store.frames use it */
uint32_t borealis_crc32c(const void *data, size_t size, uint32_t crc);

/* --- when what happened to the log that ends at `end`, for benchmarks.stages alone: stamps.c */
#ifdef STAMPS
void borealis_stamp(const char *name, uint64_t end);
#define STAMP(name, end) borealis_stamp(name, end)
#else
#define STAMP(name, end) ((void)0)
#endif

/* --- a TLS connection over a socket; wire.c */
typedef struct wire wire;

#define WIRE_CLOSED 0    /* the peer has closed */
#define WIRE_FAILED (-1) /* see wire_error */
#define WIRE_LATER (-2)  /* would wait */

void *wire_context(const char *ca, const char *certificate, const char *key, int server);
wire *wire_new(void *context, int fd, int server);
void wire_free(wire *w);
int wire_handshake(wire *w);                       /* 1 done, else WIRE_... */
int wire_peer(wire *w, uint8_t *der, int capacity); /* the peer's certificate; its size, 0 if there is none */
int wire_put(wire *w, const void *head, size_t head_size, const void *data, size_t size); /* encrypt, for wire_flush */
int wire_send(wire *w, const void *head, size_t head_size, const void *data, size_t size, int flags, int wait_ms);
long wire_pending(wire *w);                        /* bytes that wire_send or wire_flush left behind */
int wire_flush(wire *w);
int wire_receive(wire *w);                         /* > 0: bytes came; they stand behind those that are there */
uint8_t *wire_bytes(wire *w, size_t *size);        /* what has come and was not taken */
void wire_take(wire *w, size_t size);              /* forget the first of them */
const char *wire_error(wire *w);
void wire_finish(wire *w);                         /* the socket is about to be closed */

/* --- appends to many members, and what they answer: fan.c */
#define FAN_ACKS 32      /* answers told at once */

typedef struct {
  uint64_t generation, epoch, flush, beat, feeding;
} fan_ack;

typedef struct {          /* one member of those that get the same append */
  wire *to;
  uint64_t stream, beat;
  uint8_t member[16];
  int64_t result;         /* 1, or WIRE_... */
} fan_copy;

void fan_append(fan_copy *copies, int count, uint32_t generation, const uint8_t *sender, uint64_t epoch, uint64_t lsn,
                uint64_t durable, const void *data, size_t size);
/* Read without waiting. Acks of `member` that come first are taken, up to FAN_ACKS; how many. `code`: 1 there are other
   bytes, WIRE_LATER there is nothing more, or the connection is over. */
int fan_acks(wire *w, const uint8_t *member, fan_ack *acks, int *code);

/* --- the short way of a storage node: lane.c */
typedef struct lane lane;

#define LANE_POINTS 64   /* places of the log told at once */
#define LANE_BUCKETS 16  /* of the histogram of syncs, at most */

typedef struct {          /* what Python publishes: the state in which an append may go the short way */
  uint64_t conn, epoch, stream; /* whose appends */
  uint64_t flush, durable;      /* end of the log, D */
  uint64_t end, limit, batch;   /* of the journal's file: where to write, up to where, number of the last batch */
  double clock_read, clock_base; /* net.clock: the time is base plus what has passed since it was read, at most most */
  double clock_most;
  uint32_t generation;
  int32_t fd;
  uint8_t member[16], nonce[4];
  uint8_t feeding, kind;        /* readers follow here; kind of a journal frame with log */
} lane_terms;

typedef struct {          /* what the lane did since then, told when Python takes over */
  uint64_t count, bytes;        /* appends and bytes of log that are durable */
  uint64_t durable, beat;       /* D and beat that came with the last of them */
  uint64_t end, batch;          /* of the journal's file */
  uint64_t points, lsns[LANE_POINTS], offsets[LANE_POINTS]; /* frames of the journal, some apart */
  uint64_t syncs[LANE_BUCKETS]; /* by seconds */
  double sync_seconds, heard;
  uint64_t handed;              /* 1: an append is being written, and Python is to finish it when it is */
  uint64_t handed_conn, handed_epoch, handed_stream;
  uint64_t handed_lsn, handed_size, handed_durable, handed_beat, handed_offset, handed_end, handed_batch;
  double handed_heard, handed_since;
} lane_deeds;

#define LANE_BYTES 1     /* something else came: see wire_bytes */
#define LANE_FEED 2      /* appends were acked, and D has moved under readers that follow here */
#define LANE_HANDED 3    /* the append that was handed over is written (error 0) or failed (errno) */

lane *lane_new(const double *bounds, int count);
void lane_free(lane *l);
void lane_open(lane *l, const lane_terms *terms);
int lane_close(lane *l, lane_deeds *deeds);        /* 1 if there is anything in deeds */
double lane_syncing(lane *l);                      /* since when a write is out, of CLOCK_MONOTONIC; 0: none is */
/* Serve a connection until Python is needed: LANE_..., or WIRE_... if it is over. `aligned`: a frame begins next. */
int lane_serve(lane *l, wire *w, uint64_t conn, int aligned, int wait_ms, int *error);

/* --- the short way of the writer's agent: reign.c */
typedef struct reign reign;

#define REIGN_LINES 6        /* members */
#define REIGN_LOG (4 << 20)  /* bytes of WAL that it keeps until Python takes them */
#define REIGN_BEATS 64       /* beats sent while it is lent; then the last one goes on */
#define REIGN_UNDER_WAY 64   /* pieces that left and are not durable, at most */
#define REIGN_BUCKETS 16     /* of the histogram of latencies, at most */

#define REIGN_OTHER 1        /* PostgreSQL sent something else than WAL, or more than there is room for */
#define REIGN_BROKEN 2       /* its connection is over */

typedef struct {          /* a member; what is not said to be out is lent, and given back as it has become */
  wire *to;                 /* NULL: no connection */
  uint64_t stream, acked, next, told; /* its connection's number; places of the log, as in core.peer */
  uint64_t answered, generation; /* out: with its acks, 0 if there were none */
  uint64_t beat_first, beat_last; /* out: of those in `beats` it was sent, 0: none */
  int64_t code;             /* out: what came besides acks, or how sending failed; WIRE_LATER if nothing did */
  int32_t fd;
  uint8_t member[16];
  uint8_t streaming, feeding;
} reign_line;

typedef struct {
  reign_line lines[REIGN_LINES];
  uint64_t epoch, start;    /* of the reign */
  uint64_t first, offered, end; /* WAL [first, offered) has left since it was lent, [offered, end) waits */
  uint64_t durable, reported; /* D, and as PostgreSQL knows it */
  uint64_t limit;           /* bytes that may have left and not be durable */
  uint64_t beat, beat_count, beats[REIGN_BEATS]; /* the last one, and those sent since it was lent */
  uint64_t waiting, left, under_way, ends[REIGN_UNDER_WAY]; /* postgres.gathering */
  uint64_t bytes, counts[REIGN_BUCKETS]; /* postgres.latency, since it was lent */
  uint64_t turn;            /* the library's own */
  double beats_at[REIGN_BEATS], left_at[REIGN_UNDER_WAY];
  double most, flight, until, seconds, announce_at; /* announce_at: 0 if D is no news */
  int32_t postgres, postgres_code; /* its socket; out: REIGN_... */
  uint32_t generation;
  uint8_t sender[16];
  uint8_t crowded;          /* postgres.crowd */
  uint8_t special, violated, reply; /* out: why it came to stand; PostgreSQL wants to hear of D */
} reign_state;

/* postgres.gathering: seconds for which what waits is to wait for company, less than 0 for "until something lands"; and
   what has left, up to `end`, or has landed, up to D. */
double gathering_hold(const reign_state *at, double now);
void gathering_left(reign_state *at, uint64_t end, double now);
void gathering_landed(reign_state *at, double now, const double *bounds, int buckets);

reign *reign_new(int bell, const double *bounds, int count); /* `bell`: eventfd that is rung when Python is needed */
void reign_free(reign *r);
/* Lend it; `waiting` is the WAL [first, end), `rest` what has come from PostgreSQL and begins a message. 1, or 0 if they
   are too large. */
int reign_lend(reign *r, const reign_state *state, const void *waiting, const void *rest, size_t size);
/* Take it back; `log` is the WAL [first, end), `rest` and `size` what was not looked at, until it is lent again. */
void reign_take(reign *r, reign_state *state, const uint8_t **log, const uint8_t **rest, size_t *size);

#endif
