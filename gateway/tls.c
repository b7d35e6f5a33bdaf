#include "gateway/tls.h"

#include "base/clock.h"
#include "base/log.h"
#include "gateway/staple.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 64      /* of a name, and extensions, of a certificate that a client sends */
#define SENT_MAX (32 << 10) /* octets of all of them */
#define TICKET_SECONDS 3600
#define EXPORTER_LEN 32 /* RFC 9266 section 2 */
#define TICKET_KEY_MS (INT64_C(12) * 3600 * 1000)

/* RFC 5077 section 4: a key's name, and what encrypts and authenticates. */
struct ticket_key {
    unsigned char name[16], aes[32], hmac[32];
    int64_t made; /* monotonic milliseconds; 0: no key */
};

/* What one configuration says. */
struct generation {
    SSL_CTX **ctxs;          /* for each certificate, it first; the server's own at 0 */
    struct staple **staples; /* of each; or NULL */
    size_t count;
    struct ticket_key keys[2]; /* one that is used, and the one before it */
};

/* Sessions are made from a shell that never changes. At every ClientHello the session is moved to
 * the context that counts now. */
struct tls {
    SSL_CTX *shell;
    pthread_rwlock_t lock; /* guards current */
    struct generation *current;
    enum tls_ask ask;
};

static bool is_modest(const X509 *x509)
{
    return X509_NAME_entry_count(X509_get_subject_name(x509)) <= ENTRIES_MAX &&
           X509_NAME_entry_count(X509_get_issuer_name(x509)) <= ENTRIES_MAX &&
           X509_get_ext_count(x509) <= ENTRIES_MAX;
}

/* What a client sends stays with its connection, and OpenSSL's form of it takes ten times the room
 * and more: certificates with more than anybody reads are let go. The stack becomes the session's.
 */
static bool keep_few(STACK_OF(X509) * sent)
{
    for (int i = sk_X509_num(sent) - 1; i > 0; i--)
        if (i > TLS_ALONG_MAX || !is_modest(sk_X509_value(sent, i)))
            X509_free(sk_X509_delete(sent, i));
    return sk_X509_num(sent) > 0 && is_modest(sk_X509_value(sent, 0));
}

/* Possession of the key is proved by the handshake; whether the certificate means anything is for
 * the profile to decide, request by request, against its anchors and our inventory. */
static int accept_any(X509_STORE_CTX *ctx, void *arg)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(ctx);
    (void)arg;
    /* A ticket holds the client's own certificate and not what it sent along: who needs that must
     * shake hands again. (TLS 1.2: see ticket_key.) */
    if (sk_X509_num(sent) > 1)
        SSL_set_num_tickets(ssl, 0);
    if (keep_few(sent))
        return 1;
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REJECTED);
    return 0;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char http11[] = "\x08http/1.1";
    (void)ssl, (void)arg;
    return SSL_select_next_proto((unsigned char **)out, out_len, http11, sizeof http11 - 1, in,
                                 in_len) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
}

static bool set_identity(SSL_CTX *ctx, const struct cfg_identity *identity)
{
    for (size_t i = 0; i < identity->chain.count; i++) {
        struct bytes der = cert_der_get(identity->chain.items[i]);
        const unsigned char *p = der.ptr;
        X509 *x509 = d2i_X509(NULL, &p, (long)der.len);
        bool ok = x509 && (i ? SSL_CTX_add1_chain_cert(ctx, x509) == 1
                             : SSL_CTX_use_certificate(ctx, x509) == 1);
        X509_free(x509);
        if (!ok)
            return false;
    }
    return SSL_CTX_use_PrivateKey(ctx, identity->key) == 1;
}

/* Whether a certificate has every DNS name of another: then either can be shown to who asks for it.
 */
static bool covers(X509 *cert, X509 *other)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(other, NID_subject_alt_name, NULL, NULL);
    bool ok = true;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && ok; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            ok = X509_check_host(cert, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                                 (size_t)ASN1_STRING_length(name->d.dNSName), 0, NULL) == 1;
    }
    GENERAL_NAMES_free(names);
    return ok;
}

