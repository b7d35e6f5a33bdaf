#include "tests/support/scep_calls.h"

#include "base/pem.h"

#include <openssl/objects.h>
#include <stdlib.h>
#include <string.h>

#define OLDER "OLDERSECRET23456789A"
#define UNKNOWN "UNKNOWNSECRET2345678"

/* The profile takes fixed challenges, and two of them overlap. */
static int reset(void **state)
{
    struct fixture *f = *state;
    static struct buf secrets[2];
    scep_calls_reset(state);
    if (!buf_set(&secrets[0], bytes_str(CHALLENGE)) || !buf_set(&secrets[1], bytes_str(OLDER)))
        return 1;
    f->profile.challenge.kinds[CFG_CHALLENGE_FIXED] = true;
    f->profile.challenge.fixed = secrets;
    f->profile.challenge.fixed_count = 2;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 2; i++)
        buf_free(&f->profile.challenge.fixed[i]);
    return scep_calls_teardown(state);
}

/* A request of the EC device. */
struct ask {
    enum scep_type type;
    const char *sealed;    /* the password of the envelope; NULL: it is for the RA's key */
    const char *challenge; /* in the CSR; NULL: none */
    bool by_rsa;           /* signed by the RSA device instead */
    struct scep_algs algs;
};

static struct scep_password password_of(const struct ask *ask)
{
    return (struct scep_password){
        .secret = bytes_str(ask->sealed),
        .prf = NID_hmacWithSHA512,
        .cipher = NID_aes_256_cbc,
        .iterations = 1234,
    };
}

static struct scep_reply ask_door(const struct fixture *f, const struct ask *ask)
{
    struct scep_key ec = {f->ec, f->ec_key}, rsa = {f->device, f->device_key};
    struct scep_password password = password_of(ask);
    struct make_spec spec = {.subject = "CN=ec", .challenge = ask->challenge};
    struct buf content = make_req_der(&spec, ask->by_rsa ? f->device_key : f->ec_key), der = {0};
    struct err err = {0};
    if (ask->type == SCEP_CERTPOLL) {
        buf_clear(&content);
        assert_true(
            scep_poll_content(cert_issuer_get(f->ra[RA_NEW]), cert_issuer_get(f->ec), &content));
    } else if (ask->type == SCEP_GETCERT || ask->type == SCEP_GETCRL) {
        buf_clear(&content);
        assert_true(scep_wanted_encode(f->issued, &content));
    }
    struct scep_out out = {
        .type = ask->type,
        .txn = bytes_str(TXN),
        .sender_nonce = bytes_str(NONCE),
        .content = buf_bytes(&content),
        .recipient = f->ra[RA_NEW],
        .password = ask->sealed ? &password : NULL,
        .algs = ask->algs,
        .signer = ask->by_rsa ? rsa : ec,
    };
    if (!scep_msg_encode(&out, &der, &err))
        fail_msg("%s", err.text);
    struct scep_reply reply = post(f, buf_bytes(&der));
    buf_free(&content);
    buf_free(&der);
    return reply;
}

/* SUCCESS, closed with this secret and with no other, with the algorithms of the request. */
static void assert_sealed(const struct fixture *f, struct scep_reply *reply, const char *secret,
                          const struct ask *ask)
{
    struct buf secrets[1] = {{0}}, bag = {0};
    struct scep_passwords right = {secrets, 1, SCEP_CIPHERS_AES};
    struct scep_opened opened = {.content = &bag};
    struct cert **certs = NULL;
    size_t count = 0;
    struct err err = {0};
    assert_string_equal(reply->note.outcome, ask->type == SCEP_GETCERT ? "answered" : "issued");
    struct scep_msg *msg = rep_of(f, reply);
    assert_int_equal(scep_msg_status_get(msg), SCEP_SUCCESS);
    assert_int_equal(scep_msg_algs_get(msg).digest, ask->algs.digest);
    assert_true(buf_set(&secrets[0], bytes_str(UNKNOWN)));
    assert_false(scep_msg_open_password(msg, &right, &opened, &err));
    assert_true(buf_set(&secrets[0], bytes_str(secret)));
    assert_true(scep_msg_open_password(msg, &right, &opened, &err));
    assert_int_equal(opened.cipher, ask->algs.cipher);
    if (ask->sealed) {
        assert_int_equal(opened.by.prf, NID_hmacWithSHA512);
        assert_int_equal(opened.by.cipher, NID_aes_256_cbc);
        assert_int_equal(opened.by.iterations, 1234);
    }
    assert_true(scep_certs_decode(buf_bytes(&bag), &certs, &count, &err));
    assert_int_equal(count, 1);
    assert_true(bytes_equal(cert_der_get(certs[0]), cert_der_get(f->issued)));
    pem_certs_free(certs, count);
    buf_free(&bag);
    buf_free(&secrets[0]);
    scep_msg_free(msg);
    scep_reply_clear(reply);
}

