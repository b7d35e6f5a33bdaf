/* Values with a syntax of their own: the readers and checks that the tables name. */
#ifndef CONFIG_READ_H
#define CONFIG_READ_H

#include "config/config.h"
#include "config/node.h"

/* Readers (config/table.h). False: there is a fault. What field is, is said with each. */

/* struct cfg_urls */
bool cfg_read_urls(const struct cfg_node *node, void *field, struct cfg_faults *faults);
/* The same; only https. */
bool cfg_read_urls_tls(const struct cfg_node *node, void *field, struct cfg_faults *faults);
void cfg_read_urls_clear(void *field);

/* struct net_blocks */
bool cfg_read_blocks(const struct cfg_node *node, void *field, struct cfg_faults *faults);
void cfg_read_blocks_clear(void *field);
/* char *: "sqlite:" and an absolute path whose folder exists. */
bool cfg_read_store(const struct cfg_node *node, void *field, struct cfg_faults *faults);
void cfg_read_store_clear(void *field);
/* char *: the name of a file, made absolute. */
bool cfg_read_path(const struct cfg_node *node, void *field, struct cfg_faults *faults);
/* The same of a file that scepter makes: its folder exists. */
bool cfg_read_new_path(const struct cfg_node *node, void *field, struct cfg_faults *faults);
void cfg_read_path_clear(void *field);

/* struct rate: "50/s", "5/day". */
#define CFG_JSON_RATE "{\"type\": \"string\", \"pattern\": \"^[0-9]+/(s|sec|m|min|h|hour|d|day)$\"}"
bool cfg_read_rate(const struct cfg_node *node, void *field, struct cfg_faults *faults);
/* struct cfg_keys: "2048-4096" or "3072". */
bool cfg_read_rsa(const struct cfg_node *node, void *field, struct cfg_faults *faults);
/* struct cfg_profile: subject and subject_count. */
bool cfg_read_subject(const struct cfg_node *node, void *field, struct cfg_faults *faults);
void cfg_read_subject_clear(void *field);
/* struct buf: one DER value in hexadecimal. */
bool cfg_read_der(const struct cfg_node *node, void *field, struct cfg_faults *faults);
void cfg_read_der_clear(void *field);
/* struct cfg_challenge: kinds. */
bool cfg_read_kinds(const struct cfg_node *node, void *field, struct cfg_faults *faults);
/* struct cfg_told */
bool cfg_read_told(const struct cfg_node *node, void *field, struct cfg_faults *faults);
/* struct cfg_est: auth_certificate and auth_basic. */
/* lenient: what is not listed is strict. */
bool cfg_read_lenient(const struct cfg_node *node, void *field, struct cfg_faults *faults);
bool cfg_read_auth(const struct cfg_node *node, void *field, struct cfg_faults *faults);

/* Checks (config/table.h): what is wrong, or NULL. */
const char *cfg_check_eku(const char *text, char **stored);       /* stored dotted */
const char *cfg_check_extension(const char *text, char **stored); /* stored dotted */
const char *cfg_check_asked(const char *text, char **stored);     /* stored dotted */
const char *cfg_check_oid(const char *text, char **stored);       /* stored dotted */
const char *cfg_check_dns(const char *text, char **stored);
const char *cfg_check_host(const char *text, char **stored); /* a DNS name that is no glob */
const char *cfg_check_ip(const char *text, char **stored);
const char *cfg_check_glob(const char *text, char **stored);
const char *cfg_check_web(const char *text, char **stored);       /* an http or https URL */
const char *cfg_check_web_under(const char *text, char **stored); /* ... that ends with / */
const char *cfg_check_path(const char *text, char **stored);
const char *cfg_check_label(const char *text, char **stored);
const char *cfg_check_realm(const char *text, char **stored);

/* For readers. The text of a list's item, or NULL and a fault. */
const char *cfg_item_text(const struct cfg_node *node, size_t i, const char *form,
                          struct cfg_faults *faults);
/* A list with something in it, and not too much; else a fault. */
bool cfg_is_list(const struct cfg_node *node, const char *form, struct cfg_faults *faults);
/* Decimal without a sign, to the end of the text. */
bool cfg_number(const char *text, long max, long *ret) MUST_USE;

#endif
