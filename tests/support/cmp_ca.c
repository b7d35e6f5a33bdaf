/* A CMP CA for the flow tests: real certificates for p10cr, certConf, pollReq and rr, one
 * OSSL_CMP_SRV_CTX per transaction, over HTTP on loopback.
 *
 *     cmp_ca PORT DIR
 *
 * DIR holds ca.pem and ca.key (issues, and signs messages), next.pem and next.key (another issuer),
 * ra.pem (whom it trusts) and may hold secret (then messages are protected by it, for any
 * reference). The first word of DIR/mode, read at every message: "wait N" (N polls until it
 * issues, or fewer if a later N says so), "deaf" (knows no poll but of those it told to wait),
 * "key" (a wrong key in the certificate), "subject" (a wrong subject), "next" (issued by next.pem,
 * which comes with it) and "orphan" (the same, and it does not come), "san" (a SAN more),
 * "expired", "serial" (that of the last one without a mode), "refuse", "forget" (a transaction,
 * once it is confirmed). A poll that finds nothing is
 * answered with the checkAfter in DIR/after, or 1. What happens is told on stdout, a line each.
 */
#include <arpa/inet.h>
#include <openssl/cmp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_MAX ((size_t)256 << 10)
#define ORDERS_MAX 512
#define CERT_CONF 24
#define POLL_REQ 25

struct ca {
    const char *dir;
    X509 *cert, *ra, *next;
    EVP_PKEY *key, *next_key;
    char secret[128];
    struct order *orders[ORDERS_MAX];
    size_t count;
};

/* A transaction. */
struct order {
    struct ca *ca;
    OSSL_CMP_SRV_CTX *srv;
    ASN1_OCTET_STRING *tid;
    OSSL_CMP_MSG *request;
    X509 *cert;
    int polls_left;
    int waits;
    int holds; /* answers the request with "wait" */
};

static int is_mode(const struct ca *ca, const char *mode, int *n)
{
    char path[512], line[64] = "", *end = line;
    long number = 0;
    snprintf(path, sizeof path, "%s/mode", ca->dir);
    FILE *file = fopen(path, "r");
    if (file) {
        if (!fgets(line, sizeof line, file))
            line[0] = '\0';
        fclose(file);
    }
    line[strcspn(line, "\n")] = '\0';
    size_t len = strcspn(line, " ");
    if (line[len])
        number = strtol(line + len, &end, 10);
    line[len] = '\0';
    if (n)
        *n = (int)number;
    return strcmp(line, mode) == 0;
}

static int64_t check_after(const struct ca *ca)
{
    char path[512], line[64] = "1";
    snprintf(path, sizeof path, "%s/after", ca->dir);
    FILE *file = fopen(path, "r");
    if (file) {
        if (!fgets(line, sizeof line, file))
            line[0] = '\0';
        fclose(file);
    }
    return strtoll(line, NULL, 10);
}

static void tell(const char *what, const X509 *cert)
{
    char *serial = i2s_ASN1_INTEGER(NULL, X509_get0_serialNumber(cert));
    char *name = X509_NAME_oneline(X509_get_subject_name(cert), NULL, 0);
    printf("%s %s %s\n", what, serial, name);
    fflush(stdout);
    OPENSSL_free(serial);
    OPENSSL_free(name);
}

/* One more than there are. */
static void add_san(X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    GENERAL_NAME *name = a2i_GENERAL_NAME(NULL, NULL, NULL, GEN_DNS, "elsewhere.example.com", 0);
    sk_GENERAL_NAME_push(names, name);
    X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_REPLACE);
    GENERAL_NAMES_free(names);
}

