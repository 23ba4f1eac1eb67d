/*
 * The plugin interface of Fleetstorm, version 1.1.
 *
 * A plugin is a shared library that exports one constant, an fs_entry, which names the parts the library offers: retry
 * strategies and attestations. A library file `libNAME.so` or `NAME.so` exports the symbol `NAME` if NAME begins with
 * `fleetstorm_plugin_`, and `fleetstorm_plugin_NAME` otherwise; every `-` of the file's name is a `_` in the symbol.
 *
 * A native plugin has all rights of the process that loads it. Fleetstorm opens only what its operator has allowed.
 *
 * Rules that hold throughout
 *
 * Purity    Time and chance are arguments. A plugin reads no clock, draws no random numbers, does no input or output
 *           (an attestation may speak to its hardware), starts no threads and keeps no mutable statics. The same
 *           arguments give the same result, so a run can be replayed.
 * Memory    Nothing allocated on one side is freed on the other. Slices are borrowed for the duration of the call that
 *           received them. Results of unknown length are written to a sink of the host's. What a plugin created
 *           (`create`, `device`) goes back to its own `destroy` or `device_drop`.
 * Threads   [any] may be called from any thread, several at once; [one] from any thread, but never twice at once for
 *           the same session, shared memory or device; [once] once, before everything else.
 * Failure   A function that returns fs_status has written all its results if it returns FS_OK, and none that the host
 *           will use if it returns anything else. Exceptions, panics and longjmp must not leave a plugin.
 * Absence   A pointer may be NULL only where this page says so. A slice of length 0 may have a NULL pointer.
 * Units     Durations are nanoseconds unless the name says otherwise; `now_ns` counts from the start of the run.
 * Text      UTF-8, not terminated.
 * Growth    Structures grow at their end only. Each begins with its size in bytes as the side that filled it in knows
 *           it; the other side reads no field beyond that size and takes a field that is missing for zero or NULL.
 *           Constants are only ever added: treat an unknown one as the least specific case.
 * Lifetime  A library is never unloaded. Everything that fs_entry points to is constant for the life of the process.
 */
#ifndef FLEETSTORM_PLUGIN_H
#define FLEETSTORM_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FS_MAGIC 0x46535047u /* "FSPG" */
#define FS_MAJOR 1u          /* Differs: the library is refused. */
#define FS_MINOR 1u          /* Grows when fields or constants are added. */

/* Marks the exported entry. */
#if defined(__GNUC__)
#define FS_EXPORT __attribute__((visibility("default")))
#else
#define FS_EXPORT
#endif

/* ---- Basics --------------------------------------------------------------------------------------------------- */

typedef int32_t fs_status;
#define FS_OK 0
#define FS_REFUSED 1     /* The reason is in the error sink, where there is one. It must not hold a secret. */
#define FS_PANICKED 2    /* The plugin caught a defect of its own; the host stops using the part. */
#define FS_UNSUPPORTED 3 /* This part does not do that. */

/* Bytes that someone else owns, borrowed for the duration of a call. */
typedef struct fs_slice {
  const uint8_t *ptr;
  size_t len;
} fs_slice;

/* A slice of a string literal, usable in constant initialisers. */
#define FS_TEXT(literal) { (const uint8_t *)("" literal), sizeof(literal) - 1 }

/* Where a plugin puts a result. Owned by the host; valid until the call that received it returns; used only on the
 * thread of that call. `write` may be called any number of times; the host says with each function what the pieces
 * mean. The host copies at once and never fails. */
typedef struct fs_sink {
  void *ctx;
  void (*write)(void *ctx, fs_slice bytes);
} fs_sink;

/* ---- The host ------------------------------------------------------------------------------------------------- */

#define FS_HOST_LINKED 1u /* The plugin is linked into the host and shares its runtime. */

#define FS_LOG_ERROR 1u
#define FS_LOG_WARN 2u
#define FS_LOG_INFO 3u

