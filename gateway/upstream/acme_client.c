#include "gateway/upstream/acme_client.h"

#include "base/clock.h"
#include "base/pem.h"
#include "base/text.h"
#include "gateway/upstream/hide.h"
#include "gateway/upstream/jose.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NONCES_MAX 32
#define NONCE_MAX 256
#define NONCE_TRIES 12
#define DETAIL_SHOWN 160
#define PROBLEM_PREFIX "urn:ietf:params:acme:error:"

struct acme_client {
    struct acme_client_conf conf;
    struct httpc *httpc;
    pthread_mutex_t setup;    /* held while the directory or the account is asked for */
    struct relay_pause pause; /* of asking for these */
    pthread_mutex_t mutex;    /* guards what follows */
    EVP_PKEY *key;
    char *urls[ACME_URL_COUNT];
    char *account;
    char nonces[NONCES_MAX][NONCE_MAX + 1];
    size_t nonce_count;
};

bool acme_url_fits(const char *url)
{
    size_t len = url ? strlen(url) : 0;
    bool fits = len > 8 && len < ACME_URL_MAX && strncmp(url, "https://", 8) == 0;
    for (size_t i = 0; fits && i < len; i++)
        fits = url[i] > 0x20 && url[i] < 0x7f;
    return fits;
}

bool acme_key_load(const char *path, EVP_PKEY **ret, struct err *err)
{
    struct stat st;
    EVP_PKEY *key = NULL;
    *ret = NULL;
    if (stat(path, &st) != 0 && errno == ENOENT)
        return true;
    if (!pem_key_load(path, &key, err))
        return false;
    struct jose_signer signer = {.key = key};
    if ((st.st_mode & 0077) && (st.st_uid != 0 || (st.st_mode & 0037)))
        err_set(err, ERR_CONFIG, "%s is open to others, its mode is %04o", path,
                (unsigned)st.st_mode & 07777);
    else if (!jose_alg(&signer) || EVP_PKEY_is_a(key, "ED25519")) /* few CAs take that */
        err_set(err, ERR_CONFIG, "%s holds no key of P-256 or RSA of at least 2048 bits", path);
    else
        *ret = key;
    if (!*ret)
        EVP_PKEY_free(key);
    return *ret;
}

static bool write_key(EVP_PKEY *key, int fd)
{
    FILE *file = fdopen(fd, "w");
    if (!file) {
        close(fd);
        return false;
    }
    bool ok = PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
              fflush(file) == 0 && fsync(fd) == 0;
    return fclose(file) == 0 && ok;
}

/* Whole or not at all; whoever is second takes the first one's. */
static bool make_key(const char *path, struct err *err)
{
    struct buf name = {0};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (!buf_add_fmt(&name, "%s.XXXXXX", path))
        err_no_memory();
    buf_str(&name);
    int fd = key ? mkostemp((char *)name.ptr, O_CLOEXEC) : -1; /* mode 0600 */
    bool ok =
        fd >= 0 && write_key(key, fd) && (link((char *)name.ptr, path) == 0 || errno == EEXIST);
    if (!ok)
        err_set(err, ERR_LOCAL, "cannot make the account key %s: %s", path, strerror(errno));
    if (fd >= 0)
        unlink((char *)name.ptr);
    EVP_PKEY_free(key);
    buf_free(&name);
    return ok;
}

bool acme_client_new(const struct acme_client_conf *conf, struct acme_client **ret, struct err *err)
{
    struct httpc_conf http = {.trust = conf->trust->items, .trust_count = conf->trust->count};
    struct acme_client *client = mem_zalloc(sizeof *client);
    client->conf = *conf;
    pthread_mutex_init(&client->setup, NULL);
    pthread_mutex_init(&client->mutex, NULL);
    if (!httpc_new(&http, &client->httpc, err)) {
        acme_client_free(client);
        return false;
    }
    *ret = client;
    return true;
}