static X509 *issue(const struct ca *ca, const X509_REQ *req)
{
    X509 *cert = X509_new();
    int next = is_mode(ca, "next", NULL) || is_mode(ca, "orphan", NULL);
    X509 *issuer = next ? ca->next : ca->cert;
    static unsigned char good[12]; /* of the last one without a mistake */
    unsigned char serial[12];
    BIGNUM *number = BN_new();
    EVP_PKEY *key = is_mode(ca, "key", NULL) ? X509_get0_pubkey(ca->cert)
                                             : X509_REQ_get0_pubkey((X509_REQ *)req);
    RAND_bytes(serial, sizeof serial);
    serial[0] = 0x11;
    if (is_mode(ca, "serial", NULL))
        memcpy(serial, good, sizeof serial);
    if (is_mode(ca, "", NULL))
        memcpy(good, serial, sizeof good);
    BN_bin2bn(serial, sizeof serial, number);
    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    X509_set_version(cert, X509_VERSION_3);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    X509_set_subject_name(cert, X509_REQ_get_subject_name(req));
    if (is_mode(ca, "subject", NULL))
        X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "O", MBSTRING_UTF8,
                                   (const unsigned char *)"Elsewhere", -1, 0, 0);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), is_mode(ca, "expired", NULL) ? -30 : 30 * 86400L);
    X509_set_pubkey(cert, key);
    static const struct {
        int nid;
        const char *value;
    } extensions[] = {{NID_basic_constraints, "critical,CA:FALSE"},
                      {NID_key_usage, "critical,digitalSignature"},
                      {NID_ext_key_usage, "clientAuth"},
                      {NID_subject_key_identifier, "hash"},
                      {NID_authority_key_identifier, "keyid:always"}};
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++) {
        X509_EXTENSION *ext =
            X509V3_EXT_conf_nid(NULL, &ctx, extensions[i].nid, extensions[i].value);
        X509_add_ext(cert, ext, -1);
        X509_EXTENSION_free(ext);
    }
    STACK_OF(X509_EXTENSION) *asked = X509_REQ_get_extensions((X509_REQ *)req);
    int san = X509v3_get_ext_by_NID(asked, NID_subject_alt_name, -1);
    if (san >= 0)
        X509_add_ext(cert, X509v3_get_ext(asked, san), -1);
    if (is_mode(ca, "san", NULL))
        add_san(cert);
    sk_X509_EXTENSION_pop_free(asked, X509_EXTENSION_free);
    BN_free(number);
    X509_sign(cert, next ? ca->next_key : ca->key, EVP_sha256());
    tell("issued", cert);
    return cert;
}

static OSSL_CMP_PKISI *on_request(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, int id,
                                  const OSSL_CRMF_MSG *crm, const X509_REQ *p10, X509 **cert,
                                  STACK_OF(X509) * *chain, STACK_OF(X509) * *pubs)
{
    struct order *order = OSSL_CMP_SRV_CTX_get0_custom_ctx(srv);
    (void)id, (void)crm;
    *cert = NULL;
    *chain = *pubs = NULL;
    if (is_mode(order->ca, "refuse", NULL) || !p10 ||
        X509_REQ_verify((X509_REQ *)p10, X509_REQ_get0_pubkey((X509_REQ *)p10)) != 1)
        return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_rejection,
                                       1 << OSSL_CMP_PKIFAILUREINFO_badPOP, "we do not like it");
    if (!order->request) {
        order->request = OSSL_CMP_MSG_dup(req);
        order->waits = is_mode(order->ca, "wait", &order->polls_left);
        if (order->waits)
            return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_waiting, 0, NULL);
    }
    if (order->holds)
        return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_waiting, 0, NULL);
    if (!order->cert)
        order->cert = issue(order->ca, p10);
    *cert = X509_dup(order->cert);
    if (is_mode(order->ca, "next", NULL)) {
        *chain = sk_X509_new_null();
        X509_up_ref(order->ca->next);
        sk_X509_push(*chain, order->ca->next);
    }
    *pubs = sk_X509_new_null();
    X509_up_ref(order->ca->cert);
    sk_X509_push(*pubs, order->ca->cert);
    return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_accepted, 0, NULL);
}

static int on_poll(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, int id, OSSL_CMP_MSG **request,
                   int64_t *after)
{
    struct order *order = OSSL_CMP_SRV_CTX_get0_custom_ctx(srv);
    (void)req, (void)id;
    *request = NULL;
    *after = check_after(order->ca);
    if (!order->request || (!order->waits && is_mode(order->ca, "deaf", NULL))) {
        ERR_raise_data(ERR_LIB_CMP, ERR_R_PASSED_INVALID_ARGUMENT, "no such transaction");
        return 0;
    }
    int most;
    if (is_mode(order->ca, "wait", &most) && order->polls_left > most)
        order->polls_left = most;
    if (order->polls_left-- <= 0)
        *request = OSSL_CMP_MSG_dup(order->request);
    return 1;
}

