#include "base/strong.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>

/* RFC 4055 section 3.1: SHA-1 if nothing is said. */
static int pss_digest(const ASN1_TYPE *parameters)
{
    if (!parameters || parameters->type != V_ASN1_SEQUENCE)
        return NID_undef;
    const ASN1_STRING *der = parameters->value.sequence;
    const unsigned char *p = ASN1_STRING_get0_data(der);
    RSA_PSS_PARAMS *pss = d2i_RSA_PSS_PARAMS(NULL, &p, ASN1_STRING_length(der));
    int nid = !pss                 ? NID_undef
              : pss->hashAlgorithm ? OBJ_obj2nid(pss->hashAlgorithm->algorithm)
                                   : NID_sha1;
    RSA_PSS_PARAMS_free(pss);
    ERR_clear_error();
    return nid;
}

static bool is_strong(int digest)
{
    static const int all[] = {NID_sha224,   NID_sha256,   NID_sha384,   NID_sha512,
                              NID_sha3_224, NID_sha3_256, NID_sha3_384, NID_sha3_512};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i] == digest)
            return true;
    return false;
}

int strong_digest(const X509_ALGOR *algorithm)
{
    int digest = NID_undef, nid = OBJ_obj2nid(algorithm->algorithm);
    if (nid == NID_rsassaPss)
        return pss_digest(algorithm->parameter);
    return OBJ_find_sigid_algs(nid, &digest, NULL) == 1 ? digest : NID_undef;
}

bool strong_is(const X509_ALGOR *algorithm)
{
    int nid = OBJ_obj2nid(algorithm->algorithm);
    return nid == NID_ED25519 || nid == NID_ED448 || is_strong(strong_digest(algorithm));
}

bool strong_check(const X509_ALGOR *algorithm, const char *what, struct err *err)
{
    int digest = strong_digest(algorithm), nid = OBJ_obj2nid(algorithm->algorithm);
    return strong_is(algorithm) || err_set(err, ERR_PEER, "%s signed with %s%s%s", what,
                                           OBJ_nid2sn(nid), nid == NID_rsassaPss ? " over " : "",
                                           nid == NID_rsassaPss ? OBJ_nid2sn(digest) : "");
}
