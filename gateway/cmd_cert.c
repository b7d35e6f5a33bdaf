#include "base/clock.h"
#include "base/pem.h"
#include "base/text.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"
#include "ra/lookup.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define REASONS "unspecified, keyCompromise, affiliationChanged, superseded or cessationOfOperation"
#define ASK_MS 30000
#define FINGERPRINT_PREFIX_MIN 8

static const char usage[] =
    "usage: scepter cert list [-c FILE] [--profile P] [--upstream U] [--expires-within 30d]\n"
    "                         [--revoked] [--json]\n"
    "       scepter cert show [-c FILE] SERIAL|FINGERPRINT [--pem|--json] [--window]\n"
    "       scepter cert revoke [-c FILE] SERIAL|FINGERPRINT [--reason superseded]\n"
    "       scepter cert crl [-c FILE] --upstream U [--pem]\n"
    "\n"
    "The inventory: every certificate that was issued through this gateway. A fingerprint is "
    "SHA-256\n"
    "in hex; its first 8 characters or more will do. crl writes the CRL of a local CA. --window "
    "asks\n"
    "the CA when it wants the certificate renewed, if it can be asked (ACME, RFC 9773).\n"
    "Reasons: " REASONS ".\n";

static const struct option options[] = {
    {"profile", required_argument, NULL, 'p'},
    {"upstream", required_argument, NULL, 'u'},
    {"expires-within", required_argument, NULL, 'e'},
    {"revoked", no_argument, NULL, 'r'},
    {"reason", required_argument, NULL, 'R'},
    {"pem", no_argument, NULL, 'P'},
    {"window", no_argument, NULL, 'w'},
    {0},
};

/* RFC 5280 section 5.3.1 */
static const struct {
    const char *name;
    int code;
} reasons[] = {
    {"unspecified", 0}, {"keyCompromise", 1},        {"affiliationChanged", 3},
    {"superseded", 4},  {"cessationOfOperation", 5},
};

enum verb { VERB_LIST, VERB_SHOW, VERB_REVOKE, VERB_CRL };

static const struct cli_verb verbs[] = {
    [VERB_LIST] = {.name = "list", .options = "cpuerj"},
    [VERB_SHOW] = {.name = "show",
                   .options = "cPjw",
                   .word = "SERIAL or FINGERPRINT",
                   .apart = "PjPw"},
    [VERB_REVOKE] = {.name = "revoke", .options = "cR", .word = "SERIAL or FINGERPRINT"},
    [VERB_CRL] = {.name = "crl", .options = "cuP", .needs = "u"},
    {0},
};

struct wish {
    struct store_filter filter;
    int reason;
    bool pem, window;
};

static bool take_reason(const char *value, int *ret)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (strcasecmp(reasons[i].name, value) == 0) {
            *ret = reasons[i].code;
            return true;
        }
    }
    return false;
}

static bool take(int option, const char *value, void *arg, struct err *err)
{
    struct wish *wish = arg;
    int64_t seconds;
    switch (option) {
    case 'p':
        wish->filter.profile = value;
        return true;
    case 'u':
        wish->filter.upstream = value;
        return true;
    case 'e':
        if (!text_duration(value, &seconds))
            return err_set(err, ERR_CONFIG, "expected a time such as 12h or 30d");
        wish->filter.expires_before = clock_now() + seconds;
        return true;
    case 'r':
        wish->filter.revoked_only = true;
        return true;
    case 'R':
        return take_reason(value, &wish->reason) ||
               err_set(err, ERR_CONFIG, "expected %s", REASONS);
    case 'w':
        wish->window = true;
        return true;
    default:
        wish->pem = true;
        return true;
    }
}

static void set_time(struct json *json, const char *key, int64_t at)
{
    char text[TEXT_TIME_MAX];
    text_time(at, text);
    json_set_text(json, key, at ? text : NULL);
}

