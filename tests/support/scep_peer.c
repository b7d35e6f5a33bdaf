#include "tests/support/scep_peer.h"

#include "base/pem.h"
#include "base/text.h"
#include "tests/support/scep_make.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define SIGNER_DAYS 7

/* Of an RA with two certificates, the one to encrypt to. */
static bool enciphers(const struct cert *cert)
{
    return X509_get_key_usage(cert_x509_get(cert)) & KU_KEY_ENCIPHERMENT;
}

/* RFC 8894 section 4.2: one certificate, or RA and CA certificates in a bag. */
bool peer_ca_fetch(const struct peer_url *url, struct peer_ca *ca, struct err *err)
{
    struct peer_http reply;
    bool ok = peer_http(url, "operation=GetCACert", (struct bytes){0}, &reply, err);
    *ca = (struct peer_ca){0};
    if (ok && reply.status != 200) {
        ok = err_set(err, ERR_PEER, "GetCACert: HTTP status %d", reply.status);
    } else if (ok && strcmp(reply.type, "application/x-x509-ca-cert") == 0) {
        ca->certs = mem_zalloc(sizeof *ca->certs);
        ok = cert_parse(buf_bytes(&reply.body), &ca->certs[0], err);
        ca->count = ok;
    } else if (ok && strcmp(reply.type, "application/x-x509-ca-ra-cert") == 0) {
        ok = scep_certs_decode(buf_bytes(&reply.body), &ca->certs, &ca->count, err) &&
             (ca->count > 0 || err_set(err, ERR_PEER, "GetCACert: an empty bag"));
    } else if (ok) {
        ok = err_set(err, ERR_PEER, "GetCACert: Content-Type %s", reply.type);
    }
    for (size_t i = 0; ok && i < ca->count; i++)
        if (!ca->recipient &&
            ((!cert_is_ca(ca->certs[i]) && enciphers(ca->certs[i])) || ca->count == 1))
            ca->recipient = ca->certs[i];
    if (ok && !ca->recipient)
        ca->recipient = ca->certs[0];
    peer_http_clear(&reply);
    return ok;
}

void peer_ca_clear(struct peer_ca *ca)
{
    pem_certs_free(ca->certs, ca->count);
    *ca = (struct peer_ca){0};
}

bool peer_key_make(const char *type, EVP_PKEY **ret, struct err *err)
{
    static const struct {
        const char *name;
        unsigned bits;
        const char *curve;
    } kinds[] = {
        {"rsa1024", 1024, NULL}, {"rsa2048", 2048, NULL}, {"rsa3072", 3072, NULL},
        {"rsa4096", 4096, NULL}, {"p256", 0, "P-256"},    {"p384", 0, "P-384"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(type, kinds[i].name) == 0) {
            *ret = kinds[i].bits ? EVP_RSA_gen(kinds[i].bits) : EVP_EC_gen(kinds[i].curve);
            return *ret || err_openssl(err, ERR_LOCAL, "making a key");
        }
    return err_set(err, ERR_CONFIG, "key type %s is unknown", type);
}

/* "/O=x/CN=y" as it stands, also with characters that nobody should accept. */
static bool name_make(const char *text, X509_NAME **ret, struct err *err)
{
    struct bytes cur = bytes_str(text), part, type;
    X509_NAME *name = X509_NAME_new();
    bool ok = name && bytes_starts(cur, "/");
    if (ok)
        bytes_take_until(&cur, '/', &part);
    while (ok && cur.len) {
        char field[64] = "";
        bytes_take_until(&cur, '/', &part);
        ok = bytes_take_until(&part, '=', &type) && type.len < sizeof field;
        if (ok)
            memcpy(field, type.ptr, type.len);
        ok = ok && X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, part.ptr, (int)part.len,
                                              -1, 0) == 1;
    }
    if (ok) {
        *ret = name;
        return true;
    }
    X509_NAME_free(name);
    return err_openssl(err, ERR_CONFIG, "subject %s is not of the form /CN=x", text);
}

/* "dns:a" and its like in OpenSSL's form. */
static bool sans_make(const struct peer_device *device, X509_EXTENSION **ret, struct err *err)
{
    static const char *const kinds[][2] = {
        {"dns:", "DNS:"}, {"ip:", "IP:"}, {"email:", "email:"}, {"uri:", "URI:"}};
    struct buf text = {0};
    for (size_t i = 0; i < device->san_count; i++) {
        const char *kind = "DNS:", *value = device->sans[i];
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
            if (strncmp(value, kinds[k][0], strlen(kinds[k][0])) == 0) {
                kind = kinds[k][1];
                value += strlen(kinds[k][0]);
                break;
            }
        if (!buf_add_fmt(&text, "%s%s%s", i ? "," : "", kind, value))
            err_no_memory();
    }
    *ret = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, buf_str(&text));
    bool ok = *ret || err_openssl(err, ERR_CONFIG, "SAN %s", buf_str(&text));
    buf_free(&text);
    return ok;
}

