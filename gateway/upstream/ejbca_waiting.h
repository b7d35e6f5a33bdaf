/* What is kept of a request that waits for an approval at EJBCA. */
#ifndef GATEWAY_UPSTREAM_EJBCA_WAITING_H
#define GATEWAY_UPSTREAM_EJBCA_WAITING_H

#include "base/bytes.h"

#define EJBCA_PASSWORD_TEXT 49 /* hex, with its NUL */
#define EJBCA_NUMBER_TEXT 12   /* of a Java int */

/* As text "NUMBER PASSWORD USERNAME", or the username alone if the CA did not say its number. */
struct ejbca_waiting {
    char number[EJBCA_NUMBER_TEXT];     /* digits; empty: not known */
    char password[EJBCA_PASSWORD_TEXT]; /* a secret */
    struct bytes username;
};

/* cookie: from the store; ret: zeroed, borrows from it. False: it is none. */
bool ejbca_waiting_read(struct bytes cookie, struct ejbca_waiting *ret) MUST_USE;

/* The number of the approval's request stands in the address where the CA wants it finalized
 * (".../certificate/7/finalize"). We go where the configuration tells us, and take the number.
 * link: untrusted, or NULL. */
bool ejbca_number_of(const char *link, char ret[EJBCA_NUMBER_TEXT]) MUST_USE;

#endif
