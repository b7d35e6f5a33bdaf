#include "est/door.h"

#include "est/auth.h"
#include "est/binding.h"
#include "est/body.h"
#include "est/csrattrs.h"
#include "est/fullcmc.h"
#include "est/keygen.h"
#include "est/lenient.h"
#include "est/outcome.h"
#include "est/renewal.h"
#include "est/sign.h"
#include "ra/chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHAIN_MAX 64
#define CACERTS_SECONDS 3600
#define KEY_ID_MAX 64
#define FAULT_RETRY_SECONDS 30
#define PENDING_RETRY_SECONDS 60 /* RFC 7030 section 4.2.3: a 202 always says when */
#define CERTS_ONLY "application/pkcs7-mime; smime-type=certs-only"

/* The device gets a status and a word or two; the operator's text goes to the log. */
static void answer_text(struct est_reply *reply, int status, const char *verb, const char *word)
{
    reply->status = status;
    reply->content_type = "text/plain";
    buf_clear(&reply->body);
    const char *id = reply->note.request_id[0] ? reply->note.request_id : reply->note.call_id;
    bool ok = buf_add_fmt(&reply->body, "%s: %s", verb, word) &&
              (!*id || buf_add_fmt(&reply->body, " (request %s)", id)) &&
              buf_add_u8(&reply->body, '\n');
    if (!ok)
        buf_clear(&reply->body);
}

static void refuse(struct est_reply *reply, int status, const char *reason, const char *detail)
{
    ra_note_set(&reply->note, "refused", reason, "%s", detail);
    answer_text(reply, status, "refused", reason);
}

static void answer_fault(struct est_reply *reply, const struct err *err)
{
    ra_note_set(&reply->note, "error", err_kind_name(err->kind), "%s", err->text);
    reply->note.fault = true;
    answer_text(reply, 503, "unavailable", "try again later");
    reply->max_age = 0;
    reply->retry_after = FAULT_RETRY_SECONDS;
}

static void answer_certs(const struct est_call *call, struct est_reply *reply,
                         const struct bytes *certs, size_t count)
{
    struct err err = {.kind = ERR_LOCAL, .text = "the certificates are too large to send"};
    reply->status = 200;
    reply->base64 = est_body_certs(certs, count, !call->user_agent, &reply->body);
    if (!reply->base64)
        answer_fault(reply, &err);
}

/* Certificates, each once. */
struct collection {
    struct bytes certs[CHAIN_MAX];
    size_t count;
    bool full;
    char left_out[RA_CHAIN_TEXT_MAX]; /* for the log */
};

static void collect(struct collection *all, const struct cert *cert)
{
    struct bytes der = cert_der_get(cert);
    for (size_t i = 0; i < all->count; i++)
        if (bytes_equal(all->certs[i], der))
            return;
    if (all->count < CHAIN_MAX)
        all->certs[all->count++] = der;
    else
        all->full = true;
}

static bool collect_upstream(struct collection *all, const struct est_call *call, size_t upstream,
                             struct err *err)
{
    struct ra_chain chain;
    if (!ra_chain_told(call->settings, call->profile, upstream, &chain, err))
        return false;
    for (size_t i = 0; i < chain.count; i++)
        collect(all, chain.certs[i]);
    if (!all->left_out[0])
        ra_chain_left_out(&chain, all->left_out);
    return true;
}

static bool profile_asks(const struct cfg_profile *profile, size_t upstream)
{
    bool asks = profile->migrate && profile->migrate_to == upstream;
    for (size_t i = 0; i < profile->route_count; i++) {
        const struct cfg_route *route = &profile->routes[i];
        asks = asks || route->upstream == upstream;
        for (size_t k = 0; k < route->pool_count; k++)
            asks = asks || route->pool[k] == upstream;
    }
    return asks;
}

/* Every CA that may issue for the profile. One that has not told its certificates yet is a fault if
 * a route leads to it first; one that would only take its place is left out. */
