/* Keys that are made for devices: what is asked of the CA, and what a repetition hears. */
#include "ra/keygen.h"
#include "ra/keyring.h"
#include "tests/support/ra_world.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static struct ra_request keygen_request(const struct world *w, const struct csr *csr)
{
    struct ra_request request = world_enroll(w, csr);
    request.op = RA_KEYGEN;
    return request;
}

/* Whether the key belongs to the certificate. */
static bool fits(EVP_PKEY *key, const struct cert *cert)
{
    return key && EVP_PKEY_eq(key, cert_spki_get(cert)->key) == 1;
}

static struct ra_outcome issue(const struct world *w, const struct ra_request *request)
{
    struct ra_outcome outcome = world_submit(w, request);
    if (outcome.status != RA_ISSUED)
        fail_msg("not issued: %s", outcome.detail);
    assert_true(fits(outcome.key, outcome.cert));
    return outcome;
}

static bool is_revoked(const struct world *w, const struct cert *cert)
{
    struct store_cert row = world_held(w, cert);
    bool revoked = row.revoked_at != 0;
    store_cert_clear(&row);
    return revoked;
}

/* The CA certifies a key of ours, for the names of the CSR, whose own key it never sees. */
static void test_made(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1,O=Example", "DNS:a,DNS:b", w->key);
    struct ra_request request = keygen_request(w, csr);
    struct ra_outcome got = issue(w, &request);
    assert_false(EVP_PKEY_eq(got.key, w->key) == 1);
    assert_true(names_subject_equal(cert_names_get(got.cert), csr_names_get(csr)));
    assert_true(names_san_equal(cert_names_get(got.cert), csr_names_get(csr)));
    struct store_request row = world_row(w, got.request_id);
    assert_int_equal(row.op, RA_KEYGEN);
    store_request_clear(&row);
    ra_outcome_clear(&got);
    csr_free(csr);
}

/* The CSR's signature counts for nothing: one that is by another key is as good. */
static void test_signature_ignored(void **state)
{
    struct world *w = *state;
    struct make_spec spec = {.subject = "CN=r1"};
    struct buf der = make_req_der(&spec, w->key);
    struct csr *csr;
    struct err err;
    der.ptr[der.len - 4] ^= 1;
    assert_true(csr_parse(buf_bytes(&der), &csr, &err));
    assert_false(csr_pop_check(csr, &err));
    struct ra_request request = keygen_request(w, csr);
    struct ra_outcome got = issue(w, &request);
    ra_outcome_clear(&got);
    csr_free(csr);
    buf_free(&der);
}

/* Who repeats the request, because the reply was lost, gets the same key and the same certificate;
 * the CA is not asked again, and ten minutes after the delivery the key is forgotten. */
static void test_lost_reply(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = keygen_request(w, csr);
    struct ra_outcome first = issue(w, &request);
    ra_delivered(w->ra, first.request_id);
    clock_set(NOW + KEYRING_DELIVERED_SECONDS - 1);
    struct ra_outcome again = issue(w, &request);
    assert_true(again.repeated);
    assert_true(world_same_cert(first.cert, again.cert));
    assert_true(EVP_PKEY_eq(first.key, again.key) == 1);
    assert_int_equal(w->ca[0].submitted, 1);
    ra_outcome_clear(&again);
    clock_set(NOW + KEYRING_DELIVERED_SECONDS + 1);
    struct ra_outcome later = issue(w, &request);
    assert_false(later.repeated);
    assert_false(EVP_PKEY_eq(first.key, later.key) == 1);
    ra_outcome_clear(&first);
    ra_outcome_clear(&later);
    csr_free(csr);
}

/* After a restart the key is lost. A repetition that is still authorized gets another key and
 * another certificate, and the first certificate is revoked before: there is never more than one.
 */
static void test_superseded(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = keygen_request(w, csr);
    struct ra_outcome first = issue(w, &request);
    world_restart(w);
    request = keygen_request(w, csr);
    struct ra_outcome second = issue(w, &request);
    assert_false(world_same_cert(first.cert, second.cert));
    assert_true(is_revoked(w, first.cert));
    assert_false(is_revoked(w, second.cert));
    assert_int_equal(world_audited(w, "revoked"), 1);
    ra_outcome_clear(&first);
    ra_outcome_clear(&second);
    csr_free(csr);
}

/* If the challenge was spent, the repetition after a restart is refused, and what the device may
 * have got stays good. */
