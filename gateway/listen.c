#include "gateway/listen.h"

#include "base/net.h"
#include "gateway/service.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096
#define UNIX_MODE 0660

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static bool address_of(const struct cfg_url *url, union any_address *ret, socklen_t *len)
{
    struct net_addr address;
    memset(ret, 0, sizeof *ret);
    if (url->local) {
        ret->local.sun_family = AF_UNIX;
        *len = sizeof ret->local;
        return snprintf(ret->local.sun_path, sizeof ret->local.sun_path, "%s", url->host) <
               (int)sizeof ret->local.sun_path;
    }
    if (!net_addr_parse(url->host, &address))
        return false;
    if (address.family == NET_V4) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons(url->port);
        memcpy(&ret->v4.sin_addr, address.bytes, sizeof ret->v4.sin_addr);
        *len = sizeof ret->v4;
    } else {
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons(url->port);
        memcpy(&ret->v6.sin6_addr, address.bytes, sizeof ret->v6.sin6_addr);
        *len = sizeof ret->v6;
    }
    return true;
}

static bool is_bound_to(int fd, const union any_address *want)
{
    union any_address have = {0};
    socklen_t len = sizeof(int);
    int listens = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || !listens)
        return false;
    len = sizeof have;
    if (getsockname(fd, &have.any, &len) != 0 || have.any.sa_family != want->any.sa_family)
        return false;
    switch (want->any.sa_family) {
    case AF_INET:
        return have.v4.sin_port == want->v4.sin_port &&
               have.v4.sin_addr.s_addr == want->v4.sin_addr.s_addr;
    case AF_INET6:
        return have.v6.sin6_port == want->v6.sin6_port &&
               memcmp(&have.v6.sin6_addr, &want->v6.sin6_addr, sizeof have.v6.sin6_addr) == 0;
    default:
        return strncmp(have.local.sun_path, want->local.sun_path, sizeof have.local.sun_path) == 0;
    }
}

static bool inherit(const union any_address *address, struct listen_socket *ret)
{
    int first, count = service_sockets(&first);
    for (int fd = first; fd < first + count; fd++) {
        if (is_bound_to(fd, address)) {
            *ret = (struct listen_socket){.fd = fd, .inherited = true};
            return true;
        }
    }
    return false;
}

/* The file of a process that is no more; one that answers stays. */
static void remove_stale(const union any_address *address, socklen_t len)
{
    struct stat st;
    if (lstat(address->local.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, &address->any, len) != 0 && errno == ECONNREFUSED)
        unlink(address->local.sun_path);
    close(fd);
}

bool listen_open(const struct cfg_url *url, struct listen_socket *ret, struct err *err)
{
    static const int on = 1;
    union any_address address;
    socklen_t len;
    if (!address_of(url, &address, &len))
        return err_set(err, ERR_CONFIG, "cannot listen on %s: it is no address", url->host);
    if (inherit(&address, ret))
        return true;
    if (url->local)
        remove_stale(&address, len);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0;
    if (ok && !url->local)
        ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
    if (ok && address.any.sa_family == AF_INET6)
        ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0;
    ok = ok && bind(fd, &address.any, len) == 0 &&
         (!url->local || chmod(url->host, UNIX_MODE) == 0) && listen(fd, BACKLOG) == 0;
    if (!ok) {
        int why = errno;
        struct buf text = {0};
        cfg_url_text(url, &text);
        err_set(err, ERR_LOCAL, "cannot listen on %s: %s", buf_str(&text), strerror(why));
        buf_free(&text);
        if (fd >= 0)
            close(fd);
        return false;
    }
    *ret = (struct listen_socket){.fd = fd, .path = url->local ? mem_strdup(url->host) : NULL};
    return true;
}

static void address_have(int fd, union any_address *ret)
{
    socklen_t len = sizeof *ret;
    memset(ret, 0, sizeof *ret);
    (void)getsockname(fd, &ret->any, &len);
}

void listen_deafen(int fd)
{
    /* A filter of a TCP socket begins at the TCP header. */
    struct sock_filter drop[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct tcphdr, th_flags)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog filter = {sizeof drop / sizeof drop[0], drop};
    union any_address have;
    address_have(fd, &have);
    if (have.any.sa_family != AF_UNIX)
        (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

void listen_shut(int fd)
{
    union any_address have;
    address_have(fd, &have);
    if (have.any.sa_family == AF_UNIX)
        (void)shutdown(fd, SHUT_RD);
}

/* Whether a socket of this port is halfway: "  7: 0100007F:1F90 0100007F:C350 03 ...", a number,
 * the own address and port, the other's, and the state, all in hex but the first. */
static bool line_halfway(const char *line, unsigned port)
{
    const char *at = strchr(line, ':');
    at = at ? strchr(at + 1, ':') : NULL;
    if (!at || strtoul(at + 1, NULL, 16) != port)
        return false;
    at = strchr(at + 1, ':');
    at = at ? strchr(at, ' ') : NULL;
    return at && strtoul(at, NULL, 16) == TCP_SYN_RECV;
}

bool listen_halfway(int fd)
{
    union any_address have;
    address_have(fd, &have);
    bool six = have.any.sa_family == AF_INET6, found = false;
    /* Not /proc/net, which is not there where processes are all that may be seen (ProcSubset=pid).
     */
    FILE *file = have.any.sa_family == AF_UNIX
                     ? NULL
                     : fopen(six ? "/proc/self/net/tcp6" : "/proc/self/net/tcp", "re");
    char line[256];
    unsigned port = ntohs(six ? have.v6.sin6_port : have.v4.sin_port);
    while (file && !found && fgets(line, sizeof line, file))
        found = line_halfway(line, port);
    if (file)
        fclose(file);
    return found;
}

void listen_forget(struct listen_socket *socket)
{
    if (socket->path)
        unlink(socket->path);
    free(socket->path);
    socket->path = NULL;
}
