#include "tests/support/scep_calls.h"

#include "scep/algs.h"
#include "scep/check.h"
#include "scep/terms.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>

static const int digests[] = {NID_sha256, NID_sha1, NID_md5};
static const int ciphers[] = {NID_aes_128_cbc, NID_des_ede3_cbc, NID_des_cbc};

/* A PKCSReq as an old Cisco router writes it: signed with MD5, the envelope in single DES; and with
 * everything between that and a modern one. The codec's own encoder stands in for the device: the
 * shape is the same. */
static struct scep_reply ask_door(const struct fixture *f, int digest, int cipher)
{
    struct scep_out out = {
        .type = SCEP_PKCSREQ,
        .txn = bytes_str(TXN),
        .sender_nonce = bytes_str(NONCE),
        .content = buf_bytes(&f->csr),
        .recipient = f->ra[RA_NEW],
        .algs = {digest, cipher},
        .signer = {f->device, f->device_key},
    };
    struct buf der = {0};
    struct err err = {0};
    if (!scep_msg_encode(&out, &der, &err))
        fail_msg("%s", err.text);
    struct scep_reply reply = post(f, buf_bytes(&der));
    buf_free(&der);
    return reply;
}

/* SUCCESS with exactly these algorithms, which the note names. */
static void assert_mirrored(const struct fixture *f, struct scep_reply *reply, int digest,
                            int cipher)
{
    struct scep_msg *msg = NULL;
    struct scep_key key = {f->device, f->device_key};
    struct scep_opener opener = {&key, 1, SCEP_CIPHERS_DES};
    struct buf bag = {0};
    struct err err = {0};
    enum scep_fail fail;
    bool partial;
    int found;
    assert_true(scep_msg_parse_md5(buf_bytes(&reply->body), &msg, &partial, &fail, &err));
    assert_int_equal(scep_msg_status_get(msg), SCEP_SUCCESS);
    assert_int_equal(scep_msg_algs_get(msg).digest, digest);
    if (!scep_msg_open(msg, &opener, &bag, &found, &err))
        fail_msg("%s", err.text);
    assert_int_equal(found, cipher);
    const char *old = scep_terms_old((struct scep_algs){digest, cipher});
    if (old)
        assert_string_equal(reply->note.legacy, old);
    else
        assert_null(reply->note.legacy);
    buf_free(&bag);
    scep_msg_free(msg);
    scep_reply_clear(reply);
}

/* Each step of scep.legacy takes one digest and one cipher more, and mirrors them; what is beyond
 * it is refused with badAlg and does not count as used. */
static void test_steps(void **state)
{
    struct fixture *f = *state;
    unsigned calls = 0;
    for (int legacy = CFG_LEGACY_NONE; legacy <= CFG_LEGACY_DES_MD5; legacy++)
        for (int d = 0; d < 3; d++)
            for (int c = 0; c < 3; c++) {
                f->profile.scep.legacy = (enum cfg_scep_legacy)legacy;
                struct scep_reply reply = ask_door(f, digests[d], ciphers[c]);
                if (d <= legacy && c <= legacy) {
                    assert_mirrored(f, &reply, digests[d], ciphers[c]);
                    calls++;
                } else {
                    assert_non_null(strstr(reply.note.reason, "bad-"));
                    if (d <= legacy) { /* else the answer is not in the device's digest */
                        const char *used =
                            scep_terms_old((struct scep_algs){digests[d], NID_undef});
                        assert_true(reply.note.legacy == used);
                    }
                    assert_failure(f, &reply, SCEP_BAD_ALG);
                }
            }
    assert_int_equal(asked.calls, calls);
    assert_int_equal(calls, 1 + 4 + 9);
}

/* A CSR over SHA-1 is taken whatever scep.legacy says, and noted: its signature proves possession
 * of a key over what its holder wrote, for which collisions are of no use, and devices of all kinds
 * that speak AES and SHA-256 write such. One over MD5 goes by scep.legacy as a message does. */
