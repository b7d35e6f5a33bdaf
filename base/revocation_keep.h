/* Inside revocation: what is kept, and the threads that fetch it. */
#ifndef BASE_REVOCATION_KEEP_H
#define BASE_REVOCATION_KEEP_H

#include "base/clock.h"
#include "base/crl.h"
#include "base/httpc.h"
#include "base/link.h"
#include "base/ocsp.h"
#include "base/revocation.h"

#include <openssl/sha.h>
#include <pthread.h>

#define REVOCATION_FETCHERS 4
#define REVOCATION_BUCKETS 512u
#define REVOCATION_NEVER INT64_MAX

/* A URL, and whether it answers. */
struct site {
    struct site *next;
    char *url;
    unsigned items;
    unsigned running;      /* fetches */
    unsigned failures;     /* in a row */
    int64_t blocked_until; /* nobody waits for it before */
};

/* A CRL of an issuer, or the answer about a certificate. Kept in the order of its last use. */
struct item {
    struct link link;
    struct item *next; /* in the bucket */
    uint8_t key[SHA256_DIGEST_LENGTH];
    enum revocation_fetched kind;
    struct site *site;
    X509 *issuer, *subject; /* subject: OCSP only */
    int64_t refresh_ms;
    int64_t used; /* all three in clock_mono_ms() time */
    int64_t due;  /* when to fetch it; REVOCATION_NEVER: not by itself */
    int64_t fetched;
    bool running;
    unsigned failures; /* useless answers in a row */
    int64_t blocked_until;
    unsigned waiting;
    bool other;      /* what the URL has is not this issuer's */
    struct crl *crl; /* or NULL */
    bool answered;   /* answer is set */
    struct ocsp_answer answer;
    char why[200]; /* what was wrong the last time, or "" */
};

struct revocation {
    void (*told)(const char *url, const struct err *err);
    struct httpc *httpc;
    pthread_t threads[REVOCATION_FETCHERS];
    unsigned thread_count;
    pthread_mutex_t parsing; /* one CRL at a time: it takes some fifteen times its size meanwhile */
    pthread_mutex_t mutex;   /* guards what follows */
    pthread_cond_t work, done;
    bool stop;
    struct site *sites;
    struct item *buckets[REVOCATION_BUCKETS];
    struct link items; /* the last used at the end */
    size_t item_count, crl_bytes;
    unsigned waiting;
    struct revocation_counts counts;
};

/* Names an item. subject: OCSP only. refresh in seconds. */
struct wanted {
    enum revocation_fetched kind;
    const char *url;
    X509 *issuer, *subject;
    int64_t refresh;
};

/* All with the mutex held. */

/* The item, made if there is none, and used now; NULL if there is no room. */
struct item *revocation_item_get(struct revocation *r, const struct wanted *wanted);
void revocation_item_free(struct revocation *r, struct item *item);
/* Until the condition is signalled, or that clock_mono_ms() time. */
void revocation_wait(struct revocation *r, pthread_cond_t *cond, int64_t until);

/* A thread that fetches what is due until r->stop. arg: struct revocation. Takes the mutex. */
void *revocation_fetcher(void *arg);

#endif
