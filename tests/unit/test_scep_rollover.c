#include "tests/support/scep_calls.h"

#include "base/pem.h"
#include "scep/check.h"

#include <openssl/cms.h>
#include <openssl/objects.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NEXT "operation=GetNextCACert"

/* An RA of two pairs: what it signs with, and what devices encrypt to. */
struct split {
    EVP_PKEY *sign_key, *open_key;
    struct cert *sign, *open;
};

static struct split split_make(void)
{
    struct split s = {.sign_key = make_rsa(2048), .open_key = make_rsa(2048)};
    s.sign =
        make_cert(&(struct make_spec){.subject = "CN=RA signs", .key_usage = "digitalSignature"},
                  s.sign_key, NULL, NULL);
    s.open =
        make_cert(&(struct make_spec){.subject = "CN=RA decrypts", .key_usage = "keyEncipherment"},
                  s.open_key, NULL, NULL);
    return s;
}

static void split_free(struct split *s)
{
    cert_free(s->sign);
    cert_free(s->open);
    EVP_PKEY_free(s->sign_key);
    EVP_PKEY_free(s->open_key);
}

/* The certificates of a degenerate SignedData are these, in this order. */
static void assert_bag(struct bytes der, struct cert *const *want, size_t count)
{
    struct cert **certs = NULL;
    size_t found = 0;
    struct err err;
    assert_true(scep_certs_decode(der, &certs, &found, &err));
    assert_int_equal(found, count);
    for (size_t i = 0; i < found; i++)
        assert_true(bytes_equal(cert_der_get(certs[i]), cert_der_get(want[i])));
    pem_certs_free(certs, found);
}

/* What the SignedData in a reply holds, once its signature by this certificate has been verified
 * with OpenSSL, which finds the certificate in the message itself. */
static struct buf opened(const struct scep_reply *reply, const struct cert *signer)
{
    const unsigned char *p = reply->body.ptr;
    struct buf content = {0};
    char *data;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)reply->body.len);
    BIO *out = BIO_new(BIO_s_mem());
    assert_non_null(cms);
    assert_ptr_equal(p, reply->body.ptr + reply->body.len);
    assert_int_equal(OBJ_obj2nid(CMS_get0_eContentType(cms)), NID_pkcs7_data);
    assert_int_equal(CMS_verify(cms, NULL, NULL, NULL, out, CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY),
                     1);
    STACK_OF(X509) *signers = CMS_get0_signers(cms);
    assert_int_equal(sk_X509_num(signers), 1);
    assert_int_equal(X509_cmp(sk_X509_value(signers, 0), cert_x509_get(signer)), 0);
    long len = BIO_get_mem_data(out, &data);
    assert_true(buf_set(&content, bytes_of(data, (size_t)len)));
    sk_X509_free(signers);
    BIO_free(out);
    CMS_ContentInfo_free(cms);
    return content;
}

static void assert_next(struct fixture *f, struct cert *const *want, size_t count)
{
    struct scep_reply reply = get(f, NEXT);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.content_type, "application/x-x509-next-ca-cert");
    assert_string_equal(reply.note.operation, "GetNextCACert");
    assert_string_equal(reply.note.outcome, "answered");
    struct buf content = opened(&reply, f->ra[RA_NEW]);
    assert_bag(buf_bytes(&content), want, count);
    buf_free(&content);
    scep_reply_clear(&reply);
}

/* GetNextCACert gives the next RA and the next CA's chain, or the certificates that are configured,
 * signed by the RA of today (RFC 8894 section 4.7). */
static void test_next(void **state)
{
    struct fixture *f = *state;
    struct cert *all[] = {f->ra[RA_NEXT], f->issuer, f->root};
    f->profile.scep.next =
        (struct cfg_next){.given = true, .upstream_given = true, .ra_given = true, .ra = RA_NEXT};
    assert_next(f, all, 3);
    f->profile.scep.next.ra_given = false;
    assert_next(f, all + 1, 2);
    f->profile.scep.next.certificates = (struct cfg_certs){&f->root, 1};
    assert_next(f, all + 2, 1);
    f->profile.scep.next.upstream_given = false;
    asked.chain_fails = true; /* nobody is asked */
    assert_next(f, all + 2, 1);
    assert_int_equal(asked.calls, 0);
}

/* Without a successor, or while its certificates are not to be had, the answer is 404 and no error
 * of the server: MikroTik's routers poll. The latter is told to the operator. */
