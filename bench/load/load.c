// The load generator of the benchmark: TLS clients in one epoll loop that ask, wait, count and time at little cost.
// usage() has the modes and options. One JSON object on stdout; `start` and `stop` on stderr are the edges of the
// measured window (`ready` in idle mode). An answer outside 2xx is an error.
// Exit codes: 0 done, 1 nothing could be done, 2 wrong usage.
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000ull
#define MILLISECOND_NS 1000000ull

enum {
  HEAD_BYTES_MAX = 8192,          // of an answer, or of the answer to CONNECT
  REQUEST_BYTES_MAX = 2048,
  NAME_BYTES_MAX = 256,
  CONNECTIONS_MAX = 20000,
  OPENING_MAX = 32,               // connections on their way at once; of the others
  OPENING_MS = 4,                 // one follows each time (idle: as soon as one of them is there)
  CLOSING_MAX = 4096,             // closed by us, not yet by the far end
  SESSIONS_MAX = 1024,            // tickets kept for resumption
  EVENTS_PER_WAIT = 256,
  FAILURES_MAX = 3,               // a connection, while nothing at all has worked
  READ_BYTES = 64 * 1024,
  READ_AHEAD_BYTES = 128 * 1024,  // download: ciphertext taken by one read
  UPLOAD_BYTES_PER_TURN = 1024 * 1024,
  STALL_SECONDS = 10,             // nothing moved on a connection that waits
  WARM_SECONDS = 30,
  DRAIN_SECONDS = 1,              // for answers under way when the window ends
  BACKLOG_SECONDS = 10,           // the same in an open loop, where they count
  LINGER_MS = 1000,               // from our FIN to theirs
  RETRY_MS = 50,
  SWEEP_MS = 100,
};

// ---- Time and latency ----

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

// Log-linear: 128 buckets for each power of two, so a value is off by less than 0.8 %.
enum { SUB_BITS = 7, SUB_COUNT = 1 << SUB_BITS, BUCKETS = (64 - SUB_BITS + 1) * SUB_COUNT };
static struct {
  uint64_t count, max, buckets[BUCKETS];
} latency;

static void latency_add(uint64_t ns) {
  int shift = ns < SUB_COUNT ? 0 : 63 - __builtin_clzll(ns) - SUB_BITS;
  latency.buckets[(uint64_t)shift * SUB_COUNT + (ns >> shift)]++;
  latency.count++;
  if (ns > latency.max) latency.max = ns;
}

static double latency_us(double quantile) {
  uint64_t rank = (uint64_t)(quantile * (double)latency.count), seen = 0;
  if (rank >= latency.count) return (double)latency.max / 1e3;
  for (uint64_t i = 0; i < BUCKETS; i++) {
    seen += latency.buckets[i];
    if (seen <= rank) continue;
    // Above 2 × SUB_COUNT a bucket's index holds its shift plus one in the high part.
    int shift = i < 2 * SUB_COUNT ? 0 : (int)(i / SUB_COUNT) - 1;
    uint64_t low = (i - (uint64_t)shift * SUB_COUNT) << shift;
    double middle = (double)low + (double)((1ull << shift) - 1) / 2;
    return (middle < (double)latency.max ? middle : (double)latency.max) / 1e3;
  }
  return (double)latency.max / 1e3;
}

// ---- What is asked for ----

static struct {
  const char *target, *proxy, *host, *ca, *path, *prefix, *suffix;
  double seconds, rate, deadline;
  uint64_t connections, warm, hosts, bytes, events;
  bool resume, tls12;
} options = {.path = "/v1/item", .seconds = 5, .deadline = 120, .connections = 1, .warm = UINT64_MAX};

// ---- Connections ----

enum state { EMPTY, WAITING, CONNECTING, TUNNELLING, SHAKING, READY, ASKING, CLOSING, STDIN };
enum part { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILERS, UNTIL_CLOSE };

struct answer {
  enum part part;
  int status;
  bool begun, done, close;
  uint64_t left, body_bytes;
  unsigned line_length;  // of a chunk's size line or a trailer line
};

struct connection {
  enum state state;  // first: an epoll event points here, and the state tells what it is about
  int fd;
  SSL *ssl;
  unsigned index, failures;
  bool output_watched;
  uint64_t opened_ns, asked_ns, first_byte_ns, moved_ns, retry_ns;
  uint64_t owed_ns;  // the next request counts from here, not from when it can be sent; 0: nothing is owed
  uint64_t warmed, served, sequence, due;
  const char *host, *out;
  size_t out_left, request_length, head_length;
  uint64_t upload_left;
  struct answer answer;
  char name[NAME_BYTES_MAX], request[REQUEST_BYTES_MAX], head[HEAD_BYTES_MAX];
};

struct closing {
  enum state state;
  int fd;
  uint64_t deadline_ns;
  struct closing *next, *previous;
};

struct mode {
  const char *name;
  uint64_t warm;
  void (*begin)(void);
  void (*tick)(uint64_t now);
  void (*ready)(struct connection *c, uint64_t now);     // TLS is up
  void (*answered)(struct connection *c, uint64_t now);  // a whole 2xx answer is in
  void (*failed)(struct connection *c, uint64_t now);    // counted and closed already
  void (*lost)(struct connection *c, uint64_t now);      // closed by the far end, and nothing wrong with that
  void (*body)(const char *bytes, size_t length, uint64_t now);
  void (*report)(void);
};

static const struct mode *mode;
static SSL_CTX *tls;
static int poll_fd = -1;
static struct sockaddr_storage address;
static socklen_t address_length;
static const struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = 0x0300007f};  // 127.0.0.3, in the order of the network
static struct connection *connections;
static struct closing closing_list = {.next = &closing_list, .previous = &closing_list};
static unsigned closing_count, waiting_count;
static SSL_SESSION *sessions[SESSIONS_MAX];
static unsigned session_count;
static char scratch[READ_BYTES];
static const char zeros[16384];