static bool collect_profile(struct collection *all, const struct est_call *call, struct err *err)
{
    const struct cfg_profile *profile = call->profile;
    struct upstream **ups = call->settings->upstreams;
    struct err ignored;
    for (size_t i = 0; i < profile->route_count; i++) {
        const struct cfg_route *route = &profile->routes[i];
        if (!collect_upstream(all, call, route->upstream, err))
            return false;
        for (size_t k = 0; k < route->pool_count; k++)
            (void)collect_upstream(all, call, route->pool[k], &ignored);
    }
    if (profile->migrate)
        (void)collect_upstream(all, call, profile->migrate_to, &ignored);
    for (size_t i = 0; i < call->settings->cfg->upstream_count; i++) {
        const struct cfg_certs *rollover = NULL;
        if (profile_asks(profile, i) && ups[i]->vt->rollover &&
            ups[i]->vt->rollover(ups[i], &rollover))
            for (size_t k = 0; k < rollover->count; k++)
                collect(all, rollover->items[k]);
    }
    return !all->full || err_set(err, ERR_CONFIG, "more than %d CA certificates", CHAIN_MAX);
}

/* RFC 7030 section 4.1: whoever reads them needs no credential, and may keep them for a while. */
static void cacerts(const struct est_call *call, struct est_reply *reply)
{
    struct collection *all = mem_zalloc(sizeof *all);
    struct err err = {0};
    if (collect_profile(all, call, &err)) {
        reply->content_type = "application/pkcs7-mime";
        reply->max_age = CACERTS_SECONDS;
        ra_note_set(&reply->note, "answered", NULL, "%s", all->left_out);
        answer_certs(call, reply, all->certs, all->count);
    } else {
        answer_fault(reply, &err);
    }
    free(all);
}

/* RFC 7030 section 4.5.2: without attributes there is no body either. */
static void csrattrs(const struct est_call *call, struct est_reply *reply)
{
    struct buf der = {0};
    struct err err = {.kind = ERR_LOCAL, .text = "the attributes are too large to send"};
    bool ok = est_csrattrs_encode(call->profile, &der);
    ra_note_set(&reply->note, "answered", der.len ? NULL : "no-attributes", "%s", "");
    if (ok && !der.len) {
        reply->status = 404;
    } else if (ok && est_body_base64(buf_bytes(&der), !call->user_agent, &reply->body)) {
        reply->status = 200;
        reply->content_type = "application/csrattrs";
        reply->base64 = true;
    } else {
        answer_fault(reply, &err);
    }
    buf_free(&der);
}

/* The last segment of the path. */
static struct bytes last_segment(struct bytes target)
{
    struct bytes path, segment = {0};
    bytes_take_until(&target, '?', &path);
    while (bytes_take_until(&path, '/', &segment))
        ;
    return segment;
}

/* draft-yusef-lamps-rfc7030-renewal-recommendation: nobody has to prove anything for it, so it is
 * 404 for everything that is not a certificate of this profile. It is JSON, and no base64. */
static void renewal_info(const struct est_call *call, struct est_reply *reply)
{
    struct est_renewal found = {0};
    struct buf key_id = BUF_INIT(KEY_ID_MAX);
    char serial[CERT_SERIAL_TEXT_MAX];
    struct err err = {0};
    bool wanted = call->profile->est.renewal_info && call->store &&
                  est_renewal_id(last_segment(call->target), &key_id, serial);
    struct ra_cert_id id = {call->profile, buf_bytes(&key_id), serial};
    if (wanted && !est_renewal_info(call->store, &id, &found, &reply->body, &err)) {
        answer_fault(reply, &err);
    } else if (found.found) {
        ra_note_set(&reply->note, "answered", NULL, "%s", "");
        reply->status = 200;
        reply->content_type = "application/json";
        reply->retry_after = found.retry_after;
    } else {
        refuse(reply, 404, "no-certificate", "no certificate of the profile has this identifier");
    }
    buf_free(&key_id);
}

/* "application/pkcs10" (RFC 7030 section 4.2.1), whatever parameters follow; none is tolerated. */
static bool is_pkcs10(struct bytes content_type)
{
    struct bytes type;
    if (bytes_trim(content_type).len == 0)
        return true;
    bytes_take_until(&content_type, ';', &type);
    return bytes_equal_nocase(bytes_trim(type), "application/pkcs10");
}

/* Whether a certificate and a password are needed together (RFC 7030 section 3.2.3). */
static bool needs_both(const struct est_call *call)
{
    return call->profile->est.auth_require == CFG_REQUIRE_ALL;
}

