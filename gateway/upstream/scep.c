#include "gateway/upstream/scep.h"

#include "base/clock.h"
#include "base/pem.h"
#include "base/text.h"
#include "config/read.h"
#include "gateway/upstream/relay.h"
#include "scep/msg.h"

#include <openssl/objects.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_MAX 1200
#define TXN_LEN 32 /* hex of 16 random bytes */

enum challenge { CHALLENGE_NONE = 0, CHALLENGE_PASSTHROUGH };
enum repeats { REPEATS_NEVER = 0, REPEATS_SAFE };

struct scep_options {
    struct cfg_line line; /* first */
    char *url;
    char *identifier; /* message of GetCACert, or NULL */
    struct cfg_certs trust_certs;
    struct relay_client client;
    bool legacy;
    enum challenge challenge;
    enum repeats repeats;
    int64_t poll;
};

/* What the CA says of itself. Counted by the mutex: copied out, and replaced as a whole. */
struct ca {
    struct cert *certs[RELAY_CERTS_MAX]; /* all that we believe: they may sign replies */
    size_t count;
    struct cert *recipient; /* one of them */
    struct scep_algs algs;
    bool post;
};

struct scep {
    struct upstream base;  /* first */
    struct upstream_vt vt; /* with the caps of this CA */
    const struct scep_options *options;
    struct httpc *httpc;
    struct trust *trust;
    struct relay_chain *chain;
    pthread_mutex_t mutex;
    struct ca ca; /* count 0: not known yet */
};

static struct scep *scep_of(struct upstream *up)
{
    return (struct scep *)up;
}

static void ca_clear(struct ca *ca)
{
    for (size_t i = 0; i < ca->count; i++)
        cert_free(ca->certs[i]);
    *ca = (struct ca){0};
}

static void scep_close(struct upstream *up)
{
    struct scep *scep = scep_of(up);
    ca_clear(&scep->ca);
    httpc_free(scep->httpc);
    trust_free(scep->trust);
    relay_chain_free(scep->chain);
    pthread_mutex_destroy(&scep->mutex);
    free(scep);
}

static bool scep_open(const struct cfg_upstream *conf, struct upstream **ret, struct err *err)
{
    const struct scep_options *options = conf->options;
    struct httpc_conf http = {
        .trust = options->trust_certs.items,
        .trust_count = options->trust_certs.count,
    };
    struct scep *scep = mem_zalloc(sizeof *scep);
    scep->vt = scep_vt;
    if (options->repeats == REPEATS_SAFE)
        scep->vt.caps |= UP_RESUBMIT_SAFE;
    if (options->challenge == CHALLENGE_PASSTHROUGH)
        scep->vt.caps |= UP_CARRIES_CHALLENGE;
    scep->base = (struct upstream){.vt = &scep->vt, .name = conf->name};
    scep->options = options;
    scep->chain = relay_chain_new(&(struct cfg_certs){0});
    scep->trust = trust_new(options->trust_certs.items, options->trust_certs.count);
    pthread_mutex_init(&scep->mutex, NULL);
    if (!httpc_new(&http, &scep->httpc, err)) {
        scep_close(&scep->base);
        return false;
    }
    *ret = &scep->base;
    return true;
}

/* Talking to the CA */

/* The message goes into the URL where a CA takes no POST: base64, percent-encoded (RFC 8894
 * section 4.1). */
static bool url_add(const struct scep *scep, const char *operation, struct bytes message,
                    struct buf *url)
{
    const char *base = scep->options->url;
    struct buf text = {0};
    bool ok = buf_add_fmt(url, "%s%coperation=%s", base, strchr(base, '?') ? '&' : '?', operation);
    if (ok && message.len)
        ok = buf_add_str(url, "&message=") && text_base64_encode(message, 0, &text);
    for (size_t i = 0; i < text.len && ok; i++) {
        bool plain = !strchr("+/=", text.ptr[i]);
        ok = plain ? buf_add_u8(url, text.ptr[i]) : buf_add_fmt(url, "%%%02X", text.ptr[i]);
    }
    buf_free(&text);
    return ok;
}

