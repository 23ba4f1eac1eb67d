/* A plugin with one defect, which FAULT chooses. Built by tests/plugins.rs and tests/system, one library for each. */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fleetstorm_plugin.h"

#define NONE 0
#define CRASH_IN_INIT 1
#define HANG_IN_INIT 2
#define REFUSE_IN_INIT 3
#define CRASH_IN_CONSTRUCTOR 4
#define WRONG_MAJOR 5
#define WRONG_MAGIC 6
#define SMALL_ENTRY 7
#define SMALL_PART 8
#define SMALL_TABLE 9
#define SCHEMA_NO_JSON 10
#define SCHEMA_NO_OBJECT 11
#define SCHEMA_MISSING 12
#define SCHEMA_FAILS 13
#define SCHEMA_ENDLESS 14
#define DUPLICATE_IDS 15
#define NULL_PARTS 16
#define LARGE_SESSION 17
#define ODD_ALIGNMENT 18
#define SHARED_WITHOUT_SCOPE 19
#define NULL_FUNCTION 20
#define BAD_ID 21
#define BAD_NAME 22
#define NULL_TABLE 23
#define EXIT_IN_INIT 24
#define NEGATIVE_WAIT 30
#define UNKNOWN_ACTION 31
#define NO_DECISION 32
#define FAILING_STATUS 33
#define ABSURD_WAIT 34
#define WRITES_FROM_NULL 35
#define KEEPS_SINK 36
#define NEGATIVE_FIRST_WAIT 37
#define UNKNOWN_KIND 38
#define EXIT_IN_CALL 39
#define QUICK_EXIT_IN_CALL 40
#define CRASH_IN_CALL 41
#define EXEC_IN_CALL 42
#define HANG_IN_CALL 43
#define SLEEP_IN_CALL 44
#define CHILDREN_IN_INIT 45
#define CHILDREN_IN_CALL 46
#define FORGED_ANSWER 47
#define EXIT_AT_THE_END 48
#define HANG_AT_THE_END 49
#define EXIT_IN_CREATE 50
#define HANG_IN_CREATE 51
#define EXIT_IN_DESTROY 52
#define CLOSES_EVERYTHING 53

#ifndef FAULT
#error "FAULT chooses the defect"
#endif

static void say(fs_sink sink, const char *text) {
  fs_slice slice = {(const uint8_t *)text, strlen(text)};
  sink.write(sink.ctx, slice);
}

/* Children that leave the group of their parent, whose command lines tell them apart. */
#ifdef CHILDREN
static void children(void) {
  for (int daemon = 0; daemon < 2; daemon++) {
    if (fork() == 0) {
      if (daemon && (setsid() < 0 || fork() != 0))
        _exit(0);
      execlp("sleep", "sleep", CHILDREN, (char *)NULL);
      _exit(1);
    }
  }
}
#endif

#if FAULT == EXIT_AT_THE_END
static void at_the_end(void) { _exit(0); }
#elif FAULT == HANG_AT_THE_END
static void at_the_end(void) {
  for (;;)
    pause();
}
#endif

static fs_status init(const fs_host *host, fs_sink error) {
  (void)host;
  (void)error;
#if FAULT == CRASH_IN_INIT
  abort();
#elif FAULT == EXIT_IN_INIT
  exit(0);
#elif FAULT == HANG_IN_INIT
  for (volatile int forever = 1; forever;) {
  }
#elif FAULT == CHILDREN_IN_INIT
  children();
#elif FAULT == EXIT_AT_THE_END || FAULT == HANG_AT_THE_END
  atexit(at_the_end);
#elif FAULT == FORGED_ANSWER
  const char *answers[] = {
      "\nfleetstorm-plugin-probe: {\"found\":{\"name\":\"hostile\",\"version\":\"0.1.0\"}}\n",
      "{\"word\":\"\",\"verdict\":{\"found\":{\"name\":\"hostile\",\"version\":\"0.1.0\"}}}\n",
      "ready\n{\"word\":\"\",\"verdict\":{\"found\":{\"name\":\"hostile\",\"version\":\"0.1.0\"}}}\n",
  };
  for (int at = 0; at < 3; at++)
    for (int fd = 1; fd < 64; fd++)
      if (write(fd, answers[at], strlen(answers[at])) < 0)
        continue;
  _exit(0);
#elif FAULT == REFUSE_IN_INIT
  say(error, "the moon is\nin the wrong phase");
  return FS_REFUSED;
#endif
  return FS_OK;
}

#if FAULT == CRASH_IN_CONSTRUCTOR
__attribute__((constructor)) static void crash(void) { abort(); }
#endif

