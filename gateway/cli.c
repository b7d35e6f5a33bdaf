#include "gateway/cli.h"

#include "base/text.h"
#include "gateway/cmd.h"
#include "gateway/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CONF "scepter.yaml"
#define OPTIONS_MAX 16
#define FAULTS_MAX ((size_t)4 << 20)

enum { OPTION_HELP = 1000, OPTION_JSON };

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
    fprintf(stderr, "scepter %s: %s\n", cli->name, buf_str(&safe));
    buf_free(&safe);
}

/* The subcommand's options and the common ones in one list. */
static void all_options(const struct option *mine, struct option *list)
{
    static const struct option common[] = {
        {"config", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, OPTION_JSON},
        {"help", no_argument, NULL, OPTION_HELP},
        {0},
    };
    size_t n = 0;
    for (; mine && mine->name && n < OPTIONS_MAX; mine++)
        list[n++] = *mine;
    memcpy(&list[n], common, sizeof common);
}

bool cli_parse(struct cli *cli, int argc, char **argv)
{
    struct option list[OPTIONS_MAX + 4];
    int option, index = 0;
    all_options(cli->options, list);
    cli->conf = DEFAULT_CONF;
    optind = 1;
    while ((option = getopt_long(argc, argv, "c:", list, &index)) != -1) {
        switch (option) {
        case 'c':
            cli->conf = optarg;
            break;
        case OPTION_JSON:
            cli->json = true;
            break;
        case OPTION_HELP:
            fputs(cli->usage, stdout);
            cli->usage = NULL; /* told */
            return false;
        case '?':
            fputs(cli->usage, stderr);
            return false;
        default:
            if (cli->take && cli->take(option, optarg, cli->arg))
                break;
            cli_complain(cli, "--%s \"%s\" will not do; --help tells what will", list[index].name,
                         optarg ? optarg : "");
            return false;
        }
    }
    return true;
}

int cli_parse_exit(const struct cli *cli)
{
    return cli->usage ? CMD_USAGE : CMD_OK;
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
