#include "tests/support/ra_world.h"

#include "base/text.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The CA */

static bool fake_prepare(struct upstream *up, const struct up_order *order, struct buf *handle,
                         struct err *err)
{
    struct fake_ca *ca = (struct fake_ca *)up;
    ca->prepared++;
    if (ca->prepare_fails)
        return err_set(err, ERR_UPSTREAM, "no handle today");
    return buf_add_fmt(handle, HANDLE "%s", order->request_id);
}

/* "DNS:a,IP:10.0.0.1" */
static char *sans_of(const struct names *names)
{
    static const char *const kinds[SAN_KIND_COUNT] = {"DNS", "IP", "email", "URI", "?"};
    struct buf text = {0};
    for (size_t i = 0; i < names->san_count; i++)
        assert_true(buf_add_fmt(&text, "%s%s:%s", i ? "," : "", kinds[names->sans[i].kind],
                                names->sans[i].text));
    char *copy = text.len ? mem_strdup(buf_str(&text)) : NULL;
    buf_free(&text);
    return copy;
}

static struct cert *fake_cert(const struct fake_ca *ca, const struct csr *csr)
{
    const struct names *names = csr_names_get(csr);
    char *sans = sans_of(names);
    struct make_spec spec = {
        .subject = ca->subject ? ca->subject : names->subject_text,
        .sans = sans,
        .serial = ca->serial,
        .not_before = ca->not_before ? ca->not_before : clock_now() - 3600,
        .not_after = clock_now() + (ca->lifetime ? ca->lifetime : 90 * DAY),
    };
    struct cert *cert = make_cert(&spec, ca->key ? ca->key : csr_spki_get(csr)->key, ca->issuing,
                                  ca->world->ca_key);
    free(sans);
    return cert;
}

static enum up_result answer(const struct fake_ca *ca, enum up_result result, const struct csr *csr,
                             struct up_reply *reply)
{
    reply->retry_after = ca->retry_after;
    if (ca->cookie)
        assert_true(buf_set(&reply->cookie, bytes_str(ca->cookie)));
    if (result == UP_ISSUED || result == UP_UNCONFIRMED)
        reply->cert = ca->same ? cert_ref(ca->same) : fake_cert(ca, csr);
    else
        snprintf(reply->reason, sizeof reply->reason, "the CA says %s", up_result_name(result));
    return result;
}

/* Requests of several threads come at the same time. */
static void remember(struct buf *last, struct bytes now)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    assert_true(buf_set(last, now));
    pthread_mutex_unlock(&mutex);
}

static enum up_result fake_submit(struct upstream *up, const struct up_order *order,
                                  struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct fake_ca *ca = (struct fake_ca *)up;
    ca->submitted++;
    assert_true(deadline > clock_mono_ms());
    if (ca->sleep_ms)
        usleep(ca->sleep_ms * 1000);
    else
        remember(&ca->last_handle, handle);
    enum up_result result = answer(ca, ca->submit, order->csr, reply);
    if (ca->hook)
        ca->hook(ca->world, order->request_id);
    return result;
}

static enum up_result fake_poll(struct upstream *up, const struct up_order *order,
                                struct bytes cookie, int64_t deadline, struct up_reply *reply)
{
    struct fake_ca *ca = (struct fake_ca *)up;
    ca->polled++;
    assert_true(deadline > clock_mono_ms());
    remember(&ca->last_cookie, cookie);
    return answer(ca, ca->poll, order->csr, reply);
}

static enum up_result fake_recover(struct upstream *up, const struct up_order *order,
                                   struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    struct fake_ca *ca = (struct fake_ca *)up;
    ca->recovered++;
    assert_true(deadline > clock_mono_ms());
    remember(&ca->last_handle, handle);
    return answer(ca, ca->recover, order->csr, reply);
}

static enum up_result fake_confirm(struct upstream *up, struct bytes cookie, bool accept,
                                   int64_t deadline, struct err *err)
{
    struct fake_ca *ca = (struct fake_ca *)up;
    struct store *store = ca->world->store;
    int64_t counts[TXN_STATE_COUNT];
    assert_true(deadline > clock_mono_ms());
    remember(&ca->last_cookie, cookie);
    assert_true(store->vt->request_counts(store, counts, err));
    ca->recorded_first = counts[TXN_ISSUED] == 1;
    if (accept)
        ca->accepted++;
    else
        ca->rejected++;
    if (ca->confirm != UP_ISSUED)
        err_set(err, ERR_UPSTREAM, "no confirmation today");
    return ca->confirm;
}

