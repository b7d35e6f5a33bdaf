#include "gateway/upstream/est.h"

#include "base/clock.h"
#include "base/pem.h"
#include "base/text.h"
#include "config/read.h"
#include "gateway/upstream/hide.h"
#include "gateway/upstream/relay.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 64

struct est_options {
    struct cfg_line line; /* first */
    char *url;
    struct cfg_certs trust;
    struct relay_client client;
    struct relay_basic basic;
    struct cfg_certs chain;
};

struct est {
    struct relay relay; /* first */
    const struct est_options *options;
};

static struct est *est_of(struct upstream *up)
{
    return (struct est *)up;
}

/* What nobody shall read although a CA quotes it: the password, as it is and as Basic has it. */
static void hide(const struct est *est, struct httpc_reply *http)
{
    const struct relay_basic *basic = &est->options->basic;
    struct buf text = {.secret = true}, header = {.secret = true};
    if (!basic->user)
        return;
    hide_in_error(http, buf_bytes(&basic->password));
    if (buf_add_fmt(&text, "%s:", basic->user) && buf_add(&text, buf_bytes(&basic->password)) &&
        text_base64_encode(buf_bytes(&text), 0, &header))
        hide_in_error(http, buf_bytes(&header));
    buf_free(&text);
    buf_free(&header);
}

/* RFC 7030 section 4.1.3 */
static bool fetch_chain(struct upstream *up, int64_t deadline, struct err *err)
{
    struct est *est = est_of(up);
    char url[RELAY_URL_MAX];
    struct httpc_reply http = {0};
    struct up_reply said = {0};
    struct cert **certs = NULL;
    size_t count = 0;
    relay_url(&est->relay, "cacerts", url);
    struct httpc_call call = {.method = "GET", .url = url, .deadline = deadline};
    enum httpc_result result = httpc_run(est->relay.httpc, &call, &http, err);
    hide(est, &http);
    bool ok = relay_result(result, &http, err, &said) == UP_ISSUED;
    if (!ok && result == HTTPC_DONE)
        relay_failed(err, url, &said);
    else if (ok)
        ok = relay_certs_decode(buf_bytes(&http.body), &certs, &count, err) ||
             err_within(err, "asking for %s", url);
    if (ok)
        relay_chain_set(est->relay.chain, certs, count);
    pem_certs_free(certs, count);
    httpc_reply_clear(&http);
    return ok;
}

/* RFC 7030 section 4.2.1: the device's own PKCS#10, byte for byte. */
static enum up_result post(struct est *est, const struct up_order *order, int64_t deadline,
                           struct up_reply *reply)
{
    static const char *const headers[] = {"Content-Type: application/pkcs10",
                                          "Content-Transfer-Encoding: base64", NULL};
    char url[RELAY_URL_MAX];
    struct buf body = BUF_SECRET(4 * CSR_MAX); /* it may hold a challengePassword */
    struct httpc_reply http = {0};
    struct err err;
    relay_url(&est->relay, "simpleenroll", url);
    if (!text_base64_encode(csr_der_get(order->csr), COLUMNS, &body)) {
        relay_reason(reply, "the request is too large");
        return UP_REFUSED;
    }
    struct httpc_call call = {.method = "POST",
                              .url = url,
                              .headers = headers,
                              .body = buf_bytes(&body),
                              .once = true,
                              .deadline = deadline};
    enum httpc_result ended = httpc_run(est->relay.httpc, &call, &http, &err);
    hide(est, &http);
    hide_in_error(&http, buf_bytes(&body));
    enum up_result result = relay_result(ended, &http, &err, reply);
    if (result == UP_ISSUED && http.status == 202) {
        result = UP_PENDING; /* section 4.2.3: the same again after a while */
        reply->retry_after = httpc_retry_after(&http);
        if (!buf_set(&reply->cookie, bytes_str("202")))
            result = UP_UNKNOWN;
    } else if (result == UP_ISSUED) {
        result =
            relay_cert_take(buf_bytes(&http.body), order->csr, "the CA answers 200 with", reply);
        if (result == UP_ISSUED)
            relay_follow(&est->relay, reply->cert, deadline);
    }
    httpc_reply_clear(&http);
    buf_free(&body);
    return result;
}

