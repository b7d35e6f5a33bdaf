#include "ra/challenge/challenge.h"

#include "base/clock.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 32 characters: five bits each, so 20 of them carry 100. */
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static bool refuse(struct challenge_verdict *ret, const char *why)
{
    snprintf(ret->detail, sizeof ret->detail, "%s", why);
    return true;
}

/* "a,b,c" as names_parse_text wants it: the array points into *copy. */
static size_t split(char *copy, const char *parts[NAMES_SAN_MAX])
{
    size_t count = 0;
    for (char *p = copy; *p && count < NAMES_SAN_MAX;) {
        parts[count++] = p;
        p += strcspn(p, ",");
        if (*p)
            *p++ = 0;
    }
    return count;
}

static bool bound_names(const struct store_challenge *row, struct names *ret, struct err *err)
{
    const char **parts = mem_zalloc(NAMES_SAN_MAX * sizeof *parts);
    char *copy = mem_strdup(row->sans);
    size_t count = split(copy, parts);
    bool ok = names_parse_text(row->subject, parts, count, ret, err);
    free(copy);
    free(parts);
    return ok || err_within(err, "reading the names of a stored challenge");
}

/* On EST the user name must be the device that the challenge is bound to (CN or one SAN). */
static bool user_is_bound(const struct names *bound, struct bytes user)
{
    const char *cn = names_attr_get(bound, "CN");
    if (cn && bytes_equal_str(user, cn))
        return true;
    for (size_t i = 0; i < bound->san_count; i++)
        if (bytes_equal_str(user, bound->sans[i].text))
            return true;
    return false;
}

static void refuse_sans(const char *bound, const struct names *asked, struct challenge_verdict *ret)
{
    struct buf sans = BUF_INIT(sizeof ret->detail);
    const char *has = "others";
    if (names_san_text(asked, &sans)) /* else too many to be shown */
        has = sans.len ? buf_str(&sans) : "none";
    snprintf(ret->detail, sizeof ret->detail, "the challenge is for %s%.100s, the CSR has %.100s",
             *bound ? "the SANs " : "no SAN", bound, has);
    buf_free(&sans);
}

/* A challenge that names something allows these names and no others, in this spelling: RFC 5280
 * section 7.1 takes "CN=admin" for "CN=Admin", and who reads the certificate later may not. */
static bool judge_names(const struct store_challenge *row, const struct ra_request *request,
                        struct challenge_verdict *ret, struct err *err)
{
    struct names bound = {0};
    const struct names *asked = csr_wanted_get(request->csr);
    if (!bound_names(row, &bound, err))
        return false;
    if (row->subject[0] &&
        (!names_subject_equal(&bound, asked) || strcmp(row->subject, asked->subject_text) != 0))
        snprintf(ret->detail, sizeof ret->detail,
                 "the challenge is for \"%.100s\", the CSR for \"%.100s\"", row->subject,
                 asked->subject_text);
    else if (!names_san_equal(&bound, asked))
        refuse_sans(row->sans, asked, ret);
    else if (request->evidence.user.len && !user_is_bound(&bound, request->evidence.user))
        refuse(ret, "the user name is not the device that the challenge is for");
    else
        ret->accepted = true;
    ret->missed = !ret->accepted;
    names_clear(&bound);
    return true;
}

static bool one_time_judge(struct store *store, const struct ra_request *request,
                           struct challenge_verdict *ret, struct err *err)
{
    struct store_challenge *row = mem_zalloc(sizeof *row);
    struct bytes secret = request->evidence.challenge;
    bool found, ok;
    SHA256(secret.ptr, secret.len, ret->digest);
    ok = store->vt->challenge_find(store, ret->digest, row, &found, err);
    if (!ok || !found || strcmp(row->profile, request->profile->name) != 0)
        goto out;
    ret->known = true;
    ret->spends = true;
    if (row->expires <= clock_now())
        refuse(ret, "the challenge has expired");
    else if (row->uses_left == STORE_CHALLENGE_BURNT)
        refuse(ret, "the challenge came with too many names that it is not for, and is spent");
    else if (row->uses_left <= 0)
        refuse(ret, "the challenge has been used");
    else if (row->subject[0] || row->sans[0])
        ok = judge_names(row, request, ret, err);
    else
        ret->accepted = true;
out:
    free(row);
    return ok;
}

/* What a request names, whichever way the secret came: subject, SANs and, on EST, the user. */
static bool names_digest(const struct ra_request *request, uint8_t digest[RA_DIGEST_LEN])
{
    const struct names *asked = csr_wanted_get(request->csr);
    struct buf text = {0};
    bool ok = buf_add(&text, buf_bytes(&asked->subject)) && buf_add_u8(&text, 0) &&
              names_san_text(asked, &text) && buf_add_u8(&text, 0) &&
              buf_add(&text, request->evidence.user);
    SHA256(text.ptr, text.len, digest);
    buf_free(&text);
    return ok;
}