static void test_spent(void **state)
{
    struct world *w = *state;
    char secret[CHALLENGE_LEN + 1];
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    world_mint(w, NULL, secret);
    struct ra_request request = keygen_request(w, csr);
    request.evidence.challenge = bytes_str(secret);
    struct ra_outcome first = issue(w, &request);
    struct ra_outcome again = issue(w, &request);
    assert_true(world_same_cert(first.cert, again.cert));
    world_restart(w);
    request = keygen_request(w, csr);
    request.evidence.challenge = bytes_str(secret);
    world_refused(w, &request, RA_BAD_CHALLENGE);
    assert_false(is_revoked(w, first.cert));
    assert_int_equal(world_inventory(w), 1);
    ra_outcome_clear(&first);
    ra_outcome_clear(&again);
    csr_free(csr);
}

/* A request that waits keeps its key: the device gets it when the CA has issued. */
static void test_pending(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = keygen_request(w, csr);
    char id[RA_ID_LEN + 1];
    w->ca[0].submit = UP_PENDING;
    w->ca[0].poll = UP_ISSUED;
    world_pending(w, &request, id);
    clock_set(NOW + 3600);
    struct ra_outcome got = issue(w, &request);
    assert_string_equal(got.request_id, id);
    ra_outcome_clear(&got);
    csr_free(csr);
}

/* If the process restarts meanwhile, what the CA then issues is revoked at once, also at the CA;
 * the device is told to ask again and gets a new key. */
static unsigned revoked_there;

static bool fake_revoke(struct upstream *up, const struct cert *cert, int reason, int64_t deadline,
                        struct err *err)
{
    (void)up, (void)cert, (void)err;
    assert_int_equal(reason, 4);
    assert_true(deadline > clock_mono_ms());
    revoked_there++;
    return true;
}

static void test_pending_lost(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = keygen_request(w, csr);
    char id[RA_ID_LEN + 1];
    revoked_there = 0;
    w->ca[0].vt.revoke = fake_revoke;
    w->ca[0].vt.caps |= UP_REVOKE;
    w->ca[0].submit = UP_PENDING;
    w->ca[0].poll = UP_PENDING;
    world_pending(w, &request, id);
    world_restart(w);
    ra_apply(w->ra, &w->settings);
    request = keygen_request(w, csr);
    struct ra_outcome outcome = world_submit(w, &request);
    assert_int_equal(outcome.status, RA_PENDING);
    assert_non_null(strstr(outcome.detail, "lost"));
    ra_outcome_clear(&outcome);
    w->ca[0].poll = UP_ISSUED;
    clock_set(NOW + 3600);
    assert_int_equal(world_sweep(w), 1);
    world_state(w, id, TXN_ISSUED);
    assert_int_equal(world_audited(w, "revoked"), 1);
    assert_int_equal(revoked_there, 1);
    w->ca[0].submit = UP_ISSUED;
    struct ra_outcome got = issue(w, &request);
    assert_string_not_equal(got.request_id, id);
    assert_int_equal(world_inventory(w), 2);
    ra_outcome_clear(&got);
    csr_free(csr);
}

static bool idle;
static unsigned idle_asked;

static bool fake_idle(struct upstream *up, const struct up_order *order, struct bytes cookie,
                      int64_t deadline)
{
    (void)up, (void)cookie;
    assert_non_null(order->csr);
    assert_true(deadline > clock_mono_ms());
    idle_asked++;
    return idle;
}

/* Restarted while it waits, with a one-time challenge. */
static struct csr *wait_and_restart(struct world *w, char secret[CHALLENGE_LEN + 1],
                                    struct ra_request *request, char id[RA_ID_LEN + 1])
{
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    world_mint(w, NULL, secret);
    w->ca[0].vt.idle = fake_idle;
    w->ca[0].submit = w->ca[0].poll = UP_PENDING;
    w->ca[0].retry_after = 7200;
    *request = keygen_request(w, csr);
    request->evidence.challenge = bytes_str(secret);
    world_pending(w, request, id);
    assert_int_equal(world_sweep(w), 0);
    world_restart(w);
    idle_asked = 0;
    w->ca[0].submit = w->ca[0].poll = UP_ISSUED;
    return csr;
}

/* A CA that issues only when it is asked again, as after an approval, is not: with its key lost the
 * request ends at once, whenever the CA wanted to be asked, and the same challenge gets the device
 * another key. */
