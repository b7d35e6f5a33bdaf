#include "tests/support/scep_calls.h"

#include "base/der.h"
#include "base/permit.h"
#include "scep/attrs.h"
#include "scep/sealing.h"

#include <openssl/objects.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Message types that are not served, numbers that are none, and none at all reach nobody:
 * CVE-2026-30836 was a type that was parsed and not listed. */
static void test_types(void **state)
{
    static const char *const types[] = {"0",   "3",   "16", "18",  "23", "19 ",
                                        "019", "021", "",   "abc", NULL, "99"};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct scep_make make = good(f);
        make.type = types[i];
        struct scep_reply reply = post_made(f, &make, NULL);
        assert_failure(f, &reply, SCEP_BAD_REQUEST);
    }
    static const char *const firsts[] = {"19", "3", "21", "22"};
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
        struct scep_make make = good(f);
        struct buf twice = {0};
        assert_true(scep_attr_add(&twice, SCEP_ATTR_TYPE, bytes_str("19")));
        make.type = firsts[i];
        make.more = buf_bytes(&twice);
        struct scep_reply reply = post_made(f, &make, NULL);
        assert_failure(f, &reply, SCEP_BAD_REQUEST);
        buf_free(&twice);
    }
    assert_int_equal(asked.calls, 0);
}

/* SHA-1 and 3DES only where the profile takes them, MD5 nowhere: badAlg. */
static void test_weak(void **state)
{
    struct fixture *f = *state;
    struct scep_make sha1 = good(f), md5 = good(f);
    struct scep_make_envelope des3 = {.recipient = f->ra[RA_NEW], .cipher = NID_des_ede3_cbc};
    sha1.digest = NID_sha1;
    md5.digest = NID_md5;
    struct scep_reply reply = post_made(f, &sha1, NULL);
    assert_failure(f, &reply, SCEP_BAD_ALG);
    reply = post_made(f, NULL, &des3);
    assert_failure(f, &reply, SCEP_BAD_ALG);
    reply = post_made(f, &md5, NULL);
    assert_failure(f, &reply, SCEP_BAD_ALG);
    assert_int_equal(asked.calls, 0);

    f->profile.scep.legacy = CFG_LEGACY_DES3_SHA1;
    reply = post_made(f, &md5, NULL);
    assert_failure(f, &reply, SCEP_BAD_ALG);
    assert_int_equal(asked.calls, 0);
    reply = post_made(f, &sha1, &des3);
    assert_success(f, &reply, &f->issued, 1);
    assert_int_equal(asked.calls, 1);
}

/* A signer with an EC key cannot be answered: badAlg, and the operator is pointed to EST. */
static void test_ec_signer(void **state)
{
    struct fixture *f = *state;
    static const char *const types[] = {"17", "19", "20"};
    for (size_t i = 0; i < 3; i++) {
        struct scep_make make = good(f);
        make.type = types[i];
        make.signer = f->ec, make.key = f->ec_key;
        struct scep_reply reply = post_made(f, &make, NULL);
        assert_non_null(strstr(reply.note.detail, "EST"));
        assert_failure(f, &reply, SCEP_BAD_ALG);
    }
    assert_int_equal(asked.calls, 0);
}

/* Two replies to a message that could not be opened differ in nothing but nonce, time and
 * signature. */
static void assert_alike(const struct fixture *f, const struct scep_reply *a,
                         const struct scep_reply *b)
{
    struct scep_msg *x = rep_of(f, a), *y = rep_of(f, b);
    assert_int_equal(a->body.len, b->body.len);
    assert_int_equal(scep_msg_status_get(x), scep_msg_status_get(y));
    assert_int_equal(scep_msg_fail_get(x), scep_msg_fail_get(y));
    assert_int_equal(scep_msg_algs_get(x).digest, scep_msg_algs_get(y).digest);
    scep_msg_free(x);
    scep_msg_free(y);
}

