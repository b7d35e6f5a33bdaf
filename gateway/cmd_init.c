#include "base/bytes.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"
#include "gateway/pki.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAYS_ROOT 3650
#define DAYS_ISSUING 1825
#define DAYS_SERVICE 730
#define HOST_MAX 253
#define CMC_RA "1.3.6.1.5.5.7.3.28"

static const char usage[] =
    "usage: scepter init DIR [--host NAME] [--ca-key rsa2048|p256] [--ports SCEP,EST,ADMIN]\n"
    "\n"
    "Makes a working tree: a root and an issuing CA, an RA, certificates for the server and an\n"
    "operator, a configuration with a profile \"default\", and a place for the state.\n"
    "\n"
    "  --host NAME    a name of this machine for the server's certificate (localhost and\n"
    "                 127.0.0.1 are always in it)\n"
    "  --ca-key KIND  key of the root and the issuing CA (rsa2048)\n"
    "  --ports A,B,C  ports for SCEP, EST and the admin listener (8080,8443,9443)\n";

static const char configuration[] =
    "# scepter: every key is described in docs/configuration.md. Names of files are relative to\n"
    "# this one. `scepter check -c FILE` tells every fault with its line.\n"
    "\n"
    "listen:\n"
    "  scep:  [http://0.0.0.0:%u]     # never asks for a TLS client certificate\n"
    "  est:   [https://0.0.0.0:%u]    # asks for one and does not require it\n"
    "  admin: [https://127.0.0.1:%u]  # /healthz /readyz /metrics\n"
    "\n"
    "tls:\n"
    "  certificate: tls/server.pem\n"
    "  key: tls/server.key\n"
    "\n"
    "store: sqlite:state/scepter.db\n"
    "\n"
    "ra:                                # keys that decrypt and sign SCEP\n"
    "  main: {certificate: ra/ra.pem, key: ra/ra.key}\n"
    "\n"
    "upstreams:                         # the CAs that issue\n"
    "  local:\n"
    "    type: local\n"
    "    certificate: ca/issuing.pem\n"
    "    key: ca/issuing.key\n"
    "    chain: [ca/root.pem]\n"
    "    validity: 90d\n"
    "\n"
    "profiles:                          # who may have which certificate\n"
    "  default:\n"
    "    routes: [{upstream: [local]}]\n"
    "    trust: [ca/root.pem]           # what an issued certificate must chain to\n"
    "    keys: {rsa: 2048-4096, ec: [P-256, P-384]}\n"
    "    # No subject entry: any subject. To allow only some: subject: {CN: "
    "\"^[a-z0-9-]{1,32}$\"}\n"
    "    san: {dns: [\"*\"], ip: [0.0.0.0/0, \"::/0\"], email: [\"*\"], max: 8}\n"
    "    eku: [clientAuth, ikeIntermediate]\n"
    "    challenge: {kinds: [one-time], ttl: 1h, uses: 1}\n"
    "    renewal: {grace_after_expiry: 0d, same_key: allow}\n"
    "    scep: {paths: [/scep/default, /cgi-bin/pkiclient.exe], ra: [main]}\n"
    "    est: {labels: [\"\", default], auth: [certificate, basic]}\n";

struct init {
    const char *dir;
    const char *host;
    enum pki_key ca_key;
    unsigned ports[3];
    bool made_dir;
};

static const char *const folders[] = {"ca", "ra", "tls", "operator", "state"};

static bool parse_ports(const char *text, unsigned ports[3])
{
    for (unsigned i = 0; i < 3; i++) {
        char *end;
        unsigned long port = strtoul(text, &end, 10);
        if (end == text || *end != (i < 2 ? ',' : 0) || port < 1 || port > 65535)
            return false;
        ports[i] = (unsigned)port;
        text = end + 1;
    }
    return ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2];
}

/* What may stand in a dNSName, so that nothing else gets into the certificate. */
static bool host_fine(const char *host)
{
    size_t len = strlen(host);
    return len > 0 && len <= HOST_MAX &&
           strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == len;
}

static const struct option options[] = {{"host", required_argument, NULL, 'H'},
                                        {"ca-key", required_argument, NULL, 'k'},
                                        {"ports", required_argument, NULL, 'p'},
                                        {0}};

static const struct cli_verb verbs[] = {{.name = "", .options = "Hkp", .word = "DIR"}, {0}};

