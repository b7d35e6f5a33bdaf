#include "base/clock.h"
#include "base/text.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"
#include "ra/drive.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "usage: scepter request list [-c FILE] [--profile P] [--upstream U] [--state S] [--json]\n"
    "       scepter request show [-c FILE] ID [--json]\n"
    "       scepter request approve [-c FILE] ID [--reason TEXT]\n"
    "       scepter request deny [-c FILE] ID [--reason TEXT]\n"
    "\n"
    "The requests in the store and their states: held, ordered, waiting, suspect, issued, "
    "refused.\n"
    "A suspect request left for its CA and nobody knows what became of it. approve: the CA did "
    "not\n"
    "issue, and it is sent again. deny: the device is refused, and may ask anew; see first that a\n"
    "certificate which the CA may have issued is revoked there.\n";

static const struct option options[] = {{"profile", required_argument, NULL, 'p'},
                                        {"upstream", required_argument, NULL, 'u'},
                                        {"state", required_argument, NULL, 's'},
                                        {"reason", required_argument, NULL, 'r'},
                                        {0}};

#define LEASE_SECONDS 10
#define LEASE_WAIT_MS 40000 /* longer than limits.deadline is by default */
#define LEASE_PAUSE_MS 100

struct flags {
    struct store_filter filter;
    enum txn_state state; /* TXN_STATE_COUNT: any */
    const char *reason;
    struct json *array; /* of --json; else NULL */
};

enum verb { VERB_LIST, VERB_SHOW, VERB_APPROVE, VERB_DENY };

static const struct cli_verb verbs[] = {
    [VERB_LIST] = {.name = "list", .options = "cpusj"},
    [VERB_SHOW] = {.name = "show", .options = "cj", .word = "ID"},
    [VERB_APPROVE] = {.name = "approve", .options = "cr", .word = "ID"},
    [VERB_DENY] = {.name = "deny", .options = "cr", .word = "ID"},
    {0},
};

static bool take_state(const char *value, enum txn_state *ret, struct err *err)
{
    for (unsigned i = 0; i < TXN_STATE_COUNT; i++) {
        if (strcmp(value, txn_state_name((enum txn_state)i)) == 0) {
            *ret = (enum txn_state)i;
            return true;
        }
    }
    return err_set(err, ERR_CONFIG, "expected held, ordered, waiting, suspect, issued or refused");
}

static bool take(int option, const char *value, void *arg, struct err *err)
{
    struct flags *flags = arg;
    switch (option) {
    case 'p':
        flags->filter.profile = value;
        return true;
    case 'u':
        flags->filter.upstream = value;
        return true;
    case 's':
        return take_state(value, &flags->state, err);
    default:
        flags->reason = value;
        return true;
    }
}

static void set_time(struct json *json, const char *key, int64_t at)
{
    char text[TEXT_TIME_MAX];
    text_time(at, text);
    json_set_text(json, key, at ? text : NULL);
}

static struct json *json_of(const struct store_request *request)
{
    struct json *json = json_new_object();
    json_set_text(json, "id", request->id);
    json_set_text(json, "state", txn_state_name(request->state));
    json_set_text(json, "operation", ra_op_name(request->op));
    json_set_text(json, "profile", request->profile);
    json_set_text(json, "upstream", request->upstream);
    json_set_text(json, "subject", request->subject);
    json_set_text(json, "origin", request->origin);
    json_set_text(json, "reason", request->reason[0] ? request->reason : NULL);
    json_set_text(json, "renews", request->renews[0] ? request->renews : NULL);
    json_set_number(json, "attempt", request->attempt);
    json_set_number(json, "failures", request->failures);
    set_time(json, "next_at", txn_is_final(request->state) ? 0 : request->next_at);
    set_time(json, "created", request->created);
    set_time(json, "updated", request->updated);
    return json;
}

/* Subjects of some length leave the column; nothing stands behind them without a reason. */
static void print_row(const struct store_request *request)
{
    char created[TEXT_TIME_MAX];
    struct buf subject = {0};
    text_time(request->created, created);
    const char *shown = request->subject[0] ? request->subject : "-";
    text_escape(bytes_str(shown), strlen(shown), &subject);
    printf("%s  %-8s  %s  %-6s  %-12s  ", request->id, txn_state_name(request->state), created,
           ra_op_name(request->op), request->profile);
    printf(request->reason[0] ? "%-32s  " : "%s", buf_str(&subject));
    cli_print_safe(request->reason);
    putchar('\n');
    buf_free(&subject);
}

