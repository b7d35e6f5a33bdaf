/* Listening sockets: made here, or handed over by the service manager. */
#ifndef GATEWAY_LISTEN_H
#define GATEWAY_LISTEN_H

#include "config/config.h"

struct listen_socket {
    int fd;
    bool inherited; /* the service manager keeps it open across our restarts */
    char *path;     /* of a unix socket that we made; else NULL */
};

/* The socket for a listener's URL: one of those that the service manager handed over
 * (sd_listen_fds) if it is bound to that address, else a new one. The caller owns ret->fd. */
bool listen_open(const struct cfg_url *url, struct listen_socket *ret, struct err *err) MUST_USE;

/* From now on a TCP socket begins no new handshake; what is connected or halfway there can still be
 * accepted. A client that knocks knocks again after a second, on a new process's socket perhaps. A
 * unix socket has no halfway, and is left as it is. */
void listen_deafen(int fd);

/* Whether a TCP handshake with this socket has begun and not ended; false if /proc does not tell.
 * Takes some 2 us for each TCP socket of the system. */
bool listen_halfway(int fd);

/* Before the last connections are accepted: nobody connects to a unix socket any more. A poll of it
 * says from now on that there is something to accept. */
void listen_shut(int fd);

/* At the end, when the socket itself is closed: removes its file. */
void listen_forget(struct listen_socket *socket);

#endif
