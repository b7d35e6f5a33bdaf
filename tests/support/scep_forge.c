/* One pkiMessage as no honest client writes it, or an honest one, and what the answer to it says:
 *
 *   http=200 type=application/x-pki-message message=3 status=2 fail=1 txn=same nonce=same
 *   sender_nonce=16 digest=SHA256 signer=CN=scepter RA cipher=- certs=0 key=-
 *
 * usage: scep_forge URL NAME=VALUE...; every name is in take_word below. */
#include "base/pem.h"
#include "base/text.h"
#include "tests/support/scep_make.h"
#include "tests/support/scep_peer.h"

#include <openssl/objects.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BAG_MAX 8
#define FILE_MAX_LEN ((size_t)1 << 20)

struct forge {
    struct peer_url url;
    struct peer_ca ca;
    struct scep_make make;
    struct scep_make_envelope envelope;
    struct cert *signer, *recipient, *bag[BAG_MAX];
    struct bytes bag_der[BAG_MAX];
    struct buf plain, nonce, more;
    bool sealed, ber, no_nonce;
    const char *save, *reply, *out;
    long copies; /* that are saved, each with keys and padding of its own */
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "scep_forge: %s: %s\n", what, why);
    exit(4);
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

static void file_load(const char *path, struct buf *ret)
{
    struct err err = {0};
    if (!pem_file_read(path, FILE_MAX_LEN, ret, &err))
        die(path, err.text);
}

static void hex_load(const char *text, struct buf *ret)
{
    if (!text_unhex(bytes_str(text), ret))
        die(text, "is no hex");
    if (!ret->ptr && !buf_set(ret, bytes_of("", 0)))
        die("hex", "no memory");
}

static void file_save(const char *path, struct bytes data)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data.ptr, 1, data.len, file) != data.len || fclose(file) != 0)
        die(path, "cannot be written");
}

static int nid_of(const char *name)
{
    int nid = OBJ_txt2nid(name);
    if (nid == NID_undef)
        die(name, "is no algorithm");
    return nid;
}

/* An empty path: a bag with nothing in it, if it stays the only one. */
static void take_bag(struct forge *forge, const char *path)
{
    forge->make.certs = forge->bag_der;
    if (!*path)
        return;
    size_t at = forge->make.cert_count++;
    if (at >= BAG_MAX)
        die("bag", "full");
    forge->bag[at] = cert_load(path);
    forge->bag_der[at] = cert_der_get(forge->bag[at]);
}

/* Of the signed message. */
static bool take_outer(struct forge *forge, const char *name, const char *value)
{
    struct scep_make *make = &forge->make;
    struct err err = {0};
    if (strcmp(name, "signer") == 0)
        make->signer = forge->signer = cert_load(value);
    else if (strcmp(name, "key") == 0)
        return pem_key_load(value, &make->key, &err);
    else if (strcmp(name, "type") == 0)
        make->type = *value ? value : NULL;
    else if (strcmp(name, "txn") == 0)
        make->txn = *value ? bytes_str(value) : (struct bytes){0};
    else if (strcmp(name, "bag") == 0)
        take_bag(forge, value);
    else if (strcmp(name, "digest") == 0)
        make->digest = nid_of(value);
    else if (strcmp(name, "signers") == 0)
        make->signers = (int)strtol(value, NULL, 10);
    else if (strcmp(name, "content_type") == 0)
        make->content_type = *value ? nid_of(value) : SCEP_MAKE_NONE;
    else if (strcmp(name, "outer_type") == 0)
        make->outer_type = nid_of(value);
    else if (strcmp(name, "wrong_digest") == 0)
        make->wrong_digest = true;
    else if (strcmp(name, "by_ski") == 0)
        make->by_ski = true;
    else if (strcmp(name, "unsorted") == 0)
        make->unsorted = true;
    else if (strcmp(name, "no_attributes") == 0)
        make->no_attributes = true;
    else
        return false;
    return true;
}

/* Of the envelope in it, and of the way there. */
static bool take_inner(struct forge *forge, const char *name, const char *value)
{
    struct scep_make_envelope *envelope = &forge->envelope;
    if (strcmp(name, "csr") == 0 || strcmp(name, "plain") == 0)
        file_load(value, &forge->plain);
    else if (strcmp(name, "bare") == 0)
        forge->sealed = false;
    else if (strcmp(name, "recipient") == 0)
        envelope->recipient = forge->recipient = cert_load(value);
    else if (strcmp(name, "cipher") == 0)
        envelope->cipher = nid_of(value);
    else if (strcmp(name, "oaep") == 0)
        envelope->oaep = nid_of(value);
    else if (strcmp(name, "recipient_by_ski") == 0)
        envelope->by_ski = true;
    else if (strcmp(name, "recipients") == 0)
        envelope->recipients = strtoul(value, NULL, 10);
    else if (strcmp(name, "fault") == 0)
        envelope->fault = (enum scep_make_fault)strtol(value, NULL, 10);
    else if (strcmp(name, "ber") == 0)
        forge->ber = true;
    else if (strcmp(name, "nonce") == 0)
        hex_load(value, &forge->nonce);
    else if (strcmp(name, "no_nonce") == 0)
        forge->no_nonce = true;
    else if (strcmp(name, "more") == 0)
        hex_load(value, &forge->more);
    else if (strcmp(name, "save") == 0)
        forge->save = value;
    else if (strcmp(name, "copies") == 0)
        forge->copies = strtol(value, NULL, 10);
    else if (strcmp(name, "reply") == 0)
        forge->reply = value;
    else if (strcmp(name, "out") == 0)
        forge->out = value;
    else
        return false;
    return true;
}

