#include "base/clock.h"
#include "ra/retire.h"
#include "ra/work.h"

#include <stdlib.h>

#define SWEEP_MAX 64
#define SWEEP_LINE_MAX 1024

struct sweep {
    struct ra *ra;
    const struct ra_settings *settings;
    size_t *moved;
};

/* Claims and drives one row; one that is faulty does not stop the others. */
static bool sweep_row(const struct sweep *sweep, const char *id, struct err *err)
{
    struct store *store = sweep->ra->store;
    struct store_request row = {0};
    struct work_end end = {0};
    bool ok = store->vt->request_by_id(store, id, &row, err) &&
              (!row.id[0] || work_claim(sweep->ra, sweep->settings, &row, &end, err));
    if (end.claimed)
        work_over(sweep->ra, id);
    ra_outcome_clear(&end.outcome);
    store_request_clear(&row);
    return ok || err_within(err, "driving request %s", id);
}

/* So many of those that are due, into the line of their upstream as far as there is room, or at
 * once. */
static bool sweep_due(const struct sweep *sweep, const struct store_due *due, size_t most,
                      bool line, struct err *err)
{
    struct ra *ra = sweep->ra;
    if (!most)
        return true;
    struct store_ids ids = {.max = most, .ids = mem_zalloc(most * sizeof *ids.ids)};
    bool ok = ra->store->vt->request_due(ra->store, due, &ids, err);
    for (size_t i = 0; i < ids.count; i++) {
        bool done = line ? lines_add(ra->lines, due->upstream, ids.ids[i])
                         : sweep_row(sweep, ids.ids[i], err);
        *sweep->moved += done && !line;
        ok = ok && (done || line);
    }
    free(ids.ids);
    return ok;
}

/* Retries into a line are no more than its budget has: they never stand in the way of others. */
static bool sweep_upstream(const struct sweep *sweep, const struct cfg_upstream *conf,
                           struct err *err)
{
    struct lines *lines = sweep->ra->lines;
    const struct cfg_line *line = cfg_upstream_line(conf);
    struct store_due again = {conf->name, clock_now(), true},
                     others = {conf->name, again.now, false};
    if (line && lines_room(lines, conf->name) < ((size_t)line->queue + 1) / 2)
        return true;
    size_t retries = line ? lines_retries(lines, conf->name) : SWEEP_MAX;
    bool ok = sweep_due(sweep, &again, retries, line, err);
    return sweep_due(sweep, &others, line ? SWEEP_LINE_MAX : SWEEP_MAX, line, err) && ok;
}

bool ra_sweep(struct ra *ra, const struct ra_settings *settings, size_t *moved, struct err *err)
{
    const struct sweep sweep = {ra, settings, moved};
    *moved = 0;
    lines_tick(ra->lines);
    bool ok = retire_keys(ra, settings, err);
    for (size_t i = 0; i < settings->cfg->upstream_count; i++)
        ok = sweep_upstream(&sweep, &settings->cfg->upstreams[i], err) && ok;
    return ok;
}
