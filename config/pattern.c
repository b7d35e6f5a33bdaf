#include "config/pattern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16
#define COST_MAX 4000L /* states of the automaton, about */

/* What the pattern will cost: the sum within a group, times its repetitions. */
struct scan {
    const char *at;
    size_t depth;
    long sum[DEPTH_MAX + 1];
    long last[DEPTH_MAX + 1]; /* the atom that a repetition would repeat */
};

static void atom(struct scan *scan, long cost)
{
    scan->last[scan->depth] = cost;
    scan->sum[scan->depth] += cost;
}

static void repeat(struct scan *scan, long times)
{
    long cost = scan->last[scan->depth] * times;
    scan->sum[scan->depth] += cost - scan->last[scan->depth];
    scan->last[scan->depth] = cost;
}

/* Behind "[...]", at its last character. */
static void skip_bracket(struct scan *scan)
{
    const char *p = scan->at + 1;
    if (*p == '^')
        p++;
    if (*p == ']')
        p++;
    while (*p && *p != ']') {
        if (*p == '[' && p[1] && strchr(":.=", p[1])) {
            char end[3] = {p[1], ']', 0};
            const char *found = strstr(p + 2, end);
            p = found ? found + 2 : p + 1;
        } else {
            p++;
        }
    }
    scan->at = *p ? p : p - 1;
}

/* "{2,8}": the larger number, one more if it is open. */
static long bound(struct scan *scan)
{
    long most = 1, number = 0;
    const char *p = scan->at + 1;
    for (; *p && *p != '}'; p++) {
        number = *p == ',' ? 0 : number * 10 + (*p >= '0' && *p <= '9' ? *p - '0' : 0);
        if (number > COST_MAX)
            number = COST_MAX;
        if (number > most)
            most = number;
    }
    bool open = p[-1] == ',';
    scan->at = *p ? p : p - 1;
    return most + open;
}

static const char *scan_one(struct scan *scan)
{
    switch (*scan->at) {
    case '\\':
        if (scan->at[1] >= '1' && scan->at[1] <= '9')
            return "back-references are not supported";
        if (scan->at[1])
            scan->at++;
        atom(scan, 1);
        return NULL;
    case '[':
        skip_bracket(scan);
        atom(scan, 1);
        return NULL;
    case '(':
        if (scan->depth == DEPTH_MAX)
            return "too many parentheses within each other";
        scan->depth++;
        scan->sum[scan->depth] = scan->last[scan->depth] = 1;
        return NULL;
    case ')':
        if (scan->depth == 0)
            return "Unmatched ) or \\)";
        scan->depth--;
        atom(scan, scan->sum[scan->depth + 1]);
        return NULL;
    case '{':
        repeat(scan, bound(scan));
        return NULL;
    case '+':
        repeat(scan, 2);
        return NULL;
    default:
        atom(scan, 1);
        return NULL;
    }
}

static const char *scan_all(const char *pattern)
{
    struct scan scan = {.at = pattern};
    if (strlen(pattern) > CFG_PATTERN_MAX)
        return "the pattern is too long";
    for (; *scan.at; scan.at++) {
        const char *wrong = scan_one(&scan);
        if (wrong)
            return wrong;
        if (scan.sum[scan.depth] > COST_MAX)
            return "the repetitions are too large";
    }
    return NULL;
}

bool cfg_pattern_compile(const char *pattern, regex_t *ret, struct err *err)
{
    const char *wrong = scan_all(pattern);
    if (wrong)
        return err_set(err, ERR_CONFIG, "%s", wrong);
    char whole[CFG_PATTERN_MAX + 8];
    snprintf(whole, sizeof whole, "^(%s)$", pattern);
    /* Alone first: within our parentheses an open one of the pattern's own could be closed. */
    int code = regcomp(ret, pattern, REG_EXTENDED | REG_NOSUB);
    if (code == 0) {
        regfree(ret);
        code = regcomp(ret, whole, REG_EXTENDED | REG_NOSUB);
    }
    char text[128];
    if (code != 0)
        regerror(code, ret, text, sizeof text);
    return code == 0 || err_set(err, ERR_CONFIG, "%s", text);
}