static enum { WARMING, MEASURING, DRAINING } phase;
static bool finished;
static uint64_t begun_ns, start_ns, stop_ns, drained_ns, deadline_ns, wake_ns;
static double cpu_start, cpu_stop;
static uint64_t done, errors, reconnects, resumed, worked, statuses[600];
static char first_error[200];

static void open_connection(struct connection *c, uint64_t now);
static void watch_output(struct connection *c, bool wanted);

static double cpu_seconds(void) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void announce(const char *line) {
  if (write(STDERR_FILENO, line, strlen(line)) < 0) finished = true;
}

static void window_opens(void) {
  reconnects = 0;
  announce("start\n");
  phase = MEASURING;
  cpu_start = cpu_seconds();
  start_ns = now_ns();
}

static void window_closes(void) {
  stop_ns = now_ns();
  cpu_stop = cpu_seconds();
  announce("stop\n");
  phase = DRAINING;
  drained_ns = stop_ns + DRAIN_SECONDS * SECOND_NS;
}

static void note_error(uint64_t count, const char *why) {
  errors += count;
  if (first_error[0] == 0) snprintf(first_error, sizeof first_error, "%s", why);
}

/** What OpenSSL says, or errno. Empties OpenSSL's queue: SSL_get_error trusts it to be empty before a call. */
static const char *tls_reason(const struct connection *c, int error) {
  static char text[160];
  unsigned long code = ERR_peek_error();
  long verdict = c->ssl == NULL ? X509_V_OK : SSL_get_verify_result(c->ssl);
  if (verdict != X509_V_OK) snprintf(text, sizeof text, "certificate: %s", X509_verify_cert_error_string(verdict));
  else if (code != 0) snprintf(text, sizeof text, "tls: %s", ERR_reason_error_string(code) ?: "unknown");
  else if (error == SSL_ERROR_SYSCALL && errno != 0) snprintf(text, sizeof text, "%s", strerror(errno));
  else snprintf(text, sizeof text, "closed in the handshake or in an answer (%d)", error);
  ERR_clear_error();
  return text;
}

static void set_waiting(struct connection *c, uint64_t retry_ns) {
  c->state = WAITING;
  c->retry_ns = retry_ns;
  waiting_count++;
}

static void release(struct connection *c) {
  if (c->ssl != NULL) SSL_free(c->ssl);
  if (c->fd >= 0) close(c->fd);
  c->ssl = NULL;
  c->fd = -1;
  c->state = EMPTY;
}

static void fail(struct connection *c, uint64_t now, const char *why) {
  note_error(1, why);
  release(c);
  ERR_clear_error();
  c->failures++;
  if (mode->failed != NULL) mode->failed(c, now);
}

/** close_notify (RFC 8446 §6.1), FIN, and the socket stays until the far end has closed too: no RST is sent. */
static void end_connection(struct connection *c, uint64_t now) {
  struct closing *rest = closing_count < CLOSING_MAX ? malloc(sizeof *rest) : NULL;
  if (c->ssl != NULL && SSL_is_init_finished(c->ssl)) SSL_shutdown(c->ssl);
  ERR_clear_error();
  if (rest == NULL || shutdown(c->fd, SHUT_WR) != 0) {
    free(rest);
    release(c);
    return;
  }
  *rest = (struct closing){CLOSING, c->fd, now + LINGER_MS * MILLISECOND_NS, &closing_list, closing_list.previous};
  closing_list.previous->next = rest;
  closing_list.previous = rest;
  closing_count++;
  epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = rest});
  c->fd = -1;
  release(c);
}

static void closing_ends(struct closing *rest) {
  rest->previous->next = rest->next;
  rest->next->previous = rest->previous;
  closing_count--;
  close(rest->fd);
  free(rest);
}

static void drain_closing(struct closing *rest) {
  for (;;) {
    ssize_t n = read(rest->fd, scratch, sizeof scratch);
    if (n > 0) continue;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    closing_ends(rest);
    return;
  }
}

// ---- The answer ----

static bool token_is(const char *at, const char *end, const char *token) {
  while (at < end && (*at == ' ' || *at == '\t')) at++;
  while (end > at && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) end--;
  return (size_t)(end - at) == strlen(token) && strncasecmp(at, token, strlen(token)) == 0;
}

static bool digits(const char *at, const char *end, uint64_t *value) {
  while (at < end && *at == ' ') at++;
  while (end > at && (end[-1] == ' ' || end[-1] == '\r')) end--;
  if (at == end || end - at > 18) return false;
  for (*value = 0; at < end; at++) {
    if (!isdigit((unsigned char)*at)) return false;
    *value = *value * 10 + (uint64_t)(*at - '0');
  }
  return true;
}

/** Reads a head that ends with an empty line; false for one that is no HTTP/1 answer. */
static bool read_head(struct answer *a, const char *head, size_t length) {
  bool chunked = false, sized = false;
  const char *end = head + length;
  if (length < 16 || memcmp(head, "HTTP/1.", 7) != 0 || head[8] != ' ') return false;
  a->status = (head[9] - '0') * 100 + (head[10] - '0') * 10 + (head[11] - '0');
  if (a->status < 100 || a->status > 599) return false;
  a->close = head[7] == '0';
  for (const char *line = memchr(head, '\n', length); line != NULL && ++line < end;) {
    const char *next = memchr(line, '\n', (size_t)(end - line));
    const char *stop = next == NULL ? end : next;
    char first = (char)(*line | 0x20);
    if (first == 'c' && stop - line > 15 && strncasecmp(line, "content-length:", 15) == 0) {
      if (!digits(line + 15, stop, &a->left)) return false;
      sized = true;
    } else if (first == 'c' && stop - line > 11 && strncasecmp(line, "connection:", 11) == 0) {
      if (token_is(line + 11, stop, "close")) a->close = true;
      if (token_is(line + 11, stop, "keep-alive")) a->close = false;
    } else if (first == 't' && stop - line > 18 && strncasecmp(line, "transfer-encoding:", 18) == 0) {
      if (!token_is(line + 18, stop, "chunked")) return false;
      chunked = true;
    }
    line = next;
  }
  if (a->status < 200) return a->status != 101;  // interim: the answer is still to come
  if (a->status == 204 || a->status == 304) a->done = true;
  else if (chunked) a->part = CHUNK_SIZE, a->left = 0, a->line_length = 0;
  else if (!sized) a->part = UNTIL_CLOSE, a->close = true;
  else if (a->left == 0) a->done = true;
  else a->part = LENGTH;
  return true;
}

