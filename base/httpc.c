#include "base/httpc.h"

#include "base/clock.h"
#include "base/debug.h"
#include "base/link.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define REPLY_MAX ((size_t)1 << 20)
#define HEADERS_MAX ((size_t)64 << 10)
#define CONNECT_MS 10000
#define RETRY_AFTER_MAX INT64_C(31536000)

/* A connection that is kept, or is in use. */
struct handle {
    struct link link;
    struct httpc *httpc;
    CURL *curl;
    const char
        *unwanted; /* the server's TLS alert that it does not take our certificate; or NULL */
    bool more;     /* TLS has read more than the last reply */
};

struct httpc {
    struct httpc_conf conf;
    X509_STORE *store; /* NULL: the system's */
    pthread_mutex_t mutex;
    struct link idle;
};

/* One exchange. */
struct exchange {
    struct httpc *httpc;
    struct handle *handle;
    struct httpc_reply *reply;
    size_t reply_max;
    bool too_large;
    char error[CURL_ERROR_SIZE];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool ready;
static int handle_index;

static void init(void)
{
    ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    handle_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

bool httpc_new(const struct httpc_conf *conf, struct httpc **ret, struct err *err)
{
    pthread_once(&once, init);
    if (!ready)
        return err_set(err, ERR_LOCAL, "libcurl does not start");
    struct httpc *httpc = mem_zalloc(sizeof *httpc);
    httpc->conf = *conf;
    pthread_mutex_init(&httpc->mutex, NULL);
    link_init(&httpc->idle);
    bool ok = true;
    if (conf->trust_count) {
        httpc->store = X509_STORE_new();
        ok = httpc->store && X509_STORE_set_flags(httpc->store, X509_V_FLAG_PARTIAL_CHAIN);
    }
    for (size_t i = 0; i < conf->trust_count && ok; i++) {
        X509 *anchor = cert_keyed_get(conf->trust[i]);
        ok = anchor && X509_STORE_add_cert(httpc->store, anchor);
    }
    if (!ok) {
        httpc_free(httpc);
        return err_openssl(err, ERR_CONFIG, "an anchor that OpenSSL does not take");
    }
    *ret = httpc;
    return true;
}

static void curl_open(struct handle *handle)
{
    handle->curl = curl_easy_init();
    if (!handle->curl)
        err_no_memory();
}

static void handle_free(struct handle *handle)
{
    curl_easy_cleanup(handle->curl);
    free(handle);
}

void httpc_free(struct httpc *httpc)
{
    if (!httpc)
        return;
    for (struct link *link; (link = link_take(&httpc->idle));)
        handle_free(LINK_OWNER(link, struct handle, link));
    X509_STORE_free(httpc->store);
    pthread_mutex_destroy(&httpc->mutex);
    free(httpc);
}

static struct handle *handle_take(struct httpc *httpc)
{
    struct handle *handle = NULL;
    pthread_mutex_lock(&httpc->mutex);
    if (!link_none(&httpc->idle)) {
        handle = LINK_OWNER(httpc->idle.prev, struct handle, link);
        link_drop(&handle->link);
    }
    pthread_mutex_unlock(&httpc->mutex);
    if (handle)
        return handle;
    handle = mem_zalloc(sizeof *handle);
    handle->httpc = httpc;
    curl_open(handle);
    return handle;
}

static void handle_give(struct httpc *httpc, struct handle *handle)
{
    curl_easy_reset(handle->curl); /* keeps connections and TLS sessions */
    pthread_mutex_lock(&httpc->mutex);
    link_add(&httpc->idle, &handle->link);
    pthread_mutex_unlock(&httpc->mutex);
}

/* With TLS 1.3 a server judges the client's certificate when the request may be on its way already;
 * one that does not take it has not read the request (RFC 8446 section 6.2). */
static void on_alert(const SSL *ssl, int where, int alert)
{
    static const int unwanted[] = {
        SSL_AD_BAD_CERTIFICATE,     SSL_AD_UNSUPPORTED_CERTIFICATE, SSL_AD_CERTIFICATE_REVOKED,
        SSL_AD_CERTIFICATE_EXPIRED, SSL_AD_CERTIFICATE_UNKNOWN,     SSL_AD_UNKNOWN_CA,
        SSL_AD_ACCESS_DENIED,       SSL_AD_CERTIFICATE_REQUIRED,    SSL_AD_HANDSHAKE_FAILURE};
    struct handle *handle = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), handle_index);
    if (!handle || where != SSL_CB_READ_ALERT)
        return;
    for (size_t i = 0; i < sizeof unwanted / sizeof unwanted[0]; i++)
        if ((alert & 0xff) == unwanted[i])
            handle->unwanted = SSL_alert_desc_string_long(alert);
}