/* challengePassword, if it is a secret as in SCEP; an HTTP password counts before it. */
static struct bytes take_password(const struct est_call *call, const struct csr *csr)
{
    bool secret = call->profile->est.challenge_password == CFG_PASSWORD_SECRET;
    return secret ? csr_challenge_get(csr) : (struct bytes){0};
}

/* RFC 7616 section 3.4: what is there, whether it is right. A certificate may authorize in spite of
 * a wrong password beside it, unless both are needed. */
static enum est_auth_result take_evidence(const struct est_call *call, const struct csr *csr,
                                          const struct est_auth *auth, struct ra_evidence *ret)
{
    enum est_auth_result result = EST_AUTH_RIGHT;
    if (call->profile->est.auth_certificate && call->peer) {
        ret->holder = call->peer;
        ret->along = call->along;
        ret->along_count = call->along_count;
    }
    ret->both = needs_both(call);
    if (auth->kind != EST_AUTH_NONE)
        result = est_auth_check(call, auth, ret);
    else if (call->op != EST_SIMPLEREENROLL)
        ret->challenge = take_password(call, csr);
    if (result == EST_AUTH_WRONG && call->guard)
        est_guard_note(call->guard, call->origin, auth->user, false);
    return result == EST_AUTH_WRONG && ret->holder && !ret->both ? EST_AUTH_RIGHT : result;
}

static void refuse_auth(const struct est_call *call, bool stale, struct est_reply *reply)
{
    refuse(reply, 401, ra_reason_name(RA_BAD_CHALLENGE),
           stale ? "a Digest nonce that is too old or was used with this count before"
                 : "a Digest response that is wrong, or of somebody unknown");
    est_auth_ask(call, stale, reply);
}

/* RFC 7030 section 4.4.2 */
static void answer_key(const struct est_call *call, const struct est_wrap *wrap,
                       const struct ra_outcome *outcome, struct est_reply *reply)
{
    struct est_keygen what = {
        .wrap = wrap,
        .key = outcome->key,
        .cert = cert_der_get(outcome->cert),
        .signer = est_signer(call->settings->cfg, call->profile),
        .one_line = !call->user_agent,
    };
    struct err err = {0};
    buf_free(&reply->body);
    reply->body = (struct buf){.secret = true};
    if (!est_keygen_body(&what, &reply->body, &err)) {
        reply->delivers[0] = 0;
        answer_fault(reply, &err);
        return;
    }
    reply->status = 200;
    reply->content_type = EST_KEYGEN_TYPE;
}

static void answer_outcome(const struct est_call *call, const struct est_wrap *wrap,
                           const struct ra_outcome *outcome, struct est_reply *reply)
{
    const char *reason = ra_reason_name(outcome->reason);
    struct bytes leaf;
    memcpy(reply->note.request_id, outcome->request_id, sizeof outcome->request_id);
    switch (outcome->status) {
    case RA_ISSUED:
        leaf = cert_der_get(outcome->cert);
        ra_note_set(&reply->note, "issued", outcome->repeated ? "repeated" : NULL, "serial %s%s",
                    cert_serial_get(outcome->cert), outcome->detail);
        memcpy(reply->delivers, outcome->request_id, sizeof reply->delivers);
        reply->content_type = CERTS_ONLY;
        if (call->op == EST_SERVERKEYGEN)
            answer_key(call, wrap, outcome, reply);
        else
            answer_certs(call, reply, &leaf, 1);
        break;
    case RA_PENDING:
        ra_note_set(&reply->note, "pending", NULL, "%s", outcome->detail);
        answer_text(reply, 202, "pending", "ask again later");
        reply->retry_after =
            outcome->retry_after > 0 ? outcome->retry_after : PENDING_RETRY_SECONDS;
        break;
    default:
        refuse(reply, est_outcome_status(outcome->reason), reason, outcome->detail);
        bool could_help = est_auth_offered(&call->profile->est) &&
                          (call->op != EST_SIMPLEREENROLL || needs_both(call));
        if (reply->status == 401 && could_help)
            est_auth_ask(call, false, reply);
        else if (reply->status == 401)
            reply->status = 403;
        reply->retry_after = outcome->retry_after;
    }
}

