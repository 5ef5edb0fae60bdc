/* wsload: an independent WebSocket load generator, one epoll thread a process. It shares no code with millbench, and was
 * written by another hand: what both measure alike is not a mistake of one of them. Package wsload builds and runs it.
 * Build: cc -O2 -o wsload wsload.c -lm
 *
 *   wsload -a 127.0.0.1 -p 9001 -u / -c CONNS -s BYTES -d DEPTH -t SECS [-w WARMUP] [-P SERVERPID[,PID..]] [-S sources]
 *          [-m echo|idle|churn|rate] [-r MSGS_PER_SEC] [-b] [-k PINCPU]
 *   echo:  each connection keeps DEPTH masked messages in flight; round trips are timed.
 *   rate:  open loop: messages are due at a fixed rate over all connections, latency counts from the due time.
 *   idle:  opens the connections, waits, prints the server's memory a connection.
 *   churn: connect + upgrade + close, over and over, DEPTH at once.
 * With -P the server's CPU time over the measured window and its RSS are read from /proc.
 * Prints one JSON line.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RING 64
typedef struct conn {
  int fd, state; /* 0 connecting, 1 handshaking, 2 open, 3 dead */
  int inflight;
  uint64_t sent_at[RING];
  unsigned head, tail;
  uint64_t need;      /* payload bytes still to skip of the frame being read */
  unsigned char hdr[16];
  int hlen;
  char *hs; int hslen;
  unsigned char *out; size_t outlen, outoff, outcap;
} conn;

static const char *addr = "127.0.0.1", *path = "/", *mode = "echo", *hosthdr = "localhost";
static int port = 9001, nconns = 100, size = 64, depth = 1, secs = 5, warm = 1, sources = 1, binary = 0, pin = -1;
static double rate = 1000;
static int pids[64], npids;
static conn *cs;
static int ep;
static unsigned char *frame; static int framelen;
static uint64_t done, opened, failed, closed_, measuring;
static uint64_t hist[64 * 64];
static char rbuf[1 << 18];

static uint64_t now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }
static void rec(uint64_t ns) { /* log-linear: 64 sub-buckets a power of two */
  uint64_t v = ns; int e = 0; while (v >= 128) { v >>= 1; e++; }
  int i = e * 64 + (int)v; if (i >= 64 * 64) i = 64 * 64 - 1; hist[i]++;
}
static double quant(double q) {
  uint64_t tot = 0; for (int i = 0; i < 64 * 64; i++) tot += hist[i];
  if (!tot) return 0;
  uint64_t want = (uint64_t)ceil(q * tot), s = 0;
  for (int i = 0; i < 64 * 64; i++) { s += hist[i]; if (s >= want) { int e = i / 64; uint64_t v = i % 64; if (e) { e -= 0; if (v < 64) { e -= 1; v += 64; } } return (double)(v << e) / 1000.0; } }
  return 0;
}
static double cpu_of(int pid) {
  char f[64], b[1024]; snprintf(f, sizeof f, "/proc/%d/stat", pid); FILE *p = fopen(f, "r"); if (!p) return 0;
  size_t n = fread(b, 1, sizeof b - 1, p); b[n] = 0; fclose(p); char *q = strrchr(b, ')'); if (!q) return 0; q += 2;
  unsigned long u = 0, s = 0; sscanf(q, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &s);
  return (double)(u + s) / sysconf(_SC_CLK_TCK);
}
static double rss_of(int pid) {
  char f[64], l[256]; snprintf(f, sizeof f, "/proc/%d/status", pid); FILE *p = fopen(f, "r"); if (!p) return 0; double kb = 0;
  while (fgets(l, sizeof l, p)) if (!strncmp(l, "VmRSS:", 6)) kb = atof(l + 6);
  fclose(p); return kb * 1024;
}
static double cpu(void) { double s = 0; for (int i = 0; i < npids; i++) s += cpu_of(pids[i]); return s; }
static double rss(void) { double s = 0; for (int i = 0; i < npids; i++) s += rss_of(pids[i]); return s; }
static double kmem(void) { FILE *p = fopen("/proc/meminfo", "r"); char l[256]; double a = 0; while (fgets(l, sizeof l, p)) if (!strncmp(l, "MemAvailable:", 13)) a = atof(l + 13) * 1024; fclose(p); return a; }

