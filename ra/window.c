#include "ra/window.h"

#include "base/clock.h"

#include <openssl/x509v3.h>
#include <string.h>

#define RETRY_SECONDS 21600
#define RETRY_MIN_SECONDS 60
#define PAST_SECONDS 3600

struct search {
    const struct ra_cert_id *id;
    struct ra_window *window;
    bool found;
};

struct ra_window ra_window_of(int64_t from, int64_t to, int64_t allowed, uint32_t place)
{
    int64_t life = to > from ? to - from : 1, span = life / 3;
    if (allowed && allowed < span)
        span = allowed;
    /* A quarter wide, somewhere in the first three quarters: the last one is for who was asleep. */
    int64_t width = span / 4 > 0 ? span / 4 : 1;
    int64_t start = to - span + (span > 1 ? place % (span / 2) : 0);
    int64_t retry = life / 16;
    if (retry > RETRY_SECONDS)
        retry = RETRY_SECONDS;
    if (retry < RETRY_MIN_SECONDS)
        retry = RETRY_MIN_SECONDS;
    return (struct ra_window){.start = start, .end = start + width, .retry_after = (int)retry};
}

static bool issued_by(const struct cert *cert, struct bytes key_id)
{
    const ASN1_OCTET_STRING *aki = X509_get0_authority_key_id(cert_x509_get(cert));
    return aki && bytes_equal(bytes_of(ASN1_STRING_get0_data(aki), (size_t)ASN1_STRING_length(aki)),
                              key_id);
}

/* Two CAs may have used the serial number. */
static bool judge(const struct store_cert *row, void *arg)
{
    struct search *search = arg;
    struct cert *cert = NULL;
    struct err ignored;
    uint32_t place;
    if (!cert_parse(buf_bytes(&row->der), &cert, &ignored))
        return true;
    search->found = issued_by(cert, search->id->key_id);
    if (search->found) {
        memcpy(&place, cert_fingerprint_get(cert), sizeof place);
        *search->window = ra_window_of(row->not_before, row->not_after,
                                       search->id->profile->renewal.window, place);
    }
    if (search->found && (row->revoked_at || row->replaced_by[0])) {
        search->window->end = clock_now() - 1;
        search->window->start = search->window->end - PAST_SECONDS;
    }
    cert_free(cert);
    return !search->found;
}

bool ra_window_find(struct store *store, const struct ra_cert_id *id, struct ra_window *ret,
                    bool *found, struct err *err)
{
    struct search search = {.id = id, .window = ret};
    struct store_serial key = {id->profile->name, id->serial};
    bool ok = store->vt->cert_by_serial(store, &key, judge, &search, err);
    *found = ok && search.found;
    return ok;
}
