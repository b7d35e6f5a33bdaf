#include "base/debug.h"

#ifdef SCEPTER_DEBUG

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct debug_page *page;

static void map(void)
{
    const char *path = getenv("SCEPTER_DEBUG");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    page = at == MAP_FAILED ? NULL : at;
}

void debug_boundary(const char *name)
{
    pthread_once(&once, map);
    if (page && strncmp(page->boundary, name, sizeof page->boundary) == 0 &&
        __atomic_fetch_sub(&page->skip, 1, __ATOMIC_SEQ_CST) == 0)
        kill(getpid(), SIGKILL);
}

int64_t debug_clock_shift(void)
{
    pthread_once(&once, map);
    return page ? __atomic_load_n(&page->clock_shift, __ATOMIC_SEQ_CST) : 0;
}

#endif