void acme_client_free(struct acme_client *client)
{
    if (!client)
        return;
    httpc_free(client->httpc);
    EVP_PKEY_free(client->key);
    for (size_t i = 0; i < ACME_URL_COUNT; i++)
        free(client->urls[i]);
    free(client->account);
    pthread_mutex_destroy(&client->setup);
    pthread_mutex_destroy(&client->mutex);
    free(client);
}

void acme_answer_clear(struct acme_answer *answer)
{
    httpc_reply_clear(&answer->http);
    json_free(answer->body);
    *answer = (struct acme_answer){0};
}

/* A copy, so that nobody reads what another one replaces. */
static bool copy_text(struct acme_client *client, char *const *text, char ret[ACME_URL_MAX])
{
    pthread_mutex_lock(&client->mutex);
    bool have = *text;
    if (have)
        snprintf(ret, ACME_URL_MAX, "%s", *text);
    pthread_mutex_unlock(&client->mutex);
    return have;
}

static void set_text(struct acme_client *client, char **text, const char *value)
{
    pthread_mutex_lock(&client->mutex);
    free(*text);
    *text = mem_strdup(value);
    pthread_mutex_unlock(&client->mutex);
}

bool acme_client_url(struct acme_client *client, enum acme_url which, char ret[ACME_URL_MAX])
{
    return copy_text(client, &client->urls[which], ret);
}

bool acme_client_thumbprint(struct acme_client *client, struct buf *out)
{
    return jose_thumbprint(client->key, out);
}

static void nonce_keep(struct acme_client *client, const struct httpc_reply *http)
{
    struct bytes nonce = httpc_header(http, "Replay-Nonce");
    bool fits = nonce.len && nonce.len <= NONCE_MAX;
    for (size_t i = 0; i < nonce.len && fits; i++)
        fits = nonce.ptr[i] > 0x20 && nonce.ptr[i] < 0x7f;
    if (!fits)
        return;
    pthread_mutex_lock(&client->mutex);
    if (client->nonce_count < NONCES_MAX) {
        char *place = client->nonces[client->nonce_count++];
        memcpy(place, nonce.ptr, nonce.len);
        place[nonce.len] = 0;
    }
    pthread_mutex_unlock(&client->mutex);
}

static bool nonce_take(struct acme_client *client, char ret[NONCE_MAX + 1])
{
    pthread_mutex_lock(&client->mutex);
    bool have = client->nonce_count;
    if (have)
        memcpy(ret, client->nonces[--client->nonce_count], NONCE_MAX + 1);
    pthread_mutex_unlock(&client->mutex);
    return have;
}

/* RFC 8555 section 7.2. */
static bool nonce_get(struct acme_client *client, int64_t deadline, char ret[NONCE_MAX + 1],
                      struct err *err)
{
    char url[ACME_URL_MAX];
    struct httpc_reply http = {0};
    if (nonce_take(client, ret))
        return true;
    if (!acme_client_url(client, ACME_NEW_NONCE, url))
        return err_set(err, ERR_BUG, "no directory yet");
    struct httpc_call call = {.method = "HEAD", .url = url, .deadline = deadline};
    bool ok = httpc_run(client->httpc, &call, &http, err) == HTTPC_DONE;
    if (ok)
        nonce_keep(client, &http);
    if (ok && !nonce_take(client, ret)) {
        ok = err_set(err, ERR_UPSTREAM, "%s gives no nonce", url);
        err->retry_after = httpc_retry_after(&http);
    }
    httpc_reply_clear(&http);
    return ok;
}