#define ALGS                                                                                       \
    {                                                                                              \
        NID_sha384, NID_aes_192_cbc                                                                \
    }

/* A device with an EC key enrolls, renews without a challenge and polls, with its envelope and the
 * reply's made with the one of two fixed challenges that it knows. */
static void test_by_password(void **state)
{
    struct fixture *f = *state;
    static const char *const secrets[] = {CHALLENGE, OLDER};
    static const enum ra_op ops[] = {RA_ENROLL, RA_RENEW, RA_POLL};
    for (size_t i = 0; i < 2; i++) {
        const struct ask asks[] = {
            {SCEP_PKCSREQ, secrets[i], secrets[i], false, ALGS},
            {SCEP_RENEWALREQ, secrets[i], NULL, false, ALGS},
            {SCEP_CERTPOLL, secrets[i], NULL, false, ALGS},
        };
        for (size_t k = 0; k < 3; k++) {
            struct scep_reply reply = ask_door(f, &asks[k]);
            assert_sealed(f, &reply, secrets[i], &asks[k]);
            assert_int_equal(asked.op, ops[k]);
            assert_true(bytes_equal(buf_bytes(&asked.holder), cert_der_get(f->ec)));
        }
    }
    assert_int_equal(asked.calls, 6);
}

/* Enveloped for the RA's RSA key, the challenge in the CSR says what the reply is made with. */
static void test_by_challenge(void **state)
{
    struct fixture *f = *state;
    static const char *const secrets[] = {CHALLENGE, OLDER};
    for (size_t i = 0; i < 2; i++) {
        struct ask ask = {SCEP_PKCSREQ, NULL, secrets[i], false, ALGS};
        struct scep_reply reply = ask_door(f, &ask);
        assert_sealed(f, &reply, secrets[i], &ask);
        assert_string_equal(asked.challenge, secrets[i]);
    }
}

/* Where no fixed challenge is shown, nothing can close the reply: badAlg before anybody is asked,
 * so that no one-time challenge is spent. */
static void test_nothing_shown(void **state)
{
    struct fixture *f = *state;
    const struct ask asks[] = {
        {SCEP_PKCSREQ, NULL, UNKNOWN, false, ALGS}, /* or a one-time challenge */
        {SCEP_PKCSREQ, NULL, NULL, false, ALGS},
        {SCEP_RENEWALREQ, NULL, NULL, false, ALGS},
        {SCEP_CERTPOLL, NULL, NULL, false, ALGS}, /* of two, which? */
    };
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        struct scep_reply reply = ask_door(f, &asks[i]);
        assert_non_null(strstr(reply.note.detail, "EST"));
        assert_failure(f, &reply, SCEP_BAD_ALG);
    }
    assert_int_equal(asked.calls, 0);

    /* With one secret alone the poll is of somebody who has shown it; a renewal need not be. */
    f->profile.challenge.fixed_count = 1;
    struct scep_reply reply = ask_door(f, &asks[3]);
    assert_sealed(f, &reply, CHALLENGE, &asks[3]);
    reply = ask_door(f, &asks[2]);
    assert_failure(f, &reply, SCEP_BAD_ALG);
    f->profile.challenge.fixed_count = 2;
    assert_int_equal(asked.calls, 1);
}

/* What an EC device looks up is closed with the password of its envelope; enveloped for the RA's
 * key with the one that there is, and where there are two nothing is looked up: badAlg. */
