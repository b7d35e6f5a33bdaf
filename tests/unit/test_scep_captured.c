#include "tests/support/scep_calls.h"

#include "base/pem.h"
#include "scep/check.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <stdlib.h>
#include <string.h>

/* What tests/data/scep/README tells of a message. */
struct captured {
    const char *file;
    bool verifies;
    int type;
    const char *txn, *signer;
    size_t nonce, recipient_nonce;
    int digest, cipher;
    enum scep_ciphers needs;
};

static const struct captured messages[] = {
    {"windows-PKCSReq.der", true, SCEP_PKCSREQ, "252e27f890ea721a5a5790225ce6b42a02d14fbf",
     "CN=SCEP Protocol Certificate", 16, 0, NID_sha1, NID_aes_128_cbc, SCEP_CIPHERS_AES},
    {"micromdm-PKCSReq.der", true, SCEP_PKCSREQ, "A13090761A30F66664F85D37433D2065E1112BA1",
     "CN=MDM SCEP SIGNER,C=US", 8, 0, NID_sha1, NID_des_ede3_cbc, SCEP_CIPHERS_DES3},
    {"smallstep-CertRep.der", true, SCEP_CERTREP, "A13090761A30F66664F85D37433D2065E1112BA1",
     "C=USA,O=etcd-ca,OU=CA", 0, 8, NID_sha1, NID_des_cbc, SCEP_CIPHERS_DES},
    {"smallstep-CertRep-no-signer-cert.der", false, SCEP_CERTREP,
     "HVvzN0228V+AW+dUuDe8OPyDXD0=", "", 16, 16, NID_sha1, NID_undef, SCEP_CIPHERS_AES},
    {"jscep-req2.der", true, SCEP_PKCSREQ, "7XXEY-ERLPU-2JDR9",
     "C=NZ,O=Dave's Wetaburgers,OU=Procurement,CN=Test SCEP PKI user", 16, 0, NID_sha256,
     NID_aes_128_cbc, SCEP_CIPHERS_AES},
    {"jscep-resp2.der", true, SCEP_CERTREP, "7XXEY-ERLPU-2JDR9",
     "C=NZ,O=Dave's Wetaburgers,OU=SCEP CA cert,CN=Dave's SCEP CA", 0, 16, NID_sha256,
     NID_aes_128_cbc, SCEP_CIPHERS_AES},
};
#define MESSAGE_COUNT (sizeof messages / sizeof messages[0])

static struct buf load(const char *file)
{
    char path[256];
    struct buf der = {0};
    struct err err;
    snprintf(path, sizeof path, "%s/scep/%s", TEST_DATA, file);
    if (!pem_file_read(path, SCEP_MSG_MAX, &der, &err))
        fail_msg("%s", err.text);
    return der;
}

/* Each is read, its signature verified where the signer's certificate is there, and what it says
 * is what was captured. */