static bool request_fill(X509_REQ *req, const struct peer_device *device, struct err *err)
{
    X509_NAME *subject = NULL;
    X509_EXTENSION *sans = NULL;
    STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    const char *challenge = device->challenge;
    bool ok = list && name_make(device->subject, &subject, err) &&
              (!device->san_count || sans_make(device, &sans, err));
    if (sans && !sk_X509_EXTENSION_push(list, sans))
        err_no_memory();
    if (ok &&
        (!X509_REQ_set_subject_name(req, subject) || !X509_REQ_set_pubkey(req, device->key) ||
         (sans && !X509_REQ_add_extensions(req, list)) ||
         (challenge && challenge[0] &&
          !X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword, MBSTRING_UTF8,
                                     (const unsigned char *)challenge, (int)strlen(challenge))) ||
         !X509_REQ_sign(req, device->key, EVP_sha256())))
        ok = err_openssl(err, ERR_LOCAL, "making a certification request");
    X509_NAME_free(subject);
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    return ok;
}

static bool csr_make(const struct peer_device *device, struct buf *der, struct err *err)
{
    X509_REQ *req = X509_REQ_new();
    unsigned char *text = NULL;
    bool ok =
        req && X509_REQ_set_version(req, X509_REQ_VERSION_1) && request_fill(req, device, err);
    int len = ok ? i2d_X509_REQ(req, &text) : -1;
    ok = ok && len > 0 && buf_set(der, bytes_of(text, (size_t)len));
    OPENSSL_free(text);
    X509_REQ_free(req);
    return ok;
}

static bool signer_fill(X509 *x509, const char *subject, EVP_PKEY *key, struct err *err)
{
    uint8_t octets[8];
    X509_NAME *name;
    if (!name_make(subject, &name, err))
        return false;
    bool ok = RAND_bytes(octets, sizeof octets) == 1;
    octets[0] = (uint8_t)((octets[0] & 0x7f) | 0x40);
    BIGNUM *serial = BN_bin2bn(octets, sizeof octets, NULL);
    ok = ok && serial && BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x509)) &&
         X509_set_version(x509, X509_VERSION_3) && X509_set_subject_name(x509, name) &&
         X509_set_issuer_name(x509, name) && X509_gmtime_adj(X509_getm_notBefore(x509), -3600) &&
         X509_gmtime_adj(X509_getm_notAfter(x509), 86400L * SIGNER_DAYS) &&
         X509_set_pubkey(x509, key) && X509_sign(x509, key, EVP_sha256());
    BN_free(serial);
    X509_NAME_free(name);
    return ok || err_openssl(err, ERR_LOCAL, "making the signer's certificate");
}

bool peer_signer_make(const char *subject, EVP_PKEY *key, struct cert **ret, struct err *err)
{
    X509 *x509 = X509_new();
    bool ok = x509 && signer_fill(x509, subject, key, err) && cert_from_x509(x509, ret, err);
    X509_free(x509);
    return ok;
}

bool peer_txn_make(const char *subject, EVP_PKEY *key, char out[33])
{
    unsigned char *spki = NULL;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct buf text = {0};
    int len = i2d_PUBKEY(key, &spki);
    bool ok = len > 0 && buf_add(&text, bytes_of(spki, (size_t)len)) && buf_add_str(&text, subject);
    if (ok) {
        SHA256(text.ptr, text.len, digest);
        text_hex(bytes_of(digest, 16), out);
    }
    OPENSSL_free(spki);
    buf_free(&text);
    return ok;
}

static bool numeric_type(const char *text, int *type)
{
    static const struct {
        const char *text;
        int type;
    } types[] = {{"17", SCEP_RENEWALREQ},
                 {"19", SCEP_PKCSREQ},
                 {"20", SCEP_CERTPOLL},
                 {"21", SCEP_GETCERT},
                 {"22", SCEP_GETCRL}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(text, types[i].text) == 0) {
            *type = types[i].type;
            return true;
        }
    return false;
}

