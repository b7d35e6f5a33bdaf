#include "scep/password.h"

#include "scep/algs.h"
#include "scep/check.h"
#include "scep/sealing.h"
#include "tests/support/pki_make.h"
#include "tests/support/scep_make.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECRET "FIXEDSECRET234567890"
#define PLAIN "what is in the envelope, longer than a block of any cipher"

struct fixture {
    EVP_PKEY *key;
    struct cert *cert;
    struct buf secrets[3]; /* the right one in the middle */
    struct scep_passwords passwords;
};

static int setup(void **state)
{
    static const char *const secrets[] = {"ANOTHERSECRET2345", SECRET, "ATHIRDSECRET23456"};
    struct fixture *f = mem_zalloc(sizeof *f);
    f->key = make_ec("P-256");
    f->cert = make_cert(&(struct make_spec){.subject = "CN=device"}, f->key, NULL, NULL);
    for (size_t i = 0; i < 3; i++)
        assert_true(buf_set(&f->secrets[i], bytes_str(secrets[i])));
    f->passwords = (struct scep_passwords){f->secrets, 3, SCEP_CIPHERS_AES};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY_free(f->key);
    cert_free(f->cert);
    for (size_t i = 0; i < 3; i++)
        buf_free(&f->secrets[i]);
    free(f);
    return 0;
}

/* An envelope as OpenSSL's CMS functions make it. */
static struct buf openssl_envelope(const EVP_CIPHER *content, const EVP_CIPHER *kek)
{
    BIO *in = BIO_new_mem_buf(PLAIN, -1);
    CMS_ContentInfo *cms = CMS_encrypt(NULL, in, content, CMS_BINARY | CMS_PARTIAL);
    unsigned char *der = NULL, *secret = (unsigned char *)OPENSSL_strdup(SECRET);
    struct buf out = {0};
    assert_non_null(cms);
    assert_non_null(
        CMS_add0_recipient_password(cms, -1, NID_id_alg_PWRI_KEK, NID_id_pbkdf2, secret, -1, kek));
    assert_int_equal(CMS_final(cms, in, NULL, CMS_BINARY), 1);
    int len = i2d_CMS_ContentInfo(cms, &der);
    assert_true(len > 0 && buf_set(&out, bytes_of(der, (size_t)len)));
    OPENSSL_free(der);
    BIO_free(in);
    CMS_ContentInfo_free(cms);
    return out;
}

/* A verified message that holds this envelope. */
static struct scep_msg *message(const struct fixture *f, struct bytes envelope)
{
    struct scep_make make = {
        .type = "19", .txn = bytes_str("1"), .content = envelope, .signer = f->cert, .key = f->key};
    struct buf der = {0};
    struct scep_msg *msg = NULL;
    enum scep_fail fail;
    struct err err = {0};
    bool partial;
    scep_make(&make, &der);
    if (!scep_msg_parse(buf_bytes(&der), &msg, &partial, &fail, &err))
        fail_msg("%s", err.text);
    buf_free(&der);
    return msg;
}

/* Whether it opens, and then to PLAIN; every failure that is not of the shape has the one text. */
static bool opens(const struct fixture *f, struct bytes envelope, struct scep_password *by)
{
    struct scep_msg *msg = message(f, envelope);
    struct buf content = {0};
    struct scep_opened opened = {.content = &content};
    struct err err = {0};
    bool ok = scep_msg_open_password(msg, &f->passwords, &opened, &err);
    if (ok) {
        assert_true(bytes_equal_str(buf_bytes(&content), PLAIN));
        assert_true(content.secret);
    } else {
        assert_int_equal(err.kind, ERR_PEER);
        assert_int_equal(content.len, 0);
        if (opened.cipher != NID_undef)
            assert_string_equal(err.text, "the envelope cannot be decrypted");
    }
    if (by)
        *by = opened.by;
    assert_int_equal(ERR_peek_error(), 0);
    buf_free(&content);
    scep_msg_free(msg);
    return ok;
}

