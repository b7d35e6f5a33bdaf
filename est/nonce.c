#include "est/nonce.h"

#include "base/clock.h"
#include "base/text.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SETS 1024
#define WAYS 4
#define SECRET_LEN 32
#define TAG_LEN 16

/* How often a nonce was used: the highest count, and which of those below it. */
struct use {
    uint64_t number; /* of the nonce; 0: free */
    uint32_t highest;
    uint64_t seen; /* bit i: highest - i */
};

struct set {
    struct use uses[WAYS];
    uint64_t floor; /* nonces up to this number may have been used, and it is not known how often */
};

struct est_nonces {
    uint8_t secret[SECRET_LEN]; /* of the process: after a restart all nonces are old */
    pthread_mutex_t mutex;      /* guards what follows */
    uint64_t last;
    struct set sets[SETS];
};

/* What a nonce says, before its tag. */
struct claim {
    uint64_t issued; /* seconds since 1970 */
    uint64_t number; /* counted from 1 */
};

struct est_nonces *est_nonces_new(void)
{
    struct est_nonces *nonces = mem_zalloc(sizeof *nonces);
    if (RAND_bytes(nonces->secret, sizeof nonces->secret) != 1)
        err_no_memory(); /* a secret that can be guessed would be no secret */
    pthread_mutex_init(&nonces->mutex, NULL);
    return nonces;
}

void est_nonces_free(struct est_nonces *nonces)
{
    if (!nonces)
        return;
    pthread_mutex_destroy(&nonces->mutex);
    OPENSSL_cleanse(nonces->secret, sizeof nonces->secret);
    free(nonces);
}

static bool add_u64(struct buf *out, uint64_t value)
{
    bool ok = true;
    for (unsigned i = 0; i < 8; i++)
        ok = ok && buf_add_u8(out, (uint8_t)(value >> (56 - 8 * i)));
    return ok;
}

static bool take_u64(struct bytes *cur, uint64_t *ret)
{
    uint8_t byte;
    *ret = 0;
    for (unsigned i = 0; i < 8; i++) {
        if (!bytes_take_u8(cur, &byte))
            return false;
        *ret = *ret << 8 | byte;
    }
    return true;
}

/* The claim and its tag, over the claim and the generation. */
static bool sign(const struct est_nonces *nonces, const struct claim *claim, uint64_t generation,
                 struct buf *out)
{
    struct buf text = BUF_INIT(64);
    uint8_t tag[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    bool ok = add_u64(&text, claim->issued) && add_u64(&text, claim->number) &&
              buf_add(out, buf_bytes(&text)) && add_u64(&text, generation) &&
              HMAC(EVP_sha256(), nonces->secret, SECRET_LEN, text.ptr, text.len, tag, &len) &&
              buf_add(out, bytes_of(tag, TAG_LEN));
    buf_free(&text);
    return ok;
}

bool est_nonce_make(struct est_nonces *nonces, uint64_t generation, char out[EST_NONCE_LEN + 1],
                    struct err *err)
{
    struct buf raw = BUF_INIT(EST_NONCE_LEN / 2);
    struct claim claim = {.issued = (uint64_t)clock_now()};
    pthread_mutex_lock(&nonces->mutex);
    claim.number = ++nonces->last;
    pthread_mutex_unlock(&nonces->mutex);
    bool ok = sign(nonces, &claim, generation, &raw);
    if (ok)
        text_hex(buf_bytes(&raw), out);
    buf_free(&raw);
    return ok || err_openssl(err, ERR_LOCAL, "signing a nonce");
}

static bool read_claim(const struct est_nonces *nonces, uint64_t generation, struct bytes nonce,
                       struct claim *ret)
{
    struct buf raw = BUF_INIT(EST_NONCE_LEN / 2), own = BUF_INIT(EST_NONCE_LEN / 2);
    bool ok = text_unhex(nonce, &raw);
    struct bytes cur = buf_bytes(&raw);
    ok = ok && take_u64(&cur, &ret->issued) && take_u64(&cur, &ret->number) &&
         sign(nonces, ret, generation, &own) &&
         bytes_equal_secret(buf_bytes(&own), buf_bytes(&raw));
    buf_free(&raw);
    buf_free(&own);
    return ok;
}

/* The nonce's entry, a new one if it has none; NULL if it is unknown how often it was used. */
static struct use *use_of(struct set *set, uint64_t number)
{
    struct use *oldest = &set->uses[0];
    for (unsigned i = 0; i < WAYS; i++) {
        if (set->uses[i].number == number)
            return &set->uses[i];
        if (set->uses[i].number < oldest->number)
            oldest = &set->uses[i];
    }
    /* One that is older than all that are kept would push out itself the next time. */
    if (number <= set->floor || number < oldest->number)
        return NULL;
    set->floor = oldest->number;
    *oldest = (struct use){.number = number};
    return oldest;
}

/* RFC 4303 section 3.4.3 has the same window for packets. */
static bool count_once(struct use *use, uint32_t count)
{
    if (count == 0)
        return false;
    if (count > use->highest) {
        uint32_t by = count - use->highest;
        use->seen = by < EST_NONCE_WINDOW ? use->seen << by : 0;
        use->seen |= 1;
        use->highest = count;
        return true;
    }
    uint32_t below = use->highest - count;
    if (below >= EST_NONCE_WINDOW || use->seen >> below & 1)
        return false;
    use->seen |= UINT64_C(1) << below;
    return true;
}

bool est_nonce_use(struct est_nonces *nonces, uint64_t generation, struct bytes nonce,
                   uint32_t count)
{
    struct claim claim;
    uint64_t now = (uint64_t)clock_now();
    if (!read_claim(nonces, generation, nonce, &claim))
        return false;
    if (now < claim.issued || now - claim.issued > EST_NONCE_SECONDS)
        return false;
    pthread_mutex_lock(&nonces->mutex);
    struct use *use = use_of(&nonces->sets[claim.number % SETS], claim.number);
    bool fresh = use && count_once(use, count);
    pthread_mutex_unlock(&nonces->mutex);
    return fresh;
}
