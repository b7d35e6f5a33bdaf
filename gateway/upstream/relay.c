#include "gateway/upstream/relay.h"

#include "base/clock.h"
#include "base/pem.h"
#include "base/text.h"
#include "config/file.h"
#include "config/table.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGES_MAX                                                                                \
    64 /* of a chain; then it stays as it is until the configuration is read again */
#define BODY_SHOWN 120

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
     .type = CFG_CUSTOM,
     .offset = offsetof(struct relay_basic, password),
     .required = true,
     .meaning = "The password.",
     .form = "a file with one secret, of mode 0600 or 0400, or 0640 if it is root's",
     .json = "{\"type\": \"string\"}",
     .read = cfg_file_secret,
     .clear = cfg_file_secret_clear},
    {0},
};

void relay_client_judge(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct relay_client *client = field;
    (void)cfg_judge_pair(&client->certificate, client->key, node, faults);
}

bool relay_client_check(const struct relay_client *client, struct err *err)
{
    char text[TEXT_TIME_MAX];
    if (!client->certificate.count)
        return true;
    const struct cert *cert = client->certificate.items[0];
    if (cert_not_after_get(cert) > clock_now())
        return true;
    text_time(cert_not_after_get(cert), text);
    return err_set(err, ERR_UPSTREAM, "our certificate at this CA, %s, has expired on %s",
                   cert_names_get(cert)->subject_text, text);
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

/* Every state that a reader may hold is kept. */
struct relay_chain {
    pthread_mutex_t mutex;
    struct cfg_certs states[CHANGES_MAX];
    size_t count;
};

struct relay_chain *relay_chain_new(const struct cfg_certs *known)
{
    struct relay_chain *chain = mem_zalloc(sizeof *chain);
    pthread_mutex_init(&chain->mutex, NULL);
    if (known->count)
        relay_chain_set(chain, known->items, known->count);
    return chain;
}

void relay_chain_free(struct relay_chain *chain)
{
    if (!chain)
        return;
    for (size_t i = 0; i < chain->count; i++)
        pem_certs_free(chain->states[i].items, chain->states[i].count);
    pthread_mutex_destroy(&chain->mutex);
    free(chain);
}

static bool is_issuer(const struct cert *issuer, const struct cert *cert)
{
    return issuer != cert && X509_NAME_cmp(X509_get_issuer_name(cert_x509_get(cert)),
                                           X509_get_subject_name(cert_x509_get(issuer))) == 0;
}

/* A root, or the certificate of one by another of the same name (RFC 4210 section 4.4). */
static bool is_self_issued(const struct cert *cert)
{
    const X509 *x509 = cert_x509_get(cert);
    return X509_NAME_cmp(X509_get_issuer_name(x509), X509_get_subject_name(x509)) == 0;
}

/* How many of these stand above it. */
static size_t depth(const struct cert *cert, struct cert *const *certs, size_t count, size_t left)
{
    if (is_self_issued(cert))
        return 0;
    for (size_t i = 0; left && i < count; i++)
        if (is_issuer(certs[i], cert))
            return 1 + depth(certs[i], certs, count, left - 1);
    return 0;
}

static bool states_equal(const struct cfg_certs *a, const struct cfg_certs *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; i < a->count && equal; i++)
        equal = bytes_equal(cert_der_get(a->items[i]), cert_der_get(b->items[i]));
    return equal;
}

void relay_chain_set(struct relay_chain *chain, struct cert *const *certs, size_t count)
{
    struct cfg_certs state = {.items = mem_zalloc(count * sizeof *state.items + 1)};
    for (size_t want = count + 1; want-- > 0;) /* deepest first */
        for (size_t i = 0; i < count; i++)
            if (cert_is_ca(certs[i]) && depth(certs[i], certs, count, count) == want)
                state.items[state.count++] = cert_ref(certs[i]);
    pthread_mutex_lock(&chain->mutex);
    bool same = chain->count && states_equal(&chain->states[chain->count - 1], &state);
    bool kept = state.count && !same && chain->count < CHANGES_MAX;
    if (kept)
        chain->states[chain->count++] = state;
    pthread_mutex_unlock(&chain->mutex);
    if (!kept)
        pem_certs_free(state.items, state.count);
}

bool relay_chain_get(struct relay_chain *chain, const struct cfg_certs **ret, struct err *err)
{
    pthread_mutex_lock(&chain->mutex);
    *ret = chain->count ? &chain->states[chain->count - 1] : NULL;
    pthread_mutex_unlock(&chain->mutex);
    if (!*ret)
        err_set(err, ERR_UPSTREAM, "the CA has not told its certificates yet");
    return *ret != NULL;
}

bool relay_chain_remember(struct relay_chain *chain, struct buf *memory)
{
    const struct cfg_certs *certs;
    struct err ignored;
    bool ok = relay_chain_get(chain, &certs, &ignored);
    for (size_t i = 0; ok && i < certs->count; i++)
        ok = pem_add(memory, "CERTIFICATE", cert_der_get(certs->items[i]));
    return ok;
}

void relay_chain_recall(struct relay_chain *chain, struct bytes memory)
{
    const struct cfg_certs *known;
    struct cert **certs = NULL;
    size_t count = 0;
    struct err ignored;
    if (relay_chain_get(chain, &known, &ignored) ||
        !relay_certs_decode(memory, &certs, &count, &ignored))
        return;
    relay_chain_set(chain, certs, count);
    pem_certs_free(certs, count);
}

bool relay_chain_issued(struct relay_chain *chain, const struct cert *cert)
{
    const struct cfg_certs *certs;
    struct err ignored;
    if (!relay_chain_get(chain, &certs, &ignored))
        return false;
    for (size_t i = 0; i < certs->count; i++) { /* OpenSSL wants to see the issuer's key */
        X509 *issuer = cert_keyed_get(certs->items[i]);
        if (issuer && X509_check_issued(issuer, cert_x509_get(cert)) == X509_V_OK)
            return true;
    }
    return false;
}
