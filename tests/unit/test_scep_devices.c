#include "tests/support/scep_calls.h"

#include "base/pem.h"
#include "scep/attrs.h"
#include "scep/check.h"
#include "scep/family.h"
#include "tests/support/seed_key.h"

#include <openssl/objects.h>
#include <stdlib.h>
#include <string.h>

#define CALL_ID "0011223344556677"

/* A stored request (tests/data/scep/README) and what is to come of it. */
struct device {
    const char *name;
    enum cfg_scep_client client;
    bool shows; /* its family, without scep.client */
    enum cfg_scep_legacy legacy;
    int digest, cipher;
    size_t nonce;
    const char *signer;
    bool other_key; /* signs with another key than the CSR's */
    bool get;
    size_t certs; /* of a CertRep */
    bool fail_text;
};

static const struct device devices[] = {
    {"generic", CFG_CLIENT_GENERIC, true, CFG_LEGACY_NONE, NID_sha256, NID_aes_128_cbc, 16,
     "CN=device", false, true, 1, true},
    {"apple", CFG_CLIENT_APPLE, true, CFG_LEGACY_DES3_SHA1, NID_sha1, NID_des_ede3_cbc, 8,
     "CN=MDM SCEP SIGNER,C=US", false, true, 1, false},
    {"windows", CFG_CLIENT_WINDOWS, true, CFG_LEGACY_DES3_SHA1, NID_sha1, NID_aes_128_cbc, 16,
     "CN=SCEP Protocol Certificate", true, false, 1, false},
    {"cisco-ios", CFG_CLIENT_CISCO_IOS, true, CFG_LEGACY_DES_MD5, NID_md5, NID_des_cbc, 16,
     "unstructuredName=router.example", false, true, 1, false},
    {"cisco-vpn", CFG_CLIENT_CISCO_VPN, false, CFG_LEGACY_DES3_SHA1, NID_sha1, NID_des_ede3_cbc, 16,
     "CN=vpn-client.example", false, true, 2, false},
    {"juniper", CFG_CLIENT_JUNIPER, false, CFG_LEGACY_DES3_SHA1, NID_sha1, NID_des_ede3_cbc, 16,
     "CN=device", false, false, 1, false},
    {"mikrotik", CFG_CLIENT_MIKROTIK, false, CFG_LEGACY_DES_MD5, NID_md5, NID_des_cbc, 16,
     "CN=device", false, true, 1, false},
};
#define DEVICE_COUNT (sizeof devices / sizeof devices[0])

static struct {
    struct cert **ra;
    size_t count;
    EVP_PKEY *keys[3]; /* of the RA, of devices, of Windows' signer */
    struct cfg_identity before;
} stored;