static struct json *json_of(const struct store_cert *cert)
{
    struct json *json = json_new_object();
    json_set_text(json, "serial", cert->serial);
    json_set_text(json, "fingerprint", cert->fingerprint);
    json_set_text(json, "subject", cert->subject);
    json_set_text(json, "sans", cert->sans);
    json_set_text(json, "profile", cert->profile);
    json_set_text(json, "upstream", cert->upstream);
    json_set_text(json, "request", cert->request);
    set_time(json, "not_before", cert->not_before);
    set_time(json, "not_after", cert->not_after);
    set_time(json, "issued_at", cert->issued_at);
    set_time(json, "delivered_at", cert->delivered_at);
    set_time(json, "revoked_at", cert->revoked_at);
    json_set_text(json, "replaced_by", cert->replaced_by[0] ? cert->replaced_by : NULL);
    return json;
}

static const char *state_of(const struct store_cert *cert)
{
    if (cert->revoked_at)
        return "revoked";
    if (cert->not_after < clock_now())
        return "expired";
    return cert->replaced_by[0] ? "replaced" : "valid";
}

static bool list_json(const struct store_cert *cert, void *arg)
{
    json_append(arg, json_of(cert));
    return true;
}

static bool list_text(const struct store_cert *cert, void *arg)
{
    char end[TEXT_TIME_MAX];
    (void)arg;
    text_time(cert->not_after, end);
    printf("%-40s  %-8s  %s  %-12s  ", cert->serial, state_of(cert), end, cert->profile);
    cli_print_safe(cert->subject[0] ? cert->subject : "-");
    putchar('\n');
    return true;
}

static int complain(const struct cli *cli, const struct err *err)
{
    cli_complain(cli, "%s", err->text);
    return err->kind == ERR_LOCAL ? CMD_UNREACHABLE : CMD_REFUSED;
}

static int cert_list(struct cli *cli, const struct wish *wish)
{
    struct err err = {0};
    int code = cli_filter_check(cli, &wish->filter);
    if (code != CMD_OK)
        return code;
    struct json *array = cli->json ? json_new_array() : NULL;
    if (!array)
        printf("%-40s  %-8s  %-20s  %-12s  %s\n", "SERIAL", "STATE", "NOT AFTER", "PROFILE",
               "SUBJECT");
    bool ok = cli->store->vt->cert_list(cli->store, &wish->filter, array ? list_json : list_text,
                                        array, &err);
    if (ok && array)
        cli_print_json(array);
    else
        json_free(array);
    return ok ? CMD_OK : complain(cli, &err);
}

/* The one certificate that a word names. */
struct found {
    struct store_cert cert;
    unsigned count;
};

static bool keep(const struct store_cert *cert, void *arg)
{
    struct found *found = arg;
    if (found->count++ == 0) {
        found->cert = *cert;
        found->cert.der = (struct buf){0};
        if (!buf_set(&found->cert.der, buf_bytes(&cert->der)))
            err_no_memory();
    }
    return found->count < 2;
}

/* Lower-case hex without colons, as openssl and browsers write it either way. */
static void plain_hex(const char *word, char *out, size_t size)
{
    size_t n = 0;
    for (; *word && n + 1 < size; word++)
        if (*word != ':')
            out[n++] = (char)(*word >= 'A' && *word <= 'F' ? *word + 32 : *word);
    out[n] = 0;
}

/* word: not NULL. */
static int find(struct cli *cli, const char *word, struct found *found)
{
    char hex[160];
    struct store_filter filter = {.serial = hex};
    struct err err = {0};
    plain_hex(word, hex, sizeof hex);
    if (strlen(hex) < FINGERPRINT_PREFIX_MIN || strspn(hex, "0123456789abcdef") != strlen(hex)) {
        cli_misused(cli, "\"%s\" is neither a serial number nor a fingerprint", word);
        return CMD_USAGE;
    }
    if (!cli->store->vt->cert_list(cli->store, &filter, keep, found, &err))
        return complain(cli, &err);
    if (found->count == 1)
        return CMD_OK;
    cli_complain(cli,
                 found->count ? "\"%s\" names several certificates: use the fingerprint"
                              : "no certificate with the serial number \"%s\", or a fingerprint "
                                "that begins so, was issued here",
                 word);
    return CMD_REFUSED;
}