/* A GET whose answer is 200. */
static bool get(struct scep *scep, const char *operation, int64_t deadline,
                struct httpc_reply *http, struct err *err)
{
    struct buf url = {0};
    struct up_reply said = {0};
    const char *identifier = scep->options->identifier;
    bool ok = url_add(scep, operation, (struct bytes){0}, &url) &&
              (!identifier || buf_add_fmt(&url, "&message=%s", identifier));
    struct httpc_call call = {.method = "GET", .url = buf_str(&url), .deadline = deadline};
    enum httpc_result result = ok ? httpc_run(scep->httpc, &call, http, err) : HTTPC_NOT_SENT;
    if (!ok)
        err_set(err, ERR_CONFIG, "the URL is too long");
    else if (relay_result(result, http, err, &said) != UP_ISSUED)
        ok = result == HTTPC_DONE ? err_set(err, ERR_UPSTREAM, "%s: %s", call.url, said.reason)
                                  : false;
    buf_free(&url);
    return ok;
}

/* RFC 8894 section 3.5.2: a keyword a line. */
static bool has_cap(struct bytes caps, const char *keyword)
{
    struct bytes line;
    while (caps.len) {
        bytes_take_until(&caps, '\n', &line);
        if (bytes_equal_nocase(bytes_trim(line), keyword))
            return true;
    }
    return false;
}

/* The best that both sides know. A CA that tells nothing knows single DES and MD5, which nobody
 * should; with `legacy`, triple DES and SHA-1 are tried. */
static bool choose_algs(const struct scep *scep, struct bytes caps, struct ca *ca, struct err *err)
{
    bool legacy = scep->options->legacy, standard = has_cap(caps, "SCEPStandard");
    if (standard || has_cap(caps, "AES"))
        ca->algs.cipher = NID_aes_128_cbc;
    else if (legacy)
        ca->algs.cipher = NID_des_ede3_cbc;
    if (standard || has_cap(caps, "SHA-256"))
        ca->algs.digest = NID_sha256;
    else if (has_cap(caps, "SHA-512"))
        ca->algs.digest = NID_sha512;
    else if (legacy)
        ca->algs.digest = NID_sha1;
    ca->post = standard || has_cap(caps, "POSTPKIOperation");
    return (ca->algs.cipher && ca->algs.digest) ||
           err_set(err, ERR_UPSTREAM,
                   "the CA knows neither AES nor SHA-256; legacy: true would allow triple DES and "
                   "SHA-1");
}

static uint32_t usage_of(const struct cert *cert)
{
    return X509_get_key_usage(cert_x509_get(cert));
}

/* The RA's certificate for encryption, or the CA's own (RFC 8894 section 3.5.1). */
static struct cert *choose_recipient(const struct ca *ca)
{
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < ca->count; i++)
            if (cert_is_ca(ca->certs[i]) == (round == 1) &&
                cert_spki_get(ca->certs[i])->kind == SPKI_RSA &&
                (round == 1 || (usage_of(ca->certs[i]) & KU_KEY_ENCIPHERMENT)))
                return ca->certs[i];
    return NULL;
}

/* Only what chains to the configured anchors is believed: the answer came over plain HTTP. */
static bool take_certs(struct scep *scep, const struct httpc_reply *http, struct ca *ca,
                       struct err *err)
{
    struct cert **certs;
    size_t count;
    struct err why = {0};
    if (!relay_certs_decode(buf_bytes(&http->body), &certs, &count, err))
        return err_within(err, "reading the answer to GetCACert");
    struct trust_terms terms = {.extra = certs, .extra_count = count, .at = clock_now()};
    for (size_t i = 0; i < count; i++)
        if (trust_check(scep->trust, certs[i], &terms, &why))
            ca->certs[ca->count++] = cert_ref(certs[i]);
    if (ca->count)
        relay_chain_set(scep->chain, ca->certs, ca->count);
    pem_certs_free(certs, count);
    ca->recipient = choose_recipient(ca);
    if (!ca->count)
        return err_set(err, ERR_UPSTREAM, "GetCACert gives nothing that chains to trust: %.300s",
                       why.text);
    return ca->recipient ||
           err_set(err, ERR_UPSTREAM, "GetCACert gives no certificate to encrypt for");
}

