#include "base/child.h"

#include "base/clock.h"
#include "base/debug.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUT = 0, ERRORS, PIPES };

/* One that runs. */
struct child {
    pid_t pid;
    int pidfd;
    int pipes[PIPES]; /* -1: at its end */
};

static bool pipes_open(int ends[PIPES][2])
{
    for (int i = 0; i < PIPES; i++)
        if (pipe2(ends[i], O_CLOEXEC) != 0)
            return false;
    return true;
}

static void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Of us it has its own two pipes and nothing else; signals are as a program expects them. */
static int spawn(const struct child_call *call, int ends[PIPES][2], pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[OUT][1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[ERRORS][1], STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF);
    /* posix_spawn does not write to what these point to. */
    int code = posix_spawn(pid, call->argv[0], &actions, &attr, (char *const *)call->argv,
                           (char *const *)call->env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return code;
}

static bool start(const struct child_call *call, struct child *child, struct err *err)
{
    int ends[PIPES][2] = {{-1, -1}, {-1, -1}};
    int code = pipes_open(ends) ? spawn(call, ends, &child->pid) : errno;
    for (int i = 0; i < PIPES; i++) {
        fd_close(&ends[i][1]);
        child->pipes[i] = ends[i][0];
        if (code == 0)
            (void)fcntl(ends[i][0], F_SETFL, O_NONBLOCK);
        else
            fd_close(&child->pipes[i]);
    }
    if (code != 0) {
        err_set(err, ERR_LOCAL, "%s does not start: %s", call->argv[0], strerror(code));
        return false;
    }
    child->pidfd = pidfd_open(child->pid, 0);
    return true;
}

/* Takes what is there. Standard error beyond its ceiling is dropped; standard output is not. */
static bool drain(int *fd, struct buf *out, bool strict)
{
    uint8_t part[1024];
    ssize_t n;
    while (*fd >= 0 && (n = read(*fd, part, sizeof part)) != -1) {
        if (n == 0)
            fd_close(fd);
        else if (!buf_add(out, bytes_of(part, (size_t)n)) && strict)
            return false;
    }
    return true;
}

/* Until it ends. False: it took too long or printed too much. */
static bool attend(struct child *child, const struct child_call *call, struct child_reply *reply,
                   struct err *err)
{
    for (;;) {
        struct pollfd fds[] = {{child->pidfd, POLLIN, 0},
                               {child->pipes[OUT], POLLIN, 0},
                               {child->pipes[ERRORS], POLLIN, 0}};
        int64_t left = call->deadline - clock_mono_ms();
        if (left <= 0)
            return err_set(err, ERR_UPSTREAM, "%s took too long", call->argv[0]);
        if (poll(fds, 3, (int)left) < 0 && errno != EINTR)
            return err_set(err, ERR_LOCAL, "%s: %s", call->argv[0], strerror(errno));
        if (!drain(&child->pipes[OUT], &reply->out, true))
            return err_set(err, ERR_UPSTREAM, "%s prints too much", call->argv[0]);
        (void)drain(&child->pipes[ERRORS], &reply->errors, false);
        if (fds[0].revents)
            return true;
    }
}

enum child_result child_run(const struct child_call *call, struct child_reply *reply,
                            struct err *err)
{
    struct child child = {.pidfd = -1};
    int status = 0;
    child_reply_clear(reply);
    reply->out.max = reply->errors.max = call->output_max;
    if (!start(call, &child, err))
        return CHILD_NOT_STARTED;
    bool ended = child.pidfd >= 0 && attend(&child, call, reply, err);
    if (child.pidfd < 0)
        err_set(err, ERR_LOCAL, "%s cannot be watched", call->argv[0]);
    if (!ended)
        kill(-child.pid, SIGKILL);
    debug_boundary("exchanged");
    while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (ended && !drain(&child.pipes[OUT], &reply->out, true))
        ended = err_set(err, ERR_UPSTREAM, "%s prints too much", call->argv[0]);
    fd_close(&child.pidfd);
    fd_close(&child.pipes[OUT]);
    fd_close(&child.pipes[ERRORS]);
    if (!ended)
        return CHILD_CUT;
    if (!WIFEXITED(status)) {
        err_set(err, ERR_UPSTREAM, "%s was killed by signal %d", call->argv[0], WTERMSIG(status));
        return CHILD_CUT;
    }
    reply->code = WEXITSTATUS(status);
    return CHILD_ENDED;
}

void child_reply_clear(struct child_reply *reply)
{
    buf_free(&reply->out);
    buf_free(&reply->errors);
    *reply = (struct child_reply){0};
}
