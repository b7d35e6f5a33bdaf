/* A SCEP client for the tests, on the project's own codec. One line says what came of it:
 *
 *   status=SUCCESS fail=- serial=0a1b http=200
 *
 * usage: scep_client --url http://HOST:PORT/PATH --subject /CN=x [--san dns:a]...
 *   [--challenge-env VAR | --challenge-file FILE] [--key FILE | --key-type rsa2048]
 *   [--by-password [--no-challenge]]
 *   [--renew CERT KEY] [--poll] [--txn TEXT] [--type TEXT] [--digest sha256] [--cipher aes128]
 *   [--out FILE] [--key-out FILE] [--signer-out FILE] [--save-request FILE] [--no-send]
 *   [--repeat N [--concurrent]]
 *   [--count N [--parallel P] [--challenges FILE] [--journal FILE]]
 *   [--recipient FILE]
 *        scep_client --url URL --send FILE
 *        scep_client --url URL --next FILE
 *        scep_client --url URL --renew CERT KEY --getcert|--getcrl CERT --out FILE
 *
 * --by-password envelopes with the challenge instead of with RSA keys; --no-challenge leaves it out
 * of the certification request.
 *
 * Exit codes: 0 SUCCESS, 3 PENDING, 2 FAILURE, 1 anything else, 4 usage.
 */
#include "tests/support/scep_client.h"

#include "base/pem.h"
#include "base/text.h"

#include <fcntl.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPEAT_MAX 500

/* Everything that one run works with. */
struct client {
    const struct client_options *options;
    struct peer_ca ca;
    EVP_PKEY *key;
    EVP_PKEY *signer_key; /* of the certificate being renewed; else NULL */
    struct cert *signer;
    char txn[33];
    struct peer_device device;
};

static bool write_file(const char *path, struct bytes data, mode_t mode, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    bool ok = fd >= 0 && write(fd, data.ptr, data.len) == (ssize_t)data.len;
    if (fd >= 0)
        close(fd);
    return ok || err_set(err, ERR_LOCAL, "%s cannot be written", path);
}

static bool write_cert(const char *path, const struct cert *cert, struct err *err)
{
    struct buf text = {0};
    bool ok = pem_add(&text, "CERTIFICATE", cert_der_get(cert)) &&
              write_file(path, buf_bytes(&text), 0644, err);
    buf_free(&text);
    return ok;
}

static bool write_key(const char *path, EVP_PKEY *key, struct err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    bool ok = bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1;
    long len = ok ? BIO_get_mem_data(bio, &data) : 0;
    ok = ok && write_file(path, bytes_of(data, (size_t)len), 0600, err);
    BIO_free(bio);
    return ok;
}

static bool signer_load(struct client *client, struct err *err)
{
    const struct client_options *options = client->options;
    struct cert **certs;
    size_t count;
    if (!pem_key_load(options->renew_key, &client->signer_key, err) ||
        !pem_certs_load(options->renew_cert, &certs, &count, err))
        return false;
    client->signer = cert_ref(certs[0]);
    pem_certs_free(certs, count);
    return true;
}

static bool client_open(struct client *client, struct err *err)
{
    const struct client_options *options = client->options;
    bool ok = options->key_path ? pem_key_load(options->key_path, &client->key, err)
                                : peer_key_make(options->key_type, &client->key, err);
    if (!ok)
        return false;
    /* A subject that no certificate may have can still be asked for. */
    if (options->renew_cert)
        ok = signer_load(client, err);
    else
        ok = peer_signer_make(options->subject, client->key, &client->signer, err) ||
             peer_signer_make("/CN=scep_client", client->key, &client->signer, err);
    if (!ok || !peer_ca_fetch(&options->url, &client->ca, err) ||
        (options->recipient_path && !client_recipient(options->recipient_path, &client->ca, err)) ||
        !peer_txn_make(options->subject, client->key, client->txn))
        return false;
    client->device = (struct peer_device){
        .subject = options->subject,
        .sans = options->sans,
        .san_count = options->san_count,
        .challenge = options->no_challenge ? NULL : options->challenge,
        .password = options->by_password ? options->challenge : NULL,
        .key = client->key,
        .signer = {client->signer, client->signer_key ? client->signer_key : client->key},
        .txn = bytes_str(options->txn ? options->txn : client->txn),
        .type = options->type         ? options->type
                : options->renew_cert ? "17"
                                      : "19",
        .algs = options->algs,
    };
    return (!options->key_out_path || write_key(options->key_out_path, client->key, err)) &&
           (!options->signer_out_path || write_cert(options->signer_out_path, client->signer, err));
}

