/* fullcmc: what another RA hears, in CMC and in HTTP. */
#include "base/clock.h"
#include "base/cms.h"
#include "base/text.h"
#include "est/cmc_reply.h"
#include "tests/support/cmc_make.h"
#include "tests/support/est_calls.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#define NONCE "\x04\x04\x01\x02\x03\x04"
#define STATUS_V2 "\x2b\x06\x01\x05\x05\x07\x07\x19"
#define NOW INT64_C(2000000000)

/* The RA that asks, and what signs replies. */
struct peers {
    EVP_PKEY *key;
    X509 *x509;
    struct cert *cert;
    EVP_PKEY *signer_key;
    struct cert *signer;
    struct cert *signers[1];
};
static struct peers peers;

static int setup(void **state)
{
    assert_int_equal(est_calls_setup(state), 0);
    struct fixture *f = *state;
    struct err err;
    peers.key = make_ec("P-256");
    peers.x509 = make_x509(&(struct make_spec){.subject = "CN=ra"}, peers.key, NULL, NULL);
    assert_true(cert_from_x509(peers.x509, &peers.cert, &err));
    peers.signer_key = make_rsa(2048);
    peers.signer =
        make_cert(&(struct make_spec){.subject = "CN=est"}, peers.signer_key, NULL, NULL);
    peers.signers[0] = peers.signer;
    f->cfg.tls.identity =
        (struct cfg_identity){.chain = {peers.signers, 1}, .key = peers.signer_key};
    return 0;
}

static int teardown(void **state)
{
    EVP_PKEY_free(peers.key);
    X509_free(peers.x509);
    cert_free(peers.cert);
    EVP_PKEY_free(peers.signer_key);
    cert_free(peers.signer);
    return est_calls_teardown(state);
}

static int reset(void **state)
{
    struct fixture *f = *state;
    est_calls_reset(state);
    f->profile.est.fullcmc = CFG_FULLCMC_ALLOW;
    f->profile.retry_window = 86400;
    clock_set(NOW);
    return 0;
}

/* A reply taken apart: its controls, in order, and how many certificates came with it. */
struct answer {
    struct buf content;
    struct est_cmc_control controls[16];
    size_t count;
    int certs;
};

/* Signed by the signer, and PKIResponse in exact form. */
static void open_answer(const struct est_reply *reply, struct answer *ret)
{
    struct buf der = {0};
    struct err err;
    struct der outer, controls, control, oid, values, nested, others;
    char *data;
    assert_string_equal(reply->content_type, "application/pkcs7-mime; smime-type=CMC-response");
    assert_true(reply->base64);
    assert_true(text_base64_decode(buf_bytes(&reply->body), TEXT_BASE64_SPACE, &der, &err));
    const unsigned char *p = der.ptr;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.len);
    BIO *out = BIO_new(BIO_s_mem());
    assert_non_null(cms);
    assert_int_equal(OBJ_obj2nid(CMS_get0_eContentType(cms)), NID_id_cct_PKIResponse);
    assert_int_equal(CMS_verify(cms, NULL, NULL, NULL, out, CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY),
                     1);
    STACK_OF(X509) *signers = CMS_get0_signers(cms);
    assert_int_equal(X509_cmp(sk_X509_value(signers, 0), cert_x509_get(peers.signer)), 0);
    STACK_OF(X509) *certs = CMS_get1_certs(cms);
    *ret = (struct answer){.certs = sk_X509_num(certs) - 1};
    size_t len = (size_t)BIO_get_mem_data(out, &data);
    assert_true(buf_set(&ret->content, bytes_of(data, len)));
    struct bytes cur = buf_bytes(&ret->content);
    assert_true(der_take_tag(&cur, DER_SEQUENCE, &outer) && !cur.len);
    assert_true(der_take_tag(&outer.content, DER_SEQUENCE, &controls) &&
                der_take_tag(&outer.content, DER_SEQUENCE, &nested) && !nested.content.len &&
                der_take_tag(&outer.content, DER_SEQUENCE, &others) && !others.content.len &&
                !outer.content.len);
    while (controls.content.len) {
        struct est_cmc_control *item = &ret->controls[ret->count++];
        assert_true(der_take_tag(&controls.content, DER_SEQUENCE, &control) &&
                    est_cmc_take_id(&control.content, &item->id) &&
                    der_take_tag(&control.content, DER_OID, &oid) &&
                    der_take_tag(&control.content, DER_SET, &values) && !control.content.len);
        bool status = bytes_equal(oid.content, bytes_of(STATUS_V2, 8));
        item->nid = status ? -25 : cms_oid_nid(oid.whole);
        item->values = values.content;
        assert_int_equal(item->id, ret->count);
    }
    sk_X509_free(signers);
    sk_X509_pop_free(certs, X509_free);
    BIO_free(out);
    CMS_ContentInfo_free(cms);
    buf_free(&der);
    ERR_clear_error();
}

