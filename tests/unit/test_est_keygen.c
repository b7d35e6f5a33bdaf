/* serverkeygen: what a device hears, and that nobody else can read it. */
#include "est/keygen.h"

#include "base/der.h"
#include "base/text.h"
#include "est/sign.h"
#include "tests/support/est_calls.h"
#include "tests/support/keygen_make.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <string.h>

#define AES128 "2.16.840.1.101.3.4.1.2"
#define AES256 "2.16.840.1.101.3.4.1.42"
#define WRAP128 "2.16.840.1.101.3.4.1.5"
#define WRAP256 "2.16.840.1.101.3.4.1.45"
#define DES3 "1.2.840.113549.3.7"
#define RSA_TRANSPORT "1.2.840.113549.1.1.1"
#define RSA_OAEP "1.2.840.113549.1.1.7"
#define KEY_PACKAGE "2.16.840.1.101.2.1.2.78.5"

static const char shared_id[] = "device-1";
static uint8_t shared_key[CFG_SHARED_KEY_LEN] = {1, 2, 3};

/* What the tests have beside the door's fixture. */
struct keys {
    struct fixture *f;
    EVP_PKEY *made; /* what the ra made */
    struct cfg_shared_key shared;
    struct cert *signer;
    struct cert *signers[1];
    EVP_PKEY *signer_key;
};
static struct keys keys;

static int setup(void **state)
{
    assert_int_equal(est_calls_setup(state), 0);
    keys.f = *state;
    keys.made = make_ec("P-256");
    keys.signer_key = make_rsa(2048);
    keys.signer = make_cert(&(struct make_spec){.subject = "CN=est"}, keys.signer_key, NULL, NULL);
    keys.signers[0] = keys.signer;
    keys.f->cfg.tls.identity =
        (struct cfg_identity){.chain = {keys.signers, 1}, .key = keys.signer_key};
    keys.shared = (struct cfg_shared_key){.key = BUF_SECRET(CFG_SHARED_KEY_LEN)};
    assert_true(buf_set(&keys.shared.id, bytes_str(shared_id)));
    assert_true(buf_set(&keys.shared.key, bytes_of(shared_key, sizeof shared_key)));
    keys.f->profile.est.shared_keys = &keys.shared;
    keys.f->profile.est.shared_key_count = 1;
    return 0;
}

static int teardown(void **state)
{
    EVP_PKEY_free(keys.made);
    EVP_PKEY_free(keys.signer_key);
    cert_free(keys.signer);
    buf_free(&keys.shared.id);
    buf_free(&keys.shared.key);
    return est_calls_teardown(state);
}

static int reset(void **state)
{
    struct fixture *f = *state;
    est_calls_reset(state);
    f->profile.est.keygen = CFG_KEYGEN_ALLOW;
    asked.answer.key = keys.made;
    return 0;
}

/* A device's certificate with a key identifier of its own. */
static struct cert *recipient_of(EVP_PKEY *key, const char *usage)
{
    static const char *const extensions[] = {"subjectKeyIdentifier", "01:02:03:04", NULL};
    return make_cert(
        &(struct make_spec){.subject = "CN=device", .key_usage = usage, .extensions = extensions},
        key, NULL, NULL);
}
static const uint8_t recipient_id[] = {1, 2, 3, 4};

/* A part of a multipart body: content after exactly these headers, up to the delimiter. */
static struct bytes take_part(struct bytes *cur, const char *type)
{
    char head[256];
    struct bytes line, part;
    snprintf(head, sizeof head,
             "--estServerKeygen\r\nContent-Type: %s\r\nContent-Transfer-Encoding: base64\r\n\r\n",
             type);
    assert_true(bytes_starts(*cur, head));
    assert_true(bytes_take(cur, strlen(head), &line));
    const uint8_t *end = memmem(cur->ptr, cur->len, "\r\n--", 4);
    assert_non_null(end);
    assert_true(bytes_take(cur, (size_t)(end - cur->ptr), &part));
    assert_true(bytes_take(cur, 2, &line));
    return part;
}

static struct buf decode(struct bytes text)
{
    struct buf der = {0};
    struct err err;
    if (!text_base64_decode(text, TEXT_BASE64_SPACE, &der, &err))
        fail_msg("%s", err.text);
    return der;
}

/* The two parts of a reply, which must be there exactly so, and nothing else. */
struct parts {
    struct buf key, certs;
};

