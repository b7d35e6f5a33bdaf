#include "gateway/http.h"
#include "gateway/tls.h"
#include "tests/support/config_make.h"
#include "tests/support/pki_make.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#define BODY_MAX 1000
#define REPLY_MAX 65536

/* A server with a plain and a TLS listener whose handler tells what it got. */
struct fixture {
    char dir[64];
    EVP_PKEY *client_key;
    X509 *client;
    struct cfg *cfg;
    struct tls *tls;
    struct http_server *server;
    uint16_t plain, secure;
};

/* "METHOD path?query [body] from peer [subject of the client]" */
static void echo(void *arg, const struct http_request *request, struct http_response *response)
{
    unsigned agents;
    (void)arg;
    (void)http_header_get(request->headers, "user-agent", &agents);
    response->status = 200;
    response->content_type = "text/plain";
    if (bytes_equal_str(request->path, "/forge"))
        assert_true(buf_add_str(&response->authenticate, "Basic\r\nX-Forged: yes"));
    if (bytes_equal_str(request->path, "/base64"))
        response->base64 = true;
    assert_true(buf_add_fmt(
        &response->body, "%s %.*s?%.*s [%.*s] from %s [%s] %u", request->method,
        (int)request->path.len, request->path.ptr, (int)request->query.len,
        request->query.len ? (const char *)request->query.ptr : "", (int)request->body.len,
        request->body.len ? (const char *)request->body.ptr : "", request->peer,
        request->certificate ? cert_names_get(request->certificate)->subject_text : "nobody",
        agents));
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static struct cfg *configure(const struct fixture *f, const char *more)
{
    char path[128];
    struct buf text = {0}, faults = {0};
    struct cfg *cfg = NULL;
    const char *base = strstr(config_base, "store:");
    snprintf(path, sizeof path, "%s/scepter.yaml", f->dir);
    assert_true(buf_add_fmt(&text,
                            "listen:\n  scep: [http://127.0.0.1:%u]\n"
                            "  est: [https://127.0.0.1:%u]\n"
                            "tls: {certificate: tls.pem, key: tls.key}\n%s%s",
                            f->plain, f->secure, more, base));
    if (!cfg_load_text(buf_bytes(&text), path, &fake_kinds, &cfg, &faults))
        fail_msg("%s", buf_str(&faults));
    buf_free(&text);
    buf_free(&faults);
    return cfg;
}

static bool serve(const struct fixture *f, struct http_server **ret, struct err *err)
{
    const struct http_door doors[] = {
        {&f->cfg->listen.scep, NULL, false, false, {echo, NULL, NULL, NULL}},
        {&f->cfg->listen.est, f->tls, true, true, {echo, NULL, NULL, NULL}},
    };
    const struct http_conf conf = {"test", doors, 2, f->cfg, 2, 4, BODY_MAX};
    return http_server_start(&conf, ret, err);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    struct err err;
    config_dir_make(f->dir);
    f->client_key = make_ec("P-256");
    f->client = make_x509(&(struct make_spec){.subject = "CN=device"}, f->client_key, NULL, NULL);
    f->plain = free_port();
    f->secure = free_port();
    f->cfg = configure(f, "");
    if (!tls_new(f->cfg, TLS_ASK_OPTIONAL, &f->tls, &err) || !serve(f, &f->server, &err))
        fail_msg("%s", err.text);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    http_server_stop(f->server);
    tls_free(f->tls);
    cfg_free(f->cfg);
    X509_free(f->client);
    EVP_PKEY_free(f->client_key);
    free(f);
    return 0;
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Sends raw bytes and reads until the server closes. */
static const char *exchange(const struct fixture *f, const char *request)
{
    static char reply[REPLY_MAX];
    size_t len = 0;
    ssize_t n;
    int fd = connect_to(f->plain);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    while (len < sizeof reply - 1 && (n = read(fd, reply + len, sizeof reply - 1 - len)) > 0)
        len += (size_t)n;
    reply[len] = 0;
    close(fd);
    return reply;
}

static void assert_status(const char *reply, int status)
{
    char head[32];
    snprintf(head, sizeof head, "HTTP/1.1 %d ", status);
    if (strncmp(reply, head, strlen(head)) != 0)
        fail_msg("expected %d, got: %.200s", status, reply);
}

static void assert_holds(const char *reply, const char *text)
{
    if (!strstr(reply, text))
        fail_msg("no \"%s\" in: %s", text, reply);
}

#define CLOSE "Host: x\r\nConnection: close\r\n"

/* GET and POST reach the handler with path, raw query, body and peer. */
static void test_requests(void **state)
{
    const char *reply = exchange(*state, "GET /a%20b/c?x=%41+y HTTP/1.1\r\n" CLOSE "\r\n");
    assert_status(reply, 200);
    assert_holds(reply, "GET /a b/c?x=%41+y [] from 127.0.0.1 [nobody] 0");
    reply = exchange(*state, "POST /p HTTP/1.1\r\n" CLOSE
                             "User-Agent: t\r\nContent-Length: 5\r\n\r\nhello");
    assert_holds(reply, "POST /p? [hello] from 127.0.0.1 [nobody] 1");
}

/* HTTP/1.0 without Host, and HTTP/1.1 without Host, are served: strongSwan omits it. */
static void test_no_host(void **state)
{
    assert_status(exchange(*state, "GET / HTTP/1.0\r\n\r\n"), 200);
    assert_status(exchange(*state, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), 200);
}

/* A reply has Content-Length, is not chunked, and a HEAD has the head alone. */
static void test_reply_form(void **state)
{
    const char *reply = exchange(*state, "HEAD /base64 HTTP/1.1\r\n" CLOSE "\r\n");
    assert_status(reply, 200);
    assert_holds(reply, "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n");
    assert_holds(reply, "Content-Length: ");
    assert_null(strstr(reply, "chunked"));
    assert_string_equal(strstr(reply, "\r\n\r\n"), "\r\n\r\n");
}

/* A chunked body arrives whole. */
static void test_chunked(void **state)
{
    const char *reply =
        exchange(*state, "POST /c HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n"
                         "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    assert_status(reply, 200);
    assert_holds(reply, "[abcdefg]");
}

/* Expect: 100-continue is answered before the body comes, after the size was checked; not if the
 * body is there already. Any other expectation is 417. */
static void test_expect(void **state)
{
    static const char head[] =
        "POST /e HTTP/1.1\r\n" CLOSE "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct fixture *f = *state;
    char reply[512] = "";
    int fd = connect_to(f->plain);
    assert_int_equal(write(fd, head, sizeof head - 1), sizeof head - 1);
    assert_int_equal(read(fd, reply, sizeof reply - 1), sizeof go_on - 1);
    assert_string_equal(reply, go_on);
    assert_int_equal(write(fd, "hi", 2), 2);
    assert_true(read(fd, reply, sizeof reply - 1) > 0);
    assert_status(reply, 200);
    close(fd);
    assert_status(exchange(f, "POST /e HTTP/1.1\r\n" CLOSE
                              "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"),
                  200);
    assert_status(exchange(f, "POST /e HTTP/1.1\r\n" CLOSE
                              "Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n"),
                  413);
    assert_status(exchange(f, "GET /e HTTP/1.1\r\n" CLOSE "Expect: tea\r\n\r\n"), 417);
}

/* Too large a body is 413, declared or chunked; none at all on a POST is 411. */
static void test_limits(void **state)
{
    char request[4096];
    assert_status(exchange(*state, "POST /l HTTP/1.1\r\n" CLOSE "Content-Length: 1001\r\n\r\n"),
                  413);
    int len = snprintf(request, sizeof request,
                       "POST /l HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n5dc\r\n");
    memset(request + len, 'a', 1500);
    snprintf(request + len + 1500, sizeof request - (size_t)len - 1500, "\r\n0\r\n\r\n");
    assert_status(exchange(*state, request), 413);
    assert_status(exchange(*state, "POST /l HTTP/1.1\r\n" CLOSE "\r\n"), 411);
}

/* What two readers could understand differently is refused and the connection closed. */
static void test_smuggling(void **state)
{
    static const char *const heads[] = {
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3abc\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: \r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        char request[512];
        snprintf(request, sizeof request, "POST /s HTTP/1.1\r\nHost: x\r\n%s\r\nabc", heads[i]);
        const char *reply = exchange(*state, request); /* it ends: the connection was closed */
        if (strncmp(reply, "HTTP/1.1 400 ", 13) != 0 && strncmp(reply, "HTTP/1.1 411 ", 13) != 0)
            fail_msg("%s: %.100s", heads[i], reply);
        assert_null(strstr(reply, "[abc]"));
    }
}

/* The handler knows no methods beyond GET, HEAD and POST but one, with whatever body; the
 * connection stays in step. */
static void test_methods(void **state)
{
    const char *reply =
        exchange(*state, "PUT /m HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                         "BREW /n HTTP/1.1\r\nHost: x\r\n\r\n"
                         "get /o HTTP/1.1\r\n" CLOSE "\r\n");
    assert_holds(reply, "OPTIONS /m? [abc] from");
    assert_holds(reply, "OPTIONS /n? [] from");
    assert_holds(reply, "OPTIONS /o? [] from");
}

/* A handler's value with a line end makes no header of its own: the reply is not sent, and 500 is.
 */
static void test_header_injection(void **state)
{
    const char *reply = exchange(*state, "GET /forge HTTP/1.1\r\n" CLOSE "\r\n");
    assert_null(strstr(reply, "X-Forged"));
    assert_status(reply, 500);
}

/* Two requests on one connection get two replies. */
static void test_keep_alive(void **state)
{
    const char *reply = exchange(*state, "GET /one HTTP/1.1\r\nHost: x\r\n\r\n"
                                         "GET /two HTTP/1.1\r\n" CLOSE "\r\n");
    assert_holds(reply, "GET /one?");
    assert_holds(reply, "GET /two?");
}

/* One request over TLS; client may be NULL. */
static char *exchange_tls(const struct fixture *f, bool with_certificate, int max_version)
{
    static const char request[] = "GET /t HTTP/1.1\r\n" CLOSE "\r\n";
    char *reply = mem_zalloc(REPLY_MAX);
    int len = 0, n;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(ctx, max_version);
    if (with_certificate) {
        assert_int_equal(SSL_CTX_use_certificate(ctx, f->client), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, f->client_key), 1);
    }
    SSL *ssl = SSL_new(ctx);
    int fd = connect_to(f->secure);
    SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) == 1) {
        assert_true(SSL_write(ssl, request, sizeof request - 1) > 0);
        while (len < REPLY_MAX - 1 && (n = SSL_read(ssl, reply + len, REPLY_MAX - 1 - len)) > 0)
            len += n;
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return reply;
}

/* The client certificate whose key the handshake proved reaches the handler, on TLS 1.2 and 1.3. */
static void test_client_certificate(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        char *reply = exchange_tls(*state, true, versions[i]);
        assert_status(reply, 200);
        assert_holds(reply, "[CN=device]");
        free(reply);
        reply = exchange_tls(*state, false, versions[i]);
        assert_holds(reply, "[nobody]");
        free(reply);
    }
}

