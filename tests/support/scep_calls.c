#include "tests/support/scep_calls.h"

#include "base/pem.h"
#include "ra/lookup.h"

#include <openssl/objects.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct asked asked;

static void copy_text(char *out, size_t room, struct bytes text)
{
    snprintf(out, room, "%.*s", (int)text.len, text.ptr ? (const char *)text.ptr : "");
}

/* Stands in for ra/ra.c: notes what it was asked and answers as the test says. */
bool ra_submit(struct ra *ra, const struct ra_request *request, struct ra_outcome *outcome,
               struct err *err)
{
    const struct ra_evidence *evidence = &request->evidence;
    (void)ra;
    asked.calls++;
    asked.op = request->op;
    asked.over_cms = evidence->over_cms;
    asked.other_key = evidence->other_key;
    asked.principal = evidence->principal || evidence->user.len;
    asked.label = request->label;
    asked.next = request->next;
    copy_text(asked.challenge, sizeof asked.challenge, evidence->challenge);
    copy_text(asked.txn, sizeof asked.txn, request->txn);
    copy_text(asked.origin, sizeof asked.origin, bytes_str(request->origin));
    assert_non_null(evidence->holder);
    assert_true(buf_set(&asked.holder, cert_der_get(evidence->holder)));
    assert_int_equal(request->csr == NULL, request->op == RA_POLL);
    buf_clear(&asked.csr);
    if (request->csr) {
        assert_true(csr_pop_check(request->csr, err));
        assert_true(buf_set(&asked.csr, csr_der_get(request->csr)));
    }
    if (asked.fails)
        return err_set(err, ERR_LOCAL, OPERATOR_TEXT);
    *outcome = asked.answer;
    if (outcome->cert)
        cert_ref(outcome->cert);
    return true;
}

/* Stands in for ra/lookup.c. */
bool ra_lookup_may(struct ra *ra, const struct ra_request *request, bool *ret,
                   struct ra_outcome *outcome, struct err *err)
{
    (void)ra;
    asked.lookups++;
    assert_non_null(request->evidence.holder);
    assert_true(buf_set(&asked.holder, cert_der_get(request->evidence.holder)));
    *ret = asked.may;
    *outcome = (struct ra_outcome){.status = RA_REFUSED, .reason = RA_UNKNOWN_CERT};
    return !asked.fails || err_set(err, ERR_LOCAL, OPERATOR_TEXT);
}

static bool found(const struct ra_wanted *wanted, struct ra_outcome *outcome, struct err *err)
{
    assert_true(asked.may);
    asked.lookups++;
    asked.any_issuer = !wanted->issuer.ptr;
    copy_text(asked.serial, sizeof asked.serial, bytes_str(wanted->serial));
    if (asked.lookup_fails)
        return err_set(err, ERR_LOCAL, OPERATOR_TEXT);
    *outcome = (struct ra_outcome){.status = RA_REFUSED, .reason = RA_UNKNOWN_CERT};
    return true;
}

bool ra_lookup_cert(struct ra *ra, const struct ra_request *request, const struct ra_wanted *wanted,
                    struct ra_outcome *outcome, struct err *err)
{
    (void)ra, (void)request;
    bool ok = found(wanted, outcome, err);
    if (ok && asked.cert)
        *outcome = (struct ra_outcome){.status = RA_ISSUED, .cert = cert_ref(asked.cert)};
    return ok;
}

bool ra_lookup_crl(struct ra *ra, const struct ra_request *request, const struct ra_wanted *wanted,
                   struct ra_crl *ret, struct err *err)
{
    (void)ra, (void)request;
    return found(wanted, &ret->outcome, err) && (!asked.crl.ptr || buf_set(&ret->der, asked.crl));
}

/* A CA that only has a chain. */
static struct {
    struct upstream up;
    struct cert *certs[2];
    struct cfg_certs chain;
} ca;

static bool fake_chain(struct upstream *up, const struct cfg_certs **ret, struct err *err)
{
    (void)up;
    if (asked.chain_fails)
        return err_set(err, ERR_UPSTREAM, OPERATOR_TEXT);
    *ret = &ca.chain;
    return true;
}

static const struct upstream_vt fake_vt = {.type = "fake", .chain = fake_chain};

static void make_keys(struct fixture *f)
{
    f->device_key = make_rsa(2048);
    f->victim_key = make_rsa(2048);
    f->ca_key = make_rsa(2048);
    f->ec_key = make_ec("P-256");
    for (size_t i = 0; i < RA_COUNT; i++)
        f->ra_keys[i] = make_rsa(2048);
}

