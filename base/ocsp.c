#include "base/ocsp.h"

#include "base/der.h"
#include "base/strong.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#define SKEW_SECONDS 300
#define AGE_MAX 3600   /* of an answer without nextUpdate */
#define USE_SECONDS 60 /* how long such an answer is used */
#define DEPTH_MAX 24
#define ELEMENTS_MAX 4096

struct ocsp_question {
    OCSP_REQUEST *request;
    OCSP_CERTID *id;
    X509 *subject, *issuer;
    struct buf der;
};

bool ocsp_question_new(X509 *subject, X509 *issuer, struct ocsp_question **ret, struct err *err)
{
    struct ocsp_question *question = mem_zalloc(sizeof *question);
    unsigned char *der = NULL;
    X509_up_ref(subject);
    X509_up_ref(issuer);
    question->subject = subject;
    question->issuer = issuer;
    question->request = OCSP_REQUEST_new();
    question->id = OCSP_cert_to_id(NULL, subject, issuer);
    OCSP_CERTID *copy = question->id ? OCSP_CERTID_dup(question->id) : NULL;
    bool ok = question->request && copy && OCSP_request_add0_id(question->request, copy);
    if (!ok)
        OCSP_CERTID_free(copy);
    ok = ok && OCSP_request_add1_nonce(question->request, NULL, -1) == 1;
    int len = ok ? i2d_OCSP_REQUEST(question->request, &der) : 0;
    ok = len > 0 && buf_set(&question->der, bytes_of(der, (size_t)len));
    OPENSSL_free(der);
    if (!ok) {
        ocsp_question_free(question);
        return err_openssl(err, ERR_LOCAL, "making an OCSP request");
    }
    *ret = question;
    return true;
}

void ocsp_question_free(struct ocsp_question *question)
{
    if (!question)
        return;
    OCSP_REQUEST_free(question->request);
    OCSP_CERTID_free(question->id);
    X509_free(question->subject);
    X509_free(question->issuer);
    buf_free(&question->der);
    free(question);
}

struct bytes ocsp_question_der(const struct ocsp_question *question)
{
    return buf_bytes(&question->der);
}

static OCSP_BASICRESP *parse(struct bytes der, struct err *err)
{
    const unsigned char *p = der.ptr;
    OCSP_BASICRESP *basic = NULL;
    OCSP_RESPONSE *response =
        der.len <= OCSP_RESPONSE_MAX && der_check(der, DEPTH_MAX, ELEMENTS_MAX)
            ? d2i_OCSP_RESPONSE(NULL, &p, (long)der.len)
            : NULL;
    if (!response || p != der.ptr + der.len) {
        err_set(err, ERR_PEER, "no OCSP response");
    } else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        err_set(err, ERR_PEER, "the responder says %s",
                OCSP_response_status_str(OCSP_response_status(response)));
    } else {
        basic = OCSP_response_get1_basic(response);
        if (!basic)
            err_set(err, ERR_PEER, "an OCSP response of an unknown kind");
    }
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return basic;
}

/* Only the issuer itself is an anchor, so that nobody else's responder can speak for it. */
static bool check_signer(OCSP_BASICRESP *basic, X509 *issuer, int64_t now, struct err *err)
{
    STACK_OF(X509) *certs = sk_X509_new_null();
    X509_STORE *store = X509_STORE_new();
    if (!certs || !store || !sk_X509_push(certs, issuer))
        err_no_memory();
    X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store), now);
    bool ok = X509_STORE_add_cert(store, issuer) == 1 &&
              X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
              OCSP_basic_verify(basic, certs, store, OCSP_NOEXPLICIT) == 1;
    X509_STORE_free(store);
    sk_X509_free(certs);
    return ok || err_openssl(err, ERR_PEER, "an OCSP response that the issuer does not vouch for");
}

