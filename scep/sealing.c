#include "scep/sealing.h"

#include <openssl/objects.h>

/* For a request that names no algorithms of its own, since it was enveloped for our key. */
#define ITERATIONS 10000

static bool has_key(const struct scep_sealing *sealing)
{
    return cert_spki_get(scep_msg_signer_get(sealing->msg))->kind == SPKI_RSA;
}

static bool takes_fixed(const struct scep_sealing *sealing)
{
    const struct cfg_challenge *conf = &sealing->profile->challenge;
    return conf->kinds[CFG_CHALLENGE_FIXED] && conf->fixed_count;
}

bool scep_sealing_possible(const struct scep_sealing *sealing, struct err *err)
{
    return has_key(sealing) || takes_fixed(sealing) ||
           err_set(err, ERR_PEER,
                   "the reply cannot be enveloped to a key that is not RSA: use EST, or a fixed "
                   "challenge");
}

bool scep_sealing_open(struct scep_sealing *sealing, struct buf *content, struct err *err)
{
    const struct cfg_challenge *conf = &sealing->profile->challenge;
    if (!scep_msg_by_password(sealing->msg))
        return content
                   ? scep_msg_open(sealing->msg, &sealing->opener, content, &sealing->cipher, err)
                   : scep_msg_addressed(sealing->msg, &sealing->opener, &sealing->cipher, err);
    struct scep_passwords passwords = {conf->fixed, takes_fixed(sealing) ? conf->fixed_count : 0,
                                       sealing->opener.ciphers};
    struct scep_opened opened = {.content = content};
    bool ok = scep_msg_open_password(sealing->msg, &passwords, &opened, err);
    sealing->cipher = opened.cipher;
    sealing->password = opened.by;
    return ok;
}

/* The fixed challenge that the CSR holds; every one is compared. A poll holds none: whoever may
 * have its answer has shown one before, which can only be told where there is one alone. A renewal
 * that shows none gets nothing to guess the secret by. */
static struct bytes known_secret(const struct cfg_challenge *conf, const struct csr *csr)
{
    struct bytes found = {0};
    if (!csr)
        return conf->fixed_count == 1 ? buf_bytes(&conf->fixed[0]) : found;
    for (size_t i = 0; i < conf->fixed_count; i++)
        if (bytes_equal_secret(buf_bytes(&conf->fixed[i]), csr_challenge_get(csr)))
            found = buf_bytes(&conf->fixed[i]);
    return found;
}

bool scep_sealing_choose(struct scep_sealing *sealing, const struct csr *csr, struct err *err)
{
    if (has_key(sealing))
        return true;
    if (!scep_sealing_possible(sealing, err))
        return false;
    sealing->by_password = true;
    if (sealing->password.secret.ptr)
        return true;
    sealing->password = (struct scep_password){
        .secret = known_secret(&sealing->profile->challenge, csr),
        .prf = NID_hmacWithSHA256,
        .cipher = sealing->cipher,
        .iterations = ITERATIONS,
    };
    return sealing->password.secret.ptr ||
           err_set(err, ERR_PEER,
                   "the reply cannot be enveloped to a key that is not RSA, and the request shows "
                   "no fixed challenge of the profile that could take its place: use EST, or "
                   "envelope the request with one");
}
