#include "config/file.h"

#include "base/pem.h"
#include "base/text.h"
#include "config/read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINES_FILE_MAX ((size_t)1 << 20)
#define LINES_MAX ((size_t)10000)
#define SECRETS_MAX ((size_t)16)
#define SECRET_MIN ((size_t)12)
#define SECRET_MAX ((size_t)256)
#define USER_NAME_MAX ((size_t)64)
#define SHARED_ID_MAX ((size_t)64)

static const char certs_form[] = "a PEM file with certificates";
static const char key_form[] = "a PEM file with an unencrypted private key";
static const char secrets_form[] = "a file with one secret a line";
static const char blocklist_form[] = "a file with 20 or 64 hexadecimal digits a line";
static const char users_form[] = "a file with NAME:HASH lines";
static const char shared_form[] = "a file with ID:KEY lines in hex";

/* The file's absolute path if it is a file that we may read; NULL if there is a fault. show: the
 * name may occur in the fault; it may not where a secret could stand in its place. */
static char *usable(const struct cfg_node *node, const char *form, bool show,
                    struct cfg_faults *faults)
{
    if (node->kind != CFG_NODE_SCALAR || !*node->text) {
        if (node->kind != CFG_NODE_BAD)
            cfg_fault(faults, node, "is no file name; expected %s", form);
        return NULL;
    }
    char what[256];
    struct stat st;
    char *path = cfg_path_resolve(faults, node->text);
    if (stat(path, &st) != 0 || access(path, R_OK) != 0)
        snprintf(what, sizeof what, "cannot be read: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        snprintf(what, sizeof what, "is no regular file");
    else
        return path;
    if (show)
        cfg_fault_value(faults, node, what, form);
    else
        cfg_fault(faults, node, "%s; expected %s", what, form);
    free(path);
    return NULL;
}

/* A service's secrets often belong to root and the service's group. */
static bool guarded(const struct cfg_node *node, const char *path, struct cfg_faults *faults)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        cfg_fault(faults, node, "cannot be read: %s", strerror(errno));
        return false;
    }
    mode_t open = st.st_uid == 0 ? 0037 : 0077;
    if (!(st.st_mode & open))
        return true;
    char what[64];
    snprintf(what, sizeof what, "is open to others, its mode is %04o", st.st_mode & 07777);
    cfg_fault_value(faults, node, what, "mode 0600 or 0400, or 0640 if it is root's");
    return false;
}

bool cfg_file_certs(const struct cfg_node *node, struct cfg_certs *certs, struct cfg_faults *faults)
{
    struct cert **more = NULL;
    size_t count = 0;
    struct err err;
    char *path = usable(node, certs_form, true, faults);
    if (!path)
        return false;
    bool ok = pem_certs_load(path, &more, &count, &err);
    free(path);
    if (!ok) {
        char what[sizeof err.text + 32];
        snprintf(what, sizeof what, "cannot be used: %s", err.text);
        cfg_fault_value(faults, node, what, certs_form);
        return false;
    }
    certs->items = mem_resize(certs->items, certs->count + count, sizeof(struct cert *));
    memcpy(certs->items + certs->count, more, count * sizeof(struct cert *));
    certs->count += count;
    free(more);
    return true;
}

bool cfg_file_key(const struct cfg_node *node, EVP_PKEY **ret, struct cfg_faults *faults)
{
    struct err err;
    if (node->kind == CFG_NODE_SCALAR && strncmp(node->text, "pkcs11:", 7) == 0) {
        cfg_fault(faults, node, "keys in tokens are not available; expected %s", key_form);
        return false;
    }
    char *path = usable(node, key_form, true, faults);
    if (!path)
        return false;
    bool ok = guarded(node, path, faults);
    if (ok && !pem_key_load(path, ret, &err)) {
        cfg_fault_value(faults, node, "holds no key that can be used", key_form);
        ok = false;
    }
    free(path);
    return ok;
}

/* The next line without its end; false at the end of the text. */
static bool line_take(struct bytes *cur, struct bytes *line)
{
    if (!cur->len)
        return false;
    bytes_take_until(cur, '\n', line);
    *line = bytes_trim(*line);
    return true;
}

