#include "gateway/upstream/ejbca.h"

#include "base/pem.h"
#include "base/text.h"
#include "config/read.h"
#include "gateway/upstream/ejbca_waiting.h"
#include "gateway/upstream/rest.h"

#include <openssl/rand.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define PEM_MAX ((size_t)1 << 20)
#define NAME_MAX_TEXT 160 /* of a username */
#define FOUND_MAX 8
#define PATH_MAX_TEXT 1000

struct ejbca_options {
    struct cfg_line line; /* first */
    char *url, *ca, *certificate_profile, *end_entity_profile;
    struct cfg_certs trust;
    struct relay_client client;
    struct cfg_certs chain;
};

struct ejbca {
    struct relay relay; /* first */
    const struct ejbca_options *options;
};

static struct ejbca *ejbca_of(struct upstream *up)
{
    return (struct ejbca *)up;
}

static bool ejbca_open(const struct cfg_upstream *conf, struct upstream **ret, struct err *err)
{
    const struct ejbca_options *options = conf->options;
    struct relay_conf relay = {.vt = &ejbca_vt,
                               .url = options->url,
                               .api = "/ejbca/ejbca-rest-api/v1/",
                               .trust = &options->trust,
                               .tls = &options->client,
                               .client = &options->client,
                               .chain = &options->chain};
    struct ejbca *ejbca = relay_new(sizeof *ejbca, conf, &relay, err);
    if (!ejbca)
        return false;
    ejbca->options = options;
    *ret = &ejbca->relay.base;
    return true;
}

/* The handle is the username: EJBCA issues to it once, and finds what it issued by it. No serial
 * number reads like it, so that a search for it finds nothing else. */
static bool ejbca_prepare(struct upstream *up, const struct up_order *order, struct buf *handle,
                          struct err *err)
{
    (void)up;
    return buf_add_fmt(handle, "scepter-%s", order->request_id) ||
           err_set(err, ERR_BUG, "no room for a username");
}

/* True if the handle is a username of ours. */
static bool username_of(struct bytes handle, char ret[NAME_MAX_TEXT], struct up_reply *reply)
{
    bool ok = handle.len && handle.len < NAME_MAX_TEXT && bytes_starts(handle, "scepter-");
    if (ok) {
        memcpy(ret, handle.ptr, handle.len);
        ret[handle.len] = 0;
    } else {
        relay_reason(reply, "the request has no username");
    }
    return ok;
}

/* Nobody shall enroll under that name again: a password that nobody knows, but who waits for an
 * approval. */
static bool make_password(char text[EJBCA_PASSWORD_TEXT])
{
    unsigned char noise[EJBCA_PASSWORD_TEXT / 2];
    bool ok = RAND_bytes(noise, sizeof noise) == 1;
    text_hex(bytes_of(noise, sizeof noise), text);
    OPENSSL_cleanse(noise, sizeof noise);
    return ok;
}

static void say_waiting(struct up_reply *reply, const char *number)
{
    relay_reason(reply, "the CA wants an approval%s%s", *number ? " of request " : "", number);
}

/* 202: the certificate is issued when somebody has approved and we finalize. */
static enum up_result take_waiting(const struct rest_reply *answer, const char *username,
                                   const char *password, struct up_reply *reply)
{
    char number[EJBCA_NUMBER_TEXT];
    bool known = ejbca_number_of(json_text(json_get(json_root(answer->json), "link")), number);
    say_waiting(reply, known ? number : "");
    reply->cookie.secret = true;
    bool ok = known ? buf_add_fmt(&reply->cookie, "%s %s %s", number, password, username)
                    : buf_set(&reply->cookie, bytes_str(username));
    return ok ? UP_PENDING : UP_UNKNOWN;
}

static enum up_result take_cert(struct ejbca *ejbca, const struct rest_reply *answer,
                                const struct up_order *order, struct up_reply *reply)
{
    const struct json_value *root = json_root(answer->json);
    struct rest_issued issued = {json_get(root, "certificate"),
                                 {json_get(root, "certificate_chain"), NULL}};
    return rest_take(&ejbca->relay, &issued, order->csr, reply);
}

