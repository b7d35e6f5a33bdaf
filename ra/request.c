#include "ra/request.h"

#include <openssl/evp.h>
#include <string.h>

static const char *const op_names[RA_OP_COUNT] = {
    [RA_ENROLL] = "enroll",
    [RA_RENEW] = "renew",
    [RA_POLL] = "poll",
    [RA_KEYGEN] = "keygen",
};

static const char *const reason_names[RA_REASON_COUNT] = {
    [RA_OK] = "ok",
    [RA_NO_EVIDENCE] = "no-evidence",
    [RA_BAD_CHALLENGE] = "bad-challenge",
    [RA_BAD_RENEWAL] = "bad-renewal",
    [RA_NAMES_CHANGED] = "names-changed",
    [RA_BAD_KEY] = "bad-key",
    [RA_BAD_NAMES] = "bad-names",
    [RA_BAD_EXTENSION] = "bad-extension",
    [RA_NO_ROUTE] = "no-route",
    [RA_UNKNOWN_TXN] = "unknown-transaction",
    [RA_UPSTREAM_REFUSED] = "upstream-refused",
    [RA_DENIED] = "denied",
    [RA_UNKNOWN_CERT] = "unknown-certificate",
    [RA_OVER_QUOTA] = "over-quota",
    [RA_KEY_REUSED] = "key-reused",
};

const char *ra_op_name(enum ra_op op)
{
    return (unsigned)op < RA_OP_COUNT ? op_names[op] : "unknown";
}

const char *ra_reason_name(enum ra_reason reason)
{
    return (unsigned)reason < RA_REASON_COUNT ? reason_names[reason] : "unknown";
}

void ra_outcome_clear(struct ra_outcome *outcome)
{
    cert_free(outcome->cert);
    EVP_PKEY_free(outcome->key);
    *outcome = (struct ra_outcome){0};
}

/* Every part is preceded by its length, so that no two lists of parts give the same input. */
static bool add_part(EVP_MD_CTX *ctx, struct bytes part)
{
    uint8_t len[8];
    for (unsigned i = 0; i < sizeof len; i++)
        len[i] = (uint8_t)(part.len >> (8 * (7 - i)));
    return EVP_DigestUpdate(ctx, len, sizeof len) == 1 &&
           EVP_DigestUpdate(ctx, part.ptr, part.len) == 1;
}

static bool add_sans(EVP_MD_CTX *ctx, const struct names *names)
{
    for (size_t i = 0; i < names->san_count; i++)
        if (!add_part(ctx, bytes_str(names_san_kind_name(names->sans[i].kind))) ||
            !add_part(ctx, bytes_str(names->sans[i].text)))
            return false;
    return true;
}

/* What ChangeSubjectName asks for; nothing if there is none, so that keys are as they were. */
static bool add_change(EVP_MD_CTX *ctx, const struct csr *csr)
{
    const struct names *wanted = csr_wanted_get(csr);
    return !csr_change_has(csr) ||
           (add_part(ctx, bytes_str("change")) && add_part(ctx, buf_bytes(&wanted->subject)) &&
            add_sans(ctx, wanted));
}

bool ra_request_prover(const struct ra_request *request, uint8_t out[RA_DIGEST_LEN])
{
    const struct ra_evidence *evidence = &request->evidence;
    const char *kind = "challenge";
    struct bytes who = evidence->challenge;
    if (evidence->holder) {
        kind = "key";
        who = bytes_of(cert_spki_get(evidence->holder)->digest, SPKI_DIGEST_LEN);
    } else if (evidence->principal) {
        kind = "user";
        who = bytes_str(evidence->principal);
    } else if (who.len == 0) {
        return false;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx)
        err_no_memory();
    bool ok = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 && add_part(ctx, bytes_str(kind)) &&
              add_part(ctx, who) && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

bool ra_request_dedup(const struct ra_request *request, const struct cert *renews,
                      uint8_t out[RA_DIGEST_LEN], struct err *err)
{
    uint8_t prover[RA_DIGEST_LEN];
    const struct names *names = csr_names_get(request->csr);
    const struct spki *spki = csr_spki_get(request->csr);
    enum ra_op op = renews && request->op != RA_KEYGEN ? RA_RENEW : request->op;
    if (!ra_request_prover(request, prover))
        return err_set(err, ERR_BUG, "a request without evidence has no deduplication key");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx)
        err_no_memory();
    bool ok = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
              add_part(ctx, bytes_str(request->profile->name)) &&
              add_part(ctx, bytes_of(prover, sizeof prover)) &&
              add_part(ctx, bytes_str(ra_op_name(op))) &&
              add_part(ctx, bytes_of(spki->digest, SPKI_DIGEST_LEN)) &&
              add_part(ctx, buf_bytes(&names->subject)) &&
              add_part(ctx, renews ? cert_issuer_get(renews) : bytes_str("")) &&
              add_part(ctx, bytes_str(renews ? cert_serial_get(renews) : "")) &&
              (!request->next || add_part(ctx, bytes_str("next"))) && /* SANs are two parts each */
              add_sans(ctx, names) && add_change(ctx, request->csr) &&
              EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok || err_openssl(err, ERR_LOCAL, "digesting a request");
}

bool ra_request_sender(const struct ra_request *request, uint8_t out[RA_DIGEST_LEN])
{
    uint8_t prover[RA_DIGEST_LEN];
    if (!ra_request_prover(request, prover))
        return false;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx)
        err_no_memory();
    bool ok = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
              add_part(ctx, bytes_of(prover, sizeof prover)) &&
              add_part(ctx, bytes_of(csr_spki_get(request->csr)->digest, SPKI_DIGEST_LEN)) &&
              EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

bool ra_request_device(const struct ra_request *request, uint8_t out[RA_DIGEST_LEN])
{
    const struct names *names = csr_names_get(request->csr);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx)
        err_no_memory();
    bool ok = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
              add_part(ctx, bytes_str(request->profile->name)) &&
              add_part(ctx, buf_bytes(&names->subject)) && add_sans(ctx, names) &&
              EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}