static bool critical_free(OCSP_BASICRESP *basic, struct err *err)
{
    bool critical = OCSP_BASICRESP_get_ext_by_critical(basic, 1, -1) >= 0;
    for (int i = 0; i < OCSP_resp_count(basic); i++)
        critical =
            critical || OCSP_SINGLERESP_get_ext_by_critical(OCSP_resp_get0(basic, i), 1, -1) >= 0;
    return !critical || err_set(err, ERR_PEER, "an OCSP response with a critical extension");
}

static bool take_time(const ASN1_TIME *time, int64_t *ret)
{
    struct tm tm;
    if (!time || !ASN1_TIME_to_tm(time, &tm))
        return false;
    *ret = timegm(&tm);
    return true;
}

/* Whether an answer about a certificate that ended at `end` still says something. */
static bool reaches_back(OCSP_SINGLERESP *single, int64_t end)
{
    int64_t cutoff;
    ASN1_GENERALIZEDTIME *time =
        OCSP_SINGLERESP_get1_ext_d2i(single, NID_id_pkix_OCSP_archiveCutoff, NULL, NULL);
    bool ok = take_time(time, &cutoff) && cutoff <= end;
    ASN1_GENERALIZEDTIME_free(time);
    ERR_clear_error();
    return ok;
}

static bool take_single(OCSP_SINGLERESP *single, int64_t now, struct ocsp_answer *ret,
                        struct err *err)
{
    ASN1_GENERALIZEDTIME *from, *until;
    int reason;
    int status = OCSP_single_get0_status(single, &reason, NULL, &from, &until);
    if (!take_time(from, &ret->this_update) || (until && !take_time(until, &ret->until)))
        return err_set(err, ERR_PEER, "an OCSP response with a malformed time");
    if (ret->this_update > now + SKEW_SECONDS)
        return err_set(err, ERR_PEER, "an OCSP response from the future");
    if (until ? ret->until <= now : ret->this_update < now - AGE_MAX)
        return err_set(err, ERR_PEER, "an OCSP response that has expired");
    if (!until)
        ret->until = now + USE_SECONDS;
    ret->status = status == V_OCSP_CERTSTATUS_GOOD      ? OCSP_GOOD
                  : status == V_OCSP_CERTSTATUS_REVOKED ? OCSP_REVOKED
                                                        : OCSP_UNKNOWN;
    return true;
}

/* Of several answers about one certificate, the worst counts. */
static bool find(OCSP_BASICRESP *basic, const struct ocsp_question *question, int64_t now,
                 struct ocsp_answer *ret, struct err *err)
{
    static const int severity[] = {[OCSP_GOOD] = 0, [OCSP_UNKNOWN] = 1, [OCSP_REVOKED] = 2};
    int64_t end = 0;
    bool any = false;
    bool expired = take_time(X509_get0_notAfter(question->subject), &end) && end < now;
    for (int at = OCSP_resp_find(basic, question->id, -1); at >= 0;
         at = OCSP_resp_find(basic, question->id, at)) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, at);
        struct ocsp_answer answer = {0};
        if (!take_single(single, now, &answer, err))
            return false;
        if (expired && answer.status == OCSP_GOOD && !reaches_back(single, end))
            answer.status = OCSP_UNKNOWN;
        if (!any || severity[answer.status] > severity[ret->status])
            *ret = answer;
        any = true;
    }
    return any || err_set(err, ERR_PEER, "an OCSP response about another certificate");
}

bool ocsp_response_read(struct bytes der, const struct ocsp_question *question, int64_t now,
                        struct ocsp_answer *ret, struct err *err)
{
    OCSP_BASICRESP *basic = parse(der, err);
    if (!basic)
        return false;
    bool ok = strong_check(OCSP_resp_get0_tbs_sigalg(basic), "an OCSP response", err) &&
              check_signer(basic, question->issuer, now, err) && critical_free(basic, err);
    /* 0: they differ; -1: left out, which cached answers have to. */
    if (ok && OCSP_check_nonce(question->request, basic) == 0)
        ok = err_set(err, ERR_PEER, "an OCSP response to another request");
    ok = ok && find(basic, question, now, ret, err);
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
    return ok;
}
