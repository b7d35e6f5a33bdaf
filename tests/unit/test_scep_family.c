#include "tests/support/scep_calls.h"

#include "base/der.h"
#include "base/pem.h"
#include "base/text.h"
#include "scep/attrs.h"
#include "scep/check.h"
#include "scep/family.h"

#include <openssl/objects.h>
#include <stdlib.h>
#include <string.h>

#define CISCO_AGENT "Mozilla/4.0 (compatible; MSIE 5.0; Cisco PKI)"
#define CALL_ID "0011223344556677"

/* One call that shows what the row's client shows. */
struct client {
    const char *name;
    enum cfg_scep_client client;
    const char *agent, *message;
    const char *captured; /* a message of tests/data/scep */
};

static const struct client clients[] = {
    {"generic", CFG_CLIENT_GENERIC, NULL, NULL, "jscep-req2.der"},
    {"generic", CFG_CLIENT_GENERIC, "curl/7.88.1", "CAIdentifier", NULL},
    {"apple", CFG_CLIENT_APPLE, NULL, NULL, "micromdm-PKCSReq.der"},
    {"windows", CFG_CLIENT_WINDOWS, NULL, "default", "windows-PKCSReq.der"},
    {"cisco-ios", CFG_CLIENT_CISCO_IOS, CISCO_AGENT, "Test-Router", NULL},
    {"mikrotik", CFG_CLIENT_MIKROTIK, NULL, "DummyCAIdentity", NULL},
    {"cisco-vpn", CFG_CLIENT_CISCO_VPN, NULL, NULL, NULL}, /* nothing shows these: scep.client */
    {"juniper", CFG_CLIENT_JUNIPER, NULL, NULL, NULL},
};
#define CLIENT_COUNT (sizeof clients / sizeof clients[0])

static struct buf load(const char *file)
{
    char path[256];
    struct buf der = {0};
    struct err err;
    snprintf(path, sizeof path, "%s/scep/%s", TEST_DATA, file);
    if (!pem_file_read(path, SCEP_MSG_MAX, &der, &err))
        fail_msg("%s", err.text);
    return der;
}

static struct scep_reply call_door(const struct fixture *f, const struct client *client,
                                   const char *operation, struct bytes body)
{
    struct scep_reply reply;
    char query[128];
    snprintf(query, sizeof query, "operation=%s&message=%s", operation,
             client->message ? client->message : "");
    struct scep_call call = {.settings = &f->settings,
                             .profile = &f->profile,
                             .query = bytes_str(query),
                             .post = body.len > 0,
                             .body = body,
                             .origin = "192.0.2.7",
                             .user_agent = bytes_str(client->agent),
                             .id = CALL_ID};
    scep_door_handle(f->ra_object, &call, &reply);
    return reply;
}

/* Each family is told by what its messages show, or by scep.client, which wins. */
static void test_detected(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < CLIENT_COUNT; i++) {
        const struct client *c = &clients[i];
        bool shows = c->agent || c->message || c->captured;
        struct buf der = {0};
        if (c->captured)
            der = load(c->captured);
        f->profile.scep.client = CFG_CLIENT_AUTO;
        struct scep_reply reply =
            call_door(f, c, c->captured ? "PKIOperation" : "GetCACert", buf_bytes(&der));
        assert_string_equal(reply.note.family, shows ? c->name : "generic");
        scep_reply_clear(&reply);
        for (int named = CFG_CLIENT_GENERIC; named < CFG_CLIENT_COUNT; named++) {
            f->profile.scep.client = (enum cfg_scep_client)named;
            struct scep_signs none = {{0}, {0}, NULL};
            reply = call_door(f, c, c->captured ? "PKIOperation" : "GetCACert", buf_bytes(&der));
            assert_string_equal(reply.note.family, scep_family_find(&f->profile.scep, &none)->name);
            scep_reply_clear(&reply);
        }
        f->profile.scep.client = c->client;
        reply = call_door(f, c, "GetCACert", (struct bytes){0});
        assert_string_equal(reply.note.family, c->name);
        scep_reply_clear(&reply);
        buf_free(&der);
    }
}