/* Keys and anchors from memory: no file of the configuration is read again. */
static CURLcode on_tls(CURL *curl, void *ctx, void *arg)
{
    struct handle *handle = arg;
    struct httpc *httpc = handle->httpc;
    const struct httpc_conf *conf = &httpc->conf;
    (void)curl;
    SSL_CTX_set_ex_data(ctx, handle_index, handle);
    SSL_CTX_set_info_callback(ctx, on_alert);
    if (httpc->store)
        SSL_CTX_set1_cert_store(ctx, httpc->store);
    if (!conf->chain_count)
        return CURLE_OK;
    X509 *leaf = cert_keyed_get(conf->chain[0]);
    bool ok = leaf && SSL_CTX_use_certificate(ctx, leaf) == 1 &&
              SSL_CTX_use_PrivateKey(ctx, conf->key) == 1;
    for (size_t i = 1; i < conf->chain_count && ok; i++)
        ok = SSL_CTX_add1_chain_cert(ctx, cert_x509_get(conf->chain[i])) == 1;
    return ok ? CURLE_OK : CURLE_SSL_CERTPROBLEM;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct exchange *exchange = arg;
    struct bytes line = bytes_of(data, size * count);
    if (bytes_starts(line, "HTTP/"))
        buf_clear(&exchange->reply->headers); /* of an interim reply */
    exchange->too_large = !buf_add(&exchange->reply->headers, line);
    return exchange->too_large ? 0 : line.len;
}

/* libcurl asks TLS for no more than the body's length. */
static bool has_more(CURL *curl)
{
    const struct curl_tlssessioninfo *info = NULL;
    return curl_easy_getinfo(curl, CURLINFO_TLS_SSL_PTR, &info) == CURLE_OK && info->internals &&
           SSL_has_pending(info->internals) == 1;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct exchange *exchange = arg;
    struct bytes part = bytes_of(data, size * count);
    exchange->handle->more = has_more(exchange->handle->curl);
    exchange->too_large = !buf_add(&exchange->reply->body, part);
    return exchange->too_large ? 0 : part.len;
}

static bool set_tls(CURL *curl, struct handle *handle)
{
    bool ok =
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_tls) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, handle) == CURLE_OK;
    if (ok && handle->httpc->store)
        ok = curl_easy_setopt(curl, CURLOPT_CAINFO, NULL) == CURLE_OK &&
             curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK;
    return ok;
}

static bool set_limits(CURL *curl, const struct httpc_call *call, int64_t left)
{
    long connect = left < CONNECT_MS ? (long)left : CONNECT_MS;
    /* The thread that looks a name up may outlive the deadline: it is not waited for. */
    return curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)left) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, connect) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, call->once ? 1L : 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_MAXCONNECTS, 1L) == CURLE_OK && /* the one of kept() */
           curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
}

/* One way only, so that no server gets a Basic password by offering nothing better. */
static bool set_auth(CURL *curl, const struct httpc_conf *conf)
{
    static const unsigned long ways[] = {[HTTPC_BASIC] = CURLAUTH_BASIC,
                                         [HTTPC_NTLM] = CURLAUTH_NTLM,
                                         [HTTPC_NEGOTIATE] = CURLAUTH_NEGOTIATE};
    bool ticket = conf->auth == HTTPC_NEGOTIATE;
    if (!conf->user && !ticket)
        return true;
    return curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)ways[conf->auth]) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_USERNAME, ticket ? "" : conf->user) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PASSWORD,
                            ticket || !conf->password ? "" : conf->password) == CURLE_OK;
}

static bool set_call(CURL *curl, const struct httpc_call *call, const struct httpc_conf *conf,
                     const struct curl_slist *headers)
{
    bool body = strcmp(call->method, "GET") != 0 && strcmp(call->method, "HEAD") != 0;
    bool ok = curl_easy_setopt(curl, CURLOPT_URL, call->url) == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK;
    if (ok && strcmp(call->method, "HEAD") == 0)
        ok = curl_easy_setopt(curl, CURLOPT_NOBODY, 1L) == CURLE_OK;
    if (ok && body)
        ok = curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
             curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method) == CURLE_OK &&
             curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len) ==
                 CURLE_OK &&
             curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                              call->body.len ? (const char *)call->body.ptr : "") == CURLE_OK;
    return ok && set_auth(curl, conf);
}

static bool set_reply(CURL *curl, struct exchange *exchange)
{
    return curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HEADERDATA, exchange) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, exchange->error) == CURLE_OK;
}

static struct curl_slist *headers_of(const struct httpc_call *call)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:"); /* no 100-continue */
    for (const char *const *header = call->headers; header && *header && list; header++) {
        struct curl_slist *longer = curl_slist_append(list, *header);
        if (!longer)
            err_no_memory();
        list = longer;
    }
    if (!list)
        err_no_memory();
    return list;
}

/* The connection that the last exchange left; CURL_SOCKET_BAD: none. */
static curl_socket_t kept(CURL *curl)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    return curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK ? fd : CURL_SOCKET_BAD;
}

static bool is_readable(curl_socket_t fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) != 0;
}

/* What waits to be read on a connection that is kept answers no request of ours, and this libcurl
 * (7.88) would take it for the answer to the next one. Such a connection is closed; so is one that
 * an exchange on another has put out of sight. */
