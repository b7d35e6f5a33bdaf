#include "gateway/upstream/cmp.h"

#include "base/clock.h"
#include "config/read.h"
#include "gateway/upstream/cmp_session.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define TID_LEN 16 /* RFC 4210 section 5.1.1: 128 bits */
#define AFTER_MAX 86400
#define CHAIN_MAX 8
#define FAILED(bit) (1u << (bit))

struct cmp {
    struct relay relay; /* first */
    const struct cmp_options *options;
};

static struct cmp *cmp_of(struct upstream *up)
{
    return (struct cmp *)up;
}

static struct cmp_session session_of(const struct cmp *cmp)
{
    return (struct cmp_session){.options = cmp->options, .httpc = cmp->relay.httpc};
}

/* The certificate's issuers among those that came with it, nearest first. */
static size_t issuers_of(const struct cmp_session *session, const struct cert *cert,
                         struct cert *ret[CHAIN_MAX])
{
    STACK_OF(X509) *came = OSSL_CMP_CTX_get1_extraCertsIn(session->ctx);
    const struct cert *at = cert;
    size_t count = 0;
    for (int i = 0; count < CHAIN_MAX && i < sk_X509_num(came) && !cert_is_self_signed(at); i++) {
        X509 *issuer = sk_X509_value(came, i);
        struct err ignored;
        if (X509_check_issued(issuer, cert_x509_get(at)) != X509_V_OK ||
            !cert_from_x509(issuer, &ret[count], &ignored))
            continue;
        at = ret[count++];
        i = -1; /* its issuer may stand before it */
    }
    sk_X509_pop_free(came, X509_free);
    return count;
}

/* A CA under the configured ones may have got another key. extraCerts are not protected: they are
 * taken only if they chain to what the operator configured. */
static void learn_chain(const struct cmp *cmp, const struct cmp_session *session,
                        const struct cert *cert)
{
    const struct cfg_certs *known = &cmp->options->chain;
    struct cert *issuers[CHAIN_MAX];
    struct err ignored;
    if (relay_chain_issued(cmp->relay.chain, cert))
        return;
    size_t count = issuers_of(session, cert, issuers);
    struct trust_terms terms = {
        .extra = issuers, .extra_count = count, .at = clock_now(), .ignore_expiry = true};
    struct trust *trust = trust_new(known->items, known->count);
    if (count && trust_check(trust, cert, &terms, &ignored)) {
        struct cert **all = mem_zalloc((count + known->count) * sizeof *all);
        memcpy(all, issuers, count * sizeof *all);
        memcpy(all + count, known->items, known->count * sizeof *all);
        relay_chain_set(cmp->relay.chain, all, count + known->count);
        free(all);
    }
    trust_free(trust);
    for (size_t i = 0; i < count; i++)
        cert_free(issuers[i]);
}

/* The CA's newest answer is all that confirm needs. */
static enum up_result take_cert(const struct cmp *cmp, const struct cmp_session *session,
                                struct bytes csr, struct up_reply *reply)
{
    const struct buf *answer = session->last.len ? &session->last : &session->first;
    X509 *x509 = OSSL_CMP_CTX_get0_newCert(session->ctx);
    struct err err = {0};
    if (!x509 || !cert_from_x509(x509, &reply->cert, &err) ||
        !cmp_cookie_make(session, csr, buf_bytes(answer), (struct bytes){0}, &reply->cookie)) {
        relay_reason(reply, "the CA issued what cannot be kept: %s", err.text);
        return UP_UNKNOWN;
    }
    learn_chain(cmp, session, reply->cert);
    return UP_UNCONFIRMED;
}

/* RFC 4210 section 5.2.3. Where an operator can mend what the CA does not like, the request waits.
 */
