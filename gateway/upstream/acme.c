#include "gateway/upstream/acme.h"

#include "base/clock.h"
#include "base/pem.h"
#include "base/text.h"
#include "gateway/upstream/acme_ari.h"
#include "gateway/upstream/acme_step.h"
#include "gateway/upstream/jose.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORDERS_MAX 8 /* for one request, if others with the same names take them */
#define RETRY_MAX 600
#define EXPIRES_DEFAULT (INT64_C(7) * 24 * 3600)

static struct acme *acme_of(struct upstream *up)
{
    return (struct acme *)up;
}

static void acme_close(struct upstream *up)
{
    struct acme *acme = acme_of(up);
    http01_stop(acme->http01);
    acme_client_free(acme->client);
    pthread_mutex_destroy(&acme->mutex);
    relay_close(up);
}

static bool acme_open(const struct cfg_upstream *conf, struct upstream **ret, struct err *err)
{
    const struct acme_options *options = conf->options;
    struct acme_client_conf client = {
        .directory = options->directory,
        .trust = &options->trust,
        .key_path = options->account_key,
        .eab_id = options->eab.id,
        .eab_text = &options->eab.secret,
        .contact = &options->contact,
        .terms_agreed = options->terms_agreed,
    };
    struct relay_conf relay = {.vt = &acme_vt, .chain = &options->chain};
    struct acme *acme = relay_new(sizeof *acme, conf, &relay, err);
    if (!acme)
        return false;
    acme->options = options;
    pthread_mutex_init(&acme->mutex, NULL);
    if (!acme_client_new(&client, &acme->client, err)) {
        acme_close(&acme->relay.base);
        return false;
    }
    *ret = &acme->relay.base;
    return true;
}

/* Waits as long as the CA says, else a quarter of the order's age. */
static enum up_result pending(struct step *step, const struct httpc_reply *said)
{
    int64_t wait = step->wait ? step->wait : said ? httpc_retry_after(said) : 0;
    if (wait <= 0)
        wait = (clock_now() - step->ticket.created) / 4;
    step->reply->retry_after = (int)(wait < 1 ? 1 : wait > RETRY_MAX ? RETRY_MAX : wait);
    if (!step->told)
        step->reply->reason[0] = 0;
    return acme_ticket_write(&step->ticket, &step->reply->cookie) ? UP_PENDING : UP_UNKNOWN;
}

/* What ACME certifies: names and addresses (RFC 8738); NULL if there is anything else. */
static struct json *identifiers_of(const struct names *names, struct up_reply *reply)
{
    static const char *const types[SAN_KIND_COUNT] = {[SAN_DNS] = "dns", [SAN_IP] = "ip"};
    struct json *list = json_new_array();
    for (size_t i = 0; i < names->san_count; i++) {
        const struct san *san = &names->sans[i];
        struct json *one = json_new_object();
        char *text = mem_strdup(san->text);
        for (char *c = text; *c; c++)
            if (*c >= 'A' && *c <= 'Z')
                *c = (char)(*c - 'A' + 'a');
        json_set_text(one, "type", types[san->kind]);
        json_set_text(one, "value", text);
        free(text);
        json_append(list, one);
        if (!types[san->kind]) {
            relay_reason(reply, "SAN %s:%s: ACME certifies DNS names and IP addresses only",
                         names_san_kind_name(san->kind), san->text);
            json_free(list);
            return NULL;
        }
    }
    if (names->san_count)
        return list;
    json_free(list);
    relay_reason(reply, "no SAN: ACME certifies DNS names and IP addresses in the SAN only");
    return NULL;
}

/* What the order replaces (RFC 9773 section 5), for CAs that want to know. */
static bool names_replaced(const struct step *step, struct json *payload)
{
    char id[ACME_CERT_ID_MAX], url[ACME_URL_MAX];
    if (!step->order->renews || !acme_client_url(step->acme->client, ACME_RENEWAL_INFO, url) ||
        !acme_cert_id(step->order->renews, id))
        return false;
    json_set_text(payload, "replaces", id);
    return true;
}

