/* HTTP Digest (RFC 7616): the header, and whether what it proves is right. */
#ifndef EST_DIGEST_H
#define EST_DIGEST_H

#include "config/config.h"
#include "est/basic.h"

#define EST_DIGEST_HEX_MAX 64

/* The parameters of an Authorization header, escapes undone. */
struct est_digest {
    char user[EST_USER_MAX + 1];
    char realm[65];
    char nonce[129];
    char uri[513];
    char cnonce[257];
    char nc[9];
    char qop[5];       /* "auth" */
    char algorithm[9]; /* "SHA-256", "MD5", or "" which means MD5 */
    char response[EST_DIGEST_HEX_MAX + 1];
    enum cfg_digest hash;
    uint32_t count; /* what nc says */
};

/* header: the Authorization value. False, with ERR_PEER and what it lacks, if it is not Digest as
 * we ask for it: qop=auth, MD5 or SHA-256, each parameter once; parameters that nobody knows are
 * passed over (section 3.4). */
bool est_digest_parse(struct bytes header, struct est_digest *ret, struct err *err) MUST_USE;

/* What the digest must be of. */
struct est_digest_ask {
    const struct cfg_profile *profile;
    const char *method;
    struct bytes target; /* as the client sent it */
};

/* Whether it is meant for this request and this profile: realm, URI, and a hash that is offered. */
bool est_digest_fits(const struct est_digest *digest, const struct est_digest_ask *ask,
                     struct err *err) MUST_USE;

/* Who knows the password. */
struct est_digest_proof {
    const struct cfg_user *user; /* of the profile's file, or NULL */
    struct bytes challenge;      /* the fixed challenge that was used as the password, or empty */
};

/* Whether the response is right, for a user with a digest form or for a fixed challenge; the nonce
 * is not judged. Takes about as long for an unknown user as for a wrong password. */
bool est_digest_check(const struct est_digest *digest, const struct est_digest_ask *ask,
                      struct est_digest_proof *ret) MUST_USE;

#endif
