/* ACME renewal information (RFC 9773): when the CA wants a certificate renewed, and by what name a
 * renewal says what it replaces. */
#ifndef GATEWAY_UPSTREAM_ACME_ARI_H
#define GATEWAY_UPSTREAM_ACME_ARI_H

#include "gateway/upstream/acme_client.h"

#define ACME_CERT_ID_MAX 512

/* Section 4.1: base64url of the authorityKeyIdentifier's keyIdentifier, a dot, base64url of the
 * serial number. False: the certificate has no key identifier, or one that is too long. */
bool acme_cert_id(const struct cert *cert, char ret[ACME_CERT_ID_MAX]) MUST_USE;

/* Section 4.2: what the CA says. body: untrusted, or NULL. False (ERR_UPSTREAM): it says nothing
 * that could be kept to. */
bool acme_window_read(const struct json *body, struct up_window *ret, struct err *err) MUST_USE;

/* Asks the CA, if its directory says that it can be asked. Ready first. */
bool acme_window_ask(struct acme_client *client, const struct cert *cert, int64_t deadline,
                     struct up_window *ret, struct err *err) MUST_USE;

/* RFC 3339, with fractions of seconds and offsets; NULL is no time. */
bool acme_time_read(const char *text, int64_t *ret) MUST_USE;

#endif
