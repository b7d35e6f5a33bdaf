#include "base/clock.h"
#include "base/text.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"
#include "gateway/pki.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: scepter upstream list [-c FILE] [--json]\n"
    "       scepter upstream test [-c FILE] NAME [--enroll [--san NAME]...]\n"
    "\n"
    "The upstream CAs of the configuration. test asks one whether it is there and prints its\n"
    "certificates, how long ours at it is good and what that leaves open; nothing is issued. With\n"
    "--enroll a certificate for a key that is thrown away is asked for and printed; it does not\n"
    "enter the inventory.\n"
    "\n"
    "  --san NAME      a subjectAltName to ask for, such as dns:test.example.com; may be "
    "repeated.\n"
    "                  The first name or address becomes the common name as well\n";

static const struct option options[] = {
    {"enroll", no_argument, NULL, 'e'}, {"san", required_argument, NULL, 'a'}, {0}};

struct wish {
    bool enroll;
    const char *sans[NAMES_SAN_MAX];
    size_t san_count;
};

#define DEADLINE_MS 30000
#define TEST_SUBJECT "scepter upstream test"

enum verb { VERB_LIST, VERB_TEST };

static const struct cli_verb verbs[] = {
    [VERB_LIST] = {.name = "list", .options = "cj"},
    [VERB_TEST] = {.name = "test", .options = "cea", .word = "NAME", .with = "ae"},
    {0},
};