/* The answer to a new order is in step->answer. replacing: whether it shall say, and said, what it
 * replaces. */
static enum up_result ask_order(struct step *step, bool *replacing)
{
    char url[ACME_URL_MAX];
    struct json *payload = json_new_object();
    struct json *names = identifiers_of(csr_names_get(step->order->csr), step->reply);
    enum up_result result = UP_REFUSED;
    acme_answer_clear(&step->answer);
    *replacing = names && *replacing && names_replaced(step, payload);
    if (names) {
        json_set(payload, "identifiers", names);
        result = acme_client_url(step->acme->client, ACME_NEW_ORDER, url)
                     ? acme_client_post(step->acme->client,
                                        &(struct acme_ask){url, payload, step->deadline},
                                        &step->answer, step->reply)
                     : UP_RETRY;
    }
    json_free(payload);
    return result == UP_UNKNOWN ? UP_RETRY : result;
}

/* RFC 8555 section 7.4. Whatever becomes of it, nothing is issued: UP_UNKNOWN is never the answer.
 * A CA may give an order that another request has as well. One that does not take what the order
 * replaces, since another order did or the account is another one, takes it without: a certificate
 * matters more than what it is counted for. */
static enum up_result make_order(struct step *step)
{
    bool replacing = true, again = false;
    enum up_result result = ask_order(step, &replacing);
    int status = step->answer.http.status;
    if (result != UP_ISSUED && replacing && status / 100 == 4 && status != 429)
        result = ask_order(step, &again);
    if (result != UP_ISSUED)
        return result;
    char *location = bytes_to_str(httpc_header(&step->answer.http, "Location"));
    bool fits = acme_url_fits(location);
    struct ticket *ticket = &step->ticket;
    const char *expires = json_text(json_get(json_root(step->answer.body), "expires"));
    ticket->created = clock_now();
    if (!acme_time_read(expires, &ticket->expires))
        ticket->expires = clock_now() + EXPIRES_DEFAULT;
    ticket->orders++;
    ticket->finalized =
        strcmp(acme_status(&step->answer), "ready") == 0 ? ACME_ASKED : ACME_OPEN; /* by the next */
    ticket->set_at = ticket->cleaning = 0;
    memset(ticket->set, 0, sizeof ticket->set);
    snprintf(ticket->url, sizeof ticket->url, "%s", fits ? location : "");
    free(location);
    if (fits)
        return pending(step, NULL);
    relay_reason(step->reply, "the CA made an order and does not say where it is");
    return UP_RETRY;
}

/* UP_RESUBMIT_SAFE: an order is made, and only the one whose URL gets into the row with the cookie
 * will ever be finalized. */
static enum up_result acme_submit(struct upstream *up, const struct up_order *order,
                                  struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct acme *acme = acme_of(up);
    struct step step = {.acme = acme, .order = order, .deadline = deadline, .reply = reply};
    (void)handle;
    enum up_result result = acme_client_ready(acme->client, false, deadline, reply);
    if (result == UP_ISSUED)
        result = make_order(&step);
    acme_answer_clear(&step.answer);
    return result;
}

/* The order is over without a certificate; its authorizations may say why. */
static enum up_result refused(struct step *step)
{
    const struct json_value *error = json_get(json_root(step->answer.body), "error");
    const char *detail = json_text(json_get(error, "detail"));
    if (detail)
        relay_reason(step->reply, "the CA refused the order: %s", detail);
    else if (acme_authorize(step) != UP_REFUSED)
        relay_reason(step->reply, "the CA refused the order %s", step->ticket.url);
    return UP_REFUSED;
}

/* Adds those that are not there yet, while there is room. */
static size_t certs_add(struct cert **all, size_t n, struct cert *const *more, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool have = n == RELAY_CERTS_MAX;
        for (size_t k = 0; k < n && !have; k++)
            have = bytes_equal(cert_der_get(all[k]), cert_der_get(more[i]));
        if (!have && cert_is_ca(more[i]))
            all[n++] = more[i];
    }
    return n;
}

