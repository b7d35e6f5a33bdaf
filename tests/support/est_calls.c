#include "tests/support/est_calls.h"

#include "base/text.h"

#include <crypt.h>
#include <openssl/pkcs7.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct asked asked;

static void copy_text(char *out, size_t room, struct bytes text)
{
    snprintf(out, room, "%.*s", (int)text.len, text.ptr ? (const char *)text.ptr : "");
}

/* Stands in for ra/ra.c: refuses what nothing proves, answers everything else as the test says. */
bool ra_submit(struct ra *ra, const struct ra_request *request, struct ra_outcome *outcome,
               struct err *err)
{
    const struct ra_evidence *evidence = &request->evidence;
    (void)ra;
    asked.calls++;
    asked.op = request->op;
    asked.holder = evidence->holder;
    asked.over_cms = evidence->over_cms;
    asked.both = evidence->both;
    asked.txn_len = request->txn.len;
    copy_text(asked.challenge, sizeof asked.challenge, evidence->challenge);
    copy_text(asked.user, sizeof asked.user, evidence->user);
    copy_text(asked.principal, sizeof asked.principal, bytes_str(evidence->principal));
    copy_text(asked.label, sizeof asked.label, bytes_str(request->label));
    copy_text(asked.origin, sizeof asked.origin, bytes_str(request->origin));
    copy_text(asked.txn, sizeof asked.txn, request->txn);
    assert_true((request->op == RA_POLL) == !request->csr);
    if (request->csr) {
        bool proved = request->op == RA_KEYGEN || !csr_is_signed(request->csr);
        assert_true(proved || csr_pop_check(request->csr, err));
        assert_true(buf_set(&asked.csr, csr_der_get(request->csr)));
    }
    if (asked.calls == asked.refuses_at) {
        *outcome = (struct ra_outcome){.status = RA_REFUSED, .reason = RA_BAD_NAMES};
        return true;
    }
    if (asked.calls == asked.pends_at) {
        *outcome = (struct ra_outcome){.status = RA_PENDING, .retry_after = 60};
        return true;
    }
    if (asked.fails)
        return err_set(err, ERR_LOCAL, OPERATOR_TEXT);
    *outcome = asked.answer;
    if (!evidence->holder && !evidence->principal && !evidence->challenge.len) {
        *outcome = (struct ra_outcome){.status = RA_REFUSED, .reason = RA_NO_EVIDENCE};
        return true;
    }
    if (outcome->cert)
        cert_ref(outcome->cert);
    if (outcome->key)
        EVP_PKEY_up_ref(outcome->key);
    snprintf(outcome->detail, sizeof outcome->detail, OPERATOR_TEXT);
    return true;
}

/* A CA that only has a chain. */
struct fake_ca {
    struct upstream up;
    struct cert *certs[2];
    struct cfg_certs chain;
};
static struct fake_ca first_ca, second_ca;

static bool fake_chain(struct upstream *up, const struct cfg_certs **ret, struct err *err)
{
    if (asked.chain_fails)
        return err_set(err, ERR_UPSTREAM, OPERATOR_TEXT);
    *ret = &((struct fake_ca *)up)->chain;
    return true;
}

static const struct upstream_vt fake_vt = {.type = "fake", .chain = fake_chain};

static char *hash_of(const char *password)
{
    struct crypt_data *data = mem_zalloc(sizeof *data);
    char *hash = mem_strdup(crypt_r(password, "$6$rounds=1000$saltsalt$", data));
    free(data);
    return hash;
}

static void make_certs(struct fixture *f)
{
    static const char *const subjects[CA_COUNT] = {"CN=root", "CN=issuing", "CN=other"};
    for (size_t i = 0; i < CA_COUNT; i++)
        f->ca[i] =
            make_cert(&(struct make_spec){.subject = subjects[i], .ca = true}, f->key, NULL, NULL);
    f->device = make_cert(&(struct make_spec){.subject = "CN=device"}, f->key, NULL, NULL);
    f->issued = make_cert(&(struct make_spec){.subject = "CN=device"}, f->key, NULL, NULL);
    f->csr_der = make_req_der(&(struct make_spec){.subject = "CN=device"}, f->key);
    assert_true(text_base64_encode(buf_bytes(&f->csr_der), 64, &f->csr));
}

static void set_ca(struct fake_ca *ca, const char *name, struct cert *issuer, struct cert *root)
{
    ca->up = (struct upstream){&fake_vt, name};
    ca->certs[0] = issuer, ca->certs[1] = root;
    ca->chain = (struct cfg_certs){ca->certs, 2};
}

