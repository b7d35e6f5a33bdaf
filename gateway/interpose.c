/* Gives CivetWeb's workers their connections.
 *
 * CivetWeb owns a connection from accept to close, a thread for each, and has no call that hands
 * one over. So its listening socket is replaced by one end of a SOCK_SEQPACKET pair, and the
 * executable interposes accept for such a socket: what is accepted is the descriptor that came
 * through the pair, with its number as the peer's port. No process-wide state is needed, and every
 * other accept is the C library's. Whether CivetWeb really calls it is asked at every start: see
 * gate_start. */
#include "gateway/gate.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default"), used))

typedef int (*accept_fn)(int fd, struct sockaddr *address, socklen_t *len);

/* The descriptor in a message of one uint16_t; -1 with errno. */
static int receive(int fd, uint16_t *id)
{
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec data = {id, sizeof *id};
    struct msghdr msg = {.msg_iov = &data,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    int received = -1;
    ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (head && head->cmsg_type == SCM_RIGHTS)
        memcpy(&received, CMSG_DATA(head), sizeof received);
    if (received >= 0 && n == (ssize_t)sizeof *id)
        return received;
    if (received >= 0)
        close(received);
    if (n >= 0)
        errno = ECONNABORTED;
    return -1;
}

static int accept_lane(int fd, struct sockaddr *address, socklen_t *len)
{
    struct sockaddr_in peer = {.sin_family = AF_INET};
    uint16_t id;
    int lane = receive(fd, &id);
    if (lane < 0)
        return -1;
    inet_pton(AF_INET, GATE_LANE_ADDRESS, &peer.sin_addr);
    peer.sin_port = htons(id);
    if (address && len) {
        memcpy(address, &peer, *len < sizeof peer ? *len : sizeof peer);
        *len = sizeof peer;
    }
    return lane;
}

EXPORTED int accept(int fd, struct sockaddr *address, socklen_t *len)
{
    static _Atomic(accept_fn) real;
    int type = 0;
    socklen_t type_len = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_SEQPACKET)
        return accept_lane(fd, address, len);
    if (!real)
        real = (accept_fn)dlsym(RTLD_NEXT, "accept");
    return real(fd, address, len);
}