/* One CMCStatusInfoV2. */
struct said {
    uint32_t code, fail; /* fail UINT32_MAX: none */
    uint32_t ids[4];
    size_t id_count;
    char token[80], text[128], time[24];
};

static bool said_at(const struct answer *answer, size_t number, struct said *ret)
{
    struct der info, list, text, pending, token, time;
    *ret = (struct said){.fail = UINT32_MAX};
    for (size_t i = 0; i < answer->count; i++) {
        struct bytes cur = answer->controls[i].values;
        if (answer->controls[i].nid != -25 || number-- > 0)
            continue;
        assert_true(der_take_tag(&cur, DER_SEQUENCE, &info) && !cur.len);
        assert_true(est_cmc_take_id(&info.content, &ret->code) &&
                    der_take_tag(&info.content, DER_SEQUENCE, &list));
        while (list.content.len)
            assert_true(est_cmc_take_id(&list.content, &ret->ids[ret->id_count++]));
        if (der_take_tag(&info.content, DER_UTF8_STRING, &text))
            snprintf(ret->text, sizeof ret->text, "%.*s", (int)text.content.len, text.content.ptr);
        if (der_next_is(info.content, DER_INTEGER))
            assert_true(est_cmc_take_id(&info.content, &ret->fail));
        if (der_take_tag(&info.content, DER_SEQUENCE, &pending)) {
            assert_true(der_take_tag(&pending.content, DER_OCTET_STRING, &token) &&
                        der_take_tag(&pending.content, 0x18, &time) && !pending.content.len);
            snprintf(ret->token, sizeof ret->token, "%.*s", (int)token.content.len,
                     token.content.ptr);
            snprintf(ret->time, sizeof ret->time, "%.*s", (int)time.content.len, time.content.ptr);
        }
        assert_int_equal(info.content.len, 0);
        return true;
    }
    return false;
}

static const struct est_cmc_control *control_of(const struct answer *answer, int nid)
{
    for (size_t i = 0; i < answer->count; i++)
        if (answer->controls[i].nid == nid)
            return &answer->controls[i];
    return NULL;
}

static struct est_reply send_der(const struct fixture *f, struct bytes der)
{
    struct buf body = {0};
    struct est_call call = call_of(f, EST_FULLCMC);
    assert_true(text_base64_encode(der, 64, &body));
    call.body = buf_bytes(&body);
    call.content_type = bytes_str("application/pkcs7-mime; smime-type=CMC-request");
    struct est_reply reply = handle(f, &call);
    buf_free(&body);
    return reply;
}

/* Signs the parts by the RA, sends them, and frees them. */
static struct est_reply send_parts(const struct fixture *f, struct cmc *cmc)
{
    struct buf data = cmc_data(cmc);
    struct buf der = cmc_sign(
        buf_bytes(&data), &(struct cmc_sign){.cert = peers.x509, .key = peers.key, .time = NOW});
    struct est_reply reply = send_der(f, buf_bytes(&der));
    buf_free(&der);
    buf_free(&data);
    cmc_free(cmc);
    return reply;
}

