#include "ra/policy.h"

#include "base/clock.h"

#define CLOCK_SKEW_SECONDS 300

bool policy_check_issued(const struct cfg_profile *profile, const struct csr *csr,
                         const struct cert *cert, const struct cfg_certs *chain, struct err *err)
{
    int64_t now = clock_now();
    const struct names *issued = cert_names_get(cert), *asked = csr_wanted_get(csr);
    struct trust_terms terms = {
        .extra = chain ? chain->items : NULL,
        .extra_count = chain ? chain->count : 0,
        .at = now,
    };
    if (!spki_equal(cert_spki_get(cert), csr_spki_get(csr)))
        return err_set(err, ERR_UPSTREAM, "the CA issued for another public key");
    if (!names_subject_equal(issued, asked))
        return err_set(err, ERR_UPSTREAM, "the CA issued for \"%s\" instead of \"%s\"",
                       issued->subject_text, asked->subject_text);
    if (!names_san_equal(issued, asked))
        return err_set(err, ERR_UPSTREAM, "the CA issued with other SANs than were asked for");
    if (cert_is_ca(cert))
        return err_set(err, ERR_UPSTREAM, "the CA issued a CA certificate");
    if (cert_not_before_get(cert) > now + CLOCK_SKEW_SECONDS || cert_not_after_get(cert) <= now)
        return err_set(err, ERR_UPSTREAM, "the CA issued a certificate that is not valid now");
    if (terms.at < cert_not_before_get(cert))
        terms.at = cert_not_before_get(cert); /* within the skew */
    if (!trust_check(profile->trust, cert, &terms, err)) {
        err->kind = ERR_UPSTREAM;
        return false;
    }
    return true;
}