/* What OpenSSL makes is opened by the right one of several secrets, and by no other. */
static void test_from_openssl(void **state)
{
    struct fixture *f = *state;
    const EVP_CIPHER *ciphers[] = {EVP_aes_128_cbc(), EVP_aes_192_cbc(), EVP_aes_256_cbc(),
                                   EVP_des_ede3_cbc()};
    f->passwords.ciphers = SCEP_CIPHERS_DES3;
    for (size_t c = 0; c < 4; c++)
        for (size_t k = 0; k < 4; k++) {
            struct buf der = openssl_envelope(ciphers[c], ciphers[k]);
            struct scep_password by;
            assert_true(opens(f, buf_bytes(&der), &by));
            assert_true(bytes_equal_str(by.secret, SECRET));
            assert_int_equal(by.cipher, EVP_CIPHER_get_nid(ciphers[k]));
            assert_int_equal(by.iterations, 2048);
            f->passwords.ciphers = SCEP_CIPHERS_AES;
            assert_int_equal(opens(f, buf_bytes(&der), NULL), c < 3 && k < 3);
            f->passwords.ciphers = SCEP_CIPHERS_DES3;
            f->passwords.count = 1;
            assert_false(opens(f, buf_bytes(&der), NULL));
            f->passwords.count = 0;
            assert_false(opens(f, buf_bytes(&der), NULL));
            f->passwords.count = 3;
            buf_free(&der);
        }
    f->passwords.ciphers = SCEP_CIPHERS_AES;
}

static struct buf own_envelope(const struct fixture *f, const struct scep_password *by, int cipher)
{
    struct scep_out out = {.type = SCEP_PKCSREQ,
                           .txn = bytes_str("1"),
                           .sender_nonce = bytes_str("0123456789abcdef"),
                           .content = bytes_str(PLAIN),
                           .recipient = f->cert,
                           .password = by,
                           .algs = {NID_sha256, cipher},
                           .signer = {f->cert, f->key}};
    struct buf der = {0}, envelope = {0};
    struct scep_msg *msg = NULL;
    enum scep_fail fail;
    struct err err = {0};
    bool partial;
    assert_true(scep_msg_encode(&out, &der, &err));
    assert_true(scep_msg_parse(buf_bytes(&der), &msg, &partial, &fail, &err));
    assert_true(scep_msg_by_password(msg));
    assert_true(buf_set(&envelope, scep_msg_content_get(msg)));
    scep_msg_free(msg);
    buf_free(&der);
    return envelope;
}

static const struct scep_password usual = {
    {(const uint8_t *)SECRET, sizeof SECRET - 1}, NID_hmacWithSHA256, NID_aes_128_cbc, 1000};

static bool openssl_opens(struct bytes der, const char *secret)
{
    const unsigned char *p = der.ptr;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.len);
    BIO *out = BIO_new(BIO_s_mem());
    char *data;
    assert_non_null(cms);
    unsigned char *copy = (unsigned char *)OPENSSL_strdup(secret);
    bool ok = CMS_decrypt_set1_password(cms, copy, -1) == 1 &&
              CMS_decrypt(cms, NULL, NULL, NULL, out, CMS_BINARY) == 1;
    long len = BIO_get_mem_data(out, &data);
    if (ok)
        assert_true(bytes_equal_str(bytes_of(data, (size_t)len), PLAIN));
    OPENSSL_free(copy);
    CMS_ContentInfo_free(cms);
    BIO_free(out);
    ERR_clear_error();
    return ok;
}

