#include "ra/work.h"

#include "base/clock.h"
#include "base/permit.h"
#include "ra/prove.h"
#include "ra/retire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LEASE_SECONDS 30 /* longer than an exchange: who claims after it meets nobody */
#define EXCHANGE_SECONDS 25
#define ORPHAN_AGAIN_SECONDS 600
#define INLINE_WAIT_MS 8000
#define RETRY_AFTER_MAX 3600

/* A thread that waits for what another one does to a request. */
struct wait {
    struct link link;
    const char *id;
    pthread_cond_t cond;
    bool woken;
};

static void wait_begin(struct ra *ra, struct wait *wait, const char *id)
{
    pthread_condattr_t attr;
    *wait = (struct wait){.id = id};
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&wait->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_lock(&ra->mutex);
    link_add(&ra->waits, &wait->link);
    pthread_mutex_unlock(&ra->mutex);
}

static void wait_end(struct ra *ra, struct wait *wait)
{
    pthread_mutex_lock(&ra->mutex);
    link_drop(&wait->link);
    pthread_mutex_unlock(&ra->mutex);
    pthread_cond_destroy(&wait->cond);
}

/* True if the request was worked at since the last call, or before the time was over. */
static bool wait_until(struct ra *ra, struct wait *wait, int64_t end)
{
    struct timespec until = {.tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000};
    permit_pause();
    pthread_mutex_lock(&ra->mutex);
    while (!wait->woken && clock_mono_ms() < end)
        pthread_cond_timedwait(&wait->cond, &ra->mutex, &until);
    bool woken = wait->woken;
    wait->woken = false;
    pthread_mutex_unlock(&ra->mutex);
    permit_resume();
    return woken;
}

void work_over(void *arg, const char *id)
{
    struct ra *ra = arg;
    pthread_mutex_lock(&ra->mutex);
    for (struct link *link = ra->waits.next; link != &ra->waits; link = link->next) {
        struct wait *wait = LINK_OWNER(link, struct wait, link);
        if (strcmp(wait->id, id) == 0) {
            wait->woken = true;
            pthread_cond_signal(&wait->cond);
        }
    }
    pthread_mutex_unlock(&ra->mutex);
}

static bool has_gone(const char *id, struct err *err)
{
    return err_set(err, ERR_LOCAL, "request %s has gone from the store", id);
}

/* Seconds that one exchange with the upstream may take. */
static int64_t exchange_seconds(const struct ra_settings *settings, size_t upstream)
{
    const struct cfg_line *line = cfg_upstream_line(&settings->cfg->upstreams[upstream]);
    return line ? line->deadline : EXCHANGE_SECONDS;
}

bool ra_has_line(const struct ra_settings *settings, const char *upstream)
{
    size_t i;
    return ra_upstream_find(settings, upstream, &i) &&
           cfg_upstream_line(&settings->cfg->upstreams[i]);
}

static void tell(struct ra *ra, const char *about, const struct err *err)
{
    if (ra->told)
        ra->told(about, err);
}

static void set_deadline(struct ra_drive *drive)
{
    drive->deadline = clock_mono_ms() + exchange_seconds(drive->settings, drive->upstream) * 1000;
}

static bool drive_on(struct ra *ra, struct ra_drive *drive, struct ra_outcome *outcome,
                     struct err *err)
{
    if (!drive->deadline)
        set_deadline(drive);
    bool ok = ra_drive(drive, outcome, err) && retire_unkept(ra, drive, outcome, err);
    if (drive->said.unheard.kind != ERR_NONE)
        tell(ra, drive->row->id, &drive->said.unheard);
    return ok;
}

bool work_drive(struct ra *ra, struct ra_drive *drive, struct ra_outcome *outcome, struct err *err)
{
    bool ok = drive_on(ra, drive, outcome, err);
    work_over(ra, drive->row->id);
    return ok;
}

/* The claimed row as it is now. fresh: whoever drove it before put it back in good order, so what
 * it sent had no effect, or may be sent again. */
static bool reread(struct ra *ra, struct store_request *row, int attempt, bool *fresh,
                   struct err *err)
{
    char id[RA_ID_LEN + 1];
    *fresh = row->lease_until == 0 && attempt == row->attempt + 1;
    memcpy(id, row->id, sizeof id);
    store_request_clear(row);
    return ra->store->vt->request_by_id(ra->store, id, row, err) &&
           (row->id[0] || has_gone(id, err));
}

/* A claimed row whose profile or upstream is not configured any more waits until it is again. If a
 * dead process may have sent it, it is SUSPECT from now on: the lease that says so is given up. */
