#include "config/schema_checking.h"

/* In the order of enum cfg_revocation. */
const char *const cfg_revocation_words[] = {[CFG_REVOCATION_HARD_FAIL] = "hard_fail",
                                            [CFG_REVOCATION_SOFT_FAIL] = "soft_fail",
                                            [CFG_REVOCATION_NONE] = "none",
                                            NULL};

void cfg_judge_checking(const struct cfg_checking *checking, struct cfg_faults *faults,
                        const struct cfg_node *node, bool needed)
{
    static const char *const sources[] = {"crl", "crl_under", "ocsp"};
    bool any = false;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        const struct cfg_node *at = cfg_node_get(node, sources[i]);
        any = any || at;
        if (at && checking->revocation == CFG_REVOCATION_NONE)
            cfg_fault_key(faults, at, NULL,
                          "is not used; expected revocation hard_fail or soft_fail");
    }
    if (needed && !any && checking->revocation != CFG_REVOCATION_NONE)
        cfg_fault_key(faults, node, "revocation",
                      "has nothing to check by; expected crl, crl_under or ocsp, or revocation "
                      "none");
}