static void want(conn *c, uint32_t ev) { struct epoll_event e = {.events = ev, .data.ptr = c}; epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e); }
static void dial(conn *c, int i) {
  memset(c, 0, sizeof *c);
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) { perror("socket"); exit(1); }
  int one = 1; setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (!strcmp(mode, "churn")) { struct linger lg = {1, 0}; setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &lg, sizeof lg); }
  if (sources > 1) {
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in s = {.sin_family = AF_INET}; s.sin_addr.s_addr = htonl(0x7f000002 + (i % sources)); bind(c->fd, (void *)&s, sizeof s);
  }
  struct sockaddr_in d = {.sin_family = AF_INET, .sin_port = htons(port)}; inet_pton(AF_INET, addr, &d.sin_addr);
  int r = connect(c->fd, (void *)&d, sizeof d);
  if (r < 0 && errno != EINPROGRESS) { failed++; c->state = 3; close(c->fd); return; }
  struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c}; epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
}
static void kill_(conn *c) { if (c->state == 2) closed_++; else failed++; c->state = 3; close(c->fd); free(c->out); c->out = NULL; free(c->hs); c->hs = NULL; }
static void sendmsgs(conn *c, int n, uint64_t at) {
  for (int k = 0; k < n; k++) {
    if (c->head - c->tail >= RING) break;
    c->sent_at[c->head++ % RING] = at ? at : now();
    c->inflight++;
    if (c->outlen == c->outoff) {
      ssize_t w = send(c->fd, frame, framelen, MSG_NOSIGNAL);
      if (w == framelen) continue;
      if (w < 0 && errno != EAGAIN) { kill_(c); return; }
      if (w < 0) w = 0;
      size_t left = framelen - w;
      if (c->outcap < left) { c->out = realloc(c->out, left); c->outcap = left; }
      memcpy(c->out, frame + w, left); c->outlen = left; c->outoff = 0; want(c, EPOLLIN | EPOLLOUT);
    } else {
      size_t left = c->outlen - c->outoff;
      if (c->outcap < c->outlen + framelen) { c->outcap = c->outlen + framelen; c->out = realloc(c->out, c->outcap); }
      memcpy(c->out + c->outlen, frame, framelen); c->outlen += framelen; (void)left;
    }
  }
}
static void batch(conn *c, int n) { /* one write for n messages */
  if (n <= 1 || c->outlen != c->outoff) { sendmsgs(c, n, 0); return; }
  static unsigned char *b; static size_t cap; if (cap < (size_t)framelen * n) { cap = (size_t)framelen * n; b = realloc(b, cap); }
  for (int k = 0; k < n; k++) memcpy(b + (size_t)k * framelen, frame, framelen);
  uint64_t t = now(); for (int k = 0; k < n; k++) { c->sent_at[c->head++ % RING] = t; c->inflight++; }
  ssize_t w = send(c->fd, b, (size_t)framelen * n, MSG_NOSIGNAL); if (w < 0) { if (errno != EAGAIN) { kill_(c); return; } w = 0; }
  size_t left = (size_t)framelen * n - w; if (left) { if (c->outcap < left) { c->out = realloc(c->out, left); c->outcap = left; } memcpy(c->out, b + w, left); c->outlen = left; c->outoff = 0; want(c, EPOLLIN | EPOLLOUT); }
}
static void reopen(conn *c);
static void on_open(conn *c) {
  opened++; c->state = 2; want(c, EPOLLIN);
  if (!strcmp(mode, "echo")) batch(c, depth);
  if (!strcmp(mode, "churn")) { done++; reopen(c); }
}
static void reopen(conn *c) { close(c->fd); free(c->hs); free(c->out); int i = c - cs; dial(c, i); }
static void handle(conn *c, uint32_t ev) {
  if (c->state == 3) return;
  if (c->state == 0) {
    int err = 0; socklen_t l = sizeof err; getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &l);
    if (err) { kill_(c); return; }
    char req[512]; int n = snprintf(req, sizeof req, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path, hosthdr);
    if (send(c->fd, req, n, MSG_NOSIGNAL) != n) { kill_(c); return; }
    c->state = 1; want(c, EPOLLIN); return;
  }
  if ((ev & EPOLLOUT) && c->state == 2 && c->outlen > c->outoff) {
    ssize_t w = send(c->fd, c->out + c->outoff, c->outlen - c->outoff, MSG_NOSIGNAL);
    if (w < 0 && errno != EAGAIN) { kill_(c); return; }
    if (w > 0) c->outoff += w;
    if (c->outoff == c->outlen) { c->outlen = c->outoff = 0; want(c, EPOLLIN); }
  }
  if (!(ev & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  ssize_t n = recv(c->fd, rbuf, sizeof rbuf, 0);
  if (n == 0 || (n < 0 && errno != EAGAIN)) { kill_(c); return; }
  if (n < 0) return;
  char *p = rbuf, *e = rbuf + n;
  if (c->state == 1) {
    c->hs = realloc(c->hs, c->hslen + n + 1); memcpy(c->hs + c->hslen, p, n); c->hslen += n; c->hs[c->hslen] = 0;
    char *end = strstr(c->hs, "\r\n\r\n"); if (!end) return;
    if (strncmp(c->hs, "HTTP/1.1 101", 12) || !strcasestr(c->hs, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) { kill_(c); return; }
    int used = end + 4 - c->hs, extra = c->hslen - used; p = e - extra; free(c->hs); c->hs = NULL; c->hslen = 0;
    on_open(c); if (c->state != 2 || !strcmp(mode, "churn")) return;
  }
  int got = 0; uint64_t t = 0;
  while (p < e) {
    if (c->need) { uint64_t k = (uint64_t)(e - p) < c->need ? (uint64_t)(e - p) : c->need; p += k; c->need -= k; if (c->need) break; goto msg; }
    c->hdr[c->hlen++] = *p++;
    if (c->hlen < 2) continue;
    int l7 = c->hdr[1] & 127, hl = l7 < 126 ? 2 : l7 == 126 ? 4 : 10;
    if (c->hlen < hl) continue;
    uint64_t len = l7; if (l7 == 126) len = c->hdr[2] << 8 | c->hdr[3]; else if (l7 == 127) { len = 0; for (int k = 2; k < 10; k++) len = len << 8 | c->hdr[k]; }
    c->need = len; if (len) continue;
  msg:
    if ((c->hdr[0] & 15) >= 8) { c->hlen = 0; continue; } /* control: not counted */
    if (!(c->hdr[0] & 128)) { c->hlen = 0; continue; }
    c->hlen = 0; got++;
    if (c->head != c->tail) { if (!t) t = now(); uint64_t s = c->sent_at[c->tail++ % RING]; if (measuring) rec(t - s); c->inflight--; }
    if (measuring) done++;
  }
  if (got && !strcmp(mode, "echo")) batch(c, got < depth - c->inflight ? got : depth - c->inflight);
}
int main(int argc, char **argv) {
  int o; while ((o = getopt(argc, argv, "a:p:u:c:s:d:t:w:P:S:m:r:bk:H:")) > 0) switch (o) {
    case 'a': addr = optarg; break; case 'p': port = atoi(optarg); break; case 'u': path = optarg; break; case 'c': nconns = atoi(optarg); break;
    case 's': size = atoi(optarg); break; case 'd': depth = atoi(optarg); break; case 't': secs = atoi(optarg); break; case 'w': warm = atoi(optarg); break;
    case 'P': for (char *q = strtok(optarg, ","); q && npids < 64; q = strtok(NULL, ",")) pids[npids++] = atoi(q); break;
    case 'S': sources = atoi(optarg); break; case 'm': mode = optarg; break; case 'r': rate = atof(optarg); break; case 'b': binary = 1; break; case 'k': pin = atoi(optarg); break; case 'H': hosthdr = optarg; break;
    default: return 2; }
  if (pin >= 0) { cpu_set_t s; CPU_ZERO(&s); CPU_SET(pin, &s); sched_setaffinity(0, sizeof s, &s); }
  struct rlimit rl; getrlimit(RLIMIT_NOFILE, &rl); rl.rlim_cur = rl.rlim_max; setrlimit(RLIMIT_NOFILE, &rl);
  if (depth > RING) depth = RING;
  framelen = size + 4 + (size < 126 ? 2 : size < 65536 ? 4 : 10); frame = malloc(framelen);
  int h = 2; frame[0] = 0x80 | (binary ? 2 : 1);
  if (size < 126) frame[1] = 0x80 | size; else if (size < 65536) { frame[1] = 0x80 | 126; frame[2] = size >> 8; frame[3] = size; h = 4; } else { frame[1] = 0x80 | 127; for (int k = 0; k < 8; k++) frame[2 + k] = (uint64_t)size >> (56 - 8 * k); h = 10; }
  unsigned char mask[4] = {0x12, 0x34, 0x56, 0x78}; memcpy(frame + h, mask, 4); h += 4;
  for (int k = 0; k < size; k++) frame[h + k] = ('a' + k % 26) ^ mask[k & 3];
  ep = epoll_create1(0); cs = calloc(nconns, sizeof *cs);
  double rss0 = rss(), mem0 = kmem(); uint64_t t0 = now(); int dialed = 0, limit = strcmp(mode, "churn") ? 256 : depth;
  if (!strcmp(mode, "churn")) nconns = depth;
  struct epoll_event evs[1024]; double c0 = 0; uint64_t m0 = 0, start = 0; uint64_t sent = 0; double connsecs = 0, nextc = 0; int ready = 0;
  for (;;) {
    while (dialed < nconns && (uint64_t)dialed - opened - failed < (uint64_t)limit) { dial(&cs[dialed], dialed); dialed++; }
    int to = 100; if (ready && !strcmp(mode, "rate")) to = 0;
    int n = epoll_wait(ep, evs, 1024, to); for (int i = 0; i < n; i++) handle(evs[i].data.ptr, evs[i].events);
    uint64_t t = now();
    if (!ready && (opened + failed >= (uint64_t)nconns || t - t0 > 120000000000ull)) { ready = 1; start = t; connsecs = (t - t0) / 1e9; }
    if (ready && !strcmp(mode, "rate")) {
      double per = 1e9 / rate; int burst = 0;
      while (nextc + (double)start <= (double)t && burst++ < 4096) { conn *c = &cs[sent % nconns]; sent++; if (c->state == 2) sendmsgs(c, 1, (uint64_t)(nextc + start)); nextc += per; }
    }
    if (ready && !measuring && t - start > warm * 1000000000ull) { measuring = 1; m0 = t; c0 = cpu(); if (!strcmp(mode, "churn")) done = 0; memset(hist, 0, sizeof hist); }
    if (measuring && t - m0 > secs * 1000000000ull) {
      double el = (t - m0) / 1e9, cu = cpu() - c0;
      printf("{\"mode\":\"%s\",\"conns\":%d,\"size\":%d,\"depth\":%d,\"opened\":%lu,\"failed\":%lu,\"closed\":%lu,\"connect_s\":%.2f,\"msgs_s\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"server_cpu_us_msg\":%.3f,\"server_cpu\":%.2f,\"rss_mb\":%.1f,\"rss_per_conn\":%.0f,\"sys_mem_per_conn\":%.0f}\n",
             mode, nconns, size, depth, opened, failed, closed_, connsecs, done / el, quant(.5), quant(.99), quant(.999), quant(1), done ? cu * 1e6 / done : 0, cu / el, rss() / 1048576, opened ? (rss() - rss0) / opened : 0, opened ? (mem0 - kmem()) / opened : 0);
      return 0;
    }
    if (!opened && failed && (int)failed == nconns) { fprintf(stderr, "wsload: no connection opened\n"); return 1; }
  }
}
