/* What the CAs have in common that speak JSON over HTTP. */
#ifndef GATEWAY_UPSTREAM_REST_H
#define GATEWAY_UPSTREAM_REST_H

#include "base/json.h"
#include "gateway/upstream/relay.h"

struct rest_call {
    const char *method;
    const char *path;           /* behind what the CA's URLs begin with */
    const char *const *headers; /* beside Content-Type and Accept, at most REST_HEADERS_MAX */
    const struct json *body;    /* or NULL; a secret */
    bool once;                  /* as with struct httpc_call */
    int64_t deadline;
};
#define REST_HEADERS_MAX 4
#define REST_TOKEN "X-Vault-Token: " /* begins a header that holds a secret */

/* Zero-initialise; rest_reply_clear frees. */
struct rest_reply {
    int status;        /* 0: none */
    struct json *json; /* what it came with; NULL: with nothing, or with a fault in other words */
};
void rest_reply_clear(struct rest_reply *reply);

/* UP_ISSUED is an answer of 2xx that is JSON or empty; anything else is as relay_result says it,
 * and 2xx that is no JSON is UP_UNKNOWN. What an error quotes of our secrets is asterisks in said
 * and ret. */
enum up_result rest_run(const struct relay *relay, const struct rest_call *call,
                        struct rest_reply *ret, struct up_reply *said);
/* The same for those who have a struct err. */
bool rest_ask(const struct relay *relay, const struct rest_call *call, struct rest_reply *ret,
              struct err *err) MUST_USE;

/* A member below others: rest_get(root, "data", "certificate"). NULL if it is not there. */
const struct json_value *rest_get(const struct json_value *value, const char *outer,
                                  const char *inner);
/* Adds the certificate in a text (PEM, base64 of DER, or base64 of that as EJBCA has it), or in
 * each text of an array, and puts them into order by adding them as PEM. Nothing is added for what
 * is no text. */
bool rest_certs_add(struct buf *pem, const struct json_value *value, struct err *err) MUST_USE;
/* The CA's certificates are those in the values, as rest_certs_add has them. */
bool rest_chain_set(const struct relay *relay, const struct json_value *const values[2],
                    struct err *err) MUST_USE;
/* An answer of a CA that has issued: the certificate, and those above it. */
struct rest_issued {
    const struct json_value *cert, *above[2];
};
/* The certificate for the order. If it is by a CA that we do not know, those above it, if there are
 * any, are what we know of the CA from then on. UP_UNKNOWN with a reason if there is none. */
enum up_result rest_take(const struct relay *relay, const struct rest_issued *issued,
                         const struct csr *csr, struct up_reply *reply);
/* The certificate for the order among those in pem. UP_UNKNOWN with a reason if there is none. */
enum up_result rest_cert_take(const struct buf *pem, const struct csr *csr, struct up_reply *reply);

/* The CSR as PEM, a member of an object. */
bool rest_set_csr(struct json *object, const char *key, const struct csr *csr) MUST_USE;
/* Percent-encodes what is not unreserved (RFC 3986 section 2.3). */
bool rest_escape(const char *text, struct buf *out) MUST_USE;

#endif