static void answer_free(struct est_reply *reply, struct answer *answer)
{
    buf_free(&answer->content);
    est_reply_clear(reply);
}

/* Off unless the profile says otherwise. */
static void test_off(void **state)
{
    struct fixture *f = *state;
    struct cmc cmc = {0};
    f->profile.est.fullcmc = CFG_FULLCMC_OFF;
    cmc_add_pkcs10(&cmc, 1, buf_bytes(&f->csr_der));
    struct est_reply reply = send_parts(f, &cmc);
    assert_int_equal(reply.status, 501);
    assert_int_equal(asked.calls, 0);
    est_reply_clear(&reply);
}

/* Where auth has no certificate, a signer proves nothing by one; a registrar does. */
static void test_auth(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct cert *listed;
    f->profile.est.auth_certificate = false;
    assert_true(cert_from_x509(peers.x509, &listed, &err));
    for (unsigned count = 0; count < 2; count++) {
        struct cmc cmc = {0};
        f->profile.registrars = (struct cfg_certs){&listed, count};
        cmc_add_pkcs10(&cmc, 1, buf_bytes(&f->csr_der));
        struct est_reply reply = send_parts(f, &cmc);
        assert_int_equal(reply.status, count ? 200 : 403);
        assert_int_equal(asked.calls, count);
        est_reply_clear(&reply);
    }
    f->profile.registrars = (struct cfg_certs){0};
    cert_free(listed);
}

/* A PKCS #10 request goes the one path, with the signer's key as evidence; the certificate comes
 * back with its chain, nonces and transaction as RFC 5272 has them. */
static void test_issued(void **state)
{
    struct fixture *f = *state;
    struct cmc cmc = {0};
    struct answer answer;
    struct said said;
    cmc_add_control(&cmc, 1, CMC_TRANSACTION, bytes_of("\x02\x02\x12\x34", 4));
    cmc_add_control(&cmc, 2, CMC_SENDER_NONCE, bytes_of(NONCE, 6));
    cmc_add_control(&cmc, 3, "1.3.6.1.5.5.7.7.4", bytes_of("\x04\x01x", 3)); /* dataReturn */
    cmc_add_pkcs10(&cmc, 77, buf_bytes(&f->csr_der));
    struct est_reply reply = send_parts(f, &cmc);
    open_answer(&reply, &answer);
    assert_int_equal(reply.status, 200);
    assert_int_equal(answer.certs, 3); /* its own, issuing and root */
    assert_true(said_at(&answer, 0, &said));
    assert_int_equal(said.code, EST_CMC_SUCCESS);
    assert_int_equal(said.id_count, 1);
    assert_int_equal(said.ids[0], 77);
    assert_int_equal(said.fail, UINT32_MAX);
    assert_false(said_at(&answer, 1, &said));
    assert_true(bytes_equal(control_of(&answer, NID_id_cmc_transactionId)->values,
                            bytes_of("\x02\x02\x12\x34", 4)));
    assert_true(
        bytes_equal(control_of(&answer, NID_id_cmc_recipientNonce)->values, bytes_of(NONCE, 6)));
    assert_true(
        bytes_equal(control_of(&answer, NID_id_cmc_dataReturn)->values, bytes_of("\x04\x01x", 3)));
    assert_int_equal(control_of(&answer, NID_id_cmc_senderNonce)->values.len, 18);
    assert_int_equal(asked.op, RA_ENROLL);
    assert_true(asked.over_cms);
    assert_true(bytes_equal(buf_bytes(&asked.csr), buf_bytes(&f->csr_der)));
    assert_int_equal(asked.txn_len, 64);
    assert_string_equal(asked.label, "vpn");
    assert_string_equal(reply.delivers, REQUEST_ID);
    assert_string_equal(reply.note.outcome, "issued");
    answer_free(&reply, &answer);
}

