#include "ra/rename.h"

bool ra_rename_judge(const struct ra_request *request, enum ra_op op, const struct upstream *up,
                     struct ra_outcome *outcome)
{
    if (!csr_change_has(request->csr))
        return true;
    if (op != RA_RENEW)
        ra_refuse(outcome, RA_NAMES_CHANGED, "ChangeSubjectName in a request that renews nothing");
    else if (request->profile->renewal.change_names != CFG_CHANGE_ALLOW)
        ra_refuse(outcome, RA_NAMES_CHANGED, "a renewal asks for the subject \"%.150s\" instead",
                  csr_wanted_get(request->csr)->subject_text);
    else if (!(up->vt->caps & UP_NAMES))
        ra_refuse(outcome, RA_NAMES_CHANGED,
                  "upstream %s issues for the names in the CSR and not for those that "
                  "ChangeSubjectName asks for",
                  up->name);
    else
        return true;
    return false;
}
