#include "gateway/upstream/vault.h"

#include "base/clock.h"
#include "base/pem.h"
#include "gateway/upstream/rest.h"
#include "gateway/upstream/vault_options.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TOKEN_MAX 4096
#define HEADER_MAX (TOKEN_MAX + 32)
#define LEASE_MAX_SECONDS INT64_C(315360000)

/* A token, and until when it is good. */
struct token {
    struct buf text;    /* secret; empty: none */
    int64_t renew_at;   /* in clock_mono_ms() time; INT64_MAX: never */
    int64_t expires_at; /* the same */
};

struct vault {
    struct relay relay; /* first */
    const struct vault_options *options;
    pthread_mutex_t mutex; /* of what follows; held while a token is fetched */
    struct token token;
    struct relay_pause pause; /* of logging in */
};

/* What every request to Vault carries. */
struct headers {
    char token[HEADER_MAX];
    char name_space[300];
    const char *list[4];
};

static struct vault *vault_of(struct upstream *up)
{
    return (struct vault *)up;
}

/* token may be NULL. */
static void headers_set(const struct vault *vault, const char *token, struct headers *headers)
{
    size_t n = 0;
    headers->list[n++] = "X-Vault-Request: true";
    if (token) {
        snprintf(headers->token, sizeof headers->token, REST_TOKEN "%s", token);
        headers->list[n++] = headers->token;
    }
    if (vault->options->name_space) {
        snprintf(headers->name_space, sizeof headers->name_space, "X-Vault-Namespace: %s",
                 vault->options->name_space);
        headers->list[n++] = headers->name_space;
    }
    headers->list[n] = NULL;
}

/* One exchange about tokens, or without one. */
static bool ask_auth(struct vault *vault, struct rest_call *call, const char *token,
                     struct rest_reply *reply, struct err *err)
{
    struct headers headers;
    headers_set(vault, token, &headers);
    call->headers = headers.list;
    bool ok = rest_ask(&vault->relay, call, reply, err);
    call->headers = NULL;
    OPENSSL_cleanse(&headers, sizeof headers);
    return ok;
}

/* A token that no header can hold is no token. */
static bool is_token(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (text[i] <= 0x20 || text[i] >= 0x7f)
            return false;
    return len && len < TOKEN_MAX;
}

/* seconds 0: for good. It is renewed when two thirds are over. */
static void lease_set(struct token *token, int64_t seconds, bool renewable)
{
    int64_t now = clock_mono_ms();
    if (seconds > LEASE_MAX_SECONDS)
        seconds = LEASE_MAX_SECONDS;
    token->expires_at = seconds > 0 ? now + seconds * 1000 : INT64_MAX;
    token->renew_at = seconds > 0 && renewable ? now + seconds * 2000 / 3 : INT64_MAX;
}

/* The `auth` of an answer to a login or a renewal. */
static bool token_read(struct token *token, const struct rest_reply *reply, struct err *err)
{
    const struct json_value *auth = json_get(json_root(reply->json), "auth");
    const char *text = json_text(json_get(auth, "client_token"));
    int64_t seconds;
    if (!text || !is_token(text) || !json_integer_get(json_get(auth, "lease_duration"), &seconds) ||
        seconds < 0)
        return err_set(err, ERR_UPSTREAM, "the CA answers a login without a token");
    if (!buf_set(&token->text, bytes_str(text)))
        return err_set(err, ERR_UPSTREAM, "the CA answers a login with a token that is too long");
    lease_set(token, seconds, json_holds(json_get(auth, "renewable")));
    return true;
}

