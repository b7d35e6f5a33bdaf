/* Whether certificates are revoked that others issued: by CRLs (RFC 5280) and OCSP (RFC 6960),
 * which are fetched and kept. Thread-safe. */
#ifndef BASE_REVOCATION_H
#define BASE_REVOCATION_H

#include "base/bytes.h"

#include <openssl/x509.h>

struct revocation;

enum revocation_status {
    REVOCATION_GOOD = 0, /* a source that is valid now says so */
    REVOCATION_REVOKED,
    REVOCATION_UNKNOWN, /* no source could be asked, or none knows */
    REVOCATION_STATUS_COUNT,
};

/* Where to ask. Borrowed for a call. */
struct revocation_source {
    const char *const *crl; /* URLs */
    size_t crl_count;
    const char *const *crl_under; /* URLs in the certificate that begin with one of these */
    size_t crl_under_count;
    const char *ocsp; /* URL, or NULL */
    int64_t refresh;  /* seconds after which is asked again what is still valid */
};

/* What is asked. issuer is known to have issued subject; its key is what counts. */
struct revocation_pair {
    X509 *subject, *issuer;
};

enum revocation_fetched {
    REVOCATION_CRL = 0,
    REVOCATION_OCSP,
    REVOCATION_FETCHED_COUNT,
};

struct revocation_counts {
    uint64_t checks[REVOCATION_STATUS_COUNT];
    uint64_t fetches[REVOCATION_FETCHED_COUNT][2]; /* failed, fine */
    uint64_t allowed;                              /* see revocation_allowed */
    size_t crls, crl_bytes, answers;               /* that are kept now */
};

/* told hears, on threads of its own, why a source could not be used; may be NULL. */
bool revocation_new(void (*told)(const char *url, const struct err *err), struct revocation **ret,
                    struct err *err) MUST_USE;
/* Nobody uses it any more. Waits for fetches that run. NULL is allowed. */
void revocation_free(struct revocation *revocation);

/* Waits for what must be fetched first until the deadline (clock_mono_ms), and not at all for a
 * source that failed a moment ago or while many wait. why: who says so, or why it is not known. A
 * certificate that has expired counts as good only by a source that says that it keeps those. */
enum revocation_status revocation_check(struct revocation *revocation,
                                        const struct revocation_source *source,
                                        const struct revocation_pair *pair, int64_t deadline,
                                        struct err *why);
/* Fetches the CRLs of the source that this CA issues, so that nobody waits for them, and keeps
 * doing so as long as they are used or watched again. */
void revocation_watch(struct revocation *revocation, const struct revocation_source *source,
                      X509 *issuer);

/* A certificate was let pass unchecked: counts it. */
void revocation_allowed(struct revocation *revocation);
void revocation_counts_get(struct revocation *revocation, struct revocation_counts *ret);

const char *revocation_status_name(
    enum revocation_status status); /* "good", "revoked", "unknown" */

#endif
