#include "gateway/route.h"

#include <string.h>

#define PATH_MAX_LEN 2048

static bool path_plain(struct bytes path)
{
    struct bytes segment, cur = path;
    if (path.len > PATH_MAX_LEN)
        return false;
    for (size_t i = 0; i < path.len; i++)
        if (path.ptr[i] <= ' ' || path.ptr[i] > '~' || path.ptr[i] == '%' || path.ptr[i] == '\\')
            return false;
    for (bool more = true; more;) {
        more = bytes_take_until(&cur, '/', &segment);
        if (bytes_equal_str(segment, ".") || bytes_equal_str(segment, ".."))
            return false;
    }
    return true;
}

/* "/scep/vpn" and whatever is below it. */
static bool path_matches(const char *conf, struct bytes path)
{
    size_t len = strlen(conf);
    return bytes_starts(path, conf) &&
           (path.len == len || path.ptr[len] == '/' || conf[len - 1] == '/');
}

const struct cfg_profile *route_scep(const struct cfg *cfg, struct bytes path)
{
    const struct cfg_profile *best = NULL;
    size_t longest = 0;
    if (!path_plain(path))
        return NULL;
    for (size_t i = 0; i < cfg->profile_count; i++) {
        const struct cfg_profile *profile = &cfg->profiles[i];
        for (size_t k = 0; profile->scep_enabled && k < profile->scep.paths.count; k++) {
            const char *conf = profile->scep.paths.items[k];
            if (strlen(conf) > longest && path_matches(conf, path)) {
                best = profile;
                longest = strlen(conf);
            }
        }
    }
    return best;
}

const struct cfg_profile *route_est(const struct cfg *cfg, struct bytes path, enum est_op *op,
                                    char label[EST_LABEL_MAX + 1])
{
    if (!est_path_parse(path, op, label))
        return NULL;
    for (size_t i = 0; i < cfg->profile_count; i++) {
        const struct cfg_profile *profile = &cfg->profiles[i];
        for (size_t k = 0; profile->est.enabled && k < profile->est.labels.count; k++)
            if (strcmp(profile->est.labels.items[k], label) == 0)
                return profile;
    }
    return NULL;
}