/* Intermediates come and go, and CAs issue by several at the same time: they add up. */
static void learn_chain(struct acme *acme, const struct cert *cert, struct cert *const *certs,
                        size_t count)
{
    const struct cfg_certs *known;
    struct err ignored;
    struct cert *all[RELAY_CERTS_MAX];
    if (relay_chain_issued(acme->relay.chain, cert))
        return;
    size_t n = certs_add(all, 0, certs, count);
    if (relay_chain_get(acme->relay.chain, &known, &ignored))
        n = certs_add(all, n, known->items, known->count);
    relay_chain_set(acme->relay.chain, all, n);
}

/* A certificate for another key. CAs give the same order to requests for the same names, so unless
 * ours was the CSR that the CA took, it is another request's, and ours needs an order of its own.
 * Never one to be revoked: somebody may use it. */
static enum up_result order_again(struct step *step, const struct cert *cert)
{
    if (step->ticket.finalized != ACME_TAKEN && step->ticket.orders < ORDERS_MAX)
        return make_order(step);
    relay_reason(step->reply, "the CA answers with certificate %s, for another public key",
                 cert_serial_get(cert));
    return UP_UNKNOWN;
}

/* Section 7.4.2. */
static enum up_result download(struct step *step)
{
    const char *url = json_text(json_get(json_root(step->answer.body), "certificate"));
    struct acme_answer answer = {0};
    struct cert **certs = NULL, *cert = NULL;
    size_t count = 0;
    struct err err;
    enum up_result result = acme_client_post(
        step->acme->client, &(struct acme_ask){url, NULL, step->deadline}, &answer, step->reply);
    if (result == UP_REFUSED) /* it has been issued */
        result = UP_UNKNOWN;
    if (result == UP_ISSUED &&
        !relay_certs_decode(buf_bytes(&answer.http.body), &certs, &count, &err)) {
        relay_reason(step->reply, "the CA answers 200 with %s", err.text);
        result = UP_UNKNOWN;
    }
    if (result == UP_ISSUED)
        cert = relay_cert_pick(certs, count, step->order->csr);
    if (result == UP_ISSUED && !cert) {
        relay_reason(step->reply, "the CA answers 200 with CA certificates only");
        result = UP_UNKNOWN;
    } else if (cert && !spki_equal(cert_spki_get(cert), csr_spki_get(step->order->csr))) {
        result = order_again(step, cert);
    } else if (cert) {
        step->reply->cert = cert_ref(cert);
        learn_chain(step->acme, cert, certs, count);
    }
    pem_certs_free(certs, count);
    acme_answer_clear(&answer);
    return result;
}

/* Whether the CA works at the order or has issued, whatever it says of a request to finalize it. */
static bool has_been_finalized(struct step *step)
{
    struct acme_answer answer = {0};
    struct up_reply ignored = {0};
    bool has = acme_client_post(step->acme->client,
                                &(struct acme_ask){step->ticket.url, NULL, step->deadline}, &answer,
                                &ignored) != UP_ISSUED ||
               strcmp(acme_status(&answer), "processing") == 0 ||
               strcmp(acme_status(&answer), "valid") == 0;
    acme_answer_clear(&answer);
    return has;
}

/* Section 7.4: the device's own CSR. The CA takes one for an order; a second one is refused. */
static enum up_result finalize(struct step *step)
{
    struct buf csr = BUF_SECRET(2 * CSR_MAX); /* it may hold a challengePassword */
    struct json *payload = json_new_object();
    struct acme_answer answer = {0};
    const char *url = json_text(json_get(json_root(step->answer.body), "finalize"));
    enum up_result result = UP_REFUSED;
    if (jose_encode(csr_der_get(step->order->csr), &csr)) {
        json_set_text(payload, "csr", buf_str(&csr));
        result =
            acme_client_post(step->acme->client, &(struct acme_ask){url, payload, step->deadline},
                             &answer, step->reply);
    } else {
        relay_reason(step->reply, "the request is too large");
    }
    json_free(payload);
    buf_free(&csr);
    if (strcmp(answer.problem, "orderNotReady") == 0 ||
        (result == UP_REFUSED && has_been_finalized(step))) {
        result = pending(step, NULL); /* the order will tell */
    } else if (result == UP_ISSUED) {
        step->ticket.finalized = ACME_TAKEN;
        acme_answer_clear(&step->answer);
        step->answer = answer;
        return strcmp(acme_status(&step->answer), "valid") == 0 ? download(step)
                                                                : pending(step, &step->answer.http);
    }
    acme_answer_clear(&answer);
    return result;
}

