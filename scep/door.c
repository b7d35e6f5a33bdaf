#include "scep/door.h"

#include "base/clock.h"
#include "base/pem.h"
#include "base/permit.h"
#include "ra/chain.h"
#include "ra/lookup.h"
#include "scep/algs.h"
#include "scep/answer.h"
#include "scep/ca.h"
#include "scep/check.h"
#include "scep/family.h"
#include "scep/keys.h"
#include "scep/msg.h"
#include "scep/outcome.h"
#include "scep/query.h"
#include "scep/sealing.h"
#include "scep/terms.h"

#include <openssl/objects.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One PKIOperation on its way. */
struct pkiop {
    struct ra *ra;
    const struct scep_call *call;
    struct scep_reply *reply;
    int64_t due; /* clock_mono_ns at which the answer begins if the envelope stays closed */
    struct scep_msg *msg;
    struct scep_keys keys;
    size_t at; /* the pair that the message was encrypted to; 0 as long as that is not known */
    struct scep_algs algs;
    struct scep_sealing sealing; /* once there is a msg */
    const struct scep_family *family;
};

/* A CertRep with everything that mirrors the request filled in. */
static struct scep_out cert_rep(const struct pkiop *op, enum scep_status status,
                                const uint8_t *nonce)
{
    /* 16 octets (RFC 8894 section 3.2.1.5); old iOS sends 8, and is answered with as many. */
    size_t len =
        scep_family_nonce(&op->call->profile->scep, op->family, scep_msg_nonce_get(op->msg).len);
    return (struct scep_out){
        .type = SCEP_CERTREP,
        .txn = scep_msg_txn_get(op->msg),
        .sender_nonce = bytes_of(nonce, len),
        .recipient_nonce = scep_msg_nonce_get(op->msg),
        .status = status,
        .algs = op->algs,
        .signer = *scep_keys_signer(&op->keys, op->at),
    };
}

static void answer(struct pkiop *op, struct scep_out *out)
{
    struct err err = {0};
    op->reply->status = 200;
    op->reply->content_type = "application/x-pki-message";
    if (!scep_msg_encode(out, &op->reply->body, &err))
        scep_answer_fault(op->reply, &err);
}

static void answer_status(struct pkiop *op, enum scep_status status, enum scep_fail fail)
{
    uint8_t nonce[SCEP_NONCE_LEN];
    if (RAND_bytes(nonce, sizeof nonce) != 1) {
        scep_answer_http(op->reply, 503, "try again later\n");
        return;
    }
    char text[64];
    struct scep_out out = cert_rep(op, status, nonce);
    out.fail = fail;
    snprintf(text, sizeof text, "the log has the reason under id %s",
             op->call->id ? op->call->id : "");
    if (op->call->id && scep_family_fail_text(&op->call->profile->scep, op->family))
        out.fail_text = text;
    answer(op, &out);
}

static void answer_failure(struct pkiop *op, enum scep_fail fail, const char *reason,
                           const char *detail)
{
    ra_note_set(&op->reply->note, "refused", reason, "%s: %s", scep_fail_name(fail), detail);
    answer_status(op, SCEP_FAILURE, fail);
}

/* Of an envelope that was decrypted and gave nothing of use. A wrong signature at the end of a CSR
 * takes longer to find than wrong padding, and who can tell these apart can decrypt what others
 * sent. So when the answer begins is settled before the envelope is opened, by nothing that is
 * within, and with room for everything that may be done with it. (A time that followed from the
 * whole work's could be tuned: who makes the rest of a message last so long that the work ends at
 * the edge of two times sees the difference as one of the times.) Others compute meanwhile: who
 * sends such envelopes has proved nothing. */
static void answer_closed(struct pkiop *op, const char *reason, const char *detail)
{
    permit_pause();
    clock_mono_sleep(scep_sealing_begin(op->due, clock_mono_ns()));
    permit_resume();
    answer_failure(op, SCEP_BAD_MESSAGE_CHECK, reason, detail);
}

/* Which certificates go with the leaf (it is always first: Apple pairs the first with its key). */
static bool collect_certs(struct pkiop *op, const struct ra_outcome *outcome,
                          struct bytes certs[SCEP_CHAIN_MAX], size_t *count, struct err *err)
{
    enum cfg_scep_chain want = scep_family_chain(&op->call->profile->scep, op->family);
    struct ra_chain chain;
    certs[0] = cert_der_get(outcome->cert);
    *count = 1;
    if (want == CFG_CHAIN_LEAF || outcome->upstream == SIZE_MAX)
        return true;
    if (!ra_chain_told(op->call->settings, op->call->profile, outcome->upstream, &chain, err))
        return false;
    size_t most = want == CFG_CHAIN_ISSUER ? 1 : chain.count;
    for (size_t i = 0; i < most && i < chain.count && *count < SCEP_CHAIN_MAX; i++)
        certs[(*count)++] = cert_der_get(chain.certs[i]);
    return true;
}