/* What looks nearly like a sign is none. */
static void test_not_detected(void **state)
{
    static const struct scep_signs signs[] = {
        {{(const uint8_t *)"Cisco", 5}, {0}, NULL},
        {{0}, {(const uint8_t *)"message=DummyCAIdentity2", 24}, NULL},
        {{0}, {(const uint8_t *)"nomessage=DummyCAIdentity", 25}, NULL},
        {{(const uint8_t *)"DummyCAIdentity", 15}, {0}, NULL},
        {{0}, {0}, NULL},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        assert_string_equal(scep_family_find(&f->profile.scep, &signs[i])->name, "generic");
    struct scep_signs device = {{0}, {0}, f->device};
    assert_string_equal(scep_family_find(&f->profile.scep, &device)->name, "generic");
}

/* How much a CertRep holds is the family's: Cisco's VPN client wants the CA in it, Juniper rejects
 * it; scep.chain wins. */
static void test_chain(void **state)
{
    struct fixture *f = *state;
    struct cert *want[] = {f->issued, f->issuer, f->root};
    for (int client = CFG_CLIENT_AUTO; client < CFG_CLIENT_COUNT; client++) {
        f->profile.scep.client = (enum cfg_scep_client)client;
        f->profile.scep.chain = CFG_CHAIN_CLIENT;
        struct scep_reply reply = post_made(f, NULL, NULL);
        assert_success(f, &reply, want, client == CFG_CLIENT_CISCO_VPN ? 2 : 1);
        for (int chain = CFG_CHAIN_LEAF; chain <= CFG_CHAIN_FULL; chain++) {
            f->profile.scep.chain = (enum cfg_scep_chain)chain;
            reply = post_made(f, NULL, NULL);
            assert_success(f, &reply, want, (size_t)chain + 1);
        }
    }
}

static size_t count_ca_certs(const struct fixture *f)
{
    struct scep_reply reply = get(f, "operation=GetCACert");
    struct cert **certs = NULL;
    size_t count = 1;
    struct err err;
    assert_int_equal(reply.status, 200);
    if (strcmp(reply.content_type, "application/x-x509-ca-ra-cert") == 0) {
        assert_true(scep_certs_decode(buf_bytes(&reply.body), &certs, &count, &err));
        assert_true(bytes_equal(cert_der_get(certs[0]),
                                cert_der_get(f->identities[RA_NEW].chain.items[0])));
        pem_certs_free(certs, count);
    }
    scep_reply_clear(&reply);
    return count;
}

/* GetCACert names RA, issuing CA and root, or not the root where scep.root says so; a root that
 * issues by itself is named in any case. */
static void test_root(void **state)
{
    struct fixture *f = *state;
    for (int client = CFG_CLIENT_AUTO; client < CFG_CLIENT_COUNT; client++) {
        f->profile.scep.client = (enum cfg_scep_client)client;
        f->profile.scep.root = CFG_CHOICE_CLIENT;
        assert_int_equal(count_ca_certs(f), 3);
        f->profile.scep.root = CFG_CHOICE_YES;
        assert_int_equal(count_ca_certs(f), 3);
        f->profile.scep.root = CFG_CHOICE_NO;
        /* The fixture's issuer is self-signed as well, and stays: it issues. */
        assert_int_equal(count_ca_certs(f), 2);
    }
}

/* A CA with one between it and the root, and an RA of two pairs. */
static struct {
    struct cert *told[CFG_TOLD_COUNT];
    struct cfg_certs chain;
    EVP_PKEY *keys[2];
} deep;

static bool deep_chain(struct upstream *up, const struct cfg_certs **ret, struct err *err)
{
    (void)up, (void)err;
    *ret = &deep.chain;
    return true;
}

static void deep_make(struct fixture *f)
{
    static const struct upstream_vt vt = {.type = "fake", .chain = deep_chain};
    static struct upstream up = {&vt, "fake"};
    for (size_t i = 0; i < 2; i++)
        deep.keys[i] = make_rsa(2048);
    deep.told[CFG_TOLD_RA] =
        make_cert(&(struct make_spec){.subject = "CN=signs"}, deep.keys[0], NULL, NULL);
    deep.told[CFG_TOLD_ENCRYPTION] =
        make_cert(&(struct make_spec){.subject = "CN=decrypts"}, deep.keys[1], NULL, NULL);
    struct cert *between = make_cert(&(struct make_spec){.subject = "CN=between", .ca = true},
                                     f->ca_key, cert_x509_get(f->root), f->ca_key);
    deep.told[CFG_TOLD_INTERMEDIATES] = between;
    deep.told[CFG_TOLD_ISSUER] = make_cert(&(struct make_spec){.subject = "CN=issues", .ca = true},
                                           f->ca_key, cert_x509_get(between), f->ca_key);
    deep.told[CFG_TOLD_ROOT] = cert_ref(f->root);
    deep.chain = (struct cfg_certs){&deep.told[CFG_TOLD_ISSUER], 3};
    f->identities[RA_NEW] =
        (struct cfg_identity){.chain = {&deep.told[CFG_TOLD_RA], 1},
                              .key = deep.keys[0],
                              .encryption = {{&deep.told[CFG_TOLD_ENCRYPTION], 1}, deep.keys[1]}};
    f->upstream = &up;
    f->profile.trust = trust_new(&f->root, 1);
}

static void deep_free(void)
{
    for (size_t i = 0; i < CFG_TOLD_COUNT; i++)
        cert_free(deep.told[i]);
    for (size_t i = 0; i < 2; i++)
        EVP_PKEY_free(deep.keys[i]);
}

static void assert_told(const struct fixture *f, const struct cfg_told *want)
{
    struct scep_reply reply = get(f, "operation=GetCACert");
    struct cert **certs = NULL;
    size_t count;
    struct err err;
    if (want->count == 1) {
        assert_string_equal(reply.content_type, "application/x-x509-ca-cert");
        assert_true(bytes_equal(buf_bytes(&reply.body), cert_der_get(deep.told[want->order[0]])));
    } else {
        assert_string_equal(reply.content_type, "application/x-x509-ca-ra-cert");
        assert_true(scep_certs_decode(buf_bytes(&reply.body), &certs, &count, &err));
        assert_int_equal(count, want->count);
        for (size_t i = 0; i < count; i++)
            assert_true(
                bytes_equal(cert_der_get(certs[i]), cert_der_get(deep.told[want->order[i]])));
        pem_certs_free(certs, count);
    }
    scep_reply_clear(&reply);
}

/* GetCACert tells what scep.getcacert lists, in its order, whatever the family; left to the family
 * it is RA, encryption, issuer, what is between, root; without the root where scep.root says so. */
static void test_order(void **state)
{
    static const struct cfg_told lists[] = {
        {{CFG_TOLD_RA, CFG_TOLD_ENCRYPTION, CFG_TOLD_ISSUER, CFG_TOLD_INTERMEDIATES, CFG_TOLD_ROOT},
         CFG_TOLD_COUNT},
        {{CFG_TOLD_RA, CFG_TOLD_ENCRYPTION, CFG_TOLD_ISSUER, CFG_TOLD_INTERMEDIATES}, 4},
        {{CFG_TOLD_ROOT, CFG_TOLD_INTERMEDIATES, CFG_TOLD_ISSUER, CFG_TOLD_ENCRYPTION, CFG_TOLD_RA},
         CFG_TOLD_COUNT},
        {{CFG_TOLD_ENCRYPTION, CFG_TOLD_RA}, 2},
        {{CFG_TOLD_ISSUER, CFG_TOLD_RA, CFG_TOLD_ROOT}, 3},
        {{CFG_TOLD_RA}, 1},
    };
    struct fixture *f = *state;
    struct cfg_identity identity = f->identities[RA_NEW];
    struct upstream *upstream = f->upstream;
    deep_make(f);
    for (int client = CFG_CLIENT_AUTO; client < CFG_CLIENT_COUNT; client++) {
        f->profile.scep.client = (enum cfg_scep_client)client;
        assert_told(f, &lists[0]);
        f->profile.scep.root = CFG_CHOICE_NO;
        assert_told(f, &lists[1]);
        f->profile.scep.root = CFG_CHOICE_CLIENT;
        for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
            f->profile.scep.told = lists[i];
            assert_told(f, &lists[i]);
        }
        f->profile.scep.told.count = 0;
    }
    f->identities[RA_NEW] = identity;
    f->upstream = upstream;
    trust_free(f->profile.trust);
    f->profile.trust = NULL;
    deep_free();
}

