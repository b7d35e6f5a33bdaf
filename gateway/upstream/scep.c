#include "gateway/upstream/scep.h"

#include "base/pem.h"
#include "base/text.h"
#include "gateway/upstream/ndes.h"
#include "gateway/upstream/scep_session.h"
#include "scep/msg.h"

#include <inttypes.h>
#include <openssl/objects.h>
#include <openssl/rand.h>
#include <stdio.h>

#define TXN_LEN 32 /* hex of 16 random bytes */

struct scep {
    struct relay relay;    /* first */
    struct upstream_vt vt; /* with the caps of this CA */
    const struct scep_options *options;
    struct scep_session session;
    struct ndes *ndes; /* SCEP_CHALLENGE_BROKER */
};

static struct scep *scep_of(struct upstream *up)
{
    return (struct scep *)up;
}

/* One transaction */

/* What is sent and what its answer is judged by. */
struct exchange {
    struct scep *scep;
    const struct up_order *order;
    struct bytes txn;
    int64_t deadline;
    struct scep_ca ca;
    bool moved; /* ca is not what the message was made with */
    uint8_t nonce[SCEP_NONCE_LEN];
    struct up_reply *reply;
};

static struct scep_key own_key(const struct scep *scep)
{
    const struct relay_client *client = &scep->options->client;
    return (struct scep_key){client->certificate.items[0], client->key};
}

static bool encode(struct exchange *ex, enum scep_type type, struct buf *der, struct err *err)
{
    struct buf content = {0};
    bool ok = RAND_bytes(ex->nonce, sizeof ex->nonce) == 1;
    if (!ok)
        err_openssl(err, ERR_LOCAL, "making a nonce");
    else if (type == SCEP_CERTPOLL)
        ok = scep_poll_content(cert_issuer_get(ex->ca.recipient),
                               buf_bytes(&csr_names_get(ex->order->csr)->subject), &content) ||
             err_set(err, ERR_BUG, "names that are too long");
    struct scep_out out = {
        .type = type,
        .txn = ex->txn,
        .sender_nonce = bytes_of(ex->nonce, sizeof ex->nonce),
        .content = type == SCEP_CERTPOLL ? buf_bytes(&content) : csr_der_get(ex->order->csr),
        .recipient = ex->ca.recipient,
        .algs = ex->ca.algs,
        .signer = own_key(ex->scep),
    };
    ok = ok && scep_msg_encode(&out, der, err);
    buf_free(&content);
    return ok;
}

static bool is_known(const struct scep_ca *ca, const struct cert *signer)
{
    for (size_t i = 0; i < ca->count; i++)
        if (bytes_equal(cert_der_get(ca->certs[i]), cert_der_get(signer)))
            return true;
    return false;
}

/* Whether the CA has other certificates by now than those that we asked with, or does not say;
 * ex->ca is what it has. CAs change their RAs when they like, not when we look. */
static bool has_moved(struct exchange *ex)
{
    if (ex->moved)
        return true;
    struct scep_ca now = {0};
    struct err ignored;
    if (!scep_session_fetch(&ex->scep->session, ex->deadline, &ignored) ||
        !scep_session_ca(&ex->scep->session, ex->deadline, &now, &ignored))
        return true;
    bool same = now.count == ex->ca.count && is_known(&now, ex->ca.recipient);
    for (size_t i = 0; i < now.count && same; i++)
        same = is_known(&ex->ca, now.certs[i]);
    scep_ca_clear(&ex->ca);
    ex->ca = now;
    ex->moved = !same;
    return ex->moved;
}

/* RFC 8894 section 3.2.1: the answer to our message, by somebody who may give it. */
static bool check_answer(const struct exchange *ex, const struct scep_msg *msg, struct err *err)
{
    int digest = scep_msg_algs_get(msg).digest;
    if (scep_msg_type_get(msg) != SCEP_CERTREP)
        return err_set(err, ERR_UPSTREAM, "a message of type %d", scep_msg_type_get(msg));
    if (!is_known(&ex->ca, scep_msg_signer_get(msg)))
        return err_set(err, ERR_UPSTREAM, "a CertRep by a signer that GetCACert does not name: %s",
                       cert_names_get(scep_msg_signer_get(msg))->subject_text);
    if (!bytes_equal(scep_msg_txn_get(msg), ex->txn))
        return err_set(err, ERR_UPSTREAM, "a CertRep of another transaction");
    if (!bytes_equal(scep_msg_recipient_nonce_get(msg), bytes_of(ex->nonce, sizeof ex->nonce)))
        return err_set(err, ERR_UPSTREAM, "a CertRep that answers another message");
    if (digest == NID_sha1 && !ex->scep->options->legacy)
        return err_set(err, ERR_UPSTREAM, "a CertRep with SHA-1, which only legacy: true allows");
    return true;
}