/* Section 6.2: by the account; the request for an account by the key itself. */
static bool sign(struct acme_client *client, const struct acme_ask *ask, const char *nonce,
                 struct buf *out, struct err *err)
{
    struct jose_signer signer = {.key = client->key};
    struct json *header = json_new_object(), *jws = NULL;
    struct buf text = {0};
    char account[ACME_URL_MAX];
    char new_account[ACME_URL_MAX] = "";
    bool ok = true;
    json_set_text(header, "nonce", nonce);
    json_set_text(header, "url", ask->url);
    (void)acme_client_url(client, ACME_NEW_ACCOUNT, new_account);
    if (strcmp(ask->url, new_account) == 0)
        json_set(header, "jwk", jose_jwk(client->key));
    else if (copy_text(client, &client->account, account))
        json_set_text(header, "kid", account);
    else
        ok = err_set(err, ERR_UPSTREAM, "the CA does not know the account any more");
    if (ask->payload)
        ok = ok && json_print_compact(ask->payload, &text);
    ok = ok && jose_sign_flat(&signer, header, buf_bytes(&text), &jws, err) &&
         json_print_compact(jws, out);
    json_free(header);
    json_free(jws);
    buf_free(&text);
    return ok;
}

/* Section 6.7: the problem in an answer that is none of 2xx. */
static void read_problem(struct acme_answer *answer)
{
    const char *type = json_text(json_get(json_root(answer->body), "type"));
    if (answer->http.status / 100 != 2 && type &&
        strncmp(type, PROBLEM_PREFIX, strlen(PROBLEM_PREFIX)) == 0)
        snprintf(answer->problem, sizeof answer->problem, "%s", type + strlen(PROBLEM_PREFIX));
}

/* A CSR may hold a challengePassword, and CAs quote what they do not like. */
static void hide(const struct acme_ask *ask, struct bytes body, struct httpc_reply *http)
{
    const char *csr = json_text(json_get(json_root(ask->payload), "csr"));
    if (!csr)
        return;
    hide_in_error(http, bytes_str(csr));
    hide_in_error(http, body);
}

static enum httpc_result post_once(struct acme_client *client, const struct acme_ask *ask,
                                   struct acme_answer *answer, struct err *err)
{
    static const char *const headers[] = {"Content-Type: application/jose+json", NULL};
    char nonce[NONCE_MAX + 1];
    struct buf body = {0};
    struct err ignored;
    enum httpc_result result = HTTPC_NOT_SENT;
    acme_answer_clear(answer);
    if (nonce_get(client, ask->deadline, nonce, err) && sign(client, ask, nonce, &body, err)) {
        struct httpc_call call = {.method = "POST",
                                  .url = ask->url,
                                  .headers = headers,
                                  .body = buf_bytes(&body),
                                  .deadline = ask->deadline};
        result = httpc_run(client->httpc, &call, &answer->http, err);
    }
    if (result == HTTPC_DONE)
        hide(ask, buf_bytes(&body), &answer->http);
    buf_free(&body);
    if (result != HTTPC_DONE)
        return result;
    nonce_keep(client, &answer->http);
    /* A problem counts whatever it is called: badNonce taken for a refusal would end a request. */
    if (answer->http.status / 100 != 2 || httpc_is_type(&answer->http, "application/json") ||
        httpc_is_type(&answer->http, "application/problem+json"))
        (void)!json_parse(buf_bytes(&answer->http.body), &answer->body, &ignored);
    read_problem(answer);
    return result;
}

/* What problems mean for an order where the status alone would say something else: most of what is
 * wrong with the account can be mended by an operator. */
static enum up_result result_of(const char *problem, enum up_result by_status)
{
    static const struct {
        const char *type;
        enum up_result result;
    } known[] = {
        {"accountDoesNotExist", UP_RETRY},
        {"badNonce", UP_RETRY},
        {"badSignatureAlgorithm", UP_RETRY},
        {"badCSR", UP_REFUSED},
        {"badPublicKey", UP_REFUSED},
        {"caa", UP_REFUSED},
        {"externalAccountRequired", UP_RETRY},
        {"orderNotReady", UP_RETRY},
        {"rateLimited", UP_RETRY},
        {"rejectedIdentifier", UP_REFUSED},
        {"unauthorized", UP_RETRY},
        {"unsupportedIdentifier", UP_REFUSED},
        {"userActionRequired", UP_RETRY},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].type, problem) == 0)
            return known[i].result;
    return by_status;
}

