#include "config/reference.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"
#include "gateway/wire.h"

#include <stdio.h>

static const char usage[] =
    "usage: scepter check [-c FILE]\n"
    "       scepter check --reference | --schema\n"
    "\n"
    "Validates a configuration and prints every fault with file, line and column. Exits 0 if "
    "there\n"
    "is none, 1 otherwise; warnings, of RAs that some devices refuse or that end soon, are no\n"
    "faults. --reference prints the description of every key in Markdown, --schema a JSON Schema\n"
    "for editors.\n";

static const struct option options[] = {
    {"reference", no_argument, NULL, 'r'},
    {"schema", no_argument, NULL, 's'},
    {0},
};

static const struct cli_verb verbs[] = {
    {.name = "", .options = "crs", .apart = "rscrcs"},
    {0},
};

static bool take(int option, const char *value, void *arg, struct err *err)
{
    int *what = arg;
    (void)value, (void)err;
    *what = option;
    return true;
}

static int print(bool (*write)(const struct cfg_kinds *kinds, struct buf *out))
{
    struct buf text = {0};
    bool ok = write(wire_kinds(), &text);
    if (ok)
        fputs(buf_str(&text), stdout);
    buf_free(&text);
    return ok ? CMD_OK : CMD_REFUSED;
}

int cmd_check(int argc, char **argv)
{
    int what = 0;
    struct cli cli = {.name = "check",
                      .usage = usage,
                      .options = options,
                      .verbs = verbs,
                      .take = take,
                      .arg = &what};
    struct buf faults = {0};
    struct cfg *cfg = NULL;
    struct ra_settings *settings = NULL;
    if (!cli_parse(&cli, argc, argv))
        return cli_parse_exit(&cli);
    if (what)
        return print(what == 'r' ? cfg_reference_write : cfg_schema_write);
    bool ok = cfg_load(cli.conf, wire_kinds(), &cfg, &faults);
    if (ok) {
        fputs(buf_str(&cfg->warnings), stderr);
        ok = wire_settings(cfg, 1, &settings, &faults); /* what shows when connectors are opened */
    }
    fputs(buf_str(&faults), stderr);
    if (ok)
        printf("%s: ok\n", cli.conf);
    ra_settings_free(settings);
    buf_free(&faults);
    return ok ? CMD_OK : CMD_REFUSED;
}