/* TLS 1.1 is not spoken. */
static void test_old_tls(void **state)
{
    char *reply = exchange_tls(*state, false, TLS1_1_VERSION);
    assert_string_equal(reply, "");
    free(reply);
}

/* After a reload new connections see the new certificate and the new oldest version. */
static void test_tls_reload(void **state)
{
    struct fixture *f = *state;
    struct err err;
    f->cfg->tls.min_version = TLS1_3_VERSION;
    assert_true(tls_reload(f->tls, f->cfg, &err));
    char *reply = exchange_tls(f, false, TLS1_2_VERSION);
    assert_string_equal(reply, "");
    free(reply);
    f->cfg->tls.min_version = TLS1_2_VERSION;
    assert_true(tls_reload(f->tls, f->cfg, &err));
    reply = exchange_tls(f, false, TLS1_2_VERSION);
    assert_status(reply, 200);
    free(reply);
}

/* A port that is taken is an error that names it. */
static void test_port_taken(void **state)
{
    struct fixture *f = *state;
    struct http_server *server;
    struct err err;
    char port[8];
    snprintf(port, sizeof port, "%u", f->plain);
    assert_false(serve(f, &server, &err));
    assert_non_null(strstr(err.text, port));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_no_host),
        cmocka_unit_test(test_reply_form),
        cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_header_injection),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_client_certificate),
        cmocka_unit_test(test_old_tls),
        cmocka_unit_test(test_tls_reload),
        cmocka_unit_test(test_port_taken),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