static enum up_result result_of(const struct cmp_session *session)
{
    const unsigned later = FAILED(OSSL_CMP_PKIFAILUREINFO_systemUnavail) |
                           FAILED(OSSL_CMP_PKIFAILUREINFO_badTime) |
                           FAILED(OSSL_CMP_PKIFAILUREINFO_badMessageCheck) |
                           FAILED(OSSL_CMP_PKIFAILUREINFO_signerNotTrusted) |
                           FAILED(OSSL_CMP_PKIFAILUREINFO_notAuthorized) |
                           FAILED(OSSL_CMP_PKIFAILUREINFO_wrongAuthority);
    const unsigned unclear = FAILED(OSSL_CMP_PKIFAILUREINFO_systemFailure) |
                             FAILED(OSSL_CMP_PKIFAILUREINFO_transactionIdInUse) |
                             FAILED(OSSL_CMP_PKIFAILUREINFO_duplicateCertReq);
    int code = OSSL_CMP_CTX_get_failInfoCode(session->ctx);
    unsigned failed = code > 0 ? (unsigned)code : 0;
    if (failed & unclear)
        return UP_UNKNOWN;
    return failed & later ? UP_RETRY : UP_REFUSED;
}

/* There is no certificate: why? */
static enum up_result take_failure(const struct cmp_session *session, struct up_reply *reply)
{
    struct err err = {0};
    if (session->body < 0 && session->sent) {
        memcpy(reply->reason, session->http_said.reason, sizeof reply->reason);
        reply->retry_after = session->http_said.retry_after;
        return session->http;
    }
    err_openssl(&err, ERR_UPSTREAM, "the CA gives no certificate");
    relay_reason(reply, "%s", err.text);
    if (!session->sent)
        return session->http_said.reason[0] ? UP_RETRY : UP_UNKNOWN;
    if (session->valid && OSSL_CMP_CTX_get_status(session->ctx) == OSSL_CMP_PKISTATUS_rejection)
        return result_of(session);
    return UP_UNKNOWN;
}

/* Up to a certificate, which is not confirmed, or to where the CA has us wait. */
static enum up_result run(const struct cmp *cmp, struct cmp_session *session, struct bytes csr,
                          struct up_reply *reply)
{
    const unsigned char *p = csr.ptr;
    X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)csr.len);
    int after = 0, done = 0;
    if (req && OSSL_CMP_CTX_set1_p10CSR(session->ctx, req) &&
        OSSL_CMP_CTX_set_option(session->ctx, OSSL_CMP_OPT_DISABLE_CONFIRM, 1)) {
        session->accept = true;
        done = OSSL_CMP_try_certreq(session->ctx, OSSL_CMP_P10CR, NULL, &after);
        /* A poll that was replayed was answered with "wait": now ask. */
        if (done < 0 && !session->sent)
            done = OSSL_CMP_try_certreq(session->ctx, OSSL_CMP_P10CR, NULL, &after);
    }
    X509_REQ_free(req);
    if (done > 0)
        return take_cert(cmp, session, csr, reply);
    if (done == 0)
        return take_failure(session, reply);
    reply->retry_after = after < 1 ? 1 : after > AFTER_MAX ? AFTER_MAX : after;
    return cmp_cookie_make(session, csr, buf_bytes(&session->first), buf_bytes(&session->last),
                           &reply->cookie)
               ? UP_PENDING
               : UP_UNKNOWN;
}

static enum up_result later(struct up_reply *reply, const struct err *err)
{
    relay_reason(reply, "%s", err->text);
    return UP_RETRY;
}

/* RFC 4210 section 5.1.1: what the CA knows the transaction by. */
static bool cmp_prepare(struct upstream *up, const struct up_order *order, struct buf *handle,
                        struct err *err)
{
    uint8_t tid[TID_LEN];
    (void)up, (void)order;
    if (RAND_bytes(tid, sizeof tid) != 1)
        return err_openssl(err, ERR_LOCAL, "cannot make a transactionID");
    return buf_set(handle, bytes_of(tid, sizeof tid)) ||
           err_set(err, ERR_BUG, "no room for a handle");
}