static struct parts take_parts(const struct est_reply *reply, const char *key_type)
{
    struct bytes cur = buf_bytes(&reply->body);
    if (reply->status != 200)
        fail_msg("%d: %s", reply->status, reply->note.detail);
    assert_string_equal(reply->content_type, "multipart/mixed; boundary=estServerKeygen");
    assert_false(reply->base64);
    assert_true(reply->body.secret);
    struct parts parts;
    parts.key = decode(take_part(&cur, key_type));
    parts.certs = decode(take_part(&cur, "application/pkcs7-mime; smime-type=certs-only"));
    assert_true(bytes_equal_str(cur, "--estServerKeygen--\r\n"));
    return parts;
}

static void parts_free(struct parts *parts)
{
    buf_free(&parts->key);
    buf_free(&parts->certs);
}

/* Off unless the profile says otherwise: nothing is asked for. */
static void test_off(void **state)
{
    struct fixture *f = *state;
    f->profile.est.keygen = CFG_KEYGEN_OFF;
    struct est_call call = call_of(f, EST_SERVERKEYGEN);
    call.tls = true;
    struct est_reply reply = handle_basic(f, &call, "device:" CHALLENGE);
    assert_int_equal(reply.status, 501);
    assert_int_equal(asked.calls, 0);
    assert_plain(&reply);
    est_reply_clear(&reply);
}

/* In the clear: a PrivateKeyInfo, not the traditional form, and the certificate as simpleenroll has
 * it; with lines of 64, or one line for a client without User-Agent. */
static void test_plain(void **state)
{
    struct fixture *f = *state;
    for (unsigned agent = 0; agent < 2; agent++) {
        struct est_call call = call_of(f, EST_SERVERKEYGEN);
        call.tls = true;
        call.user_agent = agent;
        struct est_reply reply = handle_basic(f, &call, "device:" CHALLENGE);
        struct parts parts = take_parts(&reply, "application/pkcs8");
        const unsigned char *p = parts.key.ptr;
        PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)parts.key.len);
        assert_non_null(info);
        assert_ptr_equal(p, parts.key.ptr + parts.key.len);
        EVP_PKEY *key = EVP_PKCS82PKEY(info);
        assert_int_equal(EVP_PKEY_eq(key, keys.made), 1);
        assert_int_equal(asked.op, RA_KEYGEN);
        assert_string_equal(asked.challenge, CHALLENGE);
        assert_string_equal(reply.delivers, REQUEST_ID);
        assert_true((longest_line(&reply.body) > 100) == !agent);
        EVP_PKEY_free(key);
        PKCS8_PRIV_KEY_INFO_free(info);
        parts_free(&parts);
        est_reply_clear(&reply);
    }
}

/* Where TLS ends before us a key in the clear is refused, before anything is asked for. */
static void test_no_tls(void **state)
{
    struct fixture *f = *state;
    struct est_call call = call_of(f, EST_SERVERKEYGEN);
    struct est_reply reply = handle_basic(f, &call, "device:" CHALLENGE);
    assert_int_equal(reply.status, 400);
    assert_string_equal(reply.note.reason, "bad-encryption-key");
    assert_int_equal(asked.calls, 0);
    est_reply_clear(&reply);
}

/* keygen: encrypted refuses whoever names no key. */
static void test_must_encrypt(void **state)
{
    struct fixture *f = *state;
    f->profile.est.keygen = CFG_KEYGEN_ENCRYPTED;
    struct est_call call = call_of(f, EST_SERVERKEYGEN);
    call.tls = true;
    struct est_reply reply = handle_basic(f, &call, "device:" CHALLENGE);
    assert_int_equal(reply.status, 400);
    assert_int_equal(asked.calls, 0);
    est_reply_clear(&reply);
}

/* The decrypted content, a SignedData over an AsymmetricKeyPackage: its signature is by the
 * signer, and it holds the key that was made. */