static enum up_result take_cert(struct exchange *ex, const struct scep_msg *msg, struct err *err)
{
    struct scep_key key = own_key(ex->scep);
    struct scep_opener opener = {&key, 1,
                                 ex->scep->options->legacy ? SCEP_CIPHERS_DES : SCEP_CIPHERS_AES};
    struct buf bag = {0};
    struct cert **certs = NULL;
    size_t count = 0;
    int cipher;
    bool ok = scep_msg_open(msg, &opener, &bag, &cipher, err) &&
              relay_certs_decode(buf_bytes(&bag), &certs, &count, err);
    struct cert *cert = ok ? relay_cert_pick(certs, count, ex->order->csr) : NULL;
    if (cert)
        ex->reply->cert = cert_ref(cert);
    else if (ok)
        err_set(err, ERR_UPSTREAM, "a CertRep with CA certificates only");
    pem_certs_free(certs, count);
    buf_free(&bag);
    return cert ? UP_ISSUED : UP_UNKNOWN;
}

static enum up_result take_failure(struct exchange *ex, const struct scep_msg *msg)
{
    static const char *const names[] = {"badAlg", "badMessageCheck", "badRequest", "badTime",
                                        "badCertId"};
    int fail = scep_msg_fail_get(msg);
    bool known = fail >= 0 && (size_t)fail < sizeof names / sizeof names[0];
    struct bytes text = scep_msg_fail_text_get(msg);
    uint32_t hresult;
    char code[32] = "";
    if (scep_msg_hresult_get(msg, &hresult))
        snprintf(code, sizeof code, ", HRESULT 0x%08" PRIX32, hresult);
    relay_reason(ex->reply, "the CA answers FAILURE %s%s%s%.*s",
                 known ? names[fail] : "without a reason", code, text.len ? ": " : "",
                 (int)text.len, (const char *)text.ptr);
    /* Algorithms and clocks are for operators to mend, and what was encrypted to an RA of before is
     * encrypted anew; the request is as good as before. */
    bool anew = fail == SCEP_BAD_ALG || fail == SCEP_BAD_TIME ||
                (fail == SCEP_BAD_MESSAGE_CHECK && has_moved(ex));
    return anew ? UP_RETRY : UP_REFUSED;
}

/* What we do not believe may come from an RA that has just been put in. */
static bool read_answer(struct exchange *ex, struct bytes body, struct scep_msg **msg,
                        struct err *err)
{
    for (bool again = true;; again = false) {
        struct scep_known known = {ex->ca.certs, ex->ca.count};
        if (scep_reply_parse(body, &known, msg, err) && check_answer(ex, *msg, err))
            return true;
        scep_msg_free(*msg);
        *msg = NULL;
        if (!again || !has_moved(ex))
            return false;
    }
}

static enum up_result take_answer(struct exchange *ex, const struct httpc_reply *http)
{
    struct scep_msg *msg = NULL;
    enum up_result result = UP_UNKNOWN;
    struct err err = {0};
    if (read_answer(ex, buf_bytes(&http->body), &msg, &err)) {
        switch (scep_msg_status_get(msg)) {
        case SCEP_SUCCESS:
            result = take_cert(ex, msg, &err);
            break;
        case SCEP_PENDING:
            result = buf_set(&ex->reply->cookie, ex->txn) ? UP_PENDING : UP_UNKNOWN;
            ex->reply->retry_after = (int)ex->scep->options->poll;
            break;
        case SCEP_FAILURE:
            result = take_failure(ex, msg);
            break;
        default:
            err_set(&err, ERR_UPSTREAM, "a CertRep without a status");
            break;
        }
    }
    if (result == UP_UNKNOWN)
        relay_reason(ex->reply, "%s", err.text);
    scep_msg_free(msg);
    return result;
}

static enum up_result transmit(struct exchange *ex, struct bytes der)
{
    static const char *const headers[] = {"Content-Type: application/x-pki-message", NULL};
    struct buf url = {0};
    struct httpc_reply http = {0};
    struct err err = {0};
    bool post = ex->ca.post;
    struct bytes none = {0};
    if (!scep_session_url(&ex->scep->session, "PKIOperation", post ? none : der, &url)) {
        relay_reason(ex->reply, "the request is too large for GET");
        buf_free(&url);
        return UP_REFUSED;
    }
    struct httpc_call call = {.method = post ? "POST" : "GET",
                              .url = buf_str(&url),
                              .headers = headers,
                              .body = post ? der : none,
                              .once = true,
                              .deadline = ex->deadline};
    enum up_result result =
        relay_result(httpc_run(ex->scep->relay.httpc, &call, &http, &err), &http, &err, ex->reply);
    if (result == UP_ISSUED)
        result = take_answer(ex, &http);
    httpc_reply_clear(&http);
    buf_free(&url);
    return result;
}