static enum up_result enroll(struct upstream *up, const struct up_order *order, struct bytes handle,
                             int64_t deadline, struct up_reply *reply)
{
    struct ejbca *ejbca = ejbca_of(up);
    const struct ejbca_options *options = ejbca->options;
    struct rest_reply answer = {0};
    struct err err;
    char username[NAME_MAX_TEXT], password[EJBCA_PASSWORD_TEXT];
    if (!username_of(handle, username, reply))
        return UP_REFUSED;
    if (!relay_client_check(&options->client, &err)) {
        return relay_later(reply, &err);
    }
    struct json *body = json_new_object();
    json_set_text(body, "certificate_profile_name", options->certificate_profile);
    json_set_text(body, "end_entity_profile_name", options->end_entity_profile);
    json_set_text(body, "certificate_authority_name", options->ca);
    json_set_text(body, "username", username);
    json_set_bool(body, "include_chain", true);
    struct rest_call call = {.method = "POST",
                             .path = "certificate/pkcs10enroll",
                             .body = body,
                             .once = true,
                             .deadline = deadline};
    enum up_result result = UP_RETRY;
    if (make_password(password) && rest_set_csr(body, "certificate_request", order->csr)) {
        json_set_text(body, "password", password);
        result = rest_run(&ejbca->relay, &call, &answer, reply);
    }
    if (result == UP_ISSUED && answer.status == 202)
        result = take_waiting(&answer, username, password, reply);
    else if (result == UP_ISSUED)
        result = take_cert(ejbca, &answer, order, reply);
    OPENSSL_cleanse(password, sizeof password);
    rest_reply_clear(&answer);
    json_free(body);
    return result;
}

/* What the CA has for a username. */
static enum up_result search(struct ejbca *ejbca, const char *username, int64_t deadline,
                             struct rest_reply *answer, struct up_reply *reply)
{
    struct json *body = json_new_object(), *criteria = json_new_array(),
                *criterion = json_new_object();
    json_set_text(criterion, "property", "QUERY");
    json_set_text(criterion, "value", username);
    json_set_text(criterion, "operation", "EQUAL");
    json_append(criteria, criterion);
    json_set_number(body, "max_number_of_results", FOUND_MAX);
    json_set(body, "criteria", criteria);
    struct rest_call call = {
        .method = "POST", .path = "certificate/search", .body = body, .deadline = deadline};
    enum up_result result = rest_run(&ejbca->relay, &call, answer, reply);
    json_free(body);
    return result;
}

/* Certificates for our key among those that it found. One only: it issues to a username once. */
static enum up_result find_cert(const struct rest_reply *answer, const struct up_order *order,
                                struct up_reply *reply)
{
    const struct json_value *found = json_get(json_root(answer->json), "certificates");
    struct buf pem = BUF_INIT(PEM_MAX);
    struct err err;
    bool any = false, ok = true;
    for (size_t i = 0; i < FOUND_MAX && json_at(found, i) && ok; i++) {
        any = true;
        ok = rest_certs_add(&pem, json_get(json_at(found, i), "certificate"), &err);
    }
    if (!ok)
        relay_reason(reply, "the CA finds the request, with %s", err.text);
    else if (!any)
        relay_reason(reply, "the CA has no certificate for the request");
    enum up_result result = any && ok ? rest_cert_take(&pem, order->csr, reply) : UP_UNKNOWN;
    buf_free(&pem);
    return result;
}

/* A certificate that is not there yet may still come: the request stays as it is. */
static enum up_result ejbca_recover(struct upstream *up, const struct up_order *order,
                                    struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct ejbca *ejbca = ejbca_of(up);
    struct rest_reply answer = {0};
    struct err err;
    char username[NAME_MAX_TEXT];
    if (!username_of(handle, username, reply))
        return UP_UNKNOWN;
    if (!relay_client_check(&ejbca->options->client, &err)) {
        relay_reason(reply, "%s", err.text);
        return UP_UNKNOWN;
    }
    enum up_result result = search(ejbca, username, deadline, &answer, reply);
    /* A search that is refused says nothing of the request. */
    result = result == UP_ISSUED ? find_cert(&answer, order, reply) : UP_UNKNOWN;
    rest_reply_clear(&answer);
    return result;
}

/* A refusal may be of a repeat, which an operator has asked for: then there is a certificate. */
static enum up_result ejbca_submit(struct upstream *up, const struct up_order *order,
                                   struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct up_reply found = {0};
    enum up_result result = enroll(up, order, handle, deadline, reply);
    if (result != UP_REFUSED)
        return result;
    if (ejbca_recover(up, order, handle, deadline, &found) == UP_ISSUED) {
        reply->cert = cert_ref(found.cert);
        *reply->reason = 0;
        result = UP_ISSUED;
    }
    up_reply_clear(&found);
    return result;
}

