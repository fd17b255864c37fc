/* cli/control_table.h - tables for people: columns as wide as what is in them, short units, colours on a terminal.
 *
 * Control characters of a cell are shown as question marks: what a script or its scope is called obeys nobody.
 * Thread: one. */
#ifndef MUSTER_CLI_CONTROL_TABLE_H
#define MUSTER_CLI_CONTROL_TABLE_H

#include "runtime/base.h"

#include <stdio.h>

enum muster__colour { MUSTER__PLAIN, MUSTER__BOLD, MUSTER__FAINT, MUSTER__RED, MUSTER__GREEN, MUSTER__YELLOW };

struct muster__table_column {
    const char *title;
    bool right; /* numbers stand at the right */
};

struct muster__table;

/* Borrows the columns; NULL: out of memory. */
struct muster__table *muster__table_new(const struct muster__table_column *columns, size_t count);
/* One cell more, row by row; copied, NULL is "-".  What there is no memory for makes the print fail. */
void muster__table_add(struct muster__table *table, const char *text, enum muster__colour colour);
/* The title only where there are rows.  False: memory ran out; nothing is printed. */
bool muster__table_print(const struct muster__table *table, FILE *to);
void muster__table_destroy(struct muster__table *table); /* NULL: no-op */

/* It is a terminal, and NO_COLOR is not set. */
bool muster__colours_wanted(int fd);

/* "731", "12.5k", "3.1M": bytes in steps of 1,024. */
void muster__table_bytes(char *to, size_t size, double bytes);
/* "12ms", "3.1s", "4m05s", "2h10m", "3d04h". */
void muster__table_time(char *to, size_t size, double ms);
/* "1,234,567" */
void muster__table_number(char *to, size_t size, double number);

#endif