static bool list_one(const struct store_request *request, void *arg)
{
    struct flags *flags = arg;
    if (flags->state != TXN_STATE_COUNT && flags->state != request->state)
        return true;
    if (flags->array)
        json_append(flags->array, json_of(request));
    else
        print_row(request);
    return true;
}

static int list(struct cli *cli, struct flags *flags)
{
    struct err err = {0};
    int code = cli_filter_check(cli, &flags->filter);
    if (code != CMD_OK)
        return code;
    flags->array = cli->json ? json_new_array() : NULL;
    if (!flags->array)
        printf("%-32s  %-8s  %-20s  %-6s  %-12s  %-32s  %s\n", "ID", "STATE", "CREATED", "OP",
               "PROFILE", "SUBJECT", "REASON");
    bool ok = cli->store->vt->request_list(cli->store, &flags->filter, list_one, flags, &err);
    if (ok && flags->array)
        cli_print_json(flags->array);
    else
        json_free(flags->array);
    if (ok)
        return CMD_OK;
    cli_complain(cli, "%s", err.text);
    return CMD_UNREACHABLE;
}

static void show_text(const struct store_request *request)
{
    const int64_t times[] = {txn_is_final(request->state) ? 0 : request->next_at, request->created,
                             request->updated};
    char text[3][TEXT_TIME_MAX];
    for (size_t i = 0; i < 3; i++)
        text_time(times[i], text[i]);
    cli_print_field("ID", request->id);
    cli_print_field("State", txn_state_name(request->state));
    cli_print_field("Reason", request->reason);
    cli_print_field("Operation", ra_op_name(request->op));
    cli_print_field("Subject", request->subject);
    cli_print_field("Profile", request->profile);
    cli_print_field("Upstream", request->upstream);
    cli_print_field("Origin", request->origin);
    cli_print_field("Renews", request->renews);
    printf("Attempts:     %d, %d failed in a row\n", request->attempt, request->failures);
    cli_print_field("Next try", times[0] ? text[0] : "");
    cli_print_field("Created", text[1]);
    cli_print_field("Updated", text[2]);
}

static int show(struct cli *cli, const char *id)
{
    struct store_request request = {0};
    struct err err = {0};
    if (!cli->store->vt->request_by_id(cli->store, id, &request, &err)) {
        cli_complain(cli, "%s", err.text);
        return CMD_UNREACHABLE;
    }
    if (!request.id[0]) {
        cli_complain(cli, "there is no request \"%s\"", id);
        return CMD_REFUSED;
    }
    if (cli->json)
        cli_print_json(json_of(&request));
    else
        show_text(&request);
    store_request_clear(&request);
    return CMD_OK;
}

/* What is sent again is sent under another handle: a CA may know the first one, and refuse it.
 * Empty if one handle is safe to repeat. */
static bool make_handle(struct cli *cli, const struct store_request *row, struct buf *handle,
                        struct err *err)
{
    struct ra_settings *settings = NULL;
    struct csr *csr = NULL;
    size_t upstream;
    if (cli_wire(cli, &settings) != CMD_OK)
        return err_set(err, ERR_PEER, "the configuration has faults");
    struct up_order order = {.request_id = row->id,
                             .profile = cfg_profile_get(settings->cfg, row->profile)};
    bool ok = order.profile && ra_upstream_find(settings, row->upstream, &upstream);
    if (!ok) {
        err_set(err, ERR_PEER, "its profile or upstream is not in the configuration any more");
    } else if (!(settings->upstreams[upstream]->vt->caps & UP_RESUBMIT_SAFE)) {
        struct upstream *up = settings->upstreams[upstream];
        ok = csr_parse(buf_bytes(&row->csr), &csr, err);
        order.csr = csr;
        ok = ok && up->vt->prepare(up, &order, handle, err);
    }
    csr_free(csr);
    ra_settings_free(settings);
    return ok;
}

/* What an operator says of a request. */
struct verdict {
    bool approve;
    const char *reason; /* or NULL */
    struct buf handle;  /* what is sent again, if it is approved */
};

