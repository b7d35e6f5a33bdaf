/* States of a request and the table of moves. */
#ifndef RA_TXN_H
#define RA_TXN_H

#include <stdbool.h>

enum txn_state {
    TXN_HELD = 0, /* waits for an operator */
    TXN_ORDERED,  /* authorized and durable; will be, or is being, sent */
    TXN_WAITING,  /* the CA has it and will be polled */
    TXN_ISSUED,
    TXN_REFUSED,
    TXN_SUSPECT, /* it left, and nobody knows what became of it */
    TXN_STATE_COUNT,
};

/* Whether a request may go from one state to another. ORDERED to ORDERED is a new attempt. */
bool txn_may_move(enum txn_state from, enum txn_state to);
bool txn_is_final(enum txn_state state);          /* ISSUED, REFUSED */
const char *txn_state_name(enum txn_state state); /* "held", "ordered", ... as stored */
bool txn_state_parse(const char *name, enum txn_state *ret);

#endif
