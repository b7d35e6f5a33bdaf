#include "est/fullcmc.h"

#include "base/clock.h"
#include "base/der.h"
#include "base/text.h"
#include "est/binding.h"
#include "est/body.h"
#include "est/cmc_reply.h"
#include "est/lenient.h"
#include "est/outcome.h"
#include "ra/chain.h"

#include <openssl/objects.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CMC_RESPONSE "application/pkcs7-mime; smime-type=CMC-response"
#define NONCE_LEN 16
#define VALUE_MAX 1024 /* of a control that is given back */
#define CERTS_MAX 40
#define WORK_MS 20000 /* for a message; what is not taken up in time is to be sent again */
#define WAIT_MS 8000  /* that a request may wait where nothing is configured */
#define AGAIN_SECONDS 30
#define SKEW_SECONDS 300

/* One message and what becomes of it. */
struct session {
    struct ra *ra;
    const struct est_call *call;
    struct est_reply *reply;
    struct est_cmc_message message;
    struct est_cmc_data data;
    struct est_cmc_out out;
    struct bytes txn; /* value of transactionId, or empty */
    struct cert *issued[EST_CMC_REQUESTS_MAX + EST_CMC_CONTROLS_MAX];
    size_t issued_count;
    struct bytes certs[CERTS_MAX]; /* of the reply: these, and the chains of their CAs */
    size_t cert_count;
    bool by_signer; /* the TLS client is the signer: no copy */
    unsigned fine, refused, faults;
    int status;               /* of the first that was refused */
    int again;                /* seconds until the first that waits may be asked for */
    int64_t started, wait_ms; /* how long one request may take */
    unsigned taken;           /* requests and queries */
    bool full;                /* the reply is too large */
};

/* Every body part has its status; the reply is whole only if all of them fit. */
static void say(struct session *s, const struct est_cmc_status *status)
{
    s->full = !est_cmc_out_status(&s->out, status) || s->full;
}

static void say_failed(struct session *s, uint32_t id, enum est_cmc_fail fail, const char *text)
{
    say(s, &(struct est_cmc_status){
               .code = EST_CMC_FAILED, .ids = &id, .id_count = 1, .text = text, .fail = fail});
}

static void note_refused(struct session *s, int status, const char *reason, const char *detail)
{
    if (!s->refused++)
        s->status = status;
    ra_note_set(&s->reply->note, "refused", reason, "%s", detail);
}

/* Nothing of the message is looked at any further. */
static void refuse_all(struct session *s, int status, enum est_cmc_fail fail, const char *detail)
{
    note_refused(s, status, "bad-message", detail);
    say_failed(s, 0, fail, NULL);
}

static enum est_cmc_fail fail_of(enum ra_reason reason)
{
    switch (reason) {
    case RA_NO_EVIDENCE:
    case RA_BAD_CHALLENGE:
    case RA_BAD_RENEWAL:
        return EST_CMC_BAD_IDENTITY;
    case RA_BAD_EXTENSION:
        return EST_CMC_UNSUPPORTED_EXT;
    case RA_OVER_QUOTA:
        return EST_CMC_TRY_LATER;
    case RA_KEY_REUSED: /* RFC 5272 section 3.2 */
        return EST_CMC_NO_KEY_REUSE;
    default:
        return EST_CMC_BAD_REQUEST;
    }
}

static void add_cert(struct session *s, struct bytes der)
{
    for (size_t i = 0; i < s->cert_count; i++)
        if (bytes_equal(s->certs[i], der))
            return;
    if (s->cert_count == CERTS_MAX)
        s->full = true;
    else
        s->certs[s->cert_count++] = der;
}

/* RFC 5272 section 4.2: with the certificates that lead to an anchor. */
static void add_chain(struct session *s, size_t upstream)
{
    const struct ra_settings *settings = s->call->settings;
    struct ra_chain chain;
    struct err ignored;
    if (upstream >= settings->cfg->upstream_count ||
        !ra_chain_told(settings, s->call->profile, upstream, &chain, &ignored))
        return;
    for (size_t i = 0; i < chain.count; i++)
        add_cert(s, cert_der_get(chain.certs[i]));
}

static void take_issued(struct session *s, struct ra_outcome *outcome)
{
    struct est_reply *reply = s->reply;
    s->issued[s->issued_count++] = outcome->cert;
    add_cert(s, cert_der_get(outcome->cert));
    add_chain(s, outcome->upstream);
    outcome->cert = NULL;
    if (!reply->delivers[0])
        memcpy(reply->delivers, outcome->request_id, sizeof reply->delivers);
    else if (reply->more_count < EST_DELIVERS_MORE)
        memcpy(reply->delivers_more[reply->more_count++], outcome->request_id,
               sizeof reply->delivers);
}

