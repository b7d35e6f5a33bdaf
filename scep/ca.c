#include "scep/ca.h"

#include "base/pem.h"
#include "ra/chain.h"
#include "scep/answer.h"
#include "scep/family.h"
#include "scep/terms.h"

#include <openssl/cms.h>

/* Certificates on their way into one answer. Borrowed. */
struct bag {
    struct bytes certs[SCEP_CHAIN_MAX];
    size_t count;
};

static const struct cfg_identity *ra_get(const struct scep_call *call, size_t ra)
{
    return &call->settings->cfg->ras[ra];
}

void scep_ca_caps(const struct scep_call *call, struct scep_reply *reply)
{
    const struct cfg_scep *conf = &call->profile->scep;
    reply->status = 200;
    reply->content_type = "text/plain";
    if (buf_add_str(&reply->body, scep_terms_caps(conf)) &&
        (!conf->next.given || buf_add_str(&reply->body, "GetNextCACert\n")))
        ra_note_set(&reply->note, "answered", NULL, "%s", "");
}

static void bag_add(struct bag *bag, const struct cert *cert)
{
    for (size_t i = 0; i < bag->count; i++)
        if (bytes_equal(bag->certs[i], cert_der_get(cert)))
            return;
    if (bag->count < SCEP_CHAIN_MAX)
        bag->certs[bag->count++] = cert_der_get(cert);
}

/* What signs, then what devices encrypt to: a device that looks at the first alone (RFC 8894 knows
 * no RA) verifies replies with it; others choose by keyUsage. */
static void bag_add_ra(struct bag *bag, const struct cfg_identity *ra)
{
    bag_add(bag, ra->chain.items[0]);
    if (ra->encryption.chain.count)
        bag_add(bag, ra->encryption.chain.items[0]);
}

static void bag_add_all(struct bag *bag, const struct cfg_certs *certs)
{
    for (size_t i = 0; i < certs->count; i++)
        bag_add(bag, certs->items[i]);
}

static enum cfg_told_cert place_of(const struct ra_chain *chain, size_t i)
{
    const struct cert *cert = chain->certs[i];
    bool self = bytes_equal(cert_issuer_get(cert), buf_bytes(&cert_names_get(cert)->subject));
    return i == 0 ? CFG_TOLD_ISSUER : self ? CFG_TOLD_ROOT : CFG_TOLD_INTERMEDIATES;
}

static void bag_add_told(struct bag *bag, enum cfg_told_cert what, const struct cfg_identity *ra,
                         const struct ra_chain *chain)
{
    if (what == CFG_TOLD_RA)
        bag_add(bag, ra->chain.items[0]);
    if (what == CFG_TOLD_ENCRYPTION && ra->encryption.chain.count)
        bag_add(bag, ra->encryption.chain.items[0]);
    for (size_t i = 0; i < chain->count; i++)
        if (place_of(chain, i) == what)
            bag_add(bag, chain->certs[i]);
}

/* What the profile or the client's family wants; a CA that is its own RA alone and bare. */
void scep_ca_cert(const struct scep_call *call, struct scep_reply *reply)
{
    struct bag bag = {0};
    struct ra_chain chain;
    char left_out[RA_CHAIN_TEXT_MAX];
    struct err err = {0};
    if (!ra_chain_told(call->settings, call->profile, call->profile->routes[0].upstream, &chain,
                       &err)) {
        scep_answer_fault(reply, &err);
        return;
    }
    const struct scep_family *family = scep_family_of(call, NULL, reply);
    struct cfg_told told = scep_family_told(&call->profile->scep, family);
    for (size_t i = 0; i < told.count; i++)
        bag_add_told(&bag, told.order[i], ra_get(call, call->profile->scep.ra[0]), &chain);
    reply->status = 200;
    reply->content_type =
        bag.count == 1 ? "application/x-x509-ca-cert" : "application/x-x509-ca-ra-cert";
    bool ok = bag.count == 1 ? buf_set(&reply->body, bag.certs[0])
                             : pem_certs_only_encode(bag.certs, bag.count, &reply->body);
    if (ok) {
        ra_chain_left_out(&chain, left_out);
        ra_note_set(&reply->note, "answered", NULL, "%s", left_out);
        return;
    }
    err_set(&err, ERR_LOCAL, "the CA's certificates are too large");
    scep_answer_fault(reply, &err);
}

/* SignedData around content, with the signer's certificate in it. */
static bool sign(const struct cfg_identity *ra, struct bytes content, struct buf *der,
                 struct err *err)
{
    X509 *x509 = cert_keyed_get(ra->chain.items[0]);
    BIO *in = BIO_new_mem_buf(content.ptr, (int)content.len);
    unsigned char *out = NULL;
    if (!in)
        err_no_memory();
    CMS_ContentInfo *cms =
        x509 ? CMS_sign(x509, ra->key, NULL, in, CMS_BINARY | CMS_NOSMIMECAP) : NULL;
    int len = cms ? i2d_CMS_ContentInfo(cms, &out) : 0;
    bool ok = len > 0 && buf_set(der, bytes_of(out, (size_t)len));
    OPENSSL_free(out);
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    return ok || err_openssl(err, ERR_LOCAL, "signing the next CA's certificates");
}

static bool next_encode(const struct scep_call *call, struct buf *der, struct err *err)
{
    const struct cfg_scep *conf = &call->profile->scep;
    const struct cfg_certs *given = &conf->next.certificates;
    struct ra_chain chain = {0};
    struct bag bag = {0};
    struct buf content = {0};
    if (!given->count &&
        !ra_chain_told(call->settings, call->profile, conf->next.upstream, &chain, err))
        return false;
    if (conf->next.ra_given)
        bag_add_ra(&bag, ra_get(call, conf->next.ra));
    bag_add_all(&bag, given);
    for (size_t i = 0; i < chain.count; i++)
        bag_add(&bag, chain.certs[i]);
    bool ok = pem_certs_only_encode(bag.certs, bag.count, &content) &&
              sign(ra_get(call, conf->ra[0]), buf_bytes(&content), der, err);
    buf_free(&content);
    return ok;
}

/* RFC 8894 section 4.7.1 has the CA sign. The RA does, like every other answer of this door: the
 * key of a CA behind us is not ours, and devices verify both by the RA that GetCACert told. */
void scep_ca_next(const struct scep_call *call, struct scep_reply *reply)
{
    struct err err = {0};
    if (!call->profile->scep.next.given) {
        ra_note_set(&reply->note, "refused", "no-successor", "%s",
                    "no successor of the CA is configured");
        scep_answer_http(reply, 404, "there is no next CA certificate\n");
    } else if (!next_encode(call, &reply->body, &err)) {
        /* Devices that poll (MikroTik) take an error of the server for its end. */
        scep_answer_fault(reply, &err);
        scep_answer_http(reply, 404, "there is no next CA certificate\n");
    } else {
        reply->status = 200;
        reply->content_type = "application/x-x509-next-ca-cert";
        ra_note_set(&reply->note, "answered", NULL, "%s", "");
    }
}
