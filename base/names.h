/* Subject and subjectAltName of a certificate or a CSR, in one comparable form. */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#include "base/bytes.h"

#include <openssl/x509v3.h>

struct name_attr {
    char *type;  /* "CN", "O", "serialNumber", ...: OpenSSL's short name, or a dotted OID */
    char *value; /* UTF-8, no NUL inside */
};

enum san_kind { SAN_DNS = 0, SAN_IP, SAN_EMAIL, SAN_URI, SAN_OTHER, SAN_KIND_COUNT };

struct san {
    enum san_kind kind;
    char *text;     /* as "dns:a.example" is without its kind: "a.example"; IP in presentation form;
                       for SAN_OTHER the hex of the DER */
    struct buf der; /* the GeneralName */
};

struct names {
    struct buf subject; /* DER of the Name, as it came */
    char *subject_text; /* RFC 2253 order kept as in the certificate, "CN=x,O=y", escaped */
    struct name_attr *attrs;
    size_t attr_count;
    struct san *sans; /* sorted by kind and text */
    size_t san_count;
    bool san_critical;
};

#define NAMES_ATTR_MAX 64
#define NAMES_SAN_MAX 128

/* sans may be NULL. Refused (ERR_PEER): a NUL or control character in a value, a SAN that is empty
 * or not ASCII, more than the ceilings, malformed IP addresses. On success *ret owns everything. */
bool names_parse(const X509_NAME *subject, const GENERAL_NAMES *sans, struct names *ret,
                 struct err *err) MUST_USE;
/* "CN=r1,O=Example" and {"dns:a.example", "10.0.0.1", "a.example"} as an operator writes them; a
 * SAN without a kind is an IP if it parses as one, an email if it holds '@', otherwise dns. */
bool names_parse_text(const char *subject, const char *const *sans, size_t san_count,
                      struct names *ret, struct err *err) MUST_USE;
void names_clear(struct names *names); /* NULL and zeroed are allowed */

/* RFC 5280 section 7.1 comparison (string types and case do not matter). */
bool names_subject_equal(const struct names *a, const struct names *b);
/* As order-free sets. */
bool names_san_equal(const struct names *a, const struct names *b);
/* First value of an attribute type, or NULL. */
const char *names_attr_get(const struct names *names, const char *type);
const char *names_san_kind_name(enum san_kind kind); /* "dns", "ip", "email", "uri", "other" */
/* "dns:a.example,ip:10.0.0.1" into buf; nothing if there are none. */
bool names_san_text(const struct names *names, struct buf *out) MUST_USE;

#endif