/* What we make OpenSSL opens, whatever the PRF, the ciphers and the count; and so do we. */
static void test_to_openssl(void **state)
{
    static const int prfs[] = {NID_hmacWithSHA1, NID_hmacWithSHA256, NID_hmacWithSHA384,
                               NID_hmacWithSHA512};
    static const int ciphers[] = {NID_aes_128_cbc, NID_aes_192_cbc, NID_aes_256_cbc};
    static const int counts[] = {SCEP_PWRI_ITERATIONS_MIN, 2048, SCEP_PWRI_ITERATIONS_MAX};
    struct fixture *f = *state;
    const struct scep_passwords all = f->passwords;
    for (size_t p = 0; p < 4; p++)
        for (size_t c = 0; c < 3; c++)
            for (size_t k = 0; k < 3; k++) {
                struct scep_password by = usual, seen;
                f->passwords = all;
                if (counts[c] == SCEP_PWRI_ITERATIONS_MAX) /* see test_work */
                    f->passwords = (struct scep_passwords){f->secrets + 1, 1, all.ciphers};
                by.prf = prfs[p], by.cipher = ciphers[k], by.iterations = counts[c];
                struct buf der = own_envelope(f, &by, ciphers[c]);
                assert_true(openssl_opens(buf_bytes(&der), SECRET));
                assert_false(openssl_opens(buf_bytes(&der), "ANOTHERSECRET2345"));
                assert_true(opens(f, buf_bytes(&der), &seen));
                assert_int_equal(seen.prf, by.prf);
                assert_int_equal(seen.cipher, by.cipher);
                assert_int_equal(seen.iterations, by.iterations);
                buf_free(&der);
            }
    f->passwords = all;
}

/* Nothing is written with a count or algorithms that we would refuse ourselves. */
static void test_no_weak(void **state)
{
    (void)state;
    struct scep_password rows[] = {usual, usual, usual, usual};
    rows[0].iterations = SCEP_PWRI_ITERATIONS_MIN - 1;
    rows[1].iterations = SCEP_PWRI_ITERATIONS_MAX + 1;
    rows[2].prf = NID_hmacWithMD5;
    rows[3].cipher = NID_aes_128_gcm;
    for (size_t i = 0; i < 4; i++) {
        struct buf out = {0};
        assert_false(scep_pwri_add(&out, &rows[i], bytes_str("0123456789abcdef")));
        buf_free(&out);
    }
}

/* The answer that such an envelope is closed comes 10 ms, and two microseconds for each iteration
 * for each secret, after the opening began; more iterations than are done count no more. */
static void assert_headroom(const struct scep_msg *msg, int iterations, size_t count)
{
    struct cfg_profile profile = {.challenge.fixed_count = count};
    struct scep_sealing sealing = {.profile = &profile, .msg = msg};
    int64_t hashed = (int64_t)iterations * (int64_t)count;
    if (hashed > SCEP_PWRI_WORK_MAX)
        hashed = SCEP_PWRI_WORK_MAX;
    sealing.opener.ciphers = SCEP_CIPHERS_AES;
    assert_int_equal(scep_sealing_headroom(&sealing), 10000000 + hashed * 2000);
}

/* Whoever sends an envelope makes us work for each of the secrets: with many of them, one with as
 * many iterations as a single secret may have is refused before any is tried, and OpenSSL's default
 * is not. */
static void test_work(void **state)
{
    struct fixture *f = *state;
    const struct scep_passwords few = f->passwords;
    struct buf many[16];
    for (size_t i = 0; i < 16; i++)
        many[i] = few.secrets[few.count - 1 - i % few.count];
    struct scep_password by = usual;
    for (size_t count = 1; count <= 16; count++) {
        f->passwords.secrets = many;
        f->passwords.count = count;
        int most = (int)(SCEP_PWRI_WORK_MAX / count);
        for (int more = 0; more < 2; more++) {
            by.iterations =
                most < SCEP_PWRI_ITERATIONS_MAX ? most + more : SCEP_PWRI_ITERATIONS_MAX;
            struct buf der = own_envelope(f, &by, NID_aes_128_cbc);
            struct scep_msg *msg = message(f, buf_bytes(&der));
            struct scep_opened opened = {0};
            struct err err = {0};
            bool ok = scep_msg_open_password(msg, &f->passwords, &opened, &err);
            assert_int_equal(!ok && strstr(err.text, "too many"), by.iterations > most);
            assert_int_equal(opened.cipher, NID_aes_128_cbc);
            assert_headroom(msg, by.iterations, count);
            scep_msg_free(msg);
            buf_free(&der);
        }
        assert_true(most >= 2048);
    }
    f->passwords = few;
}