static void make_certs(struct fixture *f)
{
    static const char *const names[RA_COUNT] = {"CN=new RA", "CN=old RA", "CN=next RA"};
    struct make_spec device = {.subject = "CN=device,O=Example", .challenge = CHALLENGE};
    for (size_t i = 0; i < RA_COUNT; i++)
        f->ra[i] = make_cert(&(struct make_spec){.subject = names[i]}, f->ra_keys[i], NULL, NULL);
    f->root =
        make_cert(&(struct make_spec){.subject = "CN=root", .ca = true}, f->ca_key, NULL, NULL);
    f->issuer =
        make_cert(&(struct make_spec){.subject = "CN=issuer", .ca = true}, f->ca_key, NULL, NULL);
    f->device = make_cert(&(struct make_spec){.subject = "CN=device"}, f->device_key, NULL, NULL);
    f->victim = make_cert(&(struct make_spec){.subject = "CN=victim"}, f->victim_key, NULL, NULL);
    f->ec = make_cert(&(struct make_spec){.subject = "CN=ec"}, f->ec_key, NULL, NULL);
    f->issued = make_cert(&device, f->device_key, NULL, NULL);
    f->csr = make_req_der(&device, f->device_key);
}

int scep_calls_setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    make_keys(f);
    make_certs(f);
    for (size_t i = 0; i < RA_COUNT; i++) {
        f->identities[i] = (struct cfg_identity){.chain = {&f->ra[i], 1}, .key = f->ra_keys[i]};
        f->ra_index[i] = i;
    }
    ca.up = (struct upstream){&fake_vt, "fake"};
    ca.certs[0] = f->issuer, ca.certs[1] = f->root;
    f->upstream = &ca.up;
    f->upstream_conf.name = "fake";
    f->cfg = (struct cfg){.ras = f->identities,
                          .ra_count = RA_COUNT,
                          .upstreams = &f->upstream_conf,
                          .upstream_count = 1,
                          .profiles = &f->profile,
                          .profile_count = 1};
    f->settings = (struct ra_settings){.count = 1, .cfg = &f->cfg, .upstreams = &f->upstream};
    f->ra_object = mem_zalloc(1);
    *state = f;
    return 0;
}