/* Nonces of 8 to 15 octets are answered alike, but to Windows, which has 16; scep.nonce wins. */
static void test_nonce(void **state)
{
    struct fixture *f = *state;
    for (int client = CFG_CLIENT_AUTO; client < CFG_CLIENT_COUNT; client++)
        for (int nonce = CFG_NONCE_CLIENT; nonce <= CFG_NONCE_FULL; nonce++)
            for (size_t theirs = 7; theirs <= 17; theirs++) {
                bool mirror = nonce == CFG_NONCE_MIRROR ||
                              (nonce == CFG_NONCE_CLIENT && client != CFG_CLIENT_WINDOWS);
                struct scep_signs none = {{0}, {0}, NULL};
                f->profile.scep.client = (enum cfg_scep_client)client;
                f->profile.scep.nonce = (enum cfg_nonce)nonce;
                const struct scep_family *family = scep_family_find(&f->profile.scep, &none);
                assert_int_equal(scep_family_nonce(&f->profile.scep, family, theirs),
                                 mirror && theirs >= 8 && theirs < 16 ? theirs : 16);
            }
}

/* A refusal tells a generic client the id under which the log has the reason, and no reason; old
 * clients hear nothing beyond the protocol of their time; scep.fail_text wins. */
static void test_fail_text(void **state)
{
    struct fixture *f = *state;
    asked.answer =
        (struct ra_outcome){.status = RA_REFUSED, .reason = RA_BAD_NAMES, .detail = OPERATOR_TEXT};
    for (int client = CFG_CLIENT_AUTO; client < CFG_CLIENT_COUNT; client++)
        for (int choice = CFG_CHOICE_CLIENT; choice <= CFG_CHOICE_NO; choice++) {
            struct cms_signed found;
            struct bytes text = {0};
            struct err err;
            f->profile.scep.client = (enum cfg_scep_client)client;
            f->profile.scep.fail_text = (enum cfg_choice)choice;
            struct buf der = message_of(f, NULL, NULL);
            struct scep_reply reply =
                call_door(f, &(struct client){0}, "PKIOperation", buf_bytes(&der));
            assert_true(scep_signed_take(buf_bytes(&reply.body), &found, &err));
            bool has = scep_attr_find(found.attributes, SCEP_ATTR_FAIL_TEXT, &text);
            assert_int_equal(has, choice == CFG_CHOICE_YES || (choice == CFG_CHOICE_CLIENT &&
                                                               client <= CFG_CLIENT_GENERIC));
            if (has) {
                assert_true(bytes_equal_str(text, "the log has the reason under id " CALL_ID));
                assert_null(
                    memmem(reply.body.ptr, reply.body.len, OPERATOR_TEXT, strlen(OPERATOR_TEXT)));
            }
            assert_failure(f, &reply, SCEP_BAD_REQUEST);
            buf_free(&der);
        }
}