/* Wrong passwords are counted; challengePassword as well, for no user. What a certificate alone
 * authorized says nothing of the password beside it. */
static void note_try(const struct est_call *call, const struct ra_evidence *evidence,
                     struct bytes user, const struct ra_outcome *outcome)
{
    bool issued = outcome->status != RA_REFUSED && evidence->challenge.len &&
                  (!evidence->holder || evidence->both);
    bool right = evidence->principal || issued;
    bool wrong = evidence->challenge.len && outcome->reason == RA_BAD_CHALLENGE;
    if (call->guard && (right || wrong))
        est_guard_note(call->guard, call->origin, user, right);
}

static enum ra_op op_of(const struct est_call *call)
{
    if (call->op == EST_SERVERKEYGEN)
        return RA_KEYGEN;
    return call->op == EST_SIMPLEREENROLL ? RA_RENEW : RA_ENROLL;
}

static void submit(struct ra *ra, const struct est_call *call, const struct csr *csr,
                   const struct est_wrap *wrap, struct est_reply *reply)
{
    struct est_auth auth;
    struct ra_outcome outcome = {0};
    struct err err = {0};
    struct ra_request request = {
        .settings = call->settings,
        .profile = call->profile,
        .op = op_of(call),
        .csr = csr,
        .label = call->label,
        .origin = call->origin,
    };
    est_auth_take(call, &auth);
    enum est_auth_result result = take_evidence(call, csr, &auth, &request.evidence);
    if (result != EST_AUTH_RIGHT) {
        refuse_auth(call, result == EST_AUTH_STALE, reply);
    } else if (ra_submit(ra, &request, &outcome, &err)) {
        note_try(call, &request.evidence, auth.user, &outcome);
        answer_outcome(call, wrap, &outcome, reply);
    } else {
        answer_fault(reply, &err);
    }
    ra_outcome_clear(&outcome);
    est_auth_clear(&auth);
}

static void refuse_certificate(const struct est_call *call, struct est_reply *reply)
{
    refuse(reply, 403, "no-certificate",
           call->op == EST_SIMPLEREENROLL
               ? "re-enrollment needs the certificate that is to be renewed"
               : "a client certificate is needed besides the password");
}

/* Whether a credential is there at all, before the body is looked at; csr: one that may hold it,
 * afterwards; or NULL. */
static bool has_credential(const struct est_call *call, const struct csr *csr,
                           struct est_reply *reply)
{
    struct est_auth auth;
    bool certificate = call->profile->est.auth_certificate && call->peer;
    bool both = needs_both(call);
    if (!certificate && (both || call->op == EST_SIMPLEREENROLL)) {
        refuse_certificate(call, reply);
        return false;
    }
    if (certificate && !both)
        return true;
    est_auth_take(call, &auth);
    bool there = auth.kind != EST_AUTH_NONE;
    bool may = !both && call->profile->est.challenge_password == CFG_PASSWORD_SECRET;
    if (!there && !(may && (!csr || take_password(call, csr).len))) {
        bool offered = est_auth_offered(&call->profile->est);
        refuse(reply, offered ? 401 : 403, ra_reason_name(RA_NO_EVIDENCE),
               auth.wrong.text[0] ? auth.wrong.text
               : both             ? "no password beside the client certificate"
                                  : "neither a client certificate nor a password");
        if (offered)
            est_auth_ask(call, false, reply);
    }
    est_auth_clear(&auth);
    return !reply->status;
}

/* Before a password is looked at: whether somebody has guessed too often. */
static bool may_try(const struct est_call *call, struct est_reply *reply)
{
    struct est_auth auth;
    est_auth_take(call, &auth);
    bool password =
        auth.kind != EST_AUTH_NONE || call->profile->est.challenge_password == CFG_PASSWORD_SECRET;
    int seconds =
        call->guard && password ? est_guard_wait(call->guard, call->origin, auth.user) : 0;
    est_auth_clear(&auth);
    if (!seconds)
        return true;
    refuse(reply, 429, "too-many-tries", "too many wrong passwords");
    reply->retry_after = seconds;
    return false;
}