static void test_idle(void **state)
{
    struct world *w = *state;
    char id[RA_ID_LEN + 1], secret[CHALLENGE_LEN + 1];
    struct ra_request request;
    idle = true;
    struct csr *csr = wait_and_restart(w, secret, &request, id);
    assert_int_equal(world_sweep(w), 1);
    world_state(w, id, TXN_REFUSED);
    assert_int_equal(w->ca[0].polled, 0);
    assert_int_equal(world_inventory(w), 0);
    assert_int_equal(world_audited(w, "refused"), 1);
    struct ra_outcome got = issue(w, &request);
    assert_string_not_equal(got.request_id, id);
    assert_int_equal(world_audited(w, "revoked"), 0);
    ra_outcome_clear(&got);
    world_restart(w);
    world_refused(w, &request, RA_BAD_CHALLENGE);
    csr_free(csr);
}

/* If it has been asked to issue, or nobody knows, the certificate is taken, and revoked. */
static void test_not_idle(void **state)
{
    struct world *w = *state;
    char id[RA_ID_LEN + 1], secret[CHALLENGE_LEN + 1];
    struct ra_request request;
    idle = false;
    struct csr *csr = wait_and_restart(w, secret, &request, id);
    assert_int_equal(world_sweep(w), 1);
    assert_int_equal(idle_asked, 1);
    world_state(w, id, TXN_ISSUED);
    assert_int_equal(world_audited(w, "revoked"), 1);
    world_refused(w, &request, RA_BAD_CHALLENGE);
    csr_free(csr);
}

/* Nor is it left alone after a poll whose answer was lost. */
static void test_idle_unknown(void **state)
{
    struct world *w = *state;
    char id[RA_ID_LEN + 1], secret[CHALLENGE_LEN + 1];
    struct ra_request request;
    idle = true;
    struct csr *csr = wait_and_restart(w, secret, &request, id);
    csr_free(csr);
    csr = world_csr("CN=r2", NULL, w->key);
    request.csr = csr;
    request.evidence.challenge = bytes_str(FIXED_CHALLENGE);
    w->ca[0].submit = UP_PENDING;
    w->ca[0].poll = UP_UNKNOWN;
    world_pending(w, &request, id);
    clock_set(NOW + 7200);
    (void)world_sweep(w);
    assert_int_equal(w->ca[0].polled, 1);
    world_state(w, id, TXN_WAITING);
    world_restart(w);
    idle_asked = 0;
    w->ca[0].poll = UP_ISSUED;
    assert_int_equal(world_sweep(w), 1);
    assert_int_equal(idle_asked, 0);
    world_state(w, id, TXN_ISSUED);
    assert_int_equal(world_audited(w, "revoked"), 1);
    csr_free(csr);
}

/* A request that waits for longer than a repetition is answered has its key as long as it waits,
 * and from then on like any other. */
static void test_long_pending(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = keygen_request(w, csr);
    int64_t window = w->profiles[0].retry_window;
    char id[RA_ID_LEN + 1];
    w->ca[0].submit = w->ca[0].poll = UP_PENDING;
    world_pending(w, &request, id);
    for (unsigned days = 1; days < 4; days++) {
        clock_set(NOW + days * window);
        assert_int_equal(world_sweep(w), 1);
        struct ra_outcome waits = world_submit(w, &request);
        assert_int_equal(waits.status, RA_PENDING);
        assert_null(strstr(waits.detail, "lost"));
        ra_outcome_clear(&waits);
    }
    w->ca[0].poll = UP_ISSUED;
    clock_set(NOW + 4 * window);
    assert_int_equal(world_sweep(w), 1);
    assert_int_equal(world_audited(w, "revoked"), 0);
    struct ra_outcome got = issue(w, &request);
    assert_string_equal(got.request_id, id);
    ra_outcome_clear(&got);
    clock_set(NOW + 4 * window + KEYRING_LOOK_SECONDS);
    (void)world_sweep(w); /* sees that it is issued */
    w->ca[0].submit = UP_ISSUED;
    clock_set(NOW + 5 * window + KEYRING_LOOK_SECONDS);
    (void)world_sweep(w);
    got = issue(w, &request);
    assert_string_not_equal(got.request_id, id);
    ra_outcome_clear(&got);
    csr_free(csr);
}

/* Who asks for key after key at a CA that takes its time is told so, and no key is made for him;
 * the others get theirs. */
