#include "gateway/upstream/exec.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/pem.h"
#include "base/text.h"
#include "gateway/upstream/hide.h"
#include "gateway/upstream/relay.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_MAX ((size_t)256 << 10)
#define COOKIE_MAX ((size_t)4096)
#define DELAY_MAX 604800 /* seconds */
#define ENV_MAX 64

/* What a helper's exit code says. */
enum {
    HELPER_ISSUED = 0,
    HELPER_WAIT = 1, /* the cookie is printed */
    HELPER_REJECTED = 2,
    HELPER_UNREACHABLE = 3,
    HELPER_UNCONFIGURED = 4,
    HELPER_WAIT_LONGER = 5, /* the delay in seconds, then the cookie */
    HELPER_UNSUPPORTED = 6,
    HELPER_NEEDS_SCEP = 16,
    HELPER_NEEDS_KEY = 17,
};

struct exec_options {
    struct cfg_line line; /* first */
    struct cfg_strings command;
    struct cfg_strings environment;
    char *profile;
    struct cfg_certs chain;
};

struct exec {
    struct relay relay; /* first */
    const struct exec_options *options;
};

static struct exec *exec_of(struct upstream *up)
{
    return (struct exec *)up;
}

/* The environment, all of it. */
struct env {
    char *items[ENV_MAX + 1];
    size_t count;
    bool full;
};

static void env_add(struct env *env, const char *name, const char *value)
{
    struct buf text = {0};
    if (env->count == ENV_MAX || !buf_add_fmt(&text, "%s%s%s", name, *name ? "=" : "", value))
        env->full = true;
    else
        env->items[env->count++] = mem_strdup(buf_str(&text));
    buf_free(&text);
}

static void env_clear(struct env *env)
{
    while (env->count)
        mem_free_secret_str(env->items[--env->count]); /* a CSR may hold a challenge */
}

/* All names of one kind, a line each. */
static void env_add_sans(struct env *env, const char *name, const struct names *names,
                         enum san_kind kind)
{
    struct buf text = {0};
    for (size_t i = 0; i < names->san_count; i++)
        if (names->sans[i].kind == kind &&
            !buf_add_fmt(&text, "%s%s", text.len ? "\n" : "", names->sans[i].text))
            env->full = true;
    if (text.len)
        env_add(env, name, buf_str(&text));
    buf_free(&text);
}

static void env_add_order(struct env *env, const struct up_order *order)
{
    const struct names *names = csr_names_get(order->csr);
    struct buf pem = BUF_SECRET(4 * CSR_MAX);
    if (pem_add(&pem, "CERTIFICATE REQUEST", csr_der_get(order->csr)))
        env_add(env, "CERTMONGER_CSR", buf_str(&pem));
    else
        env->full = true;
    buf_free(&pem);
    env_add(env, "CERTMONGER_REQ_SUBJECT", names->subject_text);
    env_add_sans(env, "CERTMONGER_REQ_HOSTNAME", names, SAN_DNS);
    env_add_sans(env, "CERTMONGER_REQ_IP_ADDRESS", names, SAN_IP);
    env_add_sans(env, "CERTMONGER_REQ_EMAIL", names, SAN_EMAIL);
}

/* What a helper is asked to do. */
struct task {
    const char *operation;
    const struct up_order *order; /* or NULL */
    const char *cookie;           /* or NULL */
    int64_t deadline;
};