/* The token of the file: what is left of it, the server knows. */
static bool token_look_up(struct vault *vault, int64_t deadline, struct err *err)
{
    struct buf text = BUF_SECRET(TOKEN_MAX);
    struct rest_call call = {
        .method = "GET", .path = "auth/token/lookup-self", .deadline = deadline};
    struct rest_reply reply = {0};
    int64_t seconds = 0;
    bool ok = buf_set(&text, buf_bytes(&vault->options->token)) && is_token(buf_str(&text));
    if (!ok)
        err_set(err, ERR_CONFIG, "the file of the token holds none");
    ok = ok && ask_auth(vault, &call, buf_str(&text), &reply, err);
    const struct json_value *root = json_root(reply.json);
    if (ok && (!json_integer_get(rest_get(root, "data", "ttl"), &seconds) || seconds < 0))
        ok = err_set(err, ERR_UPSTREAM, "the CA does not say how long our token lives");
    if (ok) {
        ok = buf_set(&vault->token.text, buf_bytes(&text));
        lease_set(&vault->token, seconds, json_holds(rest_get(root, "data", "renewable")));
    }
    rest_reply_clear(&reply);
    buf_free(&text);
    return ok;
}

static bool log_in(struct vault *vault, int64_t deadline, struct err *err)
{
    const struct vault_options *options = vault->options;
    struct buf secret = BUF_SECRET(TOKEN_MAX);
    struct rest_reply reply = {0};
    char path[VAULT_PATH_MAX];
    if (options->token.len)
        return token_look_up(vault, deadline, err);
    struct json *body = json_new_object();
    if (options->approle.role_id) {
        json_set_text(body, "role_id", options->approle.role_id);
        if (buf_set(&secret, buf_bytes(&options->approle.secret_id)))
            json_set_text(body, "secret_id", buf_str(&secret));
        snprintf(path, sizeof path, "auth/%s/login", options->approle.mount);
    } else {
        if (options->tls.name)
            json_set_text(body, "name", options->tls.name);
        snprintf(path, sizeof path, "auth/%s/login", options->tls.mount);
    }
    struct rest_call call = {.method = "POST", .path = path, .body = body, .deadline = deadline};
    bool ok = ask_auth(vault, &call, NULL, &reply, err) && token_read(&vault->token, &reply, err);
    rest_reply_clear(&reply);
    json_free(body);
    buf_free(&secret);
    return ok;
}

/* While it is good a renewal that fails does no harm; it is tried again when half of what is left
 * is over, or when the server wants. It leaves half of the time for what the token is for. */
static void renew(struct vault *vault, int64_t deadline)
{
    int64_t half = clock_mono_ms() + (deadline - clock_mono_ms()) / 2;
    struct json *body = json_new_object();
    struct rest_call call = {
        .method = "POST", .path = "auth/token/renew-self", .body = body, .deadline = half};
    struct rest_reply reply = {0};
    struct err failed = {0};
    struct token *token = &vault->token;
    bool ok = ask_auth(vault, &call, buf_str(&token->text), &reply, &failed) &&
              token_read(token, &reply, &failed);
    if (!ok) {
        int64_t now = clock_mono_ms(), left = (token->expires_at - now) / 2,
                wish = (int64_t)failed.retry_after * 1000;
        token->renew_at = now + (wish > left ? wish : left);
    }
    rest_reply_clear(&reply);
    json_free(body);
}

static bool lock_until(pthread_mutex_t *mutex, int64_t deadline, struct err *err)
{
    struct timespec until = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
    return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &until) == 0 ||
           err_set(err, ERR_UPSTREAM, "another request waits for a token already");
}

/* Unless Vault wants to be asked later. Under the mutex. */
static bool log_in_by_turns(struct vault *vault, int64_t deadline, struct err *err)
{
    if (!relay_pause_over(&vault->pause, err))
        return false;
    bool ok = log_in(vault, deadline, err);
    if (!ok)
        relay_pause_begin(&vault->pause, err);
    return ok;
}

/* A token that is good now, and by which the caller asks. */
static bool token_get(struct vault *vault, int64_t deadline, struct buf *ret, struct err *err)
{
    struct token *token = &vault->token;
    if (!lock_until(&vault->mutex, deadline, err))
        return false;
    int64_t now = clock_mono_ms();
    if (token->text.len && now >= token->renew_at && now < token->expires_at)
        renew(vault, deadline);
    if (clock_mono_ms() >= token->expires_at)
        buf_clear(&token->text);
    bool ok = token->text.len || log_in_by_turns(vault, deadline, err);
    ok = ok && (buf_set(ret, buf_bytes(&token->text)) ||
                err_set(err, ERR_UPSTREAM, "the token is too long"));
    pthread_mutex_unlock(&vault->mutex);
    return ok;
}

