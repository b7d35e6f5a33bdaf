#include "config/word.h"
#include "gateway/cli.h"
#include "gateway/cmd.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *does;
} commands[] = {
    {"init", cmd_init, "make a working tree: CA, RA, server certificate, configuration"},
    {"serve", cmd_serve, "run the gateway in the foreground"},
    {"check", cmd_check, "validate a configuration; every fault with its line"},
    {"challenge", cmd_challenge, "create one-time challenges"},
    {"cert", cmd_cert, "list, show and revoke certificates; make a CRL"},
    {"request", cmd_request, "list and show requests, approve and deny"},
    {"upstream", cmd_upstream, "list upstream CAs and try them"},
    {"audit", cmd_audit, "verify the audit trail"},
    {"version", cmd_version, "version, OpenSSL, kinds of store and upstream CA"},
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void print_usage(FILE *out)
{
    fputs("usage: scepter COMMAND [OPTION]...\n\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].does);
    fputs("\n`scepter COMMAND --help` tells more. -c FILE is the configuration, scepter.yaml in "
          "this folder\n"
          "if there is none. Exit codes: 0 done, 1 refused or invalid, 2 usage, 3 could not reach "
          "the\n"
          "gateway or the store.\n",
          out);
}

/* Memory holds keys and challenges, so a crash leaves none of it behind: no file, for programs that
 * we run neither, and nothing for what the kernel would hand a core to, which no limit stops. */
static void forbid_cores(void)
{
    static const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0)
        perror("scepter: a crash may leave secrets in a core");
}

/* The command's place in the table; COMMAND_COUNT: there is none, and it is said. */
static size_t command_find(const char *name)
{
    const char *names[COMMAND_COUNT];
    struct cli cli = {.name = ""};
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        names[i] = commands[i].name;
        if (strcmp(name, commands[i].name) == 0)
            return i;
    }
    const char *near = cfg_word_near(name, names, COMMAND_COUNT);
    (void)cli_misused(&cli, "there is no command \"%s\"%s%s", name, near ? "; expected " : "",
                      near ? near : "");
    return COMMAND_COUNT;
}

int main(int argc, char **argv)
{
    static char help_option[] = "--help";
    forbid_cores();
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_usage(stderr);
        return CMD_USAGE;
    }
    bool help = strcmp(argv[1], "help") == 0;
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || (help && argc == 2)) {
        print_usage(stdout);
        return CMD_OK;
    }
    if (strcmp(argv[1], "--version") == 0)
        return cmd_version(argc - 1, argv + 1);
    size_t command = command_find(argv[1 + help]);
    char *helped[] = {argv[1 + help], help_option, NULL};
    if (command == COMMAND_COUNT)
        return CMD_USAGE;
    return help ? commands[command].run(2, helped) : commands[command].run(argc - 1, argv + 1);
}
