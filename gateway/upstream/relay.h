/* What the connectors share that ask a CA over a network: what each begins with, certificates in
 * what CAs answer, and what an HTTP status means. */
#ifndef GATEWAY_UPSTREAM_RELAY_H
#define GATEWAY_UPSTREAM_RELAY_H

#include "base/httpc.h"
#include "config/table.h"
#include "gateway/upstream/relay_chain.h"
#include "ra/upstream.h"

#define RELAY_CERTS_MAX 32
#define RELAY_URL_MAX 1200

/* What `client` holds in the tables: how we prove ourselves to a CA. */
struct relay_client {
    struct cfg_certs certificate; /* chain, leaf first */
    EVP_PKEY *key;
};
extern const struct cfg_key relay_client_keys[], relay_basic_keys[];
struct relay_basic {
    char *user;
    struct buf password; /* secret */
};
/* The judge of `client`. */
void relay_client_judge(void *field, struct cfg_faults *faults, const struct cfg_node *node);

/* A fault unless the section's url is an https URL, since `expected` ("an https URL: ..."). */
void relay_https_judge(const char *url, const char *expected, struct cfg_faults *faults,
                       const struct cfg_node *node);

/* Whether our certificate is good for now; ERR_UPSTREAM says since when it is not. client: or NULL.
 */
bool relay_client_check(const struct relay_client *client, struct err *err) MUST_USE;

/* What a kind says of its CA. What it points to is borrowed until relay_close. */
struct relay_conf {
    const struct upstream_vt *vt;
    const char *url, *api;             /* what its URLs begin with: url, without a / at its end, and
                                          api ("/v1/"); or NULL */
    const struct cfg_certs *trust;     /* of its TLS certificate; NULL: no HTTP client is made */
    const struct relay_client *tls;    /* ours in TLS, or NULL */
    const struct relay_basic *basic;   /* or NULL */
    const struct relay_client *client; /* by which the CA knows us, in TLS or elsewhere, or NULL */
    const struct cfg_certs *chain;     /* what the operator told of its certificates; or NULL */
    /* Asks the CA for its certificates, for relay_chain_set. NULL: it cannot be asked. */
    bool (*fetch)(struct upstream *up, int64_t deadline, struct err *err);
};

/* What the connector's own struct begins with. */
struct relay {
    struct upstream base; /* first */
    struct relay_conf conf;
    struct httpc *httpc;
    struct relay_chain *chain;
};
/* The connector's own struct, of that size, with zeros behind the relay; or NULL. */
void *relay_new(size_t size, const struct cfg_upstream *upstream, const struct relay_conf *conf,
                struct err *err) MUST_USE;

/* Entries of struct upstream_vt for what begins with a struct relay. */
void relay_close(struct upstream *up); /* frees it, and nothing that stands behind the relay */
/* Nothing has to be known before a request is sent, and nothing is known of it by which the CA
 * would find it again. */
bool relay_prepare(struct upstream *up, const struct up_order *order, struct buf *handle,
                   struct err *err);
bool relay_chain(struct upstream *up, const struct cfg_certs **ret, struct err *err);
bool relay_remember(struct upstream *up, struct buf *memory);
void relay_recall(struct upstream *up, struct bytes memory);
/* Our certificate is good, and the CA tells its own. */
bool relay_health(struct upstream *up, int64_t deadline, struct err *err);
const struct cert *relay_credential(struct upstream *up);

/* Whether something can be ordered: our certificate is good, and the CA's are known, without which
 * what it issues could not be judged, or it tells them now. */
bool relay_ready(struct relay *relay, int64_t deadline, struct err *err) MUST_USE;
/* A CA may have changed its certificates since it was asked: if it has issued by none that we know,
 * it is asked again. The check of the certificate says what remains wrong. */
void relay_follow(struct relay *relay, const struct cert *cert, int64_t deadline);
void relay_url(const struct relay *relay, const char *path, char ret[RELAY_URL_MAX]);

/* Certificates of a PKCS#7 (BER, base64 of it in any layout, or PEM), of PEM, or one in DER, each
 * once, in order. The caller frees them with pem_certs_free. ERR_UPSTREAM. */
bool relay_certs_decode(struct bytes body, struct cert ***ret, size_t *count,
                        struct err *err) MUST_USE;
/* The one that was issued for the CSR: by its key, else the first that is no CA's; or NULL. */
struct cert *relay_cert_pick(struct cert *const *certs, size_t count, const struct csr *csr);
/* The certificate for the order in what a CA answers when it has issued. UP_UNKNOWN if there is
 * none, with a reason that begins with what is said of the answer ("the CA answers 200 with"). */
enum up_result relay_cert_take(struct bytes body, const struct csr *csr, const char *said,
                               struct up_reply *reply);

/* What an exchange means for an order, unless its status is 200 to 299, for which this is
 * UP_ISSUED. Fills reply->reason and retry_after. */
enum up_result relay_result(enum httpc_result result, const struct httpc_reply *http,
                            const struct err *err, struct up_reply *reply);
/* The same of what was asked by the way, for which there is no reply: ERR_UPSTREAM with what was
 * said. Always returns false. */
bool relay_failed(struct err *err, const char *what, const struct up_reply *said);
/* And back: err kept a request from being sent. UP_RETRY, after the time that the CA wants. */
enum up_result relay_later(struct up_reply *reply, const struct err *err);

/* What one thread asks for all, such as a token: that the CA wants to be asked later counts for
 * those as well who waited meanwhile. Zeros; guarded by its owner. */
struct relay_pause {
    int64_t until;  /* in clock_mono_ms() time */
    struct err why; /* what the CA said */
};
/* err: what came of the asking; without a wish there is no pause. */
void relay_pause_begin(struct relay_pause *pause, const struct err *err);
/* False while it lasts, with what the CA said and what is left of its time. */
bool relay_pause_over(const struct relay_pause *pause, struct err *err) MUST_USE;
/* reason is printable afterwards. */
void relay_reason(struct up_reply *reply, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
