#include "gateway/upstream/cmp_session.h"

#include "base/der.h"

#include <openssl/err.h>
#include <string.h>

#define COOKIE_MAX (2 * CMP_ANSWER_MAX + 2 * CSR_MAX)

static OSSL_CMP_MSG *msg_parse(struct bytes der)
{
    const unsigned char *p = der.ptr;
    OSSL_CMP_MSG *msg = der.len ? d2i_OSSL_CMP_MSG(NULL, &p, (long)der.len) : NULL;
    if (msg && p == der.ptr + der.len)
        return msg;
    OSSL_CMP_MSG_free(msg);
    return NULL;
}

static bool keep(struct cmp_session *session, struct bytes der)
{
    return buf_set(session->first.len ? &session->last : &session->first, der);
}

/* An answer answers the nonce of the message that asked, which the client has forgotten. */
static OSSL_CMP_MSG *replay(struct cmp_session *session)
{
    struct bytes der = session->replay[session->replayed++];
    OSSL_CMP_MSG *msg = msg_parse(der);
    if (msg && keep(session, der) &&
        OSSL_CMP_CTX_set1_senderNonce(session->ctx,
                                      OSSL_CMP_HDR_get0_recipNonce(OSSL_CMP_MSG_get0_header(msg))))
        return msg;
    OSSL_CMP_MSG_free(msg);
    return NULL;
}

/* Our transaction's pollReq (RFC 4210 section 5.3.22) with the header of the message; OpenSSL makes
 * one only for who was told to wait. certReqId is -1: RFC 9483 section 4.1.4. */
static bool poll_of(struct bytes message, struct buf *ret)
{
    static const uint8_t body[] = {0xb9, 0x07, 0x30, 0x05, 0x30, 0x03, DER_INTEGER, 0x01, 0xff};
    struct der whole, header, request, protection;
    return der_take_tag(&message, DER_SEQUENCE, &whole) &&
           der_take_tag(&whole.content, DER_SEQUENCE, &header) &&
           der_take(&whole.content, &request) &&
           der_take_tag(&whole.content, DER_CONTEXT_CONSTRUCTED(0), &protection) &&
           buf_set(ret, header.whole) && buf_add(ret, bytes_of(body, sizeof body)) &&
           buf_add(ret, protection.whole) && der_wrap(ret, 0, DER_SEQUENCE);
}

static bool msg_der(const OSSL_CMP_MSG *msg, struct buf *ret)
{
    unsigned char *der = NULL;
    int len = i2d_OSSL_CMP_MSG(msg, &der);
    bool ok = len > 0 && buf_set(ret, bytes_of(der, (size_t)len));
    OPENSSL_free(der);
    return ok;
}

/* The message that is to be sent. */
static bool message_of(struct cmp_session *session, const OSSL_CMP_MSG *request, struct buf *ret)
{
    struct buf poll = BUF_INIT(CMP_ANSWER_MAX);
    if (!msg_der(request, ret))
        return false;
    if (!session->find || session->sent)
        return true;
    OSSL_CMP_MSG *msg = poll_of(buf_bytes(ret), &poll) ? msg_parse(buf_bytes(&poll)) : NULL;
    /* This also protects it anew. */
    bool ok = msg && OSSL_CMP_MSG_update_transactionID(session->ctx, msg) && msg_der(msg, ret);
    OSSL_CMP_MSG_free(msg);
    buf_free(&poll);
    return ok;
}

static bool is_ours(const struct cmp_session *session, const OSSL_CMP_MSG *msg)
{
    const ASN1_OCTET_STRING *tid = OSSL_CMP_HDR_get0_transactionID(OSSL_CMP_MSG_get0_header(msg));
    return tid && bytes_equal(bytes_of(ASN1_STRING_get0_data(tid), (size_t)ASN1_STRING_length(tid)),
                              session->tid);
}