static bool put_back_orphan(struct ra *ra, const struct ra_drive *drive, struct err *err)
{
    static const char *const why = "its profile or upstream is not in the configuration any more";
    const struct store_request *row = drive->row;
    struct audit_event event = {.event = "orphaned", .request = row->id};
    struct store_move move = {
        .id = row->id,
        .attempt = row->attempt,
        .from = row->state,
        .to = row->state == TXN_ORDERED && !drive->fresh ? TXN_SUSPECT : row->state,
        .next_at = clock_now() + ORPHAN_AGAIN_SECONDS,
        .failures = row->failures + 1,
        .reason = why,
        .audit = strcmp(row->reason, why) == 0 ? NULL : &event,
    };
    enum store_write result;
    return ra->store->vt->move(ra->store, &move, &result, err);
}

bool work_claim(struct ra *ra, const struct ra_settings *settings, struct store_request *row,
                struct work_end *end, struct err *err)
{
    struct ra_drive drive = {
        .store = ra->store,
        .settings = settings,
        .profile = cfg_profile_get(settings->cfg, row->profile),
        .row = row,
    };
    struct csr *csr = NULL;
    int attempt;
    bool known = ra_upstream_find(settings, row->upstream, &drive.upstream);
    int64_t lease = LEASE_SECONDS - EXCHANGE_SECONDS;
    lease += known ? exchange_seconds(settings, drive.upstream) : EXCHANGE_SECONDS;
    if (!ra->store->vt->claim(ra->store, row->id, lease, &attempt, err))
        return false;
    end->claimed = attempt != 0;
    if (!attempt)
        return ra_outcome_of_row(settings, row, &end->outcome, err);
    if (!reread(ra, row, attempt, &drive.fresh, err))
        return false;
    if (!drive.profile || !known)
        return put_back_orphan(ra, &drive, err) &&
               ra_outcome_of_row(settings, row, &end->outcome, err);
    /* Of a request that is over only the confirmation is left, which needs no CSR. */
    bool ok = txn_is_final(row->state) || csr_parse(buf_bytes(&row->csr), &csr, err);
    drive.csr = csr;
    set_deadline(&drive);
    if (ok && retire_unsent(ra, &drive))
        ok = retire_end(ra, &drive, &end->outcome, err);
    else
        ok = ok && drive_on(ra, &drive, &end->outcome, err);
    end->said = drive.said;
    csr_free(csr);
    return ok;
}

bool work_wait(struct ra *ra, const char *id, struct store_request *row, struct err *err)
{
    int64_t end = clock_mono_ms() + INLINE_WAIT_MS;
    struct wait wait;
    bool ok, over = false;
    wait_begin(ra, &wait, id); /* before reading: a move after it wakes us */
    while ((ok = ra->store->vt->request_by_id(ra->store, id, row, err)) && row->id[0]) {
        over = over || txn_is_final(row->state) || row->lease_until <= clock_now();
        if (over)
            break;
        store_request_clear(row);
        over = !wait_until(ra, &wait, end);
    }
    wait_end(ra, &wait);
    return ok && (row->id[0] || has_gone(id, err));
}

/* At most so many threads wait, of those that serve the same connections, that others are left for
 * devices that need no waiting. */
bool work_waits_begin(struct ra *ra, const char *upstream)
{
    if (!permit_room_begin())
        return false;
    if (lines_wait_begin(ra->lines, upstream))
        return true;
    permit_room_end();
    return false;
}

void work_waits_end(struct ra *ra, const char *upstream, bool in_vain)
{
    lines_wait_end(ra->lines, upstream, in_vain);
    permit_room_end();
}

/* Whether the row was worked at while the device waited. */
static bool wait_by_line(struct ra *ra, const struct ra_settings *settings,
                         const struct store_request *row)
{
    struct wait wait;
    size_t upstream;
    bool woken = false;
    if (!ra_upstream_find(settings, row->upstream, &upstream))
        return false;
    int64_t seconds = cfg_upstream_line(&settings->cfg->upstreams[upstream])->wait;
    wait_begin(ra, &wait, row->id); /* before the line knows of it */
    if (lines_add(ra->lines, row->upstream, row->id) && work_waits_begin(ra, row->upstream)) {
        woken = wait_until(ra, &wait, clock_mono_ms() + seconds * 1000);
        work_waits_end(ra, row->upstream, !woken);
    }
    wait_end(ra, &wait);
    return woken;
}