static bool fake_chain(struct upstream *up, const struct cfg_certs **ret, struct err *err)
{
    (void)err;
    *ret = &((struct fake_ca *)up)->chain;
    return true;
}

static const struct upstream_vt fake_vt = {
    .type = "fake",
    .caps = UP_RECOVER | UP_PENDINGS | UP_CONFIRM,
    .prepare = fake_prepare,
    .submit = fake_submit,
    .poll = fake_poll,
    .recover = fake_recover,
    .confirm = fake_confirm,
    .chain = fake_chain,
};

static void ca_open(struct world *w, size_t at)
{
    static char *const names[WORLD_CAS] = {"first", "second"};
    struct fake_ca *ca = &w->ca[at];
    struct make_spec spec = {
        .subject = "CN=issuing",
        .ca = true,
        .not_before = NOW - 3650 * DAY,
        .not_after = NOW + 3650 * DAY,
    };
    struct err err;
    ca->vt = fake_vt;
    ca->base = (struct upstream){.vt = &ca->vt, .name = names[at]};
    ca->world = w;
    ca->issuing = make_x509(&spec, w->ca_key, w->root, w->root_key);
    assert_true(cert_from_x509(ca->issuing, &ca->issuing_cert, &err));
    ca->chain = (struct cfg_certs){&ca->issuing_cert, 1};
    w->conf[at].name = names[at];
    w->upstreams[at] = &ca->base;
}

/* The world */

static void profile_open(struct world *w, size_t at)
{
    static char *const names[WORLD_PROFILES] = {"a", "b"};
    static char *globs[] = {"*"};
    w->routes[at].upstream = at;
    w->profiles[at] = (struct cfg_profile){
        .name = names[at],
        .routes = &w->routes[at],
        .route_count = 1,
        .trust = trust_new(&w->root_cert, 1),
        .keys.any = true,
        .san_given = true,
        .san = {.dns = {globs, 1}, .max = 4},
        .retry_window = DAY,
        .challenge = {.kinds = {true, true}, .fixed = &w->fixed, .fixed_count = 1},
    };
}

int world_setup(void **state)
{
    struct world *w = mem_zalloc(sizeof *w);
    struct make_spec root = {
        .subject = "CN=root",
        .ca = true,
        .not_before = NOW - 3650 * DAY,
        .not_after = NOW + 3650 * DAY,
    };
    struct err err;
    clock_set(NOW);
    make_dir(w->dir);
    snprintf(w->url, sizeof w->url, "sqlite:%s/ra.db", w->dir);
    w->root_key = make_ec("P-256");
    w->ca_key = make_ec("P-256");
    w->key = make_ec("P-256");
    w->other_key = make_ec("P-256");
    w->root = make_x509(&root, w->root_key, NULL, NULL);
    assert_true(cert_from_x509(w->root, &w->root_cert, &err));
    assert_true(buf_set(&w->fixed, bytes_str(FIXED_CHALLENGE)));
    for (size_t i = 0; i < WORLD_CAS; i++)
        ca_open(w, i);
    for (size_t i = 0; i < WORLD_PROFILES; i++)
        profile_open(w, i);
    w->cfg = (struct cfg){.upstreams = w->conf,
                          .upstream_count = WORLD_CAS,
                          .profiles = w->profiles,
                          .profile_count = WORLD_PROFILES};
    w->settings = (struct ra_settings){.count = 1, .cfg = &w->cfg, .upstreams = w->upstreams};
    world_restart(w);
    *state = w;
    return 0;
}

int world_teardown(void **state)
{
    struct world *w = *state;
    EVP_PKEY *keys[] = {w->root_key, w->ca_key, w->key, w->other_key};
    assert_true(ra_free(w->ra));
    store_close(w->store);
    for (size_t i = 0; i < WORLD_CAS; i++) {
        X509_free(w->ca[i].issuing);
        cert_free(w->ca[i].issuing_cert);
        cert_free(w->ca[i].same);
        buf_free(&w->ca[i].last_handle);
        buf_free(&w->ca[i].last_cookie);
    }
    for (size_t i = 0; i < WORLD_PROFILES; i++)
        trust_free(w->profiles[i].trust);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        EVP_PKEY_free(keys[i]);
    X509_free(w->root);
    cert_free(w->root_cert);
    buf_free(&w->fixed);
    make_dir_remove(w->dir);
    free(w);
    clock_set(0);
    return 0;
}