static bool take(int option, const char *value, void *arg, struct err *err)
{
    struct init *init = arg;
    switch (option) {
    case 'H':
        init->host = value;
        return host_fine(value) || err_set(err, ERR_CONFIG, "expected a DNS name");
    case 'k':
        init->ca_key = strcmp(value, "p256") == 0 ? PKI_P256 : PKI_RSA2048;
        return init->ca_key == PKI_P256 || strcmp(value, "rsa2048") == 0 ||
               err_set(err, ERR_CONFIG, "expected rsa2048 or p256");
    default:
        return parse_ports(value, init->ports) ||
               err_set(err, ERR_CONFIG,
                       "expected three ports, each another, such as 8080,8443,9443");
    }
}

static char *path_of(const struct init *init, const char *name)
{
    struct buf path = {0};
    if (!buf_add_fmt(&path, "%s/%s", init->dir, name))
        err_no_memory();
    char *copy = mem_strdup(buf_str(&path));
    buf_free(&path);
    return copy;
}

/* An empty folder of our own. */
static bool take_dir(struct init *init, struct err *err)
{
    if (mkdir(init->dir, 0700) == 0) {
        init->made_dir = true;
        return true;
    }
    DIR *dir = errno == EEXIST ? opendir(init->dir) : NULL;
    if (!dir)
        return err_set(err, ERR_LOCAL, "%s: %s", init->dir, strerror(errno));
    unsigned entries = 0;
    while (readdir(dir))
        entries++;
    closedir(dir);
    return entries <= 2 || err_set(err, ERR_PEER, "%s is not empty", init->dir);
}

static bool make_folders(const struct init *init, struct err *err)
{
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char *path = path_of(init, folders[i]);
        bool ok =
            mkdir(path, 0700) == 0 || err_set(err, ERR_LOCAL, "%s: %s", path, strerror(errno));
        free(path);
        if (!ok)
            return false;
    }
    return true;
}

enum tree_pair { ROOT = 0, ISSUING, RA, SERVER, OPERATOR, PAIR_COUNT };

/* The pairs of the tree in the order in which they are made. */
struct pair_plan {
    const char *name;      /* of the files, without .pem and .key */
    enum tree_pair issuer; /* itself: self-signed */
    bool ca_key;           /* takes the kind of key of --ca-key */
    enum pki_key kind;     /* otherwise */
    bool chained;          /* the issuer's certificate follows in the file */
    struct pki_spec spec;  /* SERVER: sans are filled in */
};

#define CA_USAGE "critical,keyCertSign,cRLSign"
#define RA_USAGE "critical,digitalSignature,keyEncipherment"

static const struct pair_plan plans[PAIR_COUNT] = {
    [ROOT] = {"ca/root",
              ROOT,
              true,
              0,
              false,
              {"scepter root CA", "critical,CA:TRUE", CA_USAGE, NULL, NULL, DAYS_ROOT}},
    [ISSUING] = {"ca/issuing",
                 ROOT,
                 true,
                 0,
                 false,
                 {"scepter issuing CA", "critical,CA:TRUE,pathlen:0", CA_USAGE, NULL, NULL,
                  DAYS_ISSUING}},
    [RA] = {"ra/ra",
            ISSUING,
            false,
            PKI_RSA2048,
            false,
            {"scepter RA", "critical,CA:FALSE", RA_USAGE, NULL, NULL, DAYS_SERVICE}},
    [SERVER] = {"tls/server",
                ISSUING,
                false,
                PKI_P256,
                true,
                {"scepter", "critical,CA:FALSE", "critical,digitalSignature", "serverAuth," CMC_RA,
                 NULL, DAYS_SERVICE}},
    [OPERATOR] = {"operator/operator",
                  ISSUING,
                  false,
                  PKI_P256,
                  false,
                  {"operator", "critical,CA:FALSE", "critical,digitalSignature", "clientAuth", NULL,
                   DAYS_SERVICE}},
};

struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

static bool write_pair(const struct init *init, const struct pair_plan *plan,
                       const struct pair pairs[PAIR_COUNT], const struct pair *made,
                       struct err *err)
{
    char file[64];
    snprintf(file, sizeof file, "%s.pem", plan->name);
    char *cert_path = path_of(init, file);
    snprintf(file, sizeof file, "%s.key", plan->name);
    char *key_path = path_of(init, file);
    bool ok = pki_cert_write(cert_path, made->cert, plan->chained ? pairs[plan->issuer].cert : NULL,
                             err) &&
              pki_key_write(key_path, made->key, err);
    free(cert_path);
    free(key_path);
    return ok;
}

