/* Whose certificates count with a profile though the gateway did not issue them. Part of struct
 * cfg_profile. */
#ifndef CONFIG_ANCHOR_H
#define CONFIG_ANCHOR_H

#include "config/checking.h"

/* RFC 7030 sections 1.1 and 3.3.2: the profile's own CA, or somebody else's. */
enum cfg_anchor_class { CFG_ANCHOR_EXPLICIT = 0, CFG_ANCHOR_IMPLICIT };
/* What ties the names of a CSR to the certificate of an implicit anchor. */
enum cfg_anchor_names { CFG_ANCHOR_SAME = 0, CFG_ANCHOR_SERIAL, CFG_ANCHOR_ANY };

struct cfg_anchor {
    struct cfg_checking checking;   /* first */
    struct cfg_certs certificates;  /* of CAs; each is an anchor */
    struct cfg_certs intermediates; /* that a chain may pass through */
    struct trust **trusts; /* parallel to certificates: one each, so that two CAs of one name do
                              not stand in each other's way */
    enum cfg_anchor_class class;
    enum cfg_anchor_names names;
};

#endif
