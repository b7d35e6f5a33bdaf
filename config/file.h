/* Values that are names of files. */
#ifndef CONFIG_FILE_H
#define CONFIG_FILE_H

#include "config/node.h"
#include "config/profile.h"

/* Each takes a node that names a file. False: there is a fault. */

/* The certificates in the file are added to *certs. */
bool cfg_file_certs(const struct cfg_node *node, struct cfg_certs *certs,
                    struct cfg_faults *faults);
/* The caller owns *ret. A file that others than its owner can read is a fault; the group may if
 * root owns it. */
bool cfg_file_key(const struct cfg_node *node, EVP_PKEY **ret, struct cfg_faults *faults);
/* field is a struct cfg_challenge: one secret a line; the file is guarded like a key's. */
bool cfg_file_secrets(const struct cfg_node *node, void *field, struct cfg_faults *faults);
void cfg_file_secrets_clear(void *field);
/* The one secret in the file, guarded alike; a NUL is behind it. */
bool cfg_file_secret(const struct cfg_node *node, struct buf *secret, struct cfg_faults *faults);
/* field is a struct cfg_est: NAME:HASH a line; empty lines and those that begin with # are left
 * out. */
bool cfg_file_users(const struct cfg_node *node, void *field, struct cfg_faults *faults);
void cfg_file_users_clear(void *field);
/* field is a struct cfg_est: ID:KEY a line, in hex; empty lines and those that begin with # are
 * left out. */
bool cfg_file_shared_keys(const struct cfg_node *node, void *field, struct cfg_faults *faults);
void cfg_file_shared_keys_clear(void *field);

/* field is a struct blocklist *: a list of files (base/blocklist.h). */
bool cfg_file_blocklists(const struct cfg_node *node, void *field, struct cfg_faults *faults);
void cfg_file_blocklists_clear(void *field);

#endif
