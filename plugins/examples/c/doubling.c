/*
 * A retry strategy in C: doubling with equal jitter, the kind that firmware has.
 *
 *   cc -std=c11 -O2 -shared -fPIC -fvisibility=hidden -I ../../sdk/include -o libdoubling.so doubling.c
 *   fleetstorm plugin check ./libdoubling.so
 *
 * It remembers one number of every device: the bound it has reached. A real firmware would take these few lines from its
 * own source instead of writing them again.
 */
#include <stdlib.h>
#include <string.h>

#include "fleetstorm_plugin.h"

#define NS_PER_MS UINT64_C(1000000)

typedef struct config {
  uint64_t base_ms;
  uint64_t cap_ms;
} config;

/* What the host keeps of a device; zero at boot. */
typedef struct session {
  uint64_t bound_ms;
} session;

static void say(fs_sink sink, const char *text) {
  fs_slice slice = {(const uint8_t *)text, strlen(text)};
  sink.write(sink.ctx, slice);
}

static fs_status schema(fs_sink out) {
  say(out, "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
           "\"base_ms\":{\"type\":\"integer\",\"minimum\":1,\"default\":1000,"
           "\"description\":\"The bound after the first failure, in milliseconds.\"},"
           "\"cap_ms\":{\"type\":\"integer\",\"minimum\":1,\"default\":60000,"
           "\"description\":\"The bound never exceeds this many milliseconds.\"}}}");
  return FS_OK;
}

/* The host passes an object of a few members; a firmware would use the JSON reader it has. */
static const char *skip(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
    at++;
  return at;
}

static fs_status read_config(fs_slice json, config *out, fs_sink error) {
  const char *at = (const char *)json.ptr, *end = at + json.len;
  at = skip(at, end);
  if (at == end || *at++ != '{')
    goto malformed;
  at = skip(at, end);
  while (at < end && *at != '}') {
    uint64_t *target, value = 0;
    if (end - at > 9 && memcmp(at, "\"base_ms\"", 9) == 0) {
      target = &out->base_ms;
      at += 9;
    } else if (end - at > 8 && memcmp(at, "\"cap_ms\"", 8) == 0) {
      target = &out->cap_ms;
      at += 8;
    } else {
      say(error, "there are only the parameters base_ms and cap_ms");
      return FS_REFUSED;
    }
    at = skip(at, end);
    if (at == end || *at++ != ':')
      goto malformed;
    at = skip(at, end);
    if (at == end || *at < '0' || *at > '9')
      goto malformed;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
      value = value * 10 + (uint64_t)(*at - '0');
      if (value > UINT64_C(1000000000000)) {
        say(error, "a wait of more than 30 years is no wait");
        return FS_REFUSED;
      }
    }
    *target = value;
    at = skip(at, end);
    if (at < end && *at == ',')
      at = skip(at + 1, end);
    else if (at < end && *at != '}')
      goto malformed;
  }
  if (at == end)
    goto malformed;
  if (out->base_ms == 0 || out->cap_ms < out->base_ms) {
    say(error, "base_ms must be above 0, and cap_ms not below it");
    return FS_REFUSED;
  }
  return FS_OK;
malformed:
  say(error, "base_ms and cap_ms are whole numbers of milliseconds");
  return FS_REFUSED;
}

static fs_status create(fs_slice json, void **self, fs_sink error) {
  config *made = malloc(sizeof *made);
  if (!made)
    return FS_REFUSED;
  made->base_ms = 1000;
  made->cap_ms = 60000;
  fs_status status = read_config(json, made, error);
  if (status != FS_OK) {
    free(made);
    return status;
  }
  *self = made;
  return FS_OK;
}

static void destroy(void *self) { free(self); }

static fs_status on_failure(const void *self, void *kept, void *shared, const fs_attempt *attempt,
                            fs_decision *decision) {
  const config *parameters = self;
  session *device = kept;
  (void)shared;
  if (attempt->advice == FS_ADVICE_PARK) {
    decision->action = FS_ACTION_GIVE_UP;
    decision->wait_ns = (int64_t)attempt->park_ns;
    return FS_OK;
  }
  if (attempt->failures <= 1 || device->bound_ms == 0)
    device->bound_ms = parameters->base_ms;
  else if (device->bound_ms > parameters->cap_ms / 2)
    device->bound_ms = parameters->cap_ms;
  else
    device->bound_ms *= 2;
  uint64_t half_ns = device->bound_ms * NS_PER_MS / 2;
  /* The upper half of the random number as a fraction of 2^32. */
  uint64_t jitter_ns = (half_ns >> 32) * (attempt->random[0] >> 32) +
                       (((half_ns & UINT64_C(0xffffffff)) * (attempt->random[0] >> 32)) >> 32);
  uint64_t wait_ns = half_ns + jitter_ns;
  if ((attempt->flags & FS_ATTEMPT_RETRY_AFTER) && attempt->retry_after_ns > wait_ns)
    wait_ns = attempt->retry_after_ns;
  decision->action = attempt->advice == FS_ADVICE_RETRY ? FS_ACTION_WAIT : FS_ACTION_RESTART;
  decision->wait_ns = (int64_t)wait_ns;
  return FS_OK;
}

static const fs_retry doubling = {
    .size = sizeof(fs_retry),
    .session_size = sizeof(session),
    .session_align = _Alignof(session),
    .shared_align = 1,
    .scope = FS_SCOPE_DEVICE,
    .create = create,
    .destroy = destroy,
    .on_failure = on_failure,
};

static const fs_part parts[] = {{
    .kind = FS_KIND_RETRY,
    .id = FS_TEXT("doubling"),
    .summary = FS_TEXT("Doubles its bound and jitters the upper half of it, as firmware does."),
    .schema = schema,
    .table = &doubling,
}};

FS_EXPORT const fs_entry fleetstorm_plugin_doubling = {
    .magic = FS_MAGIC,
    .size = sizeof(fs_entry),
    .major = FS_MAJOR,
    .minor = FS_MINOR,
    .part_size = sizeof(fs_part),
    .name = FS_TEXT("doubling"),
    .version = FS_TEXT("1.0.0"),
    .parts = parts,
    .part_count = sizeof parts / sizeof parts[0],
};
