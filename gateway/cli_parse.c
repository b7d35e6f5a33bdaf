#include "gateway/cli.h"

#include "config/word.h"
#include "gateway/cmd.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_CONF "scepter.yaml"
#define OPTIONS_MAX 16
#define VERBS_MAX 8
#define LETTERS_MAX 128

/* What was found on the command line so far. */
struct parse {
    struct cli *cli;
    struct option list[OPTIONS_MAX + 4]; /* the command's own and the common ones */
    bool seen[LETTERS_MAX];
    const char *stray; /* a word too many */
};

/* The subcommand's options and the common ones in one list. */
static void all_options(const struct option *mine, struct option *list)
{
    static const struct option common[] = {
        {"config", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    size_t n = 0;
    for (; mine && mine->name && n < OPTIONS_MAX; mine++)
        list[n++] = *mine;
    memcpy(&list[n], common, sizeof common);
}

/* "--profile" */
static const char *name_of(const struct parse *parse, int letter)
{
    for (const struct option *option = parse->list; option->name; option++)
        if (option->val == letter)
            return option->name;
    return "";
}

bool cli_misused(const struct cli *cli, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cli_complain(cli, "%s", text);
    fprintf(stderr, "usage: see scepter%s%s --help\n", *cli->name ? " " : "", cli->name);
    return false;
}

/* "list, show or crl" */
static void verb_names(const struct cli_verb *verbs, char *out, size_t size)
{
    size_t len = 0;
    out[0] = 0;
    for (const struct cli_verb *verb = verbs; verb->name && len < size; verb++) {
        const char *between = verb == verbs ? "" : verb[1].name ? ", " : " or ";
        len += (size_t)snprintf(out + len, size - len, "%s%s", between, verb->name);
    }
}

/* The first word is the verb, the second what it is about. */
static bool take_word(struct parse *parse, const char *word)
{
    struct cli *cli = parse->cli;
    const char *names[VERBS_MAX];
    char all[128];
    size_t count = 0;
    for (const struct cli_verb *verb = cli->verbs; !cli->verb && verb->name; verb++) {
        if (strcmp(verb->name, word) == 0) {
            cli->verb = verb;
            return true;
        }
        names[count++] = verb->name;
    }
    if (!cli->verb) {
        const char *near = cfg_word_near(word, names, count);
        verb_names(cli->verbs, all, sizeof all);
        return cli_misused(cli, "there is no \"%s\"; expected %s", word, near ? near : all);
    }
    if (cli->word || !cli->verb->word)
        parse->stray = parse->stray ? parse->stray : word;
    else
        cli->word = word;
    return true;
}

/* What getopt did not take: text as it was typed, letter what it made of that. */
static bool unknown(struct parse *parse, const char *text, int letter)
{
    const char *names[OPTIONS_MAX + 4], *hits[2] = {0};
    size_t len = strcspn(text, "="), count = 0, hit_count = 0;
    bool is_long = strncmp(text, "--", 2) == 0;
    if (is_long && letter)
        return cli_misused(parse->cli, "--%s takes no value", name_of(parse, letter));
    if (!is_long)
        return cli_misused(parse->cli, "there is no option -%c", letter);
    for (const struct option *option = parse->list; option->name; option++) {
        names[count++] = option->name;
        if (strncmp(option->name, text + 2, len - 2) == 0 && hit_count < 2)
            hits[hit_count++] = option->name;
    }
    if (hit_count == 2)
        return cli_misused(parse->cli, "%.*s may be --%s or --%s", (int)len, text, hits[0],
                           hits[1]);
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)(len - 2), text + 2);
    const char *near = cfg_word_near(word, names, count);
    return cli_misused(parse->cli, "there is no option --%s%s%s", word, near ? "; expected --" : "",
                       near ? near : "");
}

static bool take_option(struct parse *parse, int letter)
{
    struct cli *cli = parse->cli;
    struct err err = {0};
    if (parse->seen[letter] && !(cli->many && strchr(cli->many, letter)))
        return cli_misused(cli, "--%s occurs twice", name_of(parse, letter));
    parse->seen[letter] = true;
    if (letter == 'c')
        cli->conf = optarg;
    else if (letter == 'j')
        cli->json = true;
    else if (!cli->take(letter, optarg, cli->arg, &err))
        return cli_misused(cli, "--%s \"%s\": %s", name_of(parse, letter), optarg ? optarg : "",
                           err.text);
    return true;
}

/* Whether the options fit the verb and each other. */
static bool options_fit(const struct parse *parse)
{
    const struct cli *cli = parse->cli;
    const struct cli_verb *verb = cli->verb;
    for (int i = 0; i < LETTERS_MAX; i++)
        if (parse->seen[i] && !strchr(verb->options, i))
            return cli_misused(cli, "--%s is not for this command", name_of(parse, i));
    for (const char *p = verb->needs; p && *p; p++)
        if (!parse->seen[(int)*p])
            return cli_misused(cli, "--%s is missing", name_of(parse, *p));
    for (const char *p = verb->apart; p && *p; p += 2)
        if (parse->seen[(int)p[0]] && parse->seen[(int)p[1]])
            return cli_misused(cli, "--%s and --%s exclude each other", name_of(parse, p[0]),
                               name_of(parse, p[1]));
    for (const char *p = verb->with; p && *p; p += 2)
        if (parse->seen[(int)p[0]] && !parse->seen[(int)p[1]])
            return cli_misused(cli, "--%s is for --%s, which is missing", name_of(parse, p[0]),
                               name_of(parse, p[1]));
    return true;
}

static bool fits(const struct parse *parse)
{
    const struct cli *cli = parse->cli;
    char all[128];
    if (!cli->verb) {
        verb_names(cli->verbs, all, sizeof all);
        return cli_misused(cli, "expected %s", all);
    }
    if (parse->stray)
        return cli_misused(cli, "\"%s\" is not expected%s", parse->stray,
                           cli->word || !strchr(cli->verb->options, 'c')
                               ? ""
                               : "; -c FILE names the configuration");
    if (cli->verb->word && !cli->word)
        return cli_misused(cli, "%s is missing", cli->verb->word);
    return options_fit(parse);
}

bool cli_parse(struct cli *cli, int argc, char **argv)
{
    struct parse parse = {.cli = cli};
    int option;
    all_options(cli->options, parse.list);
    cli->conf = DEFAULT_CONF;
    if (!cli->verbs[0].name[0])
        cli->verb = cli->verbs;
    optind = 0; /* anew, for what begins with - */
    opterr = 0;
    /* at: where what is read next stands, also the second letter of -xh */
    for (int at = 1; (option = getopt_long(argc, argv, "-:c:h", parse.list, NULL)) != -1;
         at = optind) {
        if (option == 'h') {
            fputs(cli->usage, stdout);
            cli->usage = NULL; /* told */
            return false;
        }
        bool ok = option == 1     ? take_word(&parse, optarg)
                  : option == '?' ? unknown(&parse, argv[at], optopt)
                  : option == ':' ? cli_misused(cli, "--%s needs a value", name_of(&parse, optopt))
                                  : take_option(&parse, option);
        if (!ok)
            return false;
    }
    for (; optind < argc; optind++)
        if (!take_word(&parse, argv[optind]))
            return false;
    return fits(&parse);
}

int cli_parse_exit(const struct cli *cli)
{
    return cli->usage ? CMD_USAGE : CMD_OK;
}