/* What is wrong with a secret, without the secret. */
static const char *secret_fault(struct bytes line)
{
    if (line.len < SECRET_MIN)
        return "is shorter than 12 characters";
    if (line.len > SECRET_MAX)
        return "is longer than 256 characters";
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] <= 0x20 || line.ptr[i] >= 0x7f)
            return "holds something other than printable ASCII without spaces";
    }
    return NULL;
}

static bool secrets_add(struct cfg_challenge *challenge, struct bytes text,
                        const struct cfg_node *node, struct cfg_faults *faults)
{
    struct bytes line;
    bool ok = true;
    for (size_t number = 1; ok && line_take(&text, &line); number++) {
        const char *wrong = line.len ? secret_fault(line) : NULL;
        if (line.len && !wrong && challenge->fixed_count == SECRETS_MAX)
            wrong = "is one secret too many";
        if (wrong) {
            cfg_fault(faults, node, "line %zu %s; expected %s", number, wrong, secrets_form);
            ok = false;
        } else if (line.len) {
            challenge->fixed =
                mem_resize(challenge->fixed, challenge->fixed_count + 1, sizeof *challenge->fixed);
            struct buf *secret = &challenge->fixed[challenge->fixed_count++];
            *secret = BUF_SECRET(SECRET_MAX);
            ok = buf_set(secret, line);
        }
    }
    if (ok && !challenge->fixed_count)
        cfg_fault(faults, node, "holds no secret; expected %s", secrets_form);
    return ok && challenge->fixed_count;
}

bool cfg_file_secrets(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    struct buf text = BUF_SECRET(LINES_FILE_MAX);
    struct err err;
    char *path = usable(node, secrets_form, false, faults);
    bool ok = path && guarded(node, path, faults);
    if (ok && !pem_file_read(path, LINES_FILE_MAX, &text, &err)) {
        cfg_fault(faults, node, "%s; expected %s", err.text, secrets_form);
        ok = false;
    }
    ok = ok && secrets_add(field, buf_bytes(&text), node, faults);
    buf_free(&text);
    free(path);
    return ok;
}

void cfg_file_secrets_clear(void *field)
{
    struct cfg_challenge *challenge = field;
    for (size_t i = 0; i < challenge->fixed_count; i++)
        buf_free(&challenge->fixed[i]);
    free(challenge->fixed);
    challenge->fixed = NULL;
    challenge->fixed_count = 0;
}

bool cfg_file_secret(const struct cfg_node *node, struct buf *secret, struct cfg_faults *faults)
{
    static const char form[] = "a file with one secret";
    struct buf text = BUF_SECRET(LINES_FILE_MAX);
    struct err err;
    char *path = usable(node, form, false, faults);
    bool ok = path && guarded(node, path, faults);
    if (ok && !pem_file_read(path, SECRET_MAX, &text, &err)) {
        cfg_fault(faults, node, "%s; expected %s", err.text, form);
        ok = false;
    }
    struct bytes line = bytes_trim(buf_bytes(&text));
    if (ok && (!line.len || memchr(line.ptr, '\n', line.len) || memchr(line.ptr, 0, line.len))) {
        cfg_fault(faults, node, "holds no secret, or several; expected %s", form);
        ok = false;
    }
    *secret = BUF_SECRET(SECRET_MAX + 1);
    ok = ok && buf_set(secret, line) && buf_str(secret);
    buf_free(&text);
    free(path);
    return ok;
}

static bool name_is_fine(struct bytes name)
{
    bool fine = name.len && name.len <= USER_NAME_MAX;
    for (size_t i = 0; i < name.len; i++)
        fine = fine && name.ptr[i] >= 0x20 && name.ptr[i] < 0x7f;
    return fine;
}

static bool hash_is_fine(struct bytes hash)
{
    static const char *const methods[] = {"$5$", "$6$", "$y$", "$2b$"};
    bool known = false;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        known = known || (bytes_starts(hash, methods[i]) && hash.len > 20 && hash.len < 384);
    for (size_t i = 0; i < hash.len; i++)
        known = known && hash.ptr[i] > 0x20 && hash.ptr[i] < 0x7f && hash.ptr[i] != ':';
    return known;
}

