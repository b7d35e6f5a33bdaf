/* Which algorithms a profile takes, and which of them are old. Internal to scep/. */
#ifndef SCEP_TERMS_H
#define SCEP_TERMS_H

#include "config/doors.h"
#include "scep/scep.h"

/* Content ciphers up to this one. */
enum scep_ciphers scep_terms_ciphers(const struct cfg_scep *conf);
/* Whether a message may be signed with this digest. */
bool scep_terms_digest(const struct cfg_scep *conf, int digest);
/* Whether a CSR may be signed over this old digest (csr_old_digest_get), as static text, "sha1" or
 * "md5"; NULL: it may not. Of a message's own digest SHA-1 takes scep.legacy, here it does not: a
 * CSR's signature proves possession of a key over what its holder has written. */
const char *scep_terms_csr(const struct cfg_scep *conf, int digest);
/* Capabilities (RFC 8894 section 3.5.2), a line each: nothing that is not taken. Static text. */
const char *scep_terms_caps(const struct cfg_scep *conf);
/* The old algorithms among these, as static text: "sha1 des3", ...; NULL: none. */
const char *scep_terms_old(struct scep_algs algs);

#endif
