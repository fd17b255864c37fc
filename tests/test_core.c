/* tests/test_core.c - the coordinator's core, one conversation at a time.
 *
 * A test is written in the core's own lines of text: an event, and the actions that must come of it.
 * Time is a number that the test moves. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_core_say.h"

/* Version `n` of "/" from the offer to OPEN; instance n too. */
static void bring_up(void)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\"");
    say("PLACED instance=1 host=7");
    say("STARTED instance=1");
    say("INSTALL_ENDED instance=1");
    SAY("ACTIVATE_ENDED instance=1", "OPEN version=1 instance=1 host=7; SETTLE_JOB job=1 version=1 scope=\"/\"");
}

/* A second version, installed, beside version 1. */
static const char *bring_second(bool skips)
{
    say("REGISTER job=2 version=2 scope=\"/\" script=\"b\"");
    say("PLACED instance=2 host=7");
    if (skips) {
        say("SKIP_WAITING instance=2");
    }
    say("STARTED instance=2");
    return say("INSTALL_ENDED instance=2");
}

/* ---- registration ---- */

START_TEST(a_first_version_is_published_and_runs_when_it_is_activated)
{
    SAY("REGISTER job=1 version=1 scope=\"/\" script=\"a\"",
        "PUBLISH version=1 scope=\"/\"; PLACE version=1 instance=1");
    SAY("PLACED instance=1 host=7", "START version=1 instance=1 host=7");
    SAY("WANT version=1", "");
    SAY("STARTED instance=1", "INSTALL version=1 instance=1 host=7");
    SAY("INSTALL_ENDED instance=1", "ACTIVATE version=1 instance=1 host=7");
    SAY("ACTIVATE_ENDED instance=1 status=REJECTED",
        "OPEN version=1 instance=1 host=7; SETTLE_JOB job=1 version=1 scope=\"/\"");
}
END_TEST

START_TEST(a_failed_install_withdraws_the_registration_and_disposes_when_gone)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\"");
    say("PLACED instance=1");
    say("STARTED instance=1");
    SAY("INSTALL_ENDED instance=1 status=REJECTED",
        "FAIL_QUEUED version=1 status=REJECTED scope=\"/\"; "
        "WITHDRAW version=1 reason=INSTALL_FAILED scope=\"/\"; "
        "VACATE version=1 instance=1 reason=INSTALL_FAILED; STOP version=1 instance=1 reason=INSTALL_FAILED; "
        "SETTLE_JOB job=1 version=1 status=REJECTED scope=\"/\"");
    SAY("WANT version=1", "FAIL_QUEUED version=1 status=NOT_FOUND reason=INSTALL_FAILED scope=\"/\"");
    SAY("GONE instance=1", "FORGET version=1 instance=1 reason=INSTALL_FAILED; "
                           "DISPOSE version=1 reason=INSTALL_FAILED scope=\"/\"");
    ck_assert_uint_eq(muster__core_deadline(core), UINT64_MAX);
}
END_TEST

START_TEST(a_failed_update_leaves_the_active_version_alone)
{
    bring_up();
    say("REGISTER job=2 version=2 scope=\"/\" script=\"b\"");
    say("PLACED instance=2");
    SAY("STARTED instance=2 status=SYNTAX_ERROR",
        "FAIL_QUEUED version=2 status=SYNTAX_ERROR scope=\"/\"; "
        "VACATE version=2 instance=2 reason=START_FAILED; STOP version=2 instance=2 reason=START_FAILED; "
        "SETTLE_JOB job=2 version=2 status=SYNTAX_ERROR scope=\"/\"");
    SAY("GONE instance=2", "FORGET version=2 instance=2 reason=START_FAILED; "
                           "DISPOSE version=2 reason=INSTALL_FAILED scope=\"/\"");
    SAY("GONE instance=1", "VACATE version=1 instance=1 host=7 reason=DIED; "
                           "FORGET version=1 instance=1 host=7 reason=DIED");
}
END_TEST

START_TEST(a_lazy_version_starts_when_it_is_wanted)
{
    SAY("REGISTER job=1 version=1 scope=\"/\" script=\"a\" lazy=1",
        "PUBLISH version=1 scope=\"/\"; SETTLE_JOB job=1 version=1 scope=\"/\"");
    SAY("WANT version=1", "PLACE version=1 instance=1");
    SAY("WANT version=1", "");
    SAY("PLACED instance=1", "START version=1 instance=1");
    SAY("STARTED instance=1", "INSTALL version=1 instance=1");
    SAY("INSTALL_ENDED instance=1", "ACTIVATE version=1 instance=1");
    SAY("ACTIVATE_ENDED instance=1", "OPEN version=1 instance=1");
}
END_TEST

START_TEST(a_lazy_version_that_failed_is_tried_again_for_the_next_request)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\" lazy=1");
    say("WANT version=1");
    say("PLACED instance=1");
    say("STARTED instance=1");
    SAY("INSTALL_ENDED instance=1 status=SCRIPT_ERROR",
        "FAIL_QUEUED version=1 status=SCRIPT_ERROR scope=\"/\"; "
        "VACATE version=1 instance=1 reason=INSTALL_FAILED; STOP version=1 instance=1 reason=INSTALL_FAILED");
    SAY("WANT version=1", "PLACE version=1 instance=2");
    say("PLACED instance=2");
    SAY("STARTED instance=2", "INSTALL version=1 instance=2");
}
END_TEST

START_TEST(an_equal_script_settles_at_once_with_the_version_that_is_there)
{
    bring_up();
    SAY("REGISTER job=2 version=2 scope=\"/\" script=\"a\"",
        "DISPOSE version=2 scope=\"/\"; SETTLE_JOB job=2 version=1 scope=\"/\"");
}
END_TEST

START_TEST(an_equal_register_joins_the_last_job)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\"");
    SAY("REGISTER job=2 version=2 scope=\"/\" script=\"a\"", "DISPOSE version=2 scope=\"/\"");
    SAY("REGISTER job=2 version=2 scope=\"/\" script=\"a\"", "");
    SAY("PLACED instance=1 status=REFUSED",
        "FAIL_QUEUED version=1 status=REFUSED scope=\"/\"; "
        "WITHDRAW version=1 reason=INSTALL_FAILED scope=\"/\"; "
        "VACATE version=1 instance=1 reason=START_FAILED; FORGET version=1 instance=1 reason=START_FAILED; "
        "SETTLE_JOB job=1 version=1 status=REFUSED scope=\"/\"; "
        "SETTLE_JOB job=2 version=1 status=REFUSED scope=\"/\"; "
        "DISPOSE version=1 reason=INSTALL_FAILED scope=\"/\"");
}
END_TEST

