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

int main(int argc, char **argv)
{
    forbid_cores();
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_usage(stderr);
        return CMD_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return CMD_OK;
    }
    if (strcmp(argv[1], "--version") == 0)
        return cmd_version(1, argv + 1);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "scepter: there is no command \"%s\"\n\n", argv[1]);
    print_usage(stderr);
    return CMD_USAGE;
}
