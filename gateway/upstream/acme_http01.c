#include "gateway/upstream/acme_http01.h"

#include "base/clock.h"
#include "base/net.h"
#include "config/read.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEERS_MAX 32
#define REQUEST_MAX 2048
#define PEER_MS 5000
#define TOKEN_MAX 128
#define WELL_KNOWN "/.well-known/acme-challenge/"

struct peer {
    int fd; /* -1: none */
    int64_t end;
    size_t len;
    char request[REQUEST_MAX];
};

struct http01 {
    char *thumbprint;
    int listener, stop;
    pthread_t thread;
    struct peer peers[PEERS_MAX];
};

static bool address_parse(const char *text, struct net_addr *ret)
{
    char host[NET_TEXT_MAX] = "";
    long port = 0;
    bool v6 = text[0] == '[';
    const char *start = text + v6, *end = strchr(start, v6 ? ']' : ':');
    const char *colon = end ? end + v6 : NULL;
    size_t len = end ? (size_t)(end - start) : sizeof host;
    if (len >= sizeof host || *colon != ':' || !cfg_number(colon + 1, 65535, &port) || !port)
        return false;
    memcpy(host, start, len);
    if (!net_addr_parse(host, ret))
        return false;
    ret->port = (uint16_t)port;
    return true;
}

const char *http01_check(const char *address, char **stored)
{
    struct net_addr ignored;
    (void)stored;
    return address_parse(address, &ignored) ? NULL : "is no address with a port";
}

bool http01_token_fits(struct bytes token)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    bool fits = token.len && token.len <= TOKEN_MAX;
    for (size_t i = 0; i < token.len && fits; i++)
        fits = token.ptr[i] && strchr(alphabet, token.ptr[i]);
    return fits;
}

bool http01_parse(struct bytes line, struct bytes *token)
{
    struct bytes cur = line, word, path;
    if (!bytes_take_until(&cur, ' ', &word) || !bytes_equal_str(word, "GET") ||
        !bytes_take_until(&cur, ' ', &path) || !bytes_starts(bytes_trim(cur), "HTTP/1.") ||
        !bytes_starts(path, WELL_KNOWN) || !bytes_take(&path, strlen(WELL_KNOWN), &word) ||
        !http01_token_fits(path))
        return false;
    *token = path;
    return true;
}

static void peer_close(struct peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
}

/* One short answer, which fits into any socket's buffer. */
static void answer(const struct http01 *http01, struct peer *peer)
{
    struct bytes cur = bytes_of(peer->request, peer->len), line, token;
    struct buf out = {0};
    bool ok;
    bytes_take_until(&cur, '\n', &line);
    if (http01_parse(line, &token))
        ok = buf_add_fmt(&out,
                         "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                         "Content-Length: %zu\r\nConnection: close\r\n\r\n%.*s.%s",
                         token.len + 1 + strlen(http01->thumbprint), (int)token.len,
                         (const char *)token.ptr, http01->thumbprint);
    else
        ok = buf_add_str(&out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"
                               "Connection: close\r\n\r\n");
    if (ok)
        (void)!send(peer->fd, out.ptr, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    buf_free(&out);
    shutdown(peer->fd, SHUT_WR);
    peer_close(peer);
}

static void peer_read(const struct http01 *http01, struct peer *peer)
{
    ssize_t n = recv(peer->fd, peer->request + peer->len, REQUEST_MAX - peer->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        peer_close(peer);
        return;
    }
    peer->len += (size_t)n;
    bool whole = memmem(peer->request, peer->len, "\r\n\r\n", 4);
    if (whole)
        answer(http01, peer);
    else if (peer->len == REQUEST_MAX)
        peer_close(peer);
}

/* When there is no room, the one that has been there longest makes it. */
static void accept_peer(struct http01 *http01)
{
    int fd = accept4(http01->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct peer *place = &http01->peers[0];
    if (fd < 0)
        return;
    for (size_t i = 0; i < PEERS_MAX; i++) {
        struct peer *peer = &http01->peers[i];
        if (place->fd >= 0 && (peer->fd < 0 || peer->end < place->end))
            place = peer;
    }
    peer_close(place);
    place->fd = fd;
    place->len = 0;
    place->end = clock_mono_ms() + PEER_MS;
}

static void *http01_main(void *arg)
{
    struct http01 *http01 = arg;
    struct pollfd fds[PEERS_MAX + 2];
    for (;;) {
        fds[0] = (struct pollfd){.fd = http01->stop, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = http01->listener, .events = POLLIN};
        for (size_t i = 0; i < PEERS_MAX; i++)
            fds[i + 2] = (struct pollfd){.fd = http01->peers[i].fd, .events = POLLIN};
        (void)poll(fds, PEERS_MAX + 2, 1000);
        if (fds[0].revents)
            return NULL;
        for (size_t i = 0; i < PEERS_MAX; i++) {
            struct peer *peer = &http01->peers[i];
            if (peer->fd >= 0 && fds[i + 2].revents)
                peer_read(http01, peer);
            if (peer->fd >= 0 && peer->end < clock_mono_ms())
                peer_close(peer);
        }
        if (fds[1].revents)
            accept_peer(http01);
    }
}

static int listener_open(const struct net_addr *address)
{
    static const int on = 1;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } to = {0};
    bool v4 = address->family == NET_V4;
    if (v4) {
        to.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(address->port)};
        memcpy(&to.v4.sin_addr, address->bytes, sizeof to.v4.sin_addr);
    } else {
        to.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(address->port)};
        memcpy(&to.v6.sin6_addr, address->bytes, sizeof to.v6.sin6_addr);
    }
    int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
        bind(fd, &to.any, v4 ? sizeof to.v4 : sizeof to.v6) == 0 && listen(fd, PEERS_MAX) == 0)
        return fd;
    close(fd);
    return -1;
}

bool http01_start(const char *address, const char *thumbprint, struct http01 **ret, struct err *err)
{
    struct net_addr to;
    struct http01 *http01 = mem_zalloc(sizeof *http01);
    for (size_t i = 0; i < PEERS_MAX; i++)
        http01->peers[i].fd = -1;
    http01->thumbprint = mem_strdup(thumbprint);
    http01->stop = eventfd(0, EFD_CLOEXEC);
    http01->listener = address_parse(address, &to) ? listener_open(&to) : -1;
    bool ok = http01->listener >= 0 && http01->stop >= 0;
    if (!ok)
        err_set(err, ERR_LOCAL, "cannot listen on %s: %s", address, strerror(errno));
    else if (pthread_create(&http01->thread, NULL, http01_main, http01) != 0)
        ok = err_set(err, ERR_LOCAL, "no thread to answer challenges");
    if (ok) {
        *ret = http01;
        return true;
    }
    if (http01->listener >= 0)
        close(http01->listener);
    if (http01->stop >= 0)
        close(http01->stop);
    free(http01->thumbprint);
    free(http01);
    return false;
}

void http01_stop(struct http01 *http01)
{
    static const uint64_t one = 1;
    if (!http01)
        return;
    (void)!write(http01->stop, &one, sizeof one);
    pthread_join(http01->thread, NULL);
    for (size_t i = 0; i < PEERS_MAX; i++)
        peer_close(&http01->peers[i]);
    close(http01->listener);
    close(http01->stop);
    free(http01->thumbprint);
    free(http01);
}
