#include "gateway/upstream/rest.h"

#include "base/pem.h"
#include "base/text.h"
#include "gateway/upstream/hide.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <string.h>

#define BODY_MAX ((size_t)512 << 10)
#define ITEMS_MAX 32
#define PEM_MAX ((size_t)1 << 20)

void rest_reply_clear(struct rest_reply *reply)
{
    json_free(reply->json);
    *reply = (struct rest_reply){0};
}

/* The outcome of an exchange that came to an end. */
static enum up_result read_reply(const struct httpc_reply *http, struct rest_reply *ret,
                                 struct up_reply *said)
{
    struct err err;
    ret->status = http->status;
    if (!bytes_trim(buf_bytes(&http->body)).len)
        return UP_ISSUED;
    if (json_parse(buf_bytes(&http->body), &ret->json, &err))
        return UP_ISSUED;
    relay_reason(said, "the CA answers %d with %s", http->status, err.text);
    return UP_UNKNOWN;
}

/* What is wrong, if it is said in JSON. */
static void read_fault(const struct httpc_reply *http, struct rest_reply *ret)
{
    struct err ignored;
    ret->status = http->status;
    if (!json_parse(buf_bytes(&http->body), &ret->json, &ignored))
        ret->json = NULL;
}

/* CAs quote what they do not like. What nobody shall read of a request does not come back: a token
 * among the headers, and these members. */
static void hide(struct httpc_reply *http, const struct rest_call *call)
{
    static const char *const members[] = {"secret_id", "password", "ott", "csr",
                                          "certificate_request"};
    for (size_t i = 0; call->headers && call->headers[i]; i++)
        if (strncmp(call->headers[i], REST_TOKEN, strlen(REST_TOKEN)) == 0)
            hide_in_error(http, bytes_str(call->headers[i] + strlen(REST_TOKEN)));
    for (size_t i = 0; call->body && i < sizeof members / sizeof members[0]; i++) {
        const char *secret = json_text(json_get(json_root(call->body), members[i]));
        if (secret)
            hide_in_error(http, bytes_str(secret));
    }
}

enum up_result rest_run(const struct relay *relay, const struct rest_call *call,
                        struct rest_reply *ret, struct up_reply *said)
{
    char url[RELAY_URL_MAX];
    const char *headers[REST_HEADERS_MAX + 3] = {"Accept: application/json"};
    size_t count = 1;
    struct buf body = BUF_SECRET(BODY_MAX);
    struct httpc_reply http = {0};
    struct err err = {0};
    if (call->body)
        headers[count++] = "Content-Type: application/json";
    for (size_t i = 0; call->headers && call->headers[i] && i < REST_HEADERS_MAX; i++)
        headers[count++] = call->headers[i];
    if (call->body && !json_print_compact(call->body, &body)) {
        relay_reason(said, "the request is too large");
        return UP_REFUSED;
    }
    relay_url(relay, call->path, url);
    struct httpc_call exchange = {.method = call->method,
                                  .url = url,
                                  .headers = headers,
                                  .body = buf_bytes(&body),
                                  .once = call->once,
                                  .deadline = call->deadline};
    enum httpc_result ended = httpc_run(relay->httpc, &exchange, &http, &err);
    if (ended == HTTPC_DONE)
        hide(&http, call);
    enum up_result result = relay_result(ended, &http, &err, said);
    if (result == UP_ISSUED)
        result = read_reply(&http, ret, said);
    else if (ended == HTTPC_DONE)
        read_fault(&http, ret);
    if (http.body.len)
        OPENSSL_cleanse(http.body.ptr, http.body.len); /* it may hold a token */
    httpc_reply_clear(&http);
    buf_free(&body);
    return result;
}

bool rest_ask(const struct relay *relay, const struct rest_call *call, struct rest_reply *ret,
              struct err *err)
{
    struct up_reply said = {0};
    char url[RELAY_URL_MAX];
    relay_url(relay, call->path, url);
    return rest_run(relay, call, ret, &said) == UP_ISSUED || relay_failed(err, url, &said);
}

const struct json_value *rest_get(const struct json_value *value, const char *outer,
                                  const char *inner)
{
    return json_get(json_get(value, outer), inner);
}

static bool certs_add(struct buf *pem, struct bytes text, struct err *err)
{
    struct cert **certs = NULL;
    size_t count = 0;
    struct buf inner = {0};
    struct err ignored;
    if (!relay_certs_decode(text, &certs, &count, err) &&
        (!text_base64_decode(text, TEXT_BASE64_SPACE, &inner, &ignored) ||
         !relay_certs_decode(buf_bytes(&inner), &certs, &count, err))) {
        buf_free(&inner);
        return false;
    }
    buf_free(&inner);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++)
        ok = pem_add(pem, "CERTIFICATE", cert_der_get(certs[i]));
    pem_certs_free(certs, count);
    return ok || err_set(err, ERR_UPSTREAM, "more certificates than there is room for");
}

bool rest_certs_add(struct buf *pem, const struct json_value *value, struct err *err)
{
    const char *text = json_text(value);
    bool ok = true;
    if (text)
        return certs_add(pem, bytes_str(text), err);
    for (size_t i = 0; i < ITEMS_MAX && ok; i++) {
        text = json_text(json_at(value, i));
        if (!text)
            break;
        ok = certs_add(pem, bytes_str(text), err);
    }
    return ok;
}

bool rest_chain_set(const struct relay *relay, const struct json_value *const values[2],
                    struct err *err)
{
    struct buf pem = BUF_INIT(PEM_MAX);
    struct cert **certs = NULL;
    size_t count = 0;
    bool ok = rest_certs_add(&pem, values[0], err) && rest_certs_add(&pem, values[1], err) &&
              relay_certs_decode(buf_bytes(&pem), &certs, &count, err);
    if (ok)
        relay_chain_set(relay->chain, certs, count);
    pem_certs_free(certs, count);
    buf_free(&pem);
    return ok;
}

#define HAS_ISSUED "the CA answers that it issued, with"

enum up_result rest_take(const struct relay *relay, const struct rest_issued *issued,
                         const struct csr *csr, struct up_reply *reply)
{
    struct buf pem = BUF_INIT(PEM_MAX);
    struct err err;
    enum up_result result = UP_UNKNOWN;
    if (rest_certs_add(&pem, issued->cert, &err))
        result = rest_cert_take(&pem, csr, reply);
    else
        relay_reason(reply, HAS_ISSUED " %s", err.text);
    buf_free(&pem);
    if (result == UP_ISSUED && !relay_chain_issued(relay->chain, reply->cert))
        (void)!rest_chain_set(relay, issued->above, &err);
    return result;
}

enum up_result rest_cert_take(const struct buf *pem, const struct csr *csr, struct up_reply *reply)
{
    return relay_cert_take(buf_bytes(pem), csr, HAS_ISSUED, reply);
}

bool rest_set_csr(struct json *object, const char *key, const struct csr *csr)
{
    struct buf pem = BUF_SECRET(4 * CSR_MAX); /* it may hold a challengePassword */
    bool ok = pem_add(&pem, "CERTIFICATE REQUEST", csr_der_get(csr));
    if (ok)
        json_set_text(object, key, buf_str(&pem));
    buf_free(&pem);
    return ok;
}

bool rest_escape(const char *text, struct buf *out)
{
    bool ok = true;
    for (; *text && ok; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x80 && (isalnum(c) || strchr("-._~", c)))
            ok = buf_add_u8(out, c);
        else
            ok = buf_add_fmt(out, "%%%02X", c);
    }
    return ok;
}