/* "{digest-sha256}" and 64 hexadecimal digits, or the like: *hash is left with the digits alone. */
static bool ha1_take(struct bytes *hash, enum cfg_digest *ret)
{
    static const struct {
        const char *prefix;
        size_t digits;
    } forms[CFG_DIGEST_COUNT] = {
        [CFG_DIGEST_SHA256] = {"{digest-sha256}", 64}, [CFG_DIGEST_MD5] = {"{digest-md5}", 32}};
    struct bytes prefix;
    for (unsigned i = 0; i < CFG_DIGEST_COUNT; i++) {
        if (!bytes_starts(*hash, forms[i].prefix))
            continue;
        *ret = (enum cfg_digest)i;
        return bytes_take(hash, strlen(forms[i].prefix), &prefix) && hash->len == forms[i].digits;
    }
    return false;
}

/* In lower case, as it will be hashed; NULL if these are no hexadecimal digits. */
static char *ha1_copy(struct bytes digits)
{
    struct buf raw = BUF_SECRET(32);
    char *hex = NULL;
    if (text_unhex(digits, &raw)) {
        hex = mem_zalloc(2 * raw.len + 1);
        text_hex(buf_bytes(&raw), hex);
    }
    buf_free(&raw);
    return hex;
}

static struct cfg_user *user_named(struct cfg_est *est, struct bytes name)
{
    for (size_t i = 0; i < est->user_count; i++)
        if (bytes_equal_str(name, est->users[i].name))
            return &est->users[i];
    est->users = mem_resize(est->users, est->user_count + 1, sizeof *est->users);
    est->users[est->user_count] = (struct cfg_user){.name = bytes_to_str(name)};
    return &est->users[est->user_count++];
}

/* What is wrong with a line, without the line: it may hold a password in the clear. */
static const char *user_add(struct cfg_est *est, struct bytes line)
{
    struct bytes name;
    enum cfg_digest digest = CFG_DIGEST_COUNT;
    if (!bytes_take_until(&line, ':', &name) || !name_is_fine(name))
        return "is not NAME:HASH";
    char *ha1 = ha1_take(&line, &digest) ? ha1_copy(line) : NULL;
    if (!ha1 && !hash_is_fine(line))
        return "has no hash of the kinds $y$, $6$, $5$, $2b$, {digest-sha256} or {digest-md5}";
    struct cfg_user *user = user_named(est, name);
    char **field = ha1 ? &user->ha1[digest] : &user->hash;
    const char *wrong = est->user_count > LINES_MAX ? "is one user too many"
                        : *field                    ? "names a user that was named before"
                                                    : NULL;
    if (wrong)
        mem_free_secret_str(ha1);
    else
        *field = ha1 ? ha1 : bytes_to_str(line);
    return wrong;
}

static bool users_add(struct cfg_est *est, struct bytes text, const struct cfg_node *node,
                      struct cfg_faults *faults)
{
    struct bytes line;
    for (size_t number = 1; line_take(&text, &line); number++) {
        const char *wrong = line.len && line.ptr[0] != '#' ? user_add(est, line) : NULL;
        if (wrong) {
            cfg_fault(faults, node, "line %zu %s; expected %s", number, wrong, users_form);
            return false;
        }
    }
    if (!est->user_count)
        cfg_fault(faults, node, "holds no user; expected %s", users_form);
    return est->user_count;
}

void cfg_file_users_clear(void *field)
{
    struct cfg_est *est = field;
    for (size_t i = 0; i < est->user_count; i++) {
        free(est->users[i].name);
        mem_free_secret_str(est->users[i].hash);
        for (unsigned k = 0; k < CFG_DIGEST_COUNT; k++)
            mem_free_secret_str(est->users[i].ha1[k]);
    }
    free(est->users);
    est->users = NULL;
    est->user_count = 0;
}

bool cfg_file_users(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    struct buf text = BUF_SECRET(LINES_FILE_MAX);
    struct err err;
    char *path = usable(node, users_form, false, faults);
    bool ok = path && guarded(node, path, faults);
    if (ok && !pem_file_read(path, LINES_FILE_MAX, &text, &err)) {
        cfg_fault(faults, node, "%s; expected %s", err.text, users_form);
        ok = false;
    }
    ok = ok && users_add(field, buf_bytes(&text), node, faults);
    if (!ok)
        cfg_file_users_clear(field); /* some of them say nothing of what the file was to hold */
    buf_free(&text);
    free(path);
    return ok;
}