START_TEST(jobs_of_a_scope_run_one_at_a_time_and_in_order)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\"");
    SAY("UNREGISTER job=2 scope=\"/\"", "");
    SAY("REGISTER job=3 version=3 scope=\"/\" script=\"a\"", "");
    SAY("REGISTER job=4 version=4 scope=\"/other\" script=\"a\"",
        "PUBLISH version=4 scope=\"/other\"; PLACE version=4 instance=2");
    say("PLACED instance=1");
    say("STARTED instance=1");
    say("INSTALL_ENDED instance=1");
    SAY("ACTIVATE_ENDED instance=1",
        "OPEN version=1 instance=1; SETTLE_JOB job=1 version=1 scope=\"/\"; WITHDRAW scope=\"/\"; "
        "SAMPLE version=1 instance=1; SETTLE_JOB job=2 scope=\"/\"; "
        "PUBLISH version=3 scope=\"/\"; PLACE version=3 instance=3");
}
END_TEST

/* ---- update ---- */

START_TEST(a_new_version_waits_until_the_active_one_is_idle)
{
    bring_up();
    ck_assert_str_eq(bring_second(false), "SETTLE_JOB job=2 version=2 scope=\"/\"");
    at(1000);
    SAY("TICK", "SAMPLE version=1 instance=1 host=7; SAMPLE version=2 instance=2 host=7");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1 host=7");
    SAY("RETIRED instance=1 ok=1",
        "STOP version=1 instance=1 host=7 reason=IDLE; PUBLISH version=2 scope=\"/\"; "
        "ACTIVATE version=2 instance=2 host=7");
    SAY("ACTIVATE_ENDED instance=2", "OPEN version=2 instance=2 host=7");
    SAY("GONE instance=1", "FORGET version=1 instance=1 host=7 reason=IDLE");
    at(1020); /* no want for the old one came any more */
    SAY("TICK", "DISPOSE version=1 reason=REPLACED scope=\"/\"");
}
END_TEST

START_TEST(a_request_that_came_to_the_old_slot_is_served_before_it_is_disposed_of)
{
    bring_up();
    bring_second(false);
    at(1000);
    say("TICK");
    say("SAMPLED instance=1");
    say("RETIRED instance=1 ok=1");
    SAY("WANT version=1", "PLACE version=1 instance=3");
    say("ACTIVATE_ENDED instance=2");
    say("GONE instance=1");
    SAY("PLACED instance=3", "START version=1 instance=3 may_open=1");
    SAY("STARTED instance=3", "OPEN version=1 instance=3; SAMPLE version=1 instance=3");
    SAY("SAMPLED instance=3 holds=1", "");
    at(1020);
    SAY("TICK", "SAMPLE version=1 instance=3");
    SAY("SAMPLED instance=3", "TRY_RETIRE version=1 instance=3");
    SAY("RETIRED instance=3 ok=1", "STOP version=1 instance=3 reason=REPLACED");
    at(1040);
    SAY("TICK", ""); /* what it gives back before it is gone would be served, too */
    SAY("GONE instance=3", "FORGET version=1 instance=3 reason=REPLACED");
    at(1060);
    SAY("TICK", "DISPOSE version=1 reason=REPLACED scope=\"/\"");
}
END_TEST

/* Version 1 was activated and is asleep; instance 2 starts. */
static void revive(void)
{
    bring_up();
    say("GONE instance=1");
    say("WANT version=1");
    SAY("PLACED instance=2 host=7", "START version=1 instance=2 host=7 may_open=1");
}

START_TEST(an_activated_version_may_open_its_slot_itself_and_is_not_told_to)
{
    revive();
    SAY("STARTED instance=2 ok=1", "");
    SAY("STARTED instance=2 ok=1", "");
    at(1000);
    SAY("TICK", "SAMPLE version=1 instance=2 host=7");
    SAY("SAMPLED instance=2", "TRY_RETIRE version=1 instance=2 host=7");
}
END_TEST

START_TEST(one_that_did_not_open_its_slot_though_it_might_is_told_to)
{
    revive();
    SAY("STARTED instance=2", "OPEN version=1 instance=2 host=7");
}
END_TEST

START_TEST(one_that_opened_its_slot_when_its_time_was_over_is_taken_off_it)
{
    revive();
    at(500);
    SAY("TICK", "FAIL_QUEUED version=1 status=START_TIMED_OUT scope=\"/\"; "
                "VACATE version=1 instance=2 host=7 reason=START_OVERDUE; "
                "CANCEL version=1 instance=2 host=7 reason=START_OVERDUE");
    SAY("STARTED instance=2 ok=1", "");
}
END_TEST

START_TEST(a_version_that_drains_opens_its_slot_itself_and_is_looked_at)
{
    revive();
    say("REGISTER job=2 version=2 scope=\"/\" script=\"b\"");
    say("PLACED instance=3 host=7");
    say("SKIP_WAITING instance=3");
    say("STARTED instance=3");
    SAY("INSTALL_ENDED instance=3", "PUBLISH version=2 scope=\"/\"");
    SAY("STARTED instance=2 ok=1", "SAMPLE version=1 instance=2 host=7");
}
END_TEST

START_TEST(a_version_has_an_idle_time_of_its_own)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\" idle=200000");
    say("PLACED instance=1");
    say("STARTED instance=1");
    say("INSTALL_ENDED instance=1");
    say("ACTIVATE_ENDED instance=1");
    at(199);
    SAY("TICK", "");
    at(200);
    SAY("TICK", "SAMPLE version=1 instance=1");
}
END_TEST

START_TEST(skip_waiting_publishes_at_once_and_activates_when_the_old_one_has_drained)
{
    bring_up();
    ck_assert_str_eq(bring_second(true),
                     "PUBLISH version=2 scope=\"/\"; SAMPLE version=1 instance=1 host=7");
    SAY("SAMPLED instance=1 holds=2 alive_until=5000000", "");
    at(20);
    SAY("TICK", "SAMPLE version=1 instance=1 host=7");
    SAY("SAMPLED instance=1 alive_until=5000000", "TRY_RETIRE version=1 instance=1 host=7");
    SAY("RETIRED instance=1 ok=1", "STOP version=1 instance=1 host=7 reason=REPLACED; "
                                   "ACTIVATE version=2 instance=2 host=7");
    SAY("ACTIVATE_ENDED instance=2",
        "OPEN version=2 instance=2 host=7; SETTLE_JOB job=2 version=2 scope=\"/\"");
}
END_TEST

START_TEST(skip_waiting_may_be_said_while_it_waits)
{
    bring_up();
    bring_second(false);
    SAY("SKIP_WAITING instance=2", "PUBLISH version=2 scope=\"/\"; SAMPLE version=1 instance=1 host=7");
}
END_TEST

START_TEST(a_drain_ends_with_the_grace_time)
{
    bring_up();
    bring_second(true);
    while (muster__core_deadline(core) < 800000) {
        at(muster__core_deadline(core) / 1000);
        say("TICK");
        say("SAMPLED instance=1 holds=1");
    }
    at(800);
    SAY("TICK", "VACATE version=1 instance=1 host=7 reason=REPLACED; "
                "STOP version=1 instance=1 host=7 reason=REPLACED; "
                "CANCEL version=1 instance=1 host=7 reason=REPLACED; ACTIVATE version=2 instance=2 host=7");
    SAY("WANT version=1", "FAIL_QUEUED version=1 status=NOT_FOUND reason=REPLACED scope=\"/\"");
}
END_TEST