/* The server did not take it: revoked before its time. The next request gets a new one. */
static void token_drop(struct vault *vault, const struct buf *text)
{
    pthread_mutex_lock(&vault->mutex);
    if (bytes_equal_secret(buf_bytes(&vault->token.text), buf_bytes(text)))
        buf_clear(&vault->token.text);
    pthread_mutex_unlock(&vault->mutex);
}

/* An exchange with a token. What comes before the request itself is NOT_SENT to the caller. */
static enum up_result ask(struct vault *vault, struct rest_call *call, struct rest_reply *reply,
                          struct up_reply *said)
{
    struct buf token = BUF_SECRET(TOKEN_MAX);
    struct headers headers;
    struct err err;
    enum up_result result = UP_RETRY;
    if (!relay_client_check(&vault->options->client, &err) ||
        !token_get(vault, call->deadline, &token, &err)) {
        result = relay_later(said, &err);
    } else {
        headers_set(vault, buf_str(&token), &headers);
        call->headers = headers.list;
        result = rest_run(&vault->relay, call, reply, said);
        call->headers = NULL;
        OPENSSL_cleanse(&headers, sizeof headers);
    }
    if (reply->status == 403)
        token_drop(vault, &token);
    if (reply->status == 412)
        result = UP_RETRY; /* a standby that is not up to date yet */
    buf_free(&token);
    return result;
}

/* Reading an issuer takes no token. */
static bool fetch_chain(struct upstream *up, int64_t deadline, struct err *err)
{
    struct vault *vault = vault_of(up);
    const struct vault_options *options = vault->options;
    struct rest_reply reply = {0};
    char path[VAULT_PATH_MAX];
    struct rest_call call = {.method = "GET", .path = path, .deadline = deadline};
    snprintf(path, sizeof path, "%s/issuer/%s/json", options->mount,
             options->issuer ? options->issuer : "default");
    bool ok = ask_auth(vault, &call, NULL, &reply, err);
    const struct json_value *data = json_get(json_root(reply.json), "data");
    const struct json_value *certs[2] = {json_get(data, "certificate"), json_get(data, "ca_chain")};
    ok = ok && rest_chain_set(&vault->relay, certs, err);
    rest_reply_clear(&reply);
    return ok || err_within(err, "asking for %s", path);
}

/* A role may have an issuer of its own, which is not the mount's default. */
static enum up_result take_cert(struct vault *vault, const struct rest_reply *answer,
                                const struct up_order *order, int64_t deadline,
                                struct up_reply *reply)
{
    const struct json_value *data = json_get(json_root(answer->json), "data");
    struct rest_issued issued = {json_get(data, "certificate"),
                                 {json_get(data, "issuing_ca"), json_get(data, "ca_chain")}};
    enum up_result result = rest_take(&vault->relay, &issued, order->csr, reply);
    if (result == UP_ISSUED)
        relay_follow(&vault->relay, reply->cert, deadline);
    return result;
}

static void sign_path(const struct vault_options *options, char ret[VAULT_PATH_MAX])
{
    snprintf(ret, VAULT_PATH_MAX, "%s%s%s/%s%s%s", options->mount,
             options->issuer ? "/issuer/" : "", options->issuer ? options->issuer : "",
             options->verbatim ? "sign-verbatim" : "sign", options->role ? "/" : "",
             options->role ? options->role : "");
}

/* 400 says no to the request, but also that there is no such role, which an operator can mend. */
static bool is_unknown_role(const struct rest_reply *answer)
{
    const char *text = json_text(json_at(json_get(json_root(answer->json), "errors"), 0));
    return text && strncmp(text, "unknown role", strlen("unknown role")) == 0;
}

