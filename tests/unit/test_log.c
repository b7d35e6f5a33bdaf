#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char captured[8192];

static int saved, ends[2];

static void capture_start(void)
{
    fflush(stderr);
    saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    ends[1] = STDERR_FILENO;
}

static const char *capture_end(void)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t n = read(ends[0], captured, sizeof captured - 1);
    captured[n > 0 ? n : 0] = 0;
    close(ends[0]);
    return captured;
}

/* Time, level and event come first; text is quoted, numbers are not, and NULL is left out. */
static void test_form(void **state)
{
    struct log_line line;
    (void)state;
    capture_start();
    log_begin(&line, LOG_WARN, "test");
    log_str(&line, "a", "b c");
    log_str(&line, "nothing", NULL);
    log_num(&line, "n", -5);
    log_end(&line);
    const char *out = capture_end();
    assert_memory_equal(out, "time=20", 7);
    assert_non_null(strstr(out, "Z level=warn event=test a=\"b c\" n=-5\n"));
    assert_null(strstr(out, "nothing"));
}

/* No value can end its line or its quotes. */
static void test_forgery(void **state)
{
    struct log_line line;
    (void)state;
    capture_start();
    log_begin(&line, LOG_INFO, "test");
    log_bytes(&line, "v", bytes_of("x\"\ntime=1 level=error\r\x1b[2J\x00\xff", 28));
    log_end(&line);
    const char *out = capture_end();
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
    assert_non_null(strstr(out, "v=\"x\\\"\\x0atime=1 level=error\\x0d\\x1b[2J\\x00\\xff\"\n"));
}

static void assert_one_line(const char *out)
{
    assert_true(strlen(out) > 0 && strlen(out) <= sizeof((struct log_line *)0)->text);
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

/* Values that are too long are cut, and say so; whatever they hold, they leave room for the fields
 * behind them. */
static void test_long(void **state)
{
    struct log_line line;
    char *value = calloc(1, 5001);
    (void)state;
    for (const char *fill = "x\n\"\xff"; *fill; fill++) {
        memset(value, *fill, 5000);
        capture_start();
        log_begin(&line, LOG_INFO, "test");
        log_str(&line, "a", value);
        log_str(&line, "b", value);
        log_str(&line, "reason", "kept");
        log_num(&line, "end", 1);
        log_end(&line);
        const char *out = capture_end();
        assert_one_line(out);
        assert_non_null(strstr(out, " a=\""));
        assert_non_null(strstr(out, "...\" b=\""));
        assert_non_null(strstr(out, "...\" reason=\"kept\" end=1\n"));
    }
    free(value);
}

/* A line that is full leaves fields out whole, and still ends once. */
static void test_full(void **state)
{
    struct log_line line;
    (void)state;
    capture_start();
    log_begin(&line, LOG_INFO, "test");
    for (unsigned i = 0; i < 1000; i++)
        log_str(&line, "key", "0123456789");
    for (unsigned i = 0; i < 100; i++)
        log_num(&line, "n", 1);
    log_end(&line);
    const char *out = capture_end();
    assert_one_line(out);
    assert_true(strlen(out) > sizeof line.text - 5);
    for (const char *at = strchr(out, 'k'); at; at = strstr(at + 1, " k"))
        assert_non_null(strstr(at, "key=\"0123456789\""));
    assert_memory_equal(out + strlen(out) - 5, " n=1\n", 5);
}

/* What is said through a format or an error is escaped like any other value. */
static void test_text(void **state)
{
    (void)state;
    struct err err;
    assert_false(err_set(&err, ERR_PEER, "bad \"%s\"", "\nlevel=error"));
    capture_start();
    log_text(LOG_INFO, "test", "%s", "x\nlevel=error");
    log_err(LOG_INFO, "test", &err);
    const char *out = capture_end();
    assert_non_null(strstr(out, " event=test reason=\"x\\x0alevel=error\"\ntime="));
    assert_non_null(strstr(out, " who=\"peer\" reason=\"bad \\\"\\x0alevel=error\\\"\"\n"));
    assert_string_equal(strstr(strchr(out, '\n') + 1, "\n"), "\n");
}

/* The time is the clock's, and a line is one write: a pipe in packet mode gives back each write. */
static void test_one_write(void **state)
{
    char packet[4096];
    struct err err = {.kind = ERR_LOCAL, .text = "x"};
    (void)state;
    clock_set(1795443181);
    capture_start();
    assert_int_equal(fcntl(ends[1], F_SETFL, O_DIRECT), 0);
    log_err(LOG_ERROR, "one", &err);
    log_err(LOG_ERROR, "two", &err);
    clock_set(0);
    ssize_t n = read(ends[0], packet, sizeof packet - 1);
    packet[n > 0 ? n : 0] = 0;
    assert_string_equal(capture_end(),
                        "time=2026-11-23T14:13:01Z level=error event=two who=\"local\" "
                        "reason=\"x\"\n");
    assert_string_equal(packet, "time=2026-11-23T14:13:01Z level=error event=one who=\"local\" "
                                "reason=\"x\"\n");
    assert_true(clock_now() != 1795443181);
}

/* No memory: one line, then the process is gone. */
static void test_no_memory(void **state)
{
    int status;
    (void)state;
    capture_start();
    pid_t child = fork();
    if (child == 0)
        err_no_memory();
    assert_int_equal(waitpid(child, &status, 0), child);
    const char *out = capture_end();
    assert_memory_equal(out, "level=error event=no-memory ", 28);
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* Lines below the level are not written. */
static void test_level(void **state)
{
    (void)state;
    capture_start();
    log_text(LOG_DEBUG, "quiet", "%d", 1);
    log_level_set(LOG_ERROR);
    log_text(LOG_WARN, "quiet", "%d", 2);
    struct err err = {.kind = ERR_UPSTREAM, .text = "no \"answer\""};
    log_err(LOG_ERROR, "loud", &err);
    log_level_set(LOG_INFO);
    const char *out = capture_end();
    assert_null(strstr(out, "quiet"));
    assert_non_null(strstr(out, "event=loud who=\"upstream\" reason=\"no \\\"answer\\\"\"\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),      cmocka_unit_test(test_forgery),
        cmocka_unit_test(test_long),      cmocka_unit_test(test_full),
        cmocka_unit_test(test_one_write), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_text),      cmocka_unit_test(test_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
