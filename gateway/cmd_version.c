#include "gateway/cli.h"
#include "gateway/cmd.h"
#include "gateway/wire.h"

#include <openssl/crypto.h>
#include <stdio.h>

static const char usage[] = "usage: scepter version [--json]\n";

int cmd_version(int argc, char **argv)
{
    static const struct cli_verb verbs[] = {{.name = "", .options = "j"}, {0}};
    struct cli cli = {.name = "version", .usage = usage, .verbs = verbs};
    if (!cli_parse(&cli, argc, argv))
        return cli_parse_exit(&cli);
    struct buf kinds = {0};
    wire_kind_names(&kinds);
    if (!cli.json) {
        printf("scepter %s\n%s\nstores: %s\nupstreams: %s\n", SCEPTER_VERSION,
               OpenSSL_version(OPENSSL_VERSION), store_kinds(), buf_str(&kinds));
        buf_free(&kinds);
        return CMD_OK;
    }
    struct json *json = json_new_object();
    json_set_text(json, "version", SCEPTER_VERSION);
    json_set_text(json, "openssl", OpenSSL_version(OPENSSL_VERSION));
    json_set_text(json, "stores", store_kinds());
    json_set_text(json, "upstreams", buf_str(&kinds));
    buf_free(&kinds);
    cli_print_json(json);
    return CMD_OK;
}