static enum up_result cmp_submit(struct upstream *up, const struct up_order *order,
                                 struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct cmp *cmp = cmp_of(up);
    struct cmp_session session = session_of(cmp);
    struct err err;
    enum up_result result;
    if (!cmp_session_open(&session, handle, deadline, &err)) {
        result = later(reply, &err);
    } else {
        result = run(cmp, &session, csr_der_get(order->csr), reply);
        /* It was told to wait, and the first poll failed, or was answered by an error or by a
         * checkAfter that cannot be, which say nothing of the certificate: it waits all the same.
         */
        if (session.sent > 1 && session.first.len && !reply->cookie.len &&
            (session.body < 0 || session.body == CMP_BODY_ERROR ||
             session.body == CMP_BODY_POLLREP) &&
            cmp_cookie_make(&session, csr_der_get(order->csr), buf_bytes(&session.first),
                            (struct bytes){0}, &reply->cookie))
            result = UP_PENDING;
    }
    cmp_session_close(&session);
    return result;
}

/* An error that answers a question says nothing of the certificate. */
static enum up_result doubt(const struct cmp_session *session, enum up_result result)
{
    bool error = session->body == CMP_BODY_ERROR || session->body < 0;
    return error && result == UP_REFUSED ? UP_UNKNOWN : result;
}

/* An answer to a poll that has us wait does so whatever its checkAfter is. */
static enum up_result go_on(const struct cmp_session *session, enum up_result result,
                            struct up_reply *reply)
{
    if (session->body != CMP_BODY_POLLREP || !session->valid || result != UP_UNKNOWN)
        return result;
    relay_reason(reply, "the CA still works on it");
    return UP_PENDING;
}

/* A pollReq issues nothing, whatever the CA thinks of it. A CA that repeats itself may be sent the
 * very request again. */
static enum up_result cmp_recover(struct upstream *up, const struct up_order *order,
                                  struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct cmp_session session = session_of(cmp_of(up));
    session.find = !session.options->resend;
    struct err err;
    enum up_result result;
    if (!cmp_session_open(&session, handle, deadline, &err))
        result = later(reply, &err);
    else
        result = run(cmp_of(up), &session, csr_der_get(order->csr), reply);
    result = go_on(&session, doubt(&session, result), reply);
    cmp_session_close(&session);
    return result;
}

/* Where the answer to a poll was lost, the CA may hold the next one, which still answers the one
 * before, for an error: then it is asked as after any lost answer. */
static enum up_result cmp_poll(struct upstream *up, const struct up_order *order,
                               struct bytes cookie, int64_t deadline, struct up_reply *reply)
{
    struct cmp_session session = session_of(cmp_of(up));
    struct cmp_cookie was;
    struct err err;
    enum up_result result = UP_UNKNOWN;
    if (!cmp_cookie_read(cookie, &was)) {
        relay_reason(reply, "what was kept of the transaction cannot be read");
        return result;
    }
    memcpy(session.replay, was.answers, sizeof session.replay);
    if (!cmp_session_open(&session, was.tid, deadline, &err))
        result = later(reply, &err);
    else
        result = doubt(&session, run(cmp_of(up), &session, csr_der_get(order->csr), reply));
    result = go_on(&session, result, reply);
    bool lost = session.body == CMP_BODY_ERROR && result == UP_UNKNOWN;
    cmp_session_close(&session);
    if (!lost)
        return result;
    result = cmp_recover(up, order, was.tid, deadline, reply);
    /* What it was told to wait by stays what the next poll begins with. */
    return result != UP_PENDING || buf_set(&reply->cookie, cookie) ? result : UP_UNKNOWN;
}

/* RFC 4210 section 5.2.3 names its bits: it is so already. */
static bool is_done(const struct cmp_session *session, bool accept)
{
    int code = OSSL_CMP_CTX_get_failInfoCode(session->ctx);
    unsigned done = FAILED(accept ? OSSL_CMP_PKIFAILUREINFO_certConfirmed
                                  : OSSL_CMP_PKIFAILUREINFO_certRevoked);
    return session->body == CMP_BODY_ERROR && session->valid && code > 0 && ((unsigned)code & done);
}

