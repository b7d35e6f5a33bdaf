#include "gateway/upstream/acme_step.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define AUTHORIZATIONS_MAX NAMES_SAN_MAX

const char *acme_status(const struct acme_answer *answer)
{
    const char *status = json_text(json_get(json_root(answer->body), "status"));
    return status ? status : "nothing";
}

bool acme_listen(struct acme *acme, struct err *err)
{
    struct buf thumbprint = {0};
    bool ok = true;
    if (!acme->options->http01)
        return true;
    pthread_mutex_lock(&acme->mutex);
    if (!acme->http01)
        ok = acme_client_thumbprint(acme->client, &thumbprint) &&
             http01_start(acme->options->http01, buf_str(&thumbprint), &acme->http01, err);
    pthread_mutex_unlock(&acme->mutex);
    buf_free(&thumbprint);
    return ok;
}

/* What the CA says is wrong with one of the challenges of an authorization. */
static const char *detail_of(const struct acme_answer *authorization)
{
    const struct json_value *root = json_root(authorization->body), *challenge;
    const struct json_value *list = json_get(root, "challenges");
    for (size_t i = 0; (challenge = json_at(list, i)); i++) {
        const char *detail = json_text(json_get(json_get(challenge, "error"), "detail"));
        if (detail)
            return detail;
    }
    return "";
}

static const char *name_of(const struct acme_answer *authorization)
{
    const struct json_value *root = json_root(authorization->body);
    return json_text(json_get(json_get(root, "identifier"), "value"));
}

/* NULL if the CA offers none of that type. */
static const struct json_value *challenge_find(const struct acme_answer *authorization,
                                               const char *type)
{
    const struct json_value *challenge;
    const struct json_value *list = json_get(json_root(authorization->body), "challenges");
    for (size_t i = 0; (challenge = json_at(list, i)); i++) {
        const char *offered = json_text(json_get(challenge, "type"));
        if (offered && strcmp(offered, type) == 0)
            return challenge;
    }
    return NULL;
}

/* Section 7.5.1: says that the challenge can be validated, unless it is being validated. */
static enum up_result answer_challenge(struct step *step, const struct json_value *challenge)
{
    const char *status = json_text(json_get(challenge, "status"));
    if (!status || strcmp(status, "pending") != 0)
        return UP_ISSUED;
    struct acme_answer answer = {0};
    struct json *nothing = json_new_object();
    enum up_result result = acme_client_post(
        step->acme->client,
        &(struct acme_ask){json_text(json_get(challenge, "url")), nothing, step->deadline}, &answer,
        step->reply);
    json_free(nothing);
    acme_answer_clear(&answer);
    /* One that has been answered before is refused by some: the authorization will tell. */
    return result == UP_REFUSED ? UP_ISSUED : result;
}

/* What a CA says may be in any order each time: records are counted by the CSR's names. */
static struct acme_record record_of(const struct acme_answer *authorization)
{
    const struct json_value *challenge = challenge_find(authorization, "dns-01");
    return (struct acme_record){
        .name = name_of(authorization),
        .token = json_text(json_get(challenge, "token")),
        .wildcard = json_holds(json_get(json_root(authorization->body), "wildcard")),
    };
}

/* False if there is no such SAN, or its bit is not set. */
static bool is_set(const struct step *step, const struct acme_record *record, size_t *san)
{
    return acme_dns01_san(csr_names_get(step->order->csr), record, san) &&
           (step->ticket.set[*san / 8] & 1u << *san % 8);
}

/* First records are set, which may take several polls; when all are there, and known where the CA
 * looks, they are answered. */
static enum up_result prove_dns01(struct step *step, const struct acme_answer *authorization,
                                  const struct json_value *challenge)
{
    const struct acme_dns01 *dns01 = &step->acme->options->dns01;
    struct ticket *ticket = &step->ticket;
    struct acme_record record = record_of(authorization);
    int64_t now = clock_now();
    struct err err = {0};
    size_t san;
    if (ticket->cleaning)
        return UP_ISSUED;
    if (is_set(step, &record, &san)) {
        if (ticket->set_at > now) /* the clock was set back */
            ticket->set_at = now;
        int64_t left = ticket->set_at + dns01->delay - now;
        if (left <= 0)
            return answer_challenge(step, challenge);
        step->wait = left;
        return UP_ISSUED;
    }
    step->wait = 1;
    if (clock_mono_ms() > step->half)
        return UP_ISSUED;
    if (!acme_dns01_run(step, "present", &record, &err)) {
        relay_reason(step->reply, "%s", err.text);
        step->told = true; /* it is tried until the order expires; the CA has no part in it */
        step->half = 0;
        step->wait = 0;
        return err.kind == ERR_PEER ? UP_REFUSED : UP_ISSUED;
    }
    if (acme_dns01_san(csr_names_get(step->order->csr), &record, &san))
        ticket->set[san / 8] |= (uint8_t)(1u << san % 8);
    ticket->set_at = clock_now();
    return UP_ISSUED;
}

