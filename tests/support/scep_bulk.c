#include "tests/support/scep_client.h"

#include "base/clock.h"
#include "base/pem.h"
#include "base/text.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEYS 8 /* shared by all devices: making them costs more than enrolling */
#define PATIENCE_MS 60000
#define PAUSE_MS 200
#define TOLD_MAX 40 /* lines about single attempts: nobody may be reading them yet */

struct bulk {
    const struct client_options *options;
    struct peer_ca ca;
    EVP_PKEY *keys[KEYS];
    char **challenges;
    size_t challenge_count;
    FILE *journal;
    pthread_mutex_t lock; /* journal and output */
    atomic_long next, issued, failed, retries, told;
};

/* One device: the same key and the same bytes however often it has to ask. */
struct device {
    struct bulk *bulk;
    char subject[128];
    char txn[33];
    struct cert *signer;
    struct peer_device peer;
    struct buf request, poll;
};

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, (ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

static void tell(struct bulk *bulk, const char *subject, const char *what)
{
    if (atomic_fetch_add(&bulk->told, 1) >= TOLD_MAX)
        return;
    pthread_mutex_lock(&bulk->lock);
    printf("%s: %s\n", subject, what);
    fflush(stdout);
    pthread_mutex_unlock(&bulk->lock);
}

static bool device_open(struct bulk *bulk, long number, struct device *ret, struct err *err)
{
    const struct client_options *options = bulk->options;
    EVP_PKEY *key = bulk->keys[number % KEYS];
    *ret = (struct device){.bulk = bulk};
    snprintf(ret->subject, sizeof ret->subject, "%s-%04ld", options->subject, number);
    if (!peer_txn_make(ret->subject, key, ret->txn) ||
        !peer_signer_make(ret->subject, key, &ret->signer, err))
        return false;
    ret->peer = (struct peer_device){
        .subject = ret->subject,
        .sans = options->sans,
        .san_count = options->san_count,
        .challenge = bulk->challenges ? bulk->challenges[number] : options->challenge,
        .key = key,
        .signer = {ret->signer, key},
        .txn = bytes_str(ret->txn),
        .algs = options->algs,
    };
    return peer_request_make(&ret->peer, &bulk->ca, &ret->request, err) &&
           peer_poll_make(&ret->peer, &bulk->ca, &ret->poll, err);
}

static void device_close(struct device *device)
{
    cert_free(device->signer);
    buf_free(&device->request);
    buf_free(&device->poll);
}

static void journal_add(const struct device *device, const struct cert *cert)
{
    struct bulk *bulk = device->bulk;
    char fingerprint[65];
    text_hex(bytes_of(cert_fingerprint_get(cert), 32), fingerprint);
    pthread_mutex_lock(&bulk->lock);
    fprintf(bulk->journal, "%s %s %s %s\n", fingerprint, cert_serial_get(cert),
            cert_names_get(cert)->subject_text, device->txn);
    fflush(bulk->journal);
    pthread_mutex_unlock(&bulk->lock);
}

/* One attempt. *done: there is a certificate, or there never will be one. */
static bool device_ask(struct device *device, bool *pending, bool *done, struct err *err)
{
    struct peer_answer answer;
    struct bytes message = buf_bytes(*pending ? &device->poll : &device->request);
    struct peer_talk talk = {&device->bulk->options->url, &device->bulk->ca, &device->peer};
    bool ok = peer_ask(&talk, message, &answer, err);
    *done = false;
    if (!ok) {
        *done = err->kind != ERR_UPSTREAM;
    } else if (answer.status == SCEP_SUCCESS) {
        journal_add(device, answer.cert);
        *done = true;
    } else if (answer.status == SCEP_PENDING) {
        *pending = true;
        ok = err_set(err, ERR_UPSTREAM, "pending");
    } else if (answer.http >= 500) {
        ok = err_set(err, ERR_UPSTREAM, "HTTP status %d", answer.http);
    } else {
        *done = true;
        ok = err_set(err, ERR_PEER, "HTTP status %d, pkiStatus %d, failInfo %d", answer.http,
                     answer.status, answer.fail);
    }
    peer_answer_clear(&answer);
    return ok;
}

static bool device_enroll(struct device *device, struct err *err)
{
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    bool pending = false, done = false;
    for (;;) {
        bool ok = device_ask(device, &pending, &done, err);
        if (done || clock_mono_ms() > end)
            return ok;
        if (strcmp(err->text, "pending") != 0)
            tell(device->bulk, device->subject, err->text);
        atomic_fetch_add(&device->bulk->retries, 1);
        pause_ms(PAUSE_MS);
    }
}

static void *run(void *arg)
{
    struct bulk *bulk = arg;
    long number;
    while ((number = atomic_fetch_add(&bulk->next, 1)) < bulk->options->count) {
        struct device device;
        struct err err = {0};
        if (device_open(bulk, number, &device, &err) && device_enroll(&device, &err)) {
            atomic_fetch_add(&bulk->issued, 1);
        } else {
            atomic_fetch_add(&bulk->failed, 1);
            tell(bulk, device.subject, err.text);
        }
        device_close(&device);
    }
    return NULL;
}

static bool challenges_load(struct bulk *bulk, struct err *err)
{
    struct buf text = BUF_SECRET(PEM_FILE_MAX);
    struct bytes line;
    if (!bulk->options->challenges_path)
        return true;
    if (!pem_file_read(bulk->options->challenges_path, PEM_FILE_MAX, &text, err))
        return false;
    for (struct bytes cur = buf_bytes(&text); cur.len;) {
        bytes_take_until(&cur, '\n', &line);
        line = bytes_trim(line);
        if (!line.len)
            continue;
        bulk->challenges =
            mem_resize(bulk->challenges, bulk->challenge_count + 1, sizeof *bulk->challenges);
        bulk->challenges[bulk->challenge_count++] = bytes_to_str(line);
    }
    buf_free(&text);
    return bulk->challenge_count >= (size_t)bulk->options->count ||
           err_set(err, ERR_CONFIG, "%s: only %zu challenges", bulk->options->challenges_path,
                   bulk->challenge_count);
}

static bool ca_wait(struct bulk *bulk, struct err *err)
{
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (!peer_ca_fetch(&bulk->options->url, &bulk->ca, err)) {
        peer_ca_clear(&bulk->ca);
        if (clock_mono_ms() > end)
            return false;
        pause_ms(PAUSE_MS);
    }
    return true;
}

static bool bulk_open(struct bulk *bulk, struct err *err)
{
    const struct client_options *options = bulk->options;
    for (size_t i = 0; i < KEYS; i++)
        if (!peer_key_make(options->key_type, &bulk->keys[i], err))
            return false;
    bulk->journal = fopen(options->journal_path ? options->journal_path : "/dev/null", "a");
    if (!bulk->journal)
        return err_set(err, ERR_LOCAL, "%s cannot be written", options->journal_path);
    return challenges_load(bulk, err) && ca_wait(bulk, err);
}

static void bulk_close(struct bulk *bulk)
{
    for (size_t i = 0; i < KEYS; i++)
        EVP_PKEY_free(bulk->keys[i]);
    for (size_t i = 0; i < bulk->challenge_count; i++)
        mem_free_secret_str(bulk->challenges[i]);
    free(bulk->challenges);
    peer_ca_clear(&bulk->ca);
    if (bulk->journal)
        fclose(bulk->journal);
    pthread_mutex_destroy(&bulk->lock);
}

static void bulk_run(struct bulk *bulk)
{
    long count = bulk->options->parallel;
    pthread_t *threads = mem_zalloc((size_t)count * sizeof *threads);
    for (long i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, run, bulk) != 0)
            abort();
    for (long i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

int client_bulk(const struct client_options *options)
{
    struct bulk bulk = {.options = options, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct err err = {0};
    int result = CLIENT_OTHER;
    if (bulk_open(&bulk, &err)) {
        bulk_run(&bulk);
        printf("devices=%ld issued=%ld failed=%ld retries=%ld\n", options->count,
               atomic_load(&bulk.issued), atomic_load(&bulk.failed), atomic_load(&bulk.retries));
        result = atomic_load(&bulk.issued) == options->count ? CLIENT_SUCCESS : CLIENT_FAILURE;
    } else {
        fprintf(stderr, "scep_client: %s\n", err.text);
    }
    bulk_close(&bulk);
    return result;
}