static fs_status schema(fs_sink out) {
#if FAULT == SCHEMA_NO_JSON
  say(out, "{\"type\": ");
#elif FAULT == SCHEMA_NO_OBJECT
  say(out, "{\"type\": \"string\"}");
#elif FAULT == SCHEMA_FAILS
  (void)out;
  return FS_UNSUPPORTED;
#elif FAULT == SCHEMA_ENDLESS
  for (int i = 0; i < 1000000; i++)
    say(out, "0123456789012345678901234567890123456789012345678901234567890123456789");
#else
  say(out, "{\"type\": \"object\", ");
  say(out, "\"properties\": {\"wait_ms\": {\"type\": \"integer\"}}}");
#endif
  return FS_OK;
}

static fs_sink kept;

static fs_status create(fs_slice config, void **self, fs_sink error) {
  (void)config;
  *self = NULL;
#if FAULT == EXIT_IN_CREATE
  exit(0);
#elif FAULT == HANG_IN_CREATE
  for (;;)
    pause();
#endif
#if FAULT == WRITES_FROM_NULL
  fs_slice nowhere = {NULL, 100};
  error.write(error.ctx, nowhere);
  return FS_REFUSED;
#elif FAULT == KEEPS_SINK
  if (kept.write)
    say(kept, "late");
  kept = error;
#else
  (void)error;
#endif
  return FS_OK;
}

static fs_status on_failure(const void *self, void *session, void *shared, const fs_attempt *attempt,
                            fs_decision *decision) {
  (void)self, (void)session, (void)shared, (void)attempt;
  (void)decision;
#if FAULT == EXIT_IN_CALL
  exit(0);
#elif FAULT == QUICK_EXIT_IN_CALL
  _exit(0);
#elif FAULT == CRASH_IN_CALL
  abort();
#elif FAULT == EXEC_IN_CALL
  execlp("true", "true", (char *)NULL);
#elif FAULT == HANG_IN_CALL
  for (volatile int forever = 1; forever;) {
  }
#elif FAULT == SLEEP_IN_CALL
  for (;;)
    pause();
#elif FAULT == CHILDREN_IN_CALL
  children();
  _exit(0);
#elif FAULT == CLOSES_EVERYTHING
  for (int fd = 3; fd < 1024; fd++)
    close(fd);
  _exit(0);
#endif
#if FAULT == FAILING_STATUS
  return FS_UNSUPPORTED;
#elif FAULT != NO_DECISION
  decision->action = FAULT == UNKNOWN_ACTION ? 77u : FS_ACTION_WAIT;
  decision->wait_ns = FAULT == NEGATIVE_WAIT ? -1 : FAULT == ABSURD_WAIT ? INT64_MAX : 1000000;
#endif
  return FS_OK;
}

static fs_status first(const void *self, void *session, void *shared, const fs_attempt *attempt, int64_t *wait_ns) {
  (void)self, (void)session, (void)shared, (void)attempt;
  *wait_ns = FAULT == NEGATIVE_FIRST_WAIT ? -5 : 0;
  return FS_OK;
}

static void destroy(void *self) {
  (void)self;
#if FAULT == EXIT_IN_DESTROY
  _exit(0);
#endif
}

static const fs_retry table = {
    .size = FAULT == SMALL_TABLE ? 16 : sizeof(fs_retry),
    .session_size = FAULT == LARGE_SESSION ? 257 : 8,
    .session_align = FAULT == ODD_ALIGNMENT ? 3 : 8,
    .shared_size = FAULT == SHARED_WITHOUT_SCOPE ? 8 : 0,
    .shared_align = 1,
    .scope = FS_SCOPE_DEVICE,
    .create = create,
    .destroy = destroy,
    .on_failure = FAULT == NULL_FUNCTION ? NULL : on_failure,
    .before_first_attempt = first,
};

#define PART                                                                                                         \
  {                                                                                                                  \
    .kind = FAULT == UNKNOWN_KIND ? 99 : FS_KIND_RETRY, .id = FS_TEXT(ID), .summary = FS_TEXT("Has a defect."),       \
    .schema = FAULT == SCHEMA_MISSING ? NULL : schema, .table = FAULT == NULL_TABLE ? NULL : &table,                  \
  }

#if FAULT == BAD_ID
#define ID "Not An Id"
#else
#define ID "test.hostile"
#endif

static const fs_part parts[] = {
    PART,
#if FAULT == DUPLICATE_IDS
    PART,
#endif
};

FS_EXPORT const fs_entry fleetstorm_plugin_hostile = {
    .magic = FAULT == WRONG_MAGIC ? 0x12345678u : FS_MAGIC,
    .size = FAULT == SMALL_ENTRY ? 24 : sizeof(fs_entry),
    .major = FAULT == WRONG_MAJOR ? FS_MAJOR + 1 : FS_MAJOR,
    .minor = FS_MINOR,
    .part_size = FAULT == SMALL_PART ? 8 : sizeof(fs_part),
#if FAULT == BAD_NAME
    .name = FS_TEXT("../name"),
#else
    .name = FS_TEXT("hostile"),
#endif
    .version = FS_TEXT("0.1.0"),
    .init = init,
    .parts = FAULT == NULL_PARTS ? NULL : parts,
    .part_count = sizeof(parts) / sizeof(parts[0]),
};
