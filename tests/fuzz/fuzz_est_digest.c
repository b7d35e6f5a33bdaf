#include "est/digest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A header that is accepted has every parameter that is needed, each within its ceiling, and proves
 * nothing in a profile that knows nobody. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char realm[] = "est";
    struct cfg_profile profile = {.est = {.realm = realm, .auth_digest = true}};
    struct est_digest_ask ask = {&profile, "POST", bytes_str("/.well-known/est/simpleenroll")};
    struct est_digest digest;
    struct est_digest_proof proof;
    struct err err;
    if (!est_digest_parse(bytes_of(data, size), &digest, &err))
        return 0;
    if (strcmp(digest.qop, "auth") != 0 || strlen(digest.nc) != 8 || strchr(digest.user, ':'))
        abort();
    if (strlen(digest.response) != (digest.hash == CFG_DIGEST_MD5 ? 32 : 64))
        abort();
    if (est_digest_fits(&digest, &ask, &err) && strcmp(digest.realm, realm) != 0)
        abort();
    if (est_digest_check(&digest, &ask, &proof))
        abort();
    return 0;
}
