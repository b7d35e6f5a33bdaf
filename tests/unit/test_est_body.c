#include "base/pem.h"
#include "base/text.h"
#include "est/body.h"
#include "tests/support/pki_make.h"

#include <openssl/pkcs7.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CERTS 3

struct fixture {
    struct buf der; /* a CSR */
    struct cert *certs[CERTS];
};

static int setup(void **state)
{
    static const char *const subjects[CERTS] = {"CN=leaf", "CN=issuing", "CN=root"};
    struct fixture *f = mem_zalloc(sizeof *f);
    EVP_PKEY *key = make_ec("P-256");
    f->der =
        make_req_der(&(struct make_spec){.subject = "CN=body", .sans = "DNS:body.example"}, key);
    for (size_t i = 0; i < CERTS; i++)
        f->certs[i] = make_cert(&(struct make_spec){.subject = subjects[i]}, key, NULL, NULL);
    EVP_PKEY_free(key);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    buf_free(&f->der);
    for (size_t i = 0; i < CERTS; i++)
        cert_free(f->certs[i]);
    free(f);
    return 0;
}

/* Parses a copy of exactly that size. True if it was accepted, and then it was this CSR. */
static bool accepts(const struct fixture *f, struct bytes body)
{
    uint8_t *copy = malloc(body.len ? body.len : 1);
    struct csr *csr = NULL;
    struct err err = {0};
    assert_non_null(copy);
    if (body.len)
        memcpy(copy, body.ptr, body.len);
    bool ok = est_body_csr(bytes_of(copy, body.len), &csr, &err);
    free(copy); /* the CSR keeps nothing of the body */
    if (ok) {
        assert_true(bytes_equal(csr_der_get(csr), buf_bytes(&f->der)));
        csr_free(csr);
    } else {
        assert_null(csr);
        assert_int_equal(err.kind, ERR_PEER);
        assert_true(err.text[0] != '\0');
    }
    return ok;
}

static bool accepts_str(const struct fixture *f, const char *body)
{
    return accepts(f, bytes_str(body));
}

/* base64 of data with `line` after every `columns` characters, and `before` and `after` it all. */
static struct buf layout(struct bytes data, size_t columns, const char *line, const char *before,
                         const char *after)
{
    struct buf flat = {0}, out = {0};
    assert_true(text_base64_encode(data, 0, &flat));
    assert_true(buf_add_str(&out, before));
    struct bytes rest = buf_bytes(&flat), piece;
    while (rest.len) {
        assert_true(bytes_take(&rest, rest.len < columns ? rest.len : columns, &piece));
        assert_true(buf_add(&out, piece) && buf_add_str(&out, rest.len ? line : ""));
    }
    assert_true(buf_add_str(&out, after));
    buf_free(&flat);
    return out;
}