static void tell(const struct acme_answer *answer, struct up_reply *reply)
{
    const char *detail = json_text(json_get(json_root(answer->body), "detail"));
    relay_reason(reply, "the CA answers %d %s%s%.*s", answer->http.status, answer->problem,
                 detail ? ": " : "", DETAIL_SHOWN, detail ? detail : "");
}

enum up_result acme_client_post(struct acme_client *client, const struct acme_ask *ask,
                                struct acme_answer *answer, struct up_reply *reply)
{
    struct err err = {0};
    enum httpc_result http = HTTPC_NOT_SENT;
    if (!acme_url_fits(ask->url)) {
        relay_reason(reply, "the CA names no https URL where one belongs");
        return UP_RETRY;
    }
    for (int i = 0; i < NONCE_TRIES; i++) { /* section 6.5: the same again, with another nonce */
        http = post_once(client, ask, answer, &err);
        if (http != HTTPC_DONE || strcmp(answer->problem, "badNonce") != 0)
            break;
    }
    enum up_result result = relay_result(http, &answer->http, &err, reply);
    if (http != HTTPC_DONE || result == UP_ISSUED)
        return result;
    if (strcmp(answer->problem, "accountDoesNotExist") == 0)
        set_text(client, &client->account, NULL); /* looked for again next time */
    if (*answer->problem)
        tell(answer, reply);
    return result_of(answer->problem, result);
}

bool acme_client_get(struct acme_client *client, const char *url, int64_t deadline,
                     struct json **ret, struct err *err)
{
    struct httpc_call call = {.method = "GET", .url = url, .deadline = deadline};
    struct httpc_reply http = {0};
    bool ok = httpc_run(client->httpc, &call, &http, err) == HTTPC_DONE;
    if (ok && http.status != 200) {
        ok = err_set(err, ERR_UPSTREAM, "%s answers %d", url, http.status);
        err->retry_after = httpc_retry_after(&http);
    }
    ok = ok && (json_parse(buf_bytes(&http.body), ret, err) || err_within(err, "reading %s", url));
    httpc_reply_clear(&http);
    return ok;
}

static bool read_directory(struct acme_client *client, int64_t deadline, struct err *err)
{
    static const char *const names[ACME_URL_COUNT] = {"newNonce", "newAccount", "newOrder",
                                                      "revokeCert", "renewalInfo"};
    const char *url = client->conf.directory, *found[ACME_URL_COUNT];
    struct json *json = NULL;
    bool ok = acme_client_get(client, url, deadline, &json, err);
    for (size_t i = 0; i < ACME_URL_COUNT && ok; i++) {
        found[i] = json_text(json_get(json_root(json), names[i]));
        if (!acme_url_fits(found[i]))
            found[i] = NULL;
        if (!found[i] && i != ACME_RENEWAL_INFO)
            ok = err_set(err, ERR_UPSTREAM, "%s has no https URL for %s", url, names[i]);
    }
    for (size_t i = 0; i < ACME_URL_COUNT && ok; i++)
        set_text(client, &client->urls[i], found[i]);
    json_free(json);
    return ok;
}

/* Section 7.3.4: the CA's secret signs our public key. */
static bool bind_account(struct acme_client *client, const char *url, struct json *payload,
                         struct err *err)
{
    const struct acme_client_conf *conf = &client->conf;
    struct buf secret = BUF_SECRET(1024), jwk_text = {0};
    struct json *header, *jws = NULL, *jwk = jose_jwk(client->key);
    bool ok = jwk && json_print_compact(jwk, &jwk_text) &&
              text_base64_decode(buf_bytes(conf->eab_text), TEXT_BASE64_LENIENT, &secret, err);
    header = json_new_object();
    json_set_text(header, "kid", conf->eab_id);
    json_set_text(header, "url", url);
    struct jose_signer signer = {.secret = buf_bytes(&secret)};
    ok = ok && jose_sign_flat(&signer, header, buf_bytes(&jwk_text), &jws, err);
    if (ok)
        json_set(payload, "externalAccountBinding", jws);
    json_free(header);
    json_free(jwk);
    buf_free(&jwk_text);
    buf_free(&secret);
    return ok;
}

