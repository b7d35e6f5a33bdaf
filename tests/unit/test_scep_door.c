#include "tests/support/scep_calls.h"

#include "base/text.h"

#include <openssl/objects.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The capabilities are a line each; the weak ones are told only where they are taken, and message=
 * is ignored. */
static void test_caps(void **state)
{
    static const char modern[] =
        "POSTPKIOperation\nRenewal\nSHA-256\nSHA-384\nSHA-512\nAES\nSCEPStandard\n";
    static const char *const queries[] = {"operation=GetCACaps", "operation=GetCACaps&message=0",
                                          "message=default&operation=GetCACaps"};
    struct fixture *f = *state;
    for (size_t i = 0; i < 3; i++) {
        struct scep_reply reply = get(f, queries[i]);
        assert_int_equal(reply.status, 200);
        assert_string_equal(reply.content_type, "text/plain");
        assert_string_equal(buf_str(&reply.body), modern);
        assert_string_equal(reply.note.operation, "GetCACaps");
        assert_string_equal(reply.note.outcome, "answered");
        scep_reply_clear(&reply);
    }
    f->profile.scep.legacy = CFG_LEGACY_DES3_SHA1;
    struct scep_reply reply = get(f, queries[0]);
    assert_memory_equal(buf_str(&reply.body), modern, strlen(modern));
    assert_string_equal(buf_str(&reply.body) + strlen(modern), "DES3\nSHA-1\n");
    scep_reply_clear(&reply);
    f->profile.scep.legacy = CFG_LEGACY_DES_MD5; /* for which there are no words */
    reply = get(f, queries[0]);
    assert_string_equal(buf_str(&reply.body) + strlen(modern), "DES3\nSHA-1\n");
    scep_reply_clear(&reply);
}

static void assert_bag(struct scep_reply *reply, struct cert *const *want, size_t count)
{
    struct cert **certs = NULL;
    size_t found = 0;
    struct err err;
    assert_int_equal(reply->status, 200);
    assert_string_equal(reply->content_type, "application/x-x509-ca-ra-cert");
    assert_true(scep_certs_decode(buf_bytes(&reply->body), &certs, &found, &err));
    assert_int_equal(found, count);
    for (size_t i = 0; i < found; i++) {
        assert_true(bytes_equal(cert_der_get(certs[i]), cert_der_get(want[i])));
        cert_free(certs[i]);
    }
    free(certs);
    scep_reply_clear(reply);
}

/* GetCACert gives the RA, then the CA's chain; a CA that is its own RA is not named twice, and
 * alone it comes bare. */
static void test_ca_cert(void **state)
{
    struct fixture *f = *state;
    struct cert *with_ra[] = {f->ra[RA_NEW], f->issuer, f->root};
    struct cert *without[] = {f->issuer, f->root};
    struct scep_reply reply = get(f, "operation=GetCACert&message=CAIdentifier");
    assert_bag(&reply, with_ra, 3);
    f->identities[RA_NEW].chain.items = &f->issuer;
    reply = get(f, "operation=GetCACert");
    assert_bag(&reply, without, 2);

    f->identities[RA_NEW].chain.items = &f->root;
    struct cfg_certs alone = {&f->root, 1}, *chain;
    struct err err;
    assert_true(f->upstream->vt->chain(f->upstream, (const struct cfg_certs **)&chain, &err));
    *chain = alone;
    reply = get(f, "operation=GetCACert");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.content_type, "application/x-x509-ca-cert");
    assert_true(bytes_equal(buf_bytes(&reply.body), cert_der_get(f->root)));
    scep_reply_clear(&reply);
}

/* A CA that cannot give its chain is our fault: 503, without telling why. */
static void test_ca_cert_fault(void **state)
{
    struct fixture *f = *state;
    asked.chain_fails = true;
    struct scep_reply reply = get(f, "operation=GetCACert");
    assert_int_equal(reply.status, 503);
    assert_true(reply.note.fault);
    assert_null(strstr(buf_str(&reply.body), OPERATOR_TEXT));
    assert_non_null(strstr(reply.note.detail, OPERATOR_TEXT));
    scep_reply_clear(&reply);
}

