/* The regular expressions of a profile's subject rules. */
#ifndef CONFIG_PATTERN_H
#define CONFIG_PATTERN_H

#include "base/err.h"

#include <regex.h>

#define CFG_PATTERN_MAX 1024

/* A POSIX extended regular expression that has to match a value whole, whether or not it says so
 * with ^ and $. Refused besides what regcomp refuses: back-references, a ')' without its '(', and
 * repetitions so large or so deep that compiling them takes all memory. ERR_CONFIG with what is
 * wrong. On success the caller frees *ret with regfree. */
bool cfg_pattern_compile(const char *pattern, regex_t *ret, struct err *err) MUST_USE;

#endif
