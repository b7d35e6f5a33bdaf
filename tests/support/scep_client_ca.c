#include "tests/support/scep_client.h"

#include "base/pem.h"

#include <openssl/cms.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The content of a SignedData, verified by one of these certificates. */
static bool verified(struct bytes der, const struct peer_ca *ca, struct buf *content,
                     struct err *err)
{
    const unsigned char *p = der.ptr;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.len);
    STACK_OF(X509) *known = sk_X509_new_null();
    BIO *out = BIO_new(BIO_s_mem());
    char *data;
    for (size_t i = 0; i < ca->count; i++)
        if (!known || !sk_X509_push(known, cert_keyed_get(ca->certs[i])))
            err_no_memory();
    bool ok = cms && out && p == der.ptr + der.len &&
              CMS_verify(cms, known, NULL, NULL, out,
                         CMS_NO_SIGNER_CERT_VERIFY | CMS_NOINTERN | CMS_BINARY) == 1;
    long len = ok ? BIO_get_mem_data(out, &data) : 0;
    ok = ok && buf_set(content, bytes_of(data, (size_t)len));
    sk_X509_free(known);
    BIO_free(out);
    CMS_ContentInfo_free(cms);
    return ok || err_openssl(err, ERR_PEER, "GetNextCACert: not signed by what GetCACert told");
}

static bool write_all(const char *path, struct cert *const *certs, size_t count)
{
    struct buf text = {0};
    FILE *file = fopen(path, "w");
    bool ok = file;
    for (size_t i = 0; i < count && ok; i++)
        ok = pem_add(&text, "CERTIFICATE", cert_der_get(certs[i]));
    ok = ok && fwrite(text.ptr, 1, text.len, file) == text.len;
    if (file)
        ok = fclose(file) == 0 && ok;
    buf_free(&text);
    return ok;
}

int client_next(const struct client_options *options)
{
    struct peer_ca ca;
    struct peer_http reply = {0};
    struct buf content = {0};
    struct cert **certs = NULL;
    size_t count = 0;
    struct err err = {0};
    bool ok = peer_ca_fetch(&options->url, &ca, &err) &&
              peer_http(&options->url, "operation=GetNextCACert", (struct bytes){0}, &reply, &err);
    if (ok && reply.status == 200 && strcmp(reply.type, "application/x-x509-next-ca-cert") != 0)
        ok = err_set(&err, ERR_PEER, "GetNextCACert: Content-Type %s", reply.type);
    if (ok && reply.status == 200)
        ok = verified(buf_bytes(&reply.body), &ca, &content, &err) &&
             scep_certs_decode(buf_bytes(&content), &certs, &count, &err) &&
             write_all(options->next_path, certs, count);
    printf("certificates=%zu http=%d\n", count, reply.status);
    if (!ok)
        fprintf(stderr, "scep_client: %s\n", err.text);
    pem_certs_free(certs, count);
    buf_free(&content);
    peer_http_clear(&reply);
    peer_ca_clear(&ca);
    return ok && count ? CLIENT_SUCCESS : CLIENT_OTHER;
}

/* The first certificate of a file. */
static bool cert_load(const char *path, struct cert **ret, struct err *err)
{
    struct cert **certs;
    size_t count;
    if (!pem_certs_load(path, &certs, &count, err))
        return false;
    *ret = cert_ref(certs[0]);
    pem_certs_free(certs, count);
    return true;
}

static bool write_bytes(const char *path, struct bytes data)
{
    FILE *file = fopen(path, "w");
    bool ok = file && fwrite(data.ptr, 1, data.len, file) == data.len;
    if (file)
        ok = fclose(file) == 0 && ok;
    return ok;
}

int client_wanted(const struct client_options *options)
{
    const char *path = options->getcert_path ? options->getcert_path : options->getcrl_path;
    struct peer_ca ca = {0};
    struct cert *wanted = NULL, *signer = NULL;
    EVP_PKEY *key = NULL;
    struct buf message = {0};
    struct peer_answer answer = {.status = -1};
    struct err err = {0};
    struct peer_device device = {.txn = bytes_str("a lookup"),
                                 .type = options->getcert_path ? "21" : "22",
                                 .wants = true,
                                 .algs = options->algs};
    bool ok = cert_load(path, &wanted, &err) && cert_load(options->renew_cert, &signer, &err) &&
              pem_key_load(options->renew_key, &key, &err) &&
              peer_ca_fetch(&options->url, &ca, &err);
    device.signer = (struct scep_key){signer, key};
    struct peer_talk talk = {&options->url, &ca, &device};
    ok = ok && peer_wanted_make(&device, &ca, wanted, &message, &err) &&
         peer_ask(&talk, buf_bytes(&message), &answer, &err);
    if (ok && answer.status == SCEP_SUCCESS)
        ok = write_bytes(options->out_path, buf_bytes(&answer.content));
    if (ok)
        printf("status=%d fail=%d http=%d\n", answer.status, answer.fail, answer.http);
    else
        fprintf(stderr, "scep_client: %s\n", err.text);
    int result = !ok                             ? CLIENT_OTHER
                 : answer.status == SCEP_SUCCESS ? CLIENT_SUCCESS
                                                 : CLIENT_FAILURE;
    peer_answer_clear(&answer);
    buf_free(&message);
    peer_ca_clear(&ca);
    EVP_PKEY_free(key);
    cert_free(signer);
    cert_free(wanted);
    return result;
}

bool client_recipient(const char *path, struct peer_ca *ca, struct err *err)
{
    struct cert **certs;
    size_t count;
    if (!pem_certs_load(path, &certs, &count, err))
        return false;
    ca->recipient = certs[0];
    ca->certs = mem_resize(ca->certs, ca->count + count, sizeof(struct cert *));
    for (size_t i = 0; i < count; i++)
        ca->certs[ca->count++] = certs[i];
    free(certs);
    return true;
}
