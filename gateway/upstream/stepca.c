#include "gateway/upstream/stepca.h"

#include "base/clock.h"
#include "base/pem.h"
#include "gateway/upstream/rest.h"
#include "gateway/upstream/stepca_token.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define TOKEN_MAX ((size_t)256 << 10)
#define TOKEN_SECONDS 300 /* as the step command has it */
#define PAGES_MAX 20
#define SIGN "1.0/sign"
#define REVOKE "1.0/revoke"

struct stepca {
    struct relay relay; /* first */
    const struct stepca_options *options;
    pthread_mutex_t mutex; /* guards kid */
    struct buf kid;        /* of our provisioner; empty: the CA was not asked yet */
};

static struct stepca *stepca_of(struct upstream *up)
{
    return (struct stepca *)up;
}

static bool get(struct stepca *stepca, const char *path, int64_t deadline, struct rest_reply *reply,
                struct err *err)
{
    struct rest_call call = {.method = "GET", .path = path, .deadline = deadline};
    return rest_ask(&stepca->relay, &call, reply, err);
}

static void kid_set(struct stepca *stepca, struct bytes kid)
{
    pthread_mutex_lock(&stepca->mutex);
    if (!buf_set(&stepca->kid, kid))
        buf_clear(&stepca->kid);
    pthread_mutex_unlock(&stepca->mutex);
}

/* What our tokens have to call the provisioner's key; a CA that does not know the provisioner, or
 * another key, would take the token and refuse it. */
static bool fetch_kid(struct stepca *stepca, int64_t deadline, struct err *err)
{
    const struct stepca_options *options = stepca->options;
    struct buf kid = {0}, cursor = {0};
    bool ok = true;
    for (int page = 0; ok && !kid.len && page < PAGES_MAX && (!page || cursor.len); page++) {
        struct buf path = BUF_INIT(RELAY_URL_MAX / 2);
        struct rest_reply reply = {0};
        ok = buf_add_fmt(&path, "provisioners?limit=100&cursor=") &&
             rest_escape(buf_str(&cursor), &path);
        if (!ok)
            err_set(err, ERR_UPSTREAM, "the CA's list of provisioners cannot be understood");
        ok = ok && get(stepca, buf_str(&path), deadline, &reply, err) &&
             stepca_provisioner_find(options, json_root(reply.json), &kid, &cursor, err);
        rest_reply_clear(&reply);
        buf_free(&path);
    }
    if (ok && !kid.len)
        ok = err_set(err, ERR_UPSTREAM, "the CA has no provisioner %s of type %s%s",
                     options->provisioner, options->x5c.key ? "X5C" : "JWK",
                     options->x5c.key ? "" : " with our key");
    if (ok)
        kid_set(stepca, buf_bytes(&kid));
    buf_free(&kid);
    buf_free(&cursor);
    return ok;
}

static bool kid_get(struct stepca *stepca, int64_t deadline, struct buf *ret, struct err *err)
{
    pthread_mutex_lock(&stepca->mutex);
    bool ok = buf_set(ret, buf_bytes(&stepca->kid));
    pthread_mutex_unlock(&stepca->mutex);
    if (ok && ret->len)
        return true;
    if (!fetch_kid(stepca, deadline, err))
        return false;
    pthread_mutex_lock(&stepca->mutex);
    ok = buf_set(ret, buf_bytes(&stepca->kid)) && ret->len;
    pthread_mutex_unlock(&stepca->mutex);
    return ok || err_set(err, ERR_UPSTREAM, "the CA has just refused our tokens");
}

/* Intermediates and roots. Versions before 0.26 do not tell the former; what they issue brings
 * them. */
static bool fetch_chain(struct upstream *up, int64_t deadline, struct err *err)
{
    struct stepca *stepca = stepca_of(up);
    struct rest_reply middle = {0}, roots = {0};
    struct err untold = {0};
    bool told = get(stepca, "intermediates", deadline, &middle, &untold);
    bool ok = told || !untold.retry_after;
    if (!ok) /* it has them, and no time */
        *err = untold;
    ok = ok && get(stepca, "roots", deadline, &roots, err);
    const struct json_value *certs[2] = {told ? json_get(json_root(middle.json), "crts") : NULL,
                                         json_get(json_root(roots.json), "crts")};
    ok = ok && rest_chain_set(&stepca->relay, certs, err);
    rest_reply_clear(&middle);
    rest_reply_clear(&roots);
    return ok || err_within(err, "asking for the CA's certificates");
}

static bool stepca_prepare(struct upstream *up, const struct up_order *order, struct buf *handle,
                           struct err *err)
{
    struct stepca_handle made;
    (void)up, (void)order;
    return stepca_handle_make(&made, err) &&
           (stepca_handle_print(&made, handle) || err_set(err, ERR_BUG, "no room for a handle"));
}

