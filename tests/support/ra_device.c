#include "tests/support/ra_device.h"

#include <string.h>

struct device device_open(struct world *w)
{
    struct device d = {.w = w, .ca = &w->ca[0], .csr = world_csr("CN=r1", "DNS:a", w->key)};
    d.request = world_enroll(w, d.csr);
    d.request.txn = bytes_str("transaction-1");
    return d;
}

void device_close(struct device *d)
{
    csr_free(d->csr);
}

struct device device_pending(struct world *w, enum up_result submit, unsigned caps)
{
    struct device d = device_open(w);
    d.ca->submit = submit;
    d.ca->vt.caps = caps;
    world_pending(w, &d.request, d.id);
    return d;
}

int64_t next_at(const struct device *d)
{
    struct store_request row = world_row(d->w, d->id);
    int64_t at = row.next_at;
    assert_int_equal(row.lease_until, 0); /* whoever drove it has put it back */
    store_request_clear(&row);
    return at;
}

void sweep_due(const struct device *d)
{
    clock_set(next_at(d));
    assert_int_equal(world_sweep(d->w), 1);
}

void check_reason(const struct device *d, const char *text)
{
    struct store_request row = world_row(d->w, d->id);
    if (!strstr(row.reason, text))
        fail_msg("\"%s\" instead of \"%s\"", row.reason, text);
    store_request_clear(&row);
}