/* With a type that the codec would not write: by hand. */
static bool odd_message(const struct peer_device *device, const struct peer_ca *ca,
                        struct bytes content, struct buf *der)
{
    static const uint8_t nonce[SCEP_NONCE_LEN] = "a nonce of ours";
    struct buf envelope = {0};
    struct scep_make_envelope seal = {.recipient = ca->recipient, .cipher = device->algs.cipher};
    scep_make_envelope(&seal, content, &envelope);
    struct scep_make make = {
        .type = device->type,
        .txn = device->txn,
        .nonce = bytes_of(nonce, sizeof nonce),
        .content = buf_bytes(&envelope),
        .signer = device->signer.cert,
        .key = device->signer.key,
        .digest = device->algs.digest,
    };
    scep_make(&make, der);
    buf_free(&envelope);
    return true;
}

static bool message_make(const struct peer_device *device, const struct peer_ca *ca,
                         struct bytes content, struct buf *der, struct err *err)
{
    uint8_t nonce[SCEP_NONCE_LEN];
    int type = SCEP_PKCSREQ;
    if (device->type && !numeric_type(device->type, &type))
        return odd_message(device, ca, content, der);
    if (RAND_bytes(nonce, sizeof nonce) != 1)
        return err_openssl(err, ERR_LOCAL, "making a nonce");
    const struct scep_password password = {
        .secret = bytes_str(device->password),
        .prf = NID_hmacWithSHA256,
        .cipher = device->algs.cipher,
        .iterations = 2048,
    };
    struct scep_out out = {
        .type = (enum scep_type)type,
        .txn = device->txn,
        .sender_nonce = bytes_of(nonce, sizeof nonce),
        .content = content,
        .recipient = ca->recipient,
        .password = device->password ? &password : NULL,
        .algs = device->algs,
        .signer = device->signer,
    };
    return scep_msg_encode(&out, der, err);
}

bool peer_request_make(const struct peer_device *device, const struct peer_ca *ca, struct buf *der,
                       struct err *err)
{
    struct buf csr = {0};
    bool ok = csr_make(device, &csr, err) && message_make(device, ca, buf_bytes(&csr), der, err);
    buf_free(&csr);
    return ok;
}

bool peer_poll_make(const struct peer_device *device, const struct peer_ca *ca, struct buf *der,
                    struct err *err)
{
    struct buf content = {0};
    struct peer_device poll = *device;
    const struct names *names = cert_names_get(device->signer.cert);
    poll.type = "20";
    bool ok =
        scep_poll_content(cert_issuer_get(ca->recipient), buf_bytes(&names->subject), &content) &&
        message_make(&poll, ca, buf_bytes(&content), der, err);
    buf_free(&content);
    return ok;
}

bool peer_wanted_make(const struct peer_device *device, const struct peer_ca *ca,
                      const struct cert *cert, struct buf *der, struct err *err)
{
    struct buf content = {0};
    bool ok = scep_wanted_encode(cert, &content) &&
              message_make(device, ca, buf_bytes(&content), der, err);
    buf_free(&content);
    return ok;
}

static bool known_signer(const struct peer_ca *ca, const struct cert *signer)
{
    for (size_t i = 0; i < ca->count; i++)
        if (bytes_equal(cert_der_get(ca->certs[i]), cert_der_get(signer)))
            return true;
    return false;
}

/* A reply is enveloped as the request was. */
static bool open_reply(const struct scep_msg *msg, const struct peer_device *device,
                       struct buf *bag, int *cipher, struct err *err)
{
    struct scep_opener opener = {&device->signer, 1, SCEP_CIPHERS_DES};
    struct buf secret = BUF_SECRET(0);
    struct scep_passwords passwords = {&secret, 1, SCEP_CIPHERS_DES3};
    struct scep_opened opened = {.content = bag};
    if (!device->password)
        return scep_msg_open(msg, &opener, bag, cipher, err);
    bool ok = buf_set(&secret, bytes_str(device->password)) &&
              scep_msg_open_password(msg, &passwords, &opened, err);
    *cipher = opened.cipher;
    buf_free(&secret);
    return ok;
}

