/* A folder with everything that a good configuration names, and a kind of upstream to go with it.
 */
#ifndef TESTS_SUPPORT_CONFIG_MAKE_H
#define TESTS_SUPPORT_CONFIG_MAKE_H

#include "config/config.h"

/* The options of the kind "fake". */
struct fake_options {
    struct cfg_certs certificate;
    EVP_PKEY *key;
    struct cfg_certs chain;
    int64_t validity;
};

extern const struct cfg_kinds fake_kinds;

/* Certificates with their keys (tls, ra, ca, and for faults: ec, sign, crypt), secrets and users.
 */
void config_dir_make(char dir[64]);
void config_dir_write(const char *dir, const char *name, const char *text, unsigned mode);

/* A configuration that uses them: short, and every value in a place of its own. */
extern const char config_base[];

#endif