/* SUCCESS with this content, which is enveloped to whoever signed the request. */
static void answer_content(struct pkiop *op, struct bytes content)
{
    uint8_t nonce[SCEP_NONCE_LEN];
    if (RAND_bytes(nonce, sizeof nonce) != 1) {
        scep_answer_http(op->reply, 503, "try again later\n");
        return;
    }
    struct scep_out out = cert_rep(op, SCEP_SUCCESS, nonce);
    out.content = content;
    out.recipient = scep_msg_signer_get(op->msg);
    out.password = op->sealing.by_password ? &op->sealing.password : NULL;
    answer(op, &out);
}

static void answer_issued(struct pkiop *op, const struct ra_outcome *outcome)
{
    struct bytes certs[SCEP_CHAIN_MAX];
    size_t count;
    struct buf bag = {0};
    struct err err = {0};
    if (!collect_certs(op, outcome, certs, &count, &err) ||
        !pem_certs_only_encode(certs, count, &bag)) {
        scep_answer_fault(op->reply, &err);
    } else {
        ra_note_set(&op->reply->note, "issued", outcome->repeated ? "repeated" : NULL,
                    "serial %s%s", cert_serial_get(outcome->cert), outcome->detail);
        memcpy(op->reply->delivers, outcome->request_id, sizeof op->reply->delivers);
        answer_content(op, buf_bytes(&bag));
    }
    buf_free(&bag);
}

static void answer_refused(struct pkiop *op, const struct ra_outcome *outcome)
{
    struct err text = {0};
    bool named = scep_family_other_signer(&op->call->profile->scep);
    if (outcome->reason == RA_BAD_KEY && op->family->other_signer && !named)
        err_set(&text, ERR_PEER, "%s (scep.client: %s lets that pass)", outcome->detail,
                op->family->name);
    else
        err_set(&text, ERR_PEER, "%s", outcome->detail);
    answer_failure(op, scep_outcome_fail(outcome->reason), ra_reason_name(outcome->reason),
                   text.text);
}

static void answer_outcome(struct pkiop *op, const struct ra_outcome *outcome)
{
    memcpy(op->reply->note.request_id, outcome->request_id, sizeof outcome->request_id);
    switch (outcome->status) {
    case RA_ISSUED:
        answer_issued(op, outcome);
        break;
    case RA_PENDING:
        ra_note_set(&op->reply->note, "pending", NULL, "%s", outcome->detail);
        answer_status(op, SCEP_PENDING, SCEP_BAD_REQUEST);
        break;
    default:
        answer_refused(op, outcome);
    }
}

static void refuse_algorithm(struct pkiop *op, int nid)
{
    struct err text = {0};
    const char *value = nid == NID_md5 || nid == NID_des_cbc ? "des-md5" : "des3-sha1";
    bool family = op->family->needs > op->call->profile->scep.legacy;
    err_set(&text, ERR_PEER, "%s needs scep.legacy %s%s%s%s", OBJ_nid2sn(nid), value,
            family ? ", as devices of the family " : "", family ? op->family->name : "",
            family ? " do" : "");
    answer_failure(op, SCEP_BAD_ALG, "bad-algorithm", text.text);
}

/* The cipher, if the envelope is fine but for that: not a secret, and worth telling a device. */
static int refused_cipher(const struct pkiop *op)
{
    struct bytes content = scep_msg_content_get(op->msg);
    struct scep_enveloped found;
    struct err ignored;
    return !scep_enveloped_take(content, op->sealing.opener.ciphers, &found, &ignored) &&
                   scep_enveloped_take(content, SCEP_CIPHERS_DES, &found, &ignored)
               ? found.cipher
               : NID_undef;
}

/* The same failure whichever way the content could not be read: see scep_msg_open. content NULL: it
 * is not decrypted. */