static void test_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < MESSAGE_COUNT; i++) {
        const struct captured *m = &messages[i];
        struct buf der = load(m->file);
        struct scep_msg *msg = NULL;
        enum scep_fail fail;
        struct err err = {0};
        bool partial, ok = scep_msg_parse(buf_bytes(&der), &msg, &partial, &fail, &err);
        if (ok != m->verifies)
            fail_msg("%s: %s", m->file, err.text);
        assert_true(partial);
        assert_true(bytes_equal_str(scep_msg_txn_get(msg), m->txn));
        assert_int_equal(scep_msg_nonce_get(msg).len, m->nonce);
        assert_int_equal(scep_msg_algs_get(msg).digest, m->digest);
        if (ok) {
            const struct cert *signer = scep_msg_signer_get(msg);
            assert_int_equal(scep_msg_type_get(msg), m->type);
            assert_int_equal(scep_msg_recipient_nonce_get(msg).len, m->recipient_nonce);
            assert_string_equal(cert_names_get(signer)->subject_text, m->signer);
        }
        scep_msg_free(msg);
        buf_free(&der);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

/* Their envelopes have the shape that is opened, where the cipher is taken and not otherwise. */
static void test_envelopes(void **state)
{
    (void)state;
    for (size_t i = 0; i < MESSAGE_COUNT; i++) {
        const struct captured *m = &messages[i];
        struct buf der = load(m->file);
        struct scep_msg *msg = NULL;
        struct scep_enveloped found;
        enum scep_fail fail;
        struct err err;
        bool partial;
        if (!scep_msg_parse(buf_bytes(&der), &msg, &partial, &fail, &err)) {
            scep_msg_free(msg);
            buf_free(&der);
            continue;
        }
        for (int ciphers = SCEP_CIPHERS_AES; ciphers <= SCEP_CIPHERS_DES; ciphers++)
            assert_int_equal(scep_enveloped_take(scep_msg_content_get(msg),
                                                 (enum scep_ciphers)ciphers, &found, &err),
                             ciphers >= (int)m->needs);
        assert_int_equal(found.cipher, m->cipher);
        assert_int_equal(found.recipient_count, 1);
        assert_true(found.recipients[0].serial.len > 0);
        scep_msg_free(msg);
        buf_free(&der);
    }
}

/* Bare envelopes of the same client, as they went in. */
static void test_bare(void **state)
{
    static const char *const files[] = {"jscep-req1.der", "jscep-resp1.der"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct buf der = load(files[i]);
        struct err err = {0};
        if (!scep_check_enveloped(buf_bytes(&der), SCEP_CIPHERS_AES, &err))
            fail_msg("%s: %s", files[i], err.text);
        assert_false(scep_check_signed(buf_bytes(&der), &err));
        buf_free(&der);
    }
}

/* Cut short anywhere none of them is whole. */
static void test_truncated(void **state)
{
    (void)state;
    for (size_t i = 0; i < MESSAGE_COUNT; i++) {
        struct buf der = load(messages[i].file);
        for (size_t n = 0; n < der.len; n++) {
            struct err err;
            uint8_t *copy = mem_zalloc(n + 1);
            memcpy(copy, der.ptr, n);
            assert_false(scep_check_signed(bytes_of(copy, n), &err));
            free(copy);
        }
        buf_free(&der);
    }
}

/* One changed bit of the signed attributes or of the content, and the signature is wrong. */
static void test_changed(void **state)
{
    (void)state;
    for (size_t i = 0; i < MESSAGE_COUNT; i++) {
        struct buf der = load(messages[i].file);
        struct cms_signed found;
        struct err err;
        assert_true(scep_signed_take(buf_bytes(&der), &found, &err));
        size_t first = (size_t)(found.attributes.ptr - der.ptr);
        for (size_t n = 0; n < found.attributes.len; n += 7) {
            struct scep_msg *msg = NULL;
            enum scep_fail fail;
            bool partial;
            der.ptr[first + n] ^= 1;
            assert_false(scep_msg_parse(buf_bytes(&der), &msg, &partial, &fail, &err));
            der.ptr[first + n] ^= 1;
            scep_msg_free(msg);
        }
        buf_free(&der);
    }
}

/* To the door, requests of real devices for another RA are answered: signed, with the device's own
 * transactionID and nonce, our nonce as long as theirs, and their digest. */
static void test_answered(void **state)
{
    struct fixture *f = *state;
    f->profile.scep.legacy = CFG_LEGACY_DES3_SHA1;
    for (size_t i = 0; i < MESSAGE_COUNT; i++) {
        const struct captured *m = &messages[i];
        if (m->type != SCEP_PKCSREQ)
            continue;
        struct buf der = load(m->file);
        struct scep_reply reply = post(f, buf_bytes(&der));
        struct scep_msg *msg = NULL;
        enum scep_fail fail;
        struct err err;
        bool partial;
        assert_string_equal(reply.content_type, "application/x-pki-message");
        assert_true(scep_msg_parse(buf_bytes(&reply.body), &msg, &partial, &fail, &err));
        assert_int_equal(scep_msg_status_get(msg), SCEP_FAILURE);
        assert_int_equal(scep_msg_fail_get(msg), SCEP_BAD_MESSAGE_CHECK);
        assert_non_null(strstr(reply.note.detail, "none of"));
        assert_true(bytes_equal_str(scep_msg_txn_get(msg), m->txn));
        assert_int_equal(scep_msg_nonce_get(msg).len, m->nonce);
        assert_int_equal(scep_msg_recipient_nonce_get(msg).len, m->nonce);
        assert_int_equal(scep_msg_algs_get(msg).digest, m->digest);
        scep_msg_free(msg);
        scep_reply_clear(&reply);
        buf_free(&der);
    }
    assert_int_equal(asked.calls, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, scep_calls_reset)
    const struct CMUnitTest tests[] = {
        T(test_read),      T(test_envelopes), T(test_bare),
        T(test_truncated), T(test_changed),   T(test_answered),
    };
    return cmocka_run_group_tests(tests, scep_calls_setup, scep_calls_teardown);
}