/* base64 is read with any white space anywhere, and with none (RFC 8951 section 3.1). */
static void test_layouts(void **state)
{
    static const struct {
        size_t columns;
        const char *line, *before, *after;
    } rows[] = {
        {100000, "", "", ""},
        {100000, "", "", "\n"},
        {100000, "", "", "\r\n\r\n"},
        {64, "\n", "", "\n"},
        {64, "\r\n", "", "\r\n"},
        {64, "\r", "", ""},
        {76, "\n", "\n\n", "\n"},
        {64, "\r\n \t ", " \t\r\n", " \t "},
        {1, "\n", "", ""},
        {1, " \t", "\t", "\t"},
        {3, "\r\n", "", ""},
        {1500, "\n", "", "\n"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf body = layout(buf_bytes(&f->der), rows[i].columns, rows[i].line, rows[i].before,
                                 rows[i].after);
        if (!accepts(f, buf_bytes(&body)))
            fail_msg("layout %zu is refused", i);
        buf_free(&body);
    }
}

/* PEM is tolerated under both of its labels, with text around it and any line end. */
static void test_pem(void **state)
{
    static const struct {
        const char *line, *before, *after;
    } rows[] = {
        {"\n", "-----BEGIN CERTIFICATE REQUEST-----\n", "\n-----END CERTIFICATE REQUEST-----\n"},
        {"\r\n", "-----BEGIN NEW CERTIFICATE REQUEST-----\r\n",
         "\r\n-----END NEW CERTIFICATE REQUEST-----\r\n"},
        {"\n", "Certificate Request:\n    Data:\n-----BEGIN CERTIFICATE REQUEST-----\n",
         "\n-----END CERTIFICATE REQUEST-----"},
        {"", "-----BEGIN CERTIFICATE REQUEST-----", "-----END CERTIFICATE REQUEST-----"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf body =
            layout(buf_bytes(&f->der), 64, rows[i].line, rows[i].before, rows[i].after);
        if (!accepts(f, buf_bytes(&body)))
            fail_msg("PEM form %zu is refused", i);
        buf_free(&body);
    }
    struct buf other = layout(buf_bytes(&f->der), 64, "\n", "-----BEGIN CERTIFICATE-----\n",
                              "\n-----END CERTIFICATE-----\n");
    assert_false(accepts(f, buf_bytes(&other)));
    buf_free(&other);
}

/* Raw DER whose signature happens to end in what white space looks like is read whole. */
static void test_der_white_end(void **state)
{
    EVP_PKEY *key = make_ec("P-256");
    unsigned seen = 0;
    (void)state;
    for (unsigned round = 0; round < 3000 && seen < 3; round++) {
        struct buf der = make_req_der(&(struct make_spec){.subject = "CN=white"}, key);
        struct csr *csr;
        struct err err;
        if (memchr(" \t\r\n", der.ptr[der.len - 1], 4)) {
            seen++;
            if (!est_body_csr(buf_bytes(&der), &csr, &err))
                fail_msg("%s", err.text);
            csr_free(csr);
        }
        buf_free(&der);
    }
    assert_int_equal(seen, 3); /* fails by chance once in 10^17 runs */
    EVP_PKEY_free(key);
}

/* Raw DER is tolerated, without anything after it. */
static void test_der(void **state)
{
    struct fixture *f = *state;
    assert_true(accepts(f, buf_bytes(&f->der)));
    struct buf longer = {0};
    assert_true(buf_set(&longer, buf_bytes(&f->der)) && buf_add_u8(&longer, 0));
    assert_false(accepts(f, buf_bytes(&longer)));
    buf_free(&longer);
}

/* What is no CSR, or is one with something after it, is refused. */
static void test_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const rows[] = {
        "",
        " ",
        "\r\n\t",
        "not a request",
        "MA==",
        "MAA=",
        "AAAA",
        "====",
        "MIIB",
        "\x30",
        "-----BEGIN CERTIFICATE REQUEST-----",
        "{}",
        "<xml/>",
        "0",
        "0\x80",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (accepts_str(f, rows[i]))
            fail_msg("'%s' is taken for a CSR", rows[i]);

    struct buf once = layout(buf_bytes(&f->der), 64, "\n", "", "\n"), body = {0};
    static const char *const tails[] = {"=", "A", "AAAA", "-", "%0a", "!"};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        buf_clear(&body);
        assert_true(buf_set(&body, buf_bytes(&once)) && buf_add_str(&body, tails[i]));
        if (accepts(f, buf_bytes(&body)))
            fail_msg("a CSR followed by '%s' is accepted", tails[i]);
    }
    assert_true(buf_set(&body, buf_bytes(&once)) && buf_add(&body, buf_bytes(&once)));
    assert_false(accepts(f, buf_bytes(&body)));
    buf_clear(&body);
    assert_true(buf_set(&body, buf_bytes(&f->der)) && buf_add_u8(&body, 'A'));
    buf_free(&once);
    once = layout(buf_bytes(&body), 64, "\n", "", "\n");
    assert_false(accepts(f, buf_bytes(&once)));
    buf_free(&body);
    buf_free(&once);
}

/* A NUL inside the base64 ends nothing: the body is refused. */
static void test_nul(void **state)
{
    struct fixture *f = *state;
    struct buf body = layout(buf_bytes(&f->der), 64, "\n", "", "\n");
    assert_true(buf_add_u8(&body, 0) && buf_add_str(&body, "more"));
    assert_false(accepts(f, buf_bytes(&body)));
    buf_free(&body);
}

/* A CSR above its ceiling is refused, in DER and in base64. */
static void test_too_long(void **state)
{
    struct fixture *f = *state;
    struct buf der = {0};
    size_t len = CSR_MAX + 1;
    uint8_t *zeros = mem_zalloc(len);
    /* one SEQUENCE of that length in all, so that only the size is wrong */
    zeros[0] = 0x30, zeros[1] = 0x83;
    zeros[2] = (uint8_t)((len - 5) >> 16), zeros[3] = (uint8_t)((len - 5) >> 8);
    zeros[4] = (uint8_t)(len - 5);
    assert_false(accepts(f, bytes_of(zeros, len)));
    assert_true(text_base64_encode(bytes_of(zeros, len), 64, &der));
    assert_false(accepts(f, buf_bytes(&der)));
    buf_free(&der);
    free(zeros);
}

/* No truncation is taken for another CSR, and none that lost a byte of the CSR for this one. */
static void test_truncated(void **state)
{
    struct fixture *f = *state;
    struct bytes der = buf_bytes(&f->der);
    for (size_t n = 0; n < der.len; n++)
        assert_false(accepts(f, bytes_of(der.ptr, n)));

    struct buf text = layout(der, 64, "\r\n", "", "\r\n");
    for (size_t n = 0; n < text.len; n++) {
        bool ok = accepts(f, bytes_of(text.ptr, n));
        if (n + 6 < text.len) /* four characters and the line end */
            assert_false(ok);
    }
    assert_true(accepts(f, bytes_of(text.ptr, text.len - 2)));
    buf_free(&text);

    struct buf pem = {0};
    assert_true(pem_add(&pem, "CERTIFICATE REQUEST", der));
    for (size_t n = 0; n + 1 < pem.len; n++)
        assert_false(accepts(f, bytes_of(pem.ptr, n)));
    buf_free(&pem);
}

/* A certs-only body is base64 with lines of 64 characters, or one line, and ends with a newline;
 * either way it decodes to the same definite-length PKCS#7 with the certificates in order. */
static void test_certs(void **state)
{
    struct fixture *f = *state;
    struct bytes ders[CERTS];
    struct buf wrapped = {0}, line = {0}, der = {0}, want = {0};
    struct err err;
    for (size_t i = 0; i < CERTS; i++)
        ders[i] = cert_der_get(f->certs[i]);
    assert_true(est_body_certs(ders, CERTS, false, &wrapped));
    assert_true(est_body_certs(ders, CERTS, true, &line));
    assert_true(pem_certs_only_encode(ders, CERTS, &want));

    struct bytes rest = buf_bytes(&wrapped), piece;
    while (rest.len) {
        assert_true(bytes_take_until(&rest, '\n', &piece)); /* also the last one */
        assert_true(piece.len == 64 || (piece.len > 0 && piece.len < 64 && rest.len == 0));
        assert_null(memchr(piece.ptr, '\r', piece.len));
    }
    rest = buf_bytes(&line);
    assert_true(bytes_take_until(&rest, '\n', &piece));
    assert_int_equal(rest.len, 0);

    assert_true(text_base64_decode(piece, TEXT_BASE64_STRICT, &der, &err));
    assert_true(bytes_equal(buf_bytes(&der), buf_bytes(&want)));
    buf_clear(&der);
    assert_true(text_base64_decode(buf_bytes(&wrapped), TEXT_BASE64_SPACE, &der, &err));
    assert_true(bytes_equal(buf_bytes(&der), buf_bytes(&want)));

    const unsigned char *p = der.ptr;
    PKCS7 *p7 = d2i_PKCS7(NULL, &p, (long)der.len);
    assert_non_null(p7);
    assert_ptr_equal(p, der.ptr + der.len);
    assert_true(PKCS7_type_is_signed(p7));
    assert_int_equal(sk_PKCS7_SIGNER_INFO_num(p7->d.sign->signer_info), 0);
    assert_int_equal(sk_X509_num(p7->d.sign->cert), CERTS);
    for (int i = 0; i < CERTS; i++) {
        struct cert *cert;
        assert_true(cert_from_x509(sk_X509_value(p7->d.sign->cert, i), &cert, &err));
        assert_true(bytes_equal(cert_der_get(cert), ders[i]));
        cert_free(cert);
    }
    PKCS7_free(p7);
    buf_free(&wrapped);
    buf_free(&line);
    buf_free(&der);
    buf_free(&want);
}

/* A body that passes the ceiling of its buffer is not begun. */
static void test_certs_ceiling(void **state)
{
    struct fixture *f = *state;
    struct bytes der = cert_der_get(f->certs[0]);
    for (size_t ceiling = 1; ceiling < der.len; ceiling += 7) {
        struct buf out = BUF_INIT(ceiling);
        assert_false(est_body_certs(&der, 1, false, &out));
        assert_false(est_body_certs(&der, 1, true, &out));
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),  cmocka_unit_test(test_pem),
        cmocka_unit_test(test_der),      cmocka_unit_test(test_der_white_end),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_nul),
        cmocka_unit_test(test_too_long), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_certs),    cmocka_unit_test(test_certs_ceiling),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
