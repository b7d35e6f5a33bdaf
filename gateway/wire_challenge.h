/* Profiles and upstream CAs that read challengePassword: which pairs can work, and who hands out a
 * profile's challenges. */
#ifndef GATEWAY_WIRE_CHALLENGE_H
#define GATEWAY_WIRE_CHALLENGE_H

#include "ra/challenge/challenge.h"

struct cfg_node;
struct cfg_faults;

/* Whether devices of the profile can satisfy every CA that it may go to; if not there is a fault.
 * settings->upstreams are open; node: where the profile stands. */
void wire_challenge_check(const struct ra_settings *settings, const struct cfg_profile *profile,
                          const struct cfg_node *node, struct cfg_faults *faults);

/* Opens the CA that hands out the profile's challenges; *ret is NULL if they are ours. The caller
 * closes it. */
bool wire_challenge_open(const struct cfg *cfg, const struct cfg_profile *profile,
                         struct upstream **ret, struct err *err) MUST_USE;

/* Mints a challenge for the profile of mint, or has it minted by the CA that wants it; secret
 * becomes a secret. mint->ttl is shortened to the time for which that CA takes it. */
bool wire_challenge_create(struct store *store, const struct cfg *cfg, struct challenge_mint *mint,
                           struct buf *secret, struct err *err) MUST_USE;

#endif