/* What the host offers. Lives as long as the process. */
typedef struct fs_host {
  uint32_t size;
  uint32_t major;
  uint32_t minor;
  uint32_t flags; /* FS_HOST_* */
  void *ctx;      /* Handed back to `log`. May be NULL. */
  /* [any] Tells the operator something. For defects and set-up, not for every device. */
  void (*log)(void *ctx, uint32_t level, fs_slice message);
} fs_host;

/* ---- The library ---------------------------------------------------------------------------------------------- */

#define FS_KIND_ATTESTATION 1u
#define FS_KIND_RETRY 2u

/* One strategy or attestation. */
typedef struct fs_part {
  uint32_t kind;  /* FS_KIND_*. A part of an unknown kind is passed over. */
  uint32_t flags; /* 0 */
  fs_slice id;    /* Its name in scenarios: a-z, 0-9, '-' and '.', at most 64 bytes. Unique among its kind. */
  fs_slice summary; /* What it does, in one line. */
  /* [any] Writes the JSON Schema of its configuration, an object. */
  fs_status (*schema)(fs_sink out);
  const void *table; /* fs_attestation or fs_retry, as `kind` says. */
} fs_part;

#define FS_ENTRY_UNWINDS 1u /* Built so that panics are caught. Without it a panic ends the host. */

/* The exported constant. */
typedef struct fs_entry {
  uint32_t magic; /* FS_MAGIC */
  uint32_t size;
  uint32_t major; /* FS_MAJOR */
  uint32_t minor; /* FS_MINOR */
  uint32_t flags; /* FS_ENTRY_* */
  uint32_t part_size; /* sizeof(fs_part): the distance from one part to the next. */
  fs_slice name;      /* The library's name: a-z, 0-9 and '-', at most 64 bytes. */
  fs_slice version;   /* Its version, at most 64 bytes. */
  /* [once] May be NULL. May refuse a host that is too old. */
  fs_status (*init)(const fs_host *host, fs_sink error);
  const fs_part *parts;
  size_t part_count;
} fs_entry;

/* ---- Retry strategies ----------------------------------------------------------------------------------------- */

/* fs_attempt.operation */
#define FS_OPERATION_REGISTER 1u /* Registering, connecting for it included. */
#define FS_OPERATION_POLL 2u     /* Asking how the assignment goes. */
#define FS_OPERATION_LOOKUP 3u   /* Asking for the last known assignment. */
#define FS_OPERATION_HUB 4u      /* Being connected to its hub; `on_hub_failure` and `on_success` only. (1.1) */

/* fs_attempt.failure: what the failure means. */
#define FS_CLASS_NONE 0u              /* No failure: before the first attempt, or success. */
#define FS_CLASS_THROTTLED 1u         /* 429 */
#define FS_CLASS_SERVER_ERROR 2u      /* 5xx */
#define FS_CLASS_UNREACHABLE 3u       /* The request was not sent. */
#define FS_CLASS_TLS 4u               /* TLS failed. */
#define FS_CLASS_OUTCOME_UNKNOWN 5u   /* The request was sent and no answer came. */
#define FS_CLASS_PROTOCOL 6u          /* An answer came that is not DPS. */
#define FS_CLASS_UNAUTHORIZED 7u      /* 401, or no credential could be made. */
#define FS_CLASS_FORBIDDEN 8u         /* 403 */
#define FS_CLASS_NOT_FOUND 9u         /* 404 */
#define FS_CLASS_CONFLICT 10u         /* 409, 412 */
#define FS_CLASS_CLIENT_BUG 11u       /* Any other 4xx. */
#define FS_CLASS_ASSIGNMENT_FAILED 12u  /* 200 with status `failed`. */
#define FS_CLASS_DISABLED 13u           /* 200 with status `disabled`. */
#define FS_CLASS_ASSIGNMENT_TIMEOUT 14u /* Assigning beyond the device's patience. */