static void test_no_next(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        f->profile.scep.next = (struct cfg_next){.given = i == 1, .upstream_given = true};
        asked.chain_fails = true;
        struct scep_reply reply = get(f, NEXT);
        assert_int_equal(reply.status, 404);
        assert_string_equal(reply.content_type, "text/plain");
        assert_string_equal(reply.note.outcome, i ? "error" : "refused");
        assert_int_equal(reply.note.fault, i == 1);
        assert_int_equal(strstr(reply.note.detail, OPERATOR_TEXT) != NULL, i == 1);
        assert_null(strstr(buf_str(&reply.body), OPERATOR_TEXT));
        scep_reply_clear(&reply);
    }
}

/* The capability is told exactly if there is a successor. */
static void test_next_caps(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        f->profile.scep.next.given = i == 1;
        struct scep_reply reply = get(f, "operation=GetCACaps");
        assert_int_equal(strstr(buf_str(&reply.body), "\nGetNextCACert\n") != NULL, i == 1);
        scep_reply_clear(&reply);
    }
}

/* What is encrypted to another RA of today is understood, and answered by that one: a device may
 * have fetched no other. */
static void test_old_answers(void **state)
{
    struct fixture *f = *state;
    struct scep_make_envelope seal = {.recipient = f->ra[RA_OLD]};
    struct scep_reply reply = post_made(f, NULL, &seal);
    f->answers = RA_OLD;
    assert_success(f, &reply, &f->issued, 1);
    assert_false(asked.next);
    asked.answer = (struct ra_outcome){.status = RA_REFUSED, .reason = RA_BAD_CHALLENGE};
    reply = post_made(f, NULL, &seal);
    assert_failure(f, &reply, SCEP_BAD_REQUEST);
    struct scep_make poll = good(f);
    poll.type = "20";
    asked.answer = (struct ra_outcome){.status = RA_PENDING};
    reply = post_made(f, &poll, &seal);
    assert_int_equal(asked.op, RA_POLL);
    scep_msg_free(rep_of(f, &reply));
    scep_reply_clear(&reply);
}

/* Once the certificate of that RA has ended, its key still opens, and the first RA answers. */
static void test_ended_opens(void **state)
{
    struct fixture *f = *state;
    struct make_spec spec = {
        .subject = "CN=ended RA", .not_before = time(NULL) - 7200, .not_after = time(NULL) - 60};
    struct cert *ended = make_cert(&spec, f->ra_keys[RA_OLD], NULL, NULL);
    struct scep_make_envelope seal = {.recipient = ended};
    f->identities[RA_OLD].chain.items = &ended;
    struct scep_reply reply = post_made(f, NULL, &seal);
    assert_success(f, &reply, &f->issued, 1);
    f->identities[RA_OLD].chain.items = &f->ra[RA_OLD];
    cert_free(ended);
}

/* What is encrypted to the next RA is asked of the next CA if one is configured, else of that of
 * today; the next RA answers (RFC 8894 section 5.1). */
static void test_next_answers(void **state)
{
    struct fixture *f = *state;
    struct scep_make_envelope seal = {.recipient = f->ra[RA_NEXT]};
    for (int i = 0; i < 2; i++) {
        f->profile.scep.next = (struct cfg_next){
            .given = true, .upstream_given = i == 1, .ra_given = true, .ra = RA_NEXT};
        f->answers = RA_NEXT;
        struct scep_reply reply = post_made(f, NULL, &seal);
        assert_success(f, &reply, &f->issued, 1);
        assert_int_equal(asked.next, i == 1);
        f->answers = RA_NEW;
        reply = post_made(f, NULL, NULL);
        assert_success(f, &reply, &f->issued, 1);
        assert_false(asked.next);
    }
}

/* What is encrypted to somebody else is refused as wrong-recipient, and the log says to whom: by
 * issuer and serial, or by key identifier. The device hears what it hears of any bad envelope. */
static void test_wrong_recipient(void **state)
{
    static const char *const extensions[] = {"subjectKeyIdentifier", "0102030405", NULL};
    struct fixture *f = *state;
    struct cert *stranger = make_cert(
        &(struct make_spec){.subject = "CN=stranger", .serial = 0x4711, .extensions = extensions},
        f->victim_key, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        struct scep_make_envelope seal = {.recipient = stranger, .by_ski = i == 1};
        struct scep_reply reply = post_made(f, NULL, &seal);
        assert_string_equal(reply.note.reason, "wrong-recipient");
        assert_non_null(
            strstr(reply.note.detail, i ? "none of the profile's RA keys: key identifier 0102030405"
                                        : "none of the profile's RA keys: serial 4711, issuer "
                                          "CN=stranger"));
        assert_failure(f, &reply, SCEP_BAD_MESSAGE_CHECK);
    }
    assert_int_equal(asked.calls, 0);
    cert_free(stranger);
}

