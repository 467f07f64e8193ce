/* TLS over one socket. Reading is for one thread at a time, sending for any; OpenSSL's state is touched under `lock`.

   Invariants: what is sent leaves in the order in which it was encrypted; after wire_finish nothing touches the
   socket's number, which may soon be another's. */
#define _GNU_SOURCE
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "native.h"

#define CHUNK (256 * 1024)  /* bytes taken from the socket at once */
#define RECORD (16 * 1024)  /* bytes of a TLS record */
#define OUT_KEPT (1 << 20)  /* bytes of memory kept for what is to be sent */
#define JOIN_BELOW RECORD   /* data so small leaves in one record with its head */

struct wire {
  SSL *ssl;
  int fd;
  pthread_mutex_t lock;
  uint8_t *chunk;          /* as it came from the socket: [at, got) is not decrypted yet */
  size_t at, got;
  uint8_t *out;            /* encrypted: [sent, unsent) has not left */
  size_t sent, unsent, out_room;
  uint8_t *plain;          /* decrypted, not yet taken: [first, first + have) */
  size_t first, have, room;
  char error[200];
};

/* --- between OpenSSL and our buffers. Its own memory BIO clears all of its memory whenever it is emptied. */

static int bio_write(BIO *bio, const char *data, int size) {
  wire *w = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (w->sent == w->unsent) w->sent = w->unsent = 0;
  if (w->unsent + (size_t)size > w->out_room) {
    size_t room = 2 * w->out_room + (size_t)size;
    uint8_t *larger = realloc(w->out, room);
    if (larger == NULL) return -1;
    w->out = larger, w->out_room = room;
  }
  memcpy(w->out + w->unsent, data, (size_t)size);
  w->unsent += (size_t)size;
  return size;
}

