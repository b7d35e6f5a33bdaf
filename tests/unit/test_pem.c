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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certs), cmocka_unit_test(test_no_certs),
        cmocka_unit_test(test_keys),  cmocka_unit_test(test_large),
        cmocka_unit_test(test_csr),   cmocka_unit_test(test_certs_only),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
