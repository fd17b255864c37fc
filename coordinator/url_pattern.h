/* coordinator/url_pattern.h - patterns of URLs, as static routes have them (URL Pattern standard).  Internal.
 *
 * What is here: literals, :names, *, {groups} and their modifiers ? + *, in each of a URL's eight components.  What
 * is not: regular expression groups, which the routes of a service worker may not have either, and the names of
 * what matched: a route only asks whether.
 *
 * A pattern comes from a script, and is asked on the way of each request: it is compiled to a small program that
 * all positions of a component are run through at once, so that the time is bounded by its length times the
 * URL's, whatever it says, and matching allocates nothing.
 *
 * Host names in a pattern are ASCII: write others as xn-- names.
 *
 * Pure: no clock, no I/O.  Immutable once made: any thread.
 */
#ifndef MUSTER_URL_PATTERN_H
#define MUSTER_URL_PATTERN_H

#include "runtime/base.h"

/* A pattern with a longer text is refused. */
#define MUSTER__URL_PATTERN_LENGTH_MAX 4096

enum muster__url_component {
    MUSTER__URL_PROTOCOL, /* without its colon */
    MUSTER__URL_USERNAME,
    MUSTER__URL_PASSWORD,
    MUSTER__URL_HOSTNAME,
    MUSTER__URL_PORT,     /* "" when it is the protocol's own */
    MUSTER__URL_PATHNAME,
    MUSTER__URL_SEARCH,   /* without its question mark */
    MUSTER__URL_HASH,     /* without its # */
    MUSTER__URL_COMPONENT_COUNT
};
/* "protocol"; as in a URLPatternInit. */
const char *muster__url_component_name(enum muster__url_component component);

struct muster__url_pattern;

/* A pattern in one text ("/api/:id", "https://:shop.example.org"), or in components; borrowed until the call returns. */
struct muster__url_pattern_options {
    const char *text;                                   /* NULL: the components */
    const char *components[MUSTER__URL_COMPONENT_COUNT]; /* NULL: not said */
    const char *base_url;                               /* absolute; NULL: none */
    bool ignore_case;                                   /* of path, search and hash */
};

/* INVALID_ARGUMENT: `error` (may be NULL) says what is wrong with it.  NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status muster__url_pattern_new(const struct muster__url_pattern_options *options,
                                                             struct muster__url_pattern **ret_pattern,
                                                             struct muster_error *error);
void muster__url_pattern_destroy(struct muster__url_pattern *pattern); /* NULL: no-op */

/* An absolute URL in pieces, each borrowed from it.  False: it is none. */
MUSTER_MUST_CHECK bool muster__url_split(struct muster_bytes url,
                                         struct muster_bytes ret_components[MUSTER__URL_COMPONENT_COUNT]);

/* Thread: any.  An absolute URL, in the form that URL parsers write. */
bool muster__url_pattern_matches(const struct muster__url_pattern *pattern, struct muster_bytes url);
/* As above, of one that was split. */
bool muster__url_pattern_matches_split(const struct muster__url_pattern *pattern,
                                       const struct muster_bytes components[MUSTER__URL_COMPONENT_COUNT]);

#endif
