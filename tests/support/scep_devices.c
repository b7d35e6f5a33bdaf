/* Writes tests/data/scep/FAMILY-*.http: requests as the families of scep/family.c were seen to send
 * them (tests/data/scep/README says where), and ra.pem, the certificate that they are encrypted to.
 *
 * usage: scep_devices FOLDER */
#include "base/pem.h"
#include "base/text.h"
#include "tests/support/must.h"
#include "tests/support/pki_make.h"
#include "tests/support/scep_make.h"
#include "tests/support/seed_key.h"

#include <openssl/objects.h>
#include <openssl/provider.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How the message comes. */
enum way {
    POSTED,
    GET_LINES,   /* everything escaped, a line break after 64 characters as well */
    GET_ESCAPED, /* everything escaped */
    GET_PADDING, /* only = escaped */
    GET_SLASHES, /* everything but / escaped, with line breaks */
};

struct shape {
    const char *file, *path, *headers, *signer, *txn;
    enum way way;
    size_t nonce;
    int digest, cipher, oaep;
    bool first_version; /* of X.509: the signer's certificate, which it numbers 3 */
    bool other_key;     /* signs with a key of its own */
    bool ber;
    const char *const *extensions; /* of the signer's certificate */
};

#define PKIOP "?operation=PKIOperation"
static const char *const critical_aki[] = {
    "authorityKeyIdentifier", "critical,DER:301680140102030405060708090A0B0C0D0E0F1011121314",
    NULL};

static const struct shape shapes[] = {
    {.file = "generic",
     .path = "/cgi-bin/pkiclient.exe" PKIOP,
     .headers = "HTTP/1.0\r\n",
     .signer = "CN=device",
     .txn = "D41D8CD98F00B204E9800998ECF8427E",
     .way = GET_SLASHES,
     .nonce = 16,
     .digest = NID_sha256,
     .cipher = NID_aes_128_cbc},
    {.file = "apple",
     .path = "/scep/apple" PKIOP,
     .headers = "HTTP/1.1\r\nHost: ra.example\r\n",
     .signer = "CN=MDM SCEP SIGNER,C=US",
     .txn = "0F1E2D3C4B5A69788796A5B4C3D2E1F000112233",
     .way = GET_PADDING,
     .nonce = 8,
     .digest = NID_sha1,
     .cipher = NID_des_ede3_cbc,
     .ber = true},
    {.file = "windows",
     .path = "/scep/windows/pkiclient.exe" PKIOP,
     .headers = "HTTP/1.1\r\nHost: ra.example\r\nContent-Type: application/x-pki-message\r\n",
     .signer = "CN=SCEP Protocol Certificate",
     .txn = "00112233445566778899aabbccddeeff00112233",
     .way = POSTED,
     .nonce = 16,
     .digest = NID_sha1,
     .cipher = NID_aes_128_cbc,
     .oaep = NID_sha1,
     .other_key = true,
     .extensions = critical_aki},
    {.file = "cisco-ios",
     .path = "/scep/ios/pkiclient.exe" PKIOP,
     .headers = "HTTP/1.0\r\nUser-Agent: Mozilla/4.0 (compatible; MSIE 5.0; Cisco PKI)\r\n"
                "Host: 192.0.2.1\r\n",
     .signer = "unstructuredName=router.example",
     .txn = "7970AD5B96A8DACF53C4BD1AB46BD94F",
     .way = GET_LINES,
     .nonce = 16,
     .digest = NID_md5,
     .cipher = NID_des_cbc,
     .first_version = true},
    {.file = "cisco-vpn",
     .path = "/scep/vpn" PKIOP,
     .headers = "HTTP/1.0\r\n",
     .signer = "CN=vpn-client.example",
     .txn = "8f14e45fceea167a5a36dedd4bea2543",
     .way = GET_ESCAPED,
     .nonce = 16,
     .digest = NID_sha1,
     .cipher = NID_des_ede3_cbc},
    {.file = "juniper",
     .path = "/scep/juniper" PKIOP,
     .headers = "HTTP/1.0\r\nContent-Type: application/x-pki-message\r\n",
     .signer = "CN=device",
     .txn = "45C48CCE2E2D7FBDEA1AFC51C7C6AD26",
     .way = POSTED,
     .nonce = 16,
     .digest = NID_sha1,
     .cipher = NID_des_ede3_cbc},
    {.file = "mikrotik",
     .path = "/scep/mikrotik" PKIOP,
     .headers = "HTTP/1.0\r\n",
     .signer = "CN=device",
     .txn = "746c854d25260b30133f55872bf0c0467fd3fa26ec82cb6d377a79f1e80b4953",
     .way = GET_ESCAPED,
     .nonce = 16,
     .digest = NID_md5,
     .cipher = NID_des_cbc},
};

/* What these ask first. */
static const struct {
    const char *file, *text;
} plain[] = {
    {"cisco-ios", "GET /scep/ios/pkiclient.exe?operation=GetCACert&message=Test-Router HTTP/1.0\r\n"
                  "User-Agent: Mozilla/4.0 (compatible; MSIE 5.0; Cisco PKI)\r\nHost: 192.0.2.1\r\n"
                  "\r\n"},
    {"mikrotik", "GET /scep/mikrotik?operation=GetCACert&message=DummyCAIdentity HTTP/1.0\r\n\r\n"},
};

static void file_write(const char *folder, const char *name, const char *suffix, struct bytes data)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
    FILE *file = fopen(path, "wb");
    MUST(file && fwrite(data.ptr, 1, data.len, file) == data.len && fclose(file) == 0);
}

static int64_t in_years(int years)
{
    return (int64_t)time(NULL) + years * INT64_C(365) * 86400;
}