/* Whatever is wrong inside the envelope, the answer is the same FAILURE badMessageCheck: no oracle
 * about padding, and none about keys. */
static void test_alike(void **state)
{
    static const int transports[] = {0, NID_sha1};
    struct fixture *f = *state;
    struct scep_make make = good(f);
    struct buf garbage = sealed(f, NULL, bytes_str("no request at all"));
    make.content = buf_bytes(&garbage);
    struct scep_reply first = post_made(f, &make, NULL);
    for (size_t t = 0; t < 2; t++)
        for (int fault = SCEP_MAKE_BAD_BLOCK; fault < SCEP_MAKE_FAULT_COUNT; fault++) {
            struct scep_make_envelope seal = {.recipient = f->ra[RA_NEW],
                                              .oaep = transports[t],
                                              .fault = (enum scep_make_fault)fault};
            struct scep_reply reply = post_made(f, NULL, &seal);
            assert_alike(f, &first, &reply);
            assert_string_equal(reply.note.reason, "bad-envelope");
            assert_failure(f, &reply, SCEP_BAD_MESSAGE_CHECK);
        }
    struct scep_make_envelope stranger = {.recipient = f->victim};
    struct scep_reply reply = post_made(f, NULL, &stranger);
    assert_alike(f, &first, &reply);
    assert_string_equal(reply.note.reason, "wrong-recipient"); /* the operator's log alone */
    assert_string_equal(first.note.reason, "bad-envelope");
    assert_failure(f, &reply, SCEP_BAD_MESSAGE_CHECK);
    assert_failure(f, &first, SCEP_BAD_MESSAGE_CHECK);
    assert_int_equal(asked.calls, 0);
    buf_free(&garbage);
}

/* What is inside the envelope of a poll makes no difference to its answer: an answer that told good
 * padding from bad would decrypt another device's request, wrapped in one's own poll. */
static void test_poll_alike(void **state)
{
    struct fixture *f = *state;
    struct scep_make make = good(f);
    make.type = "20";
    asked.answer = (struct ra_outcome){.status = RA_REFUSED, .reason = RA_UNKNOWN_TXN};
    for (int fault = SCEP_MAKE_FINE; fault < SCEP_MAKE_FAULT_COUNT; fault++) {
        struct scep_make_envelope seal = {.recipient = f->ra[RA_NEW],
                                          .fault = (enum scep_make_fault)fault};
        struct scep_reply reply = post_made(f, &make, &seal);
        assert_failure(f, &reply, SCEP_BAD_CERT_ID);
    }
    assert_int_equal(asked.calls, SCEP_MAKE_FAULT_COUNT);
}

/* A poll in an envelope that is addressed to nobody here is refused like a request. */
static void test_closed_poll(void **state)
{
    struct fixture *f = *state;
    struct scep_make_envelope seal = {.recipient = f->victim};
    struct scep_make make = good(f);
    make.type = "20";
    struct scep_reply reply = post_made(f, &make, &seal);
    assert_failure(f, &reply, SCEP_BAD_MESSAGE_CHECK);
    assert_int_equal(asked.calls, 0);
}

/* When a broken envelope is answered follows from nothing that is within: whatever opening it took,
 * up to the time that was settled before, it is that time; a longer key and more iterations settle
 * on a later one. */
