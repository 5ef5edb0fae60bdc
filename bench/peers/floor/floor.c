/* floor: the physical limit to hold a WebSocket echo server against: one C thread, level-triggered epoll, one recv and
 * one send a readiness event, in-place unmasking, no features. Not a server anyone should run.
 * Build: cc -O3 -march=native -o floor floor.c -lpthread
 * Run: floor PORT|--listen HOST:PORT [THREADS [all]] [--broadcast]
 *
 * all, or --broadcast: each message is written to every open connection, with one send each for all that one read brought: the
 * floor of a broadcast, for one thread and messages in one frame. Pongs and close frames still go to who asked.
 *
 * It answers pings and close frames, and takes messages of up to 1 MiB. What is not needed to echo (these answers, all)
 * costs no system call, and no more than a comparison, a frame.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <errno.h>
enum { READ_MAX = (1 << 20) + (64 << 10), OUT_MAX = READ_MAX + 16 };
static int port, all; static struct in_addr host = {0 /* any */};
typedef struct { char *buf; uint32_t len, cap; int open; } conn;
static conn *tab; static int tabn, top; /* no connection has a descriptor from top on */
#define ROL(x, n) (((x) << (n)) | ((x) >> (32 - (n))))
static void sha1(const uint8_t *d, size_t n, uint8_t out[20]) {
  uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0}; uint8_t m[128] = {0}; size_t t = n + 9 <= 64 ? 64 : 128;
  memcpy(m, d, n); m[n] = 0x80; for (int i = 0; i < 8; i++) m[t - 1 - i] = (uint64_t)n * 8 >> (8 * i);
  for (size_t o = 0; o < t; o += 64) { uint32_t w[80]; for (int i = 0; i < 16; i++) w[i] = m[o + 4 * i] << 24 | m[o + 4 * i + 1] << 16 | m[o + 4 * i + 2] << 8 | m[o + 4 * i + 3];
    for (int i = 16; i < 80; i++) w[i] = ROL(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = h[0], b = h[1], c = h[2], e_ = h[3], e = h[4];
    for (int i = 0; i < 80; i++) { uint32_t f, k; if (i < 20) { f = (b & c) | (~b & e_); k = 0x5A827999; } else if (i < 40) { f = b ^ c ^ e_; k = 0x6ED9EBA1; } else if (i < 60) { f = (b & c) | (b & e_) | (c & e_); k = 0x8F1BBCDC; } else { f = b ^ c ^ e_; k = 0xCA62C1D6; }
      uint32_t x = ROL(a, 5) + f + e + k + w[i]; e = e_; e_ = c; c = ROL(b, 30); b = a; a = x; }
    h[0] += a; h[1] += b; h[2] += c; h[3] += e_; h[4] += e; }
  for (int i = 0; i < 5; i++) for (int k = 0; k < 4; k++) out[4 * i + k] = h[i] >> (24 - 8 * k);
}
static void b64(const uint8_t *d, char *o) { static const char *T = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"; int i, j = 0;
  for (i = 0; i + 2 < 20; i += 3) { uint32_t v = d[i] << 16 | d[i + 1] << 8 | d[i + 2]; o[j++] = T[v >> 18]; o[j++] = T[v >> 12 & 63]; o[j++] = T[v >> 6 & 63]; o[j++] = T[v & 63]; }
  uint32_t v = d[18] << 16 | d[19] << 8; o[j++] = T[v >> 18]; o[j++] = T[v >> 12 & 63]; o[j++] = T[v >> 6 & 63]; o[j++] = '='; o[j] = 0; }