int est_calls_setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    f->key = make_ec("P-256");
    make_certs(f);
    f->user = (struct cfg_user){.name = "alice", .hash = hash_of("correct horse")};
    f->labels[0] = "", f->labels[1] = "vpn";
    f->routes[0] = (struct cfg_route){.upstream = 0};
    f->routes[1] = (struct cfg_route){.upstream = 1};
    f->routes[2] = (struct cfg_route){.upstream = 0};
    f->profile = (struct cfg_profile){
        .name = "default",
        .routes = f->routes,
        .route_count = 3,
        .trust_certs = {f->ca, CA_COUNT},
        .est = {.enabled = true,
                .labels = {f->labels, 2},
                .auth_certificate = true,
                .auth_basic = true,
                .realm = "est",
                .users = &f->user,
                .user_count = 1},
    };
    f->cfg = (struct cfg){.upstreams = f->upstream_confs,
                          .upstream_count = 2,
                          .profiles = &f->profile,
                          .profile_count = 1};
    f->upstream_confs[0].name = "first", f->upstream_confs[1].name = "second";
    set_ca(&first_ca, "first", f->ca[ISSUING], f->ca[ROOT]);
    set_ca(&second_ca, "second", f->ca[OTHER], f->ca[ROOT]);
    f->upstreams[0] = &first_ca.up, f->upstreams[1] = &second_ca.up;
    f->settings = (struct ra_settings){.count = 1, .cfg = &f->cfg, .upstreams = f->upstreams};
    f->ra = mem_zalloc(1);
    *state = f;
    return 0;
}

int est_calls_teardown(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY_free(f->key);
    for (size_t i = 0; i < CA_COUNT; i++)
        cert_free(f->ca[i]);
    cert_free(f->device);
    cert_free(f->issued);
    buf_free(&f->csr);
    buf_free(&f->csr_der);
    buf_free(&asked.csr);
    free(f->user.hash);
    free(f->ra);
    free(f);
    return 0;
}

int est_calls_reset(void **state)
{
    struct fixture *f = *state;
    buf_free(&asked.csr);
    memset(&asked, 0, sizeof asked);
    asked.answer.status = RA_ISSUED;
    asked.answer.cert = f->issued;
    snprintf(asked.answer.request_id, sizeof asked.answer.request_id, REQUEST_ID);
    f->profile.est.auth_certificate = f->profile.est.auth_basic = true;
    return 0;
}

struct est_call call_of(const struct fixture *f, enum est_op op)
{
    bool post = op != EST_CACERTS && op != EST_CSRATTRS;
    return (struct est_call){
        .settings = &f->settings,
        .profile = &f->profile,
        .label = "vpn",
        .op = op,
        .method = post ? "POST" : "GET",
        .content_type = bytes_str(post ? "application/pkcs10" : ""),
        .user_agent = true,
        .body = post ? buf_bytes(&f->csr) : bytes_str(""),
        .origin = "192.0.2.7",
    };
}

struct buf header_of(const char *credentials)
{
    struct buf header = BUF_SECRET(4096);
    assert_true(buf_add_str(&header, "Basic "));
    assert_true(text_base64_encode(bytes_str(credentials), 0, &header));
    return header;
}

struct est_reply handle(const struct fixture *f, const struct est_call *call)
{
    struct est_reply reply = {0};
    est_door_handle(f->ra, call, &reply);
    return reply;
}

struct est_reply handle_basic(const struct fixture *f, struct est_call *call,
                              const char *credentials)
{
    struct buf header = header_of(credentials);
    call->authorization = buf_bytes(&header);
    call->authorizations = 1;
    struct est_reply reply = handle(f, call);
    buf_free(&header);
    return reply;
}

bool holds(struct buf *body, const char *text)
{
    return strstr(buf_str(body), text) != NULL;
}

void assert_plain(struct est_reply *reply)
{
    if (reply->body.len == 0)
        return;
    assert_string_equal(reply->content_type, "text/plain");
    assert_false(reply->base64);
    assert_false(holds(&reply->body, OPERATOR_TEXT));
    assert_false(holds(&reply->body, CHALLENGE));
    const char *end = strchr(buf_str(&reply->body), '\n');
    assert_true(!end || end[1] == '\0');
    assert_true(reply->body.len < 200);
}

void assert_certs(const struct est_reply *reply, struct cert *const *want, int count)
{
    struct buf der = {0};
    struct err err;
    assert_int_equal(reply->status, 200);
    assert_true(reply->base64);
    assert_true(text_base64_decode(buf_bytes(&reply->body), TEXT_BASE64_SPACE, &der, &err));
    const unsigned char *p = der.ptr;
    PKCS7 *p7 = d2i_PKCS7(NULL, &p, (long)der.len);
    assert_non_null(p7);
    assert_int_equal(sk_X509_num(p7->d.sign->cert), count);
    for (int i = 0; i < count; i++) {
        struct cert *cert;
        assert_true(cert_from_x509(sk_X509_value(p7->d.sign->cert, i), &cert, &err));
        assert_true(bytes_equal(cert_der_get(cert), cert_der_get(want[i])));
        cert_free(cert);
    }
    PKCS7_free(p7);
    buf_free(&der);
}

size_t longest_line(const struct buf *body)
{
    struct bytes rest = buf_bytes(body), line;
    size_t longest = 0;
    assert_true(body->len && body->ptr[body->len - 1] == '\n');
    while (bytes_take_until(&rest, '\n', &line))
        longest = line.len > longest ? line.len : longest;
    return longest;
}
