#include "base/text.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"

#include <stdio.h>

static const char usage[] = "usage: scepter audit verify [-c FILE] [--json]\n"
                            "\n"
                            "Walks the audit trail, whose records are chained by hash, and prints "
                            "how many there are and the\n"
                            "hash of the last. Note it elsewhere to notice later that the end was "
                            "cut off. Exits 1 and names\n"
                            "the first bad record if one was changed, removed or inserted.\n";

static const struct cli_verb verbs[] = {{.name = "verify", .options = "cj"}, {0}};

static void print(const struct cli *cli, const struct audit_summary *summary)
{
    char head[2 * AUDIT_HASH_LEN + 1];
    text_hex(bytes_of(summary->head, AUDIT_HASH_LEN), head);
    if (!cli->json) {
        printf("%lld %s, the chain is whole, head %s\n", (long long)summary->records,
               summary->records == 1 ? "record" : "records", head);
        return;
    }
    struct json *json = json_new_object();
    json_set_bool(json, "whole", true);
    json_set_number(json, "records", summary->records);
    json_set_text(json, "head", head);
    cli_print_json(json);
}

int cmd_audit(int argc, char **argv)
{
    struct cli cli = {.name = "audit", .usage = usage, .verbs = verbs};
    struct audit_summary summary = {0};
    struct err err = {0};
    if (!cli_parse(&cli, argc, argv))
        return cli_parse_exit(&cli);
    int code = cli_open(&cli);
    if (code == CMD_OK && audit_verify(cli.store, &summary, &err)) {
        print(&cli, &summary);
    } else if (code == CMD_OK) {
        cli_complain(&cli, "%s", err.text);
        code = CMD_REFUSED;
    }
    cli_close(&cli);
    return code;
}