/* Older ones sign their certificate and their CSR with what they sign the message with. */
static const EVP_MD *own_digest(const struct shape *shape)
{
    return EVP_get_digestbynid(shape->digest == NID_md5 ? NID_md5 : NID_sha256);
}

static struct cert *make_signer(const struct shape *shape, EVP_PKEY *key)
{
    struct make_spec spec = {
        .subject = shape->signer, .not_after = in_years(20), .extensions = shape->extensions};
    X509 *x509 = make_x509(&spec, key, NULL, NULL);
    struct cert *cert;
    struct err err;
    if (shape->first_version)
        MUST(X509_set_version(x509, X509_VERSION_1) &&
             ASN1_INTEGER_set(X509_get_serialNumber(x509), 3));
    MUST(X509_sign(x509, key, own_digest(shape)) && cert_from_x509(x509, &cert, &err));
    X509_free(x509);
    return cert;
}

static struct buf make_csr_der(const struct shape *shape, EVP_PKEY *key)
{
    char subject[64];
    unsigned char *der = NULL;
    struct buf out = {0};
    snprintf(subject, sizeof subject, "CN=%s-1", shape->file);
    X509_REQ *req =
        make_req(&(struct make_spec){.subject = subject, .challenge = "CHALLENGE234567ABCDE"}, key);
    MUST(X509_REQ_sign(req, key, own_digest(shape)));
    int len = i2d_X509_REQ(req, &der);
    MUST(len > 0 && buf_set(&out, bytes_of(der, (size_t)len)));
    OPENSSL_free(der);
    X509_REQ_free(req);
    return out;
}

static struct buf make_message(const struct shape *shape, const struct cert *ra)
{
    EVP_PKEY *device = seed_key("device"), *other = seed_key("signer");
    EVP_PKEY *key = shape->other_key ? other : device;
    struct cert *signer = make_signer(shape, key);
    struct scep_make_envelope seal = {
        .recipient = ra, .cipher = shape->cipher, .oaep = shape->oaep};
    struct buf csr = make_csr_der(shape, device), envelope = {0}, ber = {0}, der = {0};
    scep_make_envelope(&seal, buf_bytes(&csr), &envelope);
    if (shape->ber)
        scep_make_indefinite(buf_bytes(&envelope), &ber);
    struct scep_make make = {.type = "19",
                             .txn = bytes_str(shape->txn),
                             .nonce = bytes_of((const uint8_t *)"0123456789abcdef", shape->nonce),
                             .content = buf_bytes(shape->ber ? &ber : &envelope),
                             .signer = signer,
                             .key = key,
                             .digest = shape->digest};
    scep_make(&make, &der);
    cert_free(signer);
    EVP_PKEY_free(device);
    EVP_PKEY_free(other);
    buf_free(&csr);
    buf_free(&envelope);
    buf_free(&ber);
    return der;
}

static void add_query(struct buf *out, enum way way, struct bytes der)
{
    static const char *const escaped[] = {
        [GET_LINES] = "+/=\n", [GET_ESCAPED] = "+/=", [GET_PADDING] = "=", [GET_SLASHES] = "+=\n"};
    bool lines = way == GET_LINES || way == GET_SLASHES;
    struct buf text = {0};
    MUST(text_base64_encode(der, lines ? 64 : 0, &text));
    for (size_t i = 0; i < text.len; i++)
        if (strchr(escaped[way], text.ptr[i]))
            MUST(buf_add_fmt(out, "%%%02X", text.ptr[i]));
        else
            MUST(buf_add_u8(out, text.ptr[i]));
    buf_free(&text);
}

static void write_shape(const char *folder, const struct shape *shape, const struct cert *ra)
{
    struct buf der = make_message(shape, ra), out = {0};
    if (shape->way == POSTED) {
        MUST(buf_add_fmt(&out, "POST %s %sContent-Length: %zu\r\n\r\n", shape->path, shape->headers,
                         der.len) &&
             buf_add(&out, buf_bytes(&der)));
    } else {
        MUST(buf_add_fmt(&out, "GET %s&message=", shape->path));
        add_query(&out, shape->way, buf_bytes(&der));
        MUST(buf_add_fmt(&out, " %s\r\n", shape->headers));
    }
    file_write(folder, shape->file, "-PKCSReq.http", buf_bytes(&out));
    buf_free(&out);
    buf_free(&der);
}

int main(int argc, char **argv)
{
    OSSL_PROVIDER *legacy = OSSL_PROVIDER_load(NULL, "legacy"); /* single DES */
    OSSL_PROVIDER *usual = OSSL_PROVIDER_load(NULL, "default");
    if (argc != 2) {
        fputs("usage: scep_devices FOLDER\n", stderr);
        return 2;
    }
    EVP_PKEY *key = seed_key("ra");
    struct make_spec spec = {.subject = "CN=RA of the device messages",
                             .key_usage = "digitalSignature,keyEncipherment",
                             .not_after = in_years(100)};
    struct cert *ra = make_cert(&spec, key, NULL, NULL);
    struct buf pem = {0};
    MUST(pem_add(&pem, "CERTIFICATE", cert_der_get(ra)));
    file_write(argv[1], "ra", ".pem", buf_bytes(&pem));
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        write_shape(argv[1], &shapes[i], ra);
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        file_write(argv[1], plain[i].file, "-GetCACert.http", bytes_str(plain[i].text));
    buf_free(&pem);
    cert_free(ra);
    EVP_PKEY_free(key);
    OSSL_PROVIDER_unload(legacy);
    OSSL_PROVIDER_unload(usual);
    return 0;
}