/* The key is unwrapped without the content where only the secret's name is wanted: a poll. */
static void test_key_only(void **state)
{
    struct fixture *f = *state;
    struct buf der = own_envelope(f, &usual, NID_aes_256_cbc);
    der.ptr[der.len - 1] ^= 1; /* of the content, which is not looked at */
    struct scep_msg *msg = message(f, buf_bytes(&der));
    struct scep_opened opened = {0};
    struct err err;
    assert_true(scep_msg_open_password(msg, &f->passwords, &opened, &err));
    assert_true(bytes_equal_str(opened.by.secret, SECRET));
    assert_int_equal(opened.cipher, NID_aes_256_cbc);
    f->passwords.count = 1;
    assert_false(scep_msg_open_password(msg, &f->passwords, &opened, &err));
    f->passwords.count = 3;
    scep_msg_free(msg);
    buf_free(&der);
}

/* Cut short anywhere it is refused, and a changed bit of the RecipientInfo never gives the key: RFC
 * 3211 checks no more than three octets of it, so it may give another one. */
static void test_truncated_and_changed(void **state)
{
    struct fixture *f = *state;
    struct buf der = own_envelope(f, &usual, NID_aes_128_cbc);
    struct scep_enveloped found;
    struct err err;
    for (size_t n = 0; n < der.len; n++) {
        uint8_t *copy = mem_zalloc(n + 1);
        memcpy(copy, der.ptr, n);
        assert_false(scep_enveloped_take(bytes_of(copy, n), SCEP_CIPHERS_DES, &found, &err));
        free(copy);
    }
    assert_true(scep_enveloped_take(buf_bytes(&der), SCEP_CIPHERS_AES, &found, &err));
    assert_true(found.by_password && found.recipient_count == 0);
    uint8_t right[16], key[16];
    assert_true(scep_pwri_unwrap(&found.pwri, bytes_str(SECRET), right, sizeof right));
    size_t end = (size_t)(found.pwri.wrapped.ptr + found.pwri.wrapped.len - der.ptr);
    const uint8_t *set = memmem(der.ptr, der.len, "\x02\x01\x03\x31", 4);
    assert_non_null(set); /* behind the version of the EnvelopedData */
    for (size_t n = (size_t)(set - der.ptr) + 3; n < end; n++)
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t was = der.ptr[n];
            der.ptr[n] ^= (uint8_t)(1u << bit);
            if (scep_enveloped_take(buf_bytes(&der), SCEP_CIPHERS_DES, &found, &err) &&
                found.by_password &&
                scep_pwri_unwrap(&found.pwri, bytes_str(SECRET), key, sizeof key) &&
                memcmp(key, right, sizeof key) == 0)
                fail_msg("octet %zu, bit %u", n, bit);
            der.ptr[n] = was;
        }
    buf_free(&der);
}

/* A PasswordRecipientInfo whose parts can be wrong. */
struct shape {
    int salt, iv, wrapped; /* octets */
    int version, iterations, key_length, prf, derivation, wrap, cipher;
    int no_derivation, salt_source, more, no_wrap_params;
};

static void add_int(struct buf *buf, int number)
{
    uint8_t octets[] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                        (uint8_t)number};
    size_t skip = 0;
    while (skip < 3 && octets[skip] == 0 && !(octets[skip + 1] & 0x80))
        skip++;
    assert_true(der_add(buf, DER_INTEGER, bytes_of(octets + skip, 4 - skip)));
}

