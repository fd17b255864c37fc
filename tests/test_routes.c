/* tests/test_routes.c - static routes: which are refused, and where requests go. */
#include "coordinator/routes.h"

#include <check.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#define BASE "https://example.org/sw.js"

static struct muster_value *tree(const char *json)
{
    struct muster_value *value = NULL;
    struct muster_error error = {0};
    ck_assert_msg(muster_value_from_json(json, strlen(json), &value, &error) == MUSTER_OK, "%s: %s", json,
                  error.message);
    return value;
}

static enum muster_status make(const char *json, bool listens, struct muster__routes **ret_routes,
                               struct muster_error *error)
{
    struct muster_value *rules = tree(json);
    enum muster_status status = muster__routes_new(rules, BASE, listens, ret_routes, error);
    muster_value_release(rules);
    return status;
}

static const char *const refused[] = {
    "{}",
    "[1]",
    "[{\"source\": \"network\"}]",
    "[{\"condition\": {}, \"source\": \"network\"}]",
    "[{\"condition\": {\"requestMethod\": \"GET\"}}]",
    "[{\"condition\": {\"requestMethod\": \"GET\"}, \"source\": \"nowhere\"}]",
    "[{\"condition\": {\"requestMethod\": \"GET\"}, \"source\": \"\"}]",
    "[{\"condition\": {\"requestMethod\": \"G T\"}, \"source\": \"network\"}]",
    "[{\"condition\": {\"requestMethod\": \"connect\"}, \"source\": \"network\"}]",
    "[{\"condition\": {\"requestMode\": \"same\"}, \"source\": \"network\"}]",
    "[{\"condition\": {\"requestDestination\": \"nothing\"}, \"source\": \"network\"}]",
    "[{\"condition\": {\"runningStatus\": \"asleep\"}, \"source\": \"network\"}]",
    "[{\"condition\": {\"urlPattern\": \"/(a)\"}, \"source\": \"network\"}]",
    "[{\"condition\": {\"urlPattern\": {\"pathname\": \"/(a)\"}}, \"source\": \"network\"}]",
    "[{\"condition\": {\"urlPattern\": {\"pathname\": 7}}, \"source\": \"network\"}]",
    "[{\"condition\": {\"urlPattern\": 7}, \"source\": \"network\"}]",
    "[{\"condition\": {\"or\": []  , \"not\": {\"requestMode\": \"cors\"}}, \"source\": \"network\"}]",
    "[{\"condition\": {\"or\": [], \"requestMode\": \"cors\"}, \"source\": \"network\"}]",
    "[{\"condition\": {\"or\": {}}, \"source\": \"network\"}]",
    "[{\"condition\": {\"not\": {}}, \"source\": \"network\"}]",
    "[{\"condition\": {\"requestMode\": \"cors\"}, \"source\": {\"cacheName\": 1}}]",
    "[{\"condition\": {\"requestMode\": \"cors\"}, \"source\": {}}]",
};

START_TEST(rules_that_say_nothing_are_refused_with_a_reason)
{
    struct muster__routes *routes = NULL;
    struct muster_error error = {0};
    ck_assert_msg(make(refused[_i], true, &routes, &error) == MUSTER_INVALID_ARGUMENT, "%s", refused[_i]);
    ck_assert_ptr_nonnull(error.message);
    ck_assert_ptr_null(routes);
    muster_error_clean_up(&error);
}
END_TEST

static struct muster_bytes bytes(const char *text)
{
    return (struct muster_bytes){text, strlen(text)};
}

static const struct {
    const char *rules, *method, *url, *mode, *destination;
    bool running;
    enum muster__route expected;
} decisions[] = {
    {"[]", "GET", "/", "cors", "", false, MUSTER__ROUTE_NONE},
    {"[{\"condition\": {\"urlPattern\": \"/static/*\"}, \"source\": \"network\"}]", "GET", "/static/a.css", "no-cors",
     "style", false, MUSTER__ROUTE_NETWORK},
    {"[{\"condition\": {\"urlPattern\": \"/static/*\"}, \"source\": \"network\"}]", "GET", "/a.css", "no-cors", "style",
     false, MUSTER__ROUTE_NONE},
    {"[{\"condition\": {\"urlPattern\": {\"pathname\": \"/x\", \"search\": \"?q\"}}, \"source\": \"cache\"}]", "GET",
     "/x?q", "cors", "", false, MUSTER__ROUTE_CACHE},
    {"[{\"condition\": {\"urlPattern\": {\"pathname\": \"/x\"}}, \"source\": \"cache\"}]", "GET", "/x?q", "cors", "", false,
     MUSTER__ROUTE_CACHE},
    {"[{\"condition\": {\"requestMethod\": \"post\"}, \"source\": \"network\"}]", "POST", "/", "cors", "", false,
     MUSTER__ROUTE_NETWORK},
    {"[{\"condition\": {\"requestMethod\": \"POST\", \"requestMode\": \"navigate\"}, \"source\": \"network\"}]", "POST", "/",
     "cors", "", false, MUSTER__ROUTE_NONE},
    {"[{\"condition\": {\"requestDestination\": \"image\"}, \"source\": \"network\"}]", "GET", "/", "no-cors", "image", false,
     MUSTER__ROUTE_NETWORK},
    {"[{\"condition\": {\"requestDestination\": \"\"}, \"source\": \"network\"}]", "GET", "/", "no-cors", "image", false,
     MUSTER__ROUTE_NONE},
    {"[{\"condition\": {\"runningStatus\": \"running\"}, \"source\": \"fetch-event\"},"
     "  {\"condition\": {\"runningStatus\": \"not-running\"}, \"source\": \"network\"}]", "GET", "/", "cors", "", true,
     MUSTER__ROUTE_EVENT},
    {"[{\"condition\": {\"runningStatus\": \"running\"}, \"source\": \"fetch-event\"},"
     "  {\"condition\": {\"runningStatus\": \"not-running\"}, \"source\": \"network\"}]", "GET", "/", "cors", "", false,
     MUSTER__ROUTE_NETWORK},
    {"[{\"condition\": {\"or\": [{\"requestMethod\": \"PUT\"}, {\"urlPattern\": \"/b\"}]},"
     "   \"source\": \"race-network-and-fetch-handler\"}]", "GET", "/b", "cors", "", false, MUSTER__ROUTE_RACE},
    {"[{\"condition\": {\"or\": []}, \"source\": \"network\"}]", "GET", "/b", "cors", "", false, MUSTER__ROUTE_NONE},
    {"[{\"condition\": {\"not\": {\"or\": [{\"requestMethod\": \"PUT\"}, {\"urlPattern\": \"/b\"}]}},"
     "   \"source\": \"network\"}, {\"condition\": {\"requestMethod\": \"GET\"}, \"source\": \"cache\"}]", "GET", "/b", "cors",
     "", false, MUSTER__ROUTE_CACHE},
};

