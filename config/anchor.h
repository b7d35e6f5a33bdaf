/* Whose certificates count with a profile though the gateway did not issue them. Part of struct
 * cfg_profile. */
#ifndef CONFIG_ANCHOR_H
#define CONFIG_ANCHOR_H

#include "config/doors.h"

/* RFC 7030 sections 1.1 and 3.3.2: the profile's own CA, or somebody else's. */
enum cfg_anchor_class { CFG_ANCHOR_EXPLICIT = 0, CFG_ANCHOR_IMPLICIT };
/* What ties the names of a CSR to the certificate of an implicit anchor. */
enum cfg_anchor_names { CFG_ANCHOR_SAME = 0, CFG_ANCHOR_SERIAL, CFG_ANCHOR_ANY };
enum cfg_revocation { CFG_REVOCATION_HARD_FAIL = 0, CFG_REVOCATION_SOFT_FAIL, CFG_REVOCATION_NONE };

struct cfg_anchor {
    struct cfg_certs certificates;  /* of CAs; each is an anchor */
    struct cfg_certs intermediates; /* that a chain may pass through */
    struct trust **trusts; /* parallel to certificates: one each, so that two CAs of one name do
                              not stand in each other's way */
    enum cfg_anchor_class class;
    enum cfg_anchor_names names;
    enum cfg_revocation revocation;
    struct cfg_strings crl;       /* URLs */
    struct cfg_strings crl_under; /* what the CRL URLs in certificates must begin with */
    char *ocsp;                   /* URL of a responder, or NULL */
    int64_t refresh;              /* seconds that an answer is used before it is asked for again */
};

#endif