void world_restart(struct world *w)
{
    struct err err = {0};
    assert_true(ra_free(w->ra));
    store_close(w->store);
    if (!store_open(w->url, true, &w->store, &err))
        fail_msg("%s", err.text);
    w->ra = ra_new(w->store, NULL);
}

/* Requests */

struct ra_request world_request(const struct world *w, const struct csr *csr)
{
    return (struct ra_request){
        .settings = &w->settings,
        .profile = &w->profiles[0],
        .op = RA_ENROLL,
        .csr = csr,
        .origin = "192.0.2.1",
    };
}

struct ra_request world_enroll(const struct world *w, const struct csr *csr)
{
    struct ra_request request = world_request(w, csr);
    request.evidence.challenge = bytes_str(FIXED_CHALLENGE);
    return request;
}

struct ra_request world_renew(const struct world *w, struct cert *held, const struct csr *csr)
{
    struct ra_request request = world_request(w, csr);
    request.op = RA_RENEW;
    request.evidence.holder = held;
    return request;
}

struct csr *world_csr(const char *subject, const char *sans, EVP_PKEY *key)
{
    return make_csr(&(struct make_spec){.subject = subject, .sans = sans}, key);
}

struct cert *world_signer(const char *subject, EVP_PKEY *key)
{
    return make_cert(&(struct make_spec){.subject = subject}, key, NULL, NULL);
}

struct ra_outcome world_submit(const struct world *w, const struct ra_request *request)
{
    struct ra_outcome outcome;
    struct err err = {0};
    if (!ra_submit(w->ra, request, &outcome, &err))
        fail_msg("could not decide: %s", err.text);
    return outcome;
}

struct cert *world_issue(const struct world *w, const struct ra_request *request)
{
    struct ra_outcome outcome = world_submit(w, request);
    if (outcome.status != RA_ISSUED)
        fail_msg("not issued: %s: %s", ra_reason_name(outcome.reason), outcome.detail);
    assert_int_equal(outcome.reason, RA_OK);
    assert_int_equal(strlen(outcome.request_id), RA_ID_LEN);
    assert_non_null(outcome.cert);
    struct cert *cert = cert_ref(outcome.cert);
    ra_outcome_clear(&outcome);
    return cert;
}

struct cert *world_enrolled(const struct world *w, const struct csr *csr)
{
    struct ra_request request = world_enroll(w, csr);
    return world_issue(w, &request);
}

void world_refused(const struct world *w, const struct ra_request *request, enum ra_reason reason)
{
    struct ra_outcome outcome = world_submit(w, request);
    if (outcome.status != RA_REFUSED || outcome.reason != reason)
        fail_msg("not refused with %s: status %d, %s: %s", ra_reason_name(reason), outcome.status,
                 ra_reason_name(outcome.reason), outcome.detail);
    assert_null(outcome.cert);
    assert_true(outcome.detail[0]);
    ra_outcome_clear(&outcome);
}

void world_pending(const struct world *w, const struct ra_request *request, char id[RA_ID_LEN + 1])
{
    struct ra_outcome outcome = world_submit(w, request);
    if (outcome.status != RA_PENDING)
        fail_msg("not pending: %s: %s", ra_reason_name(outcome.reason), outcome.detail);
    assert_int_equal(outcome.reason, RA_OK);
    assert_null(outcome.cert);
    assert_in_range(outcome.retry_after, 5, 3600);
    assert_int_equal(strlen(outcome.request_id), RA_ID_LEN);
    memcpy(id, outcome.request_id, RA_ID_LEN + 1);
    ra_outcome_clear(&outcome);
}

size_t world_sweep(const struct world *w)
{
    struct err err = {0};
    size_t moved = 0;
    if (!ra_sweep(w->ra, &w->settings, &moved, &err))
        fail_msg("%s", err.text);
    return moved;
}

/* The store */

struct store_request world_row(const struct world *w, const char *id)
{
    struct store_request row;
    struct err err = {0};
    assert_true(w->store->vt->request_by_id(w->store, id, &row, &err));
    assert_string_equal(row.id, id);
    return row;
}