/* RFC 6712 section 3. */
static OSSL_CMP_MSG *post(struct cmp_session *session, struct bytes message)
{
    static const char *const headers[] = {"Content-Type: application/pkixcmp", NULL};
    struct httpc_call call = {.method = "POST",
                              .url = session->options->url,
                              .headers = headers,
                              .body = message,
                              .once = true,
                              .reply_max = CMP_ANSWER_MAX,
                              .deadline = session->deadline};
    struct httpc_reply http = {0};
    struct err err = {0};
    enum httpc_result result = httpc_run(session->httpc, &call, &http, &err);
    OSSL_CMP_MSG *msg = NULL;
    session->http = relay_result(result, &http, &err, &session->http_said);
    session->status = result == HTTPC_DONE ? http.status : 0;
    /* An error of CMP may come with an error of HTTP, and says more. */
    if (result == HTTPC_DONE &&
        (session->http == UP_ISSUED || httpc_is_type(&http, "application/pkixcmp")))
        msg = msg_parse(buf_bytes(&http.body));
    if (msg && !keep(session, buf_bytes(&http.body))) {
        OSSL_CMP_MSG_free(msg);
        msg = NULL;
    }
    if (!msg && session->http == UP_ISSUED) {
        relay_reason(&session->http_said, "the CA answers %d with what is no message of CMP",
                     http.status);
        session->http = UP_UNKNOWN;
    }
    httpc_reply_clear(&http);
    return msg;
}

static OSSL_CMP_MSG *transfer(OSSL_CMP_CTX *ctx, const OSSL_CMP_MSG *request)
{
    struct cmp_session *session = OSSL_CMP_CTX_get_transfer_cb_arg(ctx);
    struct buf message = BUF_SECRET(COOKIE_MAX); /* it may hold a challengePassword */
    OSSL_CMP_MSG *msg = NULL;
    if (session->replayed < 2 && session->replay[session->replayed].len)
        return replay(session);
    session->body = -1;
    session->status = 0;
    session->http = UP_RETRY;
    relay_reason(&session->http_said, "the message for the CA cannot be made");
    if (message_of(session, request, &message)) {
        session->sent++;
        msg = post(session, buf_bytes(&message));
    }
    buf_free(&message);
    if (msg) {
        session->body = OSSL_CMP_MSG_get_bodytype(msg);
        session->valid = OSSL_CMP_validate_msg(ctx, msg) == 1 && is_ours(session, msg);
    }
    return msg;
}

/* Without one OpenSSL writes to stderr; what it says is in its error queue too. */
static int log_nothing(const char *component, const char *file, int line,
                       OSSL_CMP_severity severity, const char *text)
{
    (void)component, (void)file, (void)line, (void)severity, (void)text;
    return 1;
}

/* RFC 4210 section 5.3.18. Whether the certificate is right is not for the client to say. */
static int judge_cert(OSSL_CMP_CTX *ctx, X509 *cert, int failure, const char **text)
{
    const struct cmp_session *session = OSSL_CMP_CTX_get_certConf_cb_arg(ctx);
    (void)cert, (void)failure;
    *text = session->accept ? NULL : "it is not what was asked for";
    return session->accept ? 0 : 1 << OSSL_CMP_PKIFAILUREINFO_badCertTemplate;
}

/* We sign, or prove that we know the secret. */
static bool protect(OSSL_CMP_CTX *ctx, const struct cmp_options *options)
{
    const struct cmp_secret *secret = &options->secret;
    const struct cfg_certs *mine = &options->client.certificate;
    if (!mine->count)
        return OSSL_CMP_CTX_set1_referenceValue(ctx, (const unsigned char *)secret->reference,
                                                (int)strlen(secret->reference)) &&
               OSSL_CMP_CTX_set1_secretValue(ctx, secret->value.ptr, (int)secret->value.len) &&
               OSSL_CMP_CTX_set_option(ctx, OSSL_CMP_OPT_OWF_ALGNID, NID_sha256) &&
               OSSL_CMP_CTX_set_option(ctx, OSSL_CMP_OPT_MAC_ALGNID, NID_hmacWithSHA256);
    STACK_OF(X509) *above = sk_X509_new_null();
    bool ok = above;
    for (size_t i = 1; i < mine->count && ok; i++)
        ok = sk_X509_push(above, cert_x509_get(mine->items[i])) > 0;
    ok = ok && OSSL_CMP_CTX_set1_cert(ctx, cert_keyed_get(mine->items[0])) &&
         OSSL_CMP_CTX_set1_pkey(ctx, options->client.key) &&
         OSSL_CMP_CTX_set1_extraCertsOut(ctx, above);
    sk_X509_free(above);
    return ok;
}

