#include "scep/ca.h"

#include "base/pem.h"
#include "scep/answer.h"

/* The CA of the profile's first route: its certificates, issuer of leaves first. */
bool scep_ca_chain(const struct scep_call *call, size_t upstream, const struct cfg_certs **ret,
                   struct err *err)
{
    struct upstream *up = call->settings->upstreams[upstream];
    *ret = NULL;
    if (up->vt->chain)
        return up->vt->chain(up, ret, err) && *ret;
    err_set(err, ERR_LOCAL, "upstream %s has no certificates", up->name);
    return false;
}

const struct cfg_identity *scep_ca_ra(const struct scep_call *call, size_t i)
{
    return &call->settings->cfg->ras[call->profile->scep.ra[i]];
}

/* RFC 8894 section 3.5.2. SHA-384 is no keyword of it: strongSwan 5.9 uses AES only if it is there.
 */
void scep_ca_caps(const struct scep_call *call, struct scep_reply *reply)
{
    static const char *const always =
        "POSTPKIOperation\nRenewal\nSHA-256\nSHA-384\nSHA-512\nAES\nSCEPStandard\n";
    bool legacy = call->profile->scep.legacy == CFG_LEGACY_DES3_SHA1;
    reply->status = 200;
    reply->content_type = "text/plain";
    if (buf_add_str(&reply->body, always) &&
        (!legacy || buf_add_str(&reply->body, "DES3\nSHA-1\n")))
        ra_note_set(&reply->note, "answered", NULL, "%s", "");
}

/* RA first, then the CA chain, issuer first; a CA that is its own RA alone and bare. */
void scep_ca_cert(const struct scep_call *call, struct scep_reply *reply)
{
    struct bytes certs[SCEP_CHAIN_MAX];
    size_t count = 0;
    const struct cfg_certs *chain;
    struct err err = {0};
    if (!scep_ca_chain(call, call->profile->routes[0].upstream, &chain, &err)) {
        scep_answer_fault(reply, &err);
        return;
    }
    certs[count++] = cert_der_get(scep_ca_ra(call, 0)->chain.items[0]);
    for (size_t i = 0; i < chain->count && count < SCEP_CHAIN_MAX; i++)
        if (!bytes_equal(cert_der_get(chain->items[i]), certs[0]))
            certs[count++] = cert_der_get(chain->items[i]);
    reply->status = 200;
    reply->content_type =
        count == 1 ? "application/x-x509-ca-cert" : "application/x-x509-ca-ra-cert";
    bool ok = count == 1 ? buf_set(&reply->body, certs[0])
                         : pem_certs_only_encode(certs, count, &reply->body);
    if (ok) {
        ra_note_set(&reply->note, "answered", NULL, "%s", "");
        return;
    }
    err_set(&err, ERR_LOCAL, "the CA's certificates are too large");
    scep_answer_fault(reply, &err);
}
