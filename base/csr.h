/* A parsed PKCS#10 certification request (RFC 2986): immutable, counted, relayed as it was signed.
 */
#ifndef BASE_CSR_H
#define BASE_CSR_H

#include "base/names.h"
#include "base/spki.h"

#include <openssl/x509.h>

struct csr;

#define CSR_MAX ((size_t)128 << 10)
#define CSR_CHALLENGE_MAX ((size_t)16 << 10) /* Intune's are several KiB */

/* der: untrusted, at most CSR_MAX, no trailing bytes. Refused (ERR_PEER): malformed, an attribute
 * type that occurs twice, challengePassword, estIdentityLinking or
 * ChangeSubjectName with other than one value. Does not check the signature. The caller owns *ret
 * (one count). */
bool csr_parse(struct bytes der, struct csr **ret, struct err *err) MUST_USE;
struct csr *csr_ref(struct csr *csr);
void csr_free(struct csr *csr); /* drops one count; NULL is allowed */

/* RFC 5272 appendix C.1: a signature that is none, of a CSR whose possession was proved otherwise.
 */
#define CSR_OID_NO_SIGNATURE "1.3.6.1.5.5.7.6.2"
bool csr_is_signed(const struct csr *csr); /* it claims to be; csr_pop_check says whether it is */

/* Proof of possession: the CSR's signature by its own key (RFC 2986 section 4.2). */
bool csr_pop_check(const struct csr *csr, struct err *err) MUST_USE;
/* What that signature is over, NID_sha1 and so on; NID_undef if it is SHA-2, SHA-3, or for EdDSA to
 * say. */
int csr_old_digest_get(const struct csr *csr);
/* False (ERR_PEER): there is an old digest. */
bool csr_strong_check(const struct csr *csr, struct err *err) MUST_USE;

struct bytes csr_der_get(const struct csr *csr);
const struct spki *csr_spki_get(const struct csr *csr);
const struct names *csr_names_get(const struct csr *csr);
/* The names that a certificate is to have: those of ChangeSubjectName (RFC 6402 section 2.8), or of
 * the CSR if it has none. */
const struct names *csr_wanted_get(const struct csr *csr);
bool csr_change_has(const struct csr *csr);
/* challengePassword (RFC 2985 section 5.4.1) as UTF-8, whatever string type carried it; empty if
 * there is none. A secret. */
struct bytes csr_challenge_get(const struct csr *csr);
bool csr_challenge_has(const struct csr *csr); /* it is there, be it empty */
/* estIdentityLinking (RFC 7894 section 3.3), the same way. */
struct bytes csr_linking_get(const struct csr *csr);
bool csr_linking_has(const struct csr *csr);
/* Requested extensions (RFC 2985 section 5.4.2, or Microsoft's OID for it); NULL if none. */
const STACK_OF(X509_EXTENSION) * csr_extensions_get(const struct csr *csr);
/* The type of attribute i, which counts from 0; NULL behind the last. */
const ASN1_OBJECT *csr_attribute_get(const struct csr *csr, int i);

struct csr_value {
    bool has;
    struct bytes content; /* borrowed */
};
/* The value of an attribute (dotted oid) that must have one, of this ASN.1 type:
 * V_ASN1_OCTET_STRING gives its octets, V_ASN1_SEQUENCE the whole element. False (ERR_PEER): it is
 * there and has other values. */
bool csr_value_get(const struct csr *csr, const char *oid, int type, struct csr_value *ret,
                   struct err *err) MUST_USE;

#endif
