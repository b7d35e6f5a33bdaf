/* A CA behind a program that speaks certmonger's CA-helper protocol (certmonger's helpers.txt). */
#ifndef GATEWAY_UPSTREAM_EXEC_H
#define GATEWAY_UPSTREAM_EXEC_H

#include "config/table.h"
#include "ra/upstream.h"

extern const struct cfg_kind exec_kind;
extern const struct upstream_vt exec_vt;

#endif
