#include "config/read.h"
#include "config/table.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define HOUR INT64_C(3600)
#define RATE_MAX 1000000

bool cfg_read_rate(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    static const struct {
        const char *unit;
        int64_t seconds;
    } units[] = {{"/s", 1},    {"/sec", 1},     {"/m", 60},        {"/min", 60},
                 {"/h", HOUR}, {"/hour", HOUR}, {"/d", 24 * HOUR}, {"/day", 24 * HOUR}};
    struct rate *rate = field;
    const char *text = node->kind == CFG_NODE_SCALAR ? node->text : "";
    struct bytes rest = bytes_str(text), digits;
    bytes_take_until(&rest, '/', &digits);
    char *number = bytes_to_str(digits);
    long count = 0;
    bool ok = number && cfg_number(number, RATE_MAX, &count) && count > 0;
    free(number);
    for (size_t i = 0; ok && i < sizeof units / sizeof units[0]; i++)
        if (strcmp(text + digits.len, units[i].unit) == 0)
            *rate = (struct rate){count, units[i].seconds};
    if (!rate->count)
        cfg_fault_value(faults, node, "is no rate",
                        "one such as 50/s, 600/min, 1000/hour or 5/day");
    return rate->count;
}

const struct cfg_key cfg_line_limits[] = {
    {.name = "inflight",
     .type = CFG_INT,
     .offset = offsetof(struct cfg_line, inflight),
     .min = 1,
     .max = 256,
     .def = "8",
     .meaning = "How many requests the CA works at, at the same time."},
    {.name = "queue",
     .type = CFG_INT,
     .offset = offsetof(struct cfg_line, queue),
     .min = 1,
     .max = 100000,
     .def = "1000",
     .meaning = "How many devices' requests stand in line for it. Beyond it a device is told at "
                "once to come again; its request waits in the store."},
    {.name = "rate",
     .type = CFG_CUSTOM,
     .offset = offsetof(struct cfg_line, rate),
     .meaning = "The most requests that are sent in a time; left out: any number.",
     .form = "a rate such as 50/s or 600/min",
     .json = CFG_JSON_RATE,
     .read = cfg_read_rate},
    {.name = "wait",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_line, wait),
     .min = 0,
     .max = 60,
     .def = "8s",
     .meaning = "How long a device is kept waiting for the CA before it is told to come again."},
    {.name = "deadline",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_line, deadline),
     .min = 1,
     .max = 600,
     .def = "30s",
     .meaning = "How long one exchange with the CA may take."},
    {0},
};

const struct cfg_key cfg_line_breaker[] = {
    {.name = "failures",
     .type = CFG_INT,
     .offset = offsetof(struct cfg_line, failures),
     .min = 1,
     .max = 1000,
     .def = "5",
     .meaning = "After so many failures in a row the CA is left alone; devices are told to come "
                "again."},
    {.name = "open",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_line, open_seconds),
     .min = 1,
     .max = HOUR,
     .def = "30s",
     .meaning = "After this time the CA is probed, and then one request is tried."},
    {0},
};
