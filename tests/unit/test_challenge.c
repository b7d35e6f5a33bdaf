#include "tests/support/ra_world.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

/* A verdict, which must be reached. */
static struct challenge_verdict judge(const struct world *w, const struct ra_request *request)
{
    struct challenge_verdict verdict;
    struct err err = {0};
    if (!challenge_judge(w->store, request, &verdict, &err))
        fail_msg("%s", err.text);
    assert_true(verdict.accepted == !verdict.detail[0]);
    return verdict;
}

/* text NULL: accepted. */
static void check(const struct world *w, const struct ra_request *request, const char *text)
{
    struct challenge_verdict verdict = judge(w, request);
    if (verdict.accepted != !text || (text && !strstr(verdict.detail, text)))
        fail_msg("\"%s\" instead of \"%s\"", verdict.detail, text ? text : "accepted");
}

static bool mint(const struct world *w, const struct challenge_mint *in,
                 char out[CHALLENGE_LEN + 1], struct err *err)
{
    struct challenge_mint full = *in;
    if (!full.profile)
        full.profile = &w->profiles[0];
    if (!full.ttl)
        full.ttl = 3600;
    if (!full.uses)
        full.uses = 1;
    return challenge_create(w->store, &full, out, err);
}

/* A minted challenge bound to names, and what becomes of a CSR that carries it. */
#define BOUND(subject_, sans_, count_)                                                             \
    (struct challenge_mint)                                                                        \
    {                                                                                              \
        .subject = (subject_), .sans = (sans_), .san_count = (count_)                              \
    }

static void check_bound(const struct world *w, struct challenge_mint in, struct csr *csr,
                        const char *text)
{
    struct ra_request request = world_request(w, csr);
    char secret[CHALLENGE_LEN + 1];
    struct err err = {0};
    if (!mint(w, &in, secret, &err))
        fail_msg("%s", err.text);
    request.evidence.challenge = bytes_str(secret);
    check(w, &request, text);
    csr_free(csr);
}

