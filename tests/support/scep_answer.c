/* The CA's side of SCEP, one message at a time, for CAs as they are: every part of an answer can be
 * as an old or odd server writes it.
 *
 *   scep_answer read REQUEST CERT KEY FOLDER
 *     opens a message to us; prints "type=19 txn=... nonce=HEX digest=SHA256 cipher=AES-128-CBC",
 *     and writes FOLDER/csr.der and FOLDER/sender.pem
 *   scep_answer write OUT NAME=VALUE...
 *     every name is in take_word below; text, and hex where it says so
 */
#include "base/pem.h"
#include "base/text.h"
#include "scep/attrs.h"
#include "scep/msg.h"
#include "tests/support/scep_make.h"

#include <openssl/pem.h>
#include <openssl/provider.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_LEN ((size_t)1 << 20)

static void die(const char *what, const char *why)
{
    fprintf(stderr, "scep_answer: %s: %s\n", what, why);
    exit(1);
}

static struct cert *cert_load(const char *path)
{
    struct cert **certs, *first;
    size_t count;
    struct err err = {0};
    if (!pem_certs_load(path, &certs, &count, &err))
        die(path, err.text);
    first = cert_ref(certs[0]);
    pem_certs_free(certs, count);
    return first;
}

static EVP_PKEY *key_load(const char *path)
{
    EVP_PKEY *key = NULL;
    struct err err = {0};
    if (!pem_key_load(path, &key, &err))
        die(path, err.text);
    return key;
}

static void file_load(const char *path, struct buf *ret)
{
    struct err err = {0};
    if (!pem_file_read(path, FILE_MAX_LEN, ret, &err))
        die(path, err.text);
}

static void file_save(const char *folder, const char *name, struct bytes data)
{
    char path[1024];
    snprintf(path, sizeof path, "%s%s%s", folder, *name ? "/" : "", name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data.ptr, 1, data.len, file) != data.len || fclose(file) != 0)
        die(path, "cannot be written");
}

static void hex_load(const char *text, struct buf *ret)
{
    if (!text_unhex(bytes_str(text), ret))
        die(text, "is no hex");
}

static int nid_of(const char *name)
{
    int nid = OBJ_txt2nid(name);
    if (nid == NID_undef)
        die(name, "is no algorithm");
    return nid;
}

static void read_request(const char *path, const char *cert, const char *key, const char *folder)
{
    struct buf der = {0}, content = {0}, pem = {0};
    struct scep_key own = {cert_load(cert), key_load(key)};
    struct scep_opener opener = {&own, 1, SCEP_CIPHERS_DES};
    struct scep_msg *msg;
    enum scep_fail fail;
    struct err err = {0};
    bool partial;
    int cipher = NID_undef;
    file_load(path, &der);
    if (!scep_msg_parse(buf_bytes(&der), &msg, &partial, &fail, &err) ||
        !scep_msg_open(msg, &opener, &content, &cipher, &err))
        die(path, err.text);
    struct bytes nonce = scep_msg_nonce_get(msg), txn = scep_msg_txn_get(msg);
    char hex[2 * 64 + 1];
    text_hex(nonce, hex);
    printf("type=%d txn=%.*s nonce=%s digest=%s cipher=%s\n", scep_msg_type_get(msg), (int)txn.len,
           (const char *)txn.ptr, hex, OBJ_nid2sn(scep_msg_algs_get(msg).digest),
           OBJ_nid2sn(cipher));
    if (!pem_add(&pem, "CERTIFICATE", cert_der_get(scep_msg_signer_get(msg))))
        die(path, "no memory");
    file_save(folder, "csr.der", buf_bytes(&content));
    file_save(folder, "sender.pem", buf_bytes(&pem));
    scep_msg_free(msg);
    cert_free((struct cert *)own.cert);
    EVP_PKEY_free(own.key);
    buf_free(&der);
    buf_free(&content);
    buf_free(&pem);
}

struct answer {
    struct scep_make make;
    struct scep_make_envelope envelope;
    struct cert *signer, *recipient, *bag;
    struct bytes bag_der;
    struct buf nonce, more, content;
    bool ber;
};

static void add_more(struct answer *answer, enum scep_attr attr, struct bytes value)
{
    if (!scep_attr_add(&answer->more, attr, value))
        die("attribute", "too long");
}

static void take_nonce(struct answer *answer, enum scep_attr attr, const char *value)
{
    struct buf nonce = {0};
    hex_load(value, &nonce);
    add_more(answer, attr, buf_bytes(&nonce));
    buf_free(&nonce);
}