/* What is not served is refused in plain text, and GetNextCACert is no server error (MikroTik). */
static void test_operations(void **state)
{
    static const struct {
        const char *query;
        int status;
    } rows[] = {
        {"operation=GetNextCACert", 404},
        {"operation=getcacaps", 400},
        {"operation=GetCRL", 400},
        {"operation=", 400},
        {"", 400},
        {"message=AAAA", 400},
        {"operation=PKIOperation", 400},
        {"operation=PKIOperation&message=", 400},
        {"operation=PKIOperation&message=%%%", 400},
        {"operation=PKIOperation&message=AAAA", 400},
        {"operation=PKIOperation&message=../../etc/passwd", 400},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scep_reply reply = get(f, rows[i].query);
        assert_int_equal(reply.status, rows[i].status);
        assert_string_equal(reply.content_type, "text/plain");
        assert_string_equal(reply.note.outcome, "refused");
        assert_true(reply.body.len > 0 && reply.body.len < 100);
        scep_reply_clear(&reply);
    }
    assert_int_equal(asked.calls, 0);
}

/* A PKCSReq becomes a request with the signer's key as proof and the challenge as evidence, and its
 * answer is the certificate alone. */
static void test_enroll(void **state)
{
    struct fixture *f = *state;
    struct scep_reply reply = post_made(f, NULL, NULL);
    assert_string_equal(reply.note.operation, "PKCSReq");
    assert_string_equal(reply.note.request_id, REQUEST_ID);
    assert_non_null(strstr(reply.note.subject, "CN=device"));
    assert_string_equal(reply.note.txn, "5E0D/txn+7=");
    assert_success(f, &reply, &f->issued, 1);
    assert_int_equal(asked.calls, 1);
    assert_int_equal(asked.op, RA_ENROLL);
    assert_true(asked.over_cms);
    assert_false(asked.principal || asked.label);
    assert_string_equal(asked.challenge, CHALLENGE);
    assert_string_equal(asked.txn, TXN);
    assert_string_equal(asked.origin, "192.0.2.7");
    assert_true(bytes_equal(buf_bytes(&asked.holder), cert_der_get(f->device)));
    assert_true(bytes_equal(buf_bytes(&asked.csr), buf_bytes(&f->csr)));
}

/* The chain that goes with the leaf is the profile's choice; the leaf is first (Apple). */
static void test_chain(void **state)
{
    struct fixture *f = *state;
    struct cert *want[] = {f->issued, f->issuer, f->root};
    static const size_t counts[] = {
        [CFG_CHAIN_LEAF] = 1, [CFG_CHAIN_ISSUER] = 2, [CFG_CHAIN_FULL] = 3};
    for (size_t i = 0; i < 3; i++) {
        f->profile.scep.chain = (enum cfg_scep_chain)i;
        struct scep_reply reply = post_made(f, NULL, NULL);
        assert_success(f, &reply, want, counts[i]);
    }
}

/* The reply has the digest and the cipher of the request, and is never the same twice: jscep
 * rejects a senderNonce that it has seen. */
static void test_mirror(void **state)
{
    static const int digests[] = {NID_sha1, NID_sha256, NID_sha384, NID_sha512};
    static const int ciphers[] = {NID_aes_128_cbc, NID_aes_192_cbc, NID_aes_256_cbc,
                                  NID_des_ede3_cbc};
    struct fixture *f = *state;
    struct scep_key key = {f->device, f->device_key};
    struct scep_opener opener = {&key, 1, true};
    uint8_t last[SCEP_NONCE_LEN] = {0};
    f->profile.scep.legacy = CFG_LEGACY_DES3_SHA1;
    for (size_t d = 0; d < 4; d++)
        for (size_t c = 0; c < 4; c++) {
            struct scep_make make = good(f);
            struct scep_make_envelope seal = {.recipient = f->ra[RA_NEW], .cipher = ciphers[c]};
            struct buf bag = {0};
            struct err err;
            int cipher;
            make.digest = digests[d];
            struct scep_reply reply = post_made(f, &make, &seal);
            struct scep_msg *msg = rep_of(f, &reply);
            assert_int_equal(scep_msg_algs_get(msg).digest, digests[d]);
            assert_true(scep_msg_open(msg, &opener, &bag, &cipher, &err));
            assert_int_equal(cipher, ciphers[c]);
            assert_memory_not_equal(scep_msg_nonce_get(msg).ptr, last, SCEP_NONCE_LEN);
            memcpy(last, scep_msg_nonce_get(msg).ptr, SCEP_NONCE_LEN);
            buf_free(&bag);
            scep_msg_free(msg);
            scep_reply_clear(&reply);
        }
}

