#include "gateway/edge.h"

#include "base/clock.h"
#include "base/text.h"

#include <openssl/x509v3.h>

#define CERTIFICATE_MAX ((size_t)16 << 10)

static bool has_name(const struct cfg_edge_certificates *conf, const struct cert *cert)
{
    const unsigned flags = X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    for (size_t i = 0; i < conf->names.count; i++)
        if (X509_check_host(cert_x509_get(cert), conf->names.items[i], 0, flags, NULL) == 1)
            return true;
    return false;
}

bool edge_is(const struct cfg_edge_certificates *conf, const struct cert *cert,
             struct cert *const *along, size_t along_count)
{
    struct err ignored;
    const struct trust_terms terms = {
        .extra = along, .extra_count = along_count, .at = clock_now(), .client = true};
    return conf->trust && has_name(conf, cert) && trust_check(conf->trust, cert, &terms, &ignored);
}

/* One certificate as a byte sequence of structured fields, ":base64:". */
static bool told_value(struct bytes value, struct cert **ret)
{
    struct buf der = BUF_INIT(CERTIFICATE_MAX);
    struct bytes colon, text;
    struct err ignored;
    value = bytes_trim(value);
    bool ok = value.len > 2 && value.ptr[value.len - 1] == ':' && bytes_take(&value, 1, &colon) &&
              colon.ptr[0] == ':' && bytes_take(&value, value.len - 1, &text) &&
              text_base64_decode(text, TEXT_BASE64_STRICT, &der, &ignored) &&
              cert_parse(buf_bytes(&der), ret, &ignored);
    buf_free(&der);
    return ok;
}

/* RFC 9440 section 2.2. False: there is something else than one certificate, or none. */
static bool told_certificate(const struct http_headers *headers, struct cert **ret)
{
    unsigned count;
    struct bytes value = http_header_get(headers, "Client-Cert", &count);
    return count == 0 || (count == 1 && told_value(value, ret));
}

/* RFC 9440 section 2.3: a list of such, without the client's own. False: there is something else,
 * or more than we handle. */
static bool told_chain(const struct http_headers *headers, struct edge_told *ret)
{
    unsigned count;
    struct bytes list = http_header_get(headers, "Client-Cert-Chain", &count), value;
    bool ok = count <= 1;
    for (bool more = count == 1; ok && more;) {
        more = bytes_take_until(&list, ',', &value);
        ok = ret->chain_count < TLS_ALONG_MAX && told_value(value, &ret->chain[ret->chain_count]);
        ret->chain_count += ok;
    }
    return ok;
}

bool edge_told_read(const struct http_headers *headers, struct edge_told *ret)
{
    *ret = (struct edge_told){0};
    return told_certificate(headers, &ret->certificate) && told_chain(headers, ret);
}

void edge_told_clear(struct edge_told *told)
{
    cert_free(told->certificate);
    for (size_t i = 0; i < told->chain_count; i++)
        cert_free(told->chain[i]);
    *told = (struct edge_told){0};
}