static enum up_result take_cert(struct stepca *stepca, const struct rest_reply *answer,
                                const struct up_order *order, struct up_reply *reply)
{
    const struct json_value *root = json_root(answer->json);
    struct rest_issued issued = {json_get(root, "crt"),
                                 {json_get(root, "certChain"), json_get(root, "ca")}};
    return rest_take(&stepca->relay, &issued, order->csr, reply);
}

/* One exchange that takes a token. */
struct ask {
    struct stepca *stepca;
    struct stepca_claims claims;
    struct json *body; /* owned */
    bool once;
    int64_t deadline;
    struct rest_reply answer;
    struct up_reply *said;
};

static void ask_clear(struct ask *ask)
{
    rest_reply_clear(&ask->answer);
    json_free(ask->body);
}

/* Our certificate, what our key is called, and then the token, which goes into the body. */
static bool add_token(struct ask *ask, const char *url, struct err *err)
{
    struct stepca *stepca = ask->stepca;
    struct stepca_claims claims = ask->claims;
    struct buf token = BUF_SECRET(TOKEN_MAX), kid = {0};
    bool ok =
        relay_client_check(&stepca->options->x5c, err) && kid_get(stepca, ask->deadline, &kid, err);
    if (ok) {
        claims.url = url;
        claims.kid = buf_str(&kid);
        claims.expires_at = clock_now() + TOKEN_SECONDS;
        ok = stepca_token_make(stepca->options, &claims, &token, err);
    }
    if (ok)
        json_set_text(ask->body, "ott", buf_str(&token));
    buf_free(&token);
    buf_free(&kid);
    return ok;
}

static enum up_result post(struct ask *ask, const char *path)
{
    char url[RELAY_URL_MAX];
    struct err err;
    relay_url(&ask->stepca->relay, path, url);
    if (!add_token(ask, url, &err))
        return relay_later(ask->said, &err);
    struct rest_call call = {.method = "POST",
                             .path = path,
                             .body = ask->body,
                             .once = ask->once,
                             .deadline = ask->deadline};
    enum up_result result = rest_run(&ask->stepca->relay, &call, &ask->answer, ask->said);
    if (ask->answer.status == 401)
        kid_set(ask->stepca, (struct bytes){0}); /* its provisioners may have changed */
    return result;
}

static enum up_result sign(struct ask *ask, const struct up_order *order)
{
    char validity[32];
    int64_t seconds = ask->stepca->options->validity;
    ask->body = json_new_object();
    ask->once = true;
    ask->claims.csr = order->csr;
    if (seconds) {
        snprintf(validity, sizeof validity, "%llds", (long long)seconds);
        json_set_text(ask->body, "notAfter", validity); /* counts from notBefore */
    }
    if (!rest_set_csr(ask->body, "csr", order->csr)) {
        relay_reason(ask->said, "the request is too large");
        return UP_REFUSED;
    }
    return post(ask, SIGN);
}

/* Whether it is step-ca itself that refuses, and not something in front of it. */
static bool is_own(const struct rest_reply *answer)
{
    int64_t status;
    return json_integer_get(json_get(json_root(answer->json), "status"), &status) &&
           status == answer->status;
}

/* step-ca notes a token before it looks at it: the identifier is spent, though nothing was issued.
 * With another one the request can be sent when the operator has mended what is wrong. */
static enum up_result take_no(const struct rest_reply *answer, struct up_reply *reply)
{
    struct stepca_handle handle;
    struct err err;
    if (!is_own(answer))
        return UP_RETRY;
    if (answer->status == 403)
        return UP_REFUSED; /* by a policy of the provisioner's, or a webhook */
    if (!stepca_handle_make(&handle, &err) || !stepca_handle_print(&handle, &reply->handle))
        buf_clear(&reply->handle);
    return UP_RETRY;
}

static enum up_result stepca_submit(struct upstream *up, const struct up_order *order,
                                    struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct stepca *stepca = stepca_of(up);
    struct stepca_handle mine;
    struct err err;
    if (!stepca_handle_parse(handle, &mine)) {
        relay_reason(reply, "the request has no token's identifier");
        return UP_REFUSED;
    }
    if (!relay_ready(&stepca->relay, deadline, &err))
        return relay_later(reply, &err);
    struct ask ask = {.stepca = stepca,
                      .claims = {.id = mine.id, .issued_at = clock_now()},
                      .deadline = deadline,
                      .said = reply};
    enum up_result result = sign(&ask, order);
    if (result == UP_ISSUED)
        result = take_cert(stepca, &ask.answer, order, reply);
    else if (ask.answer.status == 401 || ask.answer.status == 403)
        result = take_no(&ask.answer, reply);
    ask_clear(&ask);
    return result;
}