START_TEST(a_waiting_version_without_an_instance_is_started_for_its_activation)
{
    bring_up();
    bring_second(false);
    say("GONE instance=2");
    SAY("GONE instance=1", "VACATE version=1 instance=1 host=7 reason=DIED; "
                           "FORGET version=1 instance=1 host=7 reason=DIED; PUBLISH version=2 scope=\"/\"; "
                           "PLACE version=2 instance=3");
    say("PLACED instance=3");
    SAY("STARTED instance=3", "ACTIVATE version=2 instance=3");
}
END_TEST

START_TEST(a_third_version_replaces_the_one_that_waits)
{
    bring_up();
    bring_second(false);
    say("REGISTER job=3 version=3 scope=\"/\" script=\"c\"");
    say("PLACED instance=3");
    say("STARTED instance=3");
    SAY("INSTALL_ENDED instance=3",
        "VACATE version=2 instance=2 host=7 reason=REPLACED; STOP version=2 instance=2 host=7 reason=REPLACED; "
        "SETTLE_JOB job=3 version=3 scope=\"/\"");
    SAY("GONE instance=2", "FORGET version=2 instance=2 host=7 reason=REPLACED; "
                           "DISPOSE version=2 reason=REPLACED scope=\"/\"");
}
END_TEST

START_TEST(a_waiting_instance_ends_when_idle_and_its_version_goes_on_waiting)
{
    bring_up();
    bring_second(false);
    at(1000);
    say("TICK");
    say("SAMPLED instance=1 alive_until=9000000");
    SAY("SAMPLED instance=2", "VACATE version=2 instance=2 host=7 reason=IDLE; "
                              "STOP version=2 instance=2 host=7 reason=IDLE");
    say("GONE instance=2");
    SAY("REGISTER job=3 version=3 scope=\"/\" script=\"b\"",
        "DISPOSE version=3 scope=\"/\"; SETTLE_JOB job=3 version=2 scope=\"/\"");
}
END_TEST

/* ---- idle ---- */

START_TEST(an_idle_worker_is_retired_and_comes_back_when_wanted)
{
    bring_up();
    ck_assert_uint_eq(muster__core_deadline(core), 1000000);
    at(1000);
    SAY("TICK", "SAMPLE version=1 instance=1 host=7");
    SAY("SAMPLED instance=1 alive_until=1300000 holds=3", "");
    ck_assert_uint_eq(muster__core_deadline(core), 1300000);
    at(1300);
    SAY("TICK", "SAMPLE version=1 instance=1 host=7");
    SAY("SAMPLED instance=1 alive_until=1300000", "TRY_RETIRE version=1 instance=1 host=7");
    SAY("RETIRED instance=1 ok=1", "STOP version=1 instance=1 host=7 reason=IDLE");
    SAY("WANT version=1", "PLACE version=1 instance=2");
    say("PLACED instance=2 host=3");
    SAY("STARTED instance=2", "OPEN version=1 instance=2 host=3");
    SAY("GONE instance=1", "FORGET version=1 instance=1 host=7 reason=IDLE");
}
END_TEST

START_TEST(a_retirement_that_lost_the_race_is_tried_again)
{
    bring_up();
    at(1000);
    say("TICK");
    say("SAMPLED instance=1");
    SAY("RETIRED instance=1", "");
    ck_assert_uint_eq(muster__core_deadline(core), 1001000);
    SAY("RETIRED instance=1", "");
    at(1001);
    SAY("TICK", "SAMPLE version=1 instance=1 host=7");
    SAY("SAMPLED instance=1 alive_until=2001000 holds=1", "");
    ck_assert_uint_eq(muster__core_deadline(core), 2001000);
}
END_TEST

START_TEST(a_want_that_crosses_the_answer_of_the_retirement_is_not_lost)
{
    bring_up();
    at(1000);
    say("TICK");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1 host=7");
    SAY("WANT version=1", "");
    SAY("RETIRED instance=1 ok=1",
        "STOP version=1 instance=1 host=7 reason=IDLE; PLACE version=1 instance=2");
}
END_TEST

START_TEST(a_drain_that_begins_in_the_grace_time_does_not_make_it_longer)
{
    bring_up();
    at(1000);
    say("TICK");
    say("SAMPLED instance=1 holds=1");
    at(1700);
    say("UNREGISTER job=2 scope=\"/\"");
    say("SAMPLED instance=1 holds=1");
    at(1800);
    say("TICK");
    SAY("SAMPLED instance=1 holds=1", "VACATE version=1 instance=1 host=7 reason=GRACE; "
                                      "STOP version=1 instance=1 host=7 reason=GRACE; "
                                      "CANCEL version=1 instance=1 host=7 reason=GRACE");
}
END_TEST

START_TEST(held_work_gets_the_grace_time_and_no_more)
{
    bring_up();
    at(1000);
    for (;;) {
        SAY("TICK", "SAMPLE version=1 instance=1 host=7");
        if (now_us >= 1800000) {
            break;
        }
        SAY("SAMPLED instance=1 holds=1", "");
        ck_assert_uint_eq(muster__core_deadline(core), now_us + 100000);
        at(muster__core_deadline(core) / 1000);
    }
    ck_assert_uint_eq(now_us, 1800000);
    SAY("SAMPLED instance=1 holds=1", "VACATE version=1 instance=1 host=7 reason=GRACE; "
                                      "STOP version=1 instance=1 host=7 reason=GRACE; "
                                      "CANCEL version=1 instance=1 host=7 reason=GRACE");
    ck_assert_uint_eq(muster__core_deadline(core), 1830000);
}
END_TEST

START_TEST(activity_in_the_grace_time_returns_to_the_first_stage)
{
    bring_up();
    at(1000);
    say("TICK");
    say("SAMPLED instance=1 holds=1");
    at(1100);
    say("TICK");
    SAY("SAMPLED instance=1 holds=1 alive_until=2050000", "");
    ck_assert_uint_eq(muster__core_deadline(core), 2050000);
    at(2050);
    say("TICK");
    say("SAMPLED instance=1 holds=1");
    at(2849);
    say("TICK");
    SAY("SAMPLED instance=1 holds=1", ""); /* the grace time counts from 2050 */
    ck_assert_uint_eq(muster__core_deadline(core), 2850000);
}
END_TEST

START_TEST(a_token_dropped_in_the_grace_time_ends_it)
{
    bring_up();
    at(1000);
    say("TICK");
    say("SAMPLED instance=1 holds=1");
    at(1100);
    say("TICK");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1 host=7");
}
END_TEST

/* ---- how instances end ---- */