static void test_share(void **state)
{
    struct world *w = *state;
    struct cert *signer = world_signer("CN=other", w->other_key);
    struct err err = {0};
    char subject[32], id[RA_ID_LEN + 1];
    w->ca[0].submit = w->ca[0].poll = UP_PENDING;
    for (unsigned i = 0; i <= KEYRING_MAX / 4; i++) {
        snprintf(subject, sizeof subject, "CN=r%u", i);
        struct csr *csr = world_csr(subject, NULL, w->key);
        struct ra_request request = keygen_request(w, csr);
        struct ra_outcome outcome = {0};
        bool ok = ra_submit(w->ra, &request, &outcome, &err);
        assert_int_equal(ok, i < KEYRING_MAX / 4);
        ra_outcome_clear(&outcome);
        csr_free(csr);
    }
    assert_int_equal(err.kind, ERR_LOCAL);
    assert_non_null(strstr(err.text, "250 keys wait"));
    assert_int_equal(w->ca[0].submitted, KEYRING_MAX / 4);
    struct csr *csr = world_csr("CN=other", NULL, w->other_key);
    struct ra_request request = keygen_request(w, csr);
    request.evidence.holder = signer;
    world_pending(w, &request, id);
    csr_free(csr);
    cert_free(signer);
}

/* Before its turn comes as well, if its device asks for it. */
static void test_never_sent_repeated(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = keygen_request(w, csr);
    char id[RA_ID_LEN + 1];
    w->ca[0].submit = UP_RETRY;
    w->ca[0].retry_after = 3000;
    world_pending(w, &request, id);
    world_restart(w);
    w->ca[0].submit = UP_ISSUED;
    request = keygen_request(w, csr);
    struct ra_outcome ends = world_submit(w, &request);
    assert_int_equal(ends.status, RA_PENDING);
    assert_true(ends.retry_after <= 5);
    ra_outcome_clear(&ends);
    world_state(w, id, TXN_REFUSED);
    assert_int_equal(w->ca[0].submitted, 1);
    struct ra_outcome got = issue(w, &request);
    ra_outcome_clear(&got);
    csr_free(csr);
}

/* What was never sent to a CA ends without it, once its key is lost. */
static void test_never_sent(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = keygen_request(w, csr);
    char id[RA_ID_LEN + 1];
    w->ca[0].submit = UP_RETRY;
    world_pending(w, &request, id);
    world_restart(w);
    w->ca[0].submit = UP_ISSUED;
    clock_set(NOW + 3600);
    assert_int_equal(world_sweep(w), 1);
    world_state(w, id, TXN_REFUSED);
    assert_int_equal(w->ca[0].submitted, 1);
    request = keygen_request(w, csr);
    struct ra_outcome got = issue(w, &request);
    ra_outcome_clear(&got);
    csr_free(csr);
}

/* With its certificate a device renews, for its own names only, also if its key must not stay the
 * same: the one that it sends is not the one that it gets. */
static void test_renewal(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key), *other = world_csr("CN=r2", NULL, w->key);
    struct cert *held = world_enrolled(w, csr);
    w->profiles[0].renewal.same_key = CFG_SAME_KEY_REFUSE;
    struct ra_request request = world_request(w, csr);
    request.op = RA_KEYGEN;
    request.evidence.holder = held;
    struct ra_outcome got = issue(w, &request);
    struct store_request row = world_row(w, got.request_id);
    assert_int_equal(strlen(row.renews), 64);
    store_request_clear(&row);
    request.csr = other;
    world_refused(w, &request, RA_NAMES_CHANGED);
    ra_outcome_clear(&got);
    cert_free(held);
    csr_free(csr);
    csr_free(other);
}

/* A request for a key and one without are never each other's repetition. */
static void test_apart(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request plain = world_enroll(w, csr), made = keygen_request(w, csr);
    struct cert *cert = world_issue(w, &plain);
    struct ra_outcome got = issue(w, &made);
    assert_false(got.repeated);
    assert_false(world_same_cert(cert, got.cert));
    struct cert *again = world_issue(w, &plain);
    assert_true(world_same_cert(cert, again));
    ra_outcome_clear(&got);
    cert_free(cert);
    cert_free(again);
    csr_free(csr);
}

/* Names are judged before a key is made: nothing is kept for what is refused. */
static void test_refused(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", "IP:10.0.0.1", w->key);
    struct csr *kind = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = keygen_request(w, csr), ed = request;
    world_refused(w, &request, RA_BAD_NAMES);
    EVP_PKEY *key = make_ed25519();
    struct csr *odd = world_csr("CN=r1", NULL, key);
    ed.csr = odd;
    world_refused(w, &ed, RA_BAD_KEY);
    request.evidence.challenge = bytes_str("wrong");
    request.csr = kind;
    world_refused(w, &request, RA_BAD_CHALLENGE);
    assert_int_equal(w->ca[0].prepared, 0);
    EVP_PKEY_free(key);
    csr_free(csr);
    csr_free(kind);
    csr_free(odd);
}

