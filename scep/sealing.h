/* How the content of one request is opened, and the reply's closed again. Internal to scep/. */
#ifndef SCEP_SEALING_H
#define SCEP_SEALING_H

#include "config/profile.h"
#include "scep/msg.h"

struct scep_sealing {
    const struct cfg_profile *profile;
    const struct scep_msg *msg;
    struct scep_opener opener;
    int cipher;                    /* of the request, which the reply mirrors; NID_undef: unread */
    bool by_password;              /* the reply is closed with password, else for the signer */
    struct scep_password password; /* of a request that was made with one; else secret.ptr NULL */
};

/* Whether the reply can be closed for this signer at all: an RSA key, or a fixed challenge that
 * takes its place (RFC 8894 section 3.1). False: err says what is needed. */
bool scep_sealing_possible(const struct scep_sealing *sealing, struct err *err) MUST_USE;
/* See scep_msg_open; content NULL: it is only looked at. */
bool scep_sealing_open(struct scep_sealing *sealing, struct buf *content, struct err *err) MUST_USE;
/* How long after its opening began the answer to a closed envelope begins, in nanoseconds.
 * Everybody may know what it follows from: the longest of our keys, and how often a password was to
 * be hashed. */
int64_t scep_sealing_headroom(const struct scep_sealing *sealing);
/* When that answer begins, of which `due` says when it should and that it was ready at `now`: at
 * due, or a whole multiple of 10 ms later. */
int64_t scep_sealing_begin(int64_t due, int64_t now);
/* Decides what the reply is closed with. csr: NULL for a poll. False: there is no key and no
 * password that both sides are known to have; err says what is needed. */
bool scep_sealing_choose(struct scep_sealing *sealing, const struct csr *csr,
                         struct err *err) MUST_USE;

#endif