/** The bytes of a head taken from [p, end), or 0 when it does not end there and was kept, or -1. */
static ssize_t take_head(struct connection *c, const char *p, const char *end) {
  size_t kept = c->head_length, fresh = (size_t)(end - p);
  if (kept == 0) {
    const char *blank = memmem(p, fresh, "\r\n\r\n", 4);
    if (blank != NULL) return read_head(&c->answer, p, (size_t)(blank + 4 - p)) ? blank + 4 - p : -1;
  }
  size_t copied = fresh < HEAD_BYTES_MAX - kept ? fresh : HEAD_BYTES_MAX - kept;
  memcpy(c->head + kept, p, copied);
  size_t from = kept > 3 ? kept - 3 : 0;
  const char *blank = memmem(c->head + from, kept + copied - from, "\r\n\r\n", 4);
  c->head_length = kept + copied;
  if (blank == NULL) return c->head_length == HEAD_BYTES_MAX ? -1 : 0;
  c->head_length = 0;
  size_t length = (size_t)(blank + 4 - c->head);
  return read_head(&c->answer, c->head, length) ? (ssize_t)(length - kept) : -1;
}

static const char *take_body(struct answer *a, const char *p, const char *end, uint64_t now) {
  size_t length = (size_t)(end - p);
  if (a->part != UNTIL_CLOSE && length > a->left) length = (size_t)a->left;
  if (a->part != UNTIL_CLOSE) a->left -= length;
  a->body_bytes += length;
  if (mode->body != NULL) mode->body(p, length, now);
  return p + length;
}

/** One byte of what stands around chunks (RFC 9112 §7.1); extensions and trailers are skipped. */
static bool take_chunk_byte(struct answer *a, char byte) {
  if (a->part == CHUNK_END) {
    if (byte == '\n') a->part = CHUNK_SIZE, a->left = 0, a->line_length = 0;
    return byte == '\n' || byte == '\r';
  }
  if (++a->line_length > HEAD_BYTES_MAX) return false;
  if (a->part == TRAILERS) {
    if (byte != '\n') return true;
    a->done = a->line_length <= 2;
    a->line_length = 0;
    return true;
  }
  if (byte == '\n') {
    a->part = a->left == 0 ? TRAILERS : CHUNK_DATA;
    a->line_length = 0;
    return true;
  }
  if (byte == ';' || byte == '\r') a->line_length |= 0x1000;  // past the size: only the line's end matters now
  if (a->line_length >= 0x1000) return true;
  if (!isxdigit((unsigned char)byte) || a->left >> 56 != 0) return false;
  a->left = a->left * 16 + (uint64_t)(isdigit((unsigned char)byte) ? byte - '0' : (byte | 0x20) - 'a' + 10);
  return true;
}

/** Takes what belongs to the answer; where it stopped, or NULL for bytes that are no answer. */
static const char *take_answer(struct connection *c, const char *p, const char *end, uint64_t now) {
  struct answer *a = &c->answer;
  while (p < end && !a->done) {
    switch (a->part) {
      case HEAD: {
        ssize_t taken = take_head(c, p, end);
        if (taken < 0) return NULL;
        p = taken == 0 ? end : p + taken;
        break;
      }
      case LENGTH:
        p = take_body(a, p, end, now);
        a->done = a->left == 0;
        break;
      case CHUNK_DATA:
        p = take_body(a, p, end, now);
        if (a->left == 0) a->part = CHUNK_END;
        break;
      case UNTIL_CLOSE:
        p = take_body(a, p, end, now);
        break;
      default:
        if (!take_chunk_byte(a, *p++)) return NULL;
    }
  }
  return p;
}

// ---- Bytes in and out ----

static void complete(struct connection *c, uint64_t now) {
  int status = c->answer.status;
  c->served++;
  if (status < 200 || status > 299 || c->out_left > 0 || c->upload_left > 0) {
    char why[40];
    snprintf(why, sizeof why, status > 299 ? "status %d" : "status %d before the request had ended", status);
    statuses[status]++;
    fail(c, now, why);
    return;
  }
  worked++;
  c->failures = 0;
  c->state = READY;
  mode->answered(c, now);
}

static void closed_by_peer(struct connection *c, uint64_t now) {
  if (c->state == ASKING && c->answer.part == UNTIL_CLOSE) {
    complete(c, now);
    return;
  }
  bool raced = c->state == ASKING && !c->answer.begun && c->served > 0;
  if (c->state != READY && !raced) {
    fail(c, now, "closed before the answer had ended");
    return;
  }
  c->owed_ns = raced ? c->asked_ns : 0;
  release(c);
  mode->lost(c, now);
}

static void receive(struct connection *c) {
  for (;;) {
    int n = SSL_read(c->ssl, scratch, sizeof scratch);
    uint64_t now = now_ns();
    if (n <= 0) {
      int error = SSL_get_error(c->ssl, n);
      if (error == SSL_ERROR_WANT_READ) return;
      if (error == SSL_ERROR_WANT_WRITE) return watch_output(c, true);
      if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SYSCALL && errno == ECONNRESET)) {
        ERR_clear_error();
        return closed_by_peer(c, now);
      }
      return fail(c, now, tls_reason(c, error));
    }
    if (c->state != ASKING) return fail(c, now, "an answer to nothing");
    if (!c->answer.begun) c->answer.begun = true, c->first_byte_ns = now;
    c->moved_ns = now;
    const char *rest = take_answer(c, scratch, scratch + n, now);
    if (rest == NULL) return fail(c, now, "no HTTP answer");
    if (c->answer.done) {
      if (rest != scratch + n) return fail(c, now, "more than one answer");
      complete(c, now);
    }
    // What is in the kernel is told by the level-triggered poll: no read only to learn that there is nothing.
    if ((c->state != ASKING && c->state != READY) || !SSL_has_pending(c->ssl)) return;
  }
}