static void check_plan(const struct cfg_keys *keys, const struct spki *wish, int bits,
                       const char *curve)
{
    struct keygen_plan plan;
    struct err err;
    bool may = keygen_plan(keys, wish, &plan, &err);
    assert_int_equal(may, bits || curve);
    if (may && bits)
        assert_int_equal(plan.bits, bits);
    if (may && curve)
        assert_string_equal(plan.curve, curve);
}

/* The size of an RSA key is the CSR's, rounded up to a usual one, within what the profile allows,
 * be the CSR's own too small; curves are the CSR's, if they are allowed. */
static void test_plan(void **state)
{
    static char *curves[] = {"P-384"};
    const struct cfg_keys any = {.any = true}, none = {0};
    const struct cfg_keys some = {.rsa_min = 2048, .rsa_max = 3072, .ec = {curves, 1}};
    static const struct {
        int wish, any, some;
    } rows[] = {{512, 2048, 2048},  {2048, 2048, 2048}, {2049, 3072, 3072},
                {3072, 3072, 3072}, {4096, 4096, 3072}, {8192, 4096, 3072}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct spki wish = {.kind = SPKI_RSA, .bits = rows[i].wish};
        check_plan(&any, &wish, rows[i].any, NULL);
        check_plan(&some, &wish, rows[i].some, NULL);
        check_plan(&none, &wish, 0, NULL);
    }
    check_plan(&any, &(struct spki){.kind = SPKI_EC, .curve = "P-521"}, 0, "P-521");
    check_plan(&any, &(struct spki){.kind = SPKI_EC, .curve = "secp256k1"}, 0, NULL);
    check_plan(&some, &(struct spki){.kind = SPKI_EC, .curve = "P-384"}, 0, "P-384");
    check_plan(&some, &(struct spki){.kind = SPKI_EC, .curve = "P-256"}, 0, NULL);
    check_plan(&any, &(struct spki){.kind = SPKI_ED25519}, 0, NULL);
    check_plan(&any, &(struct spki){.kind = SPKI_OTHER}, 0, NULL);
}

/* A CSR for a new key holds subject and extensions of the wish, but for its key identifier, and
 * none of its attributes; it proves possession of the new key. */
static void test_csr(void **state)
{
    static const char *const extensions[] = {"subjectKeyIdentifier", "01:02:03", NULL};
    static const struct keygen_plan plans[] = {{.kind = SPKI_RSA, .bits = 2048},
                                               {.kind = SPKI_EC, .curve = "P-256"},
                                               {.kind = SPKI_EC, .curve = "P-521"},
                                               {.kind = SPKI_ED25519}};
    struct make_spec spec = {.subject = "CN=r1,O=Example",
                             .sans = "DNS:a,IP:10.0.0.1",
                             .eku = "clientAuth",
                             .challenge = "secret",
                             .extensions = extensions};
    EVP_PKEY *own = make_ec("P-256");
    struct csr *wish = make_csr(&spec, own);
    (void)state;
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        EVP_PKEY *key = NULL;
        struct csr *csr;
        struct err err;
        assert_true(keygen_key(&plans[i], &key, &err));
        assert_true(keygen_csr(wish, key, &csr, &err));
        assert_true(csr_pop_check(csr, &err));
        assert_int_equal(csr_spki_get(csr)->kind, plans[i].kind);
        assert_true(EVP_PKEY_eq(csr_spki_get(csr)->key, key) == 1);
        assert_true(names_subject_equal(csr_names_get(csr), csr_names_get(wish)));
        assert_true(names_san_equal(csr_names_get(csr), csr_names_get(wish)));
        assert_false(csr_challenge_has(csr));
        assert_non_null(csr_attribute_get(csr, 0)); /* extensionRequest */
        assert_null(csr_attribute_get(csr, 1));
        assert_int_equal(X509v3_get_ext_by_NID(csr_extensions_get(csr), NID_ext_key_usage, -1) >= 0,
                         1);
        assert_int_equal(
            X509v3_get_ext_by_NID(csr_extensions_get(csr), NID_subject_key_identifier, -1), -1);
        csr_free(csr);
        EVP_PKEY_free(key);
    }
    csr_free(wish);
    EVP_PKEY_free(own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_signature_ignored, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_lost_reply, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_superseded, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_spent, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_pending, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_pending_lost, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_idle, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_not_idle, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_idle_unknown, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_long_pending, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_never_sent_repeated, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_never_sent, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_renewal, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_apart, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_refused, world_setup, world_teardown),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_csr),
        cmocka_unit_test_setup_teardown(test_share, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