static void client_close(struct client *client)
{
    EVP_PKEY_free(client->key);
    EVP_PKEY_free(client->signer_key);
    cert_free(client->signer);
    peer_ca_clear(&client->ca);
}

static int exit_code(const struct peer_answer *answer)
{
    switch (answer->status) {
    case SCEP_SUCCESS:
        return CLIENT_SUCCESS;
    case SCEP_PENDING:
        return CLIENT_PENDING;
    case SCEP_FAILURE:
        return CLIENT_FAILURE;
    default:
        return CLIENT_OTHER;
    }
}

static int print_answer(const struct peer_answer *answer)
{
    static const char *const statuses[] = {
        [SCEP_SUCCESS] = "SUCCESS", [SCEP_FAILURE] = "FAILURE", [SCEP_PENDING] = "PENDING"};
    static const char *const fails[] = {"badAlg", "badMessageCheck", "badRequest", "badTime",
                                        "badCertId"};
    const char *status = "-", *fail = "-";
    if (answer->status >= 0 && answer->status <= SCEP_PENDING && statuses[answer->status])
        status = statuses[answer->status];
    if (answer->fail >= 0 && answer->fail <= SCEP_BAD_CERT_ID)
        fail = fails[answer->fail];
    printf("status=%s fail=%s serial=%s http=%d\n", status, fail,
           answer->cert ? cert_serial_get(answer->cert) : "-", answer->http);
    return exit_code(answer);
}

static int complain(const struct err *err)
{
    fprintf(stderr, "scep_client: %s\n", err->text);
    return CLIENT_OTHER;
}

struct sending {
    const struct client *client;
    struct bytes request;
    bool ok;
    struct peer_answer answer;
    struct err err;
};

static void *send_one(void *arg)
{
    struct sending *sending = arg;
    const struct client *client = sending->client;
    struct peer_talk talk = {&client->options->url, &client->ca, &client->device};
    sending->ok = peer_ask(&talk, sending->request, &sending->answer, &sending->err);
    return NULL;
}

static void send_all(struct sending *sendings, size_t count, bool concurrent)
{
    pthread_t threads[REPEAT_MAX];
    for (size_t i = 0; i < count; i++)
        if (!concurrent)
            send_one(&sendings[i]);
        else if (pthread_create(&threads[i], NULL, send_one, &sendings[i]) != 0)
            abort();
    for (size_t i = 0; concurrent && i < count; i++)
        pthread_join(threads[i], NULL);
}

static bool seen_before(const struct sending *sendings, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (sendings[i].answer.cert && bytes_equal(cert_der_get(sendings[i].answer.cert),
                                                   cert_der_get(sendings[at].answer.cert)))
            return true;
    return false;
}

/* The same message many times; PENDING is asked for again until it is over. */
static int repeat(const struct client *client, struct bytes request)
{
    size_t count = (size_t)client->options->repeat, replies = 0, success = 0, certificates = 0;
    struct sending *sendings = mem_zalloc(count * sizeof *sendings);
    for (size_t i = 0; i < count; i++)
        sendings[i] = (struct sending){.client = client, .request = request};
    send_all(sendings, count, client->options->concurrent);
    for (size_t i = 0; i < count; i++) {
        for (int tries = 0;
             tries < 100 && sendings[i].ok && sendings[i].answer.status == SCEP_PENDING; tries++) {
            usleep(100000);
            send_one(&sendings[i]);
        }
        if (!sendings[i].ok)
            fprintf(stderr, "scep_client: %s\n", sendings[i].err.text);
        replies += sendings[i].ok;
        success += sendings[i].ok && sendings[i].answer.status == SCEP_SUCCESS;
        certificates += sendings[i].answer.cert && !seen_before(sendings, i);
    }
    printf("replies=%zu success=%zu certificates=%zu\n", replies, success, certificates);
    for (size_t i = 0; i < count; i++)
        peer_answer_clear(&sendings[i].answer);
    free(sendings);
    return success == count ? CLIENT_SUCCESS : CLIENT_OTHER;
}