static bool say_failed(struct cmp_session *session, const char *what, struct err *err)
{
    if (session->sent && session->body < 0)
        return relay_failed(err, what, &session->http_said);
    return err_openssl(err, ERR_UPSTREAM, "%s", what);
}

/* What a certConf that failed says. An error of the CA ends the transaction (RFC 4210 section
 * 5.3.21), which it may have ended itself long ago; unless it is about us or about now. Anybody may
 * have sent one that is not protected. */
static enum up_result result_of_confirm(const struct cmp_session *session)
{
    if (session->body == CMP_BODY_ERROR && session->valid)
        return result_of(session) == UP_REFUSED ? UP_REFUSED : UP_RETRY;
    bool refused = session->status && session->status < 500 && session->http != UP_RETRY;
    return session->sent && (session->body >= 0 || refused) ? UP_UNKNOWN : UP_RETRY;
}

/* The client is brought to the certificate again; then it sends certConf with our verdict. A CA
 * that has confirmed implicitly, unasked, is sent nothing, and cannot be told of a rejection. */
static enum up_result cmp_confirm(struct upstream *up, struct bytes cookie, bool accept,
                                  int64_t deadline, struct err *err)
{
    struct cmp_session session = session_of(cmp_of(up));
    session.accept = accept;
    struct cmp_cookie was;
    bool ok = false;
    if (!cmp_cookie_read(cookie, &was)) {
        err_set(err, ERR_BUG, "what was kept of the transaction cannot be read");
        return UP_REFUSED;
    }
    const unsigned char *p = was.csr.ptr;
    X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)was.csr.len);
    memcpy(session.replay, was.answers, sizeof session.replay);
    if (cmp_session_open(&session, was.tid, deadline, err)) {
        ok = req && OSSL_CMP_CTX_set1_p10CSR(session.ctx, req) &&
             OSSL_CMP_try_certreq(session.ctx, OSSL_CMP_P10CR, NULL, NULL) > 0;
        /* After a rejection the client has no certificate, and so has failed. */
        if (!accept)
            ok = session.body == CMP_BODY_PKICONF && session.valid;
        ok = ok || is_done(&session, accept) ||
             say_failed(&session,
                        accept ? "the CA does not take the confirmation"
                               : "the CA does not take the rejection",
                        err);
    }
    enum up_result result = ok ? UP_ISSUED : result_of_confirm(&session);
    X509_REQ_free(req);
    cmp_session_close(&session);
    return result;
}

/* RFC 4210 section 5.3.9. */
static bool cmp_revoke(struct upstream *up, const struct cert *cert, int reason, int64_t deadline,
                       struct err *err)
{
    struct cmp_session session = session_of(cmp_of(up));
    uint8_t tid[TID_LEN];
    if (RAND_bytes(tid, sizeof tid) != 1)
        return err_openssl(err, ERR_LOCAL, "cannot make a transactionID");
    bool ok = cmp_session_open(&session, bytes_of(tid, sizeof tid), deadline, err);
    if (ok)
        ok = (OSSL_CMP_CTX_set1_oldCert(session.ctx, cert_keyed_get(cert)) &&
              OSSL_CMP_CTX_set_option(session.ctx, OSSL_CMP_OPT_REVOCATION_REASON, reason) &&
              OSSL_CMP_exec_RR_ses(session.ctx) == 1) ||
             is_done(&session, false) || say_failed(&session, "the CA does not revoke", err);
    cmp_session_close(&session);
    return ok;
}

/* An empty general message: any answer that is surely the CA's will do. */
static bool cmp_health(struct upstream *up, int64_t deadline, struct err *err)
{
    struct cmp_session session = session_of(cmp_of(up));
    uint8_t tid[TID_LEN];
    if (RAND_bytes(tid, sizeof tid) != 1)
        return err_openssl(err, ERR_LOCAL, "cannot make a transactionID");
    bool ok = cmp_session_open(&session, bytes_of(tid, sizeof tid), deadline, err);
    if (ok) {
        sk_OSSL_CMP_ITAV_pop_free(OSSL_CMP_exec_GENM_ses(session.ctx), OSSL_CMP_ITAV_free);
        ok = (session.body >= 0 && session.valid) ||
             say_failed(&session, "the CA does not answer as it should", err);
    }
    cmp_session_close(&session);
    return ok;
}

