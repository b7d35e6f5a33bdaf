#include "ra/challenge/challenge.h"

/* Every secret is compared, whichever matched first. */
static bool fixed_judge(struct store *store, const struct ra_request *request,
                        struct challenge_verdict *ret, struct err *err)
{
    const struct cfg_challenge *conf = &request->profile->challenge;
    (void)store, (void)err;
    for (size_t i = 0; i < conf->fixed_count; i++)
        if (bytes_equal_secret(buf_bytes(&conf->fixed[i]), request->evidence.challenge))
            ret->accepted = true;
    ret->known = ret->accepted;
    return true;
}

const struct challenge_vt challenge_fixed = {.kind = "fixed", .judge = fixed_judge};
