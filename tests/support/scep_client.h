/* The options of scep_client, and its way of enrolling many devices. */
#ifndef TESTS_SUPPORT_SCEP_CLIENT_H
#define TESTS_SUPPORT_SCEP_CLIENT_H

#include "tests/support/scep_peer.h"

#define CLIENT_SANS_MAX 16

enum client_exit {
    CLIENT_SUCCESS = 0,
    CLIENT_OTHER = 1, /* no reply that could be used */
    CLIENT_FAILURE = 2,
    CLIENT_PENDING = 3,
    CLIENT_USAGE = 4,
};

struct client_options {
    struct peer_url url;
    const char *challenge; /* or NULL */
    char *challenge_read;  /* the same, if it came from a file */
    const char *subject;
    const char *sans[CLIENT_SANS_MAX];
    size_t san_count;
    const char *key_path, *key_type;
    const char *renew_cert, *renew_key;
    const char *out_path, *key_out_path, *signer_out_path;
    const char *txn, *type;
    const char *save_path, *send_path, *next_path, *recipient_path;
    const char *getcert_path, *getcrl_path;
    const char *challenges_path, *journal_path;
    long count, parallel, repeat;
    bool poll, no_send, concurrent, by_password, no_challenge;
    struct scep_algs algs;
};

/* --next: the certificates of GetNextCACert, once its signature by an RA that GetCACert told has
 * been verified, in a PEM file. */
int client_next(const struct client_options *options);
/* --getcert, --getcrl: by issuer and serial number of a certificate, signed with the one of
 * --renew; the SignedData that comes goes to --out as it is. */
int client_wanted(const struct client_options *options);
/* --recipient: messages are encrypted to the first certificate of the file, and replies may be
 * signed by any in it, as if GetCACert had told them. */
bool client_recipient(const char *path, struct peer_ca *ca, struct err *err) MUST_USE;

/* --count: one line in the journal for each certificate that came. */
int client_bulk(const struct client_options *options);

#endif
