/* What the CMP connector and its exchanges share: options, one transaction of OpenSSL's client with
 * our hands on its wire, and what is kept of one. */
#ifndef GATEWAY_UPSTREAM_CMP_SESSION_H
#define GATEWAY_UPSTREAM_CMP_SESSION_H

#include "gateway/upstream/relay.h"

#include <openssl/cmp.h>

#define CMP_ANSWER_MAX ((size_t)256 << 10)

/* PKIBody, RFC 4210 section 5.1.2. */
enum cmp_body { CMP_BODY_PKICONF = 19, CMP_BODY_ERROR = 23, CMP_BODY_POLLREP = 26 };

struct cmp_secret {
    char *reference;
    struct buf value; /* secret */
};

struct cmp_options {
    struct cfg_line line; /* first */
    char *url;
    struct cfg_certs tls;
    struct relay_client client;
    struct cmp_secret secret;
    struct cfg_certs signer;
    struct cfg_certs chain;
    bool resend;
};

/* One transaction, or a part of one: OpenSSL's client with our hands on its wire. Answers that an
 * earlier part got are replayed before anything is sent, which brings the client where it was. */
struct cmp_session {
    const struct cmp_options *options;
    struct httpc *httpc;
    OSSL_CMP_CTX *ctx;
    int64_t deadline;
    struct bytes tid;
    struct bytes replay[2]; /* answers in order; an empty one ends them */
    size_t replayed;
    bool find;                 /* ask with pollReq where the client would send the request */
    bool accept;               /* of certConf */
    struct buf first, last;    /* the answers to keep: the first, and the one after it */
    int sent;                  /* messages that left, or tried to */
    int body;                  /* type of the newest answer; -1: there was none */
    bool valid;                /* its protection is the CA's, and it is of our transaction */
    int status;                /* of HTTP in the newest answer; 0: there was none */
    enum up_result http;       /* of the newest exchange if body is -1 */
    struct up_reply http_said; /* its reason */
};

/* session: options and httpc set, and what shall be so of replay, find and accept; the rest zero.
 * tid is borrowed. cmp_session_close frees, also after a failure. */
bool cmp_session_open(struct cmp_session *session, struct bytes tid, int64_t deadline,
                      struct err *err) MUST_USE;
void cmp_session_close(struct cmp_session *session);

/* What a cookie holds: transactionID, bare CSR, and one answer or two, each an OCTET STRING. */
struct cmp_cookie {
    struct bytes tid, csr, answers[2];
};

/* csr: DER; kept without its attributes, which may hold a challengePassword. second may be empty.
 * False: too large, or no CSR. */
bool cmp_cookie_make(const struct cmp_session *session, struct bytes csr, struct bytes first,
                     struct bytes second, struct buf *ret) MUST_USE;
/* Borrows from the bytes. False: it is none. */
bool cmp_cookie_read(struct bytes bytes, struct cmp_cookie *ret) MUST_USE;

#endif