/* Any of the fixed secrets is accepted, none that is a little different, and never an empty one. */
static void test_fixed(void **state)
{
    struct world *w = *state;
    struct buf secrets[2] = {{0}, {0}};
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_request(w, csr);
    struct cfg_challenge *conf = &w->profiles[0].challenge;
    assert_true(buf_set(&secrets[0], bytes_str("old secret")));
    assert_true(buf_set(&secrets[1], bytes_str("new secret")));
    conf->fixed = secrets;
    conf->fixed_count = 2;
    static const struct {
        const char *secret, *text;
    } rows[] = {
        {"old secret", NULL},
        {"new secret", NULL},
        {"new secre", "the profile knows no such challenge"},
        {"new secret ", "the profile knows no such challenge"},
        {"New secret", "the profile knows no such challenge"},
        {"old secretnew secret", "the profile knows no such challenge"},
        {"", "there is no challenge"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        request.evidence.challenge = bytes_str(rows[i].secret);
        check(w, &request, rows[i].text);
        assert_false(judge(w, &request).spends);
    }
    /* An empty line of the file of secrets opens nothing. */
    buf_clear(&secrets[1]);
    request.evidence.challenge = bytes_str("");
    check(w, &request, "there is no challenge");
    buf_free(&secrets[0]);
    buf_free(&secrets[1]);
    csr_free(csr);
}

/* A kind that the profile does not have is not asked. */
static void test_kinds(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_enroll(w, csr);
    bool *kinds = w->profiles[0].challenge.kinds;
    char secret[CHALLENGE_LEN + 1];
    world_mint(w, NULL, secret);
    kinds[CFG_CHALLENGE_FIXED] = false;
    check(w, &request, "the profile knows no such challenge");
    request.evidence.challenge = bytes_str(secret);
    check(w, &request, NULL);
    kinds[CFG_CHALLENGE_FIXED] = true;
    kinds[CFG_CHALLENGE_ONE_TIME] = false;
    check(w, &request, "the profile knows no such challenge");
    request.evidence.challenge = bytes_str(FIXED_CHALLENGE);
    check(w, &request, NULL);
    kinds[CFG_CHALLENGE_FIXED] = false;
    check(w, &request, "the profile knows no such challenge");
    csr_free(csr);
}

/* A minted challenge is 20 characters of A-Z and 2-7, a new one each time, and the store does not
 * hold it. */
static void test_secret(void **state)
{
    struct world *w = *state;
    char first[CHALLENGE_LEN + 1], second[CHALLENGE_LEN + 1];
    struct store_challenge row = {0};
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct err err = {0};
    bool found;
    world_mint(w, "CN=r1", first);
    world_mint(w, "CN=r1", second);
    assert_int_equal(strlen(first), CHALLENGE_LEN);
    assert_int_equal(strspn(first, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), CHALLENGE_LEN);
    assert_string_not_equal(first, second);
    SHA256((const uint8_t *)first, CHALLENGE_LEN, digest);
    assert_true(w->store->vt->challenge_find(w->store, digest, &row, &found, &err));
    assert_true(found);
    assert_string_equal(row.profile, "a");
    assert_string_equal(row.subject, "CN=r1");
    assert_string_equal(row.sans, "");
    assert_int_equal(row.created, NOW);
    assert_int_equal(row.expires, NOW + 3600);
    assert_int_equal(row.uses_left, 1);
    assert_int_equal(world_audited(w, "challenge-created"), 2);
}

/* An unbound challenge is good for any names, until it expires, and it says what to spend. */
static void test_one_time(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=anything", "DNS:a,DNS:b", w->key);
    struct ra_request request = world_request(w, csr);
    char secret[CHALLENGE_LEN + 1];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    world_mint(w, NULL, secret);
    request.evidence.challenge = bytes_str(secret);
    struct challenge_verdict verdict = judge(w, &request);
    assert_true(verdict.accepted && verdict.known && verdict.spends);
    SHA256((const uint8_t *)secret, CHALLENGE_LEN, digest);
    assert_memory_equal(verdict.digest, digest, sizeof digest);
    check(w, &request, NULL); /* judging spends nothing */

    clock_set(NOW + 3599);
    check(w, &request, NULL);
    clock_set(NOW + 3600);
    check(w, &request, "expired");
    assert_true(judge(w, &request).known);
    clock_set(NOW);

    secret[0] = secret[0] == 'A' ? 'B' : 'A';
    verdict = judge(w, &request);
    assert_false(verdict.known);
    assert_non_null(strstr(verdict.detail, "the profile knows no such challenge"));
    assert_null(strstr(verdict.detail, secret));
    csr_free(csr);
}

/* A challenge of one profile is unknown to another. */
static void test_other_profile(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key);
    struct ra_request request = world_request(w, csr);
    char secret[CHALLENGE_LEN + 1];
    world_mint(w, NULL, secret);
    request.evidence.challenge = bytes_str(secret);
    request.profile = &w->profiles[1];
    check(w, &request, "the profile knows no such challenge");
    assert_false(judge(w, &request).known);
    csr_free(csr);
}

/* A challenge with two uses is good for two certificates and not for three. */
static void test_uses(void **state)
{
    struct world *w = *state;
    struct challenge_mint in = {.uses = 2};
    char secret[CHALLENGE_LEN + 1];
    struct err err = {0};
    assert_true(mint(w, &in, secret, &err));
    for (int i = 0; i < 3; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "CN=r%d", i);
        struct csr *csr = world_csr(subject, NULL, w->key);
        struct ra_request request = world_request(w, csr);
        request.evidence.challenge = bytes_str(secret);
        if (i < 2) {
            check(w, &request, NULL);
            cert_free(world_issue(w, &request));
        } else {
            check(w, &request, "has been used");
            assert_true(judge(w, &request).known);
        }
        csr_free(csr);
    }
}