static const struct cfg_identity *identity_at(const struct cfg_tls *tls, size_t index)
{
    return index ? &tls->others[index - 1] : &tls->identity;
}

/* One certificate, and those with its names and another kind of key: OpenSSL chooses by what the
 * client can verify. */
static bool set_identities(SSL_CTX *ctx, const struct cfg_tls *tls, size_t index)
{
    const struct cfg_identity *first = identity_at(tls, index);
    for (size_t i = 0; i <= tls->other_count; i++) {
        const struct cfg_identity *other = identity_at(tls, i);
        if (i != index && EVP_PKEY_get_base_id(other->key) != EVP_PKEY_get_base_id(first->key) &&
            covers(cert_x509_get(other->chain.items[0]), cert_x509_get(first->chain.items[0])) &&
            !set_identity(ctx, other))
            return false;
    }
    return set_identity(ctx, first);
}

static bool set_names(SSL_CTX *ctx, const struct cfg_certs *certs)
{
    for (size_t i = 0; i < certs->count; i++)
        if (SSL_CTX_add_client_CA(ctx, cert_x509_get(certs->items[i])) != 1)
            return false;
    return true;
}

/* Names of the anchors: a hint for clients with several certificates. */
static bool set_hints(SSL_CTX *ctx, const struct cfg *cfg)
{
    bool ok = set_names(ctx, &cfg->edge.certificates.trust_certs);
    for (size_t i = 0; i < cfg->profile_count && ok; i++) {
        const struct cfg_profile *profile = &cfg->profiles[i];
        ok = set_names(ctx, &profile->trust_certs);
        for (size_t k = 0; k < profile->anchor_count && ok; k++)
            ok = set_names(ctx, &profile->anchors[k].certificates);
    }
    return ok;
}

/* The OCSP response for the certificate that was chosen, if there is one. */
static int show_staple(SSL *ssl, void *arg)
{
    struct tls *tls = SSL_get_app_data(ssl);
    X509 *chosen = SSL_get_certificate(ssl);
    bool shown = false;
    (void)arg;
    pthread_rwlock_rdlock(&tls->lock);
    const struct generation *now = tls->current;
    for (size_t i = 0; i < now->count && chosen; i++)
        if (now->staples[i] && X509_cmp(chosen, SSL_CTX_get0_certificate(now->ctxs[i])) == 0)
            shown = staple_show(now->staples[i], ssl);
    pthread_rwlock_unlock(&tls->lock);
    return shown ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* The suites of TLS 1.2 that the system allows, without those that have no forward secrecy (RFC
 * 9325 section 4.1): who records a session that carries a password or a private key of serverkeygen
 * must not be able to read it once the server's key is his. */
static bool set_suites(SSL_CTX *ctx)
{
    STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
    struct buf names = {0};
    bool ok = true;
    for (int i = 0; ok && i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *suite = sk_SSL_CIPHER_value(all, i);
        int kx = SSL_CIPHER_get_kx_nid(suite);
        if ((kx == NID_kx_ecdhe || kx == NID_kx_dhe) &&
            SSL_CIPHER_get_auth_nid(suite) != NID_auth_null)
            ok = buf_add_fmt(&names, "%s%s", names.len ? ":" : "", SSL_CIPHER_get_name(suite));
    }
    ok = ok && SSL_CTX_set_cipher_list(ctx, buf_str(&names)) == 1;
    buf_free(&names);
    return ok;
}

static SSL_CTX *make_ctx(const struct cfg *cfg, enum tls_ask ask, size_t index, struct err *err)
{
    static const unsigned char context[] = "scepter";
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    bool ok = ctx && SSL_CTX_set_session_id_context(ctx, context, sizeof context - 1) == 1 &&
              SSL_CTX_set_min_proto_version(ctx, cfg->tls.min_version) == 1 && set_suites(ctx) &&
              set_identities(ctx, &cfg->tls, index) &&
              (ask == TLS_ASK_NEVER || set_hints(ctx, cfg));
    if (!ok) {
        err_openssl(err, ERR_CONFIG, "setting up TLS");
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, TICKET_SECONDS);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_max_early_data(ctx, 0);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    SSL_CTX_set_tlsext_status_cb(ctx, show_staple);
    if (ask == TLS_ASK_OPTIONAL) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
        SSL_CTX_set_max_cert_list(ctx, SENT_MAX);
    }
    return ctx;
}