static enum up_result sign(struct vault *vault, const struct up_order *order, int64_t deadline,
                           struct up_reply *reply)
{
    char path[VAULT_PATH_MAX], ttl[32];
    struct rest_reply answer = {0};
    struct json *body = json_new_object();
    sign_path(vault->options, path);
    json_set_text(body, "format", "pem");
    if (vault->options->ttl) {
        snprintf(ttl, sizeof ttl, "%llds", (long long)vault->options->ttl);
        json_set_text(body, "ttl", ttl);
    }
    struct rest_call call = {
        .method = "POST", .path = path, .body = body, .once = true, .deadline = deadline};
    enum up_result result = UP_REFUSED;
    if (rest_set_csr(body, "csr", order->csr))
        result = ask(vault, &call, &answer, reply);
    else
        relay_reason(reply, "the request is too large");
    if (result == UP_ISSUED)
        result = take_cert(vault, &answer, order, deadline, reply);
    else if (result == UP_REFUSED && is_unknown_role(&answer))
        result = UP_RETRY;
    rest_reply_clear(&answer);
    json_free(body);
    return result;
}

static enum up_result vault_submit(struct upstream *up, const struct up_order *order,
                                   struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct vault *vault = vault_of(up);
    struct err err;
    (void)handle;
    if (!relay_ready(&vault->relay, deadline, &err))
        return relay_later(reply, &err);
    return sign(vault, order, deadline, reply);
}

/* By the certificate, which the engine also revokes if its role does not store what it issues. It
 * takes no reason. */
static bool vault_revoke(struct upstream *up, const struct cert *cert, int reason, int64_t deadline,
                         struct err *err)
{
    struct vault *vault = vault_of(up);
    char path[VAULT_PATH_MAX], url[RELAY_URL_MAX];
    struct buf pem = BUF_INIT(2 * CERT_MAX);
    struct rest_reply answer = {0};
    struct up_reply said = {0};
    struct json *body = json_new_object();
    (void)reason;
    snprintf(path, sizeof path, "%s/revoke", vault->options->mount);
    relay_url(&vault->relay, path, url);
    struct rest_call call = {.method = "POST", .path = path, .body = body, .deadline = deadline};
    bool ok = pem_add(&pem, "CERTIFICATE", cert_der_get(cert));
    json_set_text(body, "certificate", buf_str(&pem));
    if (ok && ask(vault, &call, &answer, &said) != UP_ISSUED)
        ok = relay_failed(err, url, &said);
    rest_reply_clear(&answer);
    json_free(body);
    buf_free(&pem);
    return ok;
}

static bool vault_health(struct upstream *up, int64_t deadline, struct err *err)
{
    struct vault *vault = vault_of(up);
    struct buf token = BUF_SECRET(TOKEN_MAX);
    bool ok = relay_client_check(&vault->options->client, err) &&
              token_get(vault, deadline, &token, err) && fetch_chain(up, deadline, err);
    buf_free(&token);
    return ok;
}

static void vault_close(struct upstream *up)
{
    struct vault *vault = vault_of(up);
    buf_free(&vault->token.text);
    pthread_mutex_destroy(&vault->mutex);
    relay_close(up);
}

static bool vault_open(const struct cfg_upstream *conf, struct upstream **ret, struct err *err)
{
    const struct vault_options *options = conf->options;
    struct relay_conf relay = {.vt = &vault_vt,
                               .url = options->url,
                               .api = "/v1/",
                               .trust = &options->trust,
                               .tls = &options->client,
                               .client = &options->client,
                               .chain = &options->chain,
                               .fetch = fetch_chain};
    struct vault *vault = relay_new(sizeof *vault, conf, &relay, err);
    if (!vault)
        return false;
    vault->options = options;
    vault->token.text = BUF_SECRET(TOKEN_MAX);
    pthread_mutex_init(&vault->mutex, NULL);
    *ret = &vault->relay.base;
    return true;
}

const struct upstream_vt vault_vt = {
    .type = "vault",
    .caps = UP_REVOKE,
    .open = vault_open,
    .close = vault_close,
    .prepare = relay_prepare,
    .submit = vault_submit,
    .revoke = vault_revoke,
    .chain = relay_chain,
    .health = vault_health,
    .remember = relay_remember,
    .recall = relay_recall,
    .credential = relay_credential,
};