static bool take(int option, const char *value, void *arg, struct err *err)
{
    struct wish *wish = arg;
    struct names names = {0};
    if (option == 'e') {
        wish->enroll = true;
        return true;
    }
    if (wish->san_count == NAMES_SAN_MAX)
        return err_set(err, ERR_CONFIG, "expected at most %d names", NAMES_SAN_MAX);
    wish->sans[wish->san_count++] = value;
    if (!names_parse_text(NULL, wish->sans, wish->san_count, &names, err))
        return false;
    names_clear(&names);
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

static bool list_one(struct cli *cli, struct upstream *up, struct json *array, struct err *err)
{
    struct store_filter filter = {.upstream = up->name};
    struct tally tally = {{0}};
    char until[TEXT_TIME_MAX] = "-";
    struct buf can = {0};
    if (!cli->store->vt->request_list(cli->store, &filter, tally_add, &tally, err))
        return false;
    abilities(up->vt, &can);
    const struct cert *ours = up->vt->credential ? up->vt->credential(up) : NULL;
    bool expired = ours && cert_not_after_get(ours) <= clock_now();
    if (ours)
        text_time(cert_not_after_get(ours), until);
    if (array) {
        struct json *json = json_new_object();
        json_set_text(json, "name", up->name);
        json_set_text(json, "type", up->vt->type);
        json_set_text(json, "can", buf_str(&can));
        json_set_text(json, "ours_not_after", ours ? until : NULL);
        for (unsigned i = 0; i < TXN_STATE_COUNT; i++)
            json_set_number(json, txn_state_name((enum txn_state)i), tally.counts[i]);
        json_append(array, json);
    } else {
        printf("%-16s  %-8s  %7lld  %7lld  %7lld  %7lld  %-20s  %s\n", up->name, up->vt->type,
               (long long)tally.counts[TXN_ORDERED], (long long)tally.counts[TXN_WAITING],
               (long long)tally.counts[TXN_SUSPECT], (long long)tally.counts[TXN_ISSUED],
               expired ? "expired" : until, buf_str(&can));
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
        printf("%-16s  %-8s  %7s  %7s  %7s  %7s  %-20s  %s\n", "NAME", "TYPE", "ORDERED", "WAITING",
               "SUSPECT", "ISSUED", "OURS UNTIL", "CAN");
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
    printf("%-10s  until %s (%lld %s)  ", what, until, (long long)days, days == 1 ? "day" : "days");
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

static bool add_sans(X509_REQ *req, const struct names *names)
{
    GENERAL_NAMES *list = GENERAL_NAMES_new();
    STACK_OF(X509_EXTENSION) *all = NULL;
    bool ok = list;
    for (size_t i = 0; ok && i < names->san_count; i++) {
        const unsigned char *p = names->sans[i].der.ptr;
        GENERAL_NAME *name = d2i_GENERAL_NAME(NULL, &p, (long)names->sans[i].der.len);
        ok = name && sk_GENERAL_NAME_push(list, name) > 0;
        if (!ok)
            GENERAL_NAME_free(name);
    }
    ok = ok && X509V3_add1_i2d(&all, NID_subject_alt_name, list, 0, 0) == 1 &&
         X509_REQ_add_extensions(req, all) == 1;
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
    GENERAL_NAMES_free(list);
    return ok;
}

/* Public CAs take no common name but one of the names. */
static bool add_names(X509_REQ *req, const struct wish *wish, struct err *err)
{
    struct names names = {0};
    if (wish->san_count && !names_parse_text(NULL, wish->sans, wish->san_count, &names, err))
        return false;
    const char *cn =
        names.san_count && names.sans[0].kind <= SAN_IP ? names.sans[0].text : TEST_SUBJECT;
    bool ok = (X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_UTF8,
                                          (const unsigned char *)cn, -1, -1, 0) == 1 &&
               (!names.san_count || add_sans(req, &names))) ||
              err_openssl(err, ERR_LOCAL, "making a request");
    names_clear(&names);
    return ok;
}

/* A request for a key that nobody keeps. */
static bool make_csr(struct upstream *up, const struct wish *wish, struct csr **ret,
                     struct err *err)
{
    EVP_PKEY *key = pki_key_make(PKI_RSA2048, err);
    X509_REQ *req = X509_REQ_new();
    unsigned char *der = NULL;
    int len = -1;
    if (req && (!add_names(req, wish, err) || !add_challenge(up, req, err))) {
        X509_REQ_free(req);
        EVP_PKEY_free(key);
        return false;
    }
    if (key && req && X509_REQ_set_version(req, X509_REQ_VERSION_1) &&
        X509_REQ_set_pubkey(req, key) && X509_REQ_sign(req, key, EVP_sha256()) > 0)
        len = i2d_X509_REQ(req, &der);
    bool ok = len > 0 ? csr_parse(bytes_of(der, (size_t)len), ret, err)
                      : err_openssl(err, ERR_LOCAL, "making a request");
    OPENSSL_free(der);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    return ok;
}

/* Polls as often as the CA wants it, while there is time. */
static enum up_result wait_for(struct upstream *up, const struct up_order *order, int64_t deadline,
                               struct up_reply *reply)
{
    enum up_result result = UP_PENDING;
    while (result == UP_PENDING && up->vt->poll) {
        struct buf cookie = reply->cookie;
        int64_t at =
            clock_mono_ms() + (int64_t)(reply->retry_after ? reply->retry_after : 1) * 1000;
        if (at >= deadline)
            break;
        clock_mono_sleep(at * 1000000);
        reply->cookie = (struct buf){0};
        up_reply_clear(reply);
        *reply = (struct up_reply){0};
        result = up->vt->poll(up, order, buf_bytes(&cookie), deadline, reply);
        buf_free(&cookie);
    }
    return result;
}

/* CMD_OK; CMD_REFUSED if the CA said no; CMD_UNREACHABLE. */
static int enroll(struct upstream *up, const struct cfg *cfg, const struct wish *wish,
                  struct err *err)
{
    bool refused = false;
    struct csr *csr = NULL;
    struct buf handle = {0};
    struct up_reply reply = {0};
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;
    if (!make_csr(up, wish, &csr, err))
        return CMD_UNREACHABLE;
    struct up_order order = {
        .request_id = "upstream-test", .csr = csr, .profile = &cfg->profiles[0]};
    bool ok = up->vt->prepare(up, &order, &handle, err);
    if (ok) {
        enum up_result result = up->vt->submit(up, &order, buf_bytes(&handle), deadline, &reply);
        if (result == UP_PENDING)
            result = wait_for(up, &order, deadline, &reply);
        printf("%-10s  %s%s%s\n", "enroll", up_result_name(result), reply.reason[0] ? ": " : "",
               reply.reason);
        refused = result == UP_REFUSED;
        ok = result == UP_ISSUED || result == UP_UNCONFIRMED || result == UP_PENDING ||
             err_set(err, ERR_UPSTREAM, "the CA did not issue");
        if (result == UP_UNCONFIRMED && up->vt->confirm) /* a test: nobody shall have it */
            ok = up->vt->confirm(up, buf_bytes(&reply.cookie), false, deadline, err) == UP_ISSUED;
    }
    if (reply.cert) {
        print_cert("issued", reply.cert);
        PEM_write_X509(stdout, cert_x509_get(reply.cert));
    }
    up_reply_clear(&reply);
    buf_free(&handle);
    csr_free(csr);
    return ok ? CMD_OK : refused ? CMD_REFUSED : CMD_UNREACHABLE;
}

static int test(struct cli *cli, const struct ra_settings *settings, const char *name,
                const struct wish *wish)
{
    struct upstream *up = NULL;
    const struct cfg_certs *chain = NULL;
    struct err err = {0};
    for (size_t i = 0; i < settings->cfg->upstream_count; i++)
        if (strcmp(settings->upstreams[i]->name, name) == 0)
            up = settings->upstreams[i];
    if (!up)
        return cli_no_upstream(cli, name);
    const struct cert *ours = up->vt->credential ? up->vt->credential(up) : NULL;
    if (ours)
        print_cert("ours", ours);
    bool ok = !up->vt->health || up->vt->health(up, clock_mono_ms() + DEADLINE_MS, &err);
    ok = ok && (!up->vt->chain || up->vt->chain(up, &chain, &err));
    for (size_t i = 0; ok && chain && i < chain->count; i++)
        print_cert("CA", chain->items[i]);
    if (ok && !wish->enroll && up->vt->untested)
        printf("%-10s  %s\n", "not known", up->vt->untested(up));
    int code = !ok            ? CMD_UNREACHABLE
               : wish->enroll ? enroll(up, settings->cfg, wish, &err)
                              : CMD_OK;
    if (code == CMD_OK)
        printf("%s: ok\n", name);
    else
        cli_complain(cli, "%s: %s", name, err.text);
    return code;
}

static int run(struct cli *cli, const char *name, const struct wish *wish)
{
    struct ra_settings *settings = NULL;
    int code = cli_open(cli);
    if (code == CMD_OK)
        code = cli_wire(cli, &settings);
    if (code != CMD_OK)
        return code;
    code = name ? test(cli, settings, name, wish) : list(cli, settings);
    ra_settings_free(settings);
    return code;
}

int cmd_upstream(int argc, char **argv)
{
    struct wish wish = {0};
    struct cli cli = {.name = "upstream",
                      .usage = usage,
                      .options = options,
                      .verbs = verbs,
                      .many = "a",
                      .take = take,
                      .arg = &wish};
    if (!cli_parse(&cli, argc, argv))
        return cli_parse_exit(&cli);
    int code = run(&cli, cli.word, &wish);
    cli_close(&cli);
    return code;
}