int scep_calls_teardown(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY *keys[] = {f->device_key, f->victim_key, f->ec_key, f->ca_key};
    struct cert *certs[] = {f->device, f->victim, f->ec, f->issuer, f->root, f->issued};
    for (size_t i = 0; i < RA_COUNT; i++) {
        EVP_PKEY_free(f->ra_keys[i]);
        cert_free(f->ra[i]);
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        EVP_PKEY_free(keys[i]);
    for (size_t i = 0; i < sizeof certs / sizeof certs[0]; i++)
        cert_free(certs[i]);
    buf_free(&f->csr);
    buf_free(&asked.holder);
    buf_free(&asked.csr);
    free(f->ra_object);
    free(f);
    return 0;
}

int scep_calls_reset(void **state)
{
    struct fixture *f = *state;
    buf_free(&asked.holder);
    buf_free(&asked.csr);
    memset(&asked, 0, sizeof asked);
    asked.answer.status = RA_ISSUED;
    asked.answer.cert = f->issued;
    snprintf(asked.answer.request_id, sizeof asked.answer.request_id, REQUEST_ID);
    ca.chain = (struct cfg_certs){ca.certs, 2};
    f->identities[RA_NEW].chain.items = &f->ra[RA_NEW];
    f->answers = RA_NEW;
    f->profile = (struct cfg_profile){
        .name = "default",
        .routes = &f->route,
        .route_count = 1,
        .trust_certs = {ca.certs, 2},
        .scep_enabled = true,
        .scep = {.ra = f->ra_index, .ra_count = RA_NEXT, .chain = CFG_CHAIN_LEAF},
    };
    return 0;
}

struct scep_make good(const struct fixture *f)
{
    return (struct scep_make){
        .type = "19",
        .txn = bytes_str(TXN),
        .nonce = bytes_str(NONCE),
        .signer = f->device,
        .key = f->device_key,
    };
}

struct buf sealed(const struct fixture *f, const struct scep_make_envelope *seal,
                  struct bytes plain)
{
    struct scep_make_envelope usual = {.recipient = f->ra[RA_NEW]};
    struct buf envelope = {0};
    scep_make_envelope(seal ? seal : &usual, plain, &envelope);
    return envelope;
}

struct buf message_of(const struct fixture *f, const struct scep_make *make,
                      const struct scep_make_envelope *seal)
{
    struct scep_make with = make ? *make : good(f);
    struct buf envelope = sealed(f, seal, buf_bytes(&f->csr)), der = {0};
    if (!with.content.ptr)
        with.content = buf_bytes(&envelope);
    scep_make(&with, &der);
    buf_free(&envelope);
    return der;
}

static struct scep_reply handle(const struct fixture *f, const struct scep_call *call)
{
    struct scep_reply reply;
    memset(&reply, 0xa5, sizeof reply); /* it is always filled */
    scep_door_handle(f->ra_object, call, &reply);
    assert_true(reply.status >= 200 && reply.status < 600);
    assert_non_null(reply.content_type);
    assert_non_null(reply.note.operation);
    assert_non_null(reply.note.outcome);
    assert_null(strstr(reply.note.detail, CHALLENGE));
    return reply;
}

struct scep_reply get(const struct fixture *f, const char *query)
{
    struct scep_call call = {.settings = &f->settings,
                             .profile = &f->profile,
                             .query = bytes_str(query),
                             .origin = "192.0.2.7"};
    return handle(f, &call);
}

struct scep_reply post(const struct fixture *f, struct bytes body)
{
    struct scep_call call = {.settings = &f->settings,
                             .profile = &f->profile,
                             .query = bytes_str("operation=PKIOperation"),
                             .post = true,
                             .body = body,
                             .origin = "192.0.2.7"};
    return handle(f, &call);
}

struct scep_reply post_made(const struct fixture *f, const struct scep_make *make,
                            const struct scep_make_envelope *seal)
{
    struct buf der = message_of(f, make, seal);
    struct scep_reply reply = post(f, buf_bytes(&der));
    buf_free(&der);
    return reply;
}

struct scep_msg *rep_of(const struct fixture *f, const struct scep_reply *reply)
{
    struct scep_msg *msg = NULL;
    struct err err;
    enum scep_fail fail;
    bool partial;
    assert_int_equal(reply->status, 200);
    assert_string_equal(reply->content_type, "application/x-pki-message");
    if (!scep_msg_parse(buf_bytes(&reply->body), &msg, &partial, &fail, &err))
        fail_msg("%s", err.text);
    assert_int_equal(scep_msg_type_get(msg), SCEP_CERTREP);
    assert_true(bytes_equal_str(scep_msg_txn_get(msg), TXN));
    assert_true(bytes_equal_str(scep_msg_recipient_nonce_get(msg), NONCE));
    assert_int_equal(scep_msg_nonce_get(msg).len, SCEP_NONCE_LEN);
    assert_true(bytes_equal(cert_der_get(scep_msg_signer_get(msg)),
                            cert_der_get(f->identities[f->answers].chain.items[0])));
    return msg;
}

void assert_failure(const struct fixture *f, struct scep_reply *reply, enum scep_fail fail)
{
    struct scep_msg *msg = rep_of(f, reply);
    assert_int_equal(scep_msg_status_get(msg), SCEP_FAILURE);
    assert_int_equal(scep_msg_fail_get(msg), fail);
    assert_int_equal(scep_msg_content_get(msg).len, 0);
    assert_string_equal(reply->note.outcome, "refused");
    assert_non_null(reply->note.reason);
    assert_string_equal(reply->delivers, "");
    assert_false(reply->note.fault);
    scep_msg_free(msg);
    scep_reply_clear(reply);
}

void assert_success(const struct fixture *f, struct scep_reply *reply, struct cert *const *want,
                    size_t count)
{
    struct scep_msg *msg = rep_of(f, reply);
    struct scep_key key = {f->device, f->device_key};
    struct scep_opener opener = {&key, 1, true};
    struct buf bag = {0};
    struct cert **certs = NULL;
    size_t held = 0;
    struct err err;
    int cipher;
    assert_int_equal(scep_msg_status_get(msg), SCEP_SUCCESS);
    assert_int_equal(scep_msg_fail_get(msg), -1);
    assert_true(scep_msg_open(msg, &opener, &bag, &cipher, &err));
    assert_true(scep_certs_decode(buf_bytes(&bag), &certs, &held, &err));
    assert_int_equal(held, count);
    for (size_t i = 0; i < count; i++)
        assert_true(bytes_equal(cert_der_get(certs[i]), cert_der_get(want[i])));
    pem_certs_free(certs, held);
    assert_string_equal(reply->note.outcome, "issued");
    assert_string_equal(reply->delivers, REQUEST_ID);
    buf_free(&bag);
    scep_msg_free(msg);
    scep_reply_clear(reply);
}
