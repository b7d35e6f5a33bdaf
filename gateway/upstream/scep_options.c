#include "gateway/upstream/scep_options.h"

#include "config/read.h"

#include <stddef.h>
#include <string.h>

static bool is_tls(const char *url)
{
    return strncmp(url, "https://", 8) == 0;
}

/* The page hands out secrets to whoever holds these credentials: both stay secret. */
static void judge_admin_url(const struct scep_admin *admin, struct cfg_faults *faults,
                            const struct cfg_node *node)
{
    if (!admin->url == !admin->insecure_url)
        cfg_fault_key(faults, node, NULL, "%s; expected url, or insecure_url for plain http",
                      admin->url ? "has two URLs" : "has no URL");
    if (admin->url && !is_tls(admin->url))
        cfg_fault_value(
            faults, cfg_node_get(node, "url"), "is not https",
            "an https URL; without TLS whoever is on the way has the challenges and our "
            "password, and the key must be called insecure_url");
    if (admin->url && is_tls(admin->url) && !cfg_node_get(node, "trust"))
        cfg_fault_key(faults, node, "trust",
                      "is missing; expected what the page's TLS certificate must chain to");
    if (admin->insecure_url && is_tls(admin->insecure_url))
        cfg_fault_value(faults, cfg_node_get(node, "insecure_url"), "is https",
                        "this as url, with trust");
}

static void judge_admin(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct scep_admin *admin = field;
    bool ticket = admin->auth == HTTPC_NEGOTIATE;
    judge_admin_url(admin, faults, node);
    for (int i = 0; i < 2; i++) {
        const char *key = i ? "password_file" : "user";
        const struct cfg_node *at = cfg_node_get(node, key);
        if (!at && !ticket)
            cfg_fault_key(faults, node, key,
                          "is missing; expected user and password_file, or auth: negotiate");
        else if (at && ticket)
            cfg_fault_key(faults, at, NULL,
                          "is not used; with auth: negotiate a Kerberos ticket says who we are");
    }
}

static void judge_challenge(const struct scep_options *options, struct cfg_faults *faults,
                            const struct cfg_node *node)
{
    const struct cfg_node *admin = cfg_node_get(node, "admin");
    bool broker = options->challenge == SCEP_CHALLENGE_BROKER;
    if (broker && !admin)
        cfg_fault_key(faults, node, "admin",
                      "is missing; expected the page that challenge: broker gets challenges from");
    else if (admin && !broker)
        cfg_fault_key(faults, admin, NULL, "is not used; expected challenge: broker");
}

static void judge_options(void *arg, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct scep_options *options = arg;
    const struct cfg_node *client = cfg_node_get(node, "client");
    if (options->client.certificate.count &&
        cert_spki_get(options->client.certificate.items[0])->kind != SPKI_RSA)
        cfg_fault(faults, cfg_node_get(client, "certificate"),
                  "has no RSA key, which SCEP needs to encrypt answers for us; expected one that "
                  "has");
    judge_challenge(options, faults, node);
}

static const char *const challenge_words[] = {[SCEP_CHALLENGE_NONE] = "none",
                                              [SCEP_CHALLENGE_PASSTHROUGH] = "passthrough",
                                              [SCEP_CHALLENGE_BROKER] = "broker",
                                              NULL};
static const char *const repeats_words[] = {
    [SCEP_REPEATS_NEVER] = "never", [SCEP_REPEATS_SAFE] = "safe", NULL};

static const char *const auth_words[] = {
    [HTTPC_BASIC] = "basic", [HTTPC_NTLM] = "ntlm", [HTTPC_NEGOTIATE] = "negotiate", NULL};

