#include "gateway/upstream/relay.h"

#include "base/clock.h"
#include "base/pem.h"
#include "base/text.h"
#include "config/table.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_SHOWN 120
#define PAUSE_MAX_SECONDS 300 /* an operator who mends a CA is not made to wait for longer */

const struct cfg_key relay_client_keys[] = {
    {.name = "certificate",
     .type = CFG_CERT_FILE,
     .offset = offsetof(struct relay_client, certificate),
     .required = true,
     .meaning = "The RA's certificate at this CA, followed by its chain."},
    {.name = "key",
     .type = CFG_KEY_FILE,
     .offset = offsetof(struct relay_client, key),
     .required = true,
     .meaning = "Its private key."},
    {0},
};

const struct cfg_key relay_basic_keys[] = {
    {.name = "user",
     .type = CFG_STRING,
     .offset = offsetof(struct relay_basic, user),
     .required = true,
     .meaning = "The user name."},
    {.name = "password_file",
     .type = CFG_SECRET,
     .offset = offsetof(struct relay_basic, password),
     .required = true,
     .meaning = "The password."},
    {0},
};

void relay_client_judge(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct relay_client *client = field;
    (void)cfg_judge_pair(&client->certificate, client->key, node, faults);
}

void relay_https_judge(const char *url, const char *expected, struct cfg_faults *faults,
                       const struct cfg_node *node)
{
    if (url && strncmp(url, "https://", 8) != 0)
        cfg_fault_value(faults, cfg_node_get(node, "url"), "is not https", expected);
}

bool relay_client_check(const struct relay_client *client, struct err *err)
{
    char text[TEXT_TIME_MAX];
    if (!client || !client->certificate.count)
        return true;
    const struct cert *cert = client->certificate.items[0];
    if (cert_not_after_get(cert) > clock_now())
        return true;
    text_time(cert_not_after_get(cert), text);
    return err_set(err, ERR_UPSTREAM, "our certificate at this CA, %s, has expired on %s",
                   cert_names_get(cert)->subject_text, text);
}

static struct relay *relay_of(struct upstream *up)
{
    return (struct relay *)up;
}

void relay_close(struct upstream *up)
{
    struct relay *relay = relay_of(up);
    httpc_free(relay->httpc);
    relay_chain_free(relay->chain);
    free(relay);
}

static bool connect_to(struct relay *relay, struct err *err)
{
    const struct relay_conf *conf = &relay->conf;
    struct httpc_conf http = {.trust = conf->trust->items, .trust_count = conf->trust->count};
    if (conf->tls) {
        http.chain = conf->tls->certificate.items;
        http.chain_count = conf->tls->certificate.count;
        http.key = conf->tls->key;
    }
    if (conf->basic) {
        http.user = conf->basic->user;
        http.password = (const char *)conf->basic->password.ptr; /* a NUL is behind it */
    }
    return httpc_new(&http, &relay->httpc, err);
}

void *relay_new(size_t size, const struct cfg_upstream *upstream, const struct relay_conf *conf,
                struct err *err)
{
    struct relay *relay = mem_zalloc(size);
    relay->base = (struct upstream){.vt = conf->vt, .name = upstream->name};
    relay->conf = *conf;
    relay->chain = relay_chain_new(conf->chain);
    if (!conf->trust || connect_to(relay, err))
        return relay;
    relay_close(&relay->base);
    return NULL;
}

bool relay_prepare(struct upstream *up, const struct up_order *order, struct buf *handle,
                   struct err *err)
{
    (void)up, (void)order, (void)handle, (void)err;
    return true;
}

bool relay_chain(struct upstream *up, const struct cfg_certs **ret, struct err *err)
{
    return relay_chain_get(relay_of(up)->chain, ret, err);
}

bool relay_remember(struct upstream *up, struct buf *memory)
{
    return relay_chain_remember(relay_of(up)->chain, memory);
}

void relay_recall(struct upstream *up, struct bytes memory)
{
    relay_chain_recall(relay_of(up)->chain, memory);
}

bool relay_health(struct upstream *up, int64_t deadline, struct err *err)
{
    const struct relay_conf *conf = &relay_of(up)->conf;
    return relay_client_check(conf->client, err) && conf->fetch(up, deadline, err);
}

const struct cert *relay_credential(struct upstream *up)
{
    const struct cfg_certs *mine = &relay_of(up)->conf.client->certificate;
    return mine->count ? mine->items[0] : NULL;
}