/* POST without an operation is a PKIOperation; with another one it is refused. */
static void test_post(void **state)
{
    static const struct {
        const char *query;
        int status;
    } rows[] = {{"", 200},
                {"x=y", 200},
                {"operation=PKIOperation", 200},
                {"operation=GetCACaps", 400},
                {"operation=pkioperation", 400}};
    struct fixture *f = *state;
    struct buf der = message_of(f, NULL, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scep_reply reply;
        struct scep_call call = {.settings = &f->settings,
                                 .profile = &f->profile,
                                 .query = bytes_str(rows[i].query),
                                 .post = true,
                                 .body = buf_bytes(&der),
                                 .origin = "192.0.2.7"};
        scep_door_handle(f->ra_object, &call, &reply);
        assert_int_equal(reply.status, rows[i].status);
        scep_reply_clear(&reply);
    }
    buf_free(&der);
    assert_int_equal(asked.calls, 3);
}

/* By GET the same message arrives, escaped as the standard says or as Apple does it. */
static void test_get(void **state)
{
    struct fixture *f = *state;
    struct buf der = message_of(f, NULL, NULL), text = {0};
    assert_true(text_base64_encode(buf_bytes(&der), 0, &text));
    for (int escaped = 0; escaped < 2; escaped++) {
        struct buf query = {0};
        assert_true(buf_add_str(&query, "operation=PKIOperation&message="));
        for (size_t i = 0; i < text.len; i++)
            if (strchr("+/=", text.ptr[i]) && (escaped || text.ptr[i] == '='))
                assert_true(buf_add_fmt(&query, "%%%02X", text.ptr[i]));
            else
                assert_true(buf_add_u8(&query, text.ptr[i]));
        struct scep_reply reply = get(f, buf_str(&query));
        assert_success(f, &reply, &f->issued, 1);
        assert_true(bytes_equal(buf_bytes(&asked.csr), buf_bytes(&f->csr)));
        buf_free(&query);
    }
    assert_int_equal(asked.calls, 2);
    buf_free(&der);
    buf_free(&text);
}

/* A RenewalReq asks to renew, with the certificate that signed it as the proof. */
static void test_renew(void **state)
{
    struct fixture *f = *state;
    struct scep_make make = good(f);
    make.type = "17";
    struct scep_reply reply = post_made(f, &make, NULL);
    assert_string_equal(reply.note.operation, "RenewalReq");
    assert_success(f, &reply, &f->issued, 1);
    assert_int_equal(asked.op, RA_RENEW);
    assert_true(bytes_equal(buf_bytes(&asked.holder), cert_der_get(f->device)));
}

/* A CertPoll asks by transaction and key; what it says about issuer and subject is not looked at.
 */
static void test_poll(void **state)
{
    struct fixture *f = *state;
    struct buf content = {0};
    assert_true(scep_poll_content(cert_issuer_get(f->victim), cert_issuer_get(f->root), &content));
    struct buf envelope = sealed(f, NULL, buf_bytes(&content));
    struct scep_make make = good(f);
    make.type = "20";
    make.content = buf_bytes(&envelope);
    struct scep_reply reply = post_made(f, &make, NULL);
    assert_string_equal(reply.note.operation, "CertPoll");
    assert_success(f, &reply, &f->issued, 1);
    assert_int_equal(asked.op, RA_POLL);
    assert_true(asked.over_cms);
    assert_string_equal(asked.challenge, "");
    assert_string_equal(asked.txn, TXN);
    assert_true(bytes_equal(buf_bytes(&asked.holder), cert_der_get(f->device)));
    buf_free(&envelope);
    buf_free(&content);
}

/* A request that waits is PENDING, without an envelope. */
static void test_pending(void **state)
{
    struct fixture *f = *state;
    asked.answer.status = RA_PENDING;
    asked.answer.cert = NULL;
    struct scep_reply reply = post_made(f, NULL, NULL);
    struct scep_msg *msg = rep_of(f, &reply);
    assert_int_equal(scep_msg_status_get(msg), SCEP_PENDING);
    assert_int_equal(scep_msg_fail_get(msg), -1);
    assert_int_equal(scep_msg_content_get(msg).len, 0);
    assert_string_equal(reply.note.outcome, "pending");
    assert_string_equal(reply.delivers, "");
    scep_msg_free(msg);
    scep_reply_clear(&reply);
}

