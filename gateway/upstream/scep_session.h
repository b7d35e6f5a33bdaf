/* What a SCEP CA says of itself: capabilities and certificates, kept between requests. */
#ifndef GATEWAY_UPSTREAM_SCEP_SESSION_H
#define GATEWAY_UPSTREAM_SCEP_SESSION_H

#include "gateway/upstream/scep_options.h"
#include "scep/scep.h"

#include <pthread.h>

/* A copy holds counts of the certificates; scep_ca_clear drops them. */
struct scep_ca {
    struct cert *certs[RELAY_CERTS_MAX]; /* all that we believe: they may sign replies */
    size_t count;                        /* 0: not known yet */
    struct cert *recipient;              /* one of them */
    struct scep_algs algs;
    bool post;
};
void scep_ca_clear(struct scep_ca *ca);

/* Thread-safe but for scep_session_open and _close. */
struct scep_session {
    const struct relay *relay;          /* borrowed */
    const struct scep_options *options; /* the same */
    struct trust *trust;
    pthread_mutex_t mutex;
    struct scep_ca ca; /* guarded by mutex; replaced as a whole */
};

/* Fills a zeroed struct. */
void scep_session_open(struct scep_session *session, const struct relay *relay,
                       const struct scep_options *options);
void scep_session_close(struct scep_session *session);

/* Asks the CA by GetCACaps and GetCACert (RFC 8894 sections 3.5.2, 4.2). ERR_UPSTREAM. */
bool scep_session_fetch(struct scep_session *session, int64_t deadline, struct err *err) MUST_USE;
/* What is known, fetched if nothing is; the caller clears *ret. */
bool scep_session_ca(struct scep_session *session, int64_t deadline, struct scep_ca *ret,
                     struct err *err) MUST_USE;

/* The URL of an operation, with the message in it unless that is empty. False: it is too long. */
bool scep_session_url(const struct scep_session *session, const char *operation,
                      struct bytes message, struct buf *url) MUST_USE;

#endif