/* A certificate that leads to the signer as well as to the one issued is in the reply once. */
static void test_shared_chain(void **state)
{
    struct fixture *f = *state;
    struct cmc cmc = {0};
    struct answer answer;
    struct cert *chain[] = {peers.signer, f->ca[ISSUING], f->ca[ROOT]};
    f->cfg.tls.identity.chain = (struct cfg_certs){chain, 3};
    cmc_add_pkcs10(&cmc, 1, buf_bytes(&f->csr_der));
    struct est_reply reply = send_parts(f, &cmc);
    f->cfg.tls.identity.chain = (struct cfg_certs){peers.signers, 1};
    open_answer(&reply, &answer);
    assert_int_equal(reply.status, 200);
    assert_int_equal(answer.certs, 3);
    answer_free(&reply, &answer);
}

/* Of several requests each has its own status: one refusal hinders no other, the reply is 200. */
static void test_several(void **state)
{
    struct fixture *f = *state;
    struct cmc cmc = {0};
    struct answer answer;
    struct said said[3];
    asked.refuses_at = 2;
    for (uint32_t i = 1; i <= 3; i++)
        cmc_add_pkcs10(&cmc, i, buf_bytes(&f->csr_der));
    struct est_reply reply = send_parts(f, &cmc);
    open_answer(&reply, &answer);
    assert_int_equal(reply.status, 200);
    for (size_t i = 0; i < 3; i++) {
        assert_true(said_at(&answer, i, &said[i]));
        assert_int_equal(said[i].ids[0], i + 1);
        assert_int_equal(said[i].code, i == 1 ? EST_CMC_FAILED : EST_CMC_SUCCESS);
    }
    assert_int_equal(said[1].fail, EST_CMC_BAD_REQUEST);
    assert_string_equal(said[1].text, "refused: bad-names");
    assert_int_equal(asked.calls, 3);
    assert_int_equal(reply.more_count, 1);
    assert_string_equal(reply.delivers_more[0], REQUEST_ID);
    answer_free(&reply, &answer);
}

/* RFC 5272 section 6.13: what waits has a token and a time; its repetition has the same token, and
 * another transaction another one. Whoever asks by the token polls, and has no new pendInfo. */
static void test_pending(void **state)
{
    struct fixture *f = *state;
    struct answer answer;
    struct said said, other;
    char token[80] = "";
    asked.answer = (struct ra_outcome){.status = RA_PENDING, .retry_after = 60};
    for (unsigned i = 0; i < 3; i++) {
        struct cmc cmc = {0};
        cmc_add_control(&cmc, 1, CMC_TRANSACTION,
                        i == 2 ? bytes_of("\x02\x01\x09", 3) : bytes_of("\x02\x01\x08", 3));
        cmc_add_pkcs10(&cmc, 5, buf_bytes(&f->csr_der));
        struct est_reply reply = send_parts(f, &cmc);
        open_answer(&reply, &answer);
        assert_int_equal(reply.status, 202);
        assert_true(said_at(&answer, 0, &said));
        assert_int_equal(said.code, EST_CMC_PENDING);
        assert_string_equal(said.token, asked.txn);
        assert_string_equal(said.time, "20330518033420Z");
        if (i)
            assert_true((strcmp(token, said.token) == 0) == (i == 1));
        else
            memcpy(token, said.token, sizeof token);
        assert_int_equal(answer.certs, 0);
        answer_free(&reply, &answer);
    }
    struct buf value = {0};
    struct cmc query = {0};
    assert_true(der_add(&value, DER_OCTET_STRING, bytes_str(token)));
    cmc_add_control(&query, 9, CMC_QUERY, buf_bytes(&value));
    cmc_add_control(&query, 10, CMC_RECIPIENT_NONCE, bytes_of(NONCE, 6));
    struct est_reply reply = send_parts(f, &query);
    open_answer(&reply, &answer);
    assert_int_equal(asked.op, RA_POLL);
    assert_string_equal(asked.txn, token);
    assert_true(said_at(&answer, 0, &other));
    assert_int_equal(other.ids[0], 9);
    assert_int_equal(other.code, EST_CMC_PENDING);
    assert_string_equal(other.token, "");
    answer_free(&reply, &answer);
    buf_free(&value);
}