/* A recipient is named within bounds, whatever a device writes for issuer and serial. */
static void test_odd_recipient(void **state)
{
    uint8_t long_text[600];
    char text[SCEP_RECIPIENT_TEXT_MAX];
    (void)state;
    memset(long_text, 0xab, sizeof long_text);
    for (size_t len = 0; len <= sizeof long_text; len += 60) {
        struct bytes odd = bytes_of(long_text, len), none = {0};
        scep_recipient_text(&(struct cms_id){odd, odd, none}, text);
        assert_non_null(strstr(text, "with an odd name"));
        scep_recipient_text(&(struct cms_id){none, none, odd}, text);
        assert_true(strlen(text) < sizeof text);
    }
}

/* An RA with two pairs is told with what signs first and what devices encrypt to second; the latter
 * opens, the former answers and does not open. */
static void test_split(void **state)
{
    struct fixture *f = *state;
    struct cfg_identity before = f->identities[RA_NEW];
    struct split s = split_make();
    struct cert *all[] = {s.sign, s.open, f->issuer, f->root};
    f->identities[RA_NEW] = (struct cfg_identity){
        .chain = {&s.sign, 1}, .key = s.sign_key, .encryption = {{&s.open, 1}, s.open_key}};
    struct scep_reply reply = get(f, "operation=GetCACert");
    assert_string_equal(reply.content_type, "application/x-x509-ca-ra-cert");
    assert_bag(buf_bytes(&reply.body), all, 4);
    scep_reply_clear(&reply);

    struct scep_make_envelope seal = {.recipient = s.open};
    reply = post_made(f, NULL, &seal);
    assert_success(f, &reply, &f->issued, 1);
    seal.recipient = s.sign;
    reply = post_made(f, NULL, &seal);
    assert_string_equal(reply.note.reason, "wrong-recipient");
    assert_failure(f, &reply, SCEP_BAD_MESSAGE_CHECK);
    f->identities[RA_NEW] = before;
    split_free(&s);
}

static void assert_answered_by(const struct fixture *f, const struct cert *open,
                               const struct cert *sign)
{
    struct scep_make_envelope seal = {.recipient = open};
    struct scep_reply reply = post_made(f, NULL, &seal);
    struct scep_msg *msg = NULL;
    enum scep_fail fail;
    struct err err = {0};
    bool partial;
    if (!scep_msg_parse(buf_bytes(&reply.body), &msg, &partial, &fail, &err))
        fail_msg("%s", err.text);
    assert_string_equal(reply.note.outcome, "issued");
    assert_true(bytes_equal(cert_der_get(scep_msg_signer_get(msg)), cert_der_get(sign)));
    scep_msg_free(msg);
    scep_reply_clear(&reply);
}

/* Both pairs of an RA were renewed: what is encrypted to the one before is answered by the one that
 * signed before; a former signing pair opens nothing. */
static void test_split_former(void **state)
{
    struct fixture *f = *state;
    struct cfg_identity before = f->identities[RA_NEW];
    struct split now = split_make(), old = split_make();
    f->identities[RA_NEW] = (struct cfg_identity){
        .chain = {&now.sign, 1}, .key = now.sign_key, .encryption = {{&now.open, 1}, now.open_key}};
    struct cfg_renewed *pairs = f->identities[RA_NEW].renew.pairs;
    pairs[CFG_RA_DECRYPTS].former[0] = (struct cfg_pair){{&old.open, 1}, old.open_key};
    pairs[CFG_RA_DECRYPTS].former_count = 1;
    for (size_t signs = 0; signs < 2; signs++) {
        pairs[CFG_RA_SIGNS].former[0] = (struct cfg_pair){{&old.sign, 1}, old.sign_key};
        pairs[CFG_RA_SIGNS].former_count = signs;
        assert_answered_by(f, now.open, now.sign);
        assert_answered_by(f, old.open, signs ? old.sign : now.sign);
        struct scep_make_envelope seal = {.recipient = old.sign};
        struct scep_reply reply = post_made(f, NULL, &seal);
        assert_string_equal(reply.note.reason, "wrong-recipient");
        scep_reply_clear(&reply);
    }
    f->identities[RA_NEW] = before;
    split_free(&now);
    split_free(&old);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, scep_calls_reset)
    const struct CMUnitTest tests[] = {
        T(test_next),        T(test_no_next),      T(test_next_caps),       T(test_old_answers),
        T(test_ended_opens), T(test_next_answers), T(test_wrong_recipient), T(test_odd_recipient),
        T(test_split),       T(test_split_former),
    };
    return cmocka_run_group_tests(tests, scep_calls_setup, scep_calls_teardown);
}
