/* cli/options.c - see options.h. */
#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static bool parse_with_units(const char *text, const struct unit *units, size_t count, uint64_t *ret_value)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno)
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(end, units[i].name) == 0) {
            if (units[i].factor && number > UINT64_MAX / 2 / units[i].factor)
                return false;
            *ret_value = number * units[i].factor;
            return true;
        }
    return false;
}

bool muster__parse_time(const char *text, uint64_t *ret_ms)
{
    static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    return parse_with_units(text, units, 4, ret_ms);
}

bool muster__parse_bytes(const char *text, size_t *ret_bytes)
{
    static const struct unit units[] = {{"", 1},        {"k", 1 << 10}, {"K", 1 << 10}, {"m", 1 << 20},
                                        {"M", 1 << 20}, {"g", 1 << 30}, {"G", 1 << 30}};
    uint64_t value;
    if (!parse_with_units(text, units, 7, &value))
        return false;
    *ret_bytes = (size_t)value;
    return true;
}

/* Levenshtein's distance of two short words; long ones are cut. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], la = strlen(a), lb = strlen(b);
    la = la < 63 ? la : 63;
    lb = lb < 63 ? lb : 63;
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
        }
    }
    return row[lb];
}

const char *muster__nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *nearest = NULL;
    size_t least = strlen(word) / 2 + 1;
    for (size_t i = 0; i < count; i++) {
        size_t d = strncmp(word, candidates[i], strlen(word)) ? distance(word, candidates[i]) : 0;
        if (d <= least) {
            least = d ? d - 1 : 0; /* the first of equals wins */
            nearest = candidates[i];
        }
    }
    return nearest;
}

static bool complain_unknown(const char *word, const struct muster__option *options, size_t count,
                             const char *usage)
{
    const char *names[32];
    for (size_t i = 0; i < count && i < 32; i++)
        names[i] = options[i].name;
    const char *nearest = muster__nearest(word, names, count < 32 ? count : 32);
    fprintf(stderr, "muster: unknown option \"%s\"", word);
    if (nearest)
        fprintf(stderr, "; did you mean \"%s\"?", nearest);
    fprintf(stderr, "\n%s\n", usage);
    return false;
}

static bool append(struct muster__option_list *list, const char *value)
{
    if (list->count == MUSTER__OPTION_LIST_MOST)
        return false;
    list->texts[list->count++] = value;
    return true;
}

static bool store(const struct muster__option *option, const char *value)
{
    char *end;
    unsigned long number;
    switch (option->kind) {
    case MUSTER__OPTION_FLAG:
        *(bool *)option->target = true;
        return true;
    case MUSTER__OPTION_TEXT:
        *(const char **)option->target = value;
        return true;
    case MUSTER__OPTION_NUMBER:
        errno = 0;
        number = strtoul(value, &end, 10);
        *(unsigned *)option->target = (unsigned)number;
        return *value >= '0' && *value <= '9' && !*end && !errno && number <= 1000000;
    case MUSTER__OPTION_TIME:
        return muster__parse_time(value, option->target);
    case MUSTER__OPTION_BYTES:
        return muster__parse_bytes(value, option->target);
    case MUSTER__OPTION_LIST:
        return append(option->target, value);
    }
    return false;
}

static const char *form_of(enum muster__option_kind kind)
{
    switch (kind) {
    case MUSTER__OPTION_NUMBER: return "a number";
    case MUSTER__OPTION_TIME: return "a time like 300ms, 30s or 5m";
    case MUSTER__OPTION_BYTES: return "a size like 512, 64k or 128m";
    case MUSTER__OPTION_LIST: return "a value, 64 times at most";
    default: return "a value";
    }
}

bool muster__options_read(int argc, char **argv, const struct muster__option *options, size_t count,
                          const char *usage, int *ret_operands)
{
    int operands = 0, i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        const char *equals = strchr(argv[i], '=');
        size_t length = equals ? (size_t)(equals - argv[i]) : strlen(argv[i]);
        const struct muster__option *option = NULL;
        for (size_t k = 0; k < count && !option; k++)
            if (strlen(options[k].name) == length && !strncmp(options[k].name, argv[i], length))
                option = &options[k];
        if (!option)
            return complain_unknown(argv[i], options, count, usage);
        bool flag = option->kind == MUSTER__OPTION_FLAG;
        const char *value = equals ? equals + 1 : flag ? "" : i + 1 < argc ? argv[++i] : NULL;
        if (!value || (flag && equals) || !store(option, value)) {
            fprintf(stderr, "muster: %s wants %s%s%s\n", option->name, flag ? "no value" : form_of(option->kind),
                    value && !flag ? ", not " : "", value && !flag ? value : "");
            return false;
        }
    }
    while (i < argc)
        argv[1 + operands++] = argv[i++];
    *ret_operands = operands;
    return true;
}

#define HELP_COLUMN 34

static void print_option(const struct muster__option *option)
{
    int width = printf("  %s%s%s", option->name, option->value ? " " : "", option->value ? option->value : "");
    if (width > HELP_COLUMN - 2)
        width = printf("\n") - 1;
    for (const char *line = option->help, *end; line; line = end ? end + 1 : NULL, width = 0) {
        end = strchr(line, '\n');
        printf("%*s%.*s\n", HELP_COLUMN - width, "", end ? (int)(end - line) : (int)strlen(line), line);
    }
}

int muster__options_explain(bool is_help, const char *usage, const char *about, const struct muster__option *options,
                            size_t count)
{
    fprintf(is_help ? stdout : stderr, "usage: %s\n", usage);
    if (!is_help)
        return MUSTER__EXIT_USAGE;
    printf("\n%s%s", about ? about : "", about ? "\n\n" : "");
    for (size_t i = 0; i < count; i++)
        print_option(&options[i]);
    return MUSTER__EXIT_OK;
}
