/* Certificate revocation lists (RFC 5280 section 5): read, verified and boiled down to serials. */
#ifndef BASE_CRL_H
#define BASE_CRL_H

#include "base/bytes.h"

#include <openssl/x509.h>

#define CRL_MAX ((size_t)8 << 20)

/* What a list says. Immutable. */
struct crl;

/* Whose list it must be, and when. */
struct crl_terms {
    X509 *issuer;
    int64_t at;
};

/* der: untrusted, at most CRL_MAX. It must be signed with the issuer's key, which may sign CRLs, be
 * in its name, complete (no delta, not for some reasons only, not of other issuers) and valid at
 * that time; a critical extension that is not judged here refuses it. *other is set if it is in
 * another name or signed with another key: then it may be fine for another issuer. ERR_PEER. */
bool crl_parse(struct bytes der, const struct crl_terms *terms, struct crl **ret, bool *other,
               struct err *err) MUST_USE;
void crl_free(struct crl *crl); /* NULL is allowed */

int64_t crl_this_update(const struct crl *crl);
int64_t crl_next_update(const struct crl *crl);
size_t crl_size(const struct crl *crl); /* bytes of memory, about */

/* Whether a certificate of this issuer is within what the list is about (RFC 5280 section 5.2.5).
 * One that has expired is so only if the list keeps such (X.509 expiredCertsOnCRL), or was made
 * before. */
bool crl_covers(const struct crl *crl, X509 *cert, int64_t now);
bool crl_lists(const struct crl *crl, X509 *cert);

/* The http and https URLs where a certificate says that its CRLs are: calls each until it returns
 * true, which is then returned. */
bool crl_urls_each(X509 *cert, bool (*each)(const char *url, void *arg), void *arg);

#endif
