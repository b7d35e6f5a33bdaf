#include "gateway/wire_challenge.h"

#include "base/clock.h"
#include "gateway/wire.h"

#include <openssl/crypto.h>

#define DEADLINE_MS 30000

/* Every upstream that a request of the profile can go to, some more than once: false ends it. */
static bool each(const struct cfg_profile *profile, bool (*take)(void *arg, size_t upstream),
                 void *arg)
{
    for (size_t r = 0; r < profile->route_count; r++)
        for (size_t i = 0; i < profile->routes[r].pool_count; i++)
            if (!take(arg, profile->routes[r].pool[i]))
                return false;
    const struct cfg_next *next = &profile->scep.next;
    return (!profile->migrate || take(arg, profile->migrate_to)) &&
           (!next->upstream_given || take(arg, next->upstream));
}

/* What the upstreams of a profile want of its challenges. */
struct wants {
    const struct ra_settings *settings;
    const struct upstream *broker; /* hands them out */
    const struct upstream *reader; /* judges them, wherever they come from */
    const struct upstream *second; /* another one that hands them out */
};

static bool take_wants(void *arg, size_t upstream)
{
    struct wants *wants = arg;
    const struct upstream *up = wants->settings->upstreams[upstream];
    if (up->vt->challenge && wants->broker && wants->broker != up)
        wants->second = up;
    else if (up->vt->challenge)
        wants->broker = up;
    else if (up->vt->caps & UP_CARRIES_CHALLENGE)
        wants->reader = up;
    return true;
}

/* Through EST a challenge reaches the CA only where challengePassword is one. RFC 7030 section 3.5
 * has a binding there, which such a CA takes for a secret and refuses. */
static bool check_est(const struct cfg_profile *profile, const struct upstream *up, struct err *err)
{
    static const char *const meant[] = {
        [CFG_PASSWORD_BINDING] = "the channel binding", [CFG_PASSWORD_REFUSE] = "refused"};
    if (profile->est.enabled && profile->est.keygen != CFG_KEYGEN_OFF)
        return err_set(err, ERR_CONFIG,
                       "profile %s makes keys (est.keygen), and a CSR for such a key holds no "
                       "challengePassword, which upstream %s reads; expected est.keygen: off",
                       profile->name, up->name);
    if (!profile->est.enabled || profile->est.challenge_password == CFG_PASSWORD_SECRET)
        return true;
    return err_set(
        err, ERR_CONFIG,
        "profile %s has est, where challengePassword is %s (est.challenge_password), and "
        "upstream %s takes it for its own secret; expected est.challenge_password: secret, "
        "or another profile for EST",
        profile->name, meant[profile->est.challenge_password], up->name);
}

/* A CA that judges challenges itself cannot know those that we make. */
static bool check_reader(const struct cfg_profile *profile, const struct upstream *up,
                         struct err *err)
{
    if (!profile->challenge.kinds[CFG_CHALLENGE_ONE_TIME])
        return check_est(profile, up, err);
    return err_set(
        err, ERR_CONFIG,
        "profile %s takes one-time challenges, which upstream %s would have to know as well "
        "(challenge: passthrough); expected challenge.kinds: [fixed], or challenge: "
        "broker there",
        profile->name, up->name);
}

static bool one_time_only(const struct cfg_challenge *challenge)
{
    for (unsigned i = 0; i < CFG_CHALLENGE_KIND_COUNT; i++)
        if (challenge->kinds[i] != (i == CFG_CHALLENGE_ONE_TIME))
            return false;
    return true;
}