/* The order as the CA has it; one that it does not know any more is over when its time is. It may
 * have issued if it was asked to. */
static enum up_result read_order(struct step *step)
{
    enum up_result result = acme_client_post(
        step->acme->client, &(struct acme_ask){step->ticket.url, NULL, step->deadline},
        &step->answer, step->reply);
    bool gone = result == UP_REFUSED || (result == UP_RETRY && step->answer.http.status == 404);
    if (!gone)
        return result;
    if (step->ticket.expires >= clock_now())
        return UP_RETRY;
    char until[TEXT_TIME_MAX];
    text_time(step->ticket.expires, until);
    relay_reason(
        step->reply, "the CA does not know the order any more, which was good until %s%s", until,
        step->ticket.finalized == ACME_OPEN ? "" : "; see whether it issued, then approve or deny");
    return step->ticket.finalized == ACME_OPEN ? UP_REFUSED : UP_LOST;
}

/* What the CA says of the order is heard when all are gone. */
static enum up_result clean(struct step *step)
{
    acme_dns01_clean(step);
    step->wait = 1;
    return pending(step, NULL);
}

static enum up_result go_on(struct step *step)
{
    enum up_result result = read_order(step);
    if (result != UP_ISSUED)
        return result;
    const char *status = acme_status(&step->answer);
    bool open = strcmp(status, "pending") == 0;
    if (acme_ticket_has_records(&step->ticket) && (!open || step->ticket.cleaning))
        return clean(step);
    if (open) {
        result = acme_authorize(step);
        if (result == UP_REFUSED && acme_ticket_has_records(&step->ticket))
            return clean(step);
        if (!step->wait && !step->told) /* all is answered: the next poll may find it ready */
            step->ticket.finalized = ACME_ASKED;
        return result == UP_ISSUED ? pending(step, &step->answer.http) : result;
    }
    if (strcmp(status, "ready") == 0 && step->ticket.finalized != ACME_OPEN)
        return finalize(step);
    if (strcmp(status, "ready") == 0) {
        step->ticket.finalized = ACME_ASKED;
        step->wait = 1;
        return pending(step, NULL);
    }
    if (strcmp(status, "processing") == 0)
        return pending(step, &step->answer.http);
    if (strcmp(status, "valid") == 0)
        return download(step);
    if (strcmp(status, "invalid") == 0)
        return refused(step);
    relay_reason(step->reply, "the CA says that the order is %s", status);
    return UP_UNKNOWN;
}

static enum up_result acme_poll(struct upstream *up, const struct up_order *order,
                                struct bytes cookie, int64_t deadline, struct up_reply *reply)
{
    struct acme *acme = acme_of(up);
    struct step step = {.acme = acme, .order = order, .deadline = deadline, .reply = reply};
    step.half = clock_mono_ms() + (deadline - clock_mono_ms()) / 2;
    if (!acme_ticket_read(cookie, &step.ticket)) {
        relay_reason(reply, "the stored order is not one of an ACME CA");
        return UP_UNKNOWN;
    }
    enum up_result result = acme_client_ready(acme->client, false, deadline, reply);
    if (result == UP_ISSUED)
        result = go_on(&step);
    acme_answer_clear(&step.answer);
    return result;
}

/* An order is finalized by us alone, and what has been finalized is processing or valid. Records of
 * dns-01 are taken away before it is left. */
