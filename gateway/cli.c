#include "gateway/cli.h"

#include "base/text.h"
#include "config/word.h"
#include "gateway/cmd.h"
#include "gateway/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 256
#define FAULTS_MAX ((size_t)4 << 20)

void cli_complain(const struct cli *cli, const char *fmt, ...)
{
    char text[1024];
    struct buf safe = {0};
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (const char *p = text;; p++) { /* a person reads it: quotes stay as they are */
        size_t len = strcspn(p, "\"");
        text_escape(bytes_of(p, len), len, &safe);
        p += len;
        if (!*p || !buf_add_u8(&safe, '"'))
            break;
    }
    const char *verb = cli->verb ? cli->verb->name : "";
    fprintf(stderr, "scepter%s%s%s%s: %s\n", *cli->name ? " " : "", cli->name, *verb ? " " : "",
            verb, buf_str(&safe));
    buf_free(&safe);
}

int cli_open(struct cli *cli)
{
    struct buf faults = BUF_INIT(FAULTS_MAX);
    struct err err = {0};
    int code = CMD_OK;
    if (!cfg_load(cli->conf, wire_kinds(), &cli->cfg, &faults)) {
        fputs(buf_str(&faults), stderr);
        code = CMD_REFUSED;
    } else if (!store_open(cli->cfg->store, false, &cli->store, &err)) {
        cli_complain(cli, "%s", err.text);
        code = CMD_UNREACHABLE;
    }
    buf_free(&faults);
    return code;
}

void cli_close(struct cli *cli)
{
    store_close(cli->store);
    cfg_free(cli->cfg);
}

int cli_wire(struct cli *cli, struct ra_settings **ret)
{
    struct buf faults = BUF_INIT(FAULTS_MAX);
    bool ok = wire_settings(cfg_ref(cli->cfg), 1, ret, &faults);
    fputs(buf_str(&faults), stderr);
    buf_free(&faults);
    return ok ? CMD_OK : CMD_REFUSED;
}

static bool stop_request(const struct store_request *request, void *arg)
{
    (void)request;
    *(bool *)arg = true;
    return false;
}

static bool stop_cert(const struct store_cert *cert, void *arg)
{
    (void)cert;
    *(bool *)arg = true;
    return false;
}

/* What was taken out of the configuration leaves its rows. */
static int stored(const struct cli *cli, const struct store_filter *filter, bool *ret)
{
    const struct store_vt *vt = cli->store->vt;
    struct err err = {0};
    *ret = false;
    if (vt->request_list(cli->store, filter, stop_request, ret, &err) &&
        (*ret || vt->cert_list(cli->store, filter, stop_cert, ret, &err)))
        return CMD_OK;
    cli_complain(cli, "%s", err.text);
    return CMD_UNREACHABLE;
}

static bool upstream_there(const struct cfg *cfg, const char *name)
{
    for (size_t i = 0; i < cfg->upstream_count; i++)
        if (strcmp(cfg->upstreams[i].name, name) == 0)
            return true;
    return false;
}

int cli_filter_check(const struct cli *cli, const struct store_filter *filter)
{
    struct store_filter profile = {.profile = filter->profile, .limit = 1};
    struct store_filter upstream = {.upstream = filter->upstream, .limit = 1};
    bool there = true;
    int code = CMD_OK;
    if (filter->profile && !cfg_profile_get(cli->cfg, filter->profile))
        code = stored(cli, &profile, &there);
    if (!there)
        return cli_profile_get(cli, filter->profile) ? CMD_OK : CMD_REFUSED;
    if (code == CMD_OK && filter->upstream && !upstream_there(cli->cfg, filter->upstream))
        code = stored(cli, &upstream, &there);
    if (!there)
        return cli_no_upstream(cli, filter->upstream);
    return code;
}

/* "there is no profile "vpm" in scepter.yaml; expected vpn" */
static void complain_name(const struct cli *cli, const char *what, const char *name,
                          const char *near)
{
    cli_complain(cli, "there is no %s \"%s\" in %s%s%s", what, name, cli->conf,
                 near ? "; expected " : "", near ? near : "");
}

const struct cfg_profile *cli_profile_get(const struct cli *cli, const char *name)
{
    const struct cfg_profile *profile = cfg_profile_get(cli->cfg, name);
    const char *names[NAMES_MAX];
    size_t count = 0;
    for (; count < cli->cfg->profile_count && count < NAMES_MAX; count++)
        names[count] = cli->cfg->profiles[count].name;
    if (!profile)
        complain_name(cli, "profile", name, cfg_word_near(name, names, count));
    return profile;
}

int cli_no_upstream(const struct cli *cli, const char *name)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    for (; count < cli->cfg->upstream_count && count < NAMES_MAX; count++)
        names[count] = cli->cfg->upstreams[count].name;
    complain_name(cli, "upstream", name, cfg_word_near(name, names, count));
    return CMD_REFUSED;
}

void cli_print_json(struct json *json)
{
    struct buf text = BUF_INIT((size_t)1 << 30);
    if (json_print(json, &text))
        fputs(buf_str(&text), stdout);
    buf_free(&text);
    json_free(json);
}

void cli_print_safe(const char *text)
{
    struct buf safe = {0};
    text_escape(bytes_str(text), strlen(text), &safe);
    fputs(buf_str(&safe), stdout);
    buf_free(&safe);
}

void cli_print_field(const char *name, const char *text)
{
    printf("%s:%*s", name, (int)(13 - strlen(name)), "");
    cli_print_safe(*text ? text : "-");
    putchar('\n');
}