bool challenge_miss(struct store *store, const struct ra_request *request,
                    const struct challenge_verdict *verdict, bool *spent, struct err *err)
{
    uint8_t names[RA_DIGEST_LEN];
    struct audit_event event = {
        .event = "challenge-burnt",
        .profile = request->profile->name,
        .origin = request->origin,
        .subject = csr_wanted_get(request->csr)->subject_text,
        .detail = verdict->detail,
    };
    struct store_miss miss = {verdict->digest, names, request->profile->challenge.mismatches,
                              &event};
    *spent = false;
    if (!miss.limit)
        return true;
    return names_digest(request, names) ? store->vt->challenge_miss(store, &miss, spent, err)
                                        : err_set(err, ERR_LOCAL, "names that are too long");
}

static bool draw_secret(char out[CHALLENGE_LEN + 1], struct err *err)
{
    uint8_t noise[CHALLENGE_LEN];
    if (RAND_bytes(noise, sizeof noise) != 1)
        return err_openssl(err, ERR_LOCAL, "no random bytes for a challenge");
    for (size_t i = 0; i < CHALLENGE_LEN; i++)
        out[i] = alphabet[noise[i] & 31];
    out[CHALLENGE_LEN] = 0;
    OPENSSL_cleanse(noise, sizeof noise);
    return true;
}

/* What will be read back must be what was asked for: a comma in a SAN would come back as two. */
static bool reads_back(const struct store_challenge *row, const struct names *names)
{
    struct names again;
    struct err err;
    if (!bound_names(row, &again, &err))
        return false;
    bool same = names_subject_equal(&again, names) && names_san_equal(&again, names);
    names_clear(&again);
    return same;
}

/* The names as they will be compared: parsed once now, so that a typing error shows now. */
static bool take_names(const struct challenge_mint *mint, struct store_challenge *row,
                       struct err *err)
{
    struct names names;
    struct buf sans = BUF_INIT(sizeof row->sans - 1);
    if (!names_parse_text(mint->subject ? mint->subject : "", mint->sans, mint->san_count, &names,
                          err))
        return false;
    bool fits = names_san_text(&names, &sans) && strlen(names.subject_text) < sizeof row->subject;
    if (fits) {
        snprintf(row->subject, sizeof row->subject, "%s", names.subject_text);
        snprintf(row->sans, sizeof row->sans, "%s", buf_str(&sans));
        fits = reads_back(row, &names);
    }
    names_clear(&names);
    buf_free(&sans);
    return fits || err_set(err, ERR_PEER,
                           "the names of the challenge are too long, or a SAN of it "
                           "holds a comma");
}

/* What another one handed out may have been handed out before, by mistake or because the CA has one
 * for all: it would let in two devices. */
static bool take_given(struct store *store, const struct challenge_mint *mint,
                       struct store_challenge *row, struct err *err)
{
    struct store_challenge *before = mem_zalloc(sizeof *before);
    bool found = false;
    SHA256(mint->given.ptr, mint->given.len, row->digest);
    bool ok = store->vt->challenge_find(store, row->digest, before, &found, err);
    free(before);
    return ok && (!found || err_set(err, ERR_UPSTREAM,
                                    "the upstream CA handed out a challenge that it had handed out "
                                    "before"));
}

static bool take_new(char out[CHALLENGE_LEN + 1], struct store_challenge *row, struct err *err)
{
    if (!draw_secret(out, err))
        return false;
    SHA256((const uint8_t *)out, CHALLENGE_LEN, row->digest);
    return true;
}

/* Leaves the names in the row. */
static bool check(const struct challenge_mint *mint, struct store_challenge *row, struct err *err)
{
    const struct cfg_profile *profile = mint->profile;
    if (!profile->challenge.kinds[CFG_CHALLENGE_ONE_TIME])
        return err_set(err, ERR_CONFIG, "profile \"%s\" takes no one-time challenges",
                       profile->name);
    if (mint->ttl <= 0 || mint->uses <= 0)
        return err_set(err, ERR_PEER, "a challenge needs a positive time to live and uses");
    return take_names(mint, row, err);
}

bool challenge_mint_check(const struct challenge_mint *mint, struct err *err)
{
    struct store_challenge row = {0};
    return check(mint, &row, err);
}

bool challenge_create(struct store *store, const struct challenge_mint *mint,
                      char out[CHALLENGE_LEN + 1], struct err *err)
{
    struct store_challenge row = {.uses_left = mint->uses};
    *out = 0;
    if (!check(mint, &row, err) ||
        !(mint->given.len ? take_given(store, mint, &row, err) : take_new(out, &row, err)))
        return false;
    snprintf(row.profile, sizeof row.profile, "%s", mint->profile->name);
    row.created = clock_now();
    row.expires = row.created + mint->ttl;
    struct audit_event event = {
        .event = mint->given.len ? "challenge-brokered" : "challenge-created",
        .profile = row.profile,
        .origin = "cli",
        .subject = row.subject[0] ? row.subject : NULL,
        .detail = row.sans[0] ? row.sans : NULL,
    };
    return store->vt->challenge_add(store, &row, &event, err);
}

const struct challenge_vt challenge_one_time = {.kind = "one-time", .judge = one_time_judge};
