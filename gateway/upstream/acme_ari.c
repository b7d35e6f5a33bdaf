#include "gateway/upstream/acme_ari.h"

#include "base/text.h"
#include "gateway/upstream/jose.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define YEAR_LAST 9999

bool acme_time_read(const char *text, int64_t *ret)
{
    struct tm tm = {0};
    const char *p = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (p && *p == '.')
        p += 1 + strspn(p + 1, "0123456789");
    p = p ? strptime(p, "%z", &tm) : NULL;
    if (!p || *p || tm.tm_year + 1900 > YEAR_LAST)
        return false;
    int64_t offset = tm.tm_gmtoff;
    *ret = (int64_t)timegm(&tm) - offset;
    return true;
}

/* The octets of an INTEGER as DER has them, with a leading zero where it needs one. */
static bool encode_integer(const ASN1_INTEGER *number, struct buf *out)
{
    unsigned char *der = NULL;
    int len = i2d_ASN1_INTEGER(number, &der);
    bool ok = len > 2 && len < 128 && jose_encode(bytes_of(der + 2, (size_t)len - 2), out);
    OPENSSL_free(der);
    return ok;
}

bool acme_cert_id(const struct cert *cert, char ret[ACME_CERT_ID_MAX])
{
    const X509 *x509 = cert_x509_get(cert);
    const ASN1_OCTET_STRING *key = X509_get0_authority_key_id((X509 *)x509);
    struct buf text = BUF_INIT(ACME_CERT_ID_MAX - 1);
    bool ok =
        key && ASN1_STRING_length(key) > 0 &&
        jose_encode(bytes_of(ASN1_STRING_get0_data(key), (size_t)ASN1_STRING_length(key)), &text) &&
        buf_add_u8(&text, '.') && encode_integer(X509_get0_serialNumber(x509), &text);
    if (ok)
        snprintf(ret, ACME_CERT_ID_MAX, "%s", buf_str(&text));
    buf_free(&text);
    return ok;
}

bool acme_window_read(const struct json *body, struct up_window *ret, struct err *err)
{
    const struct json_value *root = json_root(body), *window = json_get(root, "suggestedWindow");
    const char *why = json_text(json_get(root, "explanationURL"));
    struct up_window said = {0};
    if (!acme_time_read(json_text(json_get(window, "start")), &said.start) ||
        !acme_time_read(json_text(json_get(window, "end")), &said.end) || said.end <= said.start)
        return err_set(err, ERR_UPSTREAM,
                       "the CA answers without a window that ends after its "
                       "start");
    if (acme_url_fits(why) && strlen(why) < sizeof said.why)
        snprintf(said.why, sizeof said.why, "%s", why);
    *ret = said;
    return true;
}

bool acme_window_ask(struct acme_client *client, const struct cert *cert, int64_t deadline,
                     struct up_window *ret, struct err *err)
{
    char base[ACME_URL_MAX], id[ACME_CERT_ID_MAX], url[ACME_URL_MAX + ACME_CERT_ID_MAX];
    struct json *body = NULL;
    if (!acme_client_url(client, ACME_RENEWAL_INFO, base))
        return err_set(err, ERR_UPSTREAM, "the CA's directory has no renewalInfo");
    if (!acme_cert_id(cert, id))
        return err_set(err, ERR_UPSTREAM, "the certificate has no authority key identifier");
    size_t len = strlen(base);
    snprintf(url, sizeof url, "%.*s/%s", (int)(base[len - 1] == '/' ? len - 1 : len), base, id);
    bool ok =
        acme_client_get(client, url, deadline, &body, err) && acme_window_read(body, ret, err);
    json_free(body);
    return ok;
}
