#include "ra/txn.h"

#include <string.h>

static const char *const names[TXN_STATE_COUNT] = {
    [TXN_HELD] = "held",     [TXN_ORDERED] = "ordered", [TXN_WAITING] = "waiting",
    [TXN_ISSUED] = "issued", [TXN_REFUSED] = "refused", [TXN_SUSPECT] = "suspect",
};

#define TO(state) (1u << (state))

/* A state's row holds where it may go. Staying means: a new time, cookie or reason. */
static const unsigned moves[TXN_STATE_COUNT] = {
    [TXN_HELD] = TO(TXN_ORDERED) | TO(TXN_REFUSED),
    [TXN_ORDERED] =
        TO(TXN_ORDERED) | TO(TXN_WAITING) | TO(TXN_ISSUED) | TO(TXN_REFUSED) | TO(TXN_SUSPECT),
    [TXN_WAITING] = TO(TXN_WAITING) | TO(TXN_ISSUED) | TO(TXN_REFUSED) | TO(TXN_SUSPECT),
    [TXN_ISSUED] = 0,
    [TXN_REFUSED] = 0,
    [TXN_SUSPECT] = TO(TXN_SUSPECT) | TO(TXN_ORDERED) | TO(TXN_ISSUED) | TO(TXN_REFUSED),
};

bool txn_may_move(enum txn_state from, enum txn_state to)
{
    return (unsigned)from < TXN_STATE_COUNT && (unsigned)to < TXN_STATE_COUNT &&
           (moves[from] & TO(to));
}

bool txn_is_final(enum txn_state state)
{
    return (unsigned)state < TXN_STATE_COUNT && moves[state] == 0;
}

const char *txn_state_name(enum txn_state state)
{
    return (unsigned)state < TXN_STATE_COUNT ? names[state] : "unknown";
}

bool txn_state_parse(const char *name, enum txn_state *ret)
{
    for (unsigned i = 0; i < TXN_STATE_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret = (enum txn_state)i;
            return true;
        }
    }
    return false;
}