static void test_begin(void **state)
{
    struct fixture *f = *state;
    const int64_t due = 123456789, even = 10000000;
    for (int64_t now = due - even; now <= due; now += 100000)
        assert_int_equal(scep_sealing_begin(due, now), due);
    assert_int_equal(scep_sealing_begin(due, due + 1), due + even);
    assert_int_equal(scep_sealing_begin(due, due + even - 1), due + even);
    assert_int_equal(scep_sealing_begin(due, due + 7 * even), due + 8 * even);

    struct scep_make_envelope seal = {.recipient = f->ra[RA_NEW]};
    struct buf der = message_of(f, NULL, &seal);
    struct scep_sealing sealing = {.profile = &f->profile};
    EVP_PKEY *keys[] = {EVP_RSA_gen(1024), EVP_RSA_gen(2048), EVP_RSA_gen(4096)};
    struct scep_key key = {NULL, keys[0]};
    struct scep_msg *msg = NULL;
    enum scep_fail fail;
    struct err err;
    bool partial;
    assert_true(scep_msg_parse(buf_bytes(&der), &msg, &partial, &fail, &err));
    sealing.msg = msg;
    sealing.opener = (struct scep_opener){&key, 1, SCEP_CIPHERS_AES};
    for (size_t i = 0; i < 3; i++) {
        key.key = keys[i];
        assert_int_equal(scep_sealing_headroom(&sealing), i < 2 ? even : 4 * even);
        EVP_PKEY_free(keys[i]);
    }
    scep_msg_free(msg);
    buf_free(&der);
}

/* One who sends a broken envelope, with the one permit to compute. */
struct sender {
    struct fixture *f;
    struct permits *permits;
    struct buf message;
    struct scep_reply reply;
    atomic_bool began, ended;
};

static void *send_broken(void *arg)
{
    struct sender *sender = arg;
    permit_take(sender->permits);
    sender->began = true;
    sender->reply = post(sender->f, buf_bytes(&sender->message));
    sender->ended = true;
    permit_give(sender->permits);
    return NULL;
}

/* Whether somebody else got the permit before the answer was given. */
static bool waited_aside(struct sender *sender)
{
    pthread_t thread;
    sender->began = sender->ended = false;
    assert_int_equal(pthread_create(&thread, NULL, send_broken, sender), 0);
    while (!sender->began)
        sched_yield();
    permit_take(sender->permits);
    bool aside = !sender->ended;
    permit_give(sender->permits);
    pthread_join(thread, NULL);
    assert_failure(sender->f, &sender->reply, SCEP_BAD_MESSAGE_CHECK);
    return aside;
}

/* While the answer to a broken envelope waits for its time, somebody else may compute: a few such
 * messages do not stop the gateway. */
static void test_waits_aside(void **state)
{
    struct fixture *f = *state;
    struct scep_make_envelope seal = {.recipient = f->ra[RA_NEW], .fault = SCEP_MAKE_BAD_PAD};
    struct sender sender = {.f = f, .permits = permits_new(1)};
    unsigned aside = 0;
    sender.message = message_of(f, NULL, &seal);
    for (int i = 0; i < 20; i++)
        aside += waited_aside(&sender);
    assert_true(aside > 0); /* not in all, if we come too late */
    buf_free(&sender.message);
    permits_free(sender.permits);
}

/* A request whose signature is not by its own key proves no possession: badMessageCheck. */
static void test_possession(void **state)
{
    struct fixture *f = *state;
    struct buf csr = {0};
    assert_true(buf_set(&csr, buf_bytes(&f->csr)));
    csr.ptr[csr.len - 1] ^= 1;
    struct buf envelope = sealed(f, NULL, buf_bytes(&csr));
    struct scep_make make = good(f);
    make.content = buf_bytes(&envelope);
    struct scep_reply reply = post_made(f, &make, NULL);
    assert_failure(f, &reply, SCEP_BAD_MESSAGE_CHECK);
    assert_int_equal(asked.calls, 0);
    buf_free(&envelope);
    buf_free(&csr);
}

/* Who does not hold the key of the certificate that he names speaks for nobody. */
static void test_impostor(void **state)
{
    struct fixture *f = *state;
    struct bytes certs[] = {cert_der_get(f->device), cert_der_get(f->victim)};
    for (size_t first = 0; first < 2; first++) {
        struct scep_make make = good(f);
        make.signer = f->victim; /* named; but the key is the device's */
        make.certs = certs + first;
        make.cert_count = 2 - first;
        make.type = first ? "17" : "19";
        struct scep_reply reply = post_made(f, &make, NULL);
        assert_failure(f, &reply, SCEP_BAD_MESSAGE_CHECK);
    }
    assert_int_equal(asked.calls, 0);
}