static bool take_attribute(struct answer *answer, const char *name, const char *value)
{
    if (strcmp(name, "txn") == 0)
        answer->make.txn = bytes_str(value);
    else if (strcmp(name, "recipient_nonce") == 0) /* hex */
        take_nonce(answer, SCEP_ATTR_RECIPIENT_NONCE, value);
    else if (strcmp(name, "status") == 0)
        add_more(answer, SCEP_ATTR_STATUS, bytes_str(value));
    else if (strcmp(name, "fail") == 0)
        add_more(answer, SCEP_ATTR_FAIL, bytes_str(value));
    else if (strcmp(name, "fail_text") == 0)
        add_more(answer, SCEP_ATTR_FAIL_TEXT, bytes_str(value));
    else if (strcmp(name, "hresult") == 0)
        add_more(answer, SCEP_ATTR_HRESULT, bytes_str(value));
    else
        return false;
    return true;
}

static void take_word(struct answer *answer, char *word)
{
    char *value = strchr(word, '=');
    if (!value)
        die(word, "is no NAME=VALUE");
    *value++ = 0;
    if (take_attribute(answer, word, value))
        return;
    if (strcmp(word, "signer") == 0) { /* the last one counts */
        cert_free(answer->signer);
        answer->make.signer = answer->signer = cert_load(value);
    } else if (strcmp(word, "key") == 0) {
        answer->make.key = key_load(value);
    } else if (strcmp(word, "recipient") == 0) {
        answer->envelope.recipient = answer->recipient = cert_load(value);
    } else if (strcmp(word, "content") == 0) { /* a file; enveloped if there is a recipient */
        file_load(value, &answer->content);
    } else if (strcmp(word, "cipher") == 0) {
        answer->envelope.cipher = nid_of(value);
    } else if (strcmp(word, "digest") == 0) {
        answer->make.digest = nid_of(value);
    } else if (strcmp(word, "signature") == 0) {
        answer->make.signature = nid_of(value);
    } else if (strcmp(word, "bag") == 0) { /* a file, or nothing */
        answer->make.certs = &answer->bag_der;
        answer->bag = *value ? cert_load(value) : NULL;
        answer->make.cert_count = answer->bag ? 1 : 0;
        answer->bag_der = answer->bag ? cert_der_get(answer->bag) : (struct bytes){0};
    } else if (strcmp(word, "unsorted") == 0) {
        answer->make.unsorted = true;
    } else if (strcmp(word, "ber") == 0) {
        answer->ber = true;
    } else {
        die(word, "is not known");
    }
}

static void write_answer(const char *path, char **words, int count)
{
    struct answer answer = {.make = {.type = "3"}};
    struct buf envelope = {0}, der = {0}, out = {0};
    for (int i = 0; i < count; i++)
        take_word(&answer, words[i]);
    if (!answer.signer || !answer.make.key)
        die("usage", "signer and key are required");
    hex_load("00112233445566778899aabbccddeeff", &answer.nonce);
    answer.make.nonce = buf_bytes(&answer.nonce);
    answer.make.more = buf_bytes(&answer.more);
    answer.make.content = buf_bytes(&answer.content);
    if (answer.recipient) {
        scep_make_envelope(&answer.envelope, buf_bytes(&answer.content), &envelope);
        answer.make.content = buf_bytes(&envelope);
    }
    scep_make(&answer.make, &der);
    if (answer.ber)
        scep_make_indefinite(buf_bytes(&der), &out);
    file_save(path, "", answer.ber ? buf_bytes(&out) : buf_bytes(&der));
    buf_free(&envelope);
    buf_free(&der);
    buf_free(&out);
    buf_free(&answer.nonce);
    buf_free(&answer.more);
    buf_free(&answer.content);
    cert_free(answer.signer);
    cert_free(answer.recipient);
    cert_free(answer.bag);
    EVP_PKEY_free(answer.make.key);
}

int main(int argc, char **argv)
{
    OSSL_PROVIDER *legacy = OSSL_PROVIDER_load(NULL, "legacy"); /* single DES */
    OSSL_PROVIDER *usual = OSSL_PROVIDER_load(NULL, "default");
    if (argc == 6 && strcmp(argv[1], "read") == 0)
        read_request(argv[2], argv[3], argv[4], argv[5]);
    else if (argc > 2 && strcmp(argv[1], "write") == 0)
        write_answer(argv[2], argv + 3, argc - 3);
    else
        die("usage", "scep_answer read REQUEST CERT KEY FOLDER | write OUT NAME=VALUE...");
    OSSL_PROVIDER_unload(legacy);
    OSSL_PROVIDER_unload(usual);
    return 0;
}