static int on_confirm(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, int id,
                      const ASN1_OCTET_STRING *hash, const OSSL_CMP_PKISI *si)
{
    struct order *order = OSSL_CMP_SRV_CTX_get0_custom_ctx(srv);
    char text[256] = "";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    (void)req, (void)id;
    if (!order->cert || !X509_digest(order->cert, EVP_sha256(), digest, &len) ||
        ASN1_STRING_length(hash) != (int)len ||
        memcmp(ASN1_STRING_get0_data(hash), digest, len) != 0)
        return 0;
    if (si)
        OSSL_CMP_snprint_PKIStatusInfo(si, text, sizeof text);
    tell(strstr(text, "rejection") ? "rejected" : "confirmed", order->cert);
    return 1;
}

static OSSL_CMP_PKISI *on_revoke(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req,
                                 const X509_NAME *issuer, const ASN1_INTEGER *serial)
{
    struct order *order = OSSL_CMP_SRV_CTX_get0_custom_ctx(srv);
    const struct ca *ca = order->ca;
    (void)req, (void)issuer;
    for (size_t i = 0; i < ca->count; i++) {
        if (ca->orders[i]->cert &&
            ASN1_INTEGER_cmp(X509_get0_serialNumber(ca->orders[i]->cert), serial) == 0) {
            tell("revoked", ca->orders[i]->cert);
            return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_accepted, 0, NULL);
        }
    }
    return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_rejection,
                                   1 << OSSL_CMP_PKIFAILUREINFO_badCertId, "no such certificate");
}

static int on_general(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req,
                      const STACK_OF(OSSL_CMP_ITAV) * in, STACK_OF(OSSL_CMP_ITAV) * *out)
{
    (void)srv, (void)req, (void)in;
    *out = NULL;
    return 1;
}

static void on_error(OSSL_CMP_SRV_CTX *srv, const OSSL_CMP_MSG *req, const OSSL_CMP_PKISI *si,
                     const ASN1_INTEGER *code, const OSSL_CMP_PKIFREETEXT *details)
{
    (void)srv, (void)req, (void)si, (void)code, (void)details;
}

static void start(struct order *order)
{
    const struct ca *ca = order->ca;
    order->srv = OSSL_CMP_SRV_CTX_new(NULL, NULL);
    OSSL_CMP_SRV_CTX_init(order->srv, order, on_request, on_revoke, on_general, on_error,
                          on_confirm, on_poll);
    OSSL_CMP_CTX *ctx = OSSL_CMP_SRV_CTX_get0_cmp_ctx(order->srv);
    if (ca->secret[0]) {
        OSSL_CMP_CTX_set1_referenceValue(ctx, (const unsigned char *)"ra", 2);
        OSSL_CMP_CTX_set1_secretValue(ctx, (const unsigned char *)ca->secret,
                                      (int)strlen(ca->secret));
    } else {
        OSSL_CMP_CTX_set1_cert(ctx, ca->cert);
        OSSL_CMP_CTX_set1_pkey(ctx, ca->key);
        OSSL_CMP_CTX_set1_srvCert(ctx, ca->ra);
    }
}

static struct order *order_of(struct ca *ca, const OSSL_CMP_MSG *msg)
{
    ASN1_OCTET_STRING *tid = OSSL_CMP_HDR_get0_transactionID(OSSL_CMP_MSG_get0_header(msg));
    for (size_t i = 0; i < ca->count; i++)
        if (ASN1_OCTET_STRING_cmp(ca->orders[i]->tid, tid) == 0)
            return ca->orders[i];
    if (!tid || ca->count == ORDERS_MAX)
        exit(3);
    struct order *order = ca->orders[ca->count++] = calloc(1, sizeof *order);
    order->ca = ca;
    order->tid = ASN1_OCTET_STRING_dup(tid);
    start(order);
    return order;
}