/* Signatures are taken of the one signer only: a CA's devices have certificates of it, too. */
bool cmp_session_open(struct cmp_session *session, struct bytes tid, int64_t deadline,
                      struct err *err)
{
    const struct cmp_options *options = session->options;
    const struct cert *ca =
        options->signer.count ? options->signer.items[0] : options->chain.items[0];
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    OSSL_CMP_CTX *ctx = session->ctx = OSSL_CMP_CTX_new(NULL, NULL);
    session->tid = tid;
    session->deadline = deadline;
    session->body = -1;
    session->first.max = session->last.max = CMP_ANSWER_MAX;
    if (!relay_client_check(&options->client, err)) {
        ASN1_OCTET_STRING_free(id);
        return false;
    }
    bool ok = ctx && id && OSSL_CMP_CTX_set_log_cb(ctx, log_nothing) &&
              OSSL_CMP_CTX_set_transfer_cb(ctx, transfer) &&
              OSSL_CMP_CTX_set_transfer_cb_arg(ctx, session) &&
              OSSL_CMP_CTX_set_certConf_cb(ctx, judge_cert) &&
              OSSL_CMP_CTX_set_certConf_cb_arg(ctx, session) && protect(ctx, options) &&
              OSSL_CMP_CTX_set1_recipient(ctx, X509_get_subject_name(cert_x509_get(ca))) &&
              (!options->signer.count || OSSL_CMP_CTX_set1_srvCert(ctx, cert_keyed_get(ca)));
    if (ok && tid.len)
        ok = ASN1_OCTET_STRING_set(id, tid.ptr, (int)tid.len) &&
             OSSL_CMP_CTX_set1_transactionID(ctx, id);
    ASN1_OCTET_STRING_free(id);
    return ok || err_openssl(err, ERR_LOCAL, "cannot set up a transaction of CMP");
}

void cmp_session_close(struct cmp_session *session)
{
    OSSL_CMP_CTX_free(session->ctx);
    buf_free(&session->first);
    buf_free(&session->last);
    ERR_clear_error();
}

/* The CSR without its attributes and their secrets: enough for a client that only replays. */
static bool csr_bare(struct bytes csr, struct buf *ret)
{
    const unsigned char *p = csr.ptr;
    unsigned char *der = NULL;
    X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)csr.len);
    X509_NAME *name = req ? X509_NAME_dup(X509_REQ_get_subject_name(req)) : NULL;
    while (req && X509_REQ_get_attr_count(req) > 0)
        X509_ATTRIBUTE_free(X509_REQ_delete_attr(req, 0));
    /* Setting the name makes it be encoded anew. */
    int len = name && X509_REQ_set_subject_name(req, name) ? i2d_X509_REQ(req, &der) : -1;
    bool ok = len > 0 && buf_set(ret, bytes_of(der, (size_t)len));
    OPENSSL_free(der);
    X509_NAME_free(name);
    X509_REQ_free(req);
    return ok;
}

bool cmp_cookie_make(const struct cmp_session *session, struct bytes csr, struct bytes first,
                     struct bytes second, struct buf *ret)
{
    struct buf bare = BUF_SECRET(2 * CSR_MAX);
    ret->max = COOKIE_MAX;
    bool ok = csr_bare(csr, &bare) && der_add(ret, DER_OCTET_STRING, session->tid) &&
              der_add(ret, DER_OCTET_STRING, buf_bytes(&bare)) &&
              der_add(ret, DER_OCTET_STRING, first) &&
              (!second.len || der_add(ret, DER_OCTET_STRING, second));
    buf_free(&bare);
    return ok;
}

bool cmp_cookie_read(struct bytes cookie, struct cmp_cookie *ret)
{
    struct der tid, csr, answer;
    if (!der_take_tag(&cookie, DER_OCTET_STRING, &tid) ||
        !der_take_tag(&cookie, DER_OCTET_STRING, &csr) ||
        !der_take_tag(&cookie, DER_OCTET_STRING, &answer))
        return false;
    *ret = (struct cmp_cookie){tid.content, csr.content, {answer.content}};
    if (cookie.len && !der_take_tag(&cookie, DER_OCTET_STRING, &answer))
        return false;
    if (answer.content.ptr != ret->answers[0].ptr)
        ret->answers[1] = answer.content;
    return !cookie.len;
}