START_TEST(a_stop_escalates_to_an_interrupt_and_then_gives_up)
{
    bring_up();
    SAY("STOP job=2 scope=\"/\"", "VACATE version=1 instance=1 host=7 reason=ASKED; "
                                  "STOP version=1 instance=1 host=7 reason=ASKED");
    at(50);
    SAY("TICK", "CANCEL version=1 instance=1 host=7 reason=ASKED");
    at(80);
    SAY("TICK", "ABANDON version=1 instance=1 host=7 reason=ASKED; "
                "SETTLE_JOB job=2 status=WEDGED scope=\"/\"");
    SAY("WANT version=1", "FAIL_QUEUED version=1 status=WEDGED scope=\"/\"");
    SAY("GONE instance=1", "FORGET version=1 instance=1 host=7 reason=ASKED");
    SAY("GONE instance=1", "");
    SAY("WANT version=1", "PLACE version=1 instance=2");
}
END_TEST

START_TEST(a_stop_job_settles_when_the_instances_are_gone)
{
    bring_up();
    SAY("STOP job=2 scope=\"/unknown\"", "SETTLE_JOB job=2 status=NOT_FOUND");
    say("STOP job=3 scope=\"/\"");
    SAY("REGISTER job=4 version=4 scope=\"/\" script=\"a\"", "");
    SAY("GONE instance=1",
        "FORGET version=1 instance=1 host=7 reason=ASKED; SETTLE_JOB job=3 scope=\"/\"; "
        "DISPOSE version=4 scope=\"/\"; SETTLE_JOB job=4 version=1 scope=\"/\"");
    SAY("STOP job=5 scope=\"/\"", "SETTLE_JOB job=5 scope=\"/\"");
}
END_TEST

START_TEST(a_death_leaves_the_version_where_it_was)
{
    bring_up();
    SAY("GONE instance=1 status=MEMORY_LIMIT", "VACATE version=1 instance=1 host=7 reason=DIED; "
                                               "FORGET version=1 instance=1 host=7 reason=DIED");
    SAY("WANT version=1", "PLACE version=1 instance=2");
}
END_TEST

START_TEST(a_death_while_installing_is_a_failed_install)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\"");
    say("PLACED instance=1");
    say("STARTED instance=1");
    SAY("GONE instance=1 status=TURN_LIMIT",
        "FAIL_QUEUED version=1 status=TURN_LIMIT scope=\"/\"; "
        "WITHDRAW version=1 reason=INSTALL_FAILED scope=\"/\"; "
        "VACATE version=1 instance=1 reason=DIED; FORGET version=1 instance=1 reason=DIED; "
        "SETTLE_JOB job=1 version=1 status=TURN_LIMIT scope=\"/\"; "
        "DISPOSE version=1 reason=INSTALL_FAILED scope=\"/\"");
}
END_TEST

START_TEST(a_start_that_was_lost_with_its_host_fails_nobody)
{
    bring_up();
    say("GONE instance=1 status=RETRY");
    say("WANT version=1");
    say("PLACED instance=2 host=8");
    SAY("GONE instance=2 status=CRASHED", "VACATE version=1 instance=2 host=8 reason=DIED; "
                                          "FORGET version=1 instance=2 host=8 reason=DIED");
    SAY("WANT version=1", "PLACE version=1 instance=3"); /* the slot's, where something waits */
    say("PLACED instance=3 host=9");
    SAY("STARTED instance=3", "OPEN version=1 instance=3 host=9");
}
END_TEST

START_TEST(an_install_that_was_lost_with_its_host_is_made_again_a_few_times)
{
    char line[64];
    int losses = 0;
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\"");
    for (; losses < 100; losses++) {
        snprintf(line, sizeof(line), "PLACED instance=%d", losses + 1);
        say(line);
        snprintf(line, sizeof(line), "STARTED instance=%d", losses + 1);
        ck_assert_ptr_nonnull(strstr(say(line), "INSTALL version=1"));
        snprintf(line, sizeof(line), "GONE instance=%d status=RETRY", losses + 1);
        if (strstr(say(line), "FAIL_QUEUED"))
            break;
        snprintf(line, sizeof(line), "PLACE version=1 instance=%d", losses + 2);
        ck_assert_ptr_nonnull(strstr(said, line));
        ck_assert_ptr_null(strstr(said, "SETTLE_JOB"));
    }
    ck_assert_int_eq(losses, 8);
    ck_assert_ptr_nonnull(strstr(said, "SETTLE_JOB job=1 version=1 status=RETRY"));
}
END_TEST

START_TEST(a_wedged_worker_is_given_up_and_refused_until_it_is_gone)
{
    bring_up();
    SAY("WEDGED instance=1", "VACATE version=1 instance=1 host=7 reason=WEDGED; "
                             "ABANDON version=1 instance=1 host=7 reason=WEDGED; "
                             "FAIL_QUEUED version=1 status=WEDGED scope=\"/\"");
    SAY("WEDGED instance=1", "");
    SAY("WANT version=1", "FAIL_QUEUED version=1 status=WEDGED scope=\"/\"");
    say("GONE instance=1");
    SAY("WANT version=1", "PLACE version=1 instance=2");
}
END_TEST

START_TEST(a_worker_whose_host_is_emptied_ends_and_what_waits_starts_it_elsewhere)
{
    bring_up();
    SAY("MOVE instance=1", "VACATE version=1 instance=1 host=7 reason=MOVED; "
                           "STOP version=1 instance=1 host=7 reason=MOVED");
    SAY("MOVE instance=1", "");
    SAY("WANT version=1", "PLACE version=1 instance=2");
    SAY("MOVE instance=2", ""); /* it does not run yet */
    SAY("PLACED instance=2 host=8", "START version=1 instance=2 host=8 may_open=1");
}
END_TEST

START_TEST(close_by_the_script_ends_it_and_the_next_request_revives_it)
{
    bring_up();
    SAY("CLOSE_SELF instance=1", "VACATE version=1 instance=1 host=7 reason=CLOSED_SELF; "
                                 "STOP version=1 instance=1 host=7 reason=CLOSED_SELF");
    SAY("CLOSE_SELF instance=1", "");
    SAY("WANT version=1", "PLACE version=1 instance=2");
}
END_TEST

/* ---- starting ---- */

START_TEST(a_host_that_refuses_is_asked_for_again_within_a_bound)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\" lazy=1");
    say("WANT version=1");
    for (int i = 0; i < 2; i++) {
        SAY("PLACED instance=1 host=4", "START version=1 instance=1 host=4");
        SAY("HOST_REFUSED instance=1", "PLACE version=1 instance=1");
        SAY("HOST_REFUSED instance=1", "");
    }
    say("PLACED instance=1 host=5");
    SAY("HOST_REFUSED instance=1 host=4", ""); /* an earlier one, twice */
    SAY("HOST_REFUSED instance=1 host=5",
        "FAIL_QUEUED version=1 status=REFUSED scope=\"/\"; "
        "VACATE version=1 instance=1 host=5 reason=START_FAILED; "
        "FORGET version=1 instance=1 host=5 reason=START_FAILED");
}
END_TEST

