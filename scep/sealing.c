#include "scep/sealing.h"

#include "scep/check.h"

#include <openssl/objects.h>

/* For a request that names no algorithms of its own, since it was enveloped for our key. */
#define ITERATIONS 10000
#define EVEN_NS INT64_C(10000000)
#define EVEN_BITS 2048             /* 40 times what opening takes with a key as long as this */
#define ITERATION_NS INT64_C(2000) /* 4 times what one takes without instructions for SHA-2 */

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

/* Opening takes as long as the cube of the key's length; its square is enough up to 16,384. */
static int64_t key_headroom(const struct scep_opener *opener)
{
    int64_t longest = EVEN_BITS;
    for (size_t i = 0; i < opener->count; i++)
        if (EVP_PKEY_get_bits(opener->keys[i].key) > longest)
            longest = EVP_PKEY_get_bits(opener->keys[i].key);
    return EVEN_NS * longest / EVEN_BITS * longest / EVEN_BITS;
}

int64_t scep_sealing_headroom(const struct scep_sealing *sealing)
{
    struct scep_enveloped found;
    struct err ignored;
    int64_t hashed = 0;
    if (scep_msg_by_password(sealing->msg) &&
        scep_enveloped_take(scep_msg_content_get(sealing->msg), sealing->opener.ciphers, &found,
                            &ignored))
        hashed = found.pwri.iterations * (int64_t)sealing->profile->challenge.fixed_count;
    if (hashed > SCEP_PWRI_WORK_MAX)
        hashed = SCEP_PWRI_WORK_MAX; /* more is refused unopened */
    return key_headroom(&sealing->opener) + hashed * ITERATION_NS;
}

int64_t scep_sealing_begin(int64_t due, int64_t now)
{
    return now <= due ? due : due + ((now - due) / EVEN_NS + 1) * EVEN_NS;
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