static void test_csr(void **state)
{
    static const struct {
        const char *digest, *note;
        enum cfg_scep_legacy least;
    } rows[] = {{"SHA256", NULL, CFG_LEGACY_NONE},
                {"SHA1", "sha1", CFG_LEGACY_NONE},
                {"MD5", "md5", CFG_LEGACY_DES_MD5}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct make_spec spec = {
            .subject = "CN=r1", .challenge = "secret", .digest = rows[i].digest};
        buf_free(&f->csr);
        f->csr = make_req_der(&spec, f->device_key);
        for (int legacy = CFG_LEGACY_NONE; legacy <= CFG_LEGACY_DES_MD5; legacy++) {
            f->profile.scep.legacy = (enum cfg_scep_legacy)legacy;
            struct scep_reply reply = ask_door(f, NID_sha256, NID_aes_128_cbc);
            if ((enum cfg_scep_legacy)legacy >= rows[i].least) {
                if (rows[i].note)
                    assert_string_equal(reply.note.csr_digest, rows[i].note);
                else
                    assert_null(reply.note.csr_digest);
                assert_mirrored(f, &reply, NID_sha256, NID_aes_128_cbc);
            } else {
                assert_null(reply.note.csr_digest);
                assert_non_null(strstr(reply.note.detail, "needs scep.legacy des-md5"));
                assert_failure(f, &reply, SCEP_BAD_ALG);
            }
        }
    }
    assert_int_equal(asked.calls, 3 + 3 + 1);
}

/* Old algorithms have names for the log, and modern ones have none. */
static void test_names(void **state)
{
    static const struct {
        struct scep_algs algs;
        const char *text;
    } rows[] = {
        {{NID_sha256, NID_aes_128_cbc}, NULL},       {{NID_sha512, NID_aes_256_cbc}, NULL},
        {{NID_sha1, NID_aes_128_cbc}, "sha1"},       {{NID_sha256, NID_des_ede3_cbc}, "des3"},
        {{NID_sha1, NID_des_ede3_cbc}, "sha1 des3"}, {{NID_md5, NID_des_cbc}, "md5 des"},
        {{NID_md5, NID_aes_128_cbc}, "md5"},         {{NID_sha256, NID_des_cbc}, "des"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *text = scep_terms_old(rows[i].algs);
        assert_true(!text == !rows[i].text);
        if (text)
            assert_string_equal(text, rows[i].text);
    }
}

/* Single DES is served from a library context of its own: the process's default one never gets the
 * legacy provider. */
static void test_apart(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    f->profile.scep.legacy = CFG_LEGACY_DES_MD5;
    assert_true(scep_door_check(&f->profile, &err));
    struct scep_reply reply = ask_door(f, NID_md5, NID_des_cbc);
    assert_mirrored(f, &reply, NID_md5, NID_des_cbc);
    assert_int_equal(OSSL_PROVIDER_available(NULL, "legacy"), 0);
    assert_int_equal(OSSL_PROVIDER_available(scep_legacy_get(), "legacy"), 1);
    assert_null(EVP_CIPHER_fetch(NULL, "DES-CBC", NULL));
    assert_null(EVP_MD_fetch(NULL, "MD4", NULL));
    ERR_clear_error();
}

/* MD5 with another signature than RSA's is on no list. */
static void test_md5_signatures(void **state)
{
    static const struct {
        int digest, signature;
        bool plain, md5;
    } rows[] = {
        {NID_md5, NID_rsaEncryption, false, true},
        {NID_md5, NID_md5WithRSAEncryption, false, true},
        {NID_md5, NID_sha256WithRSAEncryption, false, false},
        {NID_md5, NID_X9_62_id_ecPublicKey, false, false},
        {NID_md5, NID_rsassaPss, false, false},
        {NID_md4, NID_rsaEncryption, false, false},
        {NID_sha256, NID_md5WithRSAEncryption, false, false},
        {NID_sha256, NID_rsaEncryption, true, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cms_signed found = {.digest = rows[i].digest, .signature = rows[i].signature};
        assert_int_equal(scep_signed_algs_known(&found, false), rows[i].plain);
        assert_int_equal(scep_signed_algs_known(&found, true), rows[i].md5);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, scep_calls_reset)
    const struct CMUnitTest tests[] = {
        T(test_steps), T(test_csr), T(test_names), T(test_apart), T(test_md5_signatures),
    };
    return cmocka_run_group_tests(tests, scep_calls_setup, scep_calls_teardown);
}