static void drop(int fd) { free(tab[fd].buf); memset(&tab[fd], 0, sizeof(conn)); close(fd); }
static void sendall(int fd, const char *p, size_t n) { while (n) { ssize_t w = send(fd, p, n, MSG_NOSIGNAL); if (w < 0) { if (errno == EAGAIN) { usleep(50); continue; } return; } p += w; n -= w; } }
static void *loop(void *_) {
  int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1; setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); setsockopt(l, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = host};
  if (bind(l, (void *)&a, sizeof a) || listen(l, 4096)) { perror("bind"); exit(1); }
  if (_) { printf("listening on %s:%d\n", inet_ntoa(host), port); fflush(stdout); }
  int ep = epoll_create1(0); struct epoll_event e = {.events = EPOLLIN, .data.fd = l}; epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
  static __thread char rb[READ_MAX + 16], ob[OUT_MAX]; struct epoll_event ev[1024];
  for (;;) { int n = epoll_wait(ep, ev, 1024, -1);
    for (int i = 0; i < n; i++) { int fd = ev[i].data.fd;
      if (fd == l) { for (;;) { int c = accept4(l, 0, 0, SOCK_NONBLOCK); if (c < 0) break; if (c >= tabn) { close(c); continue; } if (c >= top) top = c + 1; setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); e.events = EPOLLIN; e.data.fd = c; epoll_ctl(ep, EPOLL_CTL_ADD, c, &e); } continue; }
      conn *c = &tab[fd]; size_t have = 0; if (c->len) { memcpy(rb, c->buf, c->len); have = c->len; }
      ssize_t r = recv(fd, rb + have, READ_MAX - have, 0); if (r == 0 || (r < 0 && errno != EAGAIN)) { drop(fd); continue; } if (r < 0) continue;
      size_t len = have + r, off = 0, out = 0; int closing = 0;
      if (!c->open) { rb[len] = 0; char *end = strstr(rb, "\r\n\r\n"); if (!end) goto keep; char *k = strcasestr(rb, "sec-websocket-key:"); if (!k) { drop(fd); continue; }
        k += 18; while (*k == ' ') k++; char s[128]; int sl = strcspn(k, "\r\n "); if (sl > 40) { drop(fd); continue; } memcpy(s, k, sl); strcpy(s + sl, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"); uint8_t d[20]; char b[32]; sha1((uint8_t *)s, strlen(s), d); b64(d, b);
        out = sprintf(ob, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", b); c->open = 1; off = end + 4 - rb; if (all) { sendall(fd, ob, out); out = 0; } }
      while (len - off >= 6) { uint8_t *p = (uint8_t *)rb + off; uint64_t pl = p[1] & 127; int h = 2; if (pl == 126) { if (len - off < 8) break; pl = p[2] << 8 | p[3]; h = 4; } else if (pl == 127) { if (len - off < 14) break; pl = 0; for (int q = 2; q < 10; q++) pl = pl << 8 | p[q]; h = 10; }
        if (len - off < h + 4 + pl || out + 10 + pl > sizeof ob) break;
        memcpy(ob + out, p, h); ob[out + 1] &= 127; if (p[0] & 8) { if (p[0] == 0x89) ob[out] = (char)0x8A; else if (p[0] == 0x88) closing = 1; } out += h; uint32_t m; memcpy(&m, p + h, 4); uint64_t M = m | (uint64_t)m << 32; char *src = (char *)p + h + 4, *dst = ob + out; size_t q = 0; for (; q + 8 <= pl; q += 8) { uint64_t v; memcpy(&v, src + q, 8); v ^= M; memcpy(dst + q, &v, 8); } for (; q < pl; q++) dst[q] = src[q] ^ ((char *)&m)[q & 3];
        out += pl; off += h + 4 + pl; if (all && p[0] & 8) { sendall(fd, ob + out - h - pl, h + pl); out -= h + pl; } if (closing) break; }
      if (!out) {} else if (!all) sendall(fd, ob, out); else for (int x = 0; x < top; x++) if (tab[x].open) sendall(x, ob, out);
      if (closing) { drop(fd); continue; }
    keep: { size_t left = len - off; if (left) { if (c->cap < left) { c->buf = realloc(c->buf, left); c->cap = left; } memcpy(c->buf, rb + off, left); } else if (c->buf) { free(c->buf); c->buf = 0; c->cap = 0; } c->len = left; }
    } }
}
static void usage(void) { fprintf(stderr, "usage: floor PORT|--listen HOST:PORT [THREADS [all]] [--broadcast] (neither TLS nor compression)\n"); exit(2); }
static void address(char *a) { char *colon = strrchr(a, ':'); if (!colon) usage(); *colon = 0; port = atoi(colon + 1);
  if (!strcmp(a, "localhost")) a = "127.0.0.1";
  if (*a && !inet_aton(a, &host)) { fprintf(stderr, "floor: %s is no IPv4 address\n", a); exit(2); } }
int main(int c, char **v) { if (c > 2 && !strcmp(v[c - 1], "--broadcast")) { all = 1; c--; } if (c < 2) usage(); if (strcmp(v[1], "--listen")) port = atoi(v[1]); else { if (c < 3) usage(); address(v[2]); v++; c--; }
  int t = c > 2 ? atoi(v[2]) : 1; if (c > 3) { if (strcmp(v[3], "all")) usage(); all = 1; } if (t < 1 || c > 4) usage(); struct rlimit rl; getrlimit(RLIMIT_NOFILE, &rl); rl.rlim_cur = rl.rlim_max; setrlimit(RLIMIT_NOFILE, &rl); tabn = rl.rlim_max < 1 << 22 ? (int)rl.rlim_max : 1 << 22; tab = calloc(tabn, sizeof *tab);
  for (int i = 1; i < t; i++) { pthread_t p; pthread_create(&p, 0, loop, 0); } loop(tab); }