static enum child_result run(const struct exec *exec, const struct task *task,
                             struct child_reply *said, struct err *err)
{
    const struct exec_options *options = exec->options;
    struct env env = {0};
    enum child_result result = CHILD_NOT_STARTED;
    env_add(&env, "PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    env_add(&env, "LC_ALL", "C.UTF-8");
    env_add(&env, "CERTMONGER_OPERATION", task->operation);
    env_add(&env, "CERTMONGER_CA_NICKNAME", exec->relay.base.name);
    if (options->profile)
        env_add(&env, "CERTMONGER_CA_PROFILE", options->profile);
    if (task->cookie)
        env_add(&env, "CERTMONGER_CA_COOKIE", task->cookie);
    if (task->order)
        env_add_order(&env, task->order);
    for (size_t i = 0; i < options->environment.count; i++)
        env_add(&env, "", options->environment.items[i]);
    const char **argv = mem_zalloc((options->command.count + 1) * sizeof *argv);
    for (size_t i = 0; i < options->command.count; i++)
        argv[i] = options->command.items[i];
    struct child_call call = {.argv = argv,
                              .env = (const char *const *)env.items,
                              .output_max = OUTPUT_MAX,
                              .deadline = task->deadline};
    if (env.full)
        err_set(err, ERR_UPSTREAM, "the request is too large for an environment");
    else
        result = child_run(&call, said, err);
    free(argv);
    env_clear(&env);
    return result;
}

/* Certificates, with nicknames between them. */
static bool fetch_chain(struct upstream *up, int64_t deadline, struct err *err)
{
    struct exec *exec = exec_of(up);
    struct child_reply said = {0};
    struct cert **certs = NULL;
    const struct cfg_certs *known;
    size_t count = 0;
    struct err ignored;
    struct task task = {.operation = "FETCH-ROOTS", .deadline = deadline};
    bool ok = run(exec, &task, &said, err) == CHILD_ENDED;
    if (ok && said.code == HELPER_ISSUED) {
        ok = relay_certs_decode(buf_bytes(&said.out), &certs, &count, err);
        if (ok)
            relay_chain_set(exec->relay.chain, certs, count);
    } else if (ok && (said.code != HELPER_UNSUPPORTED ||
                      !relay_chain_get(exec->relay.chain, &known, &ignored))) {
        ok = err_set(err, ERR_UPSTREAM, "%s answers FETCH-ROOTS with code %d%s",
                     exec->options->command.items[0], said.code,
                     said.code == HELPER_UNSUPPORTED ? ": `chain` is needed" : "");
    }
    pem_certs_free(certs, count);
    child_reply_clear(&said);
    return ok;
}

/* The first line of what it complains about, or of what it prints. */
static struct bytes first_line(const struct child_reply *said)
{
    struct bytes text = bytes_trim(buf_bytes(said->errors.len ? &said->errors : &said->out)), line;
    bytes_take_until(&text, '\n', &line);
    return line.len < 120 ? line : bytes_of(line.ptr, 120);
}

static enum up_result take_cert(struct exec *exec, const struct child_reply *said,
                                const struct up_order *order, int64_t deadline,
                                struct up_reply *reply)
{
    enum up_result result = relay_cert_take(buf_bytes(&said->out), order->csr,
                                            "the helper says issued, and prints", reply);
    if (result == UP_ISSUED)
        relay_follow(&exec->relay, reply->cert, deadline);
    return result;
}

static enum up_result take_cookie(const struct child_reply *said, struct up_reply *reply)
{
    struct bytes text = buf_bytes(&said->out), line;
    if (said->code == HELPER_WAIT_LONGER) {
        bytes_take_until(&text, '\n', &line);
        char *delay = bytes_to_str(bytes_trim(line));
        long seconds = delay ? strtol(delay, NULL, 10) : 0;
        reply->retry_after = seconds < 0 ? 0 : seconds > DELAY_MAX ? DELAY_MAX : (int)seconds;
        free(delay);
    }
    text = bytes_trim(text);
    if (!text.len || text.len > COOKIE_MAX || memchr(text.ptr, 0, text.len) ||
        !buf_set(&reply->cookie, text)) {
        relay_reason(reply, "the helper says wait, and prints no cookie");
        return UP_UNKNOWN;
    }
    return UP_PENDING;
}

static enum up_result take_reply(struct exec *exec, struct child_reply *said,
                                 const struct up_order *order, int64_t deadline,
                                 struct up_reply *reply)
{
    switch (said->code) {
    case HELPER_ISSUED:
        return take_cert(exec, said, order, deadline, reply);
    case HELPER_WAIT:
    case HELPER_WAIT_LONGER:
        return take_cookie(said, reply);
    default:
        break;
    }
    hide_csr(&said->out, csr_der_get(order->csr));
    hide_csr(&said->errors, csr_der_get(order->csr));
    struct bytes line = first_line(said);
    relay_reason(reply, "the helper ends with code %d: %.*s", said->code, (int)line.len,
                 (const char *)line.ptr);
    switch (said->code) {
    case HELPER_REJECTED:
    case HELPER_NEEDS_SCEP:
    case HELPER_NEEDS_KEY:
        return UP_REFUSED;
    case HELPER_UNREACHABLE:
    case HELPER_UNCONFIGURED:
    case HELPER_UNSUPPORTED:
        return UP_RETRY;
    default:
        return UP_UNKNOWN;
    }
}

static enum up_result ask(struct exec *exec, const struct up_order *order, const char *cookie,
                          int64_t deadline, struct up_reply *reply)
{
    struct child_reply said = {0};
    struct err err;
    enum up_result result = UP_UNKNOWN;
    if (!relay_ready(&exec->relay, deadline, &err))
        return relay_later(reply, &err);
    struct task task = {cookie ? "POLL" : "SUBMIT", order, cookie, deadline};
    enum child_result end = run(exec, &task, &said, &err);
    if (end == CHILD_ENDED) {
        result = take_reply(exec, &said, order, deadline, reply);
    } else {
        relay_reason(reply, "%s", err.text);
        result = end == CHILD_NOT_STARTED ? UP_RETRY : UP_UNKNOWN;
    }
    child_reply_clear(&said);
    return result;
}

static enum up_result exec_submit(struct upstream *up, const struct up_order *order,
                                  struct bytes handle, int64_t deadline, struct up_reply *reply)
{
    (void)handle;
    return ask(exec_of(up), order, NULL, deadline, reply);
}

static enum up_result exec_poll(struct upstream *up, const struct up_order *order,
                                struct bytes cookie, int64_t deadline, struct up_reply *reply)
{
    char *text = bytes_to_str(cookie);
    enum up_result result = ask(exec_of(up), order, text ? text : "", deadline, reply);
    free(text);
    return result;
}

static bool exec_open(const struct cfg_upstream *conf, struct upstream **ret, struct err *err)
{
    const struct exec_options *options = conf->options;
    struct relay_conf relay = {.vt = &exec_vt, .chain = &options->chain, .fetch = fetch_chain};
    struct exec *exec = relay_new(sizeof *exec, conf, &relay, err);
    if (!exec)
        return false;
    exec->options = options;
    *ret = &exec->relay.base;
    return true;
}

static const char *check_variable(const char *text, char **stored)
{
    (void)stored;
    const char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : 0;
    bool fine = len && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == len;
    return fine && strncmp(text, "CERTMONGER_", 11) != 0 ? NULL : "is no variable";
}

static void judge_options(void *arg, struct cfg_faults *faults, const struct cfg_node *node)
{
    const struct exec_options *options = arg;
    cfg_judge_command(&options->command, cfg_node_get(node, "command"), faults);
}

static const struct cfg_key keys[] = {
    CFG_LINE_KEYS,
    {.name = "command",
     .type = CFG_STRINGS,
     .offset = offsetof(struct exec_options, command),
     .required = true,
     .min = 1,
     .meaning = "A helper as certmonger runs them: the request comes in its environment, and its "
                "exit code and output say what became of it. Run without a shell. Arguments are "
                "no place for secrets."},
    {.name = "environment",
     .type = CFG_STRINGS,
     .offset = offsetof(struct exec_options, environment),
     .meaning = "What the helper's environment holds beside the request.",
     .form = "NAME=VALUE, the name of A-Z 0-9 _ and not one of the request's",
     .check = check_variable},
    {.name = "profile",
     .type = CFG_STRING,
     .offset = offsetof(struct exec_options, profile),
     .meaning = "The profile or template that the helper is told (CERTMONGER_CA_PROFILE)."},
    {.name = "chain",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct exec_options, chain),
     .meaning = "The CA's certificates, for helpers that do not tell them (FETCH-ROOTS)."},
    {0},
};

const struct cfg_kind exec_kind = {
    .type = "exec",
    .keys = keys,
    .options_size = sizeof(struct exec_options),
    .remote = true,
    .judge = judge_options,
};

const struct upstream_vt exec_vt = {
    .type = "exec",
    .caps = UP_PENDINGS,
    .open = exec_open,
    .close = relay_close,
    .prepare = relay_prepare,
    .submit = exec_submit,
    .poll = exec_poll,
    .chain = relay_chain,
    .health = relay_health,
    .remember = relay_remember,
    .recall = relay_recall,
};