/* fs_attempt.advice: what the reference client would do. */
#define FS_ADVICE_RETRY 1u   /* Back off, then the same step again. */
#define FS_ADVICE_RESTART 2u /* Back off, then register from the start. */
#define FS_ADVICE_RENEW 3u   /* Renew the token and register once more. */
#define FS_ADVICE_PARK 4u    /* Stop for `park_ns` and report. */

/* fs_attempt.given: Retry-After as the service gave it. */
#define FS_GIVEN_ABSENT 0u
#define FS_GIVEN_SECONDS 1u   /* `given_value` in seconds. */
#define FS_GIVEN_DATE 2u      /* An HTTP date: `given_value` in seconds since the Unix epoch. */
#define FS_GIVEN_MALFORMED 3u /* Neither. */

/* fs_attempt.flags */
#define FS_ATTEMPT_RETRY_AFTER 1u     /* `retry_after_ns` holds a valid Retry-After. */
#define FS_ATTEMPT_OPERATION_KNOWN 2u /* An operation is under way that can be polled. */
#define FS_ATTEMPT_UNRESOLVED 4u      /* The name did not resolve; `failure` is FS_CLASS_UNREACHABLE. (1.1) */
#define FS_ATTEMPT_ASSIGNED 8u        /* `on_answer` only: the answer names a hub. (1.1) */

/* One attempt that ended, by value. Everything that a decision may depend on is here.
 *
 * At a hub, `failures`, `attempts` and `operation_failures` are the failures in a row since the device was last let in or
 * assigned, `status`, `code` and Retry-After are absent, and `failure` is FS_CLASS_UNAUTHORIZED where the hub refused who
 * the device claims to be. */
typedef struct fs_attempt {
  uint32_t size;
  uint32_t flags;     /* FS_ATTEMPT_* */
  uint32_t operation; /* FS_OPERATION_* */
  uint32_t failure;   /* FS_CLASS_* */
  uint32_t advice;    /* FS_ADVICE_*; 0 where nothing failed. */
  uint32_t status;    /* HTTP status; 0 where no answer came. */
  uint32_t code;      /* Six-digit service code; 0 where there was none. */
  uint32_t failures;  /* Failures in a row, this one included: 1 for the first; 0 before the first attempt. */
  uint32_t attempts;  /* Attempts since boot. */
  uint32_t operation_failures; /* Failures of this operation in a row. */
  uint32_t given;              /* FS_GIVEN_* */
  uint32_t credential;         /* The credential in use, from 0. */
  uint32_t credentials;        /* How many there are. */
  uint32_t reserved;           /* 0 */
  int64_t given_value;
  uint64_t retry_after_ns;   /* Retry-After as a wait from now on. */
  uint64_t floor_ns;         /* The least that the reference client would wait. */
  uint64_t park_ns;          /* How long the reference client parks. */
  uint64_t previous_wait_ns; /* The wait chosen last. */
  uint64_t now_ns;           /* Since the start of the run. */
  uint64_t since_boot_ns;
  uint64_t elapsed_ns;  /* How long the attempt took. */
  uint64_t device_hash; /* Stays with the device from boot to boot and run to run. */
  uint64_t fleet_size;  /* 0 unless the strategy declares FS_RETRY_NEEDS_FLEET_SIZE and the scenario tells it. */
  double quota_per_minute; /* Registrations; 0 unless FS_RETRY_NEEDS_QUOTA and the scenario tells it. */
  uint64_t random[2];      /* 128 bits of chance for this call. Expand them where more are needed. */
} fs_attempt;