/* What is wrong with a line, without the line, which holds a key. */
static const char *shared_key_add(struct cfg_est *est, struct bytes line)
{
    struct cfg_shared_key item = {BUF_INIT(SHARED_ID_MAX), BUF_SECRET(CFG_SHARED_KEY_LEN)};
    struct bytes id;
    const char *wrong = NULL;
    if (!bytes_take_until(&line, ':', &id) || !id.len || !text_unhex(id, &item.id))
        wrong = "is not ID:KEY, with an id of at most 64 octets in hex";
    else if (!text_unhex(line, &item.key) || item.key.len != CFG_SHARED_KEY_LEN)
        wrong = "has no key of 32 octets in hex";
    else if (est->shared_key_count == LINES_MAX)
        wrong = "is one key too many";
    for (size_t i = 0; !wrong && i < est->shared_key_count; i++)
        if (bytes_equal(buf_bytes(&item.id), buf_bytes(&est->shared_keys[i].id)))
            wrong = "has an id that occurred before";
    if (wrong) {
        buf_free(&item.id);
        buf_free(&item.key);
        return wrong;
    }
    est->shared_keys =
        mem_resize(est->shared_keys, est->shared_key_count + 1, sizeof *est->shared_keys);
    est->shared_keys[est->shared_key_count++] = item;
    return NULL;
}

static bool shared_keys_add(struct cfg_est *est, struct bytes text, const struct cfg_node *node,
                            struct cfg_faults *faults)
{
    struct bytes line;
    for (size_t number = 1; line_take(&text, &line); number++) {
        const char *wrong = line.len && line.ptr[0] != '#' ? shared_key_add(est, line) : NULL;
        if (wrong) {
            cfg_fault(faults, node, "line %zu %s; expected %s", number, wrong, shared_form);
            return false;
        }
    }
    if (!est->shared_key_count)
        cfg_fault(faults, node, "holds no key; expected %s", shared_form);
    return est->shared_key_count;
}

bool cfg_file_shared_keys(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    struct buf text = BUF_SECRET(LINES_FILE_MAX);
    struct err err;
    char *path = usable(node, shared_form, false, faults);
    bool ok = path && guarded(node, path, faults);
    if (ok && !pem_file_read(path, LINES_FILE_MAX, &text, &err)) {
        cfg_fault(faults, node, "%s; expected %s", err.text, shared_form);
        ok = false;
    }
    ok = ok && shared_keys_add(field, buf_bytes(&text), node, faults);
    buf_free(&text);
    free(path);
    return ok;
}

void cfg_file_shared_keys_clear(void *field)
{
    struct cfg_est *est = field;
    for (size_t i = 0; i < est->shared_key_count; i++) {
        buf_free(&est->shared_keys[i].id);
        buf_free(&est->shared_keys[i].key);
    }
    free(est->shared_keys);
    est->shared_keys = NULL;
    est->shared_key_count = 0;
}

static bool blocklist_read(const struct cfg_node *node, struct blocklist **list,
                           struct cfg_faults *faults)
{
    struct buf text = BUF_INIT(BLOCKLIST_FILE_MAX);
    struct err err;
    char *path = usable(node, blocklist_form, true, faults);
    if (!path)
        return false;
    bool ok = pem_file_read(path, BLOCKLIST_FILE_MAX, &text, &err) &&
              blocklist_add(buf_bytes(&text), list, &err);
    if (!ok)
        cfg_fault(faults, node, "%s; expected %s", err.text, blocklist_form);
    buf_free(&text);
    free(path);
    return ok;
}

bool cfg_file_blocklists(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    bool ok = cfg_is_list(node, blocklist_form, faults);
    for (size_t i = 0; ok && i < node->count; i++)
        ok = blocklist_read(node->items[i], field, faults);
    return ok;
}

void cfg_file_blocklists_clear(void *field)
{
    struct blocklist **list = field;
    blocklist_free(*list);
    *list = NULL;
}