void world_state(const struct world *w, const char *id, enum txn_state state)
{
    struct store_request row = world_row(w, id);
    assert_string_equal(txn_state_name(row.state), txn_state_name(state));
    store_request_clear(&row);
}

static bool any_cert(const struct store_cert *cert, void *arg)
{
    (void)cert;
    ++*(int *)arg;
    return true;
}

struct store_cert world_held(const struct world *w, const struct cert *cert)
{
    struct store_cert row = {0};
    struct err err = {0};
    bool found;
    assert_true(w->store->vt->cert_find(w->store, cert_fingerprint_get(cert), &row, &found, &err));
    assert_true(found);
    return row;
}

void world_revoke(const struct world *w, const struct cert *cert, int reason)
{
    struct store_cert row = world_held(w, cert);
    struct audit_event event = {.event = "revoked"};
    struct store_revoke in = {row.fingerprint, reason, &event};
    struct err err = {0};
    bool found;
    assert_true(w->store->vt->cert_revoke(w->store, &in, &found, &err));
    assert_true(found);
    store_cert_clear(&row);
}

int world_inventory(const struct world *w)
{
    struct store_filter filter = {.limit = 0};
    struct err err = {0};
    int count = 0;
    assert_true(w->store->vt->cert_list(w->store, &filter, any_cert, &count, &err));
    return count;
}

int64_t world_requests(const struct world *w)
{
    int64_t counts[TXN_STATE_COUNT], sum = 0;
    struct err err = {0};
    assert_true(w->store->vt->request_counts(w->store, counts, &err));
    for (size_t i = 0; i < TXN_STATE_COUNT; i++)
        sum += counts[i];
    return sum;
}

struct audited {
    char needle[80];
    unsigned count;
};

static bool count_event(const struct audit_record *record, void *arg)
{
    struct audited *audited = arg;
    audited->count += strstr(record->text, audited->needle) != NULL;
    return true;
}

unsigned world_audited(const struct world *w, const char *event)
{
    struct audited audited = {.count = 0};
    struct err err = {0};
    snprintf(audited.needle, sizeof audited.needle, "\"event\":\"%s\"", event);
    assert_true(w->store->vt->audit_walk(w->store, count_event, &audited, &err));
    return audited.count;
}

bool world_same_cert(const struct cert *a, const struct cert *b)
{
    return bytes_equal(cert_der_get(a), cert_der_get(b));
}

void world_mint(const struct world *w, const char *subject, char out[CHALLENGE_LEN + 1])
{
    struct challenge_mint mint = {
        .profile = &w->profiles[0], .subject = subject, .ttl = 3600, .uses = 1};
    struct err err = {0};
    if (!challenge_create(w->store, &mint, out, &err))
        fail_msg("%s", err.text);
}

void world_left_behind(const struct world *w, const struct csr *csr, char id[RA_ID_LEN + 1])
{
    struct ra_request request = world_enroll(w, csr);
    struct store_request row = {.state = TXN_ORDERED, .attempt = 1, .created = clock_now()};
    struct audit_event event = {.event = "ordered"};
    struct store_order order = {.request = &row, .retry_window = DAY, .audit = &event};
    enum store_order_result result;
    uint8_t noise[RA_ID_LEN / 2];
    char existing[RA_ID_LEN + 1];
    struct err err = {0};
    assert_int_equal(RAND_bytes(noise, sizeof noise), 1);
    text_hex(bytes_of(noise, sizeof noise), row.id);
    snprintf(row.profile, sizeof row.profile, "%s", request.profile->name);
    snprintf(row.upstream, sizeof row.upstream, "%s", w->ca[0].base.name);
    assert_true(buf_add_fmt(&row.handle, HANDLE "%s", row.id));
    assert_true(buf_set(&row.csr, csr_der_get(csr)));
    assert_true(ra_request_dedup(&request, NULL, row.dedup, &err));
    assert_true(ra_request_prover(&request, row.prover));
    if (!w->store->vt->order(w->store, &order, &result, existing, &err))
        fail_msg("%s", err.text);
    assert_int_equal(result, STORE_ORDERED);
    memcpy(id, row.id, sizeof row.id);
    store_request_clear(&row);
}
