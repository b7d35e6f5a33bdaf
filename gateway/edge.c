#include "gateway/edge.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "ra/check.h"

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

static bool is_listed(const struct cfg_certs *certs, const struct cert *cert)
{
    for (size_t i = 0; i < certs->count; i++)
        if (bytes_equal(cert_der_get(certs->items[i]), cert_der_get(cert)))
            return true;
    return false;
}

/* Of a CA that issues to devices, which may have got the name. */
static bool is_device(const struct ra_settings *settings, const struct cert *cert)
{
    const X509_NAME *issuer = X509_get_issuer_name(cert_x509_get(cert));
    for (size_t i = 0; i < settings->cfg->upstream_count; i++) {
        struct upstream *up = settings->upstreams[i];
        const struct cfg_certs *chain = NULL;
        struct err ignored;
        if (up->vt->chain && up->vt->chain(up, &chain, &ignored) && chain && chain->count &&
            X509_NAME_cmp(X509_get_subject_name(cert_x509_get(chain->items[0])), issuer) == 0)
            return true;
    }
    return false;
}

/* Of one that is an edge's otherwise. One that is itself an anchor need not be vouched for. */
static enum http_edge judge_revocation(const struct ra_settings *settings, const struct cert *cert,
                                       STACK_OF(X509) * chain)
{
    const struct cfg_edge_certificates *conf = &settings->cfg->edge.certificates;
    const struct ra_check check = {&conf->checking, &conf->trust_certs};
    char detail[RA_DETAIL_MAX];
    enum revocation_status status = ra_check_chain(settings, &check, chain, detail);
    if (status == REVOCATION_GOOD ||
        (status == REVOCATION_UNKNOWN && is_listed(&conf->trust_certs, cert)))
        return HTTP_EDGE;
    log_text(LOG_WARN, "edge", "certificate %s of \"%s\": %s", cert_serial_get(cert),
             cert_names_get(cert)->subject_text, detail);
    return status == REVOCATION_REVOKED ? HTTP_EDGE_NOT : HTTP_EDGE_UNCHECKED;
}

enum http_edge edge_judge(const struct ra_settings *settings, const struct cert *cert,
                          struct cert *const *along, size_t along_count)
{
    const struct cfg_edge_certificates *conf = &settings->cfg->edge.certificates;
    STACK_OF(X509) *chain = NULL;
    struct err ignored;
    const struct trust_terms terms = {
        .extra = along, .extra_count = along_count, .at = clock_now(), .client = true};
    enum http_edge ret = HTTP_EDGE_NOT;
    if (!conf->trust || !has_name(conf, cert) ||
        !trust_path(conf->trust, cert, &terms, &chain, &ignored))
        return ret;
    if (is_listed(&conf->trust_certs, cert) || !is_device(settings, cert))
        ret = judge_revocation(settings, cert, chain);
    else
        log_text(LOG_WARN, "edge",
                 "certificate %s of \"%s\" is no edge's: its CA issues to devices; expected CAs "
                 "that issue to edges alone in edge.certificates.trust",
                 cert_serial_get(cert), cert_names_get(cert)->subject_text);
    sk_X509_pop_free(chain, X509_free);
    return ret;
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