static void check_signed_key(struct bytes content)
{
    struct buf whole = {0};
    struct der outer;
    ASN1_OBJECT *type = OBJ_txt2obj(KEY_PACKAGE, 1);
    STACK_OF(X509) * signers;
    char *data;
    assert_true(der_add_oid(&whole, NID_pkcs7_signed));
    size_t start = whole.len;
    assert_true(buf_add(&whole, content) && der_wrap(&whole, start, DER_CONTEXT_CONSTRUCTED(0)) &&
                der_wrap(&whole, 0, DER_SEQUENCE));
    const unsigned char *p = whole.ptr;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)whole.len);
    BIO *out = BIO_new(BIO_s_mem());
    assert_non_null(cms);
    assert_int_equal(OBJ_cmp(CMS_get0_eContentType(cms), type), 0);
    assert_int_equal(CMS_verify(cms, NULL, NULL, NULL, out, CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY),
                     1);
    signers = CMS_get0_signers(cms);
    assert_int_equal(X509_cmp(sk_X509_value(signers, 0), cert_x509_get(keys.signer)), 0);
    struct bytes package = bytes_of(NULL, 0);
    package.len = (size_t)BIO_get_mem_data(out, &data);
    package.ptr = (uint8_t *)data;
    assert_true(der_take_tag(&package, DER_SEQUENCE, &outer) && package.len == 0);
    p = outer.content.ptr;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)outer.content.len);
    assert_non_null(info);
    assert_ptr_equal(p, outer.content.ptr + outer.content.len);
    EVP_PKEY *key = EVP_PKCS82PKEY(info);
    assert_int_equal(EVP_PKEY_eq(key, keys.made), 1);
    EVP_PKEY_free(key);
    PKCS8_PRIV_KEY_INFO_free(info);
    sk_X509_free(signers);
    BIO_free(out);
    CMS_ContentInfo_free(cms);
    ASN1_OBJECT_free(type);
    buf_free(&whole);
}

/* What opens an envelope. */
struct opener {
    EVP_PKEY *key;
    struct cert *cert;
    int kind; /* CMS_RECIPINFO_... */
};

static void check_envelope(struct buf *der, const struct opener *opener)
{
    const unsigned char *p = der->ptr;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)der->len);
    BIO *out = BIO_new(BIO_s_mem());
    char *data;
    assert_non_null(cms);
    assert_ptr_equal(p, der->ptr + der->len);
    STACK_OF(CMS_RecipientInfo) *recipients = CMS_get0_RecipientInfos(cms);
    assert_int_equal(sk_CMS_RecipientInfo_num(recipients), 1);
    assert_int_equal(CMS_RecipientInfo_type(sk_CMS_RecipientInfo_value(recipients, 0)),
                     opener->kind);
    if (opener->key)
        assert_int_equal(CMS_decrypt_set1_pkey(cms, opener->key, cert_x509_get(opener->cert)), 1);
    else
        assert_int_equal(CMS_decrypt_set1_key(cms, shared_key, sizeof shared_key,
                                              (const unsigned char *)shared_id, strlen(shared_id)),
                         1);
    assert_int_equal(CMS_decrypt(cms, NULL, NULL, NULL, out, CMS_BINARY), 1);
    size_t len = (size_t)BIO_get_mem_data(out, &data);
    check_signed_key(bytes_of(data, len));
    BIO_free(out);
    CMS_ContentInfo_free(cms);
    ERR_clear_error();
}

static void check_encrypted(struct fixture *f, struct csr *csr, const struct opener *opener)
{
    struct buf body = {0};
    struct est_call call = call_of(f, EST_SERVERKEYGEN);
    assert_true(text_base64_encode(csr_der_get(csr), 64, &body));
    call.body = buf_bytes(&body);
    call.peer = opener->cert;
    struct est_reply reply = handle_basic(f, &call, "device:" CHALLENGE);
    struct parts parts =
        take_parts(&reply, "application/pkcs7-mime; smime-type=server-generated-key");
    check_envelope(&parts.key, opener);
    parts_free(&parts);
    est_reply_clear(&reply);
    buf_free(&body);
}

/* With DecryptKeyIdentifier: kekri, opened by the shared key only. */
static void test_shared(void **state)
{
    struct fixture *f = *state;
    const struct keygen_attr attr = {DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_str(shared_id)};
    struct csr *csr = keygen_make(f->key, &attr, 1);
    for (unsigned i = 0; i < 2; i++) {
        f->profile.est.keygen = i ? CFG_KEYGEN_ALLOW : CFG_KEYGEN_ENCRYPTED;
        check_encrypted(f, csr, &(struct opener){.kind = CMS_RECIPINFO_KEK});
    }
    csr_free(csr);
}

/* With AsymmetricDecryptKeyIdentifier: ktri to an RSA certificate, also by OAEP if the device can
 * do it, kari to an EC one. */