/* What an RA is told of a refusal: the word and the request's id, as everywhere. */
static void say_refused(struct session *s, uint32_t id, const struct ra_outcome *outcome)
{
    char text[128];
    const char *reason = ra_reason_name(outcome->reason);
    int status = est_outcome_status(outcome->reason);
    snprintf(text, sizeof text, "refused: %s%s%s", reason, *outcome->request_id ? ", request " : "",
             outcome->request_id);
    note_refused(s, status == 401 ? 403 : status, reason, outcome->detail);
    say_failed(s, id, fail_of(outcome->reason), text);
    if (outcome->retry_after > s->reply->retry_after)
        s->reply->retry_after = outcome->retry_after;
}

/* token: of a new request; empty for an answer to a query, whose RA knows it (RFC 5272 section
 * 6.13). */
static void say_outcome(struct session *s, uint32_t id, struct bytes token,
                        struct ra_outcome *outcome)
{
    struct est_cmc_status status = {.ids = &id, .id_count = 1};
    int seconds;
    if (!s->reply->note.request_id[0])
        memcpy(s->reply->note.request_id, outcome->request_id, sizeof outcome->request_id);
    switch (outcome->status) {
    case RA_ISSUED:
        take_issued(s, outcome);
        status.code = EST_CMC_SUCCESS;
        break;
    case RA_PENDING:
        seconds = outcome->retry_after > 0 ? outcome->retry_after : AGAIN_SECONDS;
        s->again = s->again && s->again < seconds ? s->again : seconds;
        status.code = EST_CMC_PENDING;
        status.token = token;
        status.pend_time = clock_now() + seconds;
        break;
    default:
        say_refused(s, id, outcome);
        return;
    }
    s->fine++;
    say(s, &status);
}

static void say_fault(struct session *s, uint32_t id, const struct err *err)
{
    s->faults++;
    s->reply->note.fault = true;
    ra_note_set(&s->reply->note, "error", err_kind_name(err->kind), "%s", err->text);
    say_failed(s, id, EST_CMC_TRY_LATER, NULL);
}

static void submit(struct session *s, uint32_t id, struct ra_request *request)
{
    struct bytes token = {0};
    struct ra_outcome outcome = {0};
    struct err err = {0};
    if (request->op != RA_POLL)
        token = request->txn;
    request->settings = s->call->settings;
    request->profile = s->call->profile;
    request->label = s->call->label;
    request->origin = s->call->origin;
    request->evidence.holder = s->message.signer;
    request->evidence.over_cms = true;
    request->evidence.other_key = true; /* an RA signs with its own */
    request->evidence.signed_at = s->by_signer ? 0 : s->message.signing_time;
    request->evidence.along = s->message.along;
    request->evidence.along_count = s->message.along_count;
    request->evidence.both = s->call->profile->est.auth_require == CFG_REQUIRE_ALL;
    if (ra_submit(s->ra, request, &outcome, &err))
        say_outcome(s, id, token, &outcome);
    else
        say_fault(s, id, &err);
    ra_outcome_clear(&outcome);
}

/* pendToken: the same for the same request of the same transaction, so that a repetition does not
 * take the first one's token away. It is no secret: whoever asks by it proves the key again. */
static void make_token(const struct session *s, uint32_t id, const struct csr *csr,
                       char out[2 * SHA256_DIGEST_LENGTH + 1])
{
    struct buf text = BUF_INIT(CSR_MAX + 4096);
    uint8_t digest[SHA256_DIGEST_LENGTH];
    const struct spki *spki = csr_spki_get(csr);
    bool ok = buf_add_fmt(&text, "cmc %u ", id) &&
              buf_add(&text, bytes_of(spki->digest, sizeof spki->digest)) &&
              buf_add(&text, s->txn) && buf_add(&text, buf_bytes(&csr_names_get(csr)->subject));
    if (!ok)
        buf_clear(&text); /* never: all of it has lower ceilings */
    SHA256(text.ptr, text.len, digest);
    text_hex(bytes_of(digest, sizeof digest), out);
    buf_free(&text);
}

