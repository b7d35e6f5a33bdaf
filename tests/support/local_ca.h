/* A local CA on files of the test's own. */
#ifndef TESTS_SUPPORT_LOCAL_CA_H
#define TESTS_SUPPORT_LOCAL_CA_H

#include "gateway/upstream/local.h"
#include "tests/support/pki_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define HOUR INT64_C(3600)
#define DAY INT64_C(86400)

/* An issuing CA below a root, its files, and the connector over them. */
struct ca {
    char dir[64];
    EVP_PKEY *root_key, *key;
    X509 *root, *issuing;
    struct cfg_upstream conf;
    struct upstream *up;
};

/* For cmocka: stops the clock, so that times can be compared exactly. now: where it stands. */
int local_ca_clock(void **state);
extern int64_t now;

/* "CN=issuing,O=Example", ten years from a month ago. */
struct make_spec issuing_spec(void);
/* Files of a CA whose issuing certificate is as specified; takes the key. */
void make_files(struct ca *ca, EVP_PKEY *key, const struct make_spec *spec);
/* The kind's options for these files and from more lines of YAML; what is wrong with them goes to
 * faults_text. */
bool configure(struct ca *ca, const char *more, struct buf *faults_text);
/* All of it, and opened; usual: of the usual issuing certificate and 90 days of validity. */
void open_ca(struct ca *ca, EVP_PKEY *key, const struct make_spec *spec, const char *more);
void open_usual(struct ca *ca, EVP_PKEY *key);
void close_ca(struct ca *ca);

#endif