static void test_certified(void **state)
{
    static const char *const oaep[] = {AES256, RSA_OAEP, NULL};
    struct fixture *f = *state;
    EVP_PKEY *rsa = make_rsa(2048), *ec = make_ec("P-256");
    struct cert *rsa_cert = recipient_of(rsa, "keyEncipherment");
    struct cert *ec_cert = recipient_of(ec, "keyAgreement");
    struct buf capabilities = {0};
    keygen_make_capabilities(oaep, &capabilities);
    const struct keygen_attr attrs[] = {
        {ASYMMETRIC_DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_of(recipient_id, 4)},
        {CAPABILITIES, V_ASN1_SEQUENCE, buf_bytes(&capabilities)}};
    struct csr *csr = keygen_make(f->key, attrs, 1), *wish = keygen_make(f->key, attrs, 2);
    check_encrypted(f, csr, &(struct opener){rsa, rsa_cert, CMS_RECIPINFO_TRANS});
    check_encrypted(f, wish, &(struct opener){rsa, rsa_cert, CMS_RECIPINFO_TRANS});
    check_encrypted(f, csr, &(struct opener){ec, ec_cert, CMS_RECIPINFO_AGREE});
    csr_free(csr);
    csr_free(wish);
    buf_free(&capabilities);
    cert_free(rsa_cert);
    cert_free(ec_cert);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
}

/* An identifier that nobody knows, two of them, or one of another type is 400, and nothing is asked
 * for, let alone sent in the clear. */
static void test_unknown(void **state)
{
    struct fixture *f = *state;
    const struct keygen_attr rows[][2] = {
        {{DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_str("device-2")}},
        {{DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_str("device-")}},
        {{DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_str("")}},
        {{DECRYPT_KEY, V_ASN1_UTF8STRING, bytes_str(shared_id)}},
        {{ASYMMETRIC_DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_str(shared_id)}},
        {{ASYMMETRIC_DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_str("")}},
        {{DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_str(shared_id)},
         {ASYMMETRIC_DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_of(recipient_id, 4)}},
        {{DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_str(shared_id)},
         {CAPABILITIES, V_ASN1_OCTET_STRING, bytes_str("0")}},
    };
    EVP_PKEY *rsa = make_rsa(2048);
    struct cert *cert = recipient_of(rsa, "keyEncipherment");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf body = {0};
        struct csr *csr = keygen_make(f->key, rows[i], rows[i][1].oid ? 2 : 1);
        struct est_call call = call_of(f, EST_SERVERKEYGEN);
        assert_true(text_base64_encode(csr_der_get(csr), 64, &body));
        call.body = buf_bytes(&body);
        call.tls = true;
        call.peer = cert;
        struct est_reply reply = handle(f, &call);
        assert_int_equal(reply.status, 400);
        assert_plain(&reply);
        est_reply_clear(&reply);
        csr_free(csr);
        buf_free(&body);
    }
    assert_int_equal(asked.calls, 0);
    cert_free(cert);
    EVP_PKEY_free(rsa);
}

static bool choose(const struct fixture *f, struct csr *csr, const struct cert *peer,
                   struct est_wrap *wrap)
{
    struct est_wrap_wish wish = {csr, peer, true};
    struct err err = {0};
    bool ok = est_wrap_choose(&f->profile.est, &wish, wrap, &err);
    assert_true(ok || (err.kind == ERR_PEER && err.text[0]));
    return ok;
}

/* RFC 7030 sections 4.4.1 and 4.4.2: SMIMECapabilities are honoured: the strongest AES that is
 * listed, and no other cipher; where key management is listed, ours is among it. */
static void test_capabilities(void **state)
{
    static const struct {
        const char *oids[4];
        int cipher; /* 0: refused */
    } rows[] = {
        {{AES256}, NID_aes_256_cbc},          {{AES128}, NID_aes_128_cbc},
        {{AES128, AES256}, NID_aes_256_cbc},  {{DES3}, 0},
        {{DES3, AES128}, NID_aes_128_cbc},    {{NULL}, 0},
        {{AES256, WRAP256}, NID_aes_256_cbc}, {{AES256, WRAP128}, 0},
        {{AES256, RSA_TRANSPORT}, 0},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf capabilities = {0};
        struct est_wrap wrap;
        keygen_make_capabilities(rows[i].oids, &capabilities);
        const struct keygen_attr attrs[] = {
            {DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_str(shared_id)},
            {CAPABILITIES, V_ASN1_SEQUENCE, buf_bytes(&capabilities)}};
        struct csr *csr = keygen_make(f->key, attrs, 2);
        assert_int_equal(choose(f, csr, NULL, &wrap), rows[i].cipher != 0);
        if (rows[i].cipher)
            assert_int_equal(wrap.cipher, rows[i].cipher);
        csr_free(csr);
        buf_free(&capabilities);
    }
}