static OSSL_CMP_MSG *process(struct ca *ca, const OSSL_CMP_MSG *msg)
{
    struct order *order = order_of(ca, msg);
    OSSL_CMP_CTX *ctx = OSSL_CMP_SRV_CTX_get0_cmp_ctx(order->srv);
    printf("asked %d\n", OSSL_CMP_MSG_get_bodytype(msg));
    fflush(stdout);
    /* A poll for a reply that was lost: OpenSSL takes polls only of whom it told to wait, and
     * answers to its last nonce. */
    if (!OSSL_CMP_HDR_get0_recipNonce(OSSL_CMP_MSG_get0_header(msg))) {
        if (order->request && OSSL_CMP_MSG_get_bodytype(msg) == POLL_REQ &&
            !is_mode(ca, "deaf", NULL)) {
            order->holds = 1;
            OSSL_CMP_MSG_free(OSSL_CMP_SRV_process_request(order->srv, order->request));
            order->holds = 0;
        }
        OSSL_CMP_CTX_set1_senderNonce(ctx, NULL);
    }
    OSSL_CMP_MSG *reply = OSSL_CMP_SRV_process_request(order->srv, msg);
    if (OSSL_CMP_MSG_get_bodytype(msg) == CERT_CONF && is_mode(ca, "forget", NULL))
        ASN1_OCTET_STRING_set(order->tid, (const unsigned char *)"", 0);
    ERR_print_errors_fp(stderr);
    return reply;
}

static void serve(struct ca *ca, int fd)
{
    char *in = calloc(1, MESSAGE_MAX), *body = NULL;
    size_t len = 0, want = MESSAGE_MAX;
    while (len < want && len < MESSAGE_MAX - 1) {
        ssize_t n = read(fd, in + len, MESSAGE_MAX - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
        if (!body && (body = strstr(in, "\r\n\r\n"))) {
            const char *length = strcasestr(in, "Content-Length:");
            body += 4;
            want = (size_t)(body - in) + (length ? strtoul(length + 15, NULL, 10) : 0);
        }
    }
    const unsigned char *p = (unsigned char *)body;
    OSSL_CMP_MSG *msg = body ? d2i_OSSL_CMP_MSG(NULL, &p, (long)(len - (size_t)(body - in))) : NULL;
    OSSL_CMP_MSG *reply = msg ? process(ca, msg) : NULL;
    unsigned char *der = NULL;
    int size = reply ? i2d_OSSL_CMP_MSG(reply, &der) : 0;
    dprintf(fd,
            "HTTP/1.1 %s\r\nContent-Type: application/pkixcmp\r\nContent-Length: %d\r\n"
            "Connection: close\r\n\r\n",
            reply ? "200 OK" : "400 Bad Request", size);
    for (int at = 0; at < size;) {
        ssize_t n = write(fd, der + at, (size_t)(size - at));
        if (n <= 0)
            break;
        at += (int)n;
    }
    OPENSSL_free(der);
    OSSL_CMP_MSG_free(reply);
    OSSL_CMP_MSG_free(msg);
    free(in);
    close(fd);
}

static FILE *open_in(const struct ca *ca, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", ca->dir, name);
    return fopen(path, "r");
}

int main(int argc, char **argv)
{
    static struct ca ca;
    if (argc != 3)
        return 2;
    ca.dir = argv[2];
    FILE *cert = open_in(&ca, "ca.pem"), *key = open_in(&ca, "ca.key"),
         *ra = open_in(&ca, "ra.pem"), *secret = open_in(&ca, "secret"),
         *next = open_in(&ca, "next.pem"), *next_key = open_in(&ca, "next.key");
    if (!next || !next_key || !cert || !key || !ra)
        return 2;
    ca.cert = PEM_read_X509(cert, NULL, NULL, NULL);
    ca.key = PEM_read_PrivateKey(key, NULL, NULL, NULL);
    ca.ra = PEM_read_X509(ra, NULL, NULL, NULL);
    ca.next = PEM_read_X509(next, NULL, NULL, NULL);
    ca.next_key = PEM_read_PrivateKey(next_key, NULL, NULL, NULL);
    if (secret && fscanf(secret, "%127s", ca.secret) != 1)
        return 2;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 64) != 0)
        return 3;
    for (;;)
        serve(&ca, accept(fd, NULL, NULL));
}