/* A record says more than a web server: it works for any host, and for wildcards. */
static enum up_result prove(struct step *step, const struct acme_answer *authorization)
{
    const struct acme_options *options = step->acme->options;
    const char *name = name_of(authorization);
    const struct json_value *dns01 = challenge_find(authorization, "dns-01");
    const struct json_value *http01 = challenge_find(authorization, "http-01");
    struct err err = {0};
    if (dns01 && options->dns01.command.count)
        return prove_dns01(step, authorization, dns01);
    if (!http01 || !options->http01) {
        relay_reason(step->reply,
                     "the account is not authorized for %s, and no challenge that the CA offers is "
                     "configured",
                     name ? name : "a name");
        return UP_REFUSED;
    }
    if (acme_listen(step->acme, &err))
        return answer_challenge(step, http01);
    relay_reason(step->reply, "%s", err.text);
    return UP_RETRY;
}

/* Section 7.1.6. What is none of these tells nothing. */
static bool is_over(const char *status)
{
    static const char *const over[] = {"invalid", "deactivated", "expired", "revoked"};
    for (size_t i = 0; i < sizeof over / sizeof over[0]; i++)
        if (strcmp(status, over[i]) == 0)
            return true;
    return false;
}

/* UP_ISSUED: is valid, or may become so. */
static enum up_result authorize(struct step *step, const char *url)
{
    struct acme_answer answer = {0};
    enum up_result result = acme_client_post(
        step->acme->client, &(struct acme_ask){url, NULL, step->deadline}, &answer, step->reply);
    if (result == UP_ISSUED && strcmp(acme_status(&answer), "pending") == 0) {
        result = prove(step, &answer);
    } else if (result == UP_ISSUED && strcmp(acme_status(&answer), "valid") != 0) {
        const char *name = name_of(&answer);
        relay_reason(step->reply, "the authorization for %s is %s: %s", name ? name : "a name",
                     acme_status(&answer), detail_of(&answer));
        result = is_over(acme_status(&answer)) ? UP_REFUSED : UP_RETRY;
    }
    acme_answer_clear(&answer);
    return result;
}

enum up_result acme_authorize(struct step *step)
{
    const struct json_value *list = json_get(json_root(step->answer.body), "authorizations"), *one;
    enum up_result result = UP_ISSUED;
    for (size_t i = 0; i < AUTHORIZATIONS_MAX && result == UP_ISSUED && (one = json_at(list, i));
         i++)
        result = authorize(step, json_text(one));
    return result;
}

/* Of one authorization. */
static void clean_one(struct step *step, const char *url)
{
    struct acme_answer answer = {0};
    struct up_reply said = {0};
    struct err err = {0};
    size_t san;
    if (acme_client_post(step->acme->client, &(struct acme_ask){url, NULL, step->deadline}, &answer,
                         &said) == UP_ISSUED) {
        struct acme_record record = record_of(&answer);
        if (is_set(step, &record, &san)) {
            step->ticket.set[san / 8] &= (uint8_t) ~(1u << san % 8);
            if (step->acme->options->dns01.command.count &&
                !acme_dns01_run(step, "cleanup", &record, &err)) {
                relay_reason(step->reply, "a record of dns-01 stays behind: %s", err.text);
                step->told = true;
            }
        }
    }
    acme_answer_clear(&answer);
    up_reply_clear(&said);
}

void acme_dns01_clean(struct step *step)
{
    const struct json_value *list = json_get(json_root(step->answer.body), "authorizations"), *one;
    step->ticket.cleaning = 1;
    for (size_t i = 0; i < AUTHORIZATIONS_MAX && (one = json_at(list, i)); i++) {
        if (!acme_ticket_has_records(&step->ticket))
            return;
        if (clock_mono_ms() > step->half)
            return; /* the next poll goes on */
        clean_one(step, json_text(one));
    }
    memset(step->ticket.set, 0, sizeof step->ticket.set);
}