bool relay_ready(struct relay *relay, int64_t deadline, struct err *err)
{
    const struct cfg_certs *known;
    return relay_client_check(relay->conf.client, err) &&
           (relay_chain_get(relay->chain, &known, err) ||
            relay->conf.fetch(&relay->base, deadline, err));
}

void relay_follow(struct relay *relay, const struct cert *cert, int64_t deadline)
{
    struct err ignored;
    if (!relay_chain_issued(relay->chain, cert))
        (void)!relay->conf.fetch(&relay->base, deadline, &ignored);
}

void relay_url(const struct relay *relay, const char *path, char ret[RELAY_URL_MAX])
{
    const char *url = relay->conf.url;
    size_t len = strlen(url);
    snprintf(ret, RELAY_URL_MAX, "%.*s%s%s", (int)(url[len - 1] == '/' ? len - 1 : len), url,
             relay->conf.api, path);
}

/* Those that are there already are left out. */
static bool certs_add(struct cert ***certs, size_t *count, const X509 *x509, struct err *err)
{
    struct cert *cert;
    if (!cert_from_x509(x509, &cert, err))
        return false;
    for (size_t i = 0; i < *count; i++) {
        if (bytes_equal(cert_der_get((*certs)[i]), cert_der_get(cert))) {
            cert_free(cert);
            return true;
        }
    }
    if (*count == RELAY_CERTS_MAX) {
        cert_free(cert);
        return err_set(err, ERR_UPSTREAM, "more than %d certificates", RELAY_CERTS_MAX);
    }
    *certs = mem_resize(*certs, *count + 1, sizeof **certs);
    (*certs)[(*count)++] = cert;
    return true;
}

static bool certs_of_pkcs7(PKCS7 *p7, struct cert ***certs, size_t *count, struct err *err)
{
    STACK_OF(X509) *all = p7 && PKCS7_type_is_signed(p7) && p7->d.sign ? p7->d.sign->cert : NULL;
    bool ok = true;
    for (int i = 0; i < sk_X509_num(all) && ok; i++)
        ok = certs_add(certs, count, sk_X509_value(all, i), err);
    PKCS7_free(p7);
    return ok;
}

static bool certs_of_der(struct bytes der, struct cert ***certs, size_t *count, struct err *err)
{
    const unsigned char *p = der.ptr;
    X509 *x509 = d2i_X509(NULL, &p, (long)der.len);
    bool ok = true;
    if (x509)
        ok = certs_add(certs, count, x509, err);
    X509_free(x509);
    if (*count || !ok)
        return ok;
    p = der.ptr;
    return certs_of_pkcs7(d2i_PKCS7(NULL, &p, (long)der.len), certs, count, err);
}