static void watch_output(struct connection *c, bool wanted) {
  if (c->output_watched == wanted) return;
  c->output_watched = wanted;
  uint32_t events = EPOLLIN | (wanted ? (uint32_t)EPOLLOUT : 0);
  epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &(struct epoll_event){.events = events, .data.ptr = c});
}

/** Sends what is left of the request, as much as the socket takes. */
static void transmit(struct connection *c) {
  uint64_t turn = UPLOAD_BYTES_PER_TURN;
  while (c->out_left > 0 || c->upload_left > 0) {
    bool head = c->out_left > 0;
    uint64_t left = head ? c->out_left : c->upload_left;
    int n = SSL_write(c->ssl, head ? c->out : zeros, (int)(left < sizeof zeros ? left : sizeof zeros));
    if (n <= 0) {
      int error = SSL_get_error(c->ssl, n);
      if (error == SSL_ERROR_WANT_WRITE) return watch_output(c, true);
      if (error == SSL_ERROR_WANT_READ) return;
      uint64_t now = now_ns();
      bool gone = error == SSL_ERROR_SYSCALL && (errno == EPIPE || errno == ECONNRESET) && c->upload_left == 0;
      return gone ? closed_by_peer(c, now) : fail(c, now, tls_reason(c, error));
    }
    if (head) c->out += n, c->out_left -= (size_t)n;
    else c->upload_left -= (uint64_t)n;
    if (head) continue;
    c->moved_ns = now_ns();
    if (turn <= (uint64_t)n) return watch_output(c, true);
    turn -= (uint64_t)n;
  }
  watch_output(c, false);
}

/** Sends the request; its time counts from `since`. */
static void ask(struct connection *c, uint64_t since) {
  c->state = ASKING;
  c->asked_ns = since;
  if (c->moved_ns < since) c->moved_ns = since;
  c->owed_ns = 0;
  c->out = c->request;
  c->out_left = c->request_length;
  c->upload_left = options.bytes;
  c->answer = (struct answer){0};
  c->head_length = 0;
  transmit(c);
}

static void handshake(struct connection *c) {
  errno = 0;
  int n = SSL_connect(c->ssl);
  if (n == 1) {
    if (phase == MEASURING && SSL_session_reused(c->ssl)) resumed++;
    watch_output(c, false);
    c->state = READY;
    c->moved_ns = now_ns();
    if (mode->ready != NULL) mode->ready(c, c->moved_ns);
    return;
  }
  int error = SSL_get_error(c->ssl, n);
  if (error == SSL_ERROR_WANT_READ) return watch_output(c, false);
  if (error == SSL_ERROR_WANT_WRITE) return watch_output(c, true);
  fail(c, now_ns(), tls_reason(c, error));
}

/** TLS 1.3 tickets are used once (RFC 8446 appendix C.4), newest first; a TLS 1.2 session again and again. */
static void offer_session(SSL *ssl) {
  if (!options.resume || session_count == 0) return;
  SSL_SESSION *session = sessions[session_count - 1];
  SSL_set_session(ssl, session);
  if (SSL_SESSION_get_protocol_version(session) != TLS1_3_VERSION) return;
  session_count--;
  SSL_SESSION_free(session);
}

static int keep_session(SSL *ssl, SSL_SESSION *session) {
  (void)ssl;
  if (!options.resume || session_count == SESSIONS_MAX) return 0;
  sessions[session_count++] = session;
  return 1;
}

static void start_tls(struct connection *c) {
  c->state = SHAKING;
  c->ssl = SSL_new(tls);
  if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1 || SSL_set_tlsext_host_name(c->ssl, c->host) != 1 ||
      SSL_set1_host(c->ssl, c->host) != 1) {
    return fail(c, now_ns(), tls_reason(c, SSL_ERROR_SSL));
  }
  offer_session(c->ssl);
  handshake(c);
}

static void send_connect(struct connection *c) {
  char head[2 * NAME_BYTES_MAX + 64];
  int length = snprintf(head, sizeof head, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", c->host, c->host);
  c->state = TUNNELLING;
  c->answer = (struct answer){0};
  c->head_length = 0;
  watch_output(c, false);
  if (write(c->fd, head, (size_t)length) != length) fail(c, now_ns(), "CONNECT could not be written");
}

static void receive_tunnel(struct connection *c) {
  ssize_t n = read(c->fd, scratch, sizeof scratch);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return fail(c, now_ns(), n == 0 ? "CONNECT: closed" : strerror(errno));
  ssize_t taken = take_head(c, scratch, scratch + n);
  if (taken == 0 || (taken == n && c->answer.status == 100)) return;
  if (c->answer.status / 100 != 2 || taken != n) {
    char why[40];
    snprintf(why, sizeof why, "CONNECT: status %d", c->answer.status);
    return fail(c, now_ns(), why);
  }
  start_tls(c);
}

static void connected(struct connection *c) {
  int error = 0;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
  if (error != 0) return fail(c, now_ns(), strerror(error));
  c->moved_ns = now_ns();
  if (options.proxy != NULL) send_connect(c);
  else start_tls(c);
}

static void advance(struct connection *c, uint32_t events) {
  if (c->state == CONNECTING) return connected(c);
  if (c->state == TUNNELLING) return receive_tunnel(c);
  if (c->state == SHAKING) return handshake(c);
  if (c->state == ASKING && (events & EPOLLOUT) != 0) transmit(c);
  if ((c->state == ASKING || c->state == READY) && (events & ~(uint32_t)EPOLLOUT) != 0) receive(c);
}

static size_t write_request(char *buffer, const char *host) {
  const char *form = "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\nAccept: */*\r\n%s\r\n";
  char framing[64] = "";
  if (options.bytes > 0) snprintf(framing, sizeof framing, "Content-Length: %" PRIu64 "\r\n", options.bytes);
  int n = snprintf(buffer, REQUEST_BYTES_MAX, form, options.bytes > 0 ? "PUT" : "GET", options.path, host, framing);
  return (size_t)n;
}

static void open_connection(struct connection *c, uint64_t now) {
  const int on = 1;
  c->opened_ns = c->moved_ns = now;
  c->served = 0;
  c->state = CONNECTING;
  c->output_watched = true;
  c->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) return fail(c, now, strerror(errno));
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // From an address that no proxy dials from: a port that both had used would find the proxy's connection still tracked, and not be redirected.
  setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (bind(c->fd, (const struct sockaddr *)&source, sizeof source) != 0) return fail(c, now, strerror(errno));
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
  bool begun = connect(c->fd, (struct sockaddr *)&address, address_length) == 0 || errno == EINPROGRESS;
  if (!begun || epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) fail(c, now, strerror(errno));
}

