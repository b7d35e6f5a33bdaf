#include "est/auth.h"

#include <stdlib.h>
#include <string.h>

#define CHALLENGES_MAX 700 /* a reply's head stays below 1 KiB */

bool est_auth_offered(const struct cfg_est *est)
{
    return est->auth_basic || est->auth_digest;
}

static struct est_digest_ask ask_of(const struct est_call *call)
{
    return (struct est_digest_ask){call->profile, call->method, call->target};
}

static bool is_digest(struct bytes header)
{
    struct bytes scheme;
    header = bytes_trim(header);
    bytes_take_until(&header, ' ', &scheme);
    return bytes_equal_nocase(scheme, "Digest");
}

void est_auth_take(const struct est_call *call, struct est_auth *ret)
{
    const struct cfg_est *est = &call->profile->est;
    struct est_digest_ask ask = ask_of(call);
    *ret = (struct est_auth){0};
    if (call->authorizations > 1) {
        (void)err_set(&ret->wrong, ERR_PEER, "%u Authorization headers", call->authorizations);
    } else if (call->authorizations == 1 && est->auth_digest && call->nonces &&
               is_digest(call->authorization)) {
        if (est_digest_parse(call->authorization, &ret->digest, &ret->wrong) &&
            est_digest_fits(&ret->digest, &ask, &ret->wrong)) {
            ret->kind = EST_AUTH_DIGEST;
            ret->user = bytes_str(ret->digest.user);
        }
    } else if (call->authorizations == 1) {
        if (est->auth_basic && est_basic_parse(call->authorization, &ret->basic)) {
            ret->kind = EST_AUTH_BASIC;
            ret->user = ret->basic.user;
        } else {
            (void)err_set(&ret->wrong, ERR_PEER,
                          "an Authorization header that is malformed or not "
                          "of a kind that the profile takes");
        }
    }
}

void est_auth_clear(struct est_auth *auth)
{
    est_basic_clear(&auth->basic);
    *auth = (struct est_auth){0};
}

static enum est_auth_result check_digest(const struct est_call *call, const struct est_auth *auth,
                                         struct ra_evidence *evidence)
{
    struct est_digest_ask ask = ask_of(call);
    struct est_digest_proof proof;
    if (!est_digest_check(&auth->digest, &ask, &proof))
        return EST_AUTH_WRONG;
    /* After the response: who does not know the password uses up nobody's count. */
    if (!est_nonce_use(call->nonces, call->settings->generation, bytes_str(auth->digest.nonce),
                       auth->digest.count))
        return EST_AUTH_STALE;
    if (proof.user)
        evidence->principal = proof.user->name;
    evidence->challenge = proof.challenge;
    if (!proof.user)
        evidence->user = auth->user;
    return EST_AUTH_RIGHT;
}

enum est_auth_result est_auth_check(const struct est_call *call, const struct est_auth *auth,
                                    struct ra_evidence *evidence)
{
    if (auth->kind == EST_AUTH_DIGEST)
        return check_digest(call, auth, evidence);
    const struct cfg_user *user = est_basic_check(call->profile, &auth->basic);
    if (user) {
        evidence->principal = user->name;
    } else {
        evidence->challenge = auth->basic.password;
        evidence->user = auth->user;
    }
    return EST_AUTH_RIGHT;
}

/* Each with a nonce of its own, since a client takes one of them. */
static bool add_digest(const struct est_call *call, const char *algorithm, bool stale,
                       struct buf *out)
{
    char nonce[EST_NONCE_LEN + 1];
    struct err ignored;
    return est_nonce_make(call->nonces, call->settings->generation, nonce, &ignored) &&
           buf_add_fmt(out, "%sDigest realm=\"%s\", qop=\"auth\", algorithm=%s, nonce=\"%s\"%s",
                       out->len ? "\n" : "", call->profile->est.realm, algorithm, nonce,
                       stale ? ", stale=true" : "");
}

void est_auth_ask(const struct est_call *call, bool stale, struct est_reply *reply)
{
    const struct cfg_est *est = &call->profile->est;
    struct buf out = BUF_INIT(CHALLENGES_MAX);
    bool digest = est->auth_digest && call->nonces;
    bool ok = !digest || (add_digest(call, "SHA-256", stale, &out) &&
                          (!est->digest_md5 || add_digest(call, "MD5", stale, &out)));
    ok = ok && (!est->auth_basic ||
                buf_add_fmt(&out, "%sBasic realm=\"%s\"", out.len ? "\n" : "", est->realm));
    free(reply->authenticate);
    reply->authenticate = ok && out.len ? mem_strdup(buf_str(&out)) : NULL;
    buf_free(&out);
}