START_TEST(a_placement_that_never_answers_fails_what_waits)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\" lazy=1");
    say("WANT version=1");
    at(500);
    SAY("TICK", "FAIL_QUEUED version=1 status=START_TIMED_OUT scope=\"/\"; "
                "VACATE version=1 instance=1 reason=START_OVERDUE; "
                "FORGET version=1 instance=1 reason=START_OVERDUE");
    SAY("PLACED instance=1", "");
}
END_TEST

START_TEST(a_start_that_never_ends_is_interrupted)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\" lazy=1");
    say("WANT version=1");
    at(400);
    say("PLACED instance=1"); /* the bound is one for both */
    at(500);
    SAY("TICK", "FAIL_QUEUED version=1 status=START_TIMED_OUT scope=\"/\"; "
                "VACATE version=1 instance=1 reason=START_OVERDUE; "
                "CANCEL version=1 instance=1 reason=START_OVERDUE");
    SAY("STARTED instance=1", "");
    SAY("HOST_REFUSED instance=1", "FORGET version=1 instance=1 reason=START_OVERDUE");
}
END_TEST

START_TEST(an_install_that_never_ends_fails)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\"");
    say("PLACED instance=1");
    say("STARTED instance=1");
    at(600);
    SAY("TICK", "FAIL_QUEUED version=1 status=TIMED_OUT scope=\"/\"; "
                "WITHDRAW version=1 reason=INSTALL_FAILED scope=\"/\"; "
                "VACATE version=1 instance=1 reason=LIFECYCLE_OVERDUE; "
                "CANCEL version=1 instance=1 reason=LIFECYCLE_OVERDUE; "
                "SETTLE_JOB job=1 version=1 status=TIMED_OUT scope=\"/\"");
    SAY("INSTALL_ENDED instance=1", "");
}
END_TEST

START_TEST(an_activate_that_never_ends_counts_as_ended_and_the_next_instance_serves)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\"");
    say("PLACED instance=1");
    say("STARTED instance=1");
    say("INSTALL_ENDED instance=1");
    at(600);
    SAY("TICK", "VACATE version=1 instance=1 reason=LIFECYCLE_OVERDUE; "
                "CANCEL version=1 instance=1 reason=LIFECYCLE_OVERDUE; "
                "SETTLE_JOB job=1 version=1 scope=\"/\"");
    say("WANT version=1");
    say("PLACED instance=2");
    SAY("STARTED instance=2", "OPEN version=1 instance=2");
}
END_TEST

/* ---- unregister and shutdown ---- */

START_TEST(unregister_withdraws_at_once_and_lets_what_runs_finish)
{
    bring_up();
    SAY("UNREGISTER job=2 scope=\"/\"", "WITHDRAW scope=\"/\"; SAMPLE version=1 instance=1 host=7; "
                                        "SETTLE_JOB job=2 scope=\"/\"");
    SAY("UNREGISTER job=3 scope=\"/\"", "SETTLE_JOB job=3 status=NOT_FOUND scope=\"/\"");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1 host=7");
    SAY("RETIRED instance=1 ok=1", "STOP version=1 instance=1 host=7 reason=UNREGISTERED");
    SAY("GONE instance=1", "FORGET version=1 instance=1 host=7 reason=UNREGISTERED");
    at(20);
    SAY("TICK", "DISPOSE version=1 reason=UNREGISTERED scope=\"/\"");
    SAY("UNREGISTER job=4 scope=\"/\"", "SETTLE_JOB job=4 status=NOT_FOUND");
    ck_assert_uint_eq(muster__core_deadline(core), UINT64_MAX);
}
END_TEST

START_TEST(a_scope_can_be_registered_again_while_the_old_one_drains)
{
    bring_up();
    say("UNREGISTER job=2 scope=\"/\"");
    SAY("REGISTER job=3 version=3 scope=\"/\" script=\"a\"",
        "PUBLISH version=3 scope=\"/\"; PLACE version=3 instance=2");
    say("PLACED instance=2");
    say("STARTED instance=2");
    SAY("INSTALL_ENDED instance=2", "ACTIVATE version=3 instance=2");
}
END_TEST

START_TEST(a_wedged_instance_does_not_hold_up_the_disposal_of_its_version)
{
    bring_up();
    say("WEDGED instance=1");
    say("UNREGISTER job=2 scope=\"/\"");
    at(20);
    SAY("TICK", "DISPOSE version=1 reason=UNREGISTERED scope=\"/\"");
    SAY("GONE instance=1", "FORGET version=1 instance=1 host=7 reason=WEDGED");
}
END_TEST

START_TEST(close_settles_the_jobs_ends_the_instances_and_comes_to_an_end)
{
    bring_up();
    say("REGISTER job=2 version=2 scope=\"/b\" script=\"b\"");
    say("UNREGISTER job=3 scope=\"/b\"");
    SAY("CLOSE", "FAIL_QUEUED version=1 status=SHUTDOWN scope=\"/\"; "
                 "VACATE version=1 instance=1 host=7 reason=SHUTDOWN; "
                 "STOP version=1 instance=1 host=7 reason=SHUTDOWN; "
                 "SETTLE_JOB job=2 version=2 status=SHUTDOWN scope=\"/b\"; "
                 "SETTLE_JOB job=3 status=SHUTDOWN scope=\"/b\"; "
                 "FAIL_QUEUED version=2 status=SHUTDOWN scope=\"/b\"; "
                 "VACATE version=2 instance=2 reason=SHUTDOWN; FORGET version=2 instance=2 reason=SHUTDOWN");
    SAY("CLOSE", "");
    SAY("WANT version=1", "FAIL_QUEUED version=1 status=SHUTDOWN scope=\"/\"");
    SAY("REGISTER job=4 version=4 scope=\"/c\" script=\"c\"",
        "SETTLE_JOB job=4 status=SHUTDOWN; DISPOSE version=4");
    SAY("PLACED instance=2", "");
    SAY("GONE instance=1", "FORGET version=1 instance=1 host=7 reason=SHUTDOWN; CLOSED");
    SAY("CLOSE", "");
}
END_TEST

START_TEST(close_gives_up_on_what_does_not_end)
{
    bring_up();
    say("CLOSE");
    at(50);
    say("TICK");
    at(80);
    SAY("TICK", "ABANDON version=1 instance=1 host=7 reason=SHUTDOWN; CLOSED");
    SAY("GONE instance=1", "FORGET version=1 instance=1 host=7 reason=SHUTDOWN");
}
END_TEST

START_TEST(an_empty_core_closes_at_once)
{
    SAY("CLOSE", "CLOSED");
}
END_TEST

/* ---- late, doubled, unknown ---- */

START_TEST(an_event_about_what_nobody_knows_does_nothing)
{
    bring_up();
    struct muster__core_event event = { .kind = (enum muster__core_event_kind)_i,
                                        .instance = 99,
                                        .version = 99 };
    struct muster__core_actions actions = { NULL, 0 };
    bool job = _i == MUSTER__CORE_REGISTER || _i == MUSTER__CORE_UPDATE || _i == MUSTER__CORE_LOADED
               || _i == MUSTER__CORE_UNREGISTER || _i == MUSTER__CORE_STOP;
    if (_i == MUSTER__CORE_CLOSE) {
        return;
    }
    ck_assert_int_eq(muster__core_step(core, &event, now_us, &actions),
                     job ? MUSTER_INVALID_ARGUMENT : MUSTER_OK);
    ck_assert_uint_eq(actions.count, 0);
}
END_TEST