static void close_stale(struct handle *handle, bool hidden)
{
    curl_socket_t fd = kept(handle->curl);
    bool bad = fd == CURL_SOCKET_BAD ? hidden : handle->more || is_readable(fd);
    handle->more = false;
    if (!bad)
        return;
    curl_easy_cleanup(handle->curl);
    curl_open(handle);
}

/* Whether the request line may have been written. */
static bool has_left(CURL *curl)
{
    curl_off_t before = 0;
    return curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &before) != CURLE_OK || before > 0;
}

/* What libcurl keeps is the first thing that went wrong: of a peer that was gone before it was
 * asked for its address, after an alert that nobody has read, that it has no address. */
static void say_error(const struct exchange *exchange, CURLcode code, const char *url,
                      struct err *err)
{
    const char *text = *exchange->error ? exchange->error : curl_easy_strerror(code);
    if (exchange->handle->unwanted)
        err_set(err, ERR_UPSTREAM, "%s: refused in TLS by the alert %s", url,
                exchange->handle->unwanted);
    else if (exchange->too_large)
        err_set(err, ERR_UPSTREAM, "%s: the reply is too large", url);
    else if (strncmp(text, "getpeername", strlen("getpeername")) == 0)
        err_set(err, ERR_UPSTREAM, "%s: closed the connection before it was asked%s", url,
                exchange->httpc->conf.chain_count ? "; perhaps our certificate is not wanted" : "");
    else
        err_set(err, ERR_UPSTREAM, "%s: %s", url, text);
}

static enum httpc_result run(struct exchange *exchange, struct handle *handle,
                             const struct httpc_call *call, struct err *err)
{
    CURL *curl = handle->curl;
    long status = 0;
    int64_t left = call->deadline - clock_mono_ms();
    if (left <= 0) {
        err_set(err, ERR_UPSTREAM, "%s: no time is left", call->url);
        return HTTPC_NOT_SENT;
    }
    handle->unwanted = NULL;
    struct curl_slist *headers = headers_of(call);
    enum httpc_result result = HTTPC_NOT_SENT;
    if (!set_tls(curl, handle) || !set_limits(curl, call, left) ||
        !set_call(curl, call, &exchange->httpc->conf, headers) || !set_reply(curl, exchange)) {
        err_set(err, ERR_BUG, "%s: libcurl does not take the request", call->url);
    } else {
        CURLcode code = curl_easy_perform(curl);
        debug_boundary("exchanged");
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        exchange->reply->status = (int)status;
        if (code == CURLE_OK)
            result = HTTPC_DONE;
        else if (has_left(curl) && !handle->unwanted)
            result = HTTPC_UNKNOWN;
        if (code != CURLE_OK)
            say_error(exchange, code, call->url, err);
    }
    curl_slist_free_all(headers);
    return result;
}

enum httpc_result httpc_run(struct httpc *httpc, const struct httpc_call *call,
                            struct httpc_reply *reply, struct err *err)
{
    struct handle *handle = handle_take(httpc);
    struct exchange exchange = {.httpc = httpc, .handle = handle, .reply = reply};
    httpc_reply_clear(reply);
    reply->headers.max = HEADERS_MAX;
    reply->body.max = call->reply_max ? call->reply_max : REPLY_MAX;
    reply->body.secret = call->secret;
    close_stale(handle, false);
    bool before = kept(handle->curl) != CURL_SOCKET_BAD;
    enum httpc_result result = run(&exchange, handle, call, err);
    close_stale(handle, before);
    handle_give(httpc, handle);
    return result;
}

void httpc_reply_clear(struct httpc_reply *reply)
{
    buf_free(&reply->headers);
    buf_free(&reply->body);
    *reply = (struct httpc_reply){0};
}

struct bytes httpc_header(const struct httpc_reply *reply, const char *name)
{
    struct bytes cur = buf_bytes(&reply->headers), line, key;
    while (cur.len) {
        bytes_take_until(&cur, '\n', &line);
        if (bytes_take_until(&line, ':', &key) && bytes_equal_nocase(key, name))
            return bytes_trim(line);
    }
    return (struct bytes){0};
}

bool httpc_is_type(const struct httpc_reply *reply, const char *type)
{
    struct bytes value = httpc_header(reply, "Content-Type"), media;
    bytes_take_until(&value, ';', &media);
    return bytes_equal_nocase(bytes_trim(media), type);
}

int httpc_retry_after(const struct httpc_reply *reply)
{
    struct bytes value = httpc_header(reply, "Retry-After");
    char *text = bytes_to_str(value), *end = NULL;
    if (!text || !*text) {
        free(text);
        return 0;
    }
    int64_t seconds = strtoll(text, &end, 10);
    if (!*end && seconds > 0 && seconds < RETRY_AFTER_MAX) {
        seconds++; /* clock_now() is the beginning of a second */
    } else if (*end) {
        time_t at = curl_getdate(text, NULL);
        seconds = at < 0 ? 0 : at - clock_now();
    }
    free(text);
    return seconds < 0 ? 0 : (int)(seconds > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : seconds);
}
