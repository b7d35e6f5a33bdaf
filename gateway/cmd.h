/* The subcommands. Each takes its own argument vector, argv[0] being its name, and returns the exit
 * code. */
#ifndef GATEWAY_CMD_H
#define GATEWAY_CMD_H

enum cmd_exit { CMD_OK = 0, CMD_REFUSED = 1, CMD_USAGE = 2, CMD_UNREACHABLE = 3 };

int cmd_init(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_challenge(int argc, char **argv);
int cmd_cert(int argc, char **argv);
int cmd_request(int argc, char **argv);
int cmd_upstream(int argc, char **argv);
int cmd_audit(int argc, char **argv);
int cmd_version(int argc, char **argv);

#endif
