#include "gateway/service.h"

#include <stdint.h>
#include <systemd/sd-daemon.h>

void service_notify(const char *state)
{
    sd_notify(0, state);
}

void service_reloading(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
               (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void service_heartbeat(struct timespec *ret)
{
    uint64_t us = 0;
    if (sd_watchdog_enabled(0, &us) <= 0 || !us)
        return;
    ret->tv_sec = (time_t)(us / 2 / 1000000);
    ret->tv_nsec = (long)(us / 2 % 1000000 * 1000);
}

int service_sockets(int *first)
{
    int count = sd_listen_fds(0);
    *first = SD_LISTEN_FDS_START;
    return count < 0 ? 0 : count;
}