static bool cmp_open(const struct cfg_upstream *conf, struct upstream **ret, struct err *err)
{
    const struct cmp_options *options = conf->options;
    struct relay_conf relay = {.vt = &cmp_vt,
                               .trust = &options->tls,
                               .tls = &options->client,
                               .client = &options->client,
                               .chain = &options->chain};
    struct cmp *cmp = relay_new(sizeof *cmp, conf, &relay, err);
    if (!cmp)
        return false;
    cmp->options = options;
    *ret = &cmp->relay.base;
    return true;
}

static void judge_options(void *arg, struct cfg_faults *faults, const struct cfg_node *node)
{
    (void)arg;
    bool client = cfg_node_get(node, "client"), secret = cfg_node_get(node, "secret");
    if (client == secret)
        cfg_fault_key(faults, node, NULL, "needs one of client and secret to protect its messages");
    if (client && !cfg_node_get(node, "signer"))
        cfg_fault_key(faults, node, NULL, "needs signer: the certificate by which the CA signs");
}

static const struct cfg_key secret_keys[] = {
    {.name = "reference",
     .type = CFG_STRING,
     .offset = offsetof(struct cmp_secret, reference),
     .required = true,
     .meaning = "By which the CA knows the secret (senderKID)."},
    {.name = "file",
     .type = CFG_SECRET,
     .offset = offsetof(struct cmp_secret, value),
     .required = true,
     .meaning = "The secret."},
    {0},
};

static const struct cfg_key keys[] = {
    CFG_LINE_KEYS,
    {.name = "url",
     .type = CFG_STRING,
     .offset = offsetof(struct cmp_options, url),
     .required = true,
     .meaning = "Where the CA serves CMP. http will do: messages are protected, but not secret.",
     .form = "http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH",
     .check = cfg_check_web},
    {.name = "tls",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct cmp_options, tls),
     .meaning = "What the TLS certificate of an https URL must chain to; none: what the system "
                "trusts."},
    {.name = "client",
     .type = CFG_SECTION,
     .offset = offsetof(struct cmp_options, client),
     .sub = relay_client_keys,
     .meaning = "The certificate by which we sign messages, and the one for TLS.",
     .judge = relay_client_judge},
    {.name = "secret",
     .type = CFG_SECTION,
     .offset = offsetof(struct cmp_options, secret),
     .sub = secret_keys,
     .meaning = "A secret that we share with the CA, instead of client."},
    {.name = "signer",
     .type = CFG_CERT_FILE,
     .offset = offsetof(struct cmp_options, signer),
     .meaning = "The certificate by which the CA signs its messages: this one and no other."},
    {.name = "chain",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct cmp_options, chain),
     .required = true,
     .min = 1,
     .meaning = "The CA's certificates, issuer of leaves first."},
    {.name = "resend",
     .type = CFG_BOOL,
     .offset = offsetof(struct cmp_options, resend),
     .def = "false",
     .meaning = "The CA never issues twice for one transactionID: a request whose answer was lost "
                "is sent again."},
    {0},
};

const struct cfg_kind cmp_kind = {
    .type = "cmp",
    .keys = keys,
    .options_size = sizeof(struct cmp_options),
    .remote = true,
    .judge = judge_options,
};

const struct upstream_vt cmp_vt = {
    .type = "cmp",
    .caps = UP_RECOVER | UP_CONFIRM | UP_REVOKE | UP_PENDINGS,
    .open = cmp_open,
    .close = relay_close,
    .prepare = cmp_prepare,
    .submit = cmp_submit,
    .poll = cmp_poll,
    .recover = cmp_recover,
    .confirm = cmp_confirm,
    .revoke = cmp_revoke,
    .chain = relay_chain,
    .health = cmp_health,
    .credential = relay_credential,
};