static enum up_result est_submit(struct upstream *up, const struct up_order *order,
                                 struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct est *est = est_of(up);
    struct err err;
    (void)handle;
    if (!relay_ready(&est->relay, deadline, &err))
        return relay_later(reply, &err);
    return post(est, order, deadline, reply);
}

static enum up_result est_poll(struct upstream *up, const struct up_order *order,
                               struct bytes cookie, int64_t deadline, struct up_reply *reply)
{
    return est_submit(up, order, cookie, deadline, reply);
}

static const char *est_untested(struct upstream *up)
{
    return est_of(up)->options->basic.user
               ? "whether the CA takes our user and password: cacerts asks for none"
               : "whether the CA lets our certificate enroll: cacerts asks for none";
}

static bool est_open(const struct cfg_upstream *conf, struct upstream **ret, struct err *err)
{
    const struct est_options *options = conf->options;
    struct relay_conf relay = {.vt = &est_vt,
                               .url = options->url,
                               .api = "/",
                               .trust = &options->trust,
                               .tls = &options->client,
                               .basic = &options->basic,
                               .client = &options->client,
                               .chain = &options->chain,
                               .fetch = fetch_chain};
    struct est *est = relay_new(sizeof *est, conf, &relay, err);
    if (!est)
        return false;
    est->options = options;
    *ret = &est->relay.base;
    return true;
}

static void judge_options(void *arg, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct est_options *options = arg;
    const struct cfg_node *url = cfg_node_get(node, "url");
    relay_https_judge(options->url, "an https URL: EST is spoken over TLS only", faults, node);
    if (options->url && !strstr(options->url, "/.well-known/est"))
        cfg_fault_value(faults, url, "does not lead to EST",
                        "https://HOST[:PORT]/.well-known/est[/LABEL]");
    if (!options->client.certificate.count && !options->basic.user &&
        !cfg_node_get(node, "client") && !cfg_node_get(node, "basic"))
        cfg_fault_key(faults, node, NULL,
                      "has nothing to prove itself with; expected client, basic or both");
}

static const struct cfg_key keys[] = {
    CFG_LINE_KEYS,
    {.name = "url",
     .type = CFG_STRING,
     .offset = offsetof(struct est_options, url),
     .required = true,
     .meaning = "Where the CA serves EST.",
     .form = "https://HOST[:PORT]/.well-known/est[/LABEL]",
     .check = cfg_check_web},
    {.name = "trust",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct est_options, trust),
     .required = true,
     .min = 1,
     .meaning = "What the CA's TLS certificate must chain to."},
    {.name = "client",
     .type = CFG_SECTION,
     .offset = offsetof(struct est_options, client),
     .sub = relay_client_keys,
     .meaning = "The certificate by which the CA knows us as its RA.",
     .judge = relay_client_judge},
    {.name = "basic",
     .type = CFG_SECTION,
     .offset = offsetof(struct est_options, basic),
     .sub = relay_basic_keys,
     .meaning = "User and password for HTTP Basic, by which the CA knows us."},
    {.name = "chain",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct est_options, chain),
     .meaning = "The CA's certificates, to be told to devices before the CA could be asked "
                "(/cacerts)."},
    {0},
};

const struct cfg_kind est_kind = {
    .type = "est",
    .keys = keys,
    .options_size = sizeof(struct est_options),
    .remote = true,
    .judge = judge_options,
};

const struct upstream_vt est_vt = {
    .type = "est",
    .caps = UP_PENDINGS,
    .open = est_open,
    .close = relay_close,
    .prepare = relay_prepare,
    .submit = est_submit,
    .poll = est_poll,
    .chain = relay_chain,
    .health = relay_health,
    .remember = relay_remember,
    .recall = relay_recall,
    .credential = relay_credential,
    .untested = est_untested,
};