static bool certs_of_pem(struct bytes text, struct cert ***certs, size_t *count, struct err *err)
{
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    char *name = NULL, *header = NULL;
    unsigned char *der = NULL;
    long len;
    bool ok = bio;
    while (ok && PEM_read_bio(bio, &name, &header, &der, &len) == 1) {
        ok = certs_of_der(bytes_of(der, (size_t)len), certs, count, err);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    BIO_free(bio);
    return ok;
}

static bool certs_decode(struct bytes body, struct cert ***certs, size_t *count, struct err *err)
{
    struct buf der = {0};
    struct err ignored;
    if (memmem(body.ptr, body.len, "-----BEGIN", strlen("-----BEGIN")))
        return certs_of_pem(body, certs, count, err);
    if (!certs_of_der(body, certs, count, err))
        return false;
    bool ok = true;
    if (!*count && text_base64_decode(body, TEXT_BASE64_SPACE, &der, &ignored))
        ok = certs_of_der(buf_bytes(&der), certs, count, err);
    buf_free(&der);
    return ok;
}

bool relay_certs_decode(struct bytes body, struct cert ***ret, size_t *count, struct err *err)
{
    struct cert **certs = NULL;
    size_t n = 0;
    bool ok = !body.len || certs_decode(body, &certs, &n, err);
    ERR_clear_error();
    if (ok && !n)
        ok = err_set(err, ERR_UPSTREAM, "no certificates in %zu bytes", body.len);
    if (!ok) {
        pem_certs_free(certs, n);
        return false;
    }
    *ret = certs;
    *count = n;
    return true;
}

struct cert *relay_cert_pick(struct cert *const *certs, size_t count, const struct csr *csr)
{
    for (size_t i = 0; i < count; i++)
        if (spki_equal(cert_spki_get(certs[i]), csr_spki_get(csr)))
            return certs[i];
    for (size_t i = 0; i < count; i++)
        if (!cert_is_ca(certs[i]))
            return certs[i];
    return NULL;
}

void relay_reason(struct up_reply *reply, const char *fmt, ...)
{
    char text[512];
    struct buf safe = BUF_INIT(sizeof reply->reason - 1);
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    text_escape(bytes_str(text), sizeof text, &safe);
    memcpy(reply->reason, buf_str(&safe), safe.len + 1);
    buf_free(&safe);
}

enum up_result relay_cert_take(struct bytes body, const struct csr *csr, const char *said,
                               struct up_reply *reply)
{
    struct cert **certs = NULL, *cert = NULL;
    size_t count = 0;
    struct err err;
    if (!relay_certs_decode(body, &certs, &count, &err))
        relay_reason(reply, "%s %s", said, err.text);
    else if ((cert = relay_cert_pick(certs, count, csr)))
        reply->cert = cert_ref(cert);
    else
        relay_reason(reply, "%s CA certificates only", said);
    pem_certs_free(certs, count);
    return cert ? UP_ISSUED : UP_UNKNOWN;
}

/* The beginning of a body that is text. */
static struct bytes shown(const struct httpc_reply *http)
{
    struct bytes type = httpc_header(http, "Content-Type"), body = buf_bytes(&http->body);
    if (!bytes_starts(type, "text/plain") && !bytes_starts(type, "application/json") &&
        !bytes_starts(type, "application/problem+json"))
        return (struct bytes){0};
    body = bytes_trim(body);
    body.len = body.len < BODY_SHOWN ? body.len : BODY_SHOWN;
    return body;
}

/* What a status other than 2xx says of the order. A CA that does not take our credentials, or whose
 * URL is wrong, has an operator who can mend it: the request waits. Behind 500, 502 and 504 there
 * may be a certificate. */
static enum up_result result_of(int status)
{
    switch (status) {
    case 400:
    case 405:
    case 406:
    case 409:
    case 410:
    case 411:
    case 412:
    case 413:
    case 414:
    case 415:
    case 422:
        return UP_REFUSED;
    default:
        break;
    }
    if (status >= 500)
        return status == 501 || status == 503 ? UP_RETRY : UP_UNKNOWN;
    return UP_RETRY;
}

bool relay_failed(struct err *err, const char *what, const struct up_reply *said)
{
    bool told = strncmp(said->reason, what, strlen(what)) == 0; /* by who could not connect */
    err_set(err, ERR_UPSTREAM, "%s%s%s", told ? "" : what, told ? "" : ": ", said->reason);
    err->retry_after = said->retry_after;
    return false;
}

enum up_result relay_later(struct up_reply *reply, const struct err *err)
{
    relay_reason(reply, "%s", err->text);
    reply->retry_after = err->retry_after;
    return UP_RETRY;
}

void relay_pause_begin(struct relay_pause *pause, const struct err *err)
{
    int64_t seconds = err->retry_after < PAUSE_MAX_SECONDS ? err->retry_after : PAUSE_MAX_SECONDS;
    *pause = (struct relay_pause){.until = clock_mono_ms() + seconds * 1000, .why = *err};
}

bool relay_pause_over(const struct relay_pause *pause, struct err *err)
{
    int64_t left = pause->until - clock_mono_ms();
    if (left <= 0)
        return true;
    *err = pause->why;
    err->retry_after = (int)((left + 999) / 1000);
    return false;
}

enum up_result relay_result(enum httpc_result result, const struct httpc_reply *http,
                            const struct err *err, struct up_reply *reply)
{
    if (result != HTTPC_DONE) {
        relay_later(reply, err);
        return result == HTTPC_NOT_SENT ? UP_RETRY : UP_UNKNOWN;
    }
    if (http->status / 100 == 2)
        return UP_ISSUED;
    struct bytes body = shown(http);
    relay_reason(reply, "the CA answers %d%s%.*s", http->status, body.len ? ": " : "",
                 (int)body.len, (const char *)body.ptr);
    reply->retry_after = httpc_retry_after(http);
    return result_of(http->status);
}
