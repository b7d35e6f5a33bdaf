#include "gateway/upstream/relay_chain.h"

#include "base/pem.h"
#include "gateway/upstream/relay.h"

#include <pthread.h>
#include <stdlib.h>

/* Then it stays as it is until the configuration is read again. */
#define CHANGES_MAX 64

/* Every state that a reader may hold is kept. */
struct relay_chain {
    pthread_mutex_t mutex;
    struct cfg_certs states[CHANGES_MAX];
    size_t count;
};

struct relay_chain *relay_chain_new(const struct cfg_certs *known)
{
    struct relay_chain *chain = mem_zalloc(sizeof *chain);
    pthread_mutex_init(&chain->mutex, NULL);
    if (known && known->count)
        relay_chain_set(chain, known->items, known->count);
    return chain;
}

void relay_chain_free(struct relay_chain *chain)
{
    if (!chain)
        return;
    for (size_t i = 0; i < chain->count; i++)
        pem_certs_free(chain->states[i].items, chain->states[i].count);
    pthread_mutex_destroy(&chain->mutex);
    free(chain);
}

static bool is_issuer(const struct cert *issuer, const struct cert *cert)
{
    return issuer != cert && X509_NAME_cmp(X509_get_issuer_name(cert_x509_get(cert)),
                                           X509_get_subject_name(cert_x509_get(issuer))) == 0;
}

/* A root, or the certificate of one by another of the same name (RFC 4210 section 4.4). */
static bool is_self_issued(const struct cert *cert)
{
    const X509 *x509 = cert_x509_get(cert);
    return X509_NAME_cmp(X509_get_issuer_name(x509), X509_get_subject_name(x509)) == 0;
}

/* How many of these stand above it. */
static size_t depth(const struct cert *cert, struct cert *const *certs, size_t count, size_t left)
{
    if (is_self_issued(cert))
        return 0;
    for (size_t i = 0; left && i < count; i++)
        if (is_issuer(certs[i], cert))
            return 1 + depth(certs[i], certs, count, left - 1);
    return 0;
}

static bool states_equal(const struct cfg_certs *a, const struct cfg_certs *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; i < a->count && equal; i++)
        equal = bytes_equal(cert_der_get(a->items[i]), cert_der_get(b->items[i]));
    return equal;
}

void relay_chain_set(struct relay_chain *chain, struct cert *const *certs, size_t count)
{
    struct cfg_certs state = {.items = mem_zalloc(count * sizeof *state.items + 1)};
    for (size_t want = count + 1; want-- > 0;) /* deepest first */
        for (size_t i = 0; i < count; i++)
            if (cert_is_ca(certs[i]) && depth(certs[i], certs, count, count) == want)
                state.items[state.count++] = cert_ref(certs[i]);
    pthread_mutex_lock(&chain->mutex);
    bool same = chain->count && states_equal(&chain->states[chain->count - 1], &state);
    bool kept = state.count && !same && chain->count < CHANGES_MAX;
    if (kept)
        chain->states[chain->count++] = state;
    pthread_mutex_unlock(&chain->mutex);
    if (!kept)
        pem_certs_free(state.items, state.count);
}

bool relay_chain_get(struct relay_chain *chain, const struct cfg_certs **ret, struct err *err)
{
    pthread_mutex_lock(&chain->mutex);
    *ret = chain->count ? &chain->states[chain->count - 1] : NULL;
    pthread_mutex_unlock(&chain->mutex);
    if (!*ret)
        err_set(err, ERR_UPSTREAM, "the CA has not told its certificates yet");
    return *ret != NULL;
}

bool relay_chain_remember(struct relay_chain *chain, struct buf *memory)
{
    const struct cfg_certs *certs;
    struct err ignored;
    bool ok = relay_chain_get(chain, &certs, &ignored);
    for (size_t i = 0; ok && i < certs->count; i++)
        ok = pem_add(memory, "CERTIFICATE", cert_der_get(certs->items[i]));
    return ok;
}

void relay_chain_recall(struct relay_chain *chain, struct bytes memory)
{
    const struct cfg_certs *known;
    struct cert **certs = NULL;
    size_t count = 0;
    struct err ignored;
    if (relay_chain_get(chain, &known, &ignored) ||
        !relay_certs_decode(memory, &certs, &count, &ignored))
        return;
    relay_chain_set(chain, certs, count);
    pem_certs_free(certs, count);
}

bool relay_chain_issued(struct relay_chain *chain, const struct cert *cert)
{
    const struct cfg_certs *certs;
    struct err ignored;
    if (!relay_chain_get(chain, &certs, &ignored))
        return false;
    for (size_t i = 0; i < certs->count; i++) { /* OpenSSL wants to see the issuer's key */
        X509 *issuer = cert_keyed_get(certs->items[i]);
        if (issuer && X509_check_issued(issuer, cert_x509_get(cert)) == X509_V_OK)
            return true;
    }
    return false;
}