/* fs_decision.action */
#define FS_ACTION_WAIT 1u              /* Wait, then the same step again. */
#define FS_ACTION_RESTART 2u           /* Wait, then register from the start. */
#define FS_ACTION_SWITCH_CREDENTIAL 3u /* Wait, then register with the next credential. */
#define FS_ACTION_USE_CACHED_HUB 4u    /* Wait, then go to the cached hub. */
#define FS_ACTION_LOOKUP_STATUS 5u     /* Wait, then ask for the registration's status. */
#define FS_ACTION_GIVE_UP 6u           /* Stop; try again after `wait_ns`, or never if it is 0. */

/* What a strategy wants. A negative wait or an unknown action is a fault of the strategy's and ends the device. */
typedef struct fs_decision {
  uint32_t action; /* FS_ACTION_* */
  uint32_t reserved; /* 0 */
  int64_t wait_ns;
} fs_decision;

/* fs_retry.flags */
#define FS_RETRY_GUARDED 1u /* The host keeps its waits above Retry-After and the reference client's floor, unless the
                             * scenario says otherwise. Leave it out where the strategy is to be studied as it is. */
#define FS_RETRY_NEEDS_FLEET_SIZE 2u
#define FS_RETRY_NEEDS_QUOTA 4u
#define FS_RETRY_MODEL 8u /* A model of other software; reports say so. */

/* fs_retry.scope: who shares `shared`. */
#define FS_SCOPE_DEVICE 0u /* Nobody: there is none. */
#define FS_SCOPE_COHORT 1u /* The devices of a cohort. */
#define FS_SCOPE_FLEET 2u  /* All devices that use this strategy with the same configuration. */

#define FS_SESSION_MAX 256u   /* Most bytes of a session. */
#define FS_SHARED_MAX 65536u  /* Most bytes of shared memory. */
#define FS_ALIGN_MAX 16u      /* Largest alignment of either; a power of two. */

/* A retry strategy. `self` is what `create` made: it is shared by all devices and must not change.
 *
 * `session` is what the strategy remembers of one device: `session_size` bytes aligned to `session_align`, owned by the
 * host, zero when a device boots without its memory. Plain data: the host copies, drops and forgets it without asking.
 * NULL if `session_size` is 0. `shared` is the same for the devices of a scope, zero when the run starts, and the
 * caller's alone during the call. NULL if `scope` is FS_SCOPE_DEVICE. */
typedef struct fs_retry {
  uint32_t size;
  uint32_t flags; /* FS_RETRY_* */
  uint32_t session_size;
  uint32_t session_align; /* At least 1. */
  uint32_t shared_size;
  uint32_t shared_align; /* At least 1. */
  uint32_t scope;        /* FS_SCOPE_* */
  uint32_t reserved;     /* 0 */
  /* [any] Makes a strategy from a JSON object and stores it in `*self`, which may be NULL if it needs no memory. */
  fs_status (*create)(fs_slice config_json, void **self, fs_sink error);
  /* [once] Frees what `create` made. May be NULL. */
  void (*destroy)(void *self);
  /* [one] What to do after a failure. The host has set `*decision` to an invalid action. */
  fs_status (*on_failure)(const void *self, void *session, void *shared, const fs_attempt *attempt,
                          fs_decision *decision);
  /* [one] How long after its boot the device makes its first attempt, in nanoseconds. May be NULL: at once. */
  fs_status (*before_first_attempt)(const void *self, void *session, void *shared, const fs_attempt *attempt,
                                    int64_t *wait_ns);
  /* [one] The device has its hub. May be NULL. With FS_OPERATION_HUB: its hub has let it in, which only a strategy with
   * `on_hub_failure` is told. */
  fs_status (*on_success)(const void *self, void *session, void *shared, const fs_attempt *attempt);
  /* [one] The service has answered a request, and nothing failed: it is still assigning, or FS_ATTEMPT_ASSIGNED. FS_OK:
   * poll again after `*wait_ns`, whatever the cohort says about polls and its patience; an assigned device is done.
   * FS_REFUSED: this client cannot use the answer, and `on_failure` follows with FS_CLASS_PROTOCOL. FS_UNSUPPORTED: as
   * the cohort says. May be NULL: FS_UNSUPPORTED. (1.1) */
  fs_status (*on_answer)(const void *self, void *session, void *shared, const fs_attempt *attempt, int64_t *wait_ns);
  /* [one] What to do after the hub refused the device, or its connection could not be made or ended. FS_ACTION_WAIT and
   * FS_ACTION_USE_CACHED_HUB try the hub again, FS_ACTION_SWITCH_CREDENTIAL with the next credential; FS_ACTION_RESTART
   * registers anew; FS_ACTION_GIVE_UP stops until `wait_ns` are over, or for 0 until the device loses its power. The host's
   * guard has no say. May be NULL: the policy profile decides. (1.1) */
  fs_status (*on_hub_failure)(const void *self, void *session, void *shared, const fs_attempt *attempt,
                              fs_decision *decision);
} fs_retry;