static void take_word(struct forge *forge, char *word)
{
    char *value = strchr(word, '=');
    if (!value)
        die(word, "is no NAME=VALUE");
    *value++ = 0;
    if (!take_outer(forge, word, value) && !take_inner(forge, word, value))
        die(word, "is not known, or its value cannot be used");
}

static void message_make(struct forge *forge, struct buf *der)
{
    struct buf envelope = {0}, strict = {0};
    if (forge->sealed && forge->plain.ptr) {
        if (!forge->envelope.recipient)
            forge->envelope.recipient = forge->ca.recipient;
        scep_make_envelope(&forge->envelope, buf_bytes(&forge->plain), &envelope);
        forge->make.content = buf_bytes(&envelope);
    } else if (forge->plain.ptr) {
        forge->make.content = buf_bytes(&forge->plain);
    }
    if (!forge->no_nonce)
        forge->make.nonce = buf_bytes(&forge->nonce);
    forge->make.more = buf_bytes(&forge->more);
    scep_make(&forge->make, &strict);
    if (forge->ber)
        scep_make_indefinite(buf_bytes(&strict), der);
    else if (!buf_set(der, buf_bytes(&strict)))
        die("message", "no memory");
    buf_free(&strict);
    buf_free(&envelope);
}

/* One file, or NAME.0, NAME.1, ... */
static void messages_save(struct forge *forge)
{
    for (long i = 0; i < (forge->copies ? forge->copies : 1); i++) {
        struct buf message = {0}, name = {0};
        message_make(forge, &message);
        if (!buf_add_str(&name, forge->save) || (forge->copies && !buf_add_fmt(&name, ".%ld", i)))
            die(forge->save, "no memory");
        file_save(buf_str(&name), buf_bytes(&message));
        buf_free(&message);
        buf_free(&name);
    }
}

static const char *name_of(int nid)
{
    return nid > 0 ? OBJ_nid2sn(nid) : "-";
}

/* The certificates in the reply, in their order; the first one's key. */
static void show_content(const struct forge *forge, const struct scep_msg *msg)
{
    struct scep_key key = {forge->signer, forge->make.key};
    struct scep_opener opener = {&key, 1, SCEP_CIPHERS_DES};
    struct buf content = {0};
    struct cert **certs = NULL;
    size_t count = 0;
    int cipher = 0;
    struct err err = {0};
    bool opened =
        scep_msg_content_get(msg).len && scep_msg_open(msg, &opener, &content, &cipher, &err);
    if (opened && forge->out)
        file_save(forge->out, buf_bytes(&content));
    if (opened && !scep_certs_decode(buf_bytes(&content), &certs, &count, &err))
        count = 0;
    printf(" cipher=%s content=%zu certs=%zu first=%s", name_of(cipher), content.len, count,
           count ? cert_names_get(certs[0])->subject_text : "-");
    pem_certs_free(certs, count);
    buf_free(&content);
}

static void show(const struct forge *forge, const struct peer_http *http)
{
    struct scep_msg *msg = NULL;
    struct err err = {0};
    enum scep_fail fail;
    bool partial;
    printf("http=%d type=%s", http->status, http->type);
    if (scep_msg_parse(buf_bytes(&http->body), &msg, &partial, &fail, &err)) {
        struct bytes nonce = scep_msg_recipient_nonce_get(msg);
        printf(" message=%d status=%d fail=%d txn=%s nonce=%s sender_nonce=%zu digest=%s signer=%s",
               scep_msg_type_get(msg), scep_msg_status_get(msg), scep_msg_fail_get(msg),
               bytes_equal(scep_msg_txn_get(msg), forge->make.txn) ? "same" : "other",
               bytes_equal(nonce, forge->make.nonce) ? "same" : "other",
               scep_msg_nonce_get(msg).len, name_of(scep_msg_algs_get(msg).digest),
               cert_names_get(scep_msg_signer_get(msg))->subject_text);
        show_content(forge, msg);
    }
    putchar('\n');
    scep_msg_free(msg);
}

int main(int argc, char **argv)
{
    static const uint8_t nonce[SCEP_NONCE_LEN] = "a nonce of ours";
    struct forge forge = {.make = {.type = "19", .txn = bytes_str("forged")}, .sealed = true};
    struct buf message = {0};
    struct peer_http http = {0};
    struct err err = {0};
    if (argc < 2 || !peer_url_parse(argv[1], &forge.url))
        die("usage", "scep_forge URL NAME=VALUE...");
    for (int i = 2; i < argc; i++)
        take_word(&forge, argv[i]);
    if (!forge.make.signer || !forge.make.key)
        die("usage", "signer and key are required");
    if (!forge.nonce.ptr && !buf_set(&forge.nonce, bytes_of(nonce, sizeof nonce)))
        die("nonce", "no memory");
    if (!peer_ca_fetch(&forge.url, &forge.ca, &err))
        die("GetCACert", err.text);
    if (forge.save) {
        messages_save(&forge);
    } else {
        message_make(&forge, &message);
        if (!peer_http(&forge.url, "operation=PKIOperation", buf_bytes(&message), &http, &err))
            die("PKIOperation", err.text);
        if (forge.reply)
            file_save(forge.reply, buf_bytes(&http.body));
        show(&forge, &http);
    }
    peer_http_clear(&http);
    buf_free(&message);
    buf_free(&forge.plain);
    buf_free(&forge.nonce);
    buf_free(&forge.more);
    peer_ca_clear(&forge.ca);
    for (size_t i = 0; i < forge.make.cert_count; i++)
        cert_free(forge.bag[i]);
    cert_free(forge.signer);
    cert_free(forge.recipient);
    EVP_PKEY_free(forge.make.key);
    return 0;
}
