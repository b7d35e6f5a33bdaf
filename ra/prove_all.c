#include "ra/prove_all.h"

/* The challenge is spent by the same order. */
static bool add_challenge(struct ra_case *c, struct ra_authorization **ret,
                          struct ra_outcome *outcome, struct err *err)
{
    struct challenge_verdict verdict;
    bool ok = ra_prove_challenge(c->store, c->request, &verdict, outcome, err);
    if (ok && verdict.accepted) {
        if (verdict.spends)
            ra_authorization_spend(*ret, verdict.digest);
        return true;
    }
    ra_authorization_free(*ret);
    *ret = NULL;
    return ok;
}

bool ra_prove_all(struct ra_case *c, struct ra_authorization **ret, struct ra_outcome *outcome,
                  struct err *err)
{
    const struct ra_request *request = c->request;
    struct ra_request alone = *request;
    if (!request->evidence.both)
        return ra_prove(c, ret, outcome, err);
    alone.evidence.challenge = alone.evidence.user = (struct bytes){0};
    alone.evidence.principal = NULL;
    c->request = &alone;
    bool ok = ra_prove(c, ret, outcome, err);
    c->request = request;
    /* A password could help elsewhere; here there is one. */
    if (ok && !*ret && outcome->reason == RA_NO_EVIDENCE)
        ra_refuse(outcome, RA_BAD_RENEWAL,
                  "the certificate beside the password authorizes nothing");
    if (!ok || !*ret || request->evidence.principal)
        return ok;
    return add_challenge(c, ret, outcome, err);
}