/* The key's possession is proved by whatever form the request has. */
static bool take_csr(const struct est_cmc_request *request, struct csr **csr,
                     enum est_cmc_fail *fail, struct err *err)
{
    *fail = EST_CMC_BAD_REQUEST;
    if (request->kind == EST_CMC_CRMF)
        return est_crmf_csr(request->der, csr, fail, err);
    if (!csr_parse(request->der, csr, err))
        return false;
    *fail = EST_CMC_POP_FAILED;
    if (!csr_pop_check(*csr, err))
        return false;
    *fail = EST_CMC_BAD_ALG;
    return csr_strong_check(*csr, err);
}

static int64_t longest_wait(const struct cfg *cfg)
{
    int64_t longest = WAIT_MS;
    for (size_t i = 0; i < cfg->upstream_count; i++) {
        const struct cfg_line *line = cfg_upstream_line(&cfg->upstreams[i]);
        if (line && line->wait * 1000 > longest)
            longest = line->wait * 1000;
    }
    return longest;
}

/* Whether another part of the message can be taken up: the first one, and what will be done in
 * time. */
static bool in_time(struct session *s, uint32_t id)
{
    if (!s->taken++ || clock_mono_ms() + s->wait_ms <= s->started + WORK_MS)
        return true;
    s->faults++;
    ra_note_set(&s->reply->note, "pending", "took-long", "requests are to be sent again");
    say_failed(s, id, EST_CMC_TRY_LATER, NULL);
    return false;
}

static void enroll(struct session *s, const struct est_cmc_request *item)
{
    char token[2 * SHA256_DIGEST_LENGTH + 1];
    struct csr *csr = NULL;
    enum est_cmc_fail fail;
    struct err err = {0};
    if (!in_time(s, item->id))
        return;
    if (!take_csr(item, &csr, &fail, &err)) {
        note_refused(s, 400, fail == EST_CMC_POP_FAILED ? "bad-possession" : "bad-request",
                     err.text);
        say_failed(s, item->id, fail, NULL);
    } else if (!est_password_check(&s->call->profile->est, csr, &err)) {
        note_refused(s, 400, "bad-binding", err.text);
        say_failed(s, item->id, EST_CMC_BAD_REQUEST, NULL);
    } else {
        struct ra_request request = {.op = RA_ENROLL, .csr = csr};
        make_token(s, item->id, csr, token);
        request.txn = bytes_str(token);
        if (!s->reply->note.subject[0])
            snprintf(s->reply->note.subject, sizeof s->reply->note.subject, "%s",
                     csr_names_get(csr)->subject_text);
        submit(s, item->id, &request);
    }
    csr_free(csr);
}

/* The one value of a control, of this type; whole. */
static bool one_value(const struct est_cmc_control *control, uint8_t tag, struct der *ret)
{
    struct bytes cur = control->values;
    return der_take_tag(&cur, tag, ret) && !cur.len && ret->content.len &&
           ret->whole.len <= VALUE_MAX;
}

/* RFC 5272 section 6.6: the sender's nonce comes back, beside one of ours. */
static bool give_nonce(struct session *s, struct bytes value)
{
    uint8_t nonce[2 + NONCE_LEN] = {DER_OCTET_STRING, NONCE_LEN};
    s->full = !est_cmc_out_control(&s->out, NID_id_cmc_recipientNonce, value) || s->full;
    if (RAND_bytes(nonce + 2, NONCE_LEN) == 1)
        s->full =
            !est_cmc_out_control(&s->out, NID_id_cmc_senderNonce, bytes_of(nonce, sizeof nonce)) ||
            s->full;
    return true;
}

/* False: not one that we know, or malformed, or there twice. */
static bool take_control(struct session *s, const struct est_cmc_control *control)
{
    struct der value;
    switch (control->nid) {
    case NID_id_cmc_transactionId:
        if (s->txn.len || !one_value(control, DER_INTEGER, &value))
            return false;
        s->txn = value.whole;
        s->full = !est_cmc_out_control(&s->out, control->nid, value.whole) || s->full;
        return true;
    case NID_id_cmc_senderNonce:
        return one_value(control, DER_OCTET_STRING, &value) && give_nonce(s, value.whole);
    case NID_id_cmc_dataReturn: /* RFC 5272 section 6.4 */
        if (!one_value(control, DER_OCTET_STRING, &value))
            return false;
        s->full = !est_cmc_out_control(&s->out, control->nid, value.whole) || s->full;
        return true;
    case NID_id_cmc_recipientNonce: /* the RA's own, of its message before: it compares, not we */
    case NID_id_cmc_queryPending:
        return one_value(control, DER_OCTET_STRING, &value);
    default:
        return false;
    }
}