/* RFC 7030 section 4.2.1 and RFC 8951 section 3, where the profile insists on them. */
static bool is_exact(const struct est_call *call, struct est_reply *reply)
{
    bool lenient[EST_LENIENT_COUNT];
    const struct est_lenient_refusal *refusal = est_lenient_find(call, lenient);
    if (refusal)
        refuse(reply, refusal->status, refusal->reason, refusal->detail);
    return !refusal;
}

/* RFC 7030 section 4.4.1: of a key that is made, the CSR's own key and signature are ignored. Where
 * to encrypt it to is known before anything is asked for. */
static bool pop_fine(const struct est_call *call, const struct csr *csr, struct est_wrap *wrap,
                     struct err *err)
{
    struct est_wrap_wish wish = {csr, call->peer, call->tls};
    if (call->op == EST_SERVERKEYGEN)
        return est_wrap_choose(&call->profile->est, &wish, wrap, err);
    return csr_pop_check(csr, err) && csr_strong_check(csr, err);
}

/* RFC 7030 sections 4.2 and 4.4 */
static void enroll(struct ra *ra, const struct est_call *call, struct est_reply *reply)
{
    struct csr *csr = NULL;
    struct est_wrap wrap = {0};
    struct err err = {0};
    if (!is_pkcs10(call->content_type)) {
        refuse(reply, 415, "bad-media-type", "the media type is not application/pkcs10");
        return;
    }
    if (!is_exact(call, reply) || !has_credential(call, NULL, reply) || !may_try(call, reply))
        return;
    if (!est_body_csr(call->body, &csr, &err)) {
        refuse(reply, 400, "bad-request", err.text);
    } else if (!pop_fine(call, csr, &wrap, &err)) {
        bool keygen = call->op == EST_SERVERKEYGEN;
        refuse(reply, 400, keygen ? "bad-encryption-key" : "bad-possession", err.text);
    } else if (!est_binding_check(&call->profile->est, csr, call->binding, &err)) {
        refuse(reply, 400, "bad-binding", err.text);
    } else if (has_credential(call, csr, reply)) {
        (void)est_lenient_find(call, reply->lenient);
        snprintf(reply->note.subject, sizeof reply->note.subject, "%s",
                 csr_names_get(csr)->subject_text);
        submit(ra, call, csr, &wrap, reply);
    }
    csr_free(csr);
}

/* Whether the profile has this operation at all. */
static bool is_served(const struct est_call *call)
{
    if (call->op == EST_SERVERKEYGEN)
        return call->profile->est.keygen != CFG_KEYGEN_OFF;
    return call->op != EST_FULLCMC || call->profile->est.fullcmc != CFG_FULLCMC_OFF;
}

static bool method_fits(const struct est_call *call, struct est_reply *reply)
{
    bool get = call->op == EST_CACERTS || call->op == EST_CSRATTRS || call->op == EST_RENEWAL_INFO;
    if (strcmp(call->method, get ? "GET" : "POST") == 0)
        return true;
    refuse(reply, 405, "bad-method", "a method that this operation does not have");
    reply->allow = get ? "GET" : "POST";
    return false;
}

void est_door_handle(struct ra *ra, const struct est_call *call, struct est_reply *reply)
{
    *reply = (struct est_reply){.note = {.operation = est_op_name(call->op)}};
    if (call->id)
        snprintf(reply->note.call_id, sizeof reply->note.call_id, "%s", call->id);
    if (!is_served(call)) {
        refuse(reply, 501, "not-implemented", "an optional operation that is not served");
        return;
    }
    if (!method_fits(call, reply))
        return;
    switch (call->op) {
    case EST_CACERTS:
        cacerts(call, reply);
        break;
    case EST_SIMPLEENROLL:
    case EST_SIMPLEREENROLL:
    case EST_SERVERKEYGEN:
        enroll(ra, call, reply);
        break;
    case EST_CSRATTRS:
        csrattrs(call, reply);
        break;
    case EST_FULLCMC:
        est_fullcmc(ra, call, reply);
        break;
    case EST_RENEWAL_INFO:
        renewal_info(call, reply);
        break;
    default:
        refuse(reply, 501, "not-implemented", "an optional operation that is not served");
    }
}

void est_reply_clear(struct est_reply *reply)
{
    buf_free(&reply->body);
    free(reply->authenticate);
    *reply = (struct est_reply){0};
}