static bool open_content(struct pkiop *op, struct buf *content)
{
    struct err err = {0};
    int refused = refused_cipher(op);
    if (refused != NID_undef) {
        refuse_algorithm(op, refused);
        return false;
    }
    op->due = clock_mono_ns() + scep_sealing_headroom(&op->sealing);
    bool ok = scep_sealing_open(&op->sealing, content, &err);
    if (op->sealing.cipher != NID_undef)
        op->algs.cipher = op->sealing.cipher;
    const struct scep_key *key = scep_msg_key(op->msg, &op->sealing.opener);
    op->at = key ? (size_t)(key - op->keys.open) : 0;
    bool elsewhere = !key && op->sealing.cipher != NID_undef && !scep_msg_by_password(op->msg);
    op->reply->note.legacy = scep_terms_old(op->algs);
    if (!ok)
        answer_closed(op, elsewhere ? "wrong-recipient" : "bad-envelope", err.text);
    return ok;
}

static void submit(struct pkiop *op, struct ra_request *request)
{
    struct ra_outcome outcome = {0};
    struct err err = {0};
    /* Before anything is spent: an answer that cannot be given must not be earned. */
    if (!scep_sealing_choose(&op->sealing, request->csr, &err))
        answer_failure(op, SCEP_BAD_ALG, "bad-algorithm", err.text);
    else if (ra_submit(op->ra, request, &outcome, &err))
        answer_outcome(op, &outcome);
    else
        scep_answer_fault(op->reply, &err);
    ra_outcome_clear(&outcome);
}

/* Not before possession is proved: garbage from a failed decryption has algorithms, too. */
static bool csr_digest_fine(struct pkiop *op, const struct csr *csr)
{
    int digest = csr_old_digest_get(csr);
    struct err text = {0};
    if (digest == NID_undef)
        return true;
    op->reply->note.csr_digest = scep_terms_csr(&op->call->profile->scep, digest);
    if (op->reply->note.csr_digest)
        return true;
    err_set(&text, ERR_PEER, "a CSR signed over %s%s", OBJ_nid2sn(digest),
            digest == NID_md5 ? ", which needs scep.legacy des-md5" : "");
    answer_failure(op, SCEP_BAD_ALG, "bad-algorithm", text.text);
    return false;
}

static void enroll(struct pkiop *op, enum ra_op ra_op)
{
    struct buf content = {0};
    struct csr *csr = NULL;
    struct err err = {0};
    if (!open_content(op, &content)) {
        buf_free(&content);
        return;
    }
    if (!csr_parse(buf_bytes(&content), &csr, &err)) {
        /* Garbage from a failed decryption ends here as well, so it must look alike. */
        answer_closed(op, "bad-envelope", err.text);
    } else if (!csr_pop_check(csr, &err)) {
        answer_closed(op, "bad-possession", err.text);
    } else if (csr_digest_fine(op, csr)) {
        struct ra_request request = {
            .settings = op->call->settings,
            .profile = op->call->profile,
            .op = ra_op,
            .txn = scep_msg_txn_get(op->msg),
            .csr = csr,
            .next = op->at >= op->keys.next && op->call->profile->scep.next.upstream_given,
            .evidence = {.holder = scep_msg_signer_get(op->msg),
                         .over_cms = true,
                         .other_key = scep_family_other_signer(&op->call->profile->scep),
                         .message = scep_msg_digest_get(op->msg),
                         .challenge = csr_challenge_get(csr)},
            .origin = op->call->origin,
        };
        request.evidence.along = scep_msg_along_get(op->msg, &request.evidence.along_count);
        snprintf(op->reply->note.subject, sizeof op->reply->note.subject, "%s",
                 csr_names_get(csr)->subject_text);
        submit(op, &request);
    }
    csr_free(csr);
    buf_free(&content);
}

/* The transaction and the signer's key decide; what the envelope says about issuer and subject is
 * often wrong in the field (RFC 8894 section 3.3.3). So it is not even decrypted: an answer that
 * depended on it would be a padding oracle for envelopes of others, wrapped in a poll of one's own.
 */
static void poll_txn(struct pkiop *op)
{
    if (!open_content(op, NULL))
        return;
    struct ra_request request = {
        .settings = op->call->settings,
        .profile = op->call->profile,
        .op = RA_POLL,
        .txn = scep_msg_txn_get(op->msg),
        .evidence = {.holder = scep_msg_signer_get(op->msg), .over_cms = true},
        .origin = op->call->origin,
    };
    request.evidence.along = scep_msg_along_get(op->msg, &request.evidence.along_count);
    submit(op, &request);
}