static int setup(void **state)
{
    static const char *const words[] = {"ra", "device", "signer"};
    struct err err;
    int result = scep_calls_setup(state);
    if (!pem_certs_load(TEST_DATA "/scep/ra.pem", &stored.ra, &stored.count, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < 3; i++)
        stored.keys[i] = seed_key(words[i]);
    return result;
}

static int teardown(void **state)
{
    pem_certs_free(stored.ra, stored.count);
    for (size_t i = 0; i < 3; i++)
        EVP_PKEY_free(stored.keys[i]);
    return scep_calls_teardown(state);
}

/* The messages' RA takes the place of the fixture's. */
static int each(void **state)
{
    struct fixture *f = *state;
    int result = scep_calls_reset(state);
    stored.before = f->identities[RA_NEW];
    f->identities[RA_NEW] = (struct cfg_identity){.chain = {stored.ra, 1}, .key = stored.keys[0]};
    return result;
}

static int after(void **state)
{
    struct fixture *f = *state;
    f->identities[RA_NEW] = stored.before;
    return 0;
}

/* The door's reply to a stored request. */
static struct scep_reply call_stored(const struct fixture *f, const char *name, const char *what)
{
    static const char agent_name[] = "User-Agent: ";
    char path[256];
    struct buf text = {0};
    struct err err;
    struct bytes line = {0}, body, agent = {0}, word;
    struct scep_reply reply;
    snprintf(path, sizeof path, "%s/scep/%s-%s.http", TEST_DATA, name, what);
    if (!pem_file_read(path, SCEP_MSG_MAX, &text, &err))
        fail_msg("%s", err.text);
    const uint8_t *end = memmem(text.ptr, text.len, "\r\n\r\n", 4);
    assert_non_null(end);
    size_t head_len = (size_t)(end - text.ptr) + 4;
    body = bytes_of(text.ptr + head_len, text.len - head_len);
    struct bytes head = bytes_of(text.ptr, head_len);
    assert_true(bytes_take_until(&head, ' ', &word));
    bool post = bytes_equal_str(word, "POST");
    assert_true(bytes_take_until(&head, '?', &word) && bytes_take_until(&head, ' ', &line));
    const uint8_t *named = memmem(head.ptr, head.len, agent_name, sizeof agent_name - 1);
    if (named) {
        size_t skip = (size_t)(named - head.ptr) + sizeof agent_name - 1;
        struct bytes rest = bytes_of(head.ptr + skip, head.len - skip);
        assert_true(bytes_take_until(&rest, '\r', &agent));
    }
    struct scep_call call = {.settings = &f->settings,
                             .profile = &f->profile,
                             .query = line,
                             .post = post,
                             .body = body,
                             .origin = "192.0.2.7",
                             .user_agent = agent,
                             .id = CALL_ID};
    scep_door_handle(f->ra_object, &call, &reply);
    buf_free(&text);
    return reply;
}

static void profile_for(struct fixture *f, const struct device *d)
{
    f->profile.scep.client = d->client;
    f->profile.scep.chain = CFG_CHAIN_CLIENT;
    f->profile.scep.legacy = d->legacy;
}

/* Each family has a message. It tells its family, or nothing does and the profile has to. */
static void test_shown(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(DEVICE_COUNT, CFG_CLIENT_COUNT - CFG_CLIENT_GENERIC);
    for (size_t i = 0; i < DEVICE_COUNT; i++) {
        const struct device *d = &devices[i];
        profile_for(f, d);
        assert_int_equal(d->client, CFG_CLIENT_GENERIC + i);
        struct scep_reply reply = call_stored(f, d->name, "PKCSReq");
        assert_string_equal(reply.note.family, d->name);
        scep_reply_clear(&reply);
        f->profile.scep.client = CFG_CLIENT_AUTO;
        reply = call_stored(f, d->name, "PKCSReq");
        assert_string_equal(reply.note.family, d->shows ? d->name : "generic");
        scep_reply_clear(&reply);
    }
}

/* What Cisco and MikroTik ask first tells them as well. */
static void test_shown_first(void **state)
{
    static const char *const names[] = {"cisco-ios", "mikrotik"};
    struct fixture *f = *state;
    for (size_t i = 0; i < 2; i++) {
        struct scep_reply reply = call_stored(f, names[i], "GetCACert");
        assert_string_equal(reply.note.family, names[i]);
        assert_string_equal(reply.content_type, "application/x-x509-ca-ra-cert");
        scep_reply_clear(&reply);
    }
}

/* The answer's signature, nonces and algorithms; the caller frees it. */
static struct scep_msg *answer_of(const struct device *d, const struct scep_reply *reply)
{
    struct scep_msg *msg = NULL;
    enum scep_fail fail;
    struct err err = {0};
    bool partial;
    if (!scep_msg_parse_md5(buf_bytes(&reply->body), &msg, &partial, &fail, &err))
        fail_msg("%s: %s, %s", d->name, err.text, reply->note.detail);
    assert_true(bytes_equal(cert_der_get(scep_msg_signer_get(msg)), cert_der_get(stored.ra[0])));
    assert_int_equal(scep_msg_recipient_nonce_get(msg).len, d->nonce);
    assert_int_equal(scep_msg_nonce_get(msg).len, d->nonce);
    assert_int_equal(scep_msg_algs_get(msg).digest, d->digest);
    return msg;
}

/* In a profile for its family each is opened, and answered as the row has it: with its algorithms,
 * its nonce's length, the certificates that it wants, for who signed. */
static void test_answered(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < DEVICE_COUNT; i++) {
        const struct device *d = &devices[i];
        profile_for(f, d);
        struct scep_reply reply = call_stored(f, d->name, "PKCSReq");
        struct scep_msg *msg = answer_of(d, &reply);
        struct cert **certs = NULL;
        struct buf bag = {0};
        struct err err;
        size_t count;
        int cipher;
        assert_string_equal(reply.note.outcome, "issued");
        assert_int_equal(asked.calls, i + 1);
        assert_string_equal(asked.challenge, CHALLENGE);
        assert_int_equal(asked.other_key, d->other_key);
        assert_int_equal(scep_msg_status_get(msg), SCEP_SUCCESS);

        struct bytes der = buf_bytes(&asked.holder);
        struct cert *holder;
        assert_true(cert_parse(der, &holder, &err));
        assert_string_equal(cert_names_get(holder)->subject_text, d->signer);
        struct scep_key key = {holder, stored.keys[d->other_key ? 2 : 1]};
        struct scep_opener opener = {&key, 1, SCEP_CIPHERS_DES};
        if (!scep_msg_open(msg, &opener, &bag, &cipher, &err))
            fail_msg("%s: %s", d->name, err.text);
        assert_int_equal(cipher, d->cipher);
        assert_true(scep_certs_decode(buf_bytes(&bag), &certs, &count, &err));
        assert_int_equal(count, d->certs);
        pem_certs_free(certs, count);
        cert_free(holder);
        buf_free(&bag);
        scep_msg_free(msg);
        scep_reply_clear(&reply);
    }
}