/* Every refusal is a signed FAILURE: badCertId for an unknown transaction, else badRequest. */
static void test_reasons(void **state)
{
    struct fixture *f = *state;
    for (int reason = RA_NO_EVIDENCE; reason < RA_REASON_COUNT; reason++) {
        asked.answer = (struct ra_outcome){.status = RA_REFUSED, .reason = (enum ra_reason)reason};
        snprintf(asked.answer.detail, sizeof asked.answer.detail, OPERATOR_TEXT);
        struct scep_reply reply = post_made(f, NULL, NULL);
        assert_string_equal(reply.note.reason, ra_reason_name((enum ra_reason)reason));
        assert_non_null(strstr(reply.note.detail, OPERATOR_TEXT));
        assert_false(memmem(reply.body.ptr, reply.body.len, OPERATOR_TEXT, strlen(OPERATOR_TEXT)));
        assert_failure(f, &reply,
                       reason == RA_UNKNOWN_TXN || reason == RA_UNKNOWN_CERT ? SCEP_BAD_CERT_ID
                                                                             : SCEP_BAD_REQUEST);
    }
}

/* Where the ra could not decide, or the chain is not to be had, the device may come again: 503. */
static void test_faults(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        asked.fails = i == 0;
        asked.chain_fails = i == 1;
        f->profile.scep.chain = CFG_CHAIN_FULL;
        struct scep_reply reply = post_made(f, NULL, NULL);
        assert_int_equal(reply.status, 503);
        assert_string_equal(reply.content_type, "text/plain");
        assert_true(reply.note.fault);
        assert_string_equal(reply.note.outcome, "error");
        assert_string_equal(reply.delivers, "");
        assert_null(strstr(buf_str(&reply.body), OPERATOR_TEXT));
        scep_reply_clear(&reply);
    }
}

/* The reply can be opened by who signed the request, and not by another certificate in its bag. */
static void test_envelope_for_signer(void **state)
{
    struct fixture *f = *state;
    struct bytes certs[] = {cert_der_get(f->victim), cert_der_get(f->device)};
    struct scep_make make = good(f);
    make.certs = certs;
    make.cert_count = 2;
    struct scep_reply reply = post_made(f, &make, NULL);
    struct scep_msg *msg = rep_of(f, &reply);
    struct scep_key key = {f->victim, f->victim_key};
    struct scep_opener opener = {&key, 1, true};
    struct buf content = {0};
    struct err err;
    int cipher;
    assert_false(scep_msg_open(msg, &opener, &content, &cipher, &err));
    assert_non_null(strstr(err.text, "none of"));
    scep_msg_free(msg);
    assert_success(f, &reply, &f->issued, 1);
    assert_true(bytes_equal(buf_bytes(&asked.holder), cert_der_get(f->device)));
}

/* BER on the way in, as Apple's devices write it, is the same request. */
static void test_indefinite(void **state)
{
    struct fixture *f = *state;
    struct buf envelope = sealed(f, NULL, buf_bytes(&f->csr)), inner = {0}, outer = {0};
    struct scep_make make = good(f);
    scep_make_indefinite(buf_bytes(&envelope), &inner);
    make.content = buf_bytes(&inner);
    struct buf der = message_of(f, &make, NULL);
    scep_make_indefinite(buf_bytes(&der), &outer);
    struct scep_reply reply = post(f, buf_bytes(&outer));
    assert_success(f, &reply, &f->issued, 1);
    assert_true(bytes_equal(buf_bytes(&asked.csr), buf_bytes(&f->csr)));
    buf_free(&envelope);
    buf_free(&inner);
    buf_free(&outer);
    buf_free(&der);
}

/* RSAES-OAEP on the way in, as Windows does it; a serial or a key identifier names the RA. */
static void test_oaep(void **state)
{
    struct fixture *f = *state;
    struct scep_make_envelope seal = {.recipient = f->ra[RA_NEW], .oaep = NID_sha1};
    struct scep_reply reply = post_made(f, NULL, &seal);
    assert_success(f, &reply, &f->issued, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, scep_calls_reset)
    const struct CMUnitTest tests[] = {
        T(test_caps),       T(test_ca_cert),    T(test_ca_cert_fault),
        T(test_operations), T(test_enroll),     T(test_chain),
        T(test_mirror),     T(test_post),       T(test_get),
        T(test_renew),      T(test_poll),       T(test_pending),
        T(test_reasons),    T(test_faults),     T(test_envelope_for_signer),
        T(test_oaep),       T(test_indefinite),
    };
    return cmocka_run_group_tests(tests, scep_calls_setup, scep_calls_teardown);
}