/* Clients are seen to name the RA where the CA is meant. */
static bool names_ra(const struct pkiop *op, struct bytes issuer)
{
    for (size_t i = 0; i < op->keys.count; i++)
        if (bytes_equal(issuer, buf_bytes(&cert_names_get(op->keys.sign[i].cert)->subject)) ||
            bytes_equal(issuer, buf_bytes(&cert_names_get(op->keys.open[i].cert)->subject)))
            return true;
    return false;
}

/* What is found goes into bag, a degenerate SignedData; else outcome refuses. */
static bool look_up(const struct pkiop *op, const struct ra_request *request,
                    const struct ra_wanted *wanted, struct buf *bag, struct ra_outcome *outcome)
{
    struct ra_crl crl = {0};
    struct err err = {0};
    bool ok, whole = true;
    if (scep_msg_type_get(op->msg) == SCEP_GETCERT) {
        ok = ra_lookup_cert(op->ra, request, wanted, outcome, &err);
        if (ok && outcome->cert) {
            struct bytes der = cert_der_get(outcome->cert);
            whole = pem_certs_only_encode(&der, 1, bag);
        }
    } else {
        ok = ra_lookup_crl(op->ra, request, wanted, &crl, &err);
        if (ok && crl.der.len)
            whole = pem_crl_only_encode(buf_bytes(&crl.der), bag);
        *outcome = crl.outcome;
    }
    if (ok && !whole)
        ok = err_set(&err, ERR_LOCAL, "what was looked up is too large");
    if (!ok)
        scep_answer_fault(op->reply, &err);
    buf_free(&crl.der);
    return ok;
}

static void answer_wanted(struct pkiop *op, const struct ra_request *request, struct bytes content)
{
    struct ra_wanted wanted = {0};
    struct ra_outcome outcome = {0};
    struct buf bag = {0};
    struct err err = {0};
    if (!scep_wanted_decode(content, &wanted.issuer, wanted.serial, &err)) {
        /* As with a CSR: garbage from a failed decryption ends here as well. */
        answer_closed(op, "bad-envelope", err.text);
        return;
    }
    if (names_ra(op, wanted.issuer))
        wanted.issuer = (struct bytes){0};
    if (look_up(op, request, &wanted, &bag, &outcome)) {
        if (bag.len) {
            ra_note_set(&op->reply->note, "answered", NULL, "serial %s", wanted.serial);
            answer_content(op, buf_bytes(&bag));
        } else {
            answer_outcome(op, &outcome);
        }
    }
    ra_outcome_clear(&outcome);
    buf_free(&bag);
}

/* GetCert and GetCRL (RFC 8894 sections 4.5 and 4.6): for whoever holds a certificate of the
 * profile. Others hear so before anything is decrypted, as with a poll. */
static void look_up_for(struct pkiop *op)
{
    struct ra_request request = {
        .settings = op->call->settings,
        .profile = op->call->profile,
        .evidence = {.holder = scep_msg_signer_get(op->msg), .over_cms = true},
        .origin = op->call->origin,
    };
    struct ra_outcome outcome = {0};
    struct buf content = {0};
    struct err err = {0};
    bool may;
    if (!open_content(op, NULL))
        return;
    if (!ra_lookup_may(op->ra, &request, &may, &outcome, &err))
        scep_answer_fault(op->reply, &err);
    else if (!may)
        answer_outcome(op, &outcome);
    else if (!scep_sealing_choose(&op->sealing, NULL, &err))
        answer_failure(op, SCEP_BAD_ALG, "bad-algorithm", err.text);
    else if (open_content(op, &content))
        answer_wanted(op, &request, buf_bytes(&content));
    buf_free(&content);
}

static void dispatch(struct pkiop *op)
{
    const struct cfg_scep *conf = &op->call->profile->scep;
    int type = scep_msg_type_get(op->msg);
    struct err err = {0};
    op->reply->note.operation = scep_type_name(type);
    if (!scep_terms_digest(conf, scep_msg_algs_get(op->msg).digest)) {
        refuse_algorithm(op, scep_msg_algs_get(op->msg).digest);
        return;
    }
    op->algs.digest = scep_msg_algs_get(op->msg).digest;
    op->reply->note.legacy = scep_terms_old(op->algs);
    op->sealing = (struct scep_sealing){
        .profile = op->call->profile,
        .msg = op->msg,
        .opener = {op->keys.open, op->keys.count, scep_terms_ciphers(conf)},
    };
    if (!scep_sealing_possible(&op->sealing, &err)) {
        answer_failure(op, SCEP_BAD_ALG, "bad-algorithm", err.text);
        return;
    }
    switch (type) {
    case SCEP_PKCSREQ:
        enroll(op, RA_ENROLL);
        break;
    case SCEP_RENEWALREQ:
        enroll(op, RA_RENEW);
        break;
    case SCEP_CERTPOLL:
        poll_txn(op);
        break;
    case SCEP_GETCERT:
    case SCEP_GETCRL:
        look_up_for(op);
        break;
    default: /* nothing that is not named above may reach the authority */
        answer_failure(op, SCEP_BAD_REQUEST, "bad-type", "a message type that is not served");
    }
}