/* Whatever is refused, or is no message, has its HTTP status and a CMC body with its code. */
static void check_refused(struct est_reply reply, int status, uint32_t fail, uint32_t id)
{
    struct answer answer;
    struct said said;
    open_answer(&reply, &answer);
    if (reply.status != status)
        fail_msg("%d instead of %d: %s", reply.status, status, reply.note.detail);
    assert_true(said_at(&answer, 0, &said));
    assert_int_equal(said.code, EST_CMC_FAILED);
    assert_int_equal(said.fail, fail);
    assert_int_equal(said.ids[0], id);
    assert_int_equal(said.id_count, 1);
    assert_int_equal(answer.certs, 0);
    assert_null(strstr(said.text, OPERATOR_TEXT));
    assert_string_equal(reply.delivers, "");
    assert_true(reply.note.detail[0]);
    answer_free(&reply, &answer);
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum ra_reason reason;
        int status;
        uint32_t fail;
    } rows[] = {
        {RA_BAD_NAMES, 403, EST_CMC_BAD_REQUEST},
        {RA_BAD_CHALLENGE, 403, EST_CMC_BAD_IDENTITY},
        {RA_BAD_RENEWAL, 403, EST_CMC_BAD_IDENTITY},
        {RA_BAD_EXTENSION, 403, EST_CMC_UNSUPPORTED_EXT},
        {RA_OVER_QUOTA, 429, EST_CMC_TRY_LATER},
        {RA_KEY_REUSED, 403, EST_CMC_NO_KEY_REUSE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cmc cmc = {0};
        asked.answer = (struct ra_outcome){.status = RA_REFUSED, .reason = rows[i].reason};
        cmc_add_pkcs10(&cmc, 4, buf_bytes(&f->csr_der));
        check_refused(send_parts(f, &cmc), rows[i].status, rows[i].fail, 4);
    }
}

/* What could not be decided is to be asked again later: 503 with its CMC body. */
static void test_fault(void **state)
{
    struct fixture *f = *state;
    struct cmc cmc = {0};
    asked.fails = true;
    cmc_add_pkcs10(&cmc, 4, buf_bytes(&f->csr_der));
    struct est_reply reply = send_parts(f, &cmc);
    assert_int_equal(reply.retry_after, 30);
    assert_true(reply.note.fault);
    check_refused(reply, 503, EST_CMC_TRY_LATER, 4);
}

/* A CSR over SHA-1 is badAlg, one that its own key did not sign popFailed, one that is none
 * badRequest; the ra hears of none. */
static void test_possession(void **state)
{
    struct fixture *f = *state;
    struct buf bad = make_req_der(&(struct make_spec){"CN=x", .digest = "SHA1"}, f->key);
    struct cmc old = {0}, cmc = {0}, odd = {0};
    cmc_add_pkcs10(&old, 4, buf_bytes(&bad));
    check_refused(send_parts(f, &old), 400, EST_CMC_BAD_ALG, 4);
    bad.ptr[bad.len - 3] ^= 1;
    cmc_add_pkcs10(&cmc, 4, buf_bytes(&bad));
    check_refused(send_parts(f, &cmc), 400, EST_CMC_POP_FAILED, 4);
    cmc_add_pkcs10(&odd, 4, bytes_of("\x30\x00", 2));
    check_refused(send_parts(f, &odd), 400, EST_CMC_BAD_REQUEST, 4);
    assert_int_equal(asked.calls, 0);
    buf_free(&bad);
}

/* A CRMF request is proved by its own signature and goes on without one; without proof, or by the
 * RA's word, it does not. */