/* Asks for the certificate of an approved request. */
static enum up_result finalize(struct ejbca *ejbca, const struct ejbca_waiting *waiting,
                               int64_t deadline, struct rest_reply *answer, struct up_reply *reply)
{
    char path[PATH_MAX_TEXT];
    struct json *body = json_new_object();
    snprintf(path, sizeof path, "certificate/%s/finalize", waiting->number);
    json_set_text(body, "response_format", "DER");
    json_set_text(body, "password", waiting->password);
    struct rest_call call = {
        .method = "POST", .path = path, .body = body, .once = true, .deadline = deadline};
    enum up_result result = rest_run(&ejbca->relay, &call, answer, reply);
    json_free(body);
    return result;
}

/* 400 is a request that was denied or has expired, and one that was finalized before: then there is
 * a certificate, now or soon. */
enum refused { REFUSED_NOT = 0, REFUSED_OVER, REFUSED_FINALIZED };
static enum refused refused_as(enum up_result result, const struct rest_reply *answer)
{
    const char *text = json_text(json_get(json_root(answer->json), "error_message"));
    if (result != UP_REFUSED || !text)
        return REFUSED_NOT;
    return strstr(text, "finalized") ? REFUSED_FINALIZED : REFUSED_OVER;
}

/* A CA that is not there is no CA that wants an approval. */
static enum up_result ejbca_poll(struct upstream *up, const struct up_order *order,
                                 struct bytes cookie, int64_t deadline, struct up_reply *reply)
{
    struct ejbca *ejbca = ejbca_of(up);
    struct ejbca_waiting waiting = {0};
    struct rest_reply answer = {0};
    struct up_reply found = {0};
    struct err err;
    enum up_result result = UP_PENDING;
    if (!relay_client_check(&ejbca->options->client, &err)) {
        relay_reason(reply, "%s", err.text);
        return UP_RETRY;
    }
    bool known = ejbca_waiting_read(cookie, &waiting);
    if (known && waiting.number[0])
        result = finalize(ejbca, &waiting, deadline, &answer, reply);
    enum refused refused = refused_as(result, &answer);
    if (result == UP_ISSUED && answer.status != 202)
        result = take_cert(ejbca, &answer, order, reply);
    else if (known && result != UP_ISSUED &&
             ejbca_recover(up, order, waiting.username, deadline, &found) == UP_ISSUED) {
        reply->cert = cert_ref(found.cert);
        result = UP_ISSUED;
    } else if (result == UP_ISSUED || (result == UP_REFUSED && refused != REFUSED_OVER)) {
        result = UP_PENDING;
    }
    /* From now on it is only searched for. */
    if (result == UP_PENDING && refused == REFUSED_FINALIZED &&
        !buf_set(&reply->cookie, waiting.username))
        result = UP_UNKNOWN;
    if (result == UP_PENDING && !reply->reason[0] && found.reason[0])
        relay_reason(reply, "%s", found.reason);
    else if (result == UP_PENDING && !reply->reason[0])
        say_waiting(reply, waiting.number);
    OPENSSL_cleanse(waiting.password, sizeof waiting.password);
    up_reply_clear(&found);
    rest_reply_clear(&answer);
    return result;
}

/* A certificate is issued when its request is finalized, which we do: one that has never been has
 * its number still. */
static bool ejbca_idle(struct upstream *up, const struct up_order *order, struct bytes cookie,
                       int64_t deadline)
{
    struct ejbca_waiting waiting = {0};
    (void)up, (void)order, (void)deadline;
    bool idle = ejbca_waiting_read(cookie, &waiting) && waiting.number[0];
    OPENSSL_cleanse(waiting.password, sizeof waiting.password);
    return idle;
}

/* The names of CRLReason (RFC 5280 section 5.3.1) as the API has them. */
static const char *reason_name(int reason)
{
    static const char *const names[] = {
        "UNSPECIFIED",     "KEY_COMPROMISE",         "CA_COMPROMISE",    "AFFILIATION_CHANGED",
        "SUPERSEDED",      "CESSATION_OF_OPERATION", "CERTIFICATE_HOLD", "UNSPECIFIED",
        "REMOVE_FROM_CRL", "PRIVILEGES_WITHDRAWN",   "AA_COMPROMISE"};
    return reason >= 0 && (size_t)reason < sizeof names / sizeof names[0] ? names[reason]
                                                                          : "UNSPECIFIED";
}

/* The issuer's name as RFC 2253 writes it, for a URL. */
static bool issuer_text(const struct cert *cert, struct buf *out)
{
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok = bio && X509_NAME_print_ex(bio, X509_get_issuer_name(cert_x509_get(cert)), 0,
                                        XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) > 0;
    long len = ok ? BIO_get_mem_data(bio, &text) : 0;
    struct buf name = {0};
    ok = ok && len > 0 && buf_set(&name, bytes_of(text, (size_t)len)) &&
         rest_escape(buf_str(&name), out);
    buf_free(&name);
    BIO_free(bio);
    return ok;
}

