/* What the subcommands share: options, configuration, store, output. */
#ifndef GATEWAY_CLI_H
#define GATEWAY_CLI_H

#include "base/json.h"
#include "config/config.h"
#include "ra/store/store.h"

#include <getopt.h>

struct cli {
    const char *name;  /* "cert list", for messages */
    const char *usage; /* whole text */
    const char *conf;  /* -c FILE */
    bool json;         /* --json */
    struct cfg *cfg;
    struct store *store;
};

/* getopt_long over `options` plus -c, --config, --json and --help. take gets every other option and
 * its argument and returns false if it will not do. CMD_OK: go on, optind is the first word.
 * Otherwise *exit is the code to end with. */
bool cli_parse(struct cli *cli, int argc, char **argv, const struct option *options,
               bool (*take)(int option, const char *value, void *arg), void *arg);
int cli_parse_exit(const struct cli *cli); /* the code when cli_parse returned false */

/* Loads the configuration and opens its store; prints what is wrong. CMD_OK or the exit code. */
int cli_open(struct cli *cli);
void cli_close(struct cli *cli);

/* "scepter NAME: TEXT" on standard error. */
void cli_complain(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Prints and frees. */
void cli_print_json(struct json *json);
/* Text from a certificate or a request, made safe for a terminal. */
void cli_print_safe(const char *text);

#endif
