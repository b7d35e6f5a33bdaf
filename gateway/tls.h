/* TLS contexts that a reload can change under running listeners. */
#ifndef GATEWAY_TLS_H
#define GATEWAY_TLS_H

#include "config/config.h"

#include <openssl/ssl.h>

struct tls;

#define TLS_ALONG_MAX 8 /* certificates of a client besides its own; others are passed over */

enum tls_ask {
    TLS_ASK_NEVER = 0, /* SCEP: Apple devices stall on a certificate request */
    TLS_ASK_OPTIONAL,  /* EST, admin: a certificate proves possession of its key, nothing more */
};

/* cfg is only read. The caller frees *ret. */
bool tls_new(const struct cfg *cfg, enum tls_ask ask, struct tls **ret, struct err *err) MUST_USE;
/* From the next handshake on, certificate, versions and hints of this configuration count. On
 * failure the old ones stay. */
bool tls_reload(struct tls *tls, const struct cfg *cfg, struct err *err) MUST_USE;
/* A server's side of TLS on a connected, non-blocking socket that stays the caller's; nothing is
 * sent yet. NULL: no memory. */
SSL *tls_session_new(struct tls *tls, int fd) MUST_USE;
/* What binds a request to its connection: tls-unique of TLS 1.2 (RFC 5929 section 3; only with
 * extended_master_secret, without which it binds nothing, RFC 7627 section 1), tls-exporter of TLS
 * 1.3 (RFC 9266). Returns its length, 0 if there is none. After the handshake. */
#define TLS_BINDING_MAX 64
size_t tls_binding_get(SSL *ssl, uint8_t out[TLS_BINDING_MAX]);
void tls_free(struct tls *tls); /* after its sessions have ended; NULL is allowed */

#endif
