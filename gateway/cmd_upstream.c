#include "base/clock.h"
#include "base/text.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"
#include "gateway/pki.h"
#include "gateway/wire.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: scepter upstream list [-c FILE] [--json]\n"
    "       scepter upstream test [-c FILE] NAME [--enroll]\n"
    "\n"
    "The upstream CAs of the configuration. test asks one whether it is there and prints its\n"
    "certificates and how long ours at it is good; nothing is issued. With --enroll a certificate\n"
    "for a key that is thrown away is asked for and printed; it does not enter the inventory.\n";

static const struct option options[] = {{"enroll", no_argument, NULL, 'e'}, {0}};

#define DEADLINE_MS 30000
#define TEST_SUBJECT "scepter upstream test"

static bool take(int option, const char *value, void *arg)
{
    (void)option, (void)value;
    *(bool *)arg = true;
    return true;
}

/* "enroll" and what else the kind can do. */
static void abilities(const struct upstream_vt *vt, struct buf *out)
{
    static const struct {
        unsigned cap;
        const char *name;
    } all[] = {{UP_RECOVER, "recover"}, {UP_RESUBMIT_SAFE, "repeat"}, {UP_CONFIRM, "confirm"},
               {UP_REVOKE, "revoke"},   {UP_PENDINGS, "pending"},     {UP_INLINE, "inline"},
               {UP_NAMES, "names"}};
    bool room = buf_add_str(out, "enroll");
    for (size_t i = 0; i < sizeof all / sizeof all[0] && room; i++)
        if (vt->caps & all[i].cap)
            room = buf_add_fmt(out, " %s", all[i].name);
}

/* Open requests of one upstream, by state. */
struct tally {
    int64_t counts[TXN_STATE_COUNT];
};

static bool tally_add(const struct store_request *request, void *arg)
{
    ((struct tally *)arg)->counts[request->state]++;
    return true;
}

static bool list_one(struct cli *cli, const struct upstream *up, struct json *array,
                     struct err *err)
{
    struct store_filter filter = {.upstream = up->name};
    struct tally tally = {{0}};
    struct buf can = {0};
    if (!cli->store->vt->request_list(cli->store, &filter, tally_add, &tally, err))
        return false;
    abilities(up->vt, &can);
    if (array) {
        struct json *json = json_new_object();
        json_set_text(json, "name", up->name);
        json_set_text(json, "type", up->vt->type);
        json_set_text(json, "can", buf_str(&can));
        for (unsigned i = 0; i < TXN_STATE_COUNT; i++)
            json_set_number(json, txn_state_name((enum txn_state)i), tally.counts[i]);
        json_append(array, json);
    } else {
        printf("%-16s  %-8s  %7lld  %7lld  %7lld  %7lld  %s\n", up->name, up->vt->type,
               (long long)tally.counts[TXN_ORDERED], (long long)tally.counts[TXN_WAITING],
               (long long)tally.counts[TXN_SUSPECT], (long long)tally.counts[TXN_ISSUED],
               buf_str(&can));
    }
    buf_free(&can);
    return true;
}

static int list(struct cli *cli, const struct ra_settings *settings)
{
    struct err err = {0};
    struct json *array = cli->json ? json_new_array() : NULL;
    bool ok = true;
    if (!array)
        printf("%-16s  %-8s  %7s  %7s  %7s  %7s  %s\n", "NAME", "TYPE", "ORDERED", "WAITING",
               "SUSPECT", "ISSUED", "CAN");
    for (size_t i = 0; i < settings->cfg->upstream_count && ok; i++)
        ok = list_one(cli, settings->upstreams[i], array, &err);
    if (ok && array)
        cli_print_json(array);
    else
        json_free(array);
    if (!ok)
        cli_complain(cli, "%s", err.text);
    return ok ? CMD_OK : CMD_UNREACHABLE;
}

static void print_cert(const char *what, const struct cert *cert)
{
    char until[TEXT_TIME_MAX];
    int64_t days = (cert_not_after_get(cert) - clock_now()) / 86400;
    text_time(cert_not_after_get(cert), until);
    printf("%-10s  until %s (%lld days)  ", what, until, (long long)days);
    cli_print_safe(cert_names_get(cert)->subject_text);
    putchar('\n');
}

/* A CA that wants a challenge of its own inside a CSR is asked for one. */
static bool add_challenge(struct upstream *up, X509_REQ *req, struct err *err)
{
    struct buf secret = {0};
    int64_t life;
    if (!up->vt->challenge)
        return true;
    bool ok = up->vt->challenge(up, clock_mono_ms() + DEADLINE_MS, &secret, &life, err);
    if (ok && X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword, MBSTRING_ASC, secret.ptr,
                                        (int)secret.len) != 1)
        ok = err_openssl(err, ERR_LOCAL, "making a request");
    buf_free(&secret);
    return ok;
}

