/* What the holder of a certificate may look up: other certificates of its profile, and CRLs. */
#ifndef RA_LOOKUP_H
#define RA_LOOKUP_H

#include "ra/ra.h"

/* A certificate by issuer and serial number (RFC 8894 section 3.3.4). */
struct ra_wanted {
    struct bytes issuer;               /* DER of a Name; ptr NULL: any CA of the profile */
    char serial[CERT_SERIAL_TEXT_MAX]; /* as cert_serial_get has it */
};

/* Whether request->evidence.holder may ask at all: a certificate of this profile that has neither
 * been revoked nor ended longer ago than renewal allows. Otherwise anybody could enumerate what was
 * issued. A refusal is in outcome (RA_UNKNOWN_CERT, whatever the reason is). request->csr is not
 * looked at. */
bool ra_lookup_may(struct ra *ra, const struct ra_request *request, bool *ret,
                   struct ra_outcome *outcome, struct err *err) MUST_USE;

/* outcome: RA_ISSUED with the certificate, of this profile, as it stands in the inventory, or
 * refused with RA_UNKNOWN_CERT. The caller has asked ra_lookup_may and clears outcome. */
bool ra_lookup_cert(struct ra *ra, const struct ra_request *request, const struct ra_wanted *wanted,
                    struct ra_outcome *outcome, struct err *err) MUST_USE;

/* The CRL of the CA that the wanted certificate names, or of the one that issued the holder's. Made
 * at most once in RA_CRL_SECONDS. The caller frees ret->der, which is empty if there is none: then
 * the outcome refuses with RA_UNKNOWN_CERT. */
#define RA_CRL_SECONDS 60
struct ra_crl {
    struct buf der;
    struct ra_outcome outcome;
};
bool ra_lookup_crl(struct ra *ra, const struct ra_request *request, const struct ra_wanted *wanted,
                   struct ra_crl *ret, struct err *err) MUST_USE;

/* The CRL of a CA that can make one (vt->crl), over what the inventory says is revoked. */
bool ra_crl_make(struct store *store, struct upstream *up, struct buf *der,
                 struct err *err) MUST_USE;

/* CRLs that were made of late, of the settings in force. Part of the ra. */
struct crls;
struct crls *crls_new(void) MUST_USE;
void crls_free(struct crls *crls);

#endif