/* A refusal holds failInfoText for those alone that know it. */
static void test_refused(void **state)
{
    struct fixture *f = *state;
    asked.answer = (struct ra_outcome){
        .status = RA_REFUSED, .reason = RA_BAD_CHALLENGE, .detail = OPERATOR_TEXT};
    for (size_t i = 0; i < DEVICE_COUNT; i++) {
        const struct device *d = &devices[i];
        struct cms_signed found;
        struct bytes text;
        struct err err;
        profile_for(f, d);
        struct scep_reply reply = call_stored(f, d->name, "PKCSReq");
        struct scep_msg *msg = answer_of(d, &reply);
        assert_int_equal(scep_msg_fail_get(msg), SCEP_BAD_REQUEST);
        assert_true(scep_signed_take(buf_bytes(&reply.body), &found, &err));
        assert_int_equal(scep_attr_find(found.attributes, SCEP_ATTR_FAIL_TEXT, &text),
                         d->fail_text);
        scep_msg_free(msg);
        scep_reply_clear(&reply);
    }
}

/* Where the profile does not let in what a family needs, nothing is asked for it, and the log says
 * what it needs. */
static void test_needs(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < DEVICE_COUNT; i++) {
        const struct device *d = &devices[i];
        profile_for(f, d);
        if (d->legacy == CFG_LEGACY_NONE)
            continue;
        f->profile.scep.legacy = (enum cfg_scep_legacy)(d->legacy - 1);
        struct scep_reply reply = call_stored(f, d->name, "PKCSReq");
        if (!strstr(reply.note.detail,
                    d->legacy == CFG_LEGACY_DES_MD5
                        ? "needs scep.legacy des-md5, as devices of the family"
                        : "needs scep.legacy des3-sha1, as devices of the family"))
            fail_msg("%s: %s", d->name, reply.note.detail);
        scep_reply_clear(&reply);
    }
    assert_int_equal(asked.calls, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, each, after)
    const struct CMUnitTest tests[] = {
        T(test_shown), T(test_shown_first), T(test_answered), T(test_refused), T(test_needs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
