#include "gateway/wire_challenge.h"

#include "base/clock.h"
#include "config/node.h"
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
    const struct cfg_profile *profile;
    const struct cfg_node *node; /* where the profile stands */
    struct cfg_faults *faults;
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

/* What stands under the key, or what should hold it. */
static const struct cfg_node *within(const struct cfg_node *node, const char *key)
{
    const struct cfg_node *child = cfg_node_get(node, key);
    return child ? child : node;
}

/* Through EST a challenge reaches the CA only where challengePassword is one. RFC 7030 section 3.5
 * has a binding there, which such a CA takes for a secret and refuses. */
static void check_est(const struct wants *wants, const struct upstream *up)
{
    static const char *const meant[] = {
        [CFG_PASSWORD_BINDING] = "the channel binding", [CFG_PASSWORD_REFUSE] = "refused"};
    const struct cfg_est *est = &wants->profile->est;
    const struct cfg_node *node = cfg_node_get(wants->node, "est");
    if (est->enabled && est->keygen != CFG_KEYGEN_OFF)
        cfg_fault_key(wants->faults, cfg_node_get(node, "keygen"), NULL,
                      "makes keys, and a CSR for such a key holds no challengePassword, which "
                      "upstream %s reads; expected off",
                      up->name);
    else if (est->enabled && est->challenge_password != CFG_PASSWORD_SECRET)
        cfg_fault_key(wants->faults, within(node, "challenge_password"), NULL,
                      "challengePassword is %s, and upstream %s takes it for its own secret; "
                      "expected est.challenge_password: secret, or another profile for EST",
                      meant[est->challenge_password], up->name);
}

/* A CA that judges challenges itself cannot know those that we make. */
static void check_reader(const struct wants *wants, const struct upstream *up)
{
    if (wants->profile->challenge.kinds[CFG_CHALLENGE_ONE_TIME])
        cfg_fault_key(wants->faults, within(within(wants->node, "challenge"), "kinds"), NULL,
                      "one-time challenges are taken, which upstream %s would have to know as "
                      "well (challenge: passthrough); expected challenge.kinds: [fixed], or "
                      "challenge: broker there",
                      up->name);
    else
        check_est(wants, up);
}

static bool one_time_only(const struct cfg_challenge *challenge)
{
    for (unsigned i = 0; i < CFG_CHALLENGE_KIND_COUNT; i++)
        if (challenge->kinds[i] != (i == CFG_CHALLENGE_ONE_TIME))
            return false;
    return true;
}

/* A brokered challenge is the CA's: it counts once, and no other kind gets past the CA. */
static void check_broker(const struct wants *wants)
{
    const char *up = wants->broker->name;
    const struct upstream *other = wants->second ? wants->second : wants->reader;
    const struct cfg_node *challenge = within(wants->node, "challenge");
    if (other)
        cfg_fault_key(wants->faults, within(wants->node, "routes"), NULL,
                      "challenges come from upstream %s (challenge: broker), and requests may "
                      "also go to %s, which would refuse them; expected another profile for one "
                      "of the two",
                      up, other->name);
    else if (!one_time_only(&wants->profile->challenge))
        cfg_fault_key(wants->faults, within(challenge, "kinds"), NULL,
                      "challenges come from upstream %s (challenge: broker), which knows no "
                      "others; expected challenge.kinds: [one-time]",
                      up);
    else if (wants->profile->challenge.uses != 1)
        cfg_fault_key(wants->faults, within(challenge, "uses"), NULL,
                      "challenges come from upstream %s (challenge: broker), which takes each "
                      "once; expected 1",
                      up);
    else
        check_est(wants, wants->broker);
}

void wire_challenge_check(const struct ra_settings *settings, const struct cfg_profile *profile,
                          const struct cfg_node *node, struct cfg_faults *faults)
{
    struct wants wants = {settings, profile, node, faults, NULL, NULL, NULL};
    (void)each(profile, take_wants, &wants);
    if (wants.broker)
        check_broker(&wants);
    else if (wants.reader)
        check_reader(&wants, wants.reader);
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
