/* A SCEP device on the project's own codec: HTTP over a plain socket, requests, and replies checked
 * as a device checks them. */
#ifndef TESTS_SUPPORT_SCEP_PEER_H
#define TESTS_SUPPORT_SCEP_PEER_H

#include "scep/msg.h"

struct peer_url {
    char host[64];
    char port[8];
    char path[256];
};
bool peer_url_parse(const char *text, struct peer_url *ret) MUST_USE;

#define PEER_BODY_MAX ((size_t)1 << 20)
struct peer_http {
    int status;
    char type[128]; /* Content-Type */
    struct buf body;
};
/* body.ptr NULL: GET. False (ERR_UPSTREAM) if no whole reply came: then the same may be sent again.
 * The text of the error begins with "partial" if some of one came. */
bool peer_http(const struct peer_url *url, const char *query, struct bytes body,
               struct peer_http *reply, struct err *err) MUST_USE;
void peer_http_clear(struct peer_http *reply);

/* What GetCACert said. */
struct peer_ca {
    struct cert **certs;
    size_t count;
    const struct cert *recipient; /* the RA's, else the CA's */
};
bool peer_ca_fetch(const struct peer_url *url, struct peer_ca *ca, struct err *err) MUST_USE;
void peer_ca_clear(struct peer_ca *ca);

/* What a device asks for, and with which keys. */
struct peer_device {
    const char *subject; /* "/O=x/CN=y" */
    const char *const *sans;
    size_t san_count;
    const char *challenge; /* NULL or "": none */
    const char *password;  /* what envelopes are made with, both ways; NULL: RSA keys */
    EVP_PKEY *key;         /* of the request */
    struct scep_key signer;
    struct bytes txn;
    const char *type; /* text of messageType; NULL: PKCSReq */
    bool wants;       /* a reply's content is kept as it is, whatever it holds */
    struct scep_algs algs;
};
/* "rsa2048", "p256", ... */
bool peer_key_make(const char *type, EVP_PKEY **ret, struct err *err) MUST_USE;
/* Self-signed, as devices make them for their first enrollment (RFC 8894 section 2.3). */
bool peer_signer_make(const char *subject, EVP_PKEY *key, struct cert **ret,
                      struct err *err) MUST_USE;
/* Hex of a digest of key and subject: the same device asks under the same transactionID. */
bool peer_txn_make(const char *subject, EVP_PKEY *key, char out[33]) MUST_USE;

/* PKCSReq or what device->type says; or a CertPoll. */
bool peer_request_make(const struct peer_device *device, const struct peer_ca *ca, struct buf *der,
                       struct err *err) MUST_USE;
bool peer_poll_make(const struct peer_device *device, const struct peer_ca *ca, struct buf *der,
                    struct err *err) MUST_USE;

/* A GetCert or GetCRL, as device->type says, for this certificate. */
bool peer_wanted_make(const struct peer_device *device, const struct peer_ca *ca,
                      const struct cert *cert, struct buf *der, struct err *err) MUST_USE;

struct peer_answer {
    int http;
    int status; /* pkiStatus; -1: no CertRep came */
    int fail;   /* failInfo; -1: none */
    struct cert *cert;
    struct buf content; /* if the device wants it */
};
/* Who talks to whom. device NULL: a reply is only read, not opened and not compared. */
struct peer_talk {
    const struct peer_url *url;
    const struct peer_ca *ca;
    const struct peer_device *device;
};
/* Posts a message. */
bool peer_ask(const struct peer_talk *talk, struct bytes message, struct peer_answer *answer,
              struct err *err) MUST_USE;
void peer_answer_clear(struct peer_answer *answer);

#endif