static enum up_result ask(struct exchange *ex, enum scep_type type)
{
    struct scep *scep = ex->scep;
    struct buf der = BUF_SECRET(SCEP_MSG_MAX);
    struct err err = {0};
    enum up_result result = UP_RETRY;
    if (relay_client_check(&scep->options->client, &err) &&
        scep_session_ca(&scep->session, ex->deadline, &ex->ca, &err) &&
        encode(ex, type, &der, &err))
        result = transmit(ex, buf_bytes(&der));
    else
        result = relay_later(ex->reply, &err);
    buf_free(&der);
    scep_ca_clear(&ex->ca);
    return result;
}

/* The transactionID: by it the CA can be asked what became of the request. */
static bool scep_prepare(struct upstream *up, const struct up_order *order, struct buf *handle,
                         struct err *err)
{
    uint8_t random[TXN_LEN / 2];
    char text[TXN_LEN + 1];
    (void)up, (void)order;
    if (RAND_bytes(random, sizeof random) != 1)
        return err_openssl(err, ERR_LOCAL, "no random bytes for a transactionID");
    text_hex(bytes_of(random, sizeof random), text);
    return buf_set(handle, bytes_str(text));
}

static enum up_result scep_submit(struct upstream *up, const struct up_order *order,
                                  struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct exchange ex = {
        .scep = scep_of(up), .order = order, .txn = handle, .deadline = deadline, .reply = reply};
    return ask(&ex, SCEP_PKCSREQ);
}

/* A CA that answers a poll with FAILURE has refused the request, which it had. */
static enum up_result scep_poll(struct upstream *up, const struct up_order *order,
                                struct bytes cookie, int64_t deadline, struct up_reply *reply)
{
    struct exchange ex = {
        .scep = scep_of(up), .order = order, .txn = cookie, .deadline = deadline, .reply = reply};
    return ask(&ex, SCEP_CERTPOLL);
}

/* A FAILURE tells nothing here: the CA may have no memory of what it issued. */
static enum up_result scep_recover(struct upstream *up, const struct up_order *order,
                                   struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    enum up_result result = scep_poll(up, order, handle, deadline, reply);
    if (result != UP_REFUSED)
        return result;
    relay_reason(reply, "the CA does not say what became of it: see whether it issued, then "
                        "approve or deny");
    return UP_UNKNOWN;
}

static bool fetch_chain(struct upstream *up, int64_t deadline, struct err *err)
{
    return scep_session_fetch(&scep_of(up)->session, deadline, err);
}

static bool scep_challenge(struct upstream *up, int64_t deadline, struct buf *secret, int64_t *life,
                           struct err *err)
{
    return ndes_challenge(scep_of(up)->ndes, deadline, secret, life, err);
}

static const char *scep_untested(struct upstream *up)
{
    return scep_of(up)->options->challenge == SCEP_CHALLENGE_BROKER
               ? "whether the CA takes our certificate, and its page our password: to show that it "
                 "would hand out a challenge"
               : "whether the CA takes our certificate: it signs requests only";
}

static void scep_close(struct upstream *up)
{
    struct scep *scep = scep_of(up);
    ndes_free(scep->ndes);
    scep_session_close(&scep->session);
    relay_close(up);
}

static bool scep_open(const struct cfg_upstream *conf, struct upstream **ret, struct err *err)
{
    const struct scep_options *options = conf->options;
    struct relay_conf relay = {.vt = &scep_vt,
                               .trust = &options->trust_certs,
                               .client = &options->client,
                               .fetch = fetch_chain};
    struct scep *scep = relay_new(sizeof *scep, conf, &relay, err);
    bool broker = options->challenge == SCEP_CHALLENGE_BROKER;
    if (!scep)
        return false;
    scep->vt = scep_vt;
    if (options->repeats == SCEP_REPEATS_SAFE)
        scep->vt.caps |= UP_RESUBMIT_SAFE;
    if (options->challenge != SCEP_CHALLENGE_NONE)
        scep->vt.caps |= UP_CARRIES_CHALLENGE;
    if (!broker)
        scep->vt.challenge = NULL;
    scep->relay.base.vt = &scep->vt;
    scep->options = options;
    scep_session_open(&scep->session, &scep->relay, options);
    if (broker && !ndes_new(&options->admin, &scep->ndes, err)) {
        scep_close(&scep->relay.base);
        return false;
    }
    *ret = &scep->relay.base;
    return true;
}

const struct upstream_vt scep_vt = {
    .type = "scep",
    .caps = UP_PENDINGS | UP_RECOVER,
    .open = scep_open,
    .close = scep_close,
    .prepare = scep_prepare,
    .submit = scep_submit,
    .poll = scep_poll,
    .recover = scep_recover,
    .chain = relay_chain,
    .health = relay_health,
    .remember = relay_remember,
    .recall = relay_recall,
    .challenge = scep_challenge,
    .credential = relay_credential,
    .untested = scep_untested,
};