static void assert_http_400(const struct fixture *f, struct bytes body)
{
    struct scep_reply reply = post(f, body);
    assert_int_equal(reply.status, 400);
    assert_string_equal(reply.content_type, "text/plain");
    assert_true(reply.body.len > 0 && reply.body.len < 100);
    assert_string_equal(reply.note.outcome, "refused");
    assert_string_equal(reply.note.txn, "");
    scep_reply_clear(&reply);
}

/* Without a transactionID there is nothing to address an answer to: HTTP 400. */
static void test_unreadable(void **state)
{
    struct fixture *f = *state;
    struct buf big = {0};
    struct scep_make make = good(f);
    make.txn = (struct bytes){0};
    struct buf der = message_of(f, &make, NULL);
    assert_http_400(f, buf_bytes(&der));
    buf_free(&der);
    make = good(f);
    make.signers = 2;
    der = message_of(f, &make, NULL);
    assert_http_400(f, buf_bytes(&der));
    buf_free(&der);
    assert_http_400(f, (struct bytes){0});
    assert_http_400(f, bytes_str("GET / HTTP/1.1"));
    assert_http_400(f, buf_bytes(&f->csr));
    while (big.len <= SCEP_MSG_MAX)
        assert_true(der_add(&big, DER_INTEGER, bytes_str("x")));
    assert_true(der_wrap(&big, 0, DER_SEQUENCE));
    assert_http_400(f, buf_bytes(&big));
    buf_free(&big);
    assert_int_equal(asked.calls, 0);
}

/* Every truncation of a good PKCSReq is answered, and none reaches the ra. */
static void test_truncated(void **state)
{
    struct fixture *f = *state;
    struct buf der = message_of(f, NULL, NULL);
    for (size_t n = 0; n < der.len; n++) {
        uint8_t *copy = mem_zalloc(n + 1);
        memcpy(copy, der.ptr, n);
        assert_http_400(f, bytes_of(copy, n));
        free(copy);
    }
    assert_int_equal(asked.calls, 0);
    buf_free(&der);
}

/* Every change of one byte is answered, and what reaches the ra is the same request by the same
 * key. */
static void test_changed(void **state)
{
    struct fixture *f = *state;
    struct buf der = message_of(f, NULL, NULL);
    unsigned same = 0;
    for (size_t n = 0; n < der.len; n++) {
        der.ptr[n] ^= (uint8_t)(1u << n % 8);
        unsigned before = asked.calls;
        struct scep_reply reply = post(f, buf_bytes(&der));
        assert_true(reply.status == 200 || reply.status == 400);
        scep_reply_clear(&reply);
        if (asked.calls > before) {
            struct cert *holder;
            struct err err;
            assert_true(bytes_equal(buf_bytes(&asked.csr), buf_bytes(&f->csr)));
            assert_string_equal(asked.txn, TXN);
            assert_int_equal(asked.op, RA_ENROLL);
            assert_true(cert_parse(buf_bytes(&asked.holder), &holder, &err));
            assert_true(spki_equal(cert_spki_get(holder), cert_spki_get(f->device)));
            cert_free(holder);
            same++;
        }
        der.ptr[n] ^= (uint8_t)(1u << n % 8);
    }
    assert_true(same < der.len / 4);
    buf_free(&der);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, scep_calls_reset)
    const struct CMUnitTest tests[] = {
        T(test_types),      T(test_weak),        T(test_ec_signer),  T(test_alike),
        T(test_poll_alike), T(test_closed_poll), T(test_possession), T(test_waits_aside),
        T(test_impostor),   T(test_unreadable),  T(test_truncated),  T(test_changed),
        T(test_begin),
    };
    return cmocka_run_group_tests(tests, scep_calls_setup, scep_calls_teardown);
}
