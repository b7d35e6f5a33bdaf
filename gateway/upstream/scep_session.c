#include "gateway/upstream/scep_session.h"

#include "base/clock.h"
#include "base/pem.h"
#include "base/text.h"

#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <string.h>

void scep_ca_clear(struct scep_ca *ca)
{
    for (size_t i = 0; i < ca->count; i++)
        cert_free(ca->certs[i]);
    *ca = (struct scep_ca){0};
}

void scep_session_open(struct scep_session *session, const struct relay *relay,
                       const struct scep_options *options)
{
    session->relay = relay;
    session->options = options;
    session->trust = trust_new(options->trust_certs.items, options->trust_certs.count);
    pthread_mutex_init(&session->mutex, NULL);
}

void scep_session_close(struct scep_session *session)
{
    scep_ca_clear(&session->ca);
    trust_free(session->trust);
    pthread_mutex_destroy(&session->mutex);
}

/* The message goes into the URL where a CA takes no POST: base64, percent-encoded (RFC 8894
 * section 4.1). */
bool scep_session_url(const struct scep_session *session, const char *operation,
                      struct bytes message, struct buf *url)
{
    const char *base = session->options->url;
    struct buf text = {0};
    bool ok = buf_add_fmt(url, "%s%coperation=%s", base, strchr(base, '?') ? '&' : '?', operation);
    if (ok && message.len)
        ok = buf_add_str(url, "&message=") && text_base64_encode(message, 0, &text);
    for (size_t i = 0; i < text.len && ok; i++) {
        bool plain = !strchr("+/=", text.ptr[i]);
        ok = plain ? buf_add_u8(url, text.ptr[i]) : buf_add_fmt(url, "%%%02X", text.ptr[i]);
    }
    buf_free(&text);
    return ok;
}

/* A GET whose answer is 200. False: http->status is that of another answer, or 0 for none. */
static bool get(struct scep_session *session, const char *operation, int64_t deadline,
                struct httpc_reply *http, struct err *err)
{
    struct buf url = {0};
    struct up_reply said = {0};
    const char *identifier = session->options->identifier;
    bool ok = scep_session_url(session, operation, (struct bytes){0}, &url) &&
              (!identifier || buf_add_fmt(&url, "&message=%s", identifier));
    struct httpc_call call = {.method = "GET", .url = buf_str(&url), .deadline = deadline};
    enum httpc_result result =
        ok ? httpc_run(session->relay->httpc, &call, http, err) : HTTPC_NOT_SENT;
    if (result != HTTPC_DONE)
        http->status = 0;
    if (!ok)
        err_set(err, ERR_CONFIG, "the URL is too long");
    else if (relay_result(result, http, err, &said) != UP_ISSUED)
        ok = result == HTTPC_DONE ? relay_failed(err, call.url, &said) : false;
    buf_free(&url);
    return ok;
}

/* NDES before Windows Server 2008 R2 has never heard of GetCACaps and answers with an error: it
 * knows what a CA knows that lists nothing. An answer that asks for patience or for credentials is
 * no such error. */
static bool get_caps(struct scep_session *session, int64_t deadline, struct httpc_reply *http,
                     struct err *err)
{
    static const int unheard[] = {400, 404, 405, 500, 501};
    if (get(session, "GetCACaps", deadline, http, err))
        return true;
    for (size_t i = 0; i < sizeof unheard / sizeof unheard[0]; i++) {
        if (http->status == unheard[i]) {
            buf_clear(&http->body);
            return true;
        }
    }
    return false;
}

/* RFC 8894 section 3.5.2: a keyword a line. */
static bool has_cap(struct bytes caps, const char *keyword)
{
    struct bytes line;
    while (caps.len) {
        bytes_take_until(&caps, '\n', &line);
        if (bytes_equal_nocase(bytes_trim(line), keyword))
            return true;
    }
    return false;
}

/* The best that both sides know. A CA that tells nothing knows single DES and MD5, which nobody
 * should; with `legacy`, triple DES and SHA-1 are tried. */