static void test_crmf(void **state)
{
    struct fixture *f = *state;
    struct cmc good = {0}, none = {0}, vouched = {0};
    struct answer answer;
    struct csr *csr;
    struct err err;
    cmc_add_crmf(&good, 6, &(struct cmc_crmf){.key = f->key, .popo = 1});
    struct est_reply reply = send_parts(f, &good);
    open_answer(&reply, &answer);
    assert_int_equal(reply.status, 200);
    assert_int_equal(asked.calls, 1);
    assert_true(csr_parse(buf_bytes(&asked.csr), &csr, &err));
    assert_false(csr_is_signed(csr));
    csr_free(csr);
    answer_free(&reply, &answer);
    cmc_add_crmf(&none, 6, &(struct cmc_crmf){.key = f->key, .popo = -1});
    check_refused(send_parts(f, &none), 400, EST_CMC_POP_REQUIRED, 6);
    cmc_add_crmf(&vouched, 6, &(struct cmc_crmf){.key = f->key, .popo = 0});
    check_refused(send_parts(f, &vouched), 400, EST_CMC_POP_FAILED, 6);
    assert_int_equal(asked.calls, 1);
}

/* One control that is not known, malformed or there twice fails the whole message, and no request
 * of it is taken up. */
static void test_controls(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *oid;
        struct bytes value;
        uint32_t fail;
    } rows[] = {
        {"1.3.6.1.5.5.7.7.17", {(const uint8_t *)"\x30\x00", 2}, EST_CMC_BAD_REQUEST},
        {"1.3.6.1.5.5.7.7.2", {(const uint8_t *)"\x0c\x01x", 3}, EST_CMC_BAD_REQUEST},
        {"1.2.3.4", {(const uint8_t *)"\x05\x00", 2}, EST_CMC_BAD_REQUEST},
        {CMC_TRANSACTION, {(const uint8_t *)"\x04\x01x", 3}, EST_CMC_BAD_REQUEST},
        {CMC_TRANSACTION, {(const uint8_t *)"", 0}, EST_CMC_BAD_REQUEST},
        {CMC_QUERY, {(const uint8_t *)"\x04\x00", 2}, EST_CMC_BAD_REQUEST},
        {CMC_SENDER_NONCE, {(const uint8_t *)NONCE NONCE, 12}, EST_CMC_BAD_REQUEST},
        {"1.3.6.1.5.5.7.7.11", {(const uint8_t *)"\x30\x00", 2}, EST_CMC_POP_FAILED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cmc cmc = {0};
        cmc_add_control(&cmc, 8, rows[i].oid, rows[i].value);
        cmc_add_pkcs10(&cmc, 4, buf_bytes(&f->csr_der));
        check_refused(send_parts(f, &cmc), 400, rows[i].fail, 8);
    }
    struct cmc twice = {0};
    cmc_add_control(&twice, 7, CMC_SENDER_NONCE, bytes_of(NONCE, 6));
    cmc_add_control(&twice, 8, CMC_SENDER_NONCE, bytes_of(NONCE, 6));
    cmc_add_pkcs10(&twice, 4, buf_bytes(&f->csr_der));
    check_refused(send_parts(f, &twice), 400, EST_CMC_BAD_REQUEST, 8);
    assert_int_equal(asked.calls, 0);
}

/* A request in another form is noSupport, and no other one is processed; messages inside, and a
 * message without anything, are refused too. */
static void test_parts(void **state)
{
    struct fixture *f = *state;
    struct cmc other = {0}, nested = {0}, empty = {0};
    struct answer answer;
    struct said said;
    cmc_add_pkcs10(&other, 1, buf_bytes(&f->csr_der));
    cmc_add_other(&other, 2);
    struct est_reply reply = send_parts(f, &other);
    open_answer(&reply, &answer);
    assert_int_equal(reply.status, 501);
    assert_true(said_at(&answer, 0, &said));
    assert_int_equal(said.code, EST_CMC_NO_SUPPORT);
    assert_int_equal(said.ids[0], 2);
    assert_false(said_at(&answer, 1, &said));
    answer_free(&reply, &answer);
    cmc_add_pkcs10(&nested, 1, buf_bytes(&f->csr_der));
    cmc_add_nested(&nested, 3);
    check_refused(send_parts(f, &nested), 400, EST_CMC_BAD_REQUEST, 3);
    check_refused(send_parts(f, &empty), 400, EST_CMC_BAD_REQUEST, 0);
    assert_int_equal(asked.calls, 0);
}