static void show_text(const struct store_cert *cert)
{
    static const char *const labels[] = {"Issued", "Delivered", "Not before", "Not after",
                                         "Revoked"};
    const int64_t times[] = {cert->issued_at, cert->delivered_at, cert->not_before, cert->not_after,
                             cert->revoked_at};
    char text[TEXT_TIME_MAX];
    cli_print_field("Serial", cert->serial);
    cli_print_field("Fingerprint", cert->fingerprint);
    cli_print_field("State", state_of(cert));
    cli_print_field("Subject", cert->subject);
    cli_print_field("SANs", cert->sans);
    cli_print_field("Profile", cert->profile);
    cli_print_field("Upstream", cert->upstream);
    cli_print_field("Request", cert->request);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        text_time(times[i], text);
        cli_print_field(labels[i], times[i] ? text : "");
    }
    if (cert->replaced_by[0])
        cli_print_field("Replaced by", cert->replaced_by);
}

static int print_pem(const char *label, struct bytes der)
{
    struct buf pem = {0};
    bool ok = pem_add(&pem, label, der);
    if (ok)
        fputs(buf_str(&pem), stdout);
    buf_free(&pem);
    return ok ? CMD_OK : CMD_REFUSED;
}

static struct upstream *upstream_of(const struct ra_settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->cfg->upstream_count; i++)
        if (strcmp(settings->cfg->upstreams[i].name, name) == 0)
            return settings->upstreams[i];
    return NULL;
}

/* What the CA that issued it says. */
static int ask_window(struct cli *cli, const struct store_cert *row, struct up_window *ret)
{
    struct ra_settings *settings = NULL;
    struct cert *cert = NULL;
    struct err err = {0};
    int code = cli_wire(cli, &settings);
    if (code != CMD_OK)
        return code;
    struct upstream *up = upstream_of(settings, row->upstream);
    bool ok = up && up->vt->window;
    if (!ok)
        err_set(&err, ERR_UPSTREAM, "it is not configured any more, or of a kind without windows");
    ok = ok && cert_parse(buf_bytes(&row->der), &cert, &err) &&
         up->vt->window(up, cert, clock_mono_ms() + ASK_MS, ret, &err);
    if (!ok)
        cli_complain(cli, "upstream %s does not say when to renew: %s", row->upstream, err.text);
    cert_free(cert);
    ra_settings_free(settings);
    return ok ? CMD_OK : CMD_UNREACHABLE;
}

static struct json *json_of_window(const struct up_window *window)
{
    struct json *json = json_new_object();
    set_time(json, "start", window->start);
    set_time(json, "end", window->end);
    json_set_text(json, "why", window->why[0] ? window->why : NULL);
    return json;
}

static void show_window(const struct up_window *window)
{
    char start[TEXT_TIME_MAX], end[TEXT_TIME_MAX];
    text_time(window->start, start);
    text_time(window->end, end);
    printf("Renew:        from %s to %s%s", start, end, window->why[0] ? ", see " : "");
    cli_print_safe(window->why);
    putchar('\n');
}

static int cert_show(struct cli *cli, const struct wish *wish, const char *word)
{
    struct found found = {0};
    struct up_window window = {0};
    int code = find(cli, word, &found);
    if (code == CMD_OK && wish->window)
        code = ask_window(cli, &found.cert, &window);
    if (code == CMD_OK && wish->pem) {
        code = print_pem("CERTIFICATE", buf_bytes(&found.cert.der));
    } else if (code == CMD_OK && cli->json) {
        struct json *json = json_of(&found.cert);
        if (wish->window)
            json_set(json, "window", json_of_window(&window));
        cli_print_json(json);
    } else if (code == CMD_OK) {
        show_text(&found.cert);
        if (wish->window)
            show_window(&window);
    }
    store_cert_clear(&found.cert);
    return code;
}

/* A CA of somebody else's is told as well, if it can be; it is here that a certificate stops to
 * renew, whatever the CA says. */