/* Windows signs with another key than its CSR's. Whether that may be is for the profile to say, not
 * for whoever calls himself Windows; the log tells the operator. */
static void test_other_signer(void **state)
{
    struct fixture *f = *state;
    struct make_spec spec = {.subject = "CN=SCEP Protocol Certificate"};
    struct cert *signer = make_cert(&spec, f->victim_key, NULL, NULL);
    struct scep_make make = good(f);
    make.signer = signer;
    make.key = f->victim_key;
    for (int client = CFG_CLIENT_AUTO; client < CFG_CLIENT_COUNT; client++) {
        f->profile.scep.client = (enum cfg_scep_client)client;
        asked.answer = (struct ra_outcome){
            .status = RA_REFUSED, .reason = RA_BAD_KEY, .detail = "another key"};
        struct scep_reply reply = post_made(f, &make, NULL);
        assert_int_equal(asked.other_key, client == CFG_CLIENT_WINDOWS);
        assert_int_equal(strstr(reply.note.detail, "scep.client: windows") != NULL,
                         client == CFG_CLIENT_AUTO);
        assert_failure(f, &reply, SCEP_BAD_REQUEST);
    }
    cert_free(signer);
}

/* An old Cisco router: GET over HTTP/1.0 with %0A in its base64, a self-signed signer with another
 * subject than the CSR's, MD5 and single DES. Served where the profile lets these in; where it does
 * not, the operator learns what the family needs. */