START_TEST(a_dying_instance_is_not_revived_by_anything_it_says)
{
    static const char *const late[] = { "PLACED instance=1",       "STARTED instance=1",
                                        "INSTALL_ENDED instance=1", "ACTIVATE_ENDED instance=1",
                                        "SKIP_WAITING instance=1",  "SAMPLED instance=1",
                                        "RETIRED instance=1 ok=1",  "CLOSE_SELF instance=1",
                                        "STARTED instance=1 status=SCRIPT_ERROR" };
    bring_up();
    say("STOP job=2 scope=\"/\"");
    for (size_t i = 0; i < sizeof(late) / sizeof(late[0]); i++) {
        SAY(late[i], "");
    }
    at(50);
    say("TICK");
    for (size_t i = 0; i < sizeof(late) / sizeof(late[0]); i++) {
        SAY(late[i], "");
    }
}
END_TEST

/* ---- the table ---- */

static bool is_from_the_driver(enum muster__input input)
{
    return input != MUSTER__INPUT_DUE && input != MUSTER__INPUT_TIMER;
}

START_TEST(whatever_the_driver_says_has_an_answer_in_every_phase)
{
    if (_i == MUSTER__PHASE_GONE) {
        return; /* nothing finds it any more */
    }
    for (int input = 0; input < MUSTER__INPUT_COUNT; input++) {
        if (is_from_the_driver(input)) {
            ck_assert_msg(muster__phase_step(_i, input).verdict != MUSTER__IS_BUG, "%d in %s", input,
                          muster__phase_name(_i));
        }
    }
}
END_TEST

START_TEST(every_phase_can_be_reached_and_only_gone_is_final)
{
    bool seen[MUSTER__PHASE_COUNT] = { [MUSTER__PHASE_PLACING] = true };
    for (int round = 0; round < MUSTER__PHASE_COUNT; round++) {
        for (int phase = 0; phase < MUSTER__PHASE_COUNT; phase++) {
            for (int input = 0; seen[phase] && input < MUSTER__INPUT_COUNT; input++) {
                struct muster__phase_step step = muster__phase_step(phase, input);
                if (step.verdict == MUSTER__GO) {
                    seen[step.next] = true;
                }
            }
        }
    }
    for (int phase = 0; phase < MUSTER__PHASE_COUNT; phase++) {
        bool ends = muster__phase_step(phase, MUSTER__INPUT_GONE).next == MUSTER__PHASE_GONE
                    || phase == MUSTER__PHASE_PLACING;
        ck_assert_msg(seen[phase], "%s is never reached", muster__phase_name(phase));
        ck_assert_msg(ends || phase == MUSTER__PHASE_GONE, "%s", muster__phase_name(phase));
    }
}
END_TEST

START_TEST(phases_go_forward_only_but_for_a_second_placement)
{
    for (int input = 0; input < MUSTER__INPUT_COUNT; input++) {
        struct muster__phase_step step = muster__phase_step(_i, input);
        bool second_placement = _i == MUSTER__PHASE_STARTING && step.next == MUSTER__PHASE_PLACING;
        if (step.verdict == MUSTER__GO && !second_placement) {
            ck_assert_int_ge(step.next, (enum muster__phase)_i);
        }
    }
}
END_TEST

START_TEST(every_phase_that_can_wait_has_a_bound)
{
    bool waits = _i != MUSTER__PHASE_ABANDONED && _i != MUSTER__PHASE_GONE;
    ck_assert_int_eq(muster__phase_step(_i, MUSTER__INPUT_TIMER).verdict == MUSTER__GO, waits);
}
END_TEST

/* ---- text ---- */

START_TEST(an_event_survives_being_written_and_read)
{
    static const struct muster__core_event event = { .kind = MUSTER__CORE_REGISTER,
                                                     .job = UINT64_MAX,
                                                     .version = UINT32_MAX,
                                                     .instance = 3,
                                                     .host = 4,
                                                     .status = MUSTER_WEDGED,
                                                     .ok = true,
                                                     .lazy = true,
                                                     .changed = true,
                                                     .force = true,
                                                     .via = MUSTER__VIA_NONE,
                                                     .checked_us = 8,
                                                     .alive_until_us = 5,
                                                     .holds = 6,
                                                     .scope = "/a b\"c=%\n\xc3\xa9",
                                                     .script = "" };
    char line[512];
    struct muster__core_event read;
    uint64_t time_us = 0;
    int length = muster__core_event_format(&event, 77, line, sizeof(line));
    ck_assert_int_eq(length, (int)strlen(line));
    ck_assert_int_eq(muster__core_event_format(&event, 77, NULL, 0), length);
    ck_assert_int_eq(muster__core_event_parse(line, &read, &time_us), MUSTER_OK);
    ck_assert_uint_eq(time_us, 77);
    ck_assert_int_eq(read.kind, event.kind);
    ck_assert_uint_eq(read.job, event.job);
    ck_assert_uint_eq(read.version, event.version);
    ck_assert_uint_eq(read.instance, event.instance);
    ck_assert_uint_eq(read.host, event.host);
    ck_assert_int_eq(read.status, event.status);
    ck_assert(read.ok && read.lazy && read.changed && read.force);
    ck_assert(!read.load && !read.early && !read.plain && !read.restored);
    ck_assert_int_eq(read.via, event.via);
    ck_assert_uint_eq(read.checked_us, event.checked_us);
    ck_assert_uint_eq(read.alive_until_us, event.alive_until_us);
    ck_assert_uint_eq(read.holds, event.holds);
    ck_assert_str_eq(read.scope, event.scope);
    ck_assert_str_eq(read.script, event.script);
}
END_TEST

START_TEST(a_line_that_is_no_event_is_refused)
{
    static const char *const bad[] = {
        "", "12", "x TICK", "1 NOTHING", "1 TICK job", "1 TICK job=x", "1 TICK version=4294967296",
        "1 TICK ok=2", "1 TICK scope=a", "1 TICK scope=\"a", "1 TICK scope=\"%0\"", "1 TICK scope=\"%00\"",
        "1 TICK status=NOPE", "1 TICK colour=1", "1 TICK via=some", "1 TICK load=2", "1 TICK  job=1", "18446744073709551616 TICK", "-1 TICK",
    };
    struct muster__core_event event;
    uint64_t time_us;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "%s", bad[i]);
        ck_assert_msg(muster__core_event_parse(line, &event, &time_us) == MUSTER_INVALID_ARGUMENT, "%s",
                      bad[i]);
    }
}
END_TEST

/* ---- memory, scale, views ---- */

