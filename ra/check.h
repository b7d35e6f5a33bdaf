/* Whether a chain of others' certificates is revoked, as far as a section of the configuration
 * asks. */
#ifndef RA_CHECK_H
#define RA_CHECK_H

#include "ra/request.h"

/* How a chain is checked, and which certificates of it the operator has configured himself: these
 * need not be vouched for, and still may not be revoked. */
struct ra_check {
    const struct cfg_checking *conf;
    const struct cfg_certs *known;
};

/* Every certificate below the last, which is the anchor. UNKNOWN: it could not be learnt, and has
 * to be. detail: why not GOOD, or what a GOOD of soft_fail passes over, or "". Waits as
 * revocation_check does. */
enum revocation_status ra_check_chain(const struct ra_settings *settings,
                                      const struct ra_check *check, STACK_OF(X509) * chain,
                                      char detail[RA_DETAIL_MAX]);

/* Everything that may be asked for by a configuration, fetched before somebody waits for it. */
void ra_checks_watch(const struct ra_settings *settings);

#endif