static bool acme_idle(struct upstream *up, const struct up_order *order, struct bytes cookie,
                      int64_t deadline)
{
    struct acme *acme = acme_of(up);
    struct up_reply ignored = {0};
    struct step step = {.acme = acme, .order = order, .deadline = deadline, .reply = &ignored};
    step.half = deadline;
    bool known = acme_ticket_read(cookie, &step.ticket) &&
                 acme_client_ready(acme->client, false, deadline, &ignored) == UP_ISSUED &&
                 acme_client_post(acme->client, &(struct acme_ask){step.ticket.url, NULL, deadline},
                                  &step.answer, &ignored) == UP_ISSUED;
    const char *status = known ? acme_status(&step.answer) : "";
    bool idle = strcmp(status, "pending") == 0 || strcmp(status, "ready") == 0 ||
                strcmp(status, "invalid") == 0;
    if (idle && acme_ticket_has_records(&step.ticket))
        acme_dns01_clean(&step);
    idle = idle && !acme_ticket_has_records(&step.ticket);
    acme_answer_clear(&step.answer);
    up_reply_clear(&ignored);
    return idle;
}

/* Section 7.6, by the account that ordered it. */
static bool acme_revoke(struct upstream *up, const struct cert *cert, int reason, int64_t deadline,
                        struct err *err)
{
    struct acme *acme = acme_of(up);
    struct up_reply reply = {0};
    struct acme_answer answer = {0};
    struct buf der = {0};
    char url[ACME_URL_MAX];
    struct json *payload = json_new_object();
    bool ok = acme_client_ready(acme->client, false, deadline, &reply) == UP_ISSUED;
    if (ok && jose_encode(cert_der_get(cert), &der) &&
        acme_client_url(acme->client, ACME_REVOKE_CERT, url)) {
        json_set_text(payload, "certificate", buf_str(&der));
        json_set_number(payload, "reason", reason);
        ok = acme_client_post(acme->client, &(struct acme_ask){url, payload, deadline}, &answer,
                              &reply) == UP_ISSUED ||
             strcmp(answer.problem, "alreadyRevoked") == 0;
    }
    if (!ok)
        err_set(err, ERR_UPSTREAM, "%s", reply.reason);
    json_free(payload);
    buf_free(&der);
    acme_answer_clear(&answer);
    up_reply_clear(&reply);
    return ok;
}

static bool acme_health(struct upstream *up, int64_t deadline, struct err *err)
{
    struct acme *acme = acme_of(up);
    struct up_reply reply = {0};
    bool ok = acme_client_ready(acme->client, true, deadline, &reply) == UP_ISSUED;
    if (!ok)
        err_set(err, ERR_UPSTREAM, "%s", reply.reason);
    up_reply_clear(&reply);
    return ok && acme_listen(acme, err);
}

static bool acme_window(struct upstream *up, const struct cert *cert, int64_t deadline,
                        struct up_window *ret, struct err *err)
{
    struct acme *acme = acme_of(up);
    struct up_reply reply = {0};
    bool ok = acme_client_ready(acme->client, false, deadline, &reply) == UP_ISSUED ||
              err_set(err, ERR_UPSTREAM, "%s", reply.reason);
    up_reply_clear(&reply);
    return ok && acme_window_ask(acme->client, cert, deadline, ret, err);
}

const struct cfg_kind acme_kind = {
    .type = "acme",
    .keys = acme_keys,
    .options_size = sizeof(struct acme_options),
    .remote = true,
    .judge = acme_options_judge,
};

const struct upstream_vt acme_vt = {
    .type = "acme",
    .caps = UP_PENDINGS | UP_RESUBMIT_SAFE | UP_REVOKE | UP_MAY_REWRITE | UP_RENEWS,
    .open = acme_open,
    .close = acme_close,
    .prepare = relay_prepare,
    .submit = acme_submit,
    .poll = acme_poll,
    .idle = acme_idle,
    .revoke = acme_revoke,
    .chain = relay_chain,
    .health = acme_health,
    .window = acme_window,
    .remember = relay_remember,
    .recall = relay_recall,
};