/* Section 7.3: makes the account, or finds the one that the key has already. */
static enum up_result find_account(struct acme_client *client, int64_t deadline,
                                   struct up_reply *reply)
{
    const struct acme_client_conf *conf = &client->conf;
    char url[ACME_URL_MAX];
    struct acme_answer answer = {0};
    struct json *payload = json_new_object(), *contact = json_new_array();
    struct err err = {0};
    enum up_result result = UP_RETRY;
    for (size_t i = 0; i < conf->contact->count; i++)
        json_append_text(contact, conf->contact->items[i]);
    json_set(payload, "contact", contact);
    if (conf->terms_agreed)
        json_set_bool(payload, "termsOfServiceAgreed", true);
    if (!acme_client_url(client, ACME_NEW_ACCOUNT, url) ||
        (conf->eab_id && !bind_account(client, url, payload, &err)))
        relay_reason(reply, "%s", err.text);
    else
        result =
            acme_client_post(client, &(struct acme_ask){url, payload, deadline}, &answer, reply);
    if (result == UP_ISSUED) {
        char *account = bytes_to_str(httpc_header(&answer.http, "Location"));
        if (acme_url_fits(account))
            set_text(client, &client->account, account);
        else
            result = UP_RETRY;
        if (result == UP_RETRY)
            relay_reason(reply, "%s names no account", url);
        free(account);
    }
    json_free(payload);
    acme_answer_clear(&answer);
    return result == UP_ISSUED ? UP_ISSUED : UP_RETRY;
}

static bool find_key(struct acme_client *client, struct err *err)
{
    EVP_PKEY *key = NULL;
    const char *path = client->conf.key_path;
    if (client->key)
        return true;
    if (!acme_key_load(path, &key, err))
        return false;
    if (!key && (!make_key(path, err) || !acme_key_load(path, &key, err)))
        return false;
    client->key = key;
    return key || err_set(err, ERR_LOCAL, "the account key %s has gone", path);
}

/* Asks for what is missing, unless the CA wants to be asked later. Under setup. */
static enum up_result set_up(struct acme_client *client, bool directory, int64_t deadline,
                             struct up_reply *reply)
{
    char account[ACME_URL_MAX];
    struct err err = {0};
    enum up_result result = UP_ISSUED;
    if (!relay_pause_over(&client->pause, &err))
        return relay_later(reply, &err);
    if (directory && !read_directory(client, deadline, &err)) {
        result = relay_later(reply, &err);
    } else if (!copy_text(client, &client->account, account)) {
        result = find_account(client, deadline, reply);
        err_set(&err, ERR_UPSTREAM, "%s", reply->reason);
        err.retry_after = reply->retry_after;
    }
    if (result != UP_ISSUED)
        relay_pause_begin(&client->pause, &err);
    return result;
}

enum up_result acme_client_ready(struct acme_client *client, bool again, int64_t deadline,
                                 struct up_reply *reply)
{
    char text[ACME_URL_MAX];
    struct err err = {0};
    enum up_result result = UP_ISSUED;
    pthread_mutex_lock(&client->setup);
    bool directory = again || !acme_client_url(client, ACME_NEW_NONCE, text);
    if (!find_key(client, &err))
        result = relay_later(reply, &err);
    else if (directory || !copy_text(client, &client->account, text))
        result = set_up(client, directory, deadline, reply);
    pthread_mutex_unlock(&client->setup);
    return result;
}