/* A request for a key that nobody keeps. */
static bool make_csr(struct upstream *up, struct csr **ret, struct err *err)
{
    EVP_PKEY *key = pki_key_make(PKI_RSA2048, err);
    X509_REQ *req = X509_REQ_new();
    unsigned char *der = NULL;
    int len = -1;
    if (req && !add_challenge(up, req, err)) {
        X509_REQ_free(req);
        EVP_PKEY_free(key);
        return false;
    }
    if (key && req && X509_REQ_set_version(req, X509_REQ_VERSION_1) &&
        X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_UTF8,
                                   (const unsigned char *)TEST_SUBJECT, -1, -1, 0) == 1 &&
        X509_REQ_set_pubkey(req, key) && X509_REQ_sign(req, key, EVP_sha256()) > 0)
        len = i2d_X509_REQ(req, &der);
    bool ok = len > 0 ? csr_parse(bytes_of(der, (size_t)len), ret, err)
                      : err_openssl(err, ERR_LOCAL, "making a request");
    OPENSSL_free(der);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    return ok;
}

static bool enroll(struct upstream *up, const struct cfg *cfg, struct err *err)
{
    struct csr *csr = NULL;
    struct buf handle = {0};
    struct up_reply reply = {0};
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;
    if (!make_csr(up, &csr, err))
        return false;
    struct up_order order = {
        .request_id = "upstream-test", .csr = csr, .profile = &cfg->profiles[0]};
    bool ok = up->vt->prepare(up, &order, &handle, err);
    if (ok) {
        enum up_result result = up->vt->submit(up, &order, buf_bytes(&handle), deadline, &reply);
        printf("%-10s  %s%s%s\n", "enroll", up_result_name(result), reply.reason[0] ? ": " : "",
               reply.reason);
        ok = result == UP_ISSUED || result == UP_UNCONFIRMED || result == UP_PENDING ||
             err_set(err, ERR_UPSTREAM, "%s did not issue", up->name);
        if (result == UP_UNCONFIRMED && up->vt->confirm) /* a test: nobody shall have it */
            ok = up->vt->confirm(up, buf_bytes(&reply.cookie), false, deadline, err);
    }
    if (reply.cert) {
        print_cert("issued", reply.cert);
        PEM_write_X509(stdout, cert_x509_get(reply.cert));
    }
    up_reply_clear(&reply);
    buf_free(&handle);
    csr_free(csr);
    return ok;
}

/* Without a certificate's words: what we log in by, once the CA was asked. */
static void print_token(struct upstream *up)
{
    char until[TEXT_TIME_MAX];
    const char *name;
    int64_t ends;
    if (!up->vt->token || !up->vt->token(up, &name, &ends))
        return;
    text_time(ends, until);
    printf("%-10s  %s%s  %s\n", "ours", ends ? "until " : "without end", ends ? until : "", name);
}

static int test(struct cli *cli, const struct ra_settings *settings, const char *name, bool issue)
{
    struct upstream *up = NULL;
    const struct cfg_certs *chain = NULL;
    struct err err = {0};
    for (size_t i = 0; i < settings->cfg->upstream_count; i++)
        if (strcmp(settings->upstreams[i]->name, name) == 0)
            up = settings->upstreams[i];
    if (!up) {
        cli_complain(cli, "there is no upstream \"%s\"", name);
        return CMD_REFUSED;
    }
    const struct cert *ours = up->vt->credential ? up->vt->credential(up) : NULL;
    if (ours)
        print_cert("ours", ours);
    bool ok = !up->vt->health || up->vt->health(up, clock_mono_ms() + DEADLINE_MS, &err);
    if (ok)
        print_token(up);
    ok = ok && (!up->vt->chain || up->vt->chain(up, &chain, &err));
    for (size_t i = 0; ok && chain && i < chain->count; i++)
        print_cert("CA", chain->items[i]);
    ok = ok && (!issue || enroll(up, settings->cfg, &err));
    if (ok)
        printf("%s: ok\n", name);
    else
        cli_complain(cli, "%s: %s", name, err.text);
    return ok ? CMD_OK : CMD_UNREACHABLE;
}

static int run(struct cli *cli, const char *name, bool issue)
{
    struct ra_settings *settings = NULL;
    struct err err = {0};
    int code = cli_open(cli);
    if (code != CMD_OK)
        return code;
    if (!wire_settings(cfg_ref(cli->cfg), 1, &settings, &err)) {
        cli_complain(cli, "%s", err.text);
        return CMD_REFUSED;
    }
    code = name ? test(cli, settings, name, issue) : list(cli, settings);
    ra_settings_free(settings);
    return code;
}

int cmd_upstream(int argc, char **argv)
{
    struct cli cli = {.name = "upstream", .usage = usage};
    bool issue = false, named = argc > 1 && argv[1][0] != '-';
    cli.options = options;
    cli.take = take;
    cli.arg = &issue;
    if (!cli_parse(&cli, argc - named, argv + named))
        return cli_parse_exit(&cli);
    int words = argc - named - optind;
    bool is_list = named && strcmp(argv[1], "list") == 0 && words == 0 && !issue;
    bool is_test = named && strcmp(argv[1], "test") == 0 && words == 1;
    if (!is_list && !is_test) {
        fputs(usage, stderr);
        return CMD_USAGE;
    }
    int code = run(&cli, is_test ? argv[named + optind] : NULL, issue);
    cli_close(&cli);
    return code;
}