static void test_lookup(void **state)
{
    struct fixture *f = *state;
    const struct ask shown[] = {{SCEP_GETCERT, CHALLENGE, NULL, false, ALGS},
                                {SCEP_GETCERT, OLDER, NULL, false, ALGS}};
    const struct ask hidden[] = {{SCEP_GETCERT, NULL, NULL, false, ALGS},
                                 {SCEP_GETCRL, NULL, NULL, false, ALGS}};
    asked.may = true;
    asked.cert = f->issued;
    for (size_t i = 0; i < 2; i++) {
        struct scep_reply reply = ask_door(f, &shown[i]);
        assert_sealed(f, &reply, shown[i].sealed, &shown[i]);
        assert_string_equal(asked.serial, cert_serial_get(f->issued));
    }
    *asked.serial = 0;
    for (size_t i = 0; i < 2; i++) {
        struct scep_reply reply = ask_door(f, &hidden[i]);
        assert_failure(f, &reply, SCEP_BAD_ALG);
    }
    assert_string_equal(asked.serial, "");
    f->profile.challenge.fixed_count = 1;
    struct scep_reply reply = ask_door(f, &hidden[0]);
    assert_sealed(f, &reply, CHALLENGE, &hidden[0]);
    f->profile.challenge.fixed_count = 2;
}

/* A profile without fixed challenges takes neither the envelope nor the signer. */
static void test_no_fixed(void **state)
{
    struct fixture *f = *state;
    f->profile.challenge.kinds[CFG_CHALLENGE_FIXED] = false;
    f->profile.challenge.kinds[CFG_CHALLENGE_ONE_TIME] = true;
    struct ask ask = {SCEP_PKCSREQ, CHALLENGE, CHALLENGE, false, ALGS};
    struct scep_reply reply = ask_door(f, &ask);
    assert_non_null(strstr(reply.note.detail, "EST, or a fixed challenge"));
    assert_failure(f, &reply, SCEP_BAD_ALG);
    ask.by_rsa = true;
    reply = ask_door(f, &ask);
    assert_failure(f, &reply, SCEP_BAD_MESSAGE_CHECK);
    assert_int_equal(asked.calls, 0);
}

/* A device with an RSA key may envelope by password, too; its reply is for its key. */
static void test_rsa_signer(void **state)
{
    struct fixture *f = *state;
    struct ask ask = {SCEP_PKCSREQ, OLDER, CHALLENGE, true, {NID_sha256, NID_aes_128_cbc}};
    struct scep_reply reply = ask_door(f, &ask);
    assert_success(f, &reply, &f->issued, 1);
}

/* A wrong password looks like every other envelope that cannot be opened, for a poll as well. */
static void test_wrong_password(void **state)
{
    struct fixture *f = *state;
    static const enum scep_type types[] = {SCEP_PKCSREQ, SCEP_RENEWALREQ, SCEP_CERTPOLL};
    for (size_t i = 0; i < 3; i++) {
        struct ask ask = {types[i], UNKNOWN, CHALLENGE, false, ALGS};
        struct scep_reply reply = ask_door(f, &ask);
        assert_string_equal(reply.note.reason, "bad-envelope");
        assert_failure(f, &reply, SCEP_BAD_MESSAGE_CHECK);
    }
    assert_int_equal(asked.calls, 0);
}

/* A CertRep of an RA with an EC key is signed with ECDSA and the digest of the request. */
static void test_ec_ra(void **state)
{
    struct fixture *f = *state;
    static const int digests[] = {NID_sha256, NID_sha384, NID_sha512};
    EVP_PKEY *key = f->identities[RA_NEW].key;
    f->identities[RA_NEW].key = f->ec_key;
    f->identities[RA_NEW].chain.items = &f->ec;
    for (size_t i = 0; i < 3; i++) {
        struct ask ask = {SCEP_PKCSREQ, CHALLENGE, NULL, false, {digests[i], NID_aes_128_cbc}};
        struct scep_reply reply = ask_door(f, &ask);
        assert_sealed(f, &reply, CHALLENGE, &ask);
    }
    f->identities[RA_NEW].key = key;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, reset)
    const struct CMUnitTest tests[] = {
        T(test_by_password), T(test_by_challenge), T(test_nothing_shown),  T(test_lookup),
        T(test_no_fixed),    T(test_rsa_signer),   T(test_wrong_password), T(test_ec_ra),
    };
    return cmocka_run_group_tests(tests, scep_calls_setup, teardown);
}
