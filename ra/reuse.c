#include "ra/reuse.h"

#include "base/identity.h"

#include <stdio.h>
#include <string.h>

bool ra_reuse_find(struct store *store, const struct ra_request *request, const struct csr *csr,
                   struct store_key_use *use, struct err *err)
{
    *use = (struct store_key_use){.refuse = request->profile->keys.reuse == CFG_REUSE_REFUSE};
    memcpy(use->spki, csr_spki_get(csr)->digest, sizeof use->spki);
    return identity_digest(csr_wanted_get(csr), use->identity, err) &&
           store->vt->key_used(store, use, err);
}

bool ra_reuse_refuse(const struct store_key_use *use, struct ra_outcome *outcome)
{
    if (!use->refuse || !use->other)
        return false;
    ra_refuse(outcome, RA_KEY_REUSED, "the key is that of \"%.200s\" already", use->subject);
    return true;
}

void ra_reuse_text(const struct store_key_use *use, char out[RA_DETAIL_MAX])
{
    *out = 0;
    if (use->other)
        snprintf(out, RA_DETAIL_MAX, "; the key is also that of \"%.80s\"", use->subject);
}