static void pki_operation(struct ra *ra, const struct scep_call *call, struct bytes der,
                          struct scep_reply *reply)
{
    struct pkiop op = {
        .ra = ra,
        .call = call,
        .reply = reply,
        .algs = {NID_sha256, NID_aes_128_cbc},
    };
    struct err err = {0};
    enum scep_fail fail;
    bool partial;
    scep_keys_take(call, &op.keys);
    bool ok = call->profile->scep.legacy == CFG_LEGACY_DES_MD5
                  ? scep_msg_parse_md5(der, &op.msg, &partial, &fail, &err)
                  : scep_msg_parse(der, &op.msg, &partial, &fail, &err);
    if (ok || partial) {
        struct bytes txn = scep_msg_txn_get(op.msg);
        snprintf(reply->note.txn, sizeof reply->note.txn, "%.*s", (int)txn.len,
                 (const char *)txn.ptr);
    }
    op.family = scep_family_of(call, ok ? scep_msg_signer_get(op.msg) : NULL, reply);
    int digest = partial ? scep_msg_algs_get(op.msg).digest : NID_undef;
    if (ok) {
        dispatch(&op);
    } else if (fail == SCEP_BAD_ALG && !scep_terms_digest(&call->profile->scep, digest)) {
        refuse_algorithm(&op, digest);
    } else if (partial) {
        answer_failure(&op, fail, "bad-message", err.text);
    } else {
        ra_note_set(&reply->note, "refused", "bad-message", "%s", err.text);
        scep_answer_http(reply, 400, "not a SCEP message\n");
    }
    scep_msg_free(op.msg);
}

static void get_pki_operation(struct ra *ra, const struct scep_call *call, struct scep_reply *reply)
{
    struct buf der = BUF_INIT(SCEP_MSG_MAX);
    struct err err = {0};
    if (scep_query_message(call->query, &der, &err)) {
        pki_operation(ra, call, buf_bytes(&der), reply);
    } else {
        ra_note_set(&reply->note, "refused", "bad-message", "%s", err.text);
        scep_answer_http(reply, 400, "not a SCEP message\n");
    }
    buf_free(&der);
}

bool scep_door_check(const struct cfg_profile *profile, struct err *err)
{
    return profile->scep.legacy != CFG_LEGACY_DES_MD5 || scep_legacy_get() ||
           err_set(err, ERR_CONFIG,
                   "is des-md5, and OpenSSL's legacy provider, which knows single DES, cannot be "
                   "loaded");
}

void scep_door_handle(struct ra *ra, const struct scep_call *call, struct scep_reply *reply)
{
    enum scep_operation operation = scep_query_operation(call->query);
    *reply = (struct scep_reply){.note = {.operation = scep_operation_name(operation)}};
    if (call->post && operation == SCEP_OP_NONE)
        operation = SCEP_OP_PKIOPERATION; /* many servers never looked, so clients leave it out */
    if (call->post && operation != SCEP_OP_PKIOPERATION)
        operation = SCEP_OP_UNKNOWN;
    switch (operation) {
    case SCEP_OP_GETCACAPS:
        scep_ca_caps(call, reply);
        break;
    case SCEP_OP_GETCACERT:
        scep_ca_cert(call, reply);
        break;
    case SCEP_OP_PKIOPERATION:
        if (call->post)
            pki_operation(ra, call, call->body, reply);
        else
            get_pki_operation(ra, call, reply);
        break;
    case SCEP_OP_GETNEXTCACERT:
        scep_ca_next(call, reply);
        break;
    default:
        ra_note_set(&reply->note, "refused", "bad-operation", "%s",
                    "an operation that is not served");
        scep_answer_http(reply, 400, "unknown operation\n");
    }
}

void scep_reply_clear(struct scep_reply *reply)
{
    buf_free(&reply->body);
    *reply = (struct scep_reply){0};
}
