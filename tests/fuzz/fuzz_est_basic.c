#include "est/basic.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool holds(struct bytes text, int byte)
{
    return text.len && memchr(text.ptr, byte, text.len);
}

/* Credentials that are accepted lie in their buffer, within their ceilings and without a NUL. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct est_basic basic = {0};
    struct cfg_profile profile = {0};
    if (est_basic_parse(bytes_of(data, size), &basic)) {
        if (basic.user.len > EST_USER_MAX || basic.password.len > EST_PASSWORD_MAX)
            abort();
        if (holds(basic.user, ':') || holds(basic.user, 0) || holds(basic.password, 0))
            abort();
        if (est_basic_check(&profile, &basic))
            abort();
    }
    est_basic_clear(&basic);
    return 0;
}