static unsigned count_of(enum state state) {
  unsigned n = 0;
  for (uint64_t i = 0; i < options.connections; i++) n += connections[i].state == state;
  return n;
}

static void retry_later(struct connection *c, uint64_t now) {
  if (worked == 0 && errors >= FAILURES_MAX * options.connections) finished = true;
  if (phase != DRAINING) set_waiting(c, now + RETRY_MS * MILLISECOND_NS);
}

/** What is measured is what a request costs, not whether a proxy takes 512 handshakes at once. */
static void open_all(void) {
  for (uint64_t i = 0; i < options.connections; i++) {
    if (i < OPENING_MAX) open_connection(&connections[i], now_ns());
    else set_waiting(&connections[i], now_ns() + (i - OPENING_MAX + 1) * OPENING_MS * MILLISECOND_NS);
  }
}

/** Opens the window once every connection has warmed up, or those that could in the time there was. */
static void open_window_when_warm(uint64_t now) {
  uint64_t warm = 0;
  for (uint64_t i = 0; i < options.connections; i++) warm += connections[i].warmed >= options.warm;
  if (warm == options.connections || now > begun_ns + WARM_SECONDS * SECOND_NS) window_opens();
}

static bool window_over(uint64_t now) {
  uint64_t end = start_ns + (uint64_t)(options.seconds * 1e9);
  if (end > now && end < wake_ns) wake_ns = end;
  return now >= end;
}

static void print_latency(void) {
  printf(",\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f", latency_us(0.5), latency_us(0.99),
             (double)latency.max / 1e3);
}

static double window_seconds(void) { return (double)(stop_ns - start_ns) / 1e9; }

// ---- keepalive and open: requests on kept connections ----

static uint64_t released;  // open: requests whose time has come

static uint64_t open_total(void) { return (uint64_t)(options.rate * options.seconds); }

static uint64_t intended_ns(uint64_t number) { return start_ns + (uint64_t)((double)number * 1e9 / options.rate); }

static void ask_in_loop(struct connection *c, uint64_t now) {
  if (phase == DRAINING && options.rate == 0) return;
  if (phase == WARMING || options.rate == 0) ask(c, c->owed_ns != 0 ? c->owed_ns : now);
  else if (c->due > 0) ask(c, intended_ns(c->sequence * options.connections + c->index));
}

static void settle_in_loop(struct connection *c) {
  if (options.rate == 0 || phase == WARMING || c->due == 0 || c->asked_ns < start_ns) return;
  c->due--;
  c->sequence++;
}

static void loop_ready(struct connection *c, uint64_t now) { ask_in_loop(c, now); }

static void loop_lost(struct connection *c, uint64_t now) {
  if (phase == DRAINING && options.rate == 0) return;
  reconnects++;
  if (c->owed_ns == 0) c->owed_ns = now;
  open_connection(c, now);
}

static void loop_answered(struct connection *c, uint64_t now) {
  c->warmed++;
  if (phase != WARMING && c->asked_ns >= start_ns && (options.rate > 0 || phase == MEASURING)) {
    latency_add(now - c->asked_ns);
    statuses[c->answer.status]++;
    done++;
  }
  settle_in_loop(c);
  if (!c->answer.close) return ask_in_loop(c, now);
  end_connection(c, now);
  loop_lost(c, now);
}

static void loop_failed(struct connection *c, uint64_t now) {
  settle_in_loop(c);
  retry_later(c, now);
}

static void release_due(uint64_t now) {
  for (; released < open_total() && intended_ns(released) <= now; released++) {
    struct connection *c = &connections[released % options.connections];
    c->due++;
    if (c->state == READY) ask_in_loop(c, now);
  }
  if (released < open_total() && intended_ns(released) < wake_ns) wake_ns = intended_ns(released);
}

static uint64_t backlog(void) {
  uint64_t n = 0;
  for (uint64_t i = 0; i < options.connections; i++) n += connections[i].due;
  return n;
}

static void loop_tick(uint64_t now) {
  if (phase == WARMING) return open_window_when_warm(now);
  if (phase == DRAINING) {
    finished = now > drained_ns || count_of(ASKING) == 0;
    return;
  }
  if (options.rate > 0) release_due(now);
  if (!window_over(now)) return;
  if (backlog() > 0 && now < start_ns + (uint64_t)((options.seconds + BACKLOG_SECONDS) * 1e9)) return;
  window_closes();
  if (backlog() > 0) note_error(backlog(), "not answered in time");
}

static void loop_report(void) {
  double seconds = window_seconds();
  printf("\"requests\":%" PRIu64 ",\"seconds\":%.6f,\"errors\":%" PRIu64 ",\"status\":{", done, seconds, errors);
  const char *comma = "";
  for (int i = 100; i < 600; i++) {
    if (statuses[i] == 0) continue;
    printf("%s\"%d\":%" PRIu64, comma, i, statuses[i]);
    comma = ",";
  }
  printf("}");
  print_latency();
  printf(",\"reconnects\":%" PRIu64, reconnects);
}

// ---- handshakes: a new connection for each request ----

static void handshakes_ready(struct connection *c, uint64_t now) {
  (void)now;
  ask(c, c->opened_ns);
}