/* A life with an update, an unregister and a close in it. */
static const char *const life[] = {
    "REGISTER job=1 version=1 scope=\"/\" script=\"a\"",
    "REGISTER job=9 version=9 scope=\"/\" script=\"a\"",
    "PLACED instance=1 host=7",
    "STARTED instance=1",
    "INSTALL_ENDED instance=1",
    "ACTIVATE_ENDED instance=1",
    "REGISTER job=2 version=2 scope=\"/\" script=\"b\"",
    "PLACED instance=2 host=7",
    "SKIP_WAITING instance=2",
    "STARTED instance=2",
    "INSTALL_ENDED instance=2",
    "SAMPLED instance=1 holds=0",
    "RETIRED instance=1 ok=1",
    "WANT version=1",
    "ACTIVATE_ENDED instance=2",
    "GONE instance=1",
    "REGISTER job=3 version=3 scope=\"/three\" script=\"c\" lazy=1",
    "WANT version=3",
    "REGISTER job=5 scope=\"/five\" script=\"e\" load=1 early=1 via=all",
    "REGISTER job=6 scope=\"/five\" script=\"e\" load=1 early=1 via=all",
    "UPDATE job=7 scope=\"/five\" script=\"e\" early=1",
    "LOADED job=5 version=5 changed=1 checked=1",
    "PLACED instance=5",
    "STARTED instance=5",
    "INSTALL_ENDED instance=5",
    "LOADED job=7 version=6",
    "USE version=5",
    "REGISTER job=8 version=8 scope=\"key\" script=\"k\" plain=1",
    "RELEASE version=8",
    "UNREGISTER job=10 scope=\"/five\"",
    "UNUSE version=5",
    "UPDATE job=11 scope=\"/three\"",
    "UNREGISTER job=4 scope=\"/\"",
    "CLOSE",
    "LOADED job=11 version=11 changed=1",
    "GONE instance=2",
};
#define LIFE (sizeof(life) / sizeof(life[0]))

static long grants;

static void *granted(size_t size, void *allocate_data)
{
    (void)allocate_data;
    return grants-- > 0 ? malloc(size) : NULL;
}

static enum muster_status step_line(const char *line, char *text, size_t size)
{
    char copy[512];
    struct muster__core_event event;
    struct muster__core_actions actions = { NULL, 0 };
    uint64_t ignored;
    snprintf(copy, sizeof(copy), "0 %s", line);
    ck_assert_int_eq(muster__core_event_parse(copy, &event, &ignored), MUSTER_OK);
    enum muster_status status = muster__core_step(core, &event, now_us, &actions);
    append_actions(&actions, text, size);
    return status;
}

START_TEST(a_step_without_memory_changes_nothing_and_may_be_repeated)
{
    static char expected[LIFE][4096];
    for (size_t i = 0; i < LIFE; i++) {
        ck_assert_int_eq(step_line(life[i], expected[i], sizeof(expected[i])), MUSTER_OK);
    }
    /* In every step, let the first, the second, ... allocation fail. */
    struct muster__core_options options = short_times;
    options.allocate = granted;
    muster__core_destroy(core);
    for (grants = 0, core = NULL; core == NULL;) {
        grants = 1;
        core = muster__core_new(&options);
    }
    size_t failures = 0;
    for (size_t i = 0; i < LIFE; i++) {
        char text[4096];
        enum muster_status status = MUSTER_NO_MEMORY;
        for (long granting = 0; status == MUSTER_NO_MEMORY; granting++) {
            grants = granting;
            uint64_t deadline_us = muster__core_deadline(core);
            status = step_line(life[i], text, sizeof(text));
            failures += status == MUSTER_NO_MEMORY;
            if (status == MUSTER_NO_MEMORY) {
                ck_assert_str_eq(text, "");
                ck_assert_uint_eq(muster__core_deadline(core), deadline_us);
            }
        }
        ck_assert_str_eq(text, expected[i]);
    }
    ck_assert_uint_gt(failures, 20);
}
END_TEST

START_TEST(a_core_that_does_not_fit_is_null)
{
    struct muster__core_options options = short_times;
    options.allocate = granted;
    grants = 0;
    ck_assert_ptr_null(muster__core_new(&options));
}
END_TEST

struct seen {
    size_t count;
    uint32_t last_version;
    char text[256];
};

static void see(const struct muster__core_view *view, void *user_data)
{
    struct seen *seen = user_data;
    ck_assert_uint_gt(view->version, seen->last_version); /* in order of registration */
    seen->last_version = view->version;
    seen->count++;
    snprintf(seen->text, sizeof(seen->text), "%s %u %s %s %llu %s %zu", view->scope, view->version,
             view->slot, view->state, (unsigned long long)view->instance,
             view->phase != NULL ? view->phase : "-", view->dying);
}

static void see_last(const struct muster__core_view *view, void *user_data)
{
    struct seen *seen = user_data;
    seen->last_version = 0;
    see(view, seen);
}

START_TEST(ten_thousand_registrations_come_and_go)
{
    enum { MANY = 10000 };
    char line[128], expected[256];
    for (int i = 1; i <= MANY; i++) {
        snprintf(line, sizeof(line), "REGISTER job=%d version=%d scope=\"/%d\" script=\"a\" lazy=1", i, i, i);
        say(line);
    }
    struct seen seen = { 0, 0, "" };
    muster__core_each(core, see, &seen);
    ck_assert_uint_eq(seen.count, MANY);
    ck_assert_str_eq(seen.text, "/10000 10000 installing parsed 0 - 0");
    for (int i = MANY; i > 0; i--) {
        snprintf(line, sizeof(line), "UNREGISTER job=%d scope=\"/%d\"", MANY + i, i);
        snprintf(expected, sizeof(expected), "WITHDRAW scope=\"/%d\"; SETTLE_JOB job=%d scope=\"/%d\"", i,
                 MANY + i, i);
        SAY(line, expected);
    }
    size_t disposed = 0;
    at(20);
    while (muster__core_deadline(core) <= now_us) { /* a bounded number a step */
        const char *text = say("TICK");
        for (const char *it = strstr(text, "DISPOSE"); it != NULL; it = strstr(it + 1, "DISPOSE")) {
            disposed++;
        }
    }
    ck_assert_uint_eq(disposed, MANY);
    muster__core_each(core, see, &seen);
    ck_assert_uint_eq(seen.count, MANY);
}
END_TEST

START_TEST(a_view_tells_where_a_version_is)
{
    struct seen seen = { 0, 0, "" };
    bring_up();
    muster__core_each(core, see_last, &seen);
    ck_assert_str_eq(seen.text, "/ 1 active activated 1 running 0");
    say("STOP job=2 scope=\"/\"");
    muster__core_each(core, see_last, &seen);
    ck_assert_str_eq(seen.text, "/ 1 active activated 0 - 1");
}
END_TEST