static bool make_pair(const struct init *init, enum tree_pair which, struct pair pairs[PAIR_COUNT],
                      struct err *err)
{
    const struct pair_plan *plan = &plans[which];
    struct pki_spec spec = plan->spec;
    struct pair *made = &pairs[which];
    struct buf sans = BUF_INIT(HOST_MAX + 64);
    bool self = plan->issuer == which;
    if (which == SERVER) {
        bool more = init->host && strcmp(init->host, "localhost") != 0;
        if (!buf_add_fmt(&sans, "DNS:localhost,IP:127.0.0.1%s%s", more ? ",DNS:" : "",
                         more ? init->host : ""))
            err_no_memory();
        spec.sans = buf_str(&sans);
        spec.cn = init->host && strlen(init->host) <= 64 ? init->host : "localhost";
    }
    made->key = pki_key_make(plan->ca_key ? init->ca_key : plan->kind, err);
    if (made->key)
        made->cert = pki_cert_make(&spec, made->key, self ? NULL : pairs[plan->issuer].cert,
                                   self ? made->key : pairs[plan->issuer].key, err);
    buf_free(&sans);
    return made->cert && write_pair(init, plan, pairs, made, err);
}

static bool make_pki(const struct init *init, struct err *err)
{
    struct pair pairs[PAIR_COUNT] = {0};
    bool ok = true;
    for (unsigned i = 0; i < PAIR_COUNT && ok; i++)
        ok = make_pair(init, (enum tree_pair)i, pairs, err);
    for (unsigned i = 0; i < PAIR_COUNT; i++) {
        X509_free(pairs[i].cert);
        EVP_PKEY_free(pairs[i].key);
    }
    return ok;
}

static bool write_configuration(const struct init *init, struct err *err)
{
    char *path = path_of(init, "scepter.yaml");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    bool ok = fd >= 0;
    if (ok) {
        ok = dprintf(fd, configuration, init->ports[0], init->ports[1], init->ports[2]) > 0;
        ok = close(fd) == 0 && ok;
    }
    if (!ok)
        err_set(err, ERR_LOCAL, "%s: %s", path, strerror(errno));
    free(path);
    return ok;
}

/* Removes what a failed init made: the folder was empty before. */
static void undo(const struct init *init)
{
    char name[64];
    for (unsigned i = 0; i < PAIR_COUNT; i++) {
        for (unsigned k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "%s.%s", plans[i].name, k ? "key" : "pem");
            char *path = path_of(init, name);
            unlink(path);
            free(path);
        }
    }
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char *path = path_of(init, folders[i]);
        rmdir(path);
        free(path);
    }
    char *path = path_of(init, "scepter.yaml");
    unlink(path);
    free(path);
    if (init->made_dir)
        rmdir(init->dir);
}

static void print_next(const struct init *init)
{
    printf(
        "Made %s: a root CA, an issuing CA, an RA, and a profile \"default\".\n"
        "\n"
        "Next:\n"
        "  scepter serve -c %s/scepter.yaml\n"
        "  scepter challenge create -c %s/scepter.yaml --profile default\n"
        "\n"
        "Devices enroll at\n"
        "  SCEP  http://%s:%u/scep/default\n"
        "  EST   https://%s:%u/.well-known/est\n"
        "and trust %s/ca/root.pem. The keys of both CAs are in %s/ca: keep them safe; the root's\n"
        "is only needed to make another issuing CA and is better kept elsewhere.\n",
        init->dir, init->dir, init->dir, init->host ? init->host : "localhost", init->ports[0],
        init->host ? init->host : "localhost", init->ports[1], init->dir, init->dir);
}

int cmd_init(int argc, char **argv)
{
    struct init init = {.ports = {8080, 8443, 9443}};
    struct cli cli = {.name = "init",
                      .usage = usage,
                      .options = options,
                      .verbs = verbs,
                      .take = take,
                      .arg = &init};
    struct err err = {0};
    if (!cli_parse(&cli, argc, argv))
        return cli_parse_exit(&cli);
    init.dir = cli.word;
    if (!take_dir(&init, &err)) {
        cli_complain(&cli, "%s", err.text);
        return CMD_REFUSED;
    }
    if (!make_folders(&init, &err) || !make_pki(&init, &err) || !write_configuration(&init, &err)) {
        cli_complain(&cli, "%s", err.text);
        undo(&init);
        return CMD_REFUSED;
    }
    print_next(&init);
    return CMD_OK;
}