static void test_cisco(void **state)
{
    struct fixture *f = *state;
    struct make_spec spec = {.subject = "unstructuredName=router.example"};
    struct cert *signer = make_cert(&spec, f->device_key, NULL, NULL);
    struct scep_out out = {
        .type = SCEP_PKCSREQ,
        .txn = bytes_str(TXN),
        .sender_nonce = bytes_str(NONCE),
        .content = buf_bytes(&f->csr),
        .recipient = f->ra[RA_NEW],
        .algs = {NID_md5, NID_des_cbc},
        .signer = {signer, f->device_key},
    };
    struct buf der = {0}, text = {0}, query = {0};
    struct err err;
    assert_true(scep_msg_encode(&out, &der, &err) &&
                text_base64_encode(buf_bytes(&der), 64, &text) &&
                buf_add_str(&query, "operation=PKIOperation&message="));
    for (size_t i = 0; i < text.len; i++)
        if (strchr("+/=\n", text.ptr[i]))
            assert_true(buf_add_fmt(&query, "%%%02X", text.ptr[i]));
        else
            assert_true(buf_add_u8(&query, text.ptr[i]));
    for (int legacy = CFG_LEGACY_DES3_SHA1; legacy <= CFG_LEGACY_DES_MD5; legacy++) {
        f->profile.scep.legacy = (enum cfg_scep_legacy)legacy;
        struct scep_reply reply;
        struct scep_call call = {.settings = &f->settings,
                                 .profile = &f->profile,
                                 .query = buf_bytes(&query),
                                 .origin = "192.0.2.7",
                                 .user_agent = bytes_str(CISCO_AGENT)};
        scep_door_handle(f->ra_object, &call, &reply);
        assert_string_equal(reply.note.family, "cisco-ios");
        assert_string_equal(reply.note.outcome,
                            legacy == CFG_LEGACY_DES_MD5 ? "issued" : "refused");
        scep_reply_clear(&reply);
    }
    assert_int_equal(asked.calls, 1);
    f->profile.scep.legacy = CFG_LEGACY_NONE;
    struct scep_make_envelope des3 = {.recipient = f->ra[RA_NEW], .cipher = NID_des_ede3_cbc};
    struct buf weak = message_of(f, NULL, &des3);
    struct scep_reply reply =
        call_door(f, &(struct client){.agent = CISCO_AGENT}, "PKIOperation", buf_bytes(&weak));
    assert_non_null(strstr(reply.note.detail, "as devices of the family cisco-ios do"));
    assert_failure(f, &reply, SCEP_BAD_ALG);
    buf_free(&weak);
    buf_free(&der);
    buf_free(&text);
    buf_free(&query);
    cert_free(signer);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, scep_calls_reset)
    const struct CMUnitTest tests[] = {
        T(test_detected), T(test_not_detected), T(test_chain),        T(test_root),  T(test_order),
        T(test_nonce),    T(test_fail_text),    T(test_other_signer), T(test_cisco),
    };
    return cmocka_run_group_tests(tests, scep_calls_setup, scep_calls_teardown);
}