static int bio_read(BIO *bio, char *data, int size) {
  wire *w = BIO_get_data(bio);
  size_t there = w->got - w->at, step = there < (size_t)size ? there : (size_t)size;
  BIO_clear_retry_flags(bio);
  if (step == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  memcpy(data, w->chunk + w->at, step);
  w->at += step;
  return (int)step;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
  (void)bio, (void)number, (void)pointer;
  return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static BIO_METHOD *method;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_method(void) {
  method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
  if (method == NULL) return;
  BIO_meth_set_write(method, bio_write);
  BIO_meth_set_read(method, bio_read);
  BIO_meth_set_ctrl(method, bio_control);
}

static BIO *make_bio(wire *w) {
  pthread_once(&once, make_method);
  BIO *bio = method ? BIO_new(method) : NULL;
  if (bio == NULL) return NULL;
  BIO_set_data(bio, w);
  BIO_set_init(bio, 1);
  return bio;
}

static int fail(wire *w, const char *what) {
  if (!w->error[0]) strncpy(w->error, what && *what ? what : "TLS failed", sizeof w->error - 1);
  return WIRE_FAILED;
}

static int fail_ssl(wire *w) {
  char text[180];
  unsigned long code = ERR_peek_last_error();
  ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return fail(w, code ? text : "TLS ended unexpectedly");
}

void *wire_context(const char *ca, const char *certificate, const char *key, int server) {
  SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
  if (context == NULL) return NULL;
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  if (SSL_CTX_load_verify_locations(context, ca, NULL) == 1 &&
      SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
      SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(context) == 1)
    return context;
  ERR_clear_error();
  SSL_CTX_free(context);
  return NULL;
}

wire *wire_new(void *context, int fd, int server) {
  wire *w = calloc(1, sizeof *w);
  if (w == NULL) return NULL;
  w->fd = fd, w->room = 2 * CHUNK;
  pthread_mutex_init(&w->lock, NULL);
  w->chunk = malloc(CHUNK);
  w->plain = malloc(w->room);
  w->ssl = SSL_new(context);
  BIO *bio = make_bio(w);
  if (!w->chunk || !w->plain || !w->ssl || !bio) {
    BIO_free(bio);
    wire_free(w);
    return NULL;
  }
  SSL_set_bio(w->ssl, bio, bio);
  if (server) SSL_set_accept_state(w->ssl);
  else SSL_set_connect_state(w->ssl);
  return w;
}

void wire_free(wire *w) {
  SSL_free(w->ssl); /* and its BIO */
  pthread_mutex_destroy(&w->lock);
  free(w->chunk);
  free(w->plain);
  free(w->out);
  free(w);
}

const char *wire_error(wire *w) { return w->error; }

/* Send what is encrypted, under the lock: 1 all, WIRE_LATER, or WIRE_FAILED. */
static int drain(wire *w, int flags) {
  while (w->sent < w->unsent) {
    if (w->fd < 0) return fail(w, "closed");
    ssize_t done = send(w->fd, w->out + w->sent, w->unsent - w->sent, flags | MSG_NOSIGNAL);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? WIRE_LATER : fail(w, strerror(errno));
    w->sent += (size_t)done;
  }
  w->sent = w->unsent = 0;
  if (w->out_room > OUT_KEPT) { /* much was on its way once */
    free(w->out);
    w->out = NULL, w->out_room = 0;
  }
  return 1;
}

long wire_pending(wire *w) {
  pthread_mutex_lock(&w->lock);
  long size = (long)(w->unsent - w->sent);
  pthread_mutex_unlock(&w->lock);
  return size;
}

int wire_flush(wire *w) {
  pthread_mutex_lock(&w->lock);
  int done = drain(w, MSG_DONTWAIT);
  pthread_mutex_unlock(&w->lock);
  return done;
}

static int encrypt(wire *w, const void *data, size_t size) {
  size_t written;
  if (size == 0) return 1;
  ERR_clear_error(); /* what somebody else left in this thread would count as ours */
  return SSL_write_ex(w->ssl, data, size, &written) == 1 && written == size ? 1 : fail_ssl(w);
}

/* Encrypt head and data behind what has not left yet, under the lock. */
static int put(wire *w, const void *head, size_t head_size, const void *data, size_t size) {
  uint8_t joined[JOIN_BELOW];
  if (w->fd < 0) return fail(w, "closed");
  if (head_size + size > sizeof joined) {
    int done = encrypt(w, head, head_size);
    return done == 1 ? encrypt(w, data, size) : done;
  }
  memcpy(joined, head, head_size);
  if (size) memcpy(joined + head_size, data, size);
  return encrypt(w, joined, head_size + size);
}

int wire_put(wire *w, const void *head, size_t head_size, const void *data, size_t size) {
  pthread_mutex_lock(&w->lock);
  int done = put(w, head, head_size, data, size);
  pthread_mutex_unlock(&w->lock);
  return done;
}

int wire_send(wire *w, const void *head, size_t head_size, const void *data, size_t size, int flags, int wait_ms) {
  if (wait_ms < 0) {
    pthread_mutex_lock(&w->lock);
  } else { /* behind a bulk answer on the same connection */
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) until.tv_sec++, until.tv_nsec -= 1000000000L;
    if (pthread_mutex_timedlock(&w->lock, &until)) return WIRE_LATER;
  }
  int done = put(w, head, head_size, data, size);
  if (done == 1) done = drain(w, flags);
  pthread_mutex_unlock(&w->lock);
  return done;
}

/* Take bytes from the socket, when all that came before are decrypted; waits unless the socket does not. */
static int fetch(wire *w) {
  int fd = __atomic_load_n(&w->fd, __ATOMIC_RELAXED);
  if (fd < 0) return fail(w, "closed");
  ssize_t size;
  do size = recv(fd, w->chunk, CHUNK, 0);
  while (size < 0 && errno == EINTR);
  if (size == 0) return WIRE_CLOSED;
  if (size < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? WIRE_LATER : fail(w, strerror(errno));
  pthread_mutex_lock(&w->lock);
  w->at = 0, w->got = (size_t)size;
  pthread_mutex_unlock(&w->lock);
  return 1;
}

int wire_handshake(wire *w) {
  for (;;) {
    pthread_mutex_lock(&w->lock);
    ERR_clear_error();
    int done = SSL_do_handshake(w->ssl), why = SSL_get_error(w->ssl, done), sent = drain(w, 0);
    if (done != 1 && why != SSL_ERROR_WANT_READ) fail_ssl(w);
    pthread_mutex_unlock(&w->lock);
    if (done == 1) return sent;
    if (why != SSL_ERROR_WANT_READ || sent == WIRE_FAILED) return WIRE_FAILED;
    int got = fetch(w);
    if (got != 1) return got;
  }
}

int wire_peer(wire *w, uint8_t *der, int capacity) {
  X509 *certificate = SSL_get1_peer_certificate(w->ssl);
  if (certificate == NULL) return 0;
  int size = i2d_X509(certificate, NULL);
  if (size > 0 && size <= capacity) i2d_X509(certificate, &der);
  X509_free(certificate);
  return size <= capacity ? size : 0;
}

/* Decrypt what is there, a record at a time, under the lock: bytes, 0 for none yet, or WIRE_FAILED. */
static long decrypt(wire *w) {
  size_t before = w->have;
  for (;;) {
    if (w->room - w->first - w->have < RECORD) {
      if (w->have != before && w->have > CHUNK) break; /* enough for now; the rest stays encrypted */
      if (w->first) {
        memmove(w->plain, w->plain + w->first, w->have);
        w->first = 0;
        continue;
      }
      uint8_t *larger = realloc(w->plain, 2 * w->room);
      if (larger == NULL) return fail(w, "out of memory");
      w->plain = larger;
      w->room *= 2;
    }
    size_t got = 0;
    ERR_clear_error();
    if (SSL_read_ex(w->ssl, w->plain + w->first + w->have, w->room - w->first - w->have, &got) != 1) {
      int why = SSL_get_error(w->ssl, 0);
      if (why == SSL_ERROR_WANT_READ) break;
      if (why == SSL_ERROR_ZERO_RETURN) return w->have != before ? (long)(w->have - before) : fail(w, "closed by the peer");
      return fail_ssl(w);
    }
    w->have += got;
    if (w->at == w->got && !SSL_has_pending(w->ssl)) break; /* to ask once more would cost as much as a record */
  }
  if (w->unsent && drain(w, MSG_DONTWAIT) == WIRE_FAILED) return WIRE_FAILED;
  return (long)(w->have - before);
}

int wire_receive(wire *w) {
  for (;;) {
    if (w->first && w->have == 0) w->first = 0;
    pthread_mutex_lock(&w->lock);
    /* What came with the end of the handshake may lie there, or what did not fit before. */
    long got = w->at < w->got || SSL_has_pending(w->ssl) ? decrypt(w) : 0;
    pthread_mutex_unlock(&w->lock);
    if (got) return got > 0 ? 1 : WIRE_FAILED;
    int done = fetch(w);
    if (done != 1) return done;
  }
}

uint8_t *wire_bytes(wire *w, size_t *size) {
  *size = w->have;
  return w->plain + w->first;
}

void wire_take(wire *w, size_t size) {
  w->first += size;
  w->have -= size;
  if (w->have == 0) w->first = 0;
}

void wire_finish(wire *w) {
  pthread_mutex_lock(&w->lock);
  __atomic_store_n(&w->fd, -1, __ATOMIC_RELAXED);
  pthread_mutex_unlock(&w->lock);
}