static int ask(const struct client *client, struct bytes request)
{
    struct peer_answer answer;
    struct err err = {0};
    int result;
    struct peer_talk talk = {&client->options->url, &client->ca, &client->device};
    if (!peer_ask(&talk, request, &answer, &err) ||
        (answer.cert && client->options->out_path &&
         !write_cert(client->options->out_path, answer.cert, &err)))
        result = complain(&err);
    else
        result = print_answer(&answer);
    peer_answer_clear(&answer);
    return result;
}

static int enroll(const struct client_options *options)
{
    struct client client = {.options = options};
    struct buf request = {0};
    struct err err = {0};
    int result = CLIENT_SUCCESS;
    bool ok =
        client_open(&client, &err) &&
        (options->poll ? peer_poll_make(&client.device, &client.ca, &request, &err)
                       : peer_request_make(&client.device, &client.ca, &request, &err)) &&
        (!options->save_path || write_file(options->save_path, buf_bytes(&request), 0644, &err));
    if (!ok)
        result = complain(&err);
    else if (options->repeat)
        result = repeat(&client, buf_bytes(&request));
    else if (!options->no_send)
        result = ask(&client, buf_bytes(&request));
    buf_free(&request);
    client_close(&client);
    return result;
}

/* Bytes of a file as they are: what they ask for is not known here, so the reply stays closed. */
static int send_file(const struct client_options *options)
{
    struct peer_ca ca = {0};
    struct peer_talk talk = {&options->url, &ca, NULL};
    struct peer_answer answer = {0};
    struct buf message = {0};
    struct err err = {0};
    bool ok = pem_file_read(options->send_path, SCEP_MSG_MAX * 2, &message, &err) &&
              peer_ca_fetch(&options->url, &ca, &err) &&
              peer_ask(&talk, buf_bytes(&message), &answer, &err);
    int result = ok ? print_answer(&answer) : complain(&err);
    peer_answer_clear(&answer);
    peer_ca_clear(&ca);
    buf_free(&message);
    return result;
}

static char *challenge_load(const char *path)
{
    struct buf text = BUF_SECRET(4096);
    struct err err = {0};
    char *secret = NULL;
    if (pem_file_read(path, 4096, &text, &err))
        secret = bytes_to_str(bytes_trim(buf_bytes(&text)));
    else
        complain(&err);
    buf_free(&text);
    return secret;
}

/* An option with a text for its value. */
struct text_option {
    const char *name;
    const char **field;
};

static bool take_text(struct client_options *o, const char *name, const char *value)
{
    const struct text_option texts[] = {
        {"--subject", &o->subject},
        {"--key", &o->key_path},
        {"--key-type", &o->key_type},
        {"--out", &o->out_path},
        {"--key-out", &o->key_out_path},
        {"--signer-out", &o->signer_out_path},
        {"--txn", &o->txn},
        {"--type", &o->type},
        {"--save-request", &o->save_path},
        {"--send", &o->send_path},
        {"--next", &o->next_path},
        {"--getcert", &o->getcert_path},
        {"--getcrl", &o->getcrl_path},
        {"--recipient", &o->recipient_path},
        {"--challenges", &o->challenges_path},
        {"--journal", &o->journal_path},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].field = value;
            return true;
        }
    return false;
}

static bool take_number(const char *value, long most, long *ret)
{
    char *end;
    *ret = strtol(value, &end, 10);
    return end != value && *end == '\0' && *ret > 0 && *ret <= most;
}