static const struct cfg_key admin_keys[] = {
    {.name = "url",
     .type = CFG_STRING,
     .offset = offsetof(struct scep_admin, url),
     .meaning = "Where the page is: https://HOST/certsrv/mscep_admin/.",
     .form = "an https URL",
     .check = cfg_check_web},
    {.name = "insecure_url",
     .type = CFG_STRING,
     .offset = offsetof(struct scep_admin, insecure_url),
     .meaning =
         "The same without TLS, in place of url: whoever is on the way learns the challenges.",
     .form = "an http URL",
     .check = cfg_check_web},
    {.name = "trust",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct scep_admin, trust),
     .meaning = "What the page's TLS certificate must chain to. Needed with url."},
    {.name = "auth",
     .type = CFG_ENUM,
     .offset = offsetof(struct scep_admin, auth),
     .def = "basic",
     .words = auth_words,
     .meaning =
         "How we say who we are: HTTP Basic, NTLM, or Negotiate with the Kerberos ticket that "
         "the process finds (KRB5CCNAME, KRB5_CLIENT_KTNAME)."},
    {.name = "user",
     .type = CFG_STRING,
     .offset = offsetof(struct scep_admin, user),
     .meaning = "The user name; of a domain DOMAIN\\NAME."},
    {.name = "password_file",
     .type = CFG_SECRET,
     .offset = offsetof(struct scep_admin, password),
     .meaning = "The password."},
    {0},
};

static const struct cfg_key keys[] = {
    CFG_LINE_KEYS,
    {.name = "url",
     .type = CFG_STRING,
     .offset = offsetof(struct scep_options, url),
     .required = true,
     .meaning = "Where the CA serves SCEP, without operation=.",
     .form = "an http or https URL",
     .check = cfg_check_web},
    {.name = "identifier",
     .type = CFG_STRING,
     .offset = offsetof(struct scep_options, identifier),
     .meaning = "What GetCACert and GetCACaps name a CA by, if the server has several.",
     .form = "printable ASCII without spaces",
     .check = cfg_check_glob},
    {.name = "trust",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct scep_options, trust_certs),
     .required = true,
     .min = 1,
     .meaning = "What the certificates of the CA and its RA must chain to, and over https the "
                "server's."},
    {.name = "client",
     .type = CFG_SECTION,
     .offset = offsetof(struct scep_options, client),
     .required = true,
     .sub = relay_client_keys,
     .meaning = "Our certificate at this CA, with an RSA key: it signs requests and opens answers.",
     .judge = relay_client_judge},
    {.name = "legacy",
     .type = CFG_BOOL,
     .offset = offsetof(struct scep_options, legacy),
     .def = "false",
     .meaning = "Whether triple DES and SHA-1 may be used with a CA that knows nothing better, and "
                "its answers may come in single DES."},
    {.name = "challenge",
     .type = CFG_ENUM,
     .offset = offsetof(struct scep_options, challenge),
     .def = "none",
     .words = challenge_words,
     .meaning =
         "What the challengePassword that a device signed into its CSR is to this CA: none, "
         "nothing (it trusts our signature); passthrough, a secret that it judges too; broker, "
         "one that it handed out itself: scepter challenge create fetches it from the page of "
         "admin. It cannot be taken out of the CSR."},
    {.name = "admin",
     .type = CFG_SECTION,
     .offset = offsetof(struct scep_options, admin),
     .sub = admin_keys,
     .meaning = "With challenge: broker, the page on which NDES shows challenges to those who may "
                "hand them out.",
     .judge = judge_admin},
    {.name = "repeats",
     .type = CFG_ENUM,
     .offset = offsetof(struct scep_options, repeats),
     .def = "never",
     .words = repeats_words,
     .meaning = "Whether the CA answers a repeated transactionID with the certificate that it "
                "issued for it; then a request whose answer was lost is sent again."},
    {.name = "poll",
     .type = CFG_DURATION,
     .offset = offsetof(struct scep_options, poll),
     .min = 1,
     .max = 86400,
     .def = "1m",
     .meaning = "How often a CA that takes its time is asked."},
    {0},
};

const struct cfg_kind scep_kind = {
    .type = "scep",
    .keys = keys,
    .options_size = sizeof(struct scep_options),
    .remote = true,
    .judge = judge_options,
};
