#include "scep/terms.h"

#include <openssl/objects.h>

/* Each value of scep.legacy takes what those before it take. There is no keyword for MD5 and single
 * DES: who knows nothing else does not ask. */
static const struct {
    enum scep_ciphers ciphers;
    const char *caps;
} rows[] = {
/* SHA-384 is no keyword of the RFC: strongSwan 5.9 uses AES only if it is there. */
#define CAPS "POSTPKIOperation\nRenewal\nSHA-256\nSHA-384\nSHA-512\nAES\nSCEPStandard\n"
    [CFG_LEGACY_NONE] = {SCEP_CIPHERS_AES, CAPS},
    [CFG_LEGACY_DES3_SHA1] = {SCEP_CIPHERS_DES3, CAPS "DES3\nSHA-1\n"},
    [CFG_LEGACY_DES_MD5] = {SCEP_CIPHERS_DES, CAPS "DES3\nSHA-1\n"},
};

enum scep_ciphers scep_terms_ciphers(const struct cfg_scep *conf)
{
    return rows[conf->legacy].ciphers;
}

bool scep_terms_digest(const struct cfg_scep *conf, int digest)
{
    if (digest == NID_md5)
        return conf->legacy >= CFG_LEGACY_DES_MD5;
    return digest != NID_sha1 || conf->legacy >= CFG_LEGACY_DES3_SHA1;
}

const char *scep_terms_csr(const struct cfg_scep *conf, int digest)
{
    if (digest == NID_sha1)
        return "sha1";
    return digest == NID_md5 && scep_terms_digest(conf, digest) ? "md5" : NULL;
}

const char *scep_terms_caps(const struct cfg_scep *conf)
{
    return rows[conf->legacy].caps;
}

const char *scep_terms_old(struct scep_algs algs)
{
    static const char *const names[3][3] = {
        {NULL, "des3", "des"},
        {"sha1", "sha1 des3", "sha1 des"},
        {"md5", "md5 des3", "md5 des"},
    };
    int digest = algs.digest == NID_md5 ? 2 : algs.digest == NID_sha1;
    int cipher = algs.cipher == NID_des_cbc ? 2 : algs.cipher == NID_des_ede3_cbc;
    return names[digest][cipher];
}