bool work_by_line(struct ra *ra, const struct ra_settings *settings, struct store_request *row,
                  struct ra_outcome *outcome, struct err *err)
{
    bool driven = row->lease_until > clock_now();
    bool due = row->state != TXN_SUSPECT && row->state != TXN_HELD && row->next_at <= clock_now();
    if (!txn_is_final(row->state) && (due || driven) && wait_by_line(ra, settings, row)) {
        char id[RA_ID_LEN + 1];
        memcpy(id, row->id, sizeof id);
        store_request_clear(row);
        if (!ra->store->vt->request_by_id(ra->store, id, row, err))
            return false;
        if (!row->id[0])
            return has_gone(id, err);
    }
    if (!ra_outcome_of_row(settings, row, outcome, err))
        return false;
    int delay = outcome->status == RA_PENDING ? lines_delay(ra->lines, row->upstream) : 0;
    if (outcome->retry_after < delay)
        outcome->retry_after = delay < RETRY_AFTER_MAX ? delay : RETRY_AFTER_MAX;
    return true;
}

/* Of a row as it was read: whether it is time to ask the CA for it. */
static bool is_due(struct ra *ra, const struct store_request *row)
{
    bool open = !txn_is_final(row->state) && row->state != TXN_HELD;
    bool again = row->state == TXN_ORDERED && row->failures > 0;
    return row->id[0] && (open || row->confirm) && row->next_at <= clock_now() &&
           row->lease_until <= clock_now() && (!again || lines_retry(ra->lines, row->upstream));
}

enum line_result work_run(void *arg, const struct ra_settings *settings, size_t upstream,
                          const char *id, struct line_said *said)
{
    struct ra *ra = arg;
    struct store_request row = {0};
    struct work_end end = {0};
    struct err err = {0};
    (void)upstream; /* as the row says */
    bool ok = ra->store->vt->request_by_id(ra->store, id, &row, &err);
    bool due = ok && is_due(ra, &row);
    ok = ok && (!due || work_claim(ra, settings, &row, &end, &err));
    /* Who waits for it shall not wait in vain; whoever drives it wakes them otherwise. */
    said->tell = !ok || end.claimed || (!due && row.lease_until <= clock_now());
    if (!ok)
        tell(ra, id, &err);
    ra_outcome_clear(&end.outcome);
    store_request_clear(&row);
    if (end.said.result == UP_RETRY)
        said->hold = end.said.retry_after;
    if (!end.said.asked)
        return LINE_IDLE;
    return end.said.result == UP_RETRY || end.said.result == UP_UNKNOWN ? LINE_FAILED : LINE_FINE;
}

/* Written only if it is new. */
static void remember(struct ra *ra, struct upstream *up)
{
    struct buf now = {0}, before = {0};
    struct err err = {0};
    const struct store_vt *vt = ra->store->vt;
    if (up->vt->remember && up->vt->remember(up, &now)) {
        bool ok = vt->memory_get(ra->store, up->name, &before, &err);
        if (ok && !bytes_equal(buf_bytes(&now), buf_bytes(&before)))
            ok = vt->memory_set(ra->store, up->name, buf_bytes(&now), &err);
        if (!ok)
            tell(ra, up->name, &err);
    }
    buf_free(&now);
    buf_free(&before);
}

void work_recall(struct ra *ra, const struct ra_settings *settings)
{
    for (size_t i = 0; i < settings->cfg->upstream_count; i++) {
        struct upstream *up = settings->upstreams[i];
        struct buf memory = {0};
        struct err err = {0};
        if (!up->vt->recall)
            continue;
        if (!ra->store->vt->memory_get(ra->store, up->name, &memory, &err))
            tell(ra, up->name, &err);
        else if (memory.len)
            up->vt->recall(up, buf_bytes(&memory));
        buf_free(&memory);
    }
}

/* As long as a CA has not told its certificates devices cannot be told them, and may not come. */
static bool must_know(struct upstream *up)
{
    const struct cfg_certs *chain;
    struct err ignored;
    return up->vt->chain && !up->vt->chain(up, &chain, &ignored);
}

bool work_probe(void *arg, const struct ra_settings *settings, size_t upstream, int *hold,
                bool *again)
{
    struct upstream *up = settings->upstreams[upstream];
    int64_t deadline = clock_mono_ms() + exchange_seconds(settings, upstream) * 1000;
    struct err err = {0};
    struct ra *ra = arg;
    bool fine = !up->vt->health || up->vt->health(up, deadline, &err);
    if (fine)
        remember(ra, up);
    else
        tell(ra, up->name, &err);
    *hold = err.retry_after;
    *again = !fine && must_know(up);
    return fine;
}