static bool key_make(struct ticket_key *key)
{
    key->made = clock_mono_ms();
    return RAND_bytes(key->name, sizeof key->name) == 1 &&
           RAND_bytes(key->aes, sizeof key->aes) == 1 &&
           RAND_bytes(key->hmac, sizeof key->hmac) == 1;
}

static void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    for (size_t i = 0; i < generation->count; i++) {
        SSL_CTX_free(generation->ctxs[i]);
        staple_free(generation->staples[i]);
    }
    free(generation->ctxs);
    free(generation->staples);
    OPENSSL_cleanse(generation->keys, sizeof generation->keys);
    free(generation);
}

/* Without one that can be used, TLS goes on without. */
static void load_staple(const struct cfg_identity *identity, struct staple **ret)
{
    struct err err;
    if (identity->staple && !staple_load(identity, ret, &err))
        log_err(LOG_WARN, "staple", &err);
}

static struct generation *generation_new(const struct cfg *cfg, enum tls_ask ask, struct err *err)
{
    struct generation *generation = mem_zalloc(sizeof *generation);
    generation->ctxs = mem_zalloc((1 + cfg->tls.other_count) * sizeof(SSL_CTX *));
    generation->staples = mem_zalloc((1 + cfg->tls.other_count) * sizeof(struct staple *));
    bool ok = key_make(&generation->keys[0]) || err_openssl(err, ERR_LOCAL, "no random numbers");
    for (size_t i = 0; i <= cfg->tls.other_count && ok; i++) {
        generation->ctxs[i] = make_ctx(cfg, ask, i, err);
        ok = generation->ctxs[i];
        generation->count += ok;
        if (ok)
            load_staple(identity_at(&cfg->tls, i), &generation->staples[i]);
    }
    if (ok)
        return generation;
    generation_free(generation);
    return NULL;
}

/* The context for the host that the client names (RFC 6066 section 3). */
static SSL_CTX *choose(const struct generation *generation, SSL *ssl)
{
    const unsigned char *ext;
    size_t len;
    if (generation->count == 1 ||
        SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &ext, &len) != 1)
        return generation->ctxs[0];
    /* A list with one entry: list length, type host_name, length, name. */
    if (len < 6 || ext[2] != TLSEXT_NAMETYPE_host_name || (size_t)(ext[3] << 8 | ext[4]) != len - 5)
        return generation->ctxs[0];
    for (size_t i = 0; i < generation->count; i++)
        if (X509_check_host(SSL_CTX_get0_certificate(generation->ctxs[i]), (const char *)ext + 5,
                            len - 5, 0, NULL) == 1)
            return generation->ctxs[i];
    return generation->ctxs[0];
}

/* Runs before the version is chosen, so that a reload can change the oldest one as well. */
static int client_hello(SSL *ssl, int *alert, void *arg)
{
    struct tls *tls = arg;
    (void)alert;
    pthread_rwlock_rdlock(&tls->lock);
    SSL_CTX *ctx = choose(tls->current, ssl);
    SSL_set_SSL_CTX(ssl, ctx); /* takes a count of its own */
    int oldest = (int)SSL_CTX_get_min_proto_version(ctx);
    pthread_rwlock_unlock(&tls->lock);
    return SSL_set_min_proto_version(ssl, oldest) == 1 ? SSL_CLIENT_HELLO_SUCCESS
                                                       : SSL_CLIENT_HELLO_ERROR;
}

/* The key that seals tickets now; a new one from time to time. */
static bool key_current(struct tls *tls, struct ticket_key *ret)
{
    bool ok = true;
    pthread_rwlock_wrlock(&tls->lock);
    struct ticket_key *keys = tls->current->keys;
    if (clock_mono_ms() - keys[0].made > TICKET_KEY_MS) {
        keys[1] = keys[0];
        ok = key_make(&keys[0]);
    }
    *ret = keys[0];
    pthread_rwlock_unlock(&tls->lock);
    return ok;
}

