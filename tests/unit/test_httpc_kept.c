#include "base/clock.h"
#include "base/httpc.h"
#include "tests/support/pki_make.h"

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 30000
#define REST "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrest"

/* A server of TLS that answers each request with its path, and more as that says. */
struct site {
    int fd;
    SSL_CTX *ctx;
    struct cert *cert;
    struct httpc *httpc;
    char url[64];
    pthread_t thread;
};

static atomic_int served; /* connections, now */
static atomic_int rests;  /* that were sent in a record of their own */

static bool say(SSL *ssl, const char *text)
{
    return SSL_write(ssl, text, (int)strlen(text)) > 0;
}

/* Records end where the calls do. */
static bool answer(SSL *ssl, const char *path)
{
    char head[128], body[128];
    bool closes = strcmp(path, "/closes") == 0;
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n%s\r\n", strlen(path),
             closes ? "Connection: close\r\n" : "");
    snprintf(body, sizeof body, "%s%s", path, strcmp(path, "/same-record") == 0 ? REST : "");
    bool ok = say(ssl, head) && say(ssl, body);
    if (ok && strcmp(path, "/own-record") == 0) {
        ok = say(ssl, REST);
        rests++;
    }
    return ok && !closes;
}

static void *serve(void *arg)
{
    SSL *ssl = arg;
    char request[2048], path[64];
    int n;
    bool more = SSL_accept(ssl) == 1;
    while (more && (n = SSL_read(ssl, request, sizeof request - 1)) > 0) {
        request[n] = 0;
        more = sscanf(request, "GET %63s", path) == 1 && answer(ssl, path);
    }
    close(SSL_get_fd(ssl));
    SSL_free(ssl);
    served--;
    return NULL;
}

static void *site_main(void *arg)
{
    struct site *site = arg;
    int fd;
    while ((fd = accept(site->fd, NULL, NULL)) >= 0) {
        pthread_t thread;
        SSL *ssl = SSL_new(site->ctx);
        served++;
        assert_int_equal(SSL_set_fd(ssl, fd), 1);
        assert_int_equal(pthread_create(&thread, NULL, serve, ssl), 0);
        pthread_detach(thread);
    }
    return NULL;
}

static int setup(void **state)
{
    struct site *site = mem_zalloc(sizeof *site);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    struct err err;
    EVP_PKEY *key = make_ec("P-256");
    X509 *x509 =
        make_x509(&(struct make_spec){.subject = "CN=ca", .sans = "IP:127.0.0.1"}, key, NULL, NULL);
    site->ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(site->ctx, x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(site->ctx, key), 1);
    assert_true(cert_from_x509(x509, &site->cert, &err));
    struct httpc_conf conf = {.trust = &site->cert, .trust_count = 1};
    assert_true(httpc_new(&conf, &site->httpc, &err));
    site->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(site->fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(site->fd, 16), 0);
    assert_int_equal(getsockname(site->fd, (struct sockaddr *)&address, &len), 0);
    snprintf(site->url, sizeof site->url, "https://127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&site->thread, NULL, site_main, site), 0);
    X509_free(x509);
    EVP_PKEY_free(key);
    *state = site;
    return 0;
}

static int teardown(void **state)
{
    struct site *site = *state;
    shutdown(site->fd, SHUT_RDWR);
    pthread_join(site->thread, NULL);
    close(site->fd);
    httpc_free(site->httpc);
    while (served)
        usleep(1000); /* all are closed */
    cert_free(site->cert);
    SSL_CTX_free(site->ctx);
    free(site);
    return 0;
}

/* Each request has its own answer. */
static void ask(struct site *site, const char *path, bool once)
{
    char url[128];
    struct httpc_reply reply = {0};
    struct err err = {0};
    snprintf(url, sizeof url, "%s%s", site->url, path);
    struct httpc_call call = {
        .method = "GET", .url = url, .once = once, .deadline = clock_mono_ms() + DEADLINE_MS};
    assert_int_equal(httpc_run(site->httpc, &call, &reply, &err), HTTPC_DONE);
    assert_int_equal(reply.status, 200);
    assert_true(bytes_equal_str(buf_bytes(&reply.body), path));
    httpc_reply_clear(&reply);
}

/* A second answer in the record that ends the first one: TLS has it, the socket has nothing. */
static void test_same_record(void **state)
{
    ask(*state, "/same-record", false);
    ask(*state, "/next", false);
    ask(*state, "/after", false);
}

/* With a second answer behind its own, which is there at the end. */
static void ask_twofold(struct site *site)
{
    int before = rests;
    ask(site, "/own-record", false);
    while (rests == before)
        usleep(1000);
    usleep(10000);
}

/* A second answer behind the first one. */
static void test_own_record(void **state)
{
    ask_twofold(*state);
    ask(*state, "/next", false);
    ask(*state, "/after", true);
}

/* The connection with the second answer is not the last one that was used. */
static void test_older(void **state)
{
    ask_twofold(*state);
    ask(*state, "/closes", true);
    ask(*state, "/next", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_older, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
