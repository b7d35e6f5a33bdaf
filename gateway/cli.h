/* What the subcommands share: options, configuration, store, output. */
#ifndef GATEWAY_CLI_H
#define GATEWAY_CLI_H

#include "base/json.h"
#include "config/config.h"
#include "ra/ra.h"
#include "ra/store/store.h"

#include <getopt.h>

/* What one subcommand takes. Options are named by their letters; c is --config, j is --json. */
struct cli_verb {
    const char *name;    /* "list"; "": the command has no verbs */
    const char *options; /* all that it takes */
    const char *word;    /* what stands beside them, as in "SERIAL"; NULL: nothing */
    const char *needs;   /* options that must be there; or NULL */
    const char *apart;   /* pairs of which one may be there; or NULL */
    const char *with;    /* pairs: the first is for the second; or NULL */
};

struct cli {
    const char *name;             /* "cert" */
    const char *usage;            /* whole text */
    const struct option *options; /* its own, beside -c, --config, --json and --help; or NULL */
    const struct cli_verb *verbs; /* end with a NULL name */
    const char *many;             /* options that may occur more than once; or NULL */
    /* Gets each of its own options; false with what was expected if the value will not do. */
    bool (*take)(int option, const char *value, void *arg, struct err *err);
    void *arg;
    const struct cli_verb *verb; /* of verbs */
    const char *word;            /* NULL unless the verb has one */
    const char *conf;            /* -c FILE */
    bool json;                   /* --json */
    struct cfg *cfg;
    struct store *store;
};

/* Reads the command line, options and words in any order. False: it is time to end, with
 * cli_parse_exit; what is wrong has been said. */
bool cli_parse(struct cli *cli, int argc, char **argv) MUST_USE;
int cli_parse_exit(const struct cli *cli); /* the code when cli_parse returned false */
/* The same as cli_complain, and where the usage is told. Returns false. */
bool cli_misused(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Loads the configuration and opens its store; prints what is wrong. CMD_OK or the exit code. */
int cli_open(struct cli *cli);
void cli_close(struct cli *cli);

/* The connectors of cli->cfg, for the caller to free; prints what is wrong. CMD_OK or the exit
 * code. */
int cli_wire(struct cli *cli, struct ra_settings **ret);

/* Whether the profile and the upstream of a filter are configured or have been, which the store
 * knows; CMD_OK, or the exit code and it is said. */
int cli_filter_check(const struct cli *cli, const struct store_filter *filter);
/* The profile that was asked for; NULL if there is none, and it is said. */
const struct cfg_profile *cli_profile_get(const struct cli *cli, const char *name);

/* Says that there is no such upstream. CMD_REFUSED. */
int cli_no_upstream(const struct cli *cli, const char *name);

/* "scepter NAME: TEXT" on standard error. */
void cli_complain(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Prints and frees. */
void cli_print_json(struct json *json);
/* "NAME:         TEXT", one of a list; the text is made safe, "-" stands for none. */
void cli_print_field(const char *name, const char *text);
/* Text from a certificate or a request, made safe for a terminal. */
void cli_print_safe(const char *text);

#endif