static void add_shape_derivation(struct buf *buf, const struct shape *shape)
{
    uint8_t zeros[128] = {0};
    size_t start = buf->len;
    assert_true(der_add_oid(buf, shape->derivation));
    size_t params = buf->len;
    assert_true(shape->salt_source
                    ? scep_algorithm_add(buf, NID_id_pbkdf2, true)
                    : der_add(buf, DER_OCTET_STRING, bytes_of(zeros, (size_t)shape->salt)));
    add_int(buf, shape->iterations);
    if (shape->key_length)
        add_int(buf, shape->key_length);
    if (shape->prf)
        assert_true(scep_algorithm_add(buf, shape->prf, true));
    if (shape->more)
        add_int(buf, 1);
    assert_true(der_wrap(buf, params, DER_SEQUENCE) &&
                der_wrap(buf, start, DER_CONTEXT_CONSTRUCTED(0)));
}

static void add_shape(struct buf *buf, const struct shape *shape)
{
    uint8_t zeros[256] = {0};
    size_t start = buf->len;
    add_int(buf, shape->version);
    if (!shape->no_derivation)
        add_shape_derivation(buf, shape);
    size_t wrap = buf->len;
    assert_true(der_add_oid(buf, shape->wrap));
    size_t cipher = buf->len;
    if (!shape->no_wrap_params)
        assert_true(der_add_oid(buf, shape->cipher) &&
                    der_add(buf, DER_OCTET_STRING, bytes_of(zeros, (size_t)shape->iv)) &&
                    der_wrap(buf, cipher, DER_SEQUENCE));
    assert_true(der_wrap(buf, wrap, DER_SEQUENCE) &&
                der_add(buf, DER_OCTET_STRING, bytes_of(zeros, (size_t)shape->wrapped)) &&
                der_wrap(buf, start, SCEP_PWRI_TAG));
}

static const struct shape fine = {.salt = 8,
                                  .iv = 16,
                                  .wrapped = 32,
                                  .iterations = 2048,
                                  .prf = NID_hmacWithSHA256,
                                  .derivation = NID_id_pbkdf2,
                                  .wrap = NID_id_alg_PWRI_KEK,
                                  .cipher = NID_aes_128_cbc};

static bool shape_fine(const struct shape *shape)
{
    struct buf buf = {0};
    struct scep_pwri pwri;
    add_shape(&buf, shape);
    struct bytes cur = buf_bytes(&buf);
    bool ok = scep_pwri_take(&cur, SCEP_CIPHERS_AES, &pwri);
    if (ok)
        assert_int_equal(cur.len, 0);
    assert_int_equal(ERR_peek_error(), 0);
    buf_free(&buf);
    return ok;
}

/* One difference from what is fine. */
struct change {
    const char *why;
    size_t at;
    int value;
};
#define AT(field) offsetof(struct shape, field)

