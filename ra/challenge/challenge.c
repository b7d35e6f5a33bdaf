#include "ra/challenge/challenge.h"

#include <stdio.h>

static const struct challenge_vt *const kinds[CFG_CHALLENGE_KIND_COUNT] = {
    [CFG_CHALLENGE_FIXED] = &challenge_fixed,
    [CFG_CHALLENGE_ONE_TIME] = &challenge_one_time,
};

bool challenge_judge(struct store *store, const struct ra_request *request,
                     struct challenge_verdict *ret, struct err *err)
{
    const char *unknown = "the profile knows no such challenge";
    *ret = (struct challenge_verdict){0};
    for (unsigned i = 0; i < CFG_CHALLENGE_KIND_COUNT && request->evidence.challenge.len; i++) {
        if (!request->profile->challenge.kinds[i])
            continue;
        struct challenge_verdict verdict = {0};
        if (!kinds[i]->judge(store, request, &verdict, err))
            return false;
        if (verdict.known) {
            *ret = verdict;
            return true;
        }
    }
    snprintf(ret->detail, sizeof ret->detail, "%s",
             request->evidence.challenge.len ? unknown : "there is no challenge");
    return true;
}