/* The first certificate has to be the one for our key: Apple's devices look no further. */
static bool take_cert(const struct scep_msg *msg, const struct peer_device *device,
                      struct peer_answer *answer, struct err *err)
{
    struct buf bag = {0};
    struct cert **certs = NULL;
    size_t count = 0;
    int cipher;
    bool ok = open_reply(msg, device, &bag, &cipher, err) &&
              scep_certs_decode(buf_bytes(&bag), &certs, &count, err);
    if (ok && count == 0)
        ok = err_set(err, ERR_PEER, "SUCCESS without a certificate");
    if (ok && device->algs.cipher != cipher)
        ok = err_set(err, ERR_PEER, "the reply's cipher is %s", OBJ_nid2sn(cipher));
    if (ok && EVP_PKEY_eq(cert_spki_get(certs[0])->key, device->key) != 1)
        ok = err_set(err, ERR_PEER, "the first certificate is for another key");
    if (ok)
        answer->cert = cert_ref(certs[0]);
    pem_certs_free(certs, count);
    buf_free(&bag);
    return ok;
}

static bool take_content(const struct scep_msg *msg, const struct peer_device *device,
                         struct peer_answer *answer, struct err *err)
{
    struct scep_opener opener = {&device->signer, 1, true};
    int cipher;
    return scep_msg_open(msg, &opener, &answer->content, &cipher, err);
}

static bool check_reply(const struct scep_msg *msg, const struct peer_ca *ca,
                        const struct peer_device *device, struct bytes nonce, struct err *err)
{
    if (scep_msg_type_get(msg) != SCEP_CERTREP)
        return err_set(err, ERR_PEER, "a reply of type %d", scep_msg_type_get(msg));
    if (!known_signer(ca, scep_msg_signer_get(msg)))
        return err_set(err, ERR_PEER, "a reply signed by a certificate that GetCACert never named");
    if (scep_msg_nonce_get(msg).len != SCEP_NONCE_LEN)
        return err_set(err, ERR_PEER, "a reply with a senderNonce of %zu bytes",
                       scep_msg_nonce_get(msg).len);
    if (!device)
        return true;
    if (!bytes_equal(scep_msg_txn_get(msg), device->txn))
        return err_set(err, ERR_PEER, "a reply with another transactionID");
    if (!bytes_equal(scep_msg_recipient_nonce_get(msg), nonce))
        return err_set(err, ERR_PEER, "a reply whose recipientNonce is not our senderNonce");
    /* A refusal may come with a better digest than the one that it refuses. */
    return scep_msg_status_get(msg) == SCEP_FAILURE ||
           scep_msg_algs_get(msg).digest == device->algs.digest ||
           err_set(err, ERR_PEER, "a reply with another digest");
}

static bool take_reply(const struct peer_talk *talk, struct bytes request, struct bytes body,
                       struct peer_answer *answer, struct err *err)
{
    struct scep_msg *msg = NULL, *sent = NULL;
    enum scep_fail fail;
    struct err ignored;
    bool partial, unused;
    bool ok = scep_msg_parse_md5(body, &msg, &partial, &fail, err);
    if (talk->device && !scep_msg_parse_md5(request, &sent, &unused, &fail, &ignored))
        ok = ok && err_set(err, ERR_BUG, "our own request: %s", ignored.text);
    ok = ok && check_reply(msg, talk->ca, talk->device,
                           sent ? scep_msg_nonce_get(sent) : (struct bytes){0}, err);
    if (ok) {
        answer->status = scep_msg_status_get(msg);
        answer->fail = scep_msg_fail_get(msg);
    }
    if (ok && talk->device && answer->status == SCEP_SUCCESS)
        ok = talk->device->wants ? take_content(msg, talk->device, answer, err)
                                 : take_cert(msg, talk->device, answer, err);
    if (ok && answer->status != SCEP_SUCCESS && scep_msg_content_get(msg).len)
        ok = err_set(err, ERR_PEER, "an envelope in a reply that is no SUCCESS");
    scep_msg_free(msg);
    scep_msg_free(sent);
    return ok;
}

bool peer_ask(const struct peer_talk *talk, struct bytes message, struct peer_answer *answer,
              struct err *err)
{
    struct peer_http reply;
    *answer = (struct peer_answer){.status = -1, .fail = -1};
    bool ok = peer_http(talk->url, "operation=PKIOperation", message, &reply, err);
    answer->http = ok ? reply.status : 0;
    if (ok && reply.status == 200 && strcmp(reply.type, "application/x-pki-message") != 0)
        ok = err_set(err, ERR_PEER, "PKIOperation: Content-Type %s", reply.type);
    if (ok && reply.status == 200)
        ok = take_reply(talk, message, buf_bytes(&reply.body), answer, err);
    peer_http_clear(&reply);
    return ok;
}

void peer_answer_clear(struct peer_answer *answer)
{
    cert_free(answer->cert);
    buf_free(&answer->content);
    *answer = (struct peer_answer){0};
}