/* SMIMECapabilities that are cut short anywhere are refused. */
static void test_truncated(void **state)
{
    static const char *const oids[] = {AES256, WRAP256, NULL};
    struct fixture *f = *state;
    struct buf whole = {0};
    struct est_wrap wrap;
    keygen_make_capabilities(oids, &whole);
    for (size_t len = 3; len < whole.len; len++) {
        struct buf cut = {0};
        /* The outer element stays whole, or no CSR would hold it. */
        assert_true(buf_set(&cut, bytes_of(whole.ptr, len)));
        cut.ptr[1] = (uint8_t)(len - 2);
        const struct keygen_attr attrs[] = {
            {DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_str(shared_id)},
            {CAPABILITIES, V_ASN1_SEQUENCE, buf_bytes(&cut)}};
        struct csr *csr = keygen_make(f->key, attrs, 2);
        bool between = len == 2 + 13; /* the first capability is whole */
        assert_int_equal(choose(f, csr, NULL, &wrap), between);
        csr_free(csr);
        buf_free(&cut);
    }
    buf_free(&whole);
}

/* RFC 7030 section 4.4.1.2: nothing is encrypted to a key that is for signing only, to one that
 * cannot, or to a certificate that is not presented. */
static void test_recipients(void **state)
{
    struct fixture *f = *state;
    const struct keygen_attr attr = {ASYMMETRIC_DECRYPT_KEY, V_ASN1_OCTET_STRING,
                                     bytes_of(recipient_id, 4)};
    struct csr *csr = keygen_make(f->key, &attr, 1);
    EVP_PKEY *key[] = {make_rsa(2048), make_ec("P-256"), make_ed25519()};
    static const char *const usages[] = {"keyEncipherment", "keyAgreement", "digitalSignature",
                                         NULL};
    static const bool fine[3][4] = {
        {true, false, false, true}, {false, true, false, true}, {false, false, false, false}};
    struct est_wrap wrap;
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < 4; k++) {
            struct cert *cert = recipient_of(key[i], usages[k]);
            assert_int_equal(choose(f, csr, cert, &wrap), fine[i][k]);
            cert_free(cert);
        }
        EVP_PKEY_free(key[i]);
    }
    assert_false(choose(f, csr, NULL, &wrap));
    assert_false(choose(f, csr, f->device, &wrap)); /* it has no key identifier */
    csr_free(csr);
}

/* A reply that cannot be made is our fault; it is not taken for delivered, so its key stays. */
static void test_fault(void **state)
{
    struct fixture *f = *state;
    const struct keygen_attr attr = {DECRYPT_KEY, V_ASN1_OCTET_STRING, bytes_str(shared_id)};
    struct csr *csr = keygen_make(f->key, &attr, 1);
    struct buf body = {0};
    struct est_call call = call_of(f, EST_SERVERKEYGEN);
    assert_true(text_base64_encode(csr_der_get(csr), 64, &body));
    call.body = buf_bytes(&body);
    f->cfg.tls.identity.key = f->key; /* not the signer certificate's */
    struct est_reply reply = handle_basic(f, &call, "device:" CHALLENGE);
    f->cfg.tls.identity.key = keys.signer_key;
    assert_int_equal(reply.status, 503);
    assert_string_equal(reply.delivers, "");
    assert_plain(&reply);
    est_reply_clear(&reply);
    csr_free(csr);
    buf_free(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_off, reset),
        cmocka_unit_test_setup(test_plain, reset),
        cmocka_unit_test_setup(test_no_tls, reset),
        cmocka_unit_test_setup(test_must_encrypt, reset),
        cmocka_unit_test_setup(test_shared, reset),
        cmocka_unit_test_setup(test_certified, reset),
        cmocka_unit_test_setup(test_unknown, reset),
        cmocka_unit_test_setup(test_capabilities, reset),
        cmocka_unit_test_setup(test_truncated, reset),
        cmocka_unit_test_setup(test_recipients, reset),
        cmocka_unit_test_setup(test_fault, reset),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