START_TEST(the_first_rule_whose_condition_holds_decides)
{
    struct muster__routes *routes = NULL;
    char url[256];
    ck_assert_int_eq(make(decisions[_i].rules, true, &routes, NULL), MUSTER_OK);
    snprintf(url, sizeof(url), "https://example.org%s", decisions[_i].url);
    const struct muster__route_request request = {bytes(decisions[_i].method), bytes(url), bytes(decisions[_i].mode),
                                                  bytes(decisions[_i].destination), decisions[_i].running};
    ck_assert_int_eq(muster__routes_match(routes, &request, NULL), decisions[_i].expected);
    muster__routes_release(routes);
}
END_TEST

START_TEST(a_cache_is_told_by_its_name)
{
    struct muster__routes *routes = NULL;
    const char *cache = NULL;
    const struct muster__route_request request = {bytes("GET"), bytes(BASE), bytes("cors"), bytes(""), false};
    ck_assert_int_eq(make("[{\"condition\": {\"requestMethod\": \"GET\"}, \"source\": {\"cacheName\": \"v1\"}}]", false, &routes,
                          NULL), MUSTER_OK);
    ck_assert_int_eq(muster__routes_match(routes, &request, &cache), MUSTER__ROUTE_CACHE);
    ck_assert_str_eq(cache, "v1");
    muster__routes_release(routes);
}
END_TEST

START_TEST(the_fetch_event_is_no_source_of_a_script_that_does_not_listen)
{
    struct muster__routes *routes = NULL;
    static const char json[] = "[{\"condition\": {\"requestMethod\": \"GET\"}, \"source\": \"fetch-event\"}]";
    ck_assert_int_eq(make(json, false, &routes, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(make(json, true, &routes, NULL), MUSTER_OK);
    muster__routes_release(routes);
}
END_TEST

static char *nested(int depth)
{
    char *json = calloc(1, 4096);
    ck_assert_ptr_nonnull(json);
    strcpy(json, "[{\"source\": \"network\", \"condition\": ");
    for (int i = 1; i < depth; i++)
        strcat(json, "{\"not\": ");
    strcat(json, "{\"requestMethod\": \"GET\"}");
    for (int i = 1; i < depth; i++)
        strcat(json, "}");
    return strcat(json, "}]");
}

START_TEST(conditions_lie_ten_deep_and_no_deeper)
{
    struct muster__routes *routes = NULL;
    char *ten = nested(10), *eleven = nested(11);
    ck_assert_int_eq(make(ten, true, &routes, NULL), MUSTER_OK);
    muster__routes_release(routes);
    ck_assert_int_eq(make(eleven, true, &routes, NULL), MUSTER_INVALID_ARGUMENT);
    free(ten);
    free(eleven);
}
END_TEST

static char *many(int count)
{
    char *json = calloc(1, 64u * 1024);
    ck_assert_ptr_nonnull(json);
    strcpy(json, "[{\"source\": \"network\", \"condition\": {\"or\": [");
    char *at = json + strlen(json);
    for (int i = 1; i < count; i++)
        at += sprintf(at, "%s{\"requestMethod\": \"GET\"}", i > 1 ? "," : "");
    strcpy(at, "]}}]");
    return json;
}

START_TEST(there_are_1024_conditions_and_no_more)
{
    struct muster__routes *routes = NULL;
    char *fit = many(1024), *more = many(1025);
    ck_assert_int_eq(make(fit, true, &routes, NULL), MUSTER_OK);
    muster__routes_release(routes);
    ck_assert_int_eq(make(more, true, &routes, NULL), MUSTER_INVALID_ARGUMENT);
    free(fit);
    free(more);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("routes");
    TCase *all = tcase_create("routes");
    tcase_add_loop_test(all, rules_that_say_nothing_are_refused_with_a_reason, 0, sizeof(refused) / sizeof(*refused));
    tcase_add_loop_test(all, the_first_rule_whose_condition_holds_decides, 0, sizeof(decisions) / sizeof(*decisions));
    tcase_add_test(all, a_cache_is_told_by_its_name);
    tcase_add_test(all, the_fetch_event_is_no_source_of_a_script_that_does_not_listen);
    tcase_add_test(all, conditions_lie_ten_deep_and_no_deeper);
    tcase_add_test(all, there_are_1024_conditions_and_no_more);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
