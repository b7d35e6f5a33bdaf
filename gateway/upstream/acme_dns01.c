#include "gateway/upstream/acme_step.h"

#include "base/child.h"
#include "gateway/upstream/jose.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define OUTPUT_MAX ((size_t)16 << 10)
#define SHOWN_MAX 120
#define NAME_LEN_MAX 253

bool acme_dns01_value(const char *token, const char *thumbprint, struct buf *out)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct buf text = {0};
    bool ok = buf_add_fmt(&text, "%s.%s", token, thumbprint);
    if (ok) {
        SHA256(text.ptr, text.len, digest);
        ok = jose_encode(bytes_of(digest, sizeof digest), out);
    }
    buf_free(&text);
    return ok;
}

/* Letters, digits, hyphens and dots; the first of them is no hyphen, lest it be an option. */
static bool is_host(const char *name)
{
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    size_t len = strlen(name);
    return len && len <= NAME_LEN_MAX && strspn(name, chars) == len && name[0] != '-';
}

bool acme_dns01_san(const struct names *names, const struct acme_record *record, size_t *ret)
{
    if (!record->name || !is_host(record->name))
        return false;
    for (size_t i = 0; i < names->san_count; i++) {
        const struct san *san = &names->sans[i];
        bool star = strncmp(san->text, "*.", 2) == 0;
        if (san->kind == SAN_DNS && star == record->wildcard &&
            strcasecmp(san->text + (star ? 2 : 0), record->name) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static bool run_command(const struct step *step, const char *const words[3], struct err *err)
{
    const struct acme_dns01 *dns01 = &step->acme->options->dns01;
    const char **argv = mem_zalloc((dns01->command.count + 4) * sizeof *argv);
    const char **env = mem_zalloc((dns01->environment.count + 3) * sizeof *env);
    size_t argc = 0, envc = 0;
    for (size_t i = 0; i < dns01->command.count; i++)
        argv[argc++] = dns01->command.items[i];
    for (size_t i = 0; i < 3; i++)
        argv[argc++] = words[i];
    env[envc++] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    env[envc++] = "LC_ALL=C.UTF-8";
    for (size_t i = 0; i < dns01->environment.count; i++)
        env[envc++] = dns01->environment.items[i];
    struct child_call call = {
        .argv = argv, .env = env, .output_max = OUTPUT_MAX, .deadline = step->deadline};
    struct child_reply said = {0};
    bool ok = child_run(&call, &said, err) == CHILD_ENDED;
    if (ok && said.code != 0) {
        struct bytes text = bytes_trim(buf_bytes(said.errors.len ? &said.errors : &said.out)), line;
        bytes_take_until(&text, '\n', &line);
        ok = err_set(err, ERR_UPSTREAM, "%s %s %s ends with code %d: %.*s", argv[0], words[0],
                     words[1], said.code, (int)(line.len < SHOWN_MAX ? line.len : SHOWN_MAX),
                     line.len ? (const char *)line.ptr : "");
    }
    child_reply_clear(&said);
    free(argv);
    free(env);
    return ok;
}

bool acme_dns01_run(const struct step *step, const char *action, const struct acme_record *record,
                    struct err *err)
{
    struct buf name = {0}, value = {0}, thumbprint = {0};
    bool ok = true;
    size_t san;
    if (!record->token || !http01_token_fits(bytes_str(record->token)))
        ok = err_set(err, ERR_UPSTREAM, "the CA gives no token for dns-01");
    else if (!acme_dns01_san(csr_names_get(step->order->csr), record, &san))
        ok = err_set(err, ERR_PEER, "the CA wants a record for %.100s, which was not asked for",
                     record->name ? record->name : "nothing");
    else if (!buf_add_fmt(&name, "_acme-challenge.%s.", record->name) ||
             !acme_client_thumbprint(step->acme->client, &thumbprint) ||
             !acme_dns01_value(record->token, buf_str(&thumbprint), &value))
        ok = err_set(err, ERR_LOCAL, "no memory for a record");
    const char *const words[3] = {action, buf_str(&name), buf_str(&value)};
    ok = ok && run_command(step, words, err);
    buf_free(&name);
    buf_free(&value);
    buf_free(&thumbprint);
    return ok;
}
