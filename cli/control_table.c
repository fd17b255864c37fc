/* cli/control_table.c - see control_table.h. */
#include "cli/control_table.h"

#include "runtime/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COLUMNS_MOST 16

struct cell {
    char *text;
    enum muster__colour colour;
};

struct muster__table {
    const struct muster__table_column *columns;
    size_t column_count;
    struct cell *cells;
    size_t count, room;
    bool failed;
};

struct muster__table *muster__table_new(const struct muster__table_column *columns, size_t count)
{
    struct muster__table *table = calloc(1, sizeof(*table));
    MUSTER_CHECK(count > 0 && count <= COLUMNS_MOST);
    if (table) {
        table->columns = columns;
        table->column_count = count;
    }
    return table;
}

void muster__table_destroy(struct muster__table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
}

static bool is_control(const char *at)
{
    unsigned char c = (unsigned char)*at, next = (unsigned char)at[1];
    return c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
}

static char *harmless(const char *text)
{
    char *copy = muster__strdup(text), *to = copy;
    for (const char *at = copy; at && *at; at++) {
        bool control = is_control(at), two = control && (unsigned char)*at == 0xc2;
        *to++ = control ? '?' : *at;
        at += two;
    }
    if (to)
        *to = 0;
    return copy;
}

void muster__table_add(struct muster__table *table, const char *text, enum muster__colour colour)
{
    if (table->count == table->room) {
        size_t room = table->room ? 2 * table->room : 64;
        struct cell *cells = realloc(table->cells, room * sizeof(*cells));
        if (!cells) {
            table->failed = true;
            return;
        }
        table->cells = cells;
        table->room = room;
    }
    char *copy = harmless(text && *text ? text : "-");
    table->failed |= !copy;
    table->cells[table->count++] = (struct cell){copy, colour};
}

/* Characters, as most of them are one column wide. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void print_cell(const struct muster__table *table, size_t column, const struct cell *cell, size_t width,
                       bool colours, FILE *to)
{
    static const char *const codes[] = {"", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"};
    bool right = table->columns[column].right, last = column + 1 == table->column_count;
    bool coloured = colours && cell->colour != MUSTER__PLAIN;
    int blank = (int)(width - width_of(cell->text));
    fprintf(to, "%*s%s%s%s%*s%s", right ? blank : 0, "", coloured ? codes[cell->colour] : "", cell->text,
            coloured ? "\x1b[0m" : "", right || last ? 0 : blank, "", last ? "\n" : "  ");
}

bool muster__table_print(const struct muster__table *table, FILE *to)
{
    size_t columns = table->column_count, widths[COLUMNS_MOST];
    bool colours = muster__colours_wanted(fileno(to));
    if (table->failed)
        return false;
    for (size_t i = 0; i < columns; i++)
        widths[i] = width_of(table->columns[i].title);
    for (size_t i = 0; i < table->count; i++)
        if (width_of(table->cells[i].text) > widths[i % columns])
            widths[i % columns] = width_of(table->cells[i].text);
    for (size_t i = 0; table->count && i < columns; i++)
        print_cell(table, i, &(struct cell){(char *)table->columns[i].title, MUSTER__BOLD}, widths[i], colours, to);
    for (size_t i = 0; i < table->count; i++)
        print_cell(table, i % columns, &table->cells[i], widths[i % columns], colours, to);
    return true;
}

bool muster__colours_wanted(int fd)
{
    const char *no_color = getenv("NO_COLOR");
    return isatty(fd) && !(no_color && *no_color);
}

/* ---- units ---- */

void muster__table_bytes(char *to, size_t size, double bytes)
{
    static const char units[] = " kMGT";
    size_t unit = 0;
    for (; bytes >= 1023.5 && unit + 2 < sizeof(units); unit++)
        bytes /= 1024;
    if (!unit)
        snprintf(to, size, "%.0f", bytes);
    else
        snprintf(to, size, bytes < 9.95 ? "%.1f%c" : "%.0f%c", bytes, units[unit]);
}

void muster__table_time(char *to, size_t size, double ms)
{
    uint64_t seconds = (uint64_t)(ms / 1000);
    if (ms < 999.5)
        snprintf(to, size, "%.0fms", ms);
    else if (seconds < 60)
        snprintf(to, size, "%.1fs", ms / 1000);
    else if (seconds < 3600)
        snprintf(to, size, "%" PRIu64 "m%02" PRIu64 "s", seconds / 60, seconds % 60);
    else if (seconds < 86400)
        snprintf(to, size, "%" PRIu64 "h%02" PRIu64 "m", seconds / 3600, seconds / 60 % 60);
    else
        snprintf(to, size, "%" PRIu64 "d%02" PRIu64 "h", seconds / 86400, seconds / 3600 % 24);
}

void muster__table_number(char *to, size_t size, double number)
{
    char digits[32];
    int length = snprintf(digits, sizeof(digits), "%.0f", number);
    size_t used = 0;
    for (int i = 0; i < length && used + 2 < size; i++) {
        if (i && (length - i) % 3 == 0)
            to[used++] = ',';
        to[used++] = digits[i];
    }
    to[used] = 0;
}