static int tell_ca(struct cli *cli, const struct store_cert *row, int reason)
{
    struct ra_settings *settings = NULL;
    struct cert *cert = NULL;
    struct err err = {0};
    int code = cli_wire(cli, &settings);
    if (code != CMD_OK)
        return code;
    struct upstream *up = upstream_of(settings, row->upstream);
    const struct cfg_profile *profile = cfg_profile_get(cli->cfg, row->profile);
    bool ok = true, cannot = !up || !(up->vt->caps & UP_REVOKE);
    if (cannot && profile && profile->revoke == CFG_REVOKE_UPSTREAM)
        ok = err_set(&err, ERR_UPSTREAM, "it is not configured any more, or was changed");
    else if (cannot)
        printf("upstream %s is not told: revoke it there as well\n", row->upstream);
    else if (!(up->vt->caps & UP_INLINE))
        ok = cert_parse(buf_bytes(&row->der), &cert, &err) &&
             up->vt->revoke(up, cert, reason, clock_mono_ms() + ASK_MS, &err);
    if (!ok)
        cli_complain(cli, "upstream %s could not be told, try again: %s", row->upstream, err.text);
    else if (cert)
        printf("revoked at upstream %s\n", row->upstream);
    cert_free(cert);
    ra_settings_free(settings);
    return ok ? CMD_OK : CMD_UNREACHABLE;
}

static int cert_revoke(struct cli *cli, const struct wish *wish, const char *word)
{
    struct found found = {0};
    struct err err = {0};
    bool done = false;
    int code = find(cli, word, &found);
    if (code == CMD_OK) {
        struct audit_event event = {.event = "revoked",
                                    .request = found.cert.request,
                                    .profile = found.cert.profile,
                                    .origin = "cli",
                                    .subject = found.cert.subject,
                                    .detail = found.cert.serial};
        struct store_revoke revoke = {found.cert.fingerprint, wish->reason, &event};
        if (!cli->store->vt->cert_revoke(cli->store, &revoke, &done, &err))
            code = complain(cli, &err);
        else if (!done)
            cli_complain(cli, "certificate %s was revoked before", found.cert.serial);
        else
            printf("revoked %s\n", found.cert.serial);
        if (code == CMD_OK) /* also again: the CA may not have heard */
            code = tell_ca(cli, &found.cert, wish->reason);
    }
    store_cert_clear(&found.cert);
    return code == CMD_OK && !done ? CMD_REFUSED : code;
}

static int write_crl(struct cli *cli, const struct wish *wish, struct upstream *up)
{
    struct buf der = {0};
    struct err err = {0};
    int code = CMD_OK;
    if (!ra_crl_make(cli->store, up, &der, &err))
        code = complain(cli, &err);
    else if (wish->pem)
        code = print_pem("X509 CRL", buf_bytes(&der));
    else
        fwrite(der.ptr, 1, der.len, stdout);
    buf_free(&der);
    return code;
}

static int cert_crl(struct cli *cli, const struct wish *wish)
{
    struct ra_settings *settings = NULL;
    struct upstream *up = NULL;
    int code = cli_wire(cli, &settings);
    if (code != CMD_OK)
        return code;
    code = CMD_REFUSED;
    up = upstream_of(settings, wish->filter.upstream);
    if (!up)
        code = cli_no_upstream(cli, wish->filter.upstream);
    else if (!up->vt->crl)
        cli_complain(cli, "upstream \"%s\" makes its own CRLs", up->name);
    else
        code = write_crl(cli, wish, up);
    ra_settings_free(settings);
    return code;
}

static int run(struct cli *cli, const struct wish *wish)
{
    switch (cli->verb - verbs) {
    case VERB_LIST:
        return cert_list(cli, wish);
    case VERB_SHOW:
        return cert_show(cli, wish, cli->word);
    case VERB_REVOKE:
        return cert_revoke(cli, wish, cli->word);
    default:
        return cert_crl(cli, wish);
    }
}

int cmd_cert(int argc, char **argv)
{
    struct wish wish = {0};
    struct cli cli = {.name = "cert",
                      .usage = usage,
                      .options = options,
                      .verbs = verbs,
                      .take = take,
                      .arg = &wish};
    if (!cli_parse(&cli, argc, argv))
        return cli_parse_exit(&cli);
    int code = cli_open(&cli);
    if (code == CMD_OK)
        code = run(&cli, &wish);
    cli_close(&cli);
    return code;
}