static void handshakes_answered(struct connection *c, uint64_t now) {
  c->warmed++;
  if (phase == MEASURING && c->opened_ns >= start_ns) {
    latency_add(now - c->opened_ns);
    done++;
  }
  end_connection(c, now);
  if (phase != DRAINING) open_connection(c, now);
}

static void handshakes_tick(uint64_t now) {
  if (phase == WARMING) open_window_when_warm(now);
  else if (phase == MEASURING && window_over(now)) window_closes();
  else if (phase == DRAINING) finished = now > drained_ns || count_of(EMPTY) == options.connections;
}

static void handshakes_report(void) {
  printf("\"connections\":%" PRIu64 ",\"resumed\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"seconds\":%.6f", done,
             resumed < done ? resumed : done, errors, window_seconds());
  print_latency();
}

// ---- cold: names never seen before, each once ----

static uint64_t hosts_used;

static void cold_next(struct connection *c, uint64_t now) {
  if (hosts_used == options.hosts || phase != MEASURING) return;
  const char *dot = options.suffix[0] == '.' ? "" : ".";
  snprintf(c->name, sizeof c->name, "%s%" PRIu64 "%s%s", options.prefix, hosts_used++, dot, options.suffix);
  c->host = c->name;
  c->request_length = write_request(c->request, c->name);
  open_connection(c, now);
}

static void cold_begin(void) {
  window_opens();
  for (uint64_t i = 0; i < options.connections; i++) cold_next(&connections[i], now_ns());
}

static void cold_answered(struct connection *c, uint64_t now) {
  latency_add(c->first_byte_ns - c->opened_ns);
  done++;
  end_connection(c, now);
  cold_next(c, now);
}

/** By way of the loop, so that a run of refusals does not recurse. */
static void cold_failed(struct connection *c, uint64_t now) {
  if (hosts_used < options.hosts && phase == MEASURING) set_waiting(c, now);
}

static void cold_tick(uint64_t now) {
  (void)now;
  if (phase == MEASURING && hosts_used == options.hosts && count_of(EMPTY) == options.connections) window_closes();
  if (phase == DRAINING) finished = true;
}

static void cold_report(void) {
  printf("\"hosts\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"seconds\":%.6f", done, errors, window_seconds());
  print_latency();
}

// ---- idle: connections that are held ----

static enum state stdin_event = STDIN;
static uint64_t idle_opened, idle_settled;
static bool idle_announced;

static void idle_next(uint64_t now) {
  if (idle_opened < options.connections && !idle_announced) open_connection(&connections[idle_opened++], now);
}

static void idle_begin(void) {
  for (int i = 0; i < OPENING_MAX; i++) idle_next(now_ns());
}

static void idle_answered(struct connection *c, uint64_t now) {
  (void)c;
  done++;
  idle_settled++;
  idle_next(now);
}

static void idle_failed(struct connection *c, uint64_t now) {
  if (c->failures < FAILURES_MAX && !idle_announced) return set_waiting(c, now + RETRY_MS * MILLISECOND_NS);
  idle_settled++;
  // By way of the loop, so that a run of refusals does not recurse.
  if (idle_opened < options.connections) set_waiting(&connections[idle_opened++], now);
}

static void idle_lost(struct connection *c, uint64_t now) {
  (void)c, (void)now;
  reconnects++;
}

static void idle_tick(uint64_t now) {
  bool late = now > begun_ns + (uint64_t)(options.deadline * 0.5e9);
  if (idle_announced || (idle_settled < options.connections && !late)) return;
  idle_announced = true;
  announce("ready\n");
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = &stdin_event};
  if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0) finished = true;  // a file: nothing to wait for
}

static void idle_report(void) {
  printf("\"connections\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"closed_by_peer\":%" PRIu64, done, errors, reconnects);
}

// ---- download, upload, sse: one long exchange a connection ----

static uint64_t bytes_moved, events_seen, event_sent_ns;
static enum { LINE_NAME, LINE_NUMBER, LINE_REST } event_part;
static unsigned event_name_length;

static void transfer_tick(uint64_t now) {
  unsigned ready = count_of(READY), empty = count_of(EMPTY);
  if (phase == WARMING && ready + empty == options.connections) {
    window_opens();
    for (uint64_t i = 0; i < options.connections; i++) {
      if (connections[i].state == READY) ask(&connections[i], now);
    }
  } else if (phase == MEASURING && (count_of(ASKING) == 0 || (mode->body != NULL && events_seen >= options.events))) {
    window_closes();
    finished = true;
  }
}

static void transfer_answered(struct connection *c, uint64_t now) {
  bytes_moved += options.bytes > 0 ? options.bytes : c->answer.body_bytes;
  done++;
  end_connection(c, now);
}

static void transfer_lost(struct connection *c, uint64_t now) {
  (void)c, (void)now;
  note_error(1, "closed before it was asked");
}

static void transfer_report(void) {
  printf("\"bytes\":%" PRIu64 ",\"seconds\":%.6f,\"errors\":%" PRIu64, bytes_moved, window_seconds(), errors);
}

/** Lines `data: <CLOCK_MONOTONIC in ns>`; every other line is passed over. */
static void sse_body(const char *bytes, size_t length, uint64_t now) {
  static const char name[] = "data: ";
  for (size_t i = 0; i < length && events_seen < options.events; i++) {
    char byte = bytes[i];
    if (byte == '\n' || byte == '\r') {
      if (event_part == LINE_NUMBER && event_sent_ns > 0) {
        latency_add(now > event_sent_ns ? now - event_sent_ns : 0);
        events_seen++;
        done++;
      }
      event_part = LINE_NAME;
      event_name_length = 0;
      event_sent_ns = 0;
    } else if (event_part == LINE_NAME) {
      event_part = byte == name[event_name_length] ? LINE_NAME : LINE_REST;
      if (event_part == LINE_NAME && name[++event_name_length] == 0) event_part = LINE_NUMBER;
    } else if (event_part == LINE_NUMBER) {
      if (isdigit((unsigned char)byte) && event_sent_ns < UINT64_MAX / 16) {
        event_sent_ns = event_sent_ns * 10 + (uint64_t)(byte - '0');
      } else {
        event_part = LINE_REST;
      }
    }
  }
}

