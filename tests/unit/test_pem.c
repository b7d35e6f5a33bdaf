#include "base/pem.h"
#include "tests/support/pki_make.h"

#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char dir[64], path[128];
static EVP_PKEY *key;
static X509 *x509;

static int setup(void **state)
{
    (void)state;
    make_dir(dir);
    snprintf(path, sizeof path, "%s/file", dir);
    key = make_ec("P-256");
    x509 = make_x509(&(struct make_spec){.subject = "CN=file"}, key, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    make_dir_remove(dir);
    EVP_PKEY_free(key);
    X509_free(x509);
    return 0;
}

static void write_file(const void *data, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    fclose(file);
}

/* Certificates are read from PEM, in order and past other blocks, and from DER. */
static void test_certs(void **state)
{
    struct cert **certs;
    size_t count;
    struct err err;
    (void)state;
    FILE *file = fopen(path, "w");
    fputs("a word before\n", file);
    PEM_write_X509(file, x509);
    PEM_write_PUBKEY(file, key);
    PEM_write_X509(file, x509);
    fclose(file);
    assert_true(pem_certs_load(path, &certs, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(cert_names_get(certs[1])->subject_text, "CN=file");
    struct bytes der = cert_der_get(certs[0]);
    write_file(der.ptr, der.len);
    pem_certs_free(certs, count);
    assert_true(pem_certs_load(path, &certs, &count, &err));
    assert_int_equal(count, 1);
    pem_certs_free(certs, count);
}

/* Nothing in it, no file, garbage in a block: an error with the path. */
static void test_no_certs(void **state)
{
    static const char garbage[] = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    struct cert **certs;
    size_t count;
    struct err err;
    (void)state;
    write_file("", 0);
    assert_false(pem_certs_load(path, &certs, &count, &err));
    assert_non_null(strstr(err.text, path));
    write_file(garbage, sizeof garbage - 1);
    assert_false(pem_certs_load(path, &certs, &count, &err));
    assert_non_null(strstr(err.text, path));
    assert_false(pem_certs_load("/nonexistent/file", &certs, &count, &err));
    assert_non_null(strstr(err.text, "/nonexistent/file"));
}

/* A key is read from PEM and DER; one with a passphrase is refused without asking for it. */
static void test_keys(void **state)
{
    EVP_PKEY *got = NULL;
    unsigned char *der = NULL;
    struct err err;
    (void)state;
    make_key_file(path, key);
    assert_true(pem_key_load(path, &got, &err));
    assert_int_equal(EVP_PKEY_eq(got, key), 1);
    EVP_PKEY_free(got);
    int len = i2d_PrivateKey(key, &der);
    write_file(der, (size_t)len);
    OPENSSL_clear_free(der, (size_t)len);
    assert_true(pem_key_load(path, &got, &err));
    EVP_PKEY_free(got);
    FILE *file = fopen(path, "w");
    PEM_write_PKCS8PrivateKey(file, key, EVP_aes_128_cbc(), "pass", 4, NULL, NULL);
    fclose(file);
    assert_false(pem_key_load(path, &got, &err));
    make_cert_file(path, x509);
    assert_false(pem_key_load(path, &got, &err));
}

/* A file beyond the ceiling is refused. */
static void test_large(void **state)
{
    struct buf out = {0};
    struct err err;
    (void)state;
    write_file("123456", 6);
    assert_true(pem_file_read(path, 6, &out, &err));
    buf_clear(&out);
    assert_false(pem_file_read(path, 5, &out, &err));
    buf_free(&out);
}

/* A CSR is found under either of its labels, and under no other. */
static void test_csr(void **state)
{
    struct buf der = make_req_der(&(struct make_spec){.subject = "CN=x"}, key);
    static const char *const labels[] = {"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST",
                                         "CERTIFICATE"};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct buf text = {0}, back = {0};
        assert_true(pem_add(&text, labels[i], buf_bytes(&der)));
        assert_int_equal(pem_csr_decode(buf_bytes(&text), &back), i < 2);
        if (i < 2)
            assert_true(bytes_equal(buf_bytes(&back), buf_bytes(&der)));
        for (size_t n = 0; n < text.len - 1; n++) {
            buf_clear(&back);
            assert_false(pem_csr_decode(bytes_of(text.ptr, n), &back) && n < text.len - 26);
        }
        buf_free(&text);
        buf_free(&back);
    }
    buf_free(&der);
}

/* OpenSSL reads the bag, and the certificates stand in the order given, not sorted. */
static void test_certs_only(void **state)
{
    struct cert *a = make_cert(&(struct make_spec){.subject = "CN=a-longer-name-that-sorts-last"},
                               key, NULL, NULL);
    struct cert *b = make_cert(&(struct make_spec){.subject = "CN=b"}, key, NULL, NULL);
    struct bytes certs[] = {cert_der_get(a), cert_der_get(b)};
    struct buf out = {0};
    (void)state;
    assert_true(pem_certs_only_encode(certs, 2, &out));
    const unsigned char *p = out.ptr;
    PKCS7 *p7 = d2i_PKCS7(NULL, &p, (long)out.len);
    assert_non_null(p7);
    assert_ptr_equal(p, out.ptr + out.len);
    assert_int_equal(sk_X509_num(p7->d.sign->cert), 2);
    assert_int_equal(X509_cmp(sk_X509_value(p7->d.sign->cert, 0), cert_x509_get(a)), 0);
    assert_int_equal(X509_cmp(sk_X509_value(p7->d.sign->cert, 1), cert_x509_get(b)), 0);
    PKCS7_free(p7);
    struct buf small = BUF_INIT(100);
    assert_false(pem_certs_only_encode(certs, 2, &small));
    assert_int_equal(small.len, 0);
    buf_free(&small);
    buf_free(&out);
    cert_free(a);
    cert_free(b);
}

static bool certs_load(size_t *count, struct err *err)
{
    struct cert **certs;
    if (!pem_certs_load(path, &certs, count, err))
        return false;
    pem_certs_free(certs, *count);
    return true;
}

/* A cut or garbled block is an error: the certificates before it are not the whole list. */
static void test_broken_block(void **state)
{
    static const char *const broken[] = {
        "-----BEGIN CERTIFICATE-----\nMIIB\n",
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END PUBLIC KEY-----\n",
    };
    size_t count;
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct err err = {0};
        FILE *file = fopen(path, "w");
        PEM_write_X509(file, x509);
        fputs(broken[i], file);
        PEM_write_X509(file, x509);
        fclose(file);
        if (certs_load(&count, &err))
            fail_msg("row %zu: %zu certificates", i, count);
        assert_non_null(strstr(err.text, path));
    }
    FILE *file = fopen(path, "w");
    PEM_write_X509(file, x509);
    fputs("words behind it\n", file);
    fclose(file);
    struct err err = {0};
    assert_true(certs_load(&count, &err));
    assert_int_equal(count, 1);
}

/* Of a PEM file, every truncation is refused that does not end between two certificates. */
static void test_truncated(void **state)
{
    struct buf der = {0}, text = {0};
    unsigned char *p = NULL;
    size_t count;
    struct err err;
    (void)state;
    int len = i2d_X509(x509, &p);
    assert_true(buf_set(&der, bytes_of(p, (size_t)len)));
    OPENSSL_free(p);
    assert_true(pem_add(&text, "CERTIFICATE", buf_bytes(&der)));
    size_t one = text.len, begin = strlen("-----BEGIN CERTIFICATE-----");
    assert_true(pem_add(&text, "CERTIFICATE", buf_bytes(&der)));
    for (size_t n = 0; n <= text.len; n++) {
        write_file(text.ptr, n);
        bool ok = certs_load(&count, &err);
        if (n + 1 >= text.len)
            assert_true(ok && count == 2);
        else if (n + 1 >= one && n < one + begin)
            assert_true(ok && count == 1);
        else
            assert_false(ok);
    }
    for (size_t n = 0; n < der.len; n++) {
        write_file(der.ptr, n);
        assert_false(certs_load(&count, &err));
    }
    assert_true(buf_add_u8(&der, 0));
    write_file(der.ptr, der.len);
    assert_false(certs_load(&count, &err));
    buf_free(&der);
    buf_free(&text);
}

/* The fault of a file that cannot be read says which, in words; nothing in it is a fault too. */
static void test_unreadable(void **state)
{
    EVP_PKEY *got = NULL;
    size_t count;
    struct buf out = {0};
    struct err err;
    char text[256];
    (void)state;
    write_file("", 0);
    memset(&err, 'x', sizeof err);
    assert_false(certs_load(&count, &err));
    snprintf(text, sizeof text, "%s: no certificate in it", path);
    assert_string_equal(err.text, text);
    memset(&err, 'x', sizeof err);
    assert_false(pem_key_load(path, &got, &err));
    snprintf(text, sizeof text, "%s: no unencrypted private key in it", path);
    assert_string_equal(err.text, text);
    assert_false(pem_file_read(dir, 100, &out, &err));
    snprintf(text, sizeof text, "%s: Is a directory", dir);
    assert_string_equal(err.text, text);
    assert_int_equal(err.kind, ERR_LOCAL);
    uint8_t *big = mem_zalloc(PEM_FILE_MAX + 1);
    memset(big, '\n', PEM_FILE_MAX + 1);
    write_file(big, PEM_FILE_MAX + 1);
    free(big);
    assert_false(certs_load(&count, &err));
    assert_non_null(strstr(err.text, "more than 1048576 bytes"));
    assert_false(pem_key_load(path, &got, &err));
    assert_non_null(strstr(err.text, "more than 1048576 bytes"));
    assert_null(got);
    buf_free(&out);
}

/* An encrypted key is refused in DER as well, and so is a key with something behind it. */
static void test_odd_keys(void **state)
{
    EVP_PKEY *got = NULL;
    unsigned char *der = NULL;
    struct buf more = BUF_SECRET(1000);
    struct err err;
    (void)state;
    FILE *file = fopen(path, "wb");
    i2d_PKCS8PrivateKey_fp(file, key, EVP_aes_128_cbc(), "pass", 4, NULL, NULL);
    fclose(file);
    assert_false(pem_key_load(path, &got, &err));
    BIO *bio = BIO_new_file(path, "w");
    assert_int_equal(PEM_write_bio_PrivateKey_traditional(
                         bio, key, EVP_aes_128_cbc(), (const unsigned char *)"pass", 4, NULL, NULL),
                     1);
    BIO_free(bio);
    assert_false(pem_key_load(path, &got, &err));
    int len = i2d_PrivateKey(key, &der);
    assert_true(buf_add(&more, bytes_of(der, (size_t)len)) && buf_add_u8(&more, 0));
    OPENSSL_clear_free(der, (size_t)len);
    for (size_t n = 0; n <= more.len; n++) {
        write_file(more.ptr, n);
        assert_int_equal(pem_key_load(path, &got, &err), n + 1 == more.len);
    }
    EVP_PKEY_free(got);
    buf_free(&more);
}

/* What OpenSSL writes as PEM, pem_add writes too. */
static void test_add(void **state)
{
    struct buf out = {0};
    unsigned char *der = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    (void)state;
    int len = i2d_X509(x509, &der);
    PEM_write_bio_X509(bio, x509);
    long size = BIO_get_mem_data(bio, &text);
    assert_true(pem_add(&out, "CERTIFICATE", bytes_of(der, (size_t)len)));
    assert_true(bytes_equal(buf_bytes(&out), bytes_of(text, (size_t)size)));
    OPENSSL_free(der);
    BIO_free(bio);
    buf_free(&out);
}

/* No certificate at all is a bag too, and what stood in the buffer stays before it. */
static void test_empty_bag(void **state)
{
    struct buf out = {0};
    (void)state;
    assert_true(buf_add_str(&out, "abc"));
    assert_true(pem_certs_only_encode(NULL, 0, &out));
    assert_memory_equal(out.ptr, "abc", 3);
    const unsigned char *p = out.ptr + 3;
    PKCS7 *p7 = d2i_PKCS7(NULL, &p, (long)out.len - 3);
    assert_non_null(p7);
    assert_ptr_equal(p, out.ptr + out.len);
    PKCS7_free(p7);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certs),        cmocka_unit_test(test_no_certs),
        cmocka_unit_test(test_keys),         cmocka_unit_test(test_large),
        cmocka_unit_test(test_csr),          cmocka_unit_test(test_certs_only),
        cmocka_unit_test(test_broken_block), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_unreadable),   cmocka_unit_test(test_odd_keys),
        cmocka_unit_test(test_add),          cmocka_unit_test(test_empty_bag),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