static bool fetch_ca(struct scep *scep, int64_t deadline, struct err *err)
{
    struct httpc_reply http = {0};
    struct ca ca = {0}, old;
    bool ok = get(scep, "GetCACaps", deadline, &http, err) &&
              choose_algs(scep, buf_bytes(&http.body), &ca, err) &&
              get(scep, "GetCACert", deadline, &http, err) && take_certs(scep, &http, &ca, err);
    httpc_reply_clear(&http);
    if (!ok) {
        ca_clear(&ca);
        return false;
    }
    pthread_mutex_lock(&scep->mutex);
    old = scep->ca;
    scep->ca = ca;
    pthread_mutex_unlock(&scep->mutex);
    ca_clear(&old);
    return true;
}

/* A copy; fetched if it is not known. */
static bool ca_get(struct scep *scep, int64_t deadline, struct ca *ret, struct err *err)
{
    for (int i = 0; i < 2; i++) {
        pthread_mutex_lock(&scep->mutex);
        *ret = scep->ca;
        for (size_t k = 0; k < ret->count; k++)
            cert_ref(ret->certs[k]);
        pthread_mutex_unlock(&scep->mutex);
        if (ret->count)
            return true;
        if (i == 0 && !fetch_ca(scep, deadline, err))
            return false;
    }
    return false;
}

/* One transaction */