/* A challenge that is bound to names is good for these and for no others. */
static void test_bound(void **state)
{
    struct world *w = *state;
    static const char *const sans[] = {"a.example", "dns:b.example", "10.0.0.1"};
    EVP_PKEY *key = w->key;
    check_bound(w, BOUND("CN=r1,O=x", NULL, 0), world_csr("CN=r1,O=x", NULL, key), NULL);
    check_bound(w, BOUND("CN=r1,O=x", NULL, 0), world_csr("CN=R1,O=X", NULL, key),
                "the challenge is for");
    check_bound(w, BOUND("CN=r1", NULL, 0), world_csr("CN=r2", NULL, key),
                "for \"CN=r1\", the CSR for");
    check_bound(w, BOUND("CN=r1", NULL, 0), world_csr("CN=r1,OU=y", NULL, key), "CN=r1,OU=y");
    check_bound(w, BOUND("CN=r1", NULL, 0), world_csr("CN=r1", "DNS:a", key),
                "for no SAN, the CSR has dns:a");

    check_bound(w, BOUND("CN=r1", sans, 3),
                world_csr("CN=r1", "IP:10.0.0.1,DNS:B.example,DNS:a.example", key), NULL);
    check_bound(w, BOUND("CN=r1", sans, 3), world_csr("CN=r1", "DNS:a.example,DNS:b.example", key),
                "for the SANs dns:a.example,dns:b.example,ip:10.0.0.1, the CSR has "
                "dns:a.example,dns:b.example");
    check_bound(w, BOUND("CN=r1", sans, 1), world_csr("CN=r1", NULL, key),
                "for the SANs dns:a.example, the CSR has none");
    check_bound(w, BOUND("CN=r1", sans, 1), world_csr("CN=r2", "DNS:a.example", key),
                "the CSR for");
    check_bound(w, BOUND("CN=r1", sans, 1), world_csr("CN=r1", "DNS:a.example,DNS:c", key),
                "the CSR has dns:a.example,dns:c");
    check_bound(w, BOUND("CN=r1", sans, 1), world_csr("CN=r1", "email:a.example", key),
                "the CSR has email:a.example");

    /* SANs alone leave the subject to policy. */
    check_bound(w, BOUND(NULL, sans, 1), world_csr("CN=whoever", "DNS:a.example", key), NULL);
    check_bound(w, BOUND("", sans, 1), world_csr("CN=whoever", "DNS:b.example", key),
                "the CSR has dns:b.example");
    check_bound(w, BOUND("CN=a\\,b", NULL, 0), world_csr("CN=a\\,b", NULL, key), NULL);
    check_bound(w, BOUND("CN=a\\,b", NULL, 0), world_csr("CN=a", NULL, key), "the CSR for");
}

/* On EST the user name must be the device that the challenge is for; unbound it may be anything. */
static void test_user(void **state)
{
    struct world *w = *state;
    static const char *const sans[] = {"a.example"};
    static const struct {
        const char *user, *text;
    } rows[] = {{"r1", NULL},
                {"a.example", NULL},
                {"", NULL},
                {"r2", "the user name is not the device"},
                {"CN=r1", "the user name is not"},
                {"r", "the user name is not"}};
    struct challenge_mint in = {.subject = "CN=r1", .sans = sans, .san_count = 1};
    struct csr *csr = world_csr("CN=r1", "DNS:a.example", w->key);
    struct ra_request request = world_request(w, csr);
    char bound[CHALLENGE_LEN + 1], any[CHALLENGE_LEN + 1];
    struct err err = {0};
    assert_true(mint(w, &in, bound, &err));
    world_mint(w, NULL, any);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        request.evidence.user = bytes_str(rows[i].user);
        request.evidence.challenge = bytes_str(bound);
        check(w, &request, rows[i].text);
        request.evidence.challenge = bytes_str(any);
        check(w, &request, NULL);
    }
    csr_free(csr);
}

/* What cannot be a challenge is not minted: names that nobody could ask for, no time, no use, a
 * profile that takes none. */
