/* The reference of the configuration, written from the tables that the loader reads. */
#ifndef CONFIG_REFERENCE_H
#define CONFIG_REFERENCE_H

#include "config/config.h"

/* A page in Markdown: a table for each section. False if out's ceiling is reached. */
bool cfg_reference_write(const struct cfg_kinds *kinds, struct buf *out) MUST_USE;
/* A JSON Schema (draft 2020-12) for editors. False if out's ceiling is reached. */
bool cfg_schema_write(const struct cfg_kinds *kinds, struct buf *out) MUST_USE;

#endif
