#include "tests/support/scep_peer.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_SECONDS 60
#define HEAD_MAX ((size_t)16 << 10)

static bool copy_text(struct bytes in, char *out, size_t size)
{
    if (in.len >= size)
        return false;
    if (in.len)
        memcpy(out, in.ptr, in.len);
    out[in.len] = '\0';
    return true;
}

bool peer_url_parse(const char *text, struct peer_url *ret)
{
    struct bytes cur = bytes_str(text), scheme, authority, host;
    *ret = (struct peer_url){.port = "80"};
    if (!bytes_starts(cur, "http://") || !bytes_take(&cur, strlen("http://"), &scheme))
        return false;
    bytes_take_until(&cur, '/', &authority);
    if (bytes_take_until(&authority, ':', &host) &&
        !copy_text(authority, ret->port, sizeof ret->port))
        return false;
    ret->path[0] = '/';
    return copy_text(host, ret->host, sizeof ret->host) && host.len > 0 &&
           copy_text(cur, ret->path + 1, sizeof ret->path - 1);
}

static int connect_to(const struct peer_url *url, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    struct timeval limit = {.tv_sec = TIMEOUT_SECONDS};
    int fd = -1;
    if (getaddrinfo(url->host, url->port, &hints, &found) == 0)
        fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    }
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        err_set(err, ERR_UPSTREAM, "connecting to %s:%s: %s", url->host, url->port,
                strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    if (found)
        freeaddrinfo(found);
    return fd;
}

static bool send_all(int fd, struct bytes data, struct err *err)
{
    struct bytes sent;
    while (data.len) {
        ssize_t n = send(fd, data.ptr, data.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) /* it was stopped, and goes on */
            continue;
        if (n <= 0 || !bytes_take(&data, (size_t)n, &sent))
            return err_set(err, ERR_UPSTREAM, "sending: %s", strerror(errno));
    }
    return true;
}

static bool receive_all(int fd, struct buf *reply, struct err *err)
{
    uint8_t chunk[4096];
    for (;;) {
        ssize_t n = recv(fd, chunk, sizeof chunk, 0);
        if (n == 0)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, ERR_UPSTREAM, "%sreceiving: %s",
                           reply->len ? "partial reply: " : "", strerror(errno));
        if (!buf_add(reply, bytes_of(chunk, (size_t)n)))
            return err_set(err, ERR_PEER, "a reply of more than %zu bytes", reply->max);
    }
}

/* The value of a header line of that name; empty if there is none. */
static struct bytes header_find(struct bytes head, const char *name)
{
    while (head.len) {
        struct bytes line, key;
        bytes_take_until(&head, '\n', &line);
        if (bytes_take_until(&line, ':', &key) && bytes_equal_nocase(key, name))
            return bytes_trim(line);
    }
    return (struct bytes){0};
}

/* HTTP/1.1 with Content-Length and without chunks, which is all that the gateway sends. */
static bool parse_reply(struct bytes text, struct peer_http *reply, struct err *err)
{
    char status[4] = "", length[16] = "";
    const uint8_t *end = text.len ? memmem(text.ptr, text.len, "\r\n\r\n", 4) : NULL;
    struct bytes head, blank;
    if (text.len == 0)
        return err_set(err, ERR_UPSTREAM, "the connection was closed without a reply");
    if (!end || !bytes_take(&text, (size_t)(end - text.ptr), &head) ||
        !bytes_take(&text, 4, &blank))
        return err_set(err, ERR_UPSTREAM, "partial reply: %zu bytes of a head", text.len);
    if (!bytes_starts(head, "HTTP/1.1 ") || head.len < 12 ||
        !copy_text(bytes_of(head.ptr + 9, 3), status, sizeof status) ||
        !copy_text(header_find(head, "Content-Type"), reply->type, sizeof reply->type) ||
        !copy_text(header_find(head, "Content-Length"), length, sizeof length) || !length[0])
        return err_set(err, ERR_PEER, "a reply whose head is not understood");
    size_t want = (size_t)strtoul(length, NULL, 10);
    reply->status = (int)strtol(status, NULL, 10);
    if (text.len < want)
        return err_set(err, ERR_UPSTREAM, "partial reply: %zu of %zu bytes", text.len, want);
    if (text.len > want)
        return err_set(err, ERR_PEER, "%zu bytes behind the reply", text.len - want);
    return buf_set(&reply->body, text) || err_set(err, ERR_PEER, "a reply of %zu bytes", text.len);
}

bool peer_http(const struct peer_url *url, const char *query, struct bytes body,
               struct peer_http *reply, struct err *err)
{
    struct buf out = {0}, in = BUF_INIT(PEER_BODY_MAX + HEAD_MAX);
    *reply = (struct peer_http){.body = BUF_INIT(PEER_BODY_MAX)};
    bool ok = buf_add_fmt(&out, "%s %s?%s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n",
                          body.ptr ? "POST" : "GET", url->path, query, url->host, url->port) &&
              (!body.ptr || buf_add_fmt(&out,
                                        "Content-Type: application/x-pki-message\r\n"
                                        "Content-Length: %zu\r\n",
                                        body.len)) &&
              buf_add_str(&out, "\r\n") && buf_add(&out, body);
    if (!ok)
        err_no_memory();
    int fd = connect_to(url, err);
    ok = fd >= 0 && send_all(fd, buf_bytes(&out), err) && receive_all(fd, &in, err) &&
         parse_reply(buf_bytes(&in), reply, err);
    if (fd >= 0)
        close(fd);
    buf_free(&out);
    buf_free(&in);
    return ok;
}

void peer_http_clear(struct peer_http *reply)
{
    buf_free(&reply->body);
    *reply = (struct peer_http){0};
}