static void test_not_minted(void **state)
{
    struct world *w = *state;
    static const char *const empty[] = {""}, *const bad_ip[] = {"ip:10.0.0"};
    static const char *const comma[] = {"uri:http://x/a,b"};
    static char long_name[2048];
    memset(long_name, 'a', sizeof long_name - 1);
    for (size_t i = 0; i < 3; i++)
        long_name[i] = "CN="[i];
    const struct {
        struct challenge_mint in;
        const char *text;
    } rows[] = {
        {{.subject = "r1"}, "r1"},
        {{.subject = "CN="}, "CN="},
        {{.subject = "XX=1"}, "XX=1"},
        {{.subject = long_name}, ""},
        {{.sans = empty, .san_count = 1}, ""},
        {{.sans = bad_ip, .san_count = 1}, "10.0.0"},
        {{.sans = comma, .san_count = 1}, "comma"},
        {{.ttl = -1}, "positive"},
        {{.uses = -1}, "positive"},
    };
    char secret[CHALLENGE_LEN + 1];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err = {0};
        if (mint(w, &rows[i].in, secret, &err))
            fail_msg("row %zu is minted", i);
        assert_int_equal(err.kind, ERR_PEER);
        if (!strstr(err.text, rows[i].text))
            fail_msg("row %zu: \"%s\"", i, err.text);
    }
    struct err err = {0};
    w->profiles[0].challenge.kinds[CFG_CHALLENGE_ONE_TIME] = false;
    assert_false(mint(w, &(struct challenge_mint){.uses = 1}, secret, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.text, "\"a\""));
    assert_int_equal(world_audited(w, "challenge-created"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

/* One that an upstream CA handed out authorizes like one of ours, bound alike; it is stored once.
 */
static void test_given(void **state)
{
    struct world *w = *state;
    struct csr *csr = world_csr("CN=r1", NULL, w->key), *other = world_csr("CN=r2", NULL, w->key);
    struct challenge_mint in = {.given = bytes_str("1ED0DD50F7459D6E"), .subject = "CN=r1"};
    struct ra_request request = world_request(w, csr), foreign = world_request(w, other);
    char out[CHALLENGE_LEN + 1] = "x";
    struct err err = {0};
    request.evidence.challenge = foreign.evidence.challenge = in.given;
    check(w, &request, "the profile knows no such challenge");
    if (!mint(w, &in, out, &err))
        fail_msg("%s", err.text);
    assert_string_equal(out, "");
    check(w, &request, NULL);
    check(w, &foreign, "the challenge is for");
    in.subject = NULL;
    assert_false(mint(w, &in, out, &err));
    assert_int_equal(err.kind, ERR_UPSTREAM);
    check(w, &foreign, "the challenge is for");
    csr_free(csr);
    csr_free(other);
}

/* The bound name counts as it is spelled, whatever RFC 5280 takes for the same; not the string
 * type.
 */
static void test_spelling(void **state)
{
    struct world *w = *state;
    static const char *const others[] = {"CN=Admin", "CN=ADMIN", "CN=\\ admin", "CN=admin,O=x"};
    check_bound(w, BOUND("CN=admin", NULL, 0), world_csr("CN=admin", NULL, w->key), NULL);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        check_bound(w, BOUND("CN=admin", NULL, 0), world_csr(others[i], NULL, w->key),
                    "the challenge is for");
    check_bound(w, BOUND("CN=a b", NULL, 0), world_csr("CN=a  b", NULL, w->key),
                "the challenge is for");
}

/* What becomes of a request with this challenge for that subject. */
static struct ra_outcome submit_for(const struct world *w, const char *secret, const char *subject)
{
    struct csr *csr = world_csr(subject, NULL, w->key);
    struct ra_request request = world_request(w, csr);
    request.evidence.challenge = bytes_str(secret);
    struct ra_outcome outcome = world_submit(w, &request);
    csr_free(csr);
    return outcome;
}

static void assert_refused_for(const struct world *w, const char *secret, const char *subject,
                               const char *text)
{
    struct ra_outcome outcome = submit_for(w, secret, subject);
    assert_int_equal(outcome.status, RA_REFUSED);
    assert_int_equal(outcome.reason, RA_BAD_CHALLENGE);
    if (!strstr(outcome.detail, text))
        fail_msg("\"%s\" instead of \"%s\"", outcome.detail, text);
    ra_outcome_clear(&outcome);
}

/* Whoever tries names with a challenge that he has is stopped after a few, and the trail says so;
 * the right name comes too late then. One who repeats himself, or is one short of it, is not. */
static void test_misses(void **state)
{
    struct world *w = *state;
    char guessed[CHALLENGE_LEN + 1], honest[CHALLENGE_LEN + 1];
    w->profiles[0].challenge.mismatches = 3;
    world_mint(w, "CN=r1", guessed);
    world_mint(w, "CN=r2", honest);
    for (int i = 0; i < 9; i++)
        assert_refused_for(w, honest, i % 2 ? "CN=wrong" : "CN=Wrong", "the challenge is for");
    assert_refused_for(w, guessed, "CN=a", "the challenge is for");
    assert_refused_for(w, guessed, "CN=b", "the challenge is for");
    assert_int_equal(world_audited(w, "challenge-burnt"), 0);
    assert_refused_for(w, guessed, "CN=c", "spent now");
    assert_int_equal(world_audited(w, "challenge-burnt"), 1);
    assert_refused_for(w, guessed, "CN=d", "too many names");
    assert_refused_for(w, guessed, "CN=r1", "too many names");
    assert_int_equal(world_audited(w, "challenge-burnt"), 1);
    assert_int_equal(w->ca[0].submitted, 0);

    struct ra_outcome outcome = submit_for(w, honest, "CN=r2");
    assert_int_equal(outcome.status, RA_ISSUED);
    ra_outcome_clear(&outcome);
}

/* So is one who has a certificate besides, where both are needed. */
static void test_misses_both(void **state)
{
    static const char *const subjects[] = {"CN=a", "CN=b", "CN=r1"};
    struct world *w = *state;
    char secret[CHALLENGE_LEN + 1];
    const struct make_spec spec = {
        .subject = "CN=registrar", .not_before = NOW - DAY, .not_after = NOW + DAY};
    struct cert *registrar = make_cert(&spec, w->other_key, NULL, NULL);
    w->profiles[0].challenge.mismatches = 2;
    w->profiles[0].registrars = (struct cfg_certs){&registrar, 1};
    world_mint(w, "CN=r1", secret);
    for (unsigned i = 0; i < 3; i++) {
        struct csr *csr = world_csr(subjects[i], NULL, w->key);
        struct ra_request request = world_request(w, csr);
        request.evidence.holder = registrar;
        request.evidence.both = true;
        request.evidence.challenge = bytes_str(secret);
        world_refused(w, &request, RA_BAD_CHALLENGE);
        csr_free(csr);
        assert_int_equal(world_audited(w, "challenge-burnt"), i > 0);
    }
    w->profiles[0].registrars = (struct cfg_certs){0};
    cert_free(registrar);
}

/* Who has no challenge spends none: neither with one that is a little different, nor with one of
 * another profile, nor with one whose time is over. 0 lets everybody go on. */
static void test_no_misses(void **state)
{
    struct world *w = *state;
    char secret[CHALLENGE_LEN + 1], near[CHALLENGE_LEN + 1];
    w->profiles[0].challenge.mismatches = w->profiles[1].challenge.mismatches = 1;
    world_mint(w, "CN=r1", secret);
    memcpy(near, secret, sizeof near);
    near[0] = near[0] == 'A' ? 'B' : 'A';
    assert_refused_for(w, near, "CN=a", "the profile knows no such challenge");
    struct csr *csr = world_csr("CN=a", NULL, w->key);
    struct ra_request request = world_request(w, csr);
    request.evidence.challenge = bytes_str(secret);
    request.profile = &w->profiles[1];
    struct ra_outcome outcome = world_submit(w, &request);
    assert_int_equal(outcome.status, RA_REFUSED);
    ra_outcome_clear(&outcome);
    csr_free(csr);
    clock_set(NOW + 3600);
    assert_refused_for(w, secret, "CN=a", "expired");
    clock_set(NOW);
    w->profiles[0].challenge.mismatches = 0;
    for (int i = 0; i < 30; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "CN=x%d", i);
        assert_refused_for(w, secret, subject, "the challenge is for");
    }
    assert_int_equal(world_audited(w, "challenge-burnt"), 0);
    outcome = submit_for(w, secret, "CN=r1");
    assert_int_equal(outcome.status, RA_ISSUED);
    ra_outcome_clear(&outcome);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fixed),         TEST(test_kinds),       TEST(test_secret),   TEST(test_one_time),
        TEST(test_other_profile), TEST(test_uses),        TEST(test_bound),    TEST(test_user),
        TEST(test_not_minted),    TEST(test_given),       TEST(test_spelling), TEST(test_misses),
        TEST(test_no_misses),     TEST(test_misses_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
