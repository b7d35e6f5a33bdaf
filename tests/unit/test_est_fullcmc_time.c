/* fullcmc: how much of a message is taken up, and when to come again. */
#include "tests/support/cmc_make.h"
#include "tests/support/est_calls.h"

#include "base/clock.h"
#include "base/text.h"
#include "config/table.h"

#include <string.h>

#define NOW INT64_C(2000000000)
#define CALL_MS 3000 /* that each request takes */
#define FIT 5        /* of them begin so early that the longest, 8 s, would end within 20 s */

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's name for it */
int64_t __wrap_clock_mono_ms(void);
int64_t __wrap_clock_mono_ms(void)
/* NOLINTEND(bugprone-reserved-identifier) */
{
    return INT64_C(1000000) + CALL_MS * (int64_t)asked.calls;
}

static struct {
    EVP_PKEY *key, *signer_key;
    X509 *x509;
    struct cert *signer;
} peers;

static int setup(void **state)
{
    assert_int_equal(est_calls_setup(state), 0);
    struct fixture *f = *state;
    peers.key = make_ec("P-256");
    peers.x509 = make_x509(&(struct make_spec){.subject = "CN=ra"}, peers.key, NULL, NULL);
    peers.signer_key = make_ec("P-256");
    peers.signer =
        make_cert(&(struct make_spec){.subject = "CN=est"}, peers.signer_key, NULL, NULL);
    f->cfg.tls.identity =
        (struct cfg_identity){.chain = {&peers.signer, 1}, .key = peers.signer_key};
    est_calls_reset(state);
    f->profile.est.fullcmc = CFG_FULLCMC_ALLOW;
    f->profile.retry_window = 86400;
    clock_set(NOW);
    return 0;
}

static int teardown(void **state)
{
    EVP_PKEY_free(peers.key);
    EVP_PKEY_free(peers.signer_key);
    X509_free(peers.x509);
    cert_free(peers.signer);
    return est_calls_teardown(state);
}

static struct est_reply send_parts(const struct fixture *f, struct cmc *cmc)
{
    struct buf data = cmc_data(cmc), body = {0};
    struct buf der = cmc_sign(
        buf_bytes(&data), &(struct cmc_sign){.cert = peers.x509, .key = peers.key, .time = NOW});
    struct est_call call = call_of(f, EST_FULLCMC);
    assert_true(text_base64_encode(buf_bytes(&der), 64, &body));
    call.body = buf_bytes(&body);
    call.content_type = bytes_str("application/pkcs7-mime; smime-type=CMC-request");
    asked.calls = 0;
    struct est_reply reply = handle(f, &call);
    buf_free(&body);
    buf_free(&der);
    buf_free(&data);
    cmc_free(cmc);
    return reply;
}

/* Queries and requests are taken up as long as they will be done in time, all together; the others
 * are to be sent again. */
static void test_budget(void **state)
{
    struct fixture *f = *state;
    for (unsigned requests = 0; requests <= 8; requests += 4) {
        struct cmc cmc = {0};
        for (unsigned i = 0; i < 8 - requests; i++)
            cmc_add_control(&cmc, 100 + i, "1.3.6.1.5.5.7.7.21", bytes_of("\x04\x01x", 3));
        for (unsigned i = 0; i < requests; i++)
            cmc_add_pkcs10(&cmc, 1 + i, buf_bytes(&f->csr_der));
        struct est_reply reply = send_parts(f, &cmc);
        assert_int_equal(reply.status, 200);
        assert_int_equal(asked.calls, FIT);
        assert_string_equal(reply.note.reason, "took-long");
        est_reply_clear(&reply);
    }
}

/* The first part is taken up, however long a device may be kept waiting. */
static void test_first(void **state)
{
    static const struct cfg_key no_keys[] = {{0}};
    static const struct cfg_kind remote = {
        .type = "fake", .keys = no_keys, .options_size = sizeof(struct cfg_line), .remote = true};
    struct fixture *f = *state;
    struct cfg_line line = {.wait = 60};
    struct cmc cmc = {0};
    f->upstream_confs[0] = (struct cfg_upstream){.name = "slow", .kind = &remote, .options = &line};
    for (unsigned i = 0; i < 3; i++)
        cmc_add_pkcs10(&cmc, 1 + i, buf_bytes(&f->csr_der));
    struct est_reply reply = send_parts(f, &cmc);
    assert_int_equal(asked.calls, 1);
    est_reply_clear(&reply);
}

/* RFC 7030 sections 4.2.3 and 4.3.2: what waits is 202, also beside what was refused, and says when
 * the first of it may be asked for; beside a certificate it is told in the 200 that brings that. */
static void test_waits(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum ra_status others; /* than the one at pends_at */
        int seconds;
        unsigned refuses_at, pends_at;
        int status, retry_after;
    } rows[] = {
        {RA_PENDING, 90, 0, 0, 202, 90}, {RA_PENDING, 90, 0, 2, 202, 60},
        {RA_PENDING, 90, 1, 0, 202, 90}, {RA_PENDING, 0, 0, 0, 202, 30},
        {RA_REFUSED, 90, 0, 2, 202, 60}, {RA_ISSUED, 0, 0, 2, 200, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cmc cmc = {0};
        asked.refuses_at = rows[i].refuses_at;
        asked.pends_at = rows[i].pends_at;
        asked.answer =
            (struct ra_outcome){.status = rows[i].others,
                                .reason = rows[i].others == RA_REFUSED ? RA_OVER_QUOTA : RA_OK,
                                .retry_after = rows[i].seconds,
                                .cert = rows[i].others == RA_ISSUED ? f->issued : NULL};
        cmc_add_pkcs10(&cmc, 1, buf_bytes(&f->csr_der));
        cmc_add_pkcs10(&cmc, 2, buf_bytes(&f->csr_der));
        struct est_reply reply = send_parts(f, &cmc);
        assert_int_equal(reply.status, rows[i].status);
        assert_int_equal(reply.retry_after, rows[i].retry_after);
        assert_string_equal(reply.content_type, "application/pkcs7-mime; smime-type=CMC-response");
        est_reply_clear(&reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_budget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
