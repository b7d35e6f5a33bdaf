#include "gateway/tls.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define SELF_TEST_SECONDS 5

/* CivetWeb keeps the one context that it was started with, the shell. At every ClientHello the
 * connection is moved to the context that counts now. */
struct tls {
    SSL_CTX *shell;
    pthread_rwlock_t lock; /* guards current */
    SSL_CTX *current;
    enum tls_ask ask;
};

/* Possession of the key is proved by the handshake; whether the certificate means anything is for
 * the profile to decide, request by request, against its anchors and our inventory. */
static int accept_any(X509_STORE_CTX *ctx, void *arg)
{
    (void)ctx, (void)arg;
    return 1;
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

/* Names of the anchors: a hint for clients with several certificates. */
static bool set_hints(SSL_CTX *ctx, const struct cfg *cfg)
{
    for (size_t i = 0; i < cfg->profile_count; i++)
        for (size_t k = 0; k < cfg->profiles[i].trust_certs.count; k++)
            if (SSL_CTX_add_client_CA(ctx, cert_x509_get(cfg->profiles[i].trust_certs.items[k])) !=
                1)
                return false;
    return true;
}

static SSL_CTX *make_ctx(const struct cfg *cfg, enum tls_ask ask, struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    bool ok = ctx && SSL_CTX_set_min_proto_version(ctx, cfg->tls.min_version) == 1 &&
              set_identity(ctx, &cfg->tls.identity) &&
              (ask == TLS_ASK_NEVER || set_hints(ctx, cfg));
    if (!ok) {
        err_openssl(err, ERR_CONFIG, "setting up TLS");
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_max_early_data(ctx, 0);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    if (ask == TLS_ASK_OPTIONAL) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
    }
    return ctx;
}

/* Runs before the version is chosen, so that a reload can change the oldest one as well. */
static int client_hello(SSL *ssl, int *alert, void *arg)
{
    struct tls *tls = arg;
    (void)alert;
    pthread_rwlock_rdlock(&tls->lock);
    SSL_set_SSL_CTX(ssl, tls->current); /* takes a count of its own */
    int oldest = (int)SSL_CTX_get_min_proto_version(tls->current);
    pthread_rwlock_unlock(&tls->lock);
    return SSL_set_min_proto_version(ssl, oldest) == 1 ? SSL_CLIENT_HELLO_SUCCESS
                                                       : SSL_CLIENT_HELLO_ERROR;
}

bool tls_new(const struct cfg *cfg, enum tls_ask ask, struct tls **ret, struct err *err)
{
    struct tls *tls = mem_zalloc(sizeof *tls);
    tls->ask = ask;
    pthread_rwlock_init(&tls->lock, NULL);
    tls->shell = make_ctx(cfg, ask, err);
    tls->current = tls->shell ? make_ctx(cfg, ask, err) : NULL;
    if (!tls->current) {
        tls_free(tls);
        return false;
    }
    SSL_CTX_set_client_hello_cb(tls->shell, client_hello, tls);
    *ret = tls;
    return true;
}

bool tls_reload(struct tls *tls, const struct cfg *cfg, struct err *err)
{
    SSL_CTX *ctx = make_ctx(cfg, tls->ask, err);
    if (!ctx)
        return false;
    pthread_rwlock_wrlock(&tls->lock);
    SSL_CTX *old = tls->current;
    tls->current = ctx;
    pthread_rwlock_unlock(&tls->lock);
    SSL_CTX_free(old);
    return true;
}

SSL_CTX *tls_ctx_get(const struct tls *tls)
{
    return tls->shell;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->current);
    SSL_CTX_free(tls->shell);
    pthread_rwlock_destroy(&tls->lock);
    free(tls);
}

static int connect_to(const struct cfg_url *url)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(url->port)};
    if (inet_pton(AF_INET, url->host, &address.sin_addr) != 1)
        return -1;
    if (address.sin_addr.s_addr == htonl(INADDR_ANY))
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval limit = {.tv_sec = SELF_TEST_SECONDS};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

bool tls_self_test(const struct cfg_url *url, const char *path, struct err *err)
{
    char request[256], reply[16] = "";
    int len = snprintf(request, sizeof request, "HEAD %s HTTP/1.0\r\n\r\n", path);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = ctx ? SSL_new(ctx) : NULL;
    int fd = connect_to(url);
    bool ok = ssl && fd >= 0 && SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1 &&
              SSL_write(ssl, request, len) > 0 && SSL_read(ssl, reply, sizeof reply - 1) > 0 &&
              strncmp(reply, "HTTP/1.1 ", 9) == 0;
    if (!ok)
        err_openssl(err, ERR_LOCAL, "the self-test of TLS on port %u failed", url->port);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    if (fd >= 0)
        close(fd);
    ERR_clear_error();
    return ok;
}