/* The same token again, as it was made when the request was ordered. A CA that has had it refuses
 * it, and so does one that was started since and has forgotten what it had: the token is older. So
 * if it issues, it has not issued before; and if it forbids what the token allows, neither. */
static enum up_result stepca_recover(struct upstream *up, const struct up_order *order,
                                     struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct stepca_handle mine;
    if (!stepca_handle_parse(handle, &mine)) {
        relay_reason(reply, "the request has no token's identifier");
        return UP_UNKNOWN;
    }
    struct ask ask = {.stepca = stepca_of(up),
                      .claims = {.id = mine.id, .issued_at = mine.at},
                      .deadline = deadline,
                      .said = reply};
    enum up_result result = sign(&ask, order);
    if (result == UP_ISSUED) {
        result = take_cert(ask.stepca, &ask.answer, order, reply);
    } else if (ask.answer.status == 403 && is_own(&ask.answer)) {
        result = UP_REFUSED;
    } else {
        if (ask.answer.status == 401)
            relay_reason(reply, "the CA does not take the request's token again, so it has had it: "
                                "see whether it issued, then approve or deny");
        result = UP_UNKNOWN;
    }
    ask_clear(&ask);
    return result;
}

/* It is passive: the certificate is not renewed, and stands in the CRL if the CA has one. */
static bool stepca_revoke(struct upstream *up, const struct cert *cert, int reason,
                          int64_t deadline, struct err *err)
{
    struct stepca_handle handle;
    struct up_reply said = {0};
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert_x509_get(cert)), NULL);
    char *serial = number ? BN_bn2dec(number) : NULL;
    BN_free(number);
    if (!serial || !stepca_handle_make(&handle, err)) {
        OPENSSL_free(serial);
        return err_openssl(err, ERR_LOCAL, "no token to revoke by");
    }
    struct ask ask = {.stepca = stepca_of(up),
                      .claims = {.id = handle.id, .serial = serial, .issued_at = handle.at},
                      .body = json_new_object(),
                      .deadline = deadline,
                      .said = &said};
    json_set_text(ask.body, "serial", serial);
    json_set_number(ask.body, "reasonCode", reason);
    json_set_bool(ask.body, "passive", true);
    bool ok = post(&ask, REVOKE) == UP_ISSUED || err_set(err, ERR_UPSTREAM, "%s", said.reason);
    ask_clear(&ask);
    OPENSSL_free(serial);
    return ok;
}

/* Whether it is well, knows our provisioner and key, and what its certificates are. */
static bool stepca_health(struct upstream *up, int64_t deadline, struct err *err)
{
    struct stepca *stepca = stepca_of(up);
    struct rest_reply answer = {0};
    bool ok = relay_client_check(&stepca->options->x5c, err) &&
              get(stepca, "health", deadline, &answer, err);
    const char *status = json_text(json_get(json_root(answer.json), "status"));
    if (ok && (!status || strcmp(status, "ok") != 0))
        ok = err_set(err, ERR_UPSTREAM, "the CA does not say that it is well");
    rest_reply_clear(&answer);
    return ok && fetch_kid(stepca, deadline, err) && fetch_chain(up, deadline, err);
}

static void stepca_close(struct upstream *up)
{
    struct stepca *stepca = stepca_of(up);
    buf_free(&stepca->kid);
    pthread_mutex_destroy(&stepca->mutex);
    relay_close(up);
}

static bool stepca_open(const struct cfg_upstream *conf, struct upstream **ret, struct err *err)
{
    const struct stepca_options *options = conf->options;
    struct relay_conf relay = {.vt = &stepca_vt,
                               .url = options->url,
                               .api = "/",
                               .trust = &options->trust,
                               .client = &options->x5c,
                               .chain = &options->chain,
                               .fetch = fetch_chain};
    struct stepca *stepca = relay_new(sizeof *stepca, conf, &relay, err);
    if (!stepca)
        return false;
    stepca->options = options;
    pthread_mutex_init(&stepca->mutex, NULL);
    *ret = &stepca->relay.base;
    return true;
}

const struct upstream_vt stepca_vt = {
    .type = "stepca",
    .caps = UP_RECOVER | UP_REVOKE,
    .open = stepca_open,
    .close = stepca_close,
    .prepare = stepca_prepare,
    .submit = stepca_submit,
    .recover = stepca_recover,
    .revoke = stepca_revoke,
    .chain = relay_chain,
    .health = stepca_health,
    .remember = relay_remember,
    .recall = relay_recall,
    .credential = relay_credential,
};