static bool key_named(struct tls *tls, const unsigned char *name, struct ticket_key *ret)
{
    bool found = false;
    pthread_rwlock_rdlock(&tls->lock);
    for (unsigned i = 0; i < 2 && !found; i++) {
        *ret = tls->current->keys[i];
        found = ret->made && memcmp(ret->name, name, sizeof ret->name) == 0;
    }
    pthread_rwlock_unlock(&tls->lock);
    return found;
}

/* Tickets are ours alone and of this configuration: after a reload, whoever resumes does a whole
 * handshake (RFC 5077 section 5.5). */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int seal)
{
    struct tls *tls = SSL_get_app_data(ssl);
    struct ticket_key key;
    if (seal && SSL_version(ssl) < TLS1_3_VERSION && sk_X509_num(SSL_get_peer_cert_chain(ssl)) > 0)
        return 0; /* an empty ticket (RFC 5077 section 3.3): see accept_any */
    OSSL_PARAM params[] = {OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, key.hmac, sizeof key.hmac),
                           OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 6),
                           OSSL_PARAM_END};
    if (seal ? !key_current(tls, &key) || RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1
             : !key_named(tls, name, &key))
        return seal ? -1 : 0;
    if (seal)
        memcpy(name, key.name, sizeof key.name);
    bool ok = EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv, seal) == 1 &&
              EVP_MAC_CTX_set_params(mac, params) == 1;
    OPENSSL_cleanse(&key, sizeof key);
    return ok ? 1 : -1;
}

bool tls_new(const struct cfg *cfg, enum tls_ask ask, struct tls **ret, struct err *err)
{
    struct tls *tls = mem_zalloc(sizeof *tls);
    tls->ask = ask;
    pthread_rwlock_init(&tls->lock, NULL);
    tls->shell = make_ctx(cfg, ask, 0, err);
    tls->current = tls->shell ? generation_new(cfg, ask, err) : NULL;
    if (!tls->current) {
        tls_free(tls);
        return false;
    }
    SSL_CTX_set_client_hello_cb(tls->shell, client_hello, tls);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(tls->shell, ticket_key);
    *ret = tls;
    return true;
}

bool tls_reload(struct tls *tls, const struct cfg *cfg, struct err *err)
{
    struct generation *next = generation_new(cfg, tls->ask, err);
    if (!next)
        return false;
    pthread_rwlock_wrlock(&tls->lock);
    struct generation *old = tls->current;
    tls->current = next;
    pthread_rwlock_unlock(&tls->lock);
    generation_free(old);
    return true;
}

SSL *tls_session_new(struct tls *tls, int fd)
{
    SSL *ssl = SSL_new(tls->shell);
    if (!ssl || SSL_set_fd(ssl, fd) != 1 || SSL_set_app_data(ssl, tls) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_accept_state(ssl);
    return ssl;
}

size_t tls_binding_get(SSL *ssl, uint8_t out[TLS_BINDING_MAX])
{
    static const char label[] = "EXPORTER-Channel-Binding";
    static const unsigned char context[1];
    size_t len = 0;
    if (SSL_version(ssl) >= TLS1_3_VERSION) {
        len = EXPORTER_LEN;
        if (SSL_export_keying_material(ssl, out, len, label, sizeof label - 1, context, 0, 1) != 1)
            len = 0;
    } else if (SSL_get_extms_support(ssl) == 1) {
        /* The first Finished of the handshake: the client's, or the server's if it is resumed. */
        len = SSL_session_reused(ssl) ? SSL_get_finished(ssl, out, TLS_BINDING_MAX)
                                      : SSL_get_peer_finished(ssl, out, TLS_BINDING_MAX);
        if (len > TLS_BINDING_MAX)
            len = 0;
    }
    ERR_clear_error();
    return len;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    generation_free(tls->current);
    SSL_CTX_free(tls->shell);
    pthread_rwlock_destroy(&tls->lock);
    free(tls);
}