/* What is sent and what its answer is judged by. */
struct exchange {
    struct scep *scep;
    const struct up_order *order;
    struct bytes txn;
    int64_t deadline;
    struct ca ca;
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

static bool is_known(const struct ca *ca, const struct cert *signer)
{
    for (size_t i = 0; i < ca->count; i++)
        if (bytes_equal(cert_der_get(ca->certs[i]), cert_der_get(signer)))
            return true;
    return false;
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
    relay_reason(ex->reply, "the CA answers FAILURE %s", known ? names[fail] : "without a reason");
    /* Algorithms and clocks are for operators to mend; the request is as good as before. */
    return fail == SCEP_BAD_ALG || fail == SCEP_BAD_TIME ? UP_RETRY : UP_REFUSED;
}

static enum up_result take_answer(struct exchange *ex, const struct httpc_reply *http)
{
    struct scep_msg *msg = NULL;
    enum scep_fail fail;
    enum up_result result = UP_UNKNOWN;
    struct err err = {0};
    bool partial;
    if (scep_msg_parse(buf_bytes(&http->body), &msg, &partial, &fail, &err) &&
        check_answer(ex, msg, &err)) {
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
    if (!url_add(ex->scep, "PKIOperation", post ? none : der, &url)) {
        relay_reason(ex->reply, "the request is too large for GET");
        return UP_REFUSED;
    }
    struct httpc_call call = {.method = post ? "POST" : "GET",
                              .url = buf_str(&url),
                              .headers = headers,
                              .body = post ? der : none,
                              .once = true,
                              .deadline = ex->deadline};
    enum up_result result =
        relay_result(httpc_run(ex->scep->httpc, &call, &http, &err), &http, &err, ex->reply);
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
        ca_get(scep, ex->deadline, &ex->ca, &err) && encode(ex, type, &der, &err))
        result = transmit(ex, buf_bytes(&der));
    else
        relay_reason(ex->reply, "%s", err.text);
    buf_free(&der);
    ca_clear(&ex->ca);
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

static bool scep_chain(struct upstream *up, const struct cfg_certs **ret, struct err *err)
{
    return relay_chain_get(scep_of(up)->chain, ret, err);
}

static bool scep_health(struct upstream *up, int64_t deadline, struct err *err)
{
    struct scep *scep = scep_of(up);
    return relay_client_check(&scep->options->client, err) && fetch_ca(scep, deadline, err);
}

static bool scep_remember(struct upstream *up, struct buf *memory)
{
    return relay_chain_remember(scep_of(up)->chain, memory);
}

static void scep_recall(struct upstream *up, struct bytes memory)
{
    relay_chain_recall(scep_of(up)->chain, memory);
}

static const struct cert *scep_credential(struct upstream *up)
{
    return scep_of(up)->options->client.certificate.items[0];
}

static void judge_options(void *arg, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct scep_options *options = arg;
    const struct cfg_node *client = cfg_node_get(node, "client");
    if (options->client.certificate.count &&
        cert_spki_get(options->client.certificate.items[0])->kind != SPKI_RSA)
        cfg_fault(faults, cfg_node_get(client, "certificate"),
                  "has no RSA key, which SCEP needs to encrypt answers for us; expected one that "
                  "has");
}

static const char *const challenge_words[] = {
    [CHALLENGE_NONE] = "none", [CHALLENGE_PASSTHROUGH] = "passthrough", NULL};
static const char *const repeats_words[] = {
    [REPEATS_NEVER] = "never", [REPEATS_SAFE] = "safe", NULL};

static const struct cfg_key keys[] = {
    CFG_LINE_KEYS,
    {.name = "url",
     .type = CFG_STRING,
     .offset = offsetof(struct scep_options, url),
     .required = true,
     .meaning = "Where the CA serves SCEP, without operation=.",
     .form = "an http or https URL",
     .check = cfg_check_web},
    {.name = "identifier",
     .type = CFG_STRING,
     .offset = offsetof(struct scep_options, identifier),
     .meaning = "What GetCACert and GetCACaps name a CA by, if the server has several.",
     .form = "printable ASCII without spaces",
     .check = cfg_check_glob},
    {.name = "trust",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct scep_options, trust_certs),
     .required = true,
     .min = 1,
     .meaning = "What the certificates of the CA and its RA must chain to, and over https the "
                "server's."},
    {.name = "client",
     .type = CFG_SECTION,
     .offset = offsetof(struct scep_options, client),
     .required = true,
     .sub = relay_client_keys,
     .meaning = "Our certificate at this CA, with an RSA key: it signs requests and opens answers.",
     .judge = relay_client_judge},
    {.name = "legacy",
     .type = CFG_BOOL,
     .offset = offsetof(struct scep_options, legacy),
     .def = "false",
     .meaning = "Whether triple DES and SHA-1 may be used with a CA that knows nothing better, and "
                "its answers may come in single DES."},
    {.name = "challenge",
     .type = CFG_ENUM,
     .offset = offsetof(struct scep_options, challenge),
     .def = "none",
     .words = challenge_words,
     .meaning = "What the challengePassword that a device signed into its CSR is to this CA: "
                "nothing (it trusts our signature), or its own secret, which it judges too. It "
                "cannot be taken out of the CSR."},
    {.name = "repeats",
     .type = CFG_ENUM,
     .offset = offsetof(struct scep_options, repeats),
     .def = "never",
     .words = repeats_words,
     .meaning = "Whether the CA answers a repeated transactionID with the certificate that it "
                "issued for it; then a request whose answer was lost is sent again."},
    {.name = "poll",
     .type = CFG_DURATION,
     .offset = offsetof(struct scep_options, poll),
     .min = 1,
     .max = 86400,
     .def = "1m",
     .meaning = "How often a CA that takes its time is asked."},
    {0},
};

const struct cfg_kind scep_kind = {
    .type = "scep",
    .keys = keys,
    .options_size = sizeof(struct scep_options),
    .remote = true,
    .judge = judge_options,
};

const struct upstream_vt scep_vt = {
    .type = "scep",
    .caps = UP_PENDINGS | UP_RECOVER,
    .open = scep_open,
    .close = scep_close,
    .prepare = scep_prepare,
    .submit = scep_submit,
    .poll = scep_poll,
    .recover = scep_recover,
    .chain = scep_chain,
    .health = scep_health,
    .remember = scep_remember,
    .recall = scep_recall,
    .credential = scep_credential,
};
