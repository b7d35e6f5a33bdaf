#include "base/text.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"

#include <stdio.h>
#include <string.h>

static const char usage[] = "usage: scepter request list [-c FILE] [--profile P] [--json]\n"
                            "       scepter request show [-c FILE] ID [--json]\n"
                            "\n"
                            "The requests in the store and their states: held, ordered, waiting, "
                            "suspect, issued, refused.\n";

static const struct option options[] = {{"profile", required_argument, NULL, 'p'}, {0}};

static bool take(int option, const char *value, void *arg)
{
    struct store_filter *filter = arg;
    (void)option;
    filter->profile = value;
    return true;
}

static void set_time(struct json *json, const char *key, int64_t at)
{
    char text[TEXT_TIME_MAX];
    text_time(at, text);
    json_set_text(json, key, at ? text : NULL);
}

static struct json *json_of(const struct store_request *request)
{
    struct json *json = json_new_object();
    json_set_text(json, "id", request->id);
    json_set_text(json, "state", txn_state_name(request->state));
    json_set_text(json, "operation", ra_op_name(request->op));
    json_set_text(json, "profile", request->profile);
    json_set_text(json, "upstream", request->upstream);
    json_set_text(json, "subject", request->subject);
    json_set_text(json, "origin", request->origin);
    json_set_text(json, "reason", request->reason[0] ? request->reason : NULL);
    json_set_text(json, "renews", request->renews[0] ? request->renews : NULL);
    json_set_number(json, "attempt", request->attempt);
    set_time(json, "created", request->created);
    set_time(json, "updated", request->updated);
    return json;
}

static bool list_json(const struct store_request *request, void *arg)
{
    json_append(arg, json_of(request));
    return true;
}

static bool list_text(const struct store_request *request, void *arg)
{
    char created[TEXT_TIME_MAX];
    (void)arg;
    text_time(request->created, created);
    printf("%s  %-8s  %s  %-6s  %-12s  ", request->id, txn_state_name(request->state), created,
           ra_op_name(request->op), request->profile);
    cli_print_safe(request->subject);
    putchar('\n');
    return true;
}

static int list(struct cli *cli, const struct store_filter *filter)
{
    struct err err = {0};
    struct json *array = cli->json ? json_new_array() : NULL;
    if (!array)
        printf("%-32s  %-8s  %-20s  %-6s  %-12s  %s\n", "ID", "STATE", "CREATED", "OP", "PROFILE",
               "SUBJECT");
    bool ok = cli->store->vt->request_list(cli->store, filter, array ? list_json : list_text, array,
                                           &err);
    if (ok && array)
        cli_print_json(array);
    else
        json_free(array);
    if (ok)
        return CMD_OK;
    cli_complain(cli, "%s", err.text);
    return CMD_UNREACHABLE;
}

static int show(struct cli *cli, const char *id)
{
    struct store_request request = {0};
    struct err err = {0};
    if (!cli->store->vt->request_by_id(cli->store, id, &request, &err)) {
        cli_complain(cli, "%s", err.text);
        return CMD_UNREACHABLE;
    }
    if (!request.id[0]) {
        cli_complain(cli, "there is no request \"%s\"", id);
        return CMD_REFUSED;
    }
    cli_print_json(json_of(&request));
    store_request_clear(&request);
    return CMD_OK;
}

int cmd_request(int argc, char **argv)
{
    struct cli cli = {.name = "request", .usage = usage};
    struct store_filter filter = {0};
    bool named = argc > 1 && argv[1][0] != '-';
    cli.options = options;
    cli.take = take;
    cli.arg = &filter;
    if (!cli_parse(&cli, argc - named, argv + named))
        return cli_parse_exit(&cli);
    int words = argc - named - optind;
    bool is_list = named && strcmp(argv[1], "list") == 0 && words == 0;
    bool is_show = named && strcmp(argv[1], "show") == 0 && words == 1;
    if (!is_list && !is_show) {
        fputs(usage, stderr);
        return CMD_USAGE;
    }
    int code = cli_open(&cli);
    if (code == CMD_OK)
        code = is_list ? list(&cli, &filter) : show(&cli, argv[named + optind]);
    cli_close(&cli);
    return code;
}