static bool take_algorithm(const char *name, const char *value, struct scep_algs *algs)
{
    static const struct {
        const char *name;
        int nid;
    } digests[] = {{"md5", NID_md5},
                   {"sha1", NID_sha1},
                   {"sha256", NID_sha256},
                   {"sha384", NID_sha384},
                   {"sha512", NID_sha512}},
      ciphers[] = {{"aes128", NID_aes_128_cbc},
                   {"aes256", NID_aes_256_cbc},
                   {"des3", NID_des_ede3_cbc},
                   {"des", NID_des_cbc}};
    for (size_t i = 0; strcmp(name, "--digest") == 0 && i < sizeof digests / sizeof digests[0]; i++)
        if (strcmp(value, digests[i].name) == 0) {
            algs->digest = digests[i].nid;
            return true;
        }
    for (size_t i = 0; strcmp(name, "--cipher") == 0 && i < sizeof ciphers / sizeof ciphers[0]; i++)
        if (strcmp(value, ciphers[i].name) == 0) {
            algs->cipher = ciphers[i].nid;
            return true;
        }
    return false;
}

static bool take_value(struct client_options *o, const char *name, const char *value)
{
    if (strcmp(name, "--url") == 0)
        return peer_url_parse(value, &o->url);
    if (strcmp(name, "--challenge-env") == 0)
        return (o->challenge = getenv(value)) != NULL;
    if (strcmp(name, "--challenge-file") == 0)
        return (o->challenge = o->challenge_read = challenge_load(value)) != NULL;
    if (strcmp(name, "--san") == 0 && o->san_count < CLIENT_SANS_MAX)
        return (o->sans[o->san_count++] = value) != NULL;
    if (strcmp(name, "--count") == 0)
        return take_number(value, 1000000, &o->count);
    if (strcmp(name, "--parallel") == 0)
        return take_number(value, 256, &o->parallel);
    if (strcmp(name, "--repeat") == 0)
        return take_number(value, REPEAT_MAX, &o->repeat);
    return take_algorithm(name, value, &o->algs) || take_text(o, name, value);
}

static bool take_flag(struct client_options *o, const char *name)
{
    const struct {
        const char *name;
        bool *field;
    } flags[] = {{"--poll", &o->poll},
                 {"--no-send", &o->no_send},
                 {"--concurrent", &o->concurrent},
                 {"--by-password", &o->by_password},
                 {"--no-challenge", &o->no_challenge}};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (strcmp(name, flags[i].name) == 0)
            return *flags[i].field = true;
    return false;
}

static bool options_take(struct client_options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (take_flag(o, argv[i]))
            continue;
        if (strcmp(argv[i], "--renew") == 0 && i + 2 < argc) {
            o->renew_cert = argv[++i];
            o->renew_key = argv[++i];
        } else if (i + 1 < argc && take_value(o, argv[i], argv[i + 1])) {
            i++;
        } else {
            fprintf(stderr, "scep_client: %s is not understood\n", argv[i]);
            return false;
        }
    }
    if (o->url.host[0] && (o->subject || o->send_path || o->next_path))
        return true;
    if (o->url.host[0] && o->renew_cert && o->out_path && (o->getcert_path || o->getcrl_path))
        return true;
    fprintf(stderr, "scep_client: --url, and --subject, --send, --next, --getcert or --getcrl\n");
    return false;
}

int main(int argc, char **argv)
{
    struct client_options options = {
        .key_type = "rsa2048", .parallel = 1, .algs = {NID_sha256, NID_aes_128_cbc}};
    int result;
    if (!options_take(&options, argc, argv))
        result = CLIENT_USAGE;
    else if (options.getcert_path || options.getcrl_path)
        result = client_wanted(&options);
    else if (options.next_path)
        result = client_next(&options);
    else if (options.send_path)
        result = send_file(&options);
    else
        result = options.count ? client_bulk(&options) : enroll(&options);
    mem_free_secret_str(options.challenge_read);
    return result;
}