static bool ejbca_revoke(struct upstream *up, const struct cert *cert, int reason, int64_t deadline,
                         struct err *err)
{
    struct ejbca *ejbca = ejbca_of(up);
    struct buf issuer = BUF_INIT(800);
    struct rest_reply answer = {0};
    char path[PATH_MAX_TEXT];
    if (!issuer_text(cert, &issuer)) {
        buf_free(&issuer);
        return err_set(err, ERR_UPSTREAM, "the issuer's name is too long for a URL");
    }
    snprintf(path, sizeof path, "certificate/%s/%s/revoke?reason=%s", buf_str(&issuer),
             cert_serial_get(cert), reason_name(reason));
    struct rest_call call = {.method = "PUT", .path = path, .deadline = deadline};
    bool ok = relay_client_check(&ejbca->options->client, err) &&
              rest_ask(&ejbca->relay, &call, &answer, err);
    rest_reply_clear(&answer);
    buf_free(&issuer);
    return ok;
}

/* Whether it is there and knows us: its list of CAs names ours. */
static bool ejbca_health(struct upstream *up, int64_t deadline, struct err *err)
{
    struct ejbca *ejbca = ejbca_of(up);
    struct rest_reply answer = {0};
    struct rest_call call = {.method = "GET", .path = "ca", .deadline = deadline};
    bool ok = relay_client_check(&ejbca->options->client, err) &&
              rest_ask(&ejbca->relay, &call, &answer, err);
    bool found = false;
    const struct json_value *list = json_get(json_root(answer.json), "certificate_authorities"),
                            *item;
    for (size_t i = 0; (item = json_at(list, i)) && !found; i++) {
        const char *name = json_text(json_get(item, "name"));
        found = name && strcmp(name, ejbca->options->ca) == 0;
    }
    rest_reply_clear(&answer);
    return ok && (found || err_set(err, ERR_UPSTREAM, "EJBCA shows us no CA of the name %s",
                                   ejbca->options->ca));
}

static void judge_options(void *arg, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct ejbca_options *options = arg;
    relay_https_judge(options->url, "an https URL: EJBCA knows us by our TLS certificate", faults,
                      node);
}

#define NAME_KEY(key, text)                                                                        \
    {                                                                                              \
        .name = #key, .type = CFG_STRING, .offset = offsetof(struct ejbca_options, key),           \
        .required = true, .meaning = (text)                                                        \
    }

static const struct cfg_key keys[] = {
    CFG_LINE_KEYS,
    {.name = "url",
     .type = CFG_STRING,
     .offset = offsetof(struct ejbca_options, url),
     .required = true,
     .meaning = "Where EJBCA is.",
     .form = "https://HOST[:PORT]",
     .check = cfg_check_web},
    {.name = "trust",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct ejbca_options, trust),
     .required = true,
     .min = 1,
     .meaning = "What its TLS certificate must chain to."},
    NAME_KEY(ca, "The name of the CA that issues."),
    NAME_KEY(certificate_profile, "The name of the certificate profile."),
    NAME_KEY(end_entity_profile, "The name of the end entity profile."),
    {.name = "client",
     .type = CFG_SECTION,
     .offset = offsetof(struct ejbca_options, client),
     .required = true,
     .sub = relay_client_keys,
     .meaning = "The certificate by which EJBCA knows us as its RA.",
     .judge = relay_client_judge},
    {.name = "chain",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct ejbca_options, chain),
     .required = true,
     .min = 1,
     .meaning = "The issuing CA's certificates."},
    {0},
};

const struct cfg_kind ejbca_kind = {
    .type = "ejbca",
    .keys = keys,
    .options_size = sizeof(struct ejbca_options),
    .remote = true,
    .judge = judge_options,
};

const struct upstream_vt ejbca_vt = {
    .type = "ejbca",
    .caps = UP_RECOVER | UP_REVOKE | UP_PENDINGS,
    .open = ejbca_open,
    .close = relay_close,
    .prepare = ejbca_prepare,
    .submit = ejbca_submit,
    .poll = ejbca_poll,
    .idle = ejbca_idle,
    .recover = ejbca_recover,
    .revoke = ejbca_revoke,
    .chain = relay_chain,
    .health = ejbca_health,
    .credential = relay_credential,
};
