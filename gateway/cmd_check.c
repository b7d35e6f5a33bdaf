#include "base/log.h"
#include "config/node.h"
#include "config/reference.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"
#include "gateway/staple.h"
#include "gateway/tls.h"
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

static void warn_staple(const struct cfg_identity *identity, const struct cfg_node *node,
                        struct cfg_faults *warnings)
{
    struct staple *staple = NULL;
    struct err err;
    if (identity->staple && !staple_load(identity, &staple, &err))
        cfg_fault(warnings, cfg_node_get(node, "staple"), "warning: is not shown: %s", err.text);
    staple_free(staple);
}

/* What OpenSSL says of the server's certificates, which it is strict with. */
static bool check_tls(const struct cfg *cfg)
{
    const struct cfg_node *node = cfg_node_get(cfg->tree, "tls");
    const struct cfg_node *others = cfg_node_get(node, "others");
    struct cfg_faults *faults = cfg_faults_new(cfg->written);
    struct buf text = {0};
    struct tls *tls = NULL;
    struct err err;
    log_level_set(LOG_ERROR); /* it would tell of staples, without where they stand */
    bool ok = tls_new(cfg, TLS_ASK_OPTIONAL, &tls, &err);
    if (!ok)
        cfg_fault_key(faults, node, NULL, "cannot be used: %s", err.text);
    warn_staple(&cfg->tls.identity, node, faults);
    for (size_t i = 0; i < cfg->tls.other_count; i++)
        warn_staple(&cfg->tls.others[i], others->items[i], faults);
    cfg_faults_print(faults, &text);
    fputs(buf_str(&text), stderr);
    buf_free(&text);
    cfg_faults_free(faults);
    tls_free(tls);
    return ok;
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
    ok = ok && (!settings->cfg->tls_given || check_tls(settings->cfg));
    if (ok)
        printf("%s: ok\n", cli.conf);
    ra_settings_free(settings);
    buf_free(&faults);
    return ok ? CMD_OK : CMD_REFUSED;
}