/* A brokered challenge is the CA's: it counts once, and no other kind gets past the CA. */
static bool check_broker(const struct cfg_profile *profile, const struct wants *wants,
                         struct err *err)
{
    const char *name = profile->name, *up = wants->broker->name;
    const struct upstream *other = wants->second ? wants->second : wants->reader;
    if (other)
        return err_set(
            err, ERR_CONFIG,
            "profile %s gets its challenges from upstream %s (challenge: broker), and may "
            "also go to %s, which would refuse them",
            name, up, other->name);
    if (!one_time_only(&profile->challenge))
        return err_set(err, ERR_CONFIG,
                       "profile %s gets its challenges from upstream %s (challenge: broker), which "
                       "knows no others; expected challenge.kinds: [one-time]",
                       name, up);
    if (profile->challenge.uses != 1)
        return err_set(err, ERR_CONFIG,
                       "profile %s gets its challenges from upstream %s (challenge: broker), which "
                       "takes each once; expected challenge.uses: 1",
                       name, up);
    return check_est(profile, wants->broker, err);
}

bool wire_challenge_check(const struct ra_settings *settings, const struct cfg_profile *profile,
                          struct err *err)
{
    struct wants wants = {.settings = settings};
    (void)each(profile, take_wants, &wants);
    if (wants.broker)
        return check_broker(profile, &wants, err);
    return !wants.reader || check_reader(profile, wants.reader, err);
}

struct opening {
    const struct cfg *cfg;
    struct upstream *up;
    struct err *err;
    bool failed;
};

/* Only kinds that can hand out challenges are opened; whether one does, its options say. */
static bool take_open(void *arg, size_t upstream)
{
    struct opening *opening = arg;
    const struct cfg_upstream *conf = &opening->cfg->upstreams[upstream];
    const struct upstream_vt *vt = wire_vt(conf->kind);
    if (!vt || !vt->challenge)
        return true;
    if (!vt->open(conf, &opening->up, opening->err)) {
        opening->failed = true;
        return err_within(opening->err, "opening upstream %s", conf->name);
    }
    if (opening->up->vt->challenge)
        return false; /* found */
    opening->up->vt->close(opening->up);
    opening->up = NULL;
    return true;
}

bool wire_challenge_open(const struct cfg *cfg, const struct cfg_profile *profile,
                         struct upstream **ret, struct err *err)
{
    struct opening opening = {.cfg = cfg, .err = err};
    *ret = NULL;
    (void)each(profile, take_open, &opening);
    if (opening.failed)
        return false;
    *ret = opening.up;
    return true;
}

/* Ours. */
static bool create_new(struct store *store, const struct challenge_mint *mint, struct buf *secret,
                       struct err *err)
{
    char text[CHALLENGE_LEN + 1];
    bool ok = challenge_create(store, mint, text, err) &&
              (buf_set(secret, bytes_str(text)) || err_set(err, ERR_LOCAL, "no memory"));
    OPENSSL_cleanse(text, sizeof text);
    return ok;
}

/* The CA's. One that cannot be stored is lost and stays in one of the CA's few places until it
 * expires, so what can be wrong is looked at before. */
static bool create_given(struct store *store, struct upstream *up, struct challenge_mint *mint,
                         struct buf *secret, struct err *err)
{
    char none[CHALLENGE_LEN + 1];
    int64_t life;
    if (!challenge_mint_check(mint, err))
        return false;
    if (mint->uses != 1)
        return err_set(err, ERR_PEER,
                       "challenges of this profile come from upstream %s, which takes each once",
                       up->name);
    if (!up->vt->challenge(up, clock_mono_ms() + DEADLINE_MS, secret, &life, err))
        return err_within(err, "minting a challenge at upstream %s", up->name);
    if (life && life < mint->ttl)
        mint->ttl = life;
    mint->given = buf_bytes(secret);
    return challenge_create(store, mint, none, err);
}

bool wire_challenge_create(struct store *store, const struct cfg *cfg, struct challenge_mint *mint,
                           struct buf *secret, struct err *err)
{
    struct upstream *up;
    secret->secret = true;
    if (!wire_challenge_open(cfg, mint->profile, &up, err))
        return false;
    bool ok =
        up ? create_given(store, up, mint, secret, err) : create_new(store, mint, secret, err);
    if (up)
        up->vt->close(up);
    return ok;
}