START_TEST(names_are_known_and_others_are_not)
{
    ck_assert_str_eq(muster__core_event_name(MUSTER__CORE_WANT), "WANT");
    ck_assert_str_eq(muster__core_action_name(MUSTER__DO_CLOSED), "CLOSED");
    ck_assert_str_eq(muster__stop_reason_sentence(MUSTER__STOP_IDLE), "idle");
    ck_assert_str_eq(muster__core_event_name(MUSTER__CORE_EVENT_COUNT), "?");
    ck_assert_str_eq(muster__core_action_name(MUSTER__DO_COUNT), "?");
    ck_assert_str_eq(muster__stop_reason_sentence(MUSTER__STOP_REASON_COUNT), "?");
}
END_TEST

START_TEST(time_that_goes_back_is_a_bug)
{
    at(10);
    say("TICK");
    now_us = 0;
    say("TICK");
}
END_TEST

static void add_lives(Suite *suite)
{
    TCase *tc = tcase_create("registration");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_first_version_is_published_and_runs_when_it_is_activated);
    tcase_add_test(tc, a_failed_install_withdraws_the_registration_and_disposes_when_gone);
    tcase_add_test(tc, a_failed_update_leaves_the_active_version_alone);
    tcase_add_test(tc, a_lazy_version_starts_when_it_is_wanted);
    tcase_add_test(tc, a_lazy_version_that_failed_is_tried_again_for_the_next_request);
    tcase_add_test(tc, an_equal_script_settles_at_once_with_the_version_that_is_there);
    tcase_add_test(tc, an_equal_register_joins_the_last_job);
    tcase_add_test(tc, jobs_of_a_scope_run_one_at_a_time_and_in_order);
    tcase_add_test(tc, a_new_version_waits_until_the_active_one_is_idle);
    tcase_add_test(tc, a_request_that_came_to_the_old_slot_is_served_before_it_is_disposed_of);
    tcase_add_test(tc, an_activated_version_may_open_its_slot_itself_and_is_not_told_to);
    tcase_add_test(tc, one_that_did_not_open_its_slot_though_it_might_is_told_to);
    tcase_add_test(tc, one_that_opened_its_slot_when_its_time_was_over_is_taken_off_it);
    tcase_add_test(tc, a_version_that_drains_opens_its_slot_itself_and_is_looked_at);
    tcase_add_test(tc, a_version_has_an_idle_time_of_its_own);
    tcase_add_test(tc, skip_waiting_publishes_at_once_and_activates_when_the_old_one_has_drained);
    tcase_add_test(tc, skip_waiting_may_be_said_while_it_waits);
    tcase_add_test(tc, a_drain_ends_with_the_grace_time);
    tcase_add_test(tc, a_waiting_version_without_an_instance_is_started_for_its_activation);
    tcase_add_test(tc, a_third_version_replaces_the_one_that_waits);
    tcase_add_test(tc, a_waiting_instance_ends_when_idle_and_its_version_goes_on_waiting);
    tcase_add_test(tc, unregister_withdraws_at_once_and_lets_what_runs_finish);
    tcase_add_test(tc, a_scope_can_be_registered_again_while_the_old_one_drains);
    tcase_add_test(tc, a_wedged_instance_does_not_hold_up_the_disposal_of_its_version);
    suite_add_tcase(suite, tc);
}

static void add_instances(Suite *suite)
{
    TCase *tc = tcase_create("instance");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_idle_worker_is_retired_and_comes_back_when_wanted);
    tcase_add_test(tc, a_retirement_that_lost_the_race_is_tried_again);
    tcase_add_test(tc, a_want_that_crosses_the_answer_of_the_retirement_is_not_lost);
    tcase_add_test(tc, a_drain_that_begins_in_the_grace_time_does_not_make_it_longer);
    tcase_add_test(tc, held_work_gets_the_grace_time_and_no_more);
    tcase_add_test(tc, activity_in_the_grace_time_returns_to_the_first_stage);
    tcase_add_test(tc, a_token_dropped_in_the_grace_time_ends_it);
    tcase_add_test(tc, a_stop_escalates_to_an_interrupt_and_then_gives_up);
    tcase_add_test(tc, a_stop_job_settles_when_the_instances_are_gone);
    tcase_add_test(tc, a_death_leaves_the_version_where_it_was);
    tcase_add_test(tc, a_death_while_installing_is_a_failed_install);
    tcase_add_test(tc, a_start_that_was_lost_with_its_host_fails_nobody);
    tcase_add_test(tc, an_install_that_was_lost_with_its_host_is_made_again_a_few_times);
    tcase_add_test(tc, a_wedged_worker_is_given_up_and_refused_until_it_is_gone);
    tcase_add_test(tc, close_by_the_script_ends_it_and_the_next_request_revives_it);
    tcase_add_test(tc, a_worker_whose_host_is_emptied_ends_and_what_waits_starts_it_elsewhere);
    tcase_add_test(tc, a_host_that_refuses_is_asked_for_again_within_a_bound);
    tcase_add_test(tc, a_placement_that_never_answers_fails_what_waits);
    tcase_add_test(tc, a_start_that_never_ends_is_interrupted);
    tcase_add_test(tc, an_install_that_never_ends_fails);
    tcase_add_test(tc, an_activate_that_never_ends_counts_as_ended_and_the_next_instance_serves);
    tcase_add_test(tc, close_settles_the_jobs_ends_the_instances_and_comes_to_an_end);
    tcase_add_test(tc, close_gives_up_on_what_does_not_end);
    tcase_add_test(tc, an_empty_core_closes_at_once);
    tcase_add_loop_test(tc, an_event_about_what_nobody_knows_does_nothing, 0, MUSTER__CORE_EVENT_COUNT);
    tcase_add_test(tc, a_dying_instance_is_not_revived_by_anything_it_says);
    suite_add_tcase(suite, tc);
}

static void add_rest(Suite *suite)
{
    TCase *table = tcase_create("table");
    tcase_add_loop_test(table, whatever_the_driver_says_has_an_answer_in_every_phase, 0,
                        MUSTER__PHASE_COUNT);
    tcase_add_test(table, every_phase_can_be_reached_and_only_gone_is_final);
    tcase_add_loop_test(table, phases_go_forward_only_but_for_a_second_placement, 0, MUSTER__PHASE_COUNT);
    tcase_add_loop_test(table, every_phase_that_can_wait_has_a_bound, 0, MUSTER__PHASE_COUNT);
    suite_add_tcase(suite, table);

    TCase *tc = tcase_create("text, memory, scale");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, an_event_survives_being_written_and_read);
    tcase_add_test(tc, a_line_that_is_no_event_is_refused);
    tcase_add_test(tc, a_step_without_memory_changes_nothing_and_may_be_repeated);
    tcase_add_test(tc, a_core_that_does_not_fit_is_null);
    tcase_add_test(tc, ten_thousand_registrations_come_and_go);
    tcase_add_test(tc, a_view_tells_where_a_version_is);
    tcase_add_test(tc, names_are_known_and_others_are_not);
    tcase_add_test_raise_signal(tc, time_that_goes_back_is_a_bug, SIGABRT);
    suite_add_tcase(suite, tc);
}

int main(void)
{
    Suite *suite = suite_create("core");
    add_lives(suite);
    add_instances(suite);
    add_rest(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