static void sse_answered(struct connection *c, uint64_t now) {
  if (events_seen < options.events) note_error(1, "the stream ended early");
  end_connection(c, now);
}

static void sse_report(void) {
  printf("\"events\":%" PRIu64 ",\"errors\":%" PRIu64, events_seen, errors);
  print_latency();
}

// ---- The loop ----

static const struct mode modes[] = {
    {"keepalive", 50, open_all, loop_tick, loop_ready, loop_answered, loop_failed, loop_lost, NULL, loop_report},
    {"open", 50, open_all, loop_tick, loop_ready, loop_answered, loop_failed, loop_lost, NULL, loop_report},
    {"handshakes", 2, open_all, handshakes_tick, handshakes_ready, handshakes_answered, retry_later, retry_later, NULL,
     handshakes_report},
    {"cold", 0, cold_begin, cold_tick, handshakes_ready, cold_answered, cold_failed, cold_failed, NULL, cold_report},
    {"idle", 0, idle_begin, idle_tick, handshakes_ready, idle_answered, idle_failed, idle_lost, NULL, idle_report},
    {"download", 0, open_all, transfer_tick, NULL, transfer_answered, NULL, transfer_lost, NULL,
     transfer_report},
    {"upload", 0, open_all, transfer_tick, NULL, transfer_answered, NULL, transfer_lost, NULL,
     transfer_report},
    {"sse", 0, open_all, transfer_tick, NULL, sse_answered, NULL, transfer_lost, sse_body,
     sse_report},
};

static void sweep(uint64_t now) {
  while (closing_list.next != &closing_list && closing_list.next->deadline_ns <= now) closing_ends(closing_list.next);
  for (uint64_t i = 0; i < options.connections; i++) {
    struct connection *c = &connections[i];
    bool idle = c->state == EMPTY || c->state == WAITING || c->state == READY;
    if (!idle && now > c->moved_ns + STALL_SECONDS * SECOND_NS) fail(c, now, "nothing moved for 10 seconds");
  }
}

static void open_waiting(uint64_t now) {
  for (uint64_t i = 0; i < options.connections && waiting_count > 0; i++) {
    struct connection *c = &connections[i];
    if (c->state != WAITING || c->retry_ns > now) continue;
    waiting_count--;
    c->state = EMPTY;
    if (mode->begin == cold_begin) cold_next(c, now);
    else if (phase != DRAINING) open_connection(c, now);
  }
}

static void wait_for_events(uint64_t now, uint64_t until) {
  struct epoll_event events[EVENTS_PER_WAIT];
  uint64_t left = until > now ? until - now : 0;
  struct timespec timeout = {(time_t)(left / SECOND_NS), (long)(left % SECOND_NS)};
  int n = epoll_pwait2(poll_fd, events, EVENTS_PER_WAIT, &timeout, NULL);
  for (int i = 0; i < n; i++) {
    enum state *about = events[i].data.ptr;
    if (*about == STDIN) finished = read(STDIN_FILENO, scratch, sizeof scratch) <= 0;
    else if (*about == CLOSING) drain_closing((struct closing *)about);
    else advance((struct connection *)about, events[i].events);
  }
}

static void run(void) {
  uint64_t sweep_ns = 0;
  begun_ns = now_ns();
  deadline_ns = begun_ns + (uint64_t)(options.deadline * 1e9);
  mode->begin();
  while (!finished) {
    uint64_t now = now_ns();
    if (now >= sweep_ns) {
      sweep(now);
      sweep_ns = now + SWEEP_MS * MILLISECOND_NS;
    }
    wake_ns = sweep_ns;
    if (waiting_count > 0) {
      open_waiting(now);
      wake_ns = now + MILLISECOND_NS;
    }
    mode->tick(now);
    if (now >= deadline_ns && !finished) {
      uint64_t open = options.connections - count_of(EMPTY) + (options.hosts - hosts_used);
      if (mode->begin != idle_begin) note_error(open, "the deadline came first");
      break;
    }
    if (!finished) wait_for_events(now, wake_ns < deadline_ns ? wake_ns : deadline_ns);
  }
  if (phase == MEASURING) window_closes();
  phase = DRAINING;
  uint64_t now = now_ns(), linger_ns = now + LINGER_MS * MILLISECOND_NS;
  for (uint64_t i = 0; i < options.connections; i++) {
    if (connections[i].fd >= 0) end_connection(&connections[i], now);
  }
  for (; closing_count > 0 && now < linger_ns; now = now_ns()) wait_for_events(now, linger_ns);
}

// ---- The command line ----

static _Noreturn void usage(const char *why) {
  fprintf(stderr,
          "load: %s\n"
          "usage: load MODE --target IP:PORT|--proxy IP:PORT --host NAME --ca FILE [--path PATH] [--connections N]\n"
          "            [--deadline S] [--tls12]\n"
          "  keepalive [--seconds S] [--warm N]   closed loop on N kept connections\n"
          "  open --rate R [--seconds S]          open loop; latency from the intended time\n"
          "  handshakes [--seconds S] [--resume]  a new connection for each request\n"
          "  cold --hosts N --prefix P --suffix S each name once; time to the first byte\n"
          "  idle                                 holds N connections until stdin is closed\n"
          "  download | upload --bytes B | sse --events N\n",
          why);
  exit(2);
}