/* A body that is no message, one whose signature is wrong, and another media type. */
static void test_messages(void **state)
{
    struct fixture *f = *state;
    struct cmc cmc = {0};
    cmc_add_pkcs10(&cmc, 1, buf_bytes(&f->csr_der));
    struct buf data = cmc_data(&cmc);
    struct buf der = cmc_sign(
        buf_bytes(&data), &(struct cmc_sign){.cert = peers.x509, .key = peers.key, .time = NOW});
    check_refused(send_der(f, bytes_str("not a message")), 400, EST_CMC_BAD_REQUEST, 0);
    check_refused(send_der(f, buf_bytes(&f->csr_der)), 400, EST_CMC_BAD_REQUEST, 0);
    der.ptr[der.len - 3] ^= 1;
    check_refused(send_der(f, buf_bytes(&der)), 400, EST_CMC_BAD_MESSAGE_CHECK, 0);
    struct est_call call = call_of(f, EST_FULLCMC);
    check_refused(handle(f, &call), 415, EST_CMC_BAD_REQUEST, 0);
    call.method = "GET";
    struct est_reply reply = handle(f, &call);
    assert_int_equal(reply.status, 405);
    est_reply_clear(&reply);
    assert_int_equal(asked.calls, 0);
    buf_free(&der);
    buf_free(&data);
    cmc_free(&cmc);
}

/* A message that was signed long ago, or in the future, is badTime: sent again by somebody else, it
 * would have a second certificate issued. The signer itself may send it whenever it likes. */
static void test_time(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int64_t at;
        bool fine;
    } rows[] = {{NOW, true},         {NOW + 299, true},    {NOW + 301, false},
                {NOW - 86099, true}, {NOW - 86100, false}, {1, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cmc cmc = {0};
        struct buf body = {0};
        cmc_add_pkcs10(&cmc, 1, buf_bytes(&f->csr_der));
        struct buf data = cmc_data(&cmc);
        struct buf der =
            cmc_sign(buf_bytes(&data),
                     &(struct cmc_sign){.cert = peers.x509, .key = peers.key, .time = rows[i].at});
        struct est_reply reply = send_der(f, buf_bytes(&der));
        assert_int_equal(reply.status, rows[i].fine ? 200 : 400);
        if (!rows[i].fine)
            check_refused(reply, 400, EST_CMC_BAD_TIME, 0);
        else
            est_reply_clear(&reply);
        struct est_call call = call_of(f, EST_FULLCMC);
        assert_true(text_base64_encode(buf_bytes(&der), 64, &body));
        call.body = buf_bytes(&body);
        call.content_type = bytes_str("");
        call.peer = peers.cert;
        reply = handle(f, &call);
        assert_int_equal(reply.status, 200);
        est_reply_clear(&reply);
        buf_free(&body);
        buf_free(&der);
        buf_free(&data);
        cmc_free(&cmc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_off, reset),
        cmocka_unit_test_setup(test_auth, reset),
        cmocka_unit_test_setup(test_issued, reset),
        cmocka_unit_test_setup(test_shared_chain, reset),
        cmocka_unit_test_setup(test_several, reset),
        cmocka_unit_test_setup(test_pending, reset),
        cmocka_unit_test_setup(test_refused, reset),
        cmocka_unit_test_setup(test_fault, reset),
        cmocka_unit_test_setup(test_possession, reset),
        cmocka_unit_test_setup(test_crmf, reset),
        cmocka_unit_test_setup(test_controls, reset),
        cmocka_unit_test_setup(test_parts, reset),
        cmocka_unit_test_setup(test_messages, reset),
        cmocka_unit_test_setup(test_time, reset),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