static bool choose_algs(const struct scep_session *session, struct bytes caps, struct scep_ca *ca,
                        struct err *err)
{
    bool legacy = session->options->legacy, standard = has_cap(caps, "SCEPStandard");
    if (standard || has_cap(caps, "AES"))
        ca->algs.cipher = NID_aes_128_cbc;
    else if (legacy)
        ca->algs.cipher = NID_des_ede3_cbc;
    if (standard || has_cap(caps, "SHA-256"))
        ca->algs.digest = NID_sha256;
    else if (has_cap(caps, "SHA-512"))
        ca->algs.digest = NID_sha512;
    else if (legacy)
        ca->algs.digest = NID_sha1;
    ca->post = standard || has_cap(caps, "POSTPKIOperation");
    return (ca->algs.cipher && ca->algs.digest) ||
           err_set(err, ERR_UPSTREAM,
                   "the CA knows neither AES nor SHA-256; legacy: true would allow triple DES and "
                   "SHA-1");
}

static uint32_t usage_of(const struct cert *cert)
{
    return X509_get_key_usage(cert_x509_get(cert));
}

/* The RA's certificate for encryption, or the CA's own (RFC 8894 section 3.5.1). */
static struct cert *choose_recipient(const struct scep_ca *ca)
{
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < ca->count; i++)
            if (cert_is_ca(ca->certs[i]) == (round == 1) &&
                cert_spki_get(ca->certs[i])->kind == SPKI_RSA &&
                (round == 1 || (usage_of(ca->certs[i]) & KU_KEY_ENCIPHERMENT)))
                return ca->certs[i];
    return NULL;
}

/* Only what chains to the configured anchors is believed: the answer came over plain HTTP. */
static bool take_certs(struct scep_session *session, const struct httpc_reply *http,
                       struct scep_ca *ca, struct err *err)
{
    struct cert **certs;
    size_t count;
    struct err why = {0};
    if (!relay_certs_decode(buf_bytes(&http->body), &certs, &count, err))
        return err_within(err, "reading the answer to GetCACert");
    struct trust_terms terms = {.extra = certs, .extra_count = count, .at = clock_now()};
    for (size_t i = 0; i < count; i++)
        if (trust_check(session->trust, certs[i], &terms, &why))
            ca->certs[ca->count++] = cert_ref(certs[i]);
    if (ca->count)
        relay_chain_set(session->relay->chain, ca->certs, ca->count);
    pem_certs_free(certs, count);
    ca->recipient = choose_recipient(ca);
    if (!ca->count)
        return err_set(err, ERR_UPSTREAM, "GetCACert gives nothing that chains to trust: %.300s",
                       why.text);
    return ca->recipient ||
           err_set(err, ERR_UPSTREAM, "GetCACert gives no certificate to encrypt for");
}

bool scep_session_fetch(struct scep_session *session, int64_t deadline, struct err *err)
{
    struct httpc_reply http = {0};
    struct scep_ca ca = {0}, old;
    bool ok = get_caps(session, deadline, &http, err) &&
              choose_algs(session, buf_bytes(&http.body), &ca, err) &&
              get(session, "GetCACert", deadline, &http, err) &&
              take_certs(session, &http, &ca, err);
    httpc_reply_clear(&http);
    if (!ok) {
        scep_ca_clear(&ca);
        return false;
    }
    pthread_mutex_lock(&session->mutex);
    old = session->ca;
    session->ca = ca;
    pthread_mutex_unlock(&session->mutex);
    scep_ca_clear(&old);
    return true;
}

bool scep_session_ca(struct scep_session *session, int64_t deadline, struct scep_ca *ret,
                     struct err *err)
{
    for (int i = 0; i < 2; i++) {
        pthread_mutex_lock(&session->mutex);
        *ret = session->ca;
        for (size_t k = 0; k < ret->count; k++)
            cert_ref(ret->certs[k]);
        pthread_mutex_unlock(&session->mutex);
        if (ret->count)
            return true;
        if (i == 0 && !scep_session_fetch(session, deadline, err))
            return false;
    }
    return false;
}
