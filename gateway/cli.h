/* What the subcommands share: options, configuration, store, output. */
#ifndef GATEWAY_CLI_H
#define GATEWAY_CLI_H

#include "base/json.h"
#include "config/config.h"
#include "ra/store/store.h"

#include <getopt.h>

struct cli {
    const char *name;             /* "cert list", for messages */
    const char *usage;            /* whole text */
    const struct option *options; /* its own, beside -c, --config, --json and --help; or NULL */
    /* Gets each of its own options; false if the value will not do. */
    bool (*take)(int option, const char *value, void *arg);
    void *arg;
    const char *conf; /* -c FILE */
    bool json;        /* --json */
    struct cfg *cfg;
    struct store *store;
};

/* Reads the options; optind is then the first word that is none. False: it is time to end, with
 * cli_parse_exit. */
bool cli_parse(struct cli *cli, int argc, char **argv) MUST_USE;
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