/* ---- Attestations --------------------------------------------------------------------------------------------- */

/* fs_attestation.flags */
#define FS_ATTESTATION_MAY_BLOCK 1u  /* `sign`, `authorize` or `answer` may wait for hardware. */
#define FS_ATTESTATION_CHALLENGED 2u /* There is no token until a challenge has been answered (TPM). */
#define FS_ATTESTATION_CERTIFICATES 4u /* Devices present certificates at TLS. */

/* Proves who a device is. `self` is what `create` made, shared by all devices. `device` is what `device` made. Both may
 * be used from any thread, one call per device at a time, and must wipe their secrets when freed. */
typedef struct fs_attestation {
  uint32_t size;
  uint32_t flags; /* FS_ATTESTATION_* */
  /* [any] Makes an attestation from a JSON object, which may hold secrets, and stores it in `*self`. */
  fs_status (*create)(fs_slice config_json, void **self, fs_sink error);
  /* [once] Frees what `create` made, after its last device. May be NULL. */
  void (*destroy)(void *self);
  /* [any] Makes the identity of a device. `random` is the device's own, 4 numbers, the same in every run of a seed. A
   * challenged device that goes on to its hub is made twice: one for the service, one that answers with the key for the
   * hub, and each keeps its own. */
  fs_status (*device)(const void *self, fs_slice registration_id, const uint64_t *random, void **device,
                      fs_sink error);
  /* [once] Frees what `device` made. May be NULL. */
  void (*device_drop)(void *device);
  /* [any] Writes the IANA TLS signature schemes that `sign` offers, best first, each as two bytes, high byte first and
   * each in a write of its own. May be NULL: none. */
  fs_status (*schemes)(const void *self, fs_sink out);
  /* [one] Writes the chain presented at TLS, one write per DER certificate, leaf first. May be NULL: none. */
  fs_status (*certificates)(const void *self, const void *device, fs_sink out);
  /* [one] Signs a TLS handshake message with the leaf's key and writes the signature. May be NULL: it cannot. */
  fs_status (*sign)(const void *self, const void *device, uint16_t scheme, fs_slice message, fs_sink out,
                    fs_sink error);
  /* [one] Writes members to add to the body of a registration, as JSON text without braces. May be NULL: none. */
  fs_status (*enrol)(const void *self, const void *device, fs_sink out);
  /* [one] Writes a SAS token for `audience`, signed with credential `slot`, valid until `expires_unix_secs`; writes
   * nothing if it uses no tokens. May be NULL: it uses none. */
  fs_status (*authorize)(const void *self, const void *device, uint32_t slot, fs_slice audience,
                         uint64_t expires_unix_secs, fs_sink out, fs_sink error);
  /* [one] Takes up a challenge: tokens are signed with what it carried from then on. May be NULL: it expects none. */
  fs_status (*answer)(const void *self, const void *device, fs_slice challenge, fs_sink error);
} fs_attestation;

#ifdef __cplusplus
}
#endif

#endif /* FLEETSTORM_PLUGIN_H */