static const struct change taken[] = {
    {"nothing", AT(version), 0},
    {"default PRF", AT(prf), 0},
    {"count at its least", AT(iterations), SCEP_PWRI_ITERATIONS_MIN},
    {"count at its most", AT(iterations), SCEP_PWRI_ITERATIONS_MAX},
    {"key length that fits", AT(key_length), 16},
    {"salt at its most", AT(salt), SCEP_PWRI_SALT_MAX},
    {"wrapped key at its most", AT(wrapped), SCEP_PWRI_WRAPPED_MAX},
};
static const struct change refused[] = {
    {"count too small", AT(iterations), SCEP_PWRI_ITERATIONS_MIN - 1},
    {"count 0", AT(iterations), 0},
    {"count too large", AT(iterations), SCEP_PWRI_ITERATIONS_MAX + 1},
    {"count huge", AT(iterations), 0x7fffffff},
    {"count negative", AT(iterations), -2048},
    {"salt too short", AT(salt), SCEP_PWRI_SALT_MIN - 1},
    {"salt too long", AT(salt), SCEP_PWRI_SALT_MAX + 1},
    {"salt from elsewhere", AT(salt_source), 1},
    {"unknown PRF", AT(prf), NID_hmacWithMD5},
    {"something behind the parameters", AT(more), 1},
    {"another derivation", AT(derivation), NID_pbe_WithSHA1And3_Key_TripleDES_CBC},
    {"no derivation", AT(no_derivation), 1},
    {"another wrap", AT(wrap), NID_id_aes128_wrap},
    {"no cipher", AT(no_wrap_params), 1},
    {"a stream cipher", AT(cipher), NID_aes_128_ofb128},
    {"GCM", AT(cipher), NID_aes_128_gcm},
    {"an IV of triple DES", AT(cipher), NID_des_ede3_cbc},
    {"IV too short", AT(iv), 15},
    {"no IV", AT(iv), 0},
    {"key length of another cipher", AT(key_length), 32},
    {"no wrapped key", AT(wrapped), 0},
    {"one block", AT(wrapped), 16},
    {"no whole blocks", AT(wrapped), 33},
    {"wrapped key too long", AT(wrapped), SCEP_PWRI_WRAPPED_MAX + 16},
    {"another version", AT(version), 2},
};

static bool change_fine(const struct change *change)
{
    struct shape shape = fine;
    memcpy((char *)&shape + change->at, &change->value, sizeof change->value);
    return shape_fine(&shape);
}

/* Whatever is beyond the bounds is refused by its shape: counts that burn the processor, a wrapped
 * key that is too short to be one (CVE-2025-9230 read beyond it), salts from elsewhere, other
 * functions. */
static void test_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (!change_fine(&taken[i]))
            fail_msg("refused: %s", taken[i].why);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (change_fine(&refused[i]))
            fail_msg("taken: %s", refused[i].why);
}

/* An envelope with a password and a key, or with two passwords, is refused. */
static void test_alone(void **state)
{
    struct fixture *f = *state;
    struct buf der = own_envelope(f, &usual, NID_aes_128_cbc), twice = {0};
    struct scep_enveloped found;
    struct err err;
    assert_true(scep_enveloped_take(buf_bytes(&der), SCEP_CIPHERS_AES, &found, &err));
    struct bytes content = buf_bytes(&der);
    struct der outer, oid, explicit, data, version, recipients;
    assert_true(der_take(&content, &outer) && der_take(&outer.content, &oid) &&
                der_take(&outer.content, &explicit) && der_take(&explicit.content, &data) &&
                der_take(&data.content, &version) && der_take(&data.content, &recipients));
    assert_true(buf_add(&twice, version.whole));
    size_t set = twice.len;
    assert_true(buf_add(&twice, recipients.content) && buf_add(&twice, recipients.content) &&
                der_wrap(&twice, set, DER_SET) && buf_add(&twice, data.content) &&
                der_wrap(&twice, 0, DER_SEQUENCE) &&
                der_wrap(&twice, 0, DER_CONTEXT_CONSTRUCTED(0)));
    struct buf whole = {0};
    assert_true(buf_set(&whole, oid.whole) && buf_add(&whole, buf_bytes(&twice)) &&
                der_wrap(&whole, 0, DER_SEQUENCE));
    assert_false(scep_enveloped_take(buf_bytes(&whole), SCEP_CIPHERS_AES, &found, &err));
    assert_non_null(strstr(err.text, "password"));
    buf_free(&whole);
    buf_free(&twice);
    buf_free(&der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_openssl),
        cmocka_unit_test(test_to_openssl),
        cmocka_unit_test(test_no_weak),
        cmocka_unit_test(test_work),
        cmocka_unit_test(test_key_only),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_truncated_and_changed),
        cmocka_unit_test(test_alone),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