/* Only queries may be several. */
static bool is_first(const struct est_cmc_data *data, size_t at)
{
    int nid = data->controls[at].nid;
    for (size_t i = 0; i < at && nid != NID_id_cmc_queryPending; i++)
        if (data->controls[i].nid == nid)
            return false;
    return true;
}

/* RFC 5272 section 3.2.1.1: one control that is not known fails the whole message. An RA's word
 * for a key's possession is not taken (section 6.8). */
static bool take_controls(struct session *s)
{
    uint32_t bad[EST_CMC_CONTROLS_MAX];
    size_t count = 0;
    bool witness = false;
    for (size_t i = 0; i < s->data.control_count; i++) {
        const struct est_cmc_control *control = &s->data.controls[i];
        witness = witness || control->nid == NID_id_cmc_lraPOPWitness;
        if (!is_first(&s->data, i) || !take_control(s, control))
            bad[count++] = control->id;
    }
    if (!count)
        return true;
    note_refused(s, 400, "bad-control",
                 witness ? "the RA vouches for possession of a key (lraPOPWitness)"
                         : "a control that is not known, malformed, or there twice");
    say(s, &(struct est_cmc_status){.code = EST_CMC_FAILED,
                                    .ids = bad,
                                    .id_count = count,
                                    .fail = witness ? EST_CMC_POP_FAILED : EST_CMC_BAD_REQUEST});
    return false;
}

/* RFC 5272 section 3.2.1: of a request in another form no other is processed either. Messages
 * inside are for servers further on; here nothing would come of them, so that is said. */
static bool parts_fine(struct session *s)
{
    const struct est_cmc_data *data = &s->data;
    for (size_t i = 0; i < data->request_count; i++) {
        if (data->requests[i].kind == EST_CMC_OTHER) {
            note_refused(s, 501, "bad-request", "a request that is neither PKCS #10 nor CRMF");
            say(s, &(struct est_cmc_status){
                       .code = EST_CMC_NO_SUPPORT, .ids = &data->requests[i].id, .id_count = 1});
            return false;
        }
    }
    if (data->nested_count) {
        note_refused(s, 400, "bad-request", "messages inside the message");
        say(s, &(struct est_cmc_status){.code = EST_CMC_FAILED,
                                        .ids = data->nested,
                                        .id_count = data->nested_count,
                                        .fail = EST_CMC_BAD_REQUEST});
        return false;
    }
    return true;
}

static void query(struct session *s, const struct est_cmc_control *control)
{
    struct ra_request request = {.op = RA_POLL};
    struct der value;
    if (!one_value(control, DER_OCTET_STRING, &value) || !in_time(s, control->id))
        return; /* the former was taken before: never */
    request.txn = value.content;
    submit(s, control->id, &request);
}

static void work(struct session *s)
{
    const struct est_cmc_data *data = &s->data;
    unsigned queries = 0;
    if (!take_controls(s) || !parts_fine(s))
        return;
    for (size_t i = 0; i < data->control_count; i++) {
        if (data->controls[i].nid == NID_id_cmc_queryPending) {
            query(s, &data->controls[i]);
            queries++;
        }
    }
    for (size_t i = 0; i < data->request_count; i++)
        enroll(s, &data->requests[i]);
    if (!data->request_count && !queries)
        refuse_all(s, 400, EST_CMC_BAD_REQUEST, "a message that asks for nothing");
}

/* Who sends a message of somebody else's again, later than its repetition would be answered from
 * the store, would have a second certificate issued. A clock that is ahead of ours signs times that
 * are still to come: the tolerance counts at both ends. */
static bool is_fresh(struct session *s)
{
    int64_t at = s->message.signing_time, now = clock_now();
    int64_t window = s->call->profile->retry_window;
    int64_t skew = window / 2 < SKEW_SECONDS ? window / 2 : SKEW_SECONDS;
    const struct cert *peer = s->call->peer;
    s->by_signer = peer && spki_equal(cert_spki_get(peer), cert_spki_get(s->message.signer));
    return s->by_signer || (at <= now + skew && at > now + skew - window);
}

/* Where certificates prove nothing (est.auth), they do not by another way either; the registrars'
 * are named one by one. */
