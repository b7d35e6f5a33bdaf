#include "est/binding.h"

#include "base/text.h"

#define BINDING_MAX 64

/* Exact length, constant time. */
static bool matches(const char *name, struct bytes text, struct bytes binding, struct err *err)
{
    struct buf value = BUF_SECRET(BINDING_MAX);
    struct err ignored;
    if (!binding.len)
        return err_set(err, ERR_PEER, "%s on a connection that nothing can be bound to", name);
    bool ok = text_base64_decode(text, TEXT_BASE64_STRICT, &value, &ignored) &&
              bytes_equal_secret(buf_bytes(&value), binding);
    buf_free(&value);
    return ok ||
           err_set(err, ERR_PEER,
                   "%s is not that of this TLS connection; something between may end TLS", name);
}

bool est_password_check(const struct cfg_est *est, const struct csr *csr, struct err *err)
{
    return !csr_challenge_has(csr) || est->challenge_password != CFG_PASSWORD_REFUSE ||
           err_set(err, ERR_PEER, "challengePassword, which the profile refuses");
}

bool est_binding_check(const struct cfg_est *est, const struct csr *csr, struct bytes binding,
                       struct err *err)
{
    struct bytes password = csr_challenge_get(csr), linking = csr_linking_get(csr);
    bool bound = false;
    if (!est_password_check(est, csr, err))
        return false;
    if (est->binding == CFG_BINDING_NONE)
        return true;
    if (csr_challenge_has(csr) && est->challenge_password == CFG_PASSWORD_BINDING) {
        if (!matches("challengePassword", password, binding, err))
            return false;
        bound = true;
    }
    if (csr_linking_has(csr)) {
        if (!matches("estIdentityLinking", linking, binding, err))
            return false;
        bound = true;
    }
    return bound || est->binding != CFG_BINDING_REQUIRED ||
           err_set(err, ERR_PEER, "a CSR that is not bound to its TLS connection");
}