/* The request as it is now, for the caller to clear; false if nothing can be decided about it. */
static bool look(struct cli *cli, const char *id, bool approve, struct store_request *ret,
                 struct err *err)
{
    struct store_request row = {0};
    *ret = row;
    if (!cli->store->vt->request_by_id(cli->store, id, &row, err))
        return false;
    bool ok = true;
    if (!row.id[0])
        ok = err_set(err, ERR_PEER, "there is no request \"%s\"", id);
    else if (txn_is_final(row.state))
        ok = err_set(err, ERR_PEER, "request %s is %s already", id, txn_state_name(row.state));
    else if (approve && row.state != TXN_SUSPECT)
        ok = err_set(err, ERR_PEER, "request %s is %s, there is nothing to approve", id,
                     txn_state_name(row.state));
    if (ok)
        *ret = row;
    else
        store_request_clear(&row);
    return ok;
}

/* Takes the request's lease, so that nobody drives it meanwhile. Who has it now asks a CA, which
 * ends by its deadline. *row is as that left it, for the caller to clear. */
static bool lease_take(struct cli *cli, bool approve, int *attempt, struct store_request *row,
                       struct err *err)
{
    const struct timespec pause = {.tv_nsec = LEASE_PAUSE_MS * 1000000L};
    int64_t end = clock_mono_ms() + LEASE_WAIT_MS;
    char id[RA_ID_LEN + 1];
    memcpy(id, row->id, sizeof id);
    *attempt = 0;
    for (;;) {
        if (!cli->store->vt->claim(cli->store, id, LEASE_SECONDS, attempt, err))
            return false;
        store_request_clear(row);
        if (!look(cli, id, approve, row, err))
            return false;
        if (*attempt)
            return true;
        if (clock_mono_ms() >= end)
            return err_set(err, ERR_PEER, "request %s is being worked at; try again", id);
        nanosleep(&pause, NULL);
    }
}

static bool decide(struct cli *cli, struct store_request *row, const struct verdict *verdict,
                   struct err *err)
{
    const struct store_vt *vt = cli->store->vt;
    const char *event_name = verdict->approve ? "approved" : "denied";
    char text[RA_DETAIL_MAX];
    enum store_write result = STORE_FENCED;
    int attempt;
    if (!lease_take(cli, verdict->approve, &attempt, row, err))
        return false;
    snprintf(text, sizeof text, "%s by an operator%s%.150s", event_name,
             verdict->reason ? ": " : "", verdict->reason ? verdict->reason : "");
    struct audit_event event = {.event = event_name,
                                .request = row->id,
                                .profile = row->profile,
                                .subject = row->subject,
                                .detail = text};
    struct store_move move = {.id = row->id,
                              .attempt = attempt,
                              .from = row->state,
                              .to = verdict->approve ? TXN_ORDERED : TXN_REFUSED,
                              .handle = buf_bytes(&verdict->handle),
                              .next_at = clock_now(),
                              .reason = text,
                              .audit = &event};
    return vt->move(cli->store, &move, &result, err) &&
           (result == STORE_DONE ||
            err_set(err, ERR_PEER, "request %s has just changed; look again", row->id));
}

static int decide_by_id(struct cli *cli, const char *id, bool approve, const char *reason)
{
    struct store_request request;
    struct verdict verdict = {.approve = approve, .reason = reason};
    struct err err = {0};
    bool ok = look(cli, id, approve, &request, &err) &&
              (!approve || make_handle(cli, &request, &verdict.handle, &err)) &&
              decide(cli, &request, &verdict, &err);
    if (ok)
        printf("%s %s\n", approve ? "approved" : "denied", request.id);
    else
        cli_complain(cli, "%s", err.text);
    buf_free(&verdict.handle);
    store_request_clear(&request);
    return ok ? CMD_OK : err.kind == ERR_PEER ? CMD_REFUSED : CMD_UNREACHABLE;
}

int cmd_request(int argc, char **argv)
{
    struct flags flags = {.state = TXN_STATE_COUNT};
    struct cli cli = {.name = "request",
                      .usage = usage,
                      .options = options,
                      .verbs = verbs,
                      .take = take,
                      .arg = &flags};
    if (!cli_parse(&cli, argc, argv))
        return cli_parse_exit(&cli);
    enum verb verb = (enum verb)(cli.verb - verbs);
    int code = cli_open(&cli);
    if (code == CMD_OK && verb == VERB_LIST)
        code = list(&cli, &flags);
    else if (code == CMD_OK && verb == VERB_SHOW)
        code = show(&cli, cli.word);
    else if (code == CMD_OK)
        code = decide_by_id(&cli, cli.word, verb == VERB_APPROVE, flags.reason);
    cli_close(&cli);
    return code;
}
