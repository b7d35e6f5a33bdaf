#include "base/clock.h"
#include "base/text.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"
#include "gateway/wire_challenge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: scepter challenge create [-c FILE] --profile P [--subject NAME] [--san NAME]...\n"
    "                                [--ttl 1h] [--uses 1] [--json]\n"
    "\n"
    "Prints a one-time challenge: the challengePassword of SCEP, the Basic password of EST. Where "
    "the\n"
    "profile's upstream CA hands out its own (challenge: broker), it is fetched from there, and "
    "lives\n"
    "no longer than the CA says.\n"
    "\n"
    "  --subject NAME  binds it to a subject, such as CN=router-1,O=Example\n"
    "  --san NAME      binds it to subjectAltNames, such as dns:router-1.example; several by "
    "commas\n"
    "                  or by repeating. A challenge bound to a subject alone allows no SAN; bound\n"
    "                  to SANs alone it leaves the subject to the profile\n"
    "  --ttl TIME      how long it lives, such as 30m, 8h or 7d, at most 365d (the profile's "
    "challenge.ttl)\n"
    "  --uses N        how often it may be used, at most 1000000 (the profile's challenge.uses)\n";

static const struct option options[] = {
    {"profile", required_argument, NULL, 'p'}, {"subject", required_argument, NULL, 's'},
    {"san", required_argument, NULL, 'a'},     {"ttl", required_argument, NULL, 't'},
    {"uses", required_argument, NULL, 'u'},    {0},
};

static const struct cli_verb verbs[] = {
    {.name = "create", .options = "cpsatuj", .needs = "p"},
    {0},
};

struct wish {
    const char *profile, *subject;
    const char *sans[NAMES_SAN_MAX];
    size_t san_count;
    char *copies[NAMES_SAN_MAX]; /* what sans point into */
    size_t copy_count;
    int64_t ttl, uses;
};

static bool take_sans(struct wish *wish, const char *value, struct err *err)
{
    const char *const *all = wish->sans;
    struct names names = {0};
    char *copy = mem_strdup(value);
    bool room = wish->copy_count < NAMES_SAN_MAX;
    if (room)
        wish->copies[wish->copy_count++] = copy;
    else
        free(copy);
    for (char *p = copy; room && *p;) {
        room = wish->san_count < NAMES_SAN_MAX;
        if (room)
            wish->sans[wish->san_count++] = p;
        p += strcspn(p, ",");
        if (*p)
            *p++ = 0;
    }
    if (!room)
        return err_set(err, ERR_CONFIG, "expected at most %d names", NAMES_SAN_MAX);
    if (!*value) /* which would bind it to nothing */
        return err_set(err, ERR_CONFIG, "expected a name such as dns:a.example");
    if (!names_parse_text(NULL, all, wish->san_count, &names, err))
        return false;
    names_clear(&names);
    return true;
}

static bool take_subject(const char *value, const char **ret, struct err *err)
{
    struct names names = {0};
    if (!names_parse_text(value, NULL, 0, &names, err))
        return false;
    names_clear(&names);
    *ret = value;
    return true;
}

static bool take(int option, const char *value, void *arg, struct err *err)
{
    struct wish *wish = arg;
    char *end;
    switch (option) {
    case 'p':
        wish->profile = value;
        return true;
    case 's':
        return take_subject(value, &wish->subject, err);
    case 'a':
        return take_sans(wish, value, err);
    case 't':
        return (text_duration(value, &wish->ttl) && wish->ttl > 0 &&
                wish->ttl <= CFG_CHALLENGE_TTL_MAX) ||
               err_set(err, ERR_CONFIG, "expected a time such as 30m, 8h or 7d, at most 365d");
    default:
        wish->uses = strtol(value, &end, 10);
        return (!*end && wish->uses > 0 && wish->uses <= CFG_CHALLENGE_USES_MAX) ||
               err_set(err, ERR_CONFIG, "expected a number from 1 to %d", CFG_CHALLENGE_USES_MAX);
    }
}

static void print(const struct cli *cli, const char *secret, int64_t expires)
{
    char time[TEXT_TIME_MAX];
    if (!cli->json) {
        printf("%s\n", secret);
        return;
    }
    struct json *json = json_new_object();
    text_time(expires, time);
    json_set_text(json, "challenge", secret);
    json_set_text(json, "expires", time);
    cli_print_json(json);
}

static int create(struct cli *cli, struct wish *wish)
{
    struct buf secret = {0};
    struct err err = {0};
    const struct cfg_profile *profile = cli_profile_get(cli, wish->profile);
    if (!profile)
        return CMD_REFUSED;
    struct challenge_mint mint = {
        .profile = profile,
        .subject = wish->subject,
        .sans = wish->sans,
        .san_count = wish->san_count,
        .ttl = wish->ttl ? wish->ttl : profile->challenge.ttl,
        .uses = (int)(wish->uses ? wish->uses : profile->challenge.uses),
    };
    bool ok = wire_challenge_create(cli->store, cli->cfg, &mint, &secret, &err);
    if (ok)
        print(cli, buf_str(&secret), clock_now() + mint.ttl);
    else
        cli_complain(cli, "%s", err.text);
    buf_free(&secret);
    bool reached = err.kind != ERR_LOCAL && err.kind != ERR_UPSTREAM;
    return ok ? CMD_OK : reached ? CMD_REFUSED : CMD_UNREACHABLE;
}

static int run(int argc, char **argv, struct wish *wish)
{
    struct cli cli = {.name = "challenge",
                      .usage = usage,
                      .options = options,
                      .verbs = verbs,
                      .many = "a",
                      .take = take,
                      .arg = wish};
    if (!cli_parse(&cli, argc, argv))
        return cli_parse_exit(&cli);
    int code = cli_open(&cli);
    if (code == CMD_OK)
        code = create(&cli, wish);
    cli_close(&cli);
    return code;
}

int cmd_challenge(int argc, char **argv)
{
    struct wish *wish = mem_zalloc(sizeof *wish);
    int code = run(argc, argv, wish);
    for (size_t i = 0; i < wish->copy_count; i++)
        free(wish->copies[i]);
    free(wish);
    return code;
}