enum kind { TEXT, COUNT, NUMBER, FLAG };
static const struct {
  const char *name;
  enum kind kind;
  void *value;
  double least, most;
} known_options[] = {
    {"--target", TEXT, &options.target, 0, 0},
    {"--proxy", TEXT, &options.proxy, 0, 0},
    {"--host", TEXT, &options.host, 0, 0},
    {"--ca", TEXT, &options.ca, 0, 0},
    {"--path", TEXT, &options.path, 0, 0},
    {"--prefix", TEXT, &options.prefix, 0, 0},
    {"--suffix", TEXT, &options.suffix, 0, 0},
    {"--seconds", NUMBER, &options.seconds, 0.01, 3600},
    {"--deadline", NUMBER, &options.deadline, 0.1, 86400},
    {"--rate", NUMBER, &options.rate, 0.1, 1e6},
    {"--connections", COUNT, &options.connections, 1, CONNECTIONS_MAX},
    {"--warm", COUNT, &options.warm, 0, 1e6},
    {"--hosts", COUNT, &options.hosts, 1, 1e6},
    {"--bytes", COUNT, &options.bytes, 1, 1e12},
    {"--events", COUNT, &options.events, 1, 1e6},
    {"--resume", FLAG, &options.resume, 0, 0},
    {"--tls12", FLAG, &options.tls12, 0, 0},
};

static bool set_option(const char *name, const char *text) {
  for (size_t i = 0; i < sizeof known_options / sizeof *known_options; i++) {
    if (strcmp(known_options[i].name, name) != 0) continue;
    if (known_options[i].kind == FLAG) {
      *(bool *)known_options[i].value = true;
      return false;
    }
    if (text == NULL) usage("an option lacks its value");
    if (known_options[i].kind == TEXT) {
      *(const char **)known_options[i].value = text;
      return true;
    }
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != 0 || !(number >= known_options[i].least && number <= known_options[i].most)) usage(name);
    if (known_options[i].kind == NUMBER) *(double *)known_options[i].value = number;
    else *(uint64_t *)known_options[i].value = (uint64_t)number;
    return true;
  }
  usage(name);
}

static void resolve(const char *text) {
  char host[64];
  const char *colon = strrchr(text, ':');
  size_t length = colon == NULL ? 0 : (size_t)(colon - text);
  if (length == 0 || length >= sizeof host) usage("an address is IP:PORT");
  bool bracketed = text[0] == '[' && text[length - 1] == ']';
  snprintf(host, sizeof host, "%.*s", (int)(bracketed ? length - 2 : length), bracketed ? text + 1 : text);
  struct addrinfo *found, hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  if (getaddrinfo(host, colon + 1, &hints, &found) != 0) usage("an address is IP:PORT");
  memcpy(&address, found->ai_addr, found->ai_addrlen);
  address_length = found->ai_addrlen;
  freeaddrinfo(found);
}

static void read_options(int argc, char **argv) {
  if (argc < 2) usage("which mode?");
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    if (strcmp(modes[i].name, argv[1]) == 0) mode = &modes[i];
  }
  if (mode == NULL) usage("unknown mode");
  for (int i = 2; i < argc; i++) i += set_option(argv[i], argv[i + 1]) ? 1 : 0;
  bool cold = mode->begin == cold_begin;
  if (options.target == NULL && options.proxy == NULL) usage("--target or --proxy is missing");
  if (options.ca == NULL) usage("--ca is missing");
  if (!cold && options.host == NULL) usage("--host is missing");
  if (cold && (options.hosts == 0 || options.prefix == NULL || options.suffix == NULL)) {
    usage("cold needs --hosts, --prefix and --suffix");
  }
  if ((options.rate > 0) != (strcmp(mode->name, "open") == 0)) usage("--rate is for open, and open needs it");
  if ((options.bytes > 0) != (strcmp(mode->name, "upload") == 0)) usage("--bytes is for upload, and upload needs it");
  if ((options.events > 0) != (mode->body != NULL)) usage("--events is for sse, and sse needs it");
  size_t name = cold ? strlen(options.prefix) + strlen(options.suffix) + 24 : strlen(options.host);
  if (name >= NAME_BYTES_MAX) usage("the host name is too long");
  if (strlen(options.path) + name + 200 > REQUEST_BYTES_MAX) usage("--path is too long");
  if (options.warm == UINT64_MAX) options.warm = mode->warm;
  if (!cold) options.hosts = 0;
  resolve(options.proxy != NULL ? options.proxy : options.target);
}

static void make_tls(void) {
  tls = SSL_CTX_new(TLS_client_method());
  if (tls == NULL || SSL_CTX_load_verify_file(tls, options.ca) != 1) usage("--ca can not be read");
  SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
  if (options.tls12) SSL_CTX_set_max_proto_version(tls, TLS1_2_VERSION);
  SSL_CTX_set_alpn_protos(tls, (const unsigned char *)"\x08http/1.1", 9);
  SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (mode->begin == idle_begin) SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(tls, keep_session);
  // One read for a whole answer instead of one for each record header and one for each record.
  SSL_CTX_set_read_ahead(tls, 1);
  if (mode->report == transfer_report) SSL_CTX_set_default_read_buffer_len(tls, READ_AHEAD_BYTES);
}

static void make_connections(void) {
  connections = calloc(options.connections, sizeof *connections);
  if (connections == NULL) usage("not enough memory");
  for (unsigned i = 0; i < options.connections; i++) {
    struct connection *c = &connections[i];
    c->fd = -1;
    c->index = i;
    c->host = options.host;
    if (c->host != NULL) c->request_length = write_request(c->request, c->host);
  }
}

int main(int argc, char **argv) {
  read_options(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  alarm((unsigned)options.deadline + 10);          // if the loop itself should hang
  prctl(PR_SET_TIMERSLACK, 1);                     // open loop: wake when it is time, not 50 µs later
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  make_tls();
  poll_fd = epoll_create1(EPOLL_CLOEXEC);
  make_connections();
  run();
  printf("{\"mode\":\"%s\",", mode->name);
  mode->report();
  if (cpu_stop > 0) printf(",\"load_cpu_seconds\":%.6f", cpu_stop - cpu_start);
  for (char *at = first_error; *at != 0; at++) {
    if (*at == '"' || *at == '\\' || (unsigned char)*at < 0x20) *at = ' ';
  }
  if (errors > 0) printf(",\"first_error\":\"%s\"", first_error);
  printf("}\n");
  return done > 0 ? 0 : 1;
}
