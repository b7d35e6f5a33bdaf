/* Speaking to an ACME server (RFC 8555): directory, nonces, the account, signed requests. */
#ifndef GATEWAY_UPSTREAM_ACME_CLIENT_H
#define GATEWAY_UPSTREAM_ACME_CLIENT_H

#include "base/httpc.h"
#include "base/json.h"
#include "gateway/upstream/relay.h"

#define ACME_URL_MAX 1024

enum acme_url {
    ACME_NEW_NONCE = 0,
    ACME_NEW_ACCOUNT,
    ACME_NEW_ORDER,
    ACME_REVOKE_CERT,
    ACME_RENEWAL_INFO, /* not every CA has it (RFC 9773) */
    ACME_URL_COUNT,
};

/* Borrowed until acme_client_free. */
struct acme_client_conf {
    const char *directory;
    const struct cfg_certs *trust;
    const char *key_path;       /* of the account key; made at the first need if there is none */
    const char *eab_id;         /* external account binding, or NULL */
    const struct buf *eab_text; /* its secret as CAs hand it out: base64url */
    const struct cfg_strings *contact;
    bool terms_agreed;
};

/* Thread-safe. */
struct acme_client;
bool acme_client_new(const struct acme_client_conf *conf, struct acme_client **ret,
                     struct err *err) MUST_USE;
void acme_client_free(struct acme_client *client); /* NULL is allowed */

/* Directory and account are known from now on. Otherwise UP_RETRY with reply->reason. again: the
 * directory is read anew. */
enum up_result acme_client_ready(struct acme_client *client, bool again, int64_t deadline,
                                 struct up_reply *reply);

/* Zero-initialise; acme_answer_clear frees. */
struct acme_answer {
    struct httpc_reply http;
    struct json *body; /* NULL if it is no JSON */
    char problem[64];  /* behind urn:ietf:params:acme:error: */
};
void acme_answer_clear(struct acme_answer *answer);

/* A request signed by the account; payload NULL: POST-as-GET (section 6.3). */
struct acme_ask {
    const char *url;
    const struct json *payload;
    int64_t deadline;
};
/* UP_ISSUED if the answer is 2xx; else what it means for an order, with reply->reason and
 * retry_after. Ready first. */
enum up_result acme_client_post(struct acme_client *client, const struct acme_ask *ask,
                                struct acme_answer *answer, struct up_reply *reply);
/* What anybody may read, as JSON; the caller frees *ret. */
bool acme_client_get(struct acme_client *client, const char *url, int64_t deadline,
                     struct json **ret, struct err *err) MUST_USE;
/* False if the directory does not have it. */
bool acme_client_url(struct acme_client *client, enum acme_url which, char ret[ACME_URL_MAX]);
/* Section 8.1: behind the token and a dot it is the key authorization. Ready first. */
bool acme_client_thumbprint(struct acme_client *client, struct buf *out);

/* Whether it is a URL that we would ask: https, of graphic characters, not too long. */
bool acme_url_fits(const char *url);

/* For configuration: the key if the file is there. False if it is and cannot be used. */
bool acme_key_load(const char *path, EVP_PKEY **ret, struct err *err);

#endif