static bool may_sign(const struct session *s)
{
    const struct cfg_profile *profile = s->call->profile;
    struct bytes signer = cert_der_get(s->message.signer);
    for (size_t i = 0; i < profile->registrars.count; i++)
        if (bytes_equal(cert_der_get(profile->registrars.items[i]), signer))
            return true;
    return profile->est.auth_certificate;
}

static void open_message(struct session *s)
{
    struct buf der = BUF_SECRET(EST_CMC_MAX);
    enum est_cmc_fail fail = EST_CMC_BAD_REQUEST;
    struct err err = {0};
    if (!est_body_decode(s->call->body, &der, &err) ||
        !est_cmc_open(buf_bytes(&der), &s->message, &fail, &err))
        refuse_all(s, 400, fail, err.text);
    else if (!is_fresh(s))
        refuse_all(s, 400, EST_CMC_BAD_TIME, "a message without a signing time of late");
    else if (!may_sign(s))
        refuse_all(s, 403, EST_CMC_BAD_IDENTITY,
                   "the signer is no registrar, and certificates do not count (auth)");
    else if (!est_cmc_parse(buf_bytes(&s->message.content), &s->data, &err))
        refuse_all(s, 400, EST_CMC_BAD_REQUEST, err.text);
    else {
        (void)est_lenient_find(s->call, s->reply->lenient);
        work(s);
    }
    buf_free(&der);
}

/* "application/pkcs7-mime", whatever parameters follow; absent is tolerated. */
static bool is_cmc(struct bytes content_type)
{
    struct bytes type;
    if (bytes_trim(content_type).len == 0)
        return true;
    bytes_take_until(&content_type, ';', &type);
    return bytes_equal_nocase(bytes_trim(type), "application/pkcs7-mime");
}

/* RFC 7030 section 4.3.2: 200 if anything was granted; 202 and when to come again (4.2.3) if
 * anything waits, whose repetition is answered like a query; else an error. Each has its CMC body.
 */
static void finish(struct session *s)
{
    struct est_reply *reply = s->reply;
    struct est_signed with = {.certs = s->certs, .cert_count = s->cert_count};
    struct buf der = BUF_INIT(4 * EST_CMC_MAX);
    struct err err = {.kind = ERR_LOCAL, .text = "a reply that is too large"};
    bool ok = !s->full &&
              est_cmc_out_sign(&s->out, est_signer(s->call->settings->cfg, s->call->profile), with,
                               &der, &err) &&
              est_body_base64(buf_bytes(&der), !s->call->user_agent, &reply->body);
    buf_free(&der);
    reply->status = s->issued_count ? 200 : s->again ? 202 : s->faults ? 503 : s->status;
    if (s->fine)
        reply->retry_after = s->issued_count ? 0 : s->again;
    else if (s->faults && !reply->retry_after)
        reply->retry_after = AGAIN_SECONDS;
    reply->content_type = CMC_RESPONSE;
    reply->base64 = true;
    if (s->fine && !s->refused && !s->faults)
        ra_note_set(&reply->note, s->issued_count ? "issued" : "pending", NULL,
                    "%zu issued, %zu pending", s->issued_count, s->fine - s->issued_count);
    if (ok)
        return;
    buf_clear(&reply->body);
    reply->delivers[0] = 0;
    reply->more_count = 0;
    reply->status = 503;
    reply->retry_after = AGAIN_SECONDS;
    reply->content_type = NULL;
    reply->base64 = false;
    reply->note.fault = true;
    ra_note_set(&reply->note, "error", err_kind_name(err.kind), "%s", err.text);
}

void est_fullcmc(struct ra *ra, const struct est_call *call, struct est_reply *reply)
{
    struct session *s = mem_zalloc(sizeof *s);
    *s = (struct session){.ra = ra,
                          .call = call,
                          .reply = reply,
                          .started = clock_mono_ms(),
                          .wait_ms = longest_wait(call->settings->cfg)};
    bool lenient[EST_LENIENT_COUNT];
    const struct est_lenient_refusal *refusal = est_lenient_find(call, lenient);
    if (!is_cmc(call->content_type))
        refuse_all(s, 415, EST_CMC_BAD_REQUEST, "the media type is not application/pkcs7-mime");
    else if (refusal)
        refuse_all(s, refusal->status, EST_CMC_BAD_REQUEST, refusal->detail);
    else
        open_message(s);
    finish(s);
    for (size_t i = 0; i < s->issued_count; i++)
        cert_free(s->issued[i]);
    est_cmc_out_clear(&s->out);
    est_cmc_message_clear(&s->message);
    free(s);
}
