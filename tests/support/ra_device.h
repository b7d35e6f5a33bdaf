/* A device of a world that asks with the fixed challenge, and asks again. */
#ifndef TESTS_SUPPORT_RA_DEVICE_H
#define TESTS_SUPPORT_RA_DEVICE_H

#include "tests/support/ra_world.h"

struct device {
    struct world *w;
    struct fake_ca *ca;
    struct csr *csr;
    struct ra_request request;
    char id[RA_ID_LEN + 1]; /* of its request, once it is pending */
};

struct device device_open(struct world *w);
/* One whose request the CA answers with submit, which leaves it pending. */
struct device device_pending(struct world *w, enum up_result submit, unsigned caps);
void device_close(struct device *d);

/* When the next try is due. */
int64_t next_at(const struct device *d);
/* Then it is, and one driver sweeps. */
void sweep_due(const struct device *d);
/* The row's reason holds the text. */
void check_reason(const struct device *d, const char *text);

#endif
