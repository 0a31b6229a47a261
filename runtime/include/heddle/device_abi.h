/* device_abi.h: the entire contract between Heddle and a device. C11, self-contained.
 *
 * A shared library exports one function, heddle_plugin_v1, and is a Heddle backend. The in-tree backends use
 * the same functions. The runtime owns the graph, autodiff, lowering, placement and fallback; a device owns
 * bytes and programs. Authors in C++ will like backend.h, a header-only kit over this file.
 *
 * Rules
 * - Nothing throws or longjmps across this interface, and no input makes it abort: functions that can fail
 * return HD_OK (0) or an hd_code and fill hd_status.text with one sentence (what, where, what to do).
 * - Memory allocated on one side is freed on that side. Pointers passed in are borrowed for the call unless
 * the function says otherwise. Strings are NUL-terminated UTF-8.
 * - Versions: structs that can grow begin with `size`, set by whoever fills them; bytes past `size` read as
 * zero; fields are only ever appended. They are passed by pointer, and arrays of them are arrays of pointers,
 * so a reader with an older idea of the size steps correctly. Structs marked FROZEN never change. Enumerators
 * are never renumbered; ops, attributes and extensions are named by string. A different HD_ABI_MAJOR is
 * refused.
 * - Values are dense and row-major. Strided views never cross.
 * - Threads: `offer`, `compile`, `describe`, `bind` may be called from any thread, several at once. Calls on
 * one stream, and launches of one binding, are made one at a time. Everything else is stated at its function.
 * - A library is never unloaded; `close` ends a device. */
#ifndef HEDDLE_DEVICE_ABI_H
#define HEDDLE_DEVICE_ABI_H

#include <stddef.h>
#include <stdint.h>

#define HD_ABI_MAJOR 1u
#define HD_ABI_MINOR 1u /* 1: HD_INFO_TIMING_ALONE */
#define HD_MAX_RANK 8

#if defined(_WIN32)
#define HD_EXPORT __declspec(dllexport)
#else
#define HD_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- codes ---- */

typedef enum hd_code {
  HD_OK = 0,
  HD_ERROR_INVALID_ARGUMENT = 1,
  HD_ERROR_SHAPE_MISMATCH = 2,
  HD_ERROR_DTYPE_MISMATCH = 3,
  HD_ERROR_UNSUPPORTED = 4,
  HD_ERROR_NOT_FOUND = 5,
  HD_ERROR_OUT_OF_MEMORY = 6,
  HD_ERROR_IO = 7,
  HD_ERROR_CORRUPT = 8,
  HD_ERROR_DEVICE = 9,
  HD_ERROR_POISONED = 10,
  HD_ERROR_CANCELLED = 11,
  HD_ERROR_INTERNAL = 12
} hd_code;

typedef enum hd_dtype {
  HD_DTYPE_FLOAT64 = 1,
  HD_DTYPE_FLOAT32 = 2,
  HD_DTYPE_BFLOAT16 = 3,
  HD_DTYPE_FLOAT16 = 4,
  HD_DTYPE_FLOAT8_E4M3 = 5,
  HD_DTYPE_FLOAT8_E5M2 = 6,
  HD_DTYPE_INT8 = 7,
  HD_DTYPE_INT16 = 8,
  HD_DTYPE_INT32 = 9,
  HD_DTYPE_INT64 = 10,
  HD_DTYPE_UINT8 = 11,
  HD_DTYPE_UINT16 = 12,
  HD_DTYPE_UINT32 = 13,
  HD_DTYPE_UINT64 = 14,
  HD_DTYPE_BOOL = 15
} hd_dtype;

/* What a value of a partition is. Inputs, variables and outputs are bound to spans; constants may be read at
 * compile time and are bound too; intermediates belong to the program (they live in its scratch or on chip).
 * A value listed as variable may also be an output's in-place partner. */
typedef enum hd_value_kind {
  HD_VALUE_INPUT = 1,
  HD_VALUE_OUTPUT = 2,
  HD_VALUE_INTERMEDIATE = 3,
  HD_VALUE_CONSTANT = 4,
  HD_VALUE_VARIABLE = 5
} hd_value_kind;

typedef enum hd_attr_kind {
  HD_ATTR_INT = 1,    /* ints[0]; booleans are 0 or 1, dtypes are hd_dtype */
  HD_ATTR_FLOAT = 2,  /* floats[0] */
  HD_ATTR_STRING = 3, /* text */
  HD_ATTR_INTS = 4,   /* ints[0..n) */
  HD_ATTR_FLOATS = 5, /* floats[0..n) */
  HD_ATTR_GRAPH = 6   /* graph: the scalar program of a pointwise node; all its values have rank 0 */
} hd_attr_kind;

typedef enum hd_verdict {
  HD_OFFER_NO = 0, /* reason required */
  HD_OFFER_YES = 1
} hd_verdict;

typedef enum hd_clock {
  HD_CLOCK_WALL = 1,
  HD_CLOCK_SIMULATED =
      2 /* the device computes real numbers but its time is a model's; never added to wall time */
} hd_clock;

/* ---- data ---- */

typedef struct hd_device hd_device;   /* one opened device; the backend's own type */
typedef struct hd_buffer hd_buffer;   /* device memory */
typedef struct hd_stream hd_stream;   /* an in-order queue of copies and launches */
typedef struct hd_program hd_program; /* a compiled partition; immutable */
typedef struct hd_binding hd_binding; /* a program with its spans; one launch at a time */

/* FROZEN. Dimensions past `rank` are zero. */
typedef struct hd_shape {
  uint32_t dtype; /* hd_dtype */
  uint32_t rank;  /* <= HD_MAX_RANK */
  int64_t dim[HD_MAX_RANK];
} hd_shape;

/* FROZEN. `bytes` bytes at `offset` of `buffer`; with buffer NULL, host memory at the address in `offset`. */
typedef struct hd_span {
  hd_buffer* buffer;
  uint64_t offset;
  uint64_t bytes;
} hd_span;

/* FROZEN. Two indices whose meaning the field states. */
typedef struct hd_pair {
  uint32_t first;
  uint32_t second;
} hd_pair;

/* Owned by the caller, who sets `size`; the callee writes code and text, which ends (with NUL) within `size`.
 */
typedef struct hd_status {
  uint32_t size;
  int32_t code; /* hd_code */
  char text[1016];
} hd_status;

typedef struct hd_graph hd_graph;

typedef struct hd_attr {
  uint32_t size;
  uint32_t kind; /* hd_attr_kind */
  const char* name;
  const int64_t* ints;
  const double* floats;
  const char* text;
  const hd_graph* graph;
  uint32_t n;        /* elements of ints or floats */
  uint32_t reserved; /* zero; a struct that grows has no padding at its end, where a new field would hide */
} hd_attr;

typedef struct hd_value {
  uint32_t size;
  uint32_t kind; /* hd_value_kind */
  hd_shape type;
  const char* name;    /* for messages; never NULL, may be "" */
  const void* data;    /* constant: its bytes, valid while `compile` runs; else NULL */
  uint64_t uid;        /* variable: its identity, the same in every program; else 0 */
  uint64_t generation; /* frozen variable: changes when its contents are replaced */
  uint32_t frozen;     /* variable: 1 when it will not change while this program lives, so it may be packed */
  uint32_t reserved;   /* zero */
} hd_value;

/* A missing optional operand is HD_NO_VALUE. */
#define HD_NO_VALUE 0xffffffffu

typedef struct hd_node {
  uint32_t size;
  uint32_t version; /* of the op's meaning; 1 today */
  const char* op;   /* "matmul"; docs/ops.md lists every op with its attributes */
  const char* name; /* for messages */
  const uint32_t* in;
  const uint32_t* out; /* indices into hd_graph.value */
  uint32_t n_in;
  uint32_t n_out;
  const hd_attr* const* attr;
  uint32_t n_attr;
  uint32_t reserved; /* zero */
} hd_node;

/* A partition (or a scalar program). Nodes are in an order in which they can run. */
struct hd_graph {
  uint32_t size;
  uint32_t n_value;
  const hd_value* const* value;
  const hd_node* const* node;
  uint32_t n_node;
  uint32_t n_update;
  const hd_pair* update;  /* (variable, output): the output's bytes become the variable's after the run */
  const uint32_t* input;  /* scalar programs: the order of their inputs ... */
  const uint32_t* output; /* ... and outputs, as value indices; partitions: every value bound as output */
  uint32_t n_input;
  uint32_t n_output;
};

typedef struct hd_offer {
  uint32_t size;
  int32_t verdict;  /* hd_verdict */
  char reason[248]; /* why not: "needs float32, got float64"; what the user can change, if anything */
} hd_offer;

typedef struct hd_program_info {
  uint32_t size;
  uint32_t n_in_place;
  uint64_t scratch_bytes; /* the runtime binds a scratch span of this size as the last span */
  uint64_t scratch_align;
  const hd_pair* in_place; /* (output, input) value indices whose spans may be the same memory */
  const char* const*
      kernel; /* per node, what runs it: "cpu.matmul.onednn"; "" for a node fused into another */
  uint32_t n_kernel;
  uint32_t inline_launch; /* 1: launch runs on the calling thread and is complete when it returns */
  uint64_t
      scratch_lower_bound; /* the most bytes of intermediates alive at once: no scratch plan can be smaller */
} hd_program_info;

typedef enum hd_info_flags {
  HD_INFO_HOST_MEMORY = 1u, /* host addresses (hd_span.buffer NULL) may be bound, and rebind is implemented */
  /* The device models time and computes no numbers: launches write nothing at all, not to outputs and not to
   * variables. The runtime then fills what users see of its results with NaN (integers: 0) and updates no
   * variable in a run that such a device takes part in. Copies still copy. */
  HD_INFO_TIMING_ALONE = 2u,
} hd_info_flags;

typedef struct hd_info {
  uint32_t size;
  uint32_t clock;          /* hd_clock */
  const char* name;        /* "cpu" */
  const char* description; /* one line for people: "AMD EPYC, 2 threads, AVX-512" */
  uint64_t memory_bytes;   /* of the device; 0: unknown */
  uint64_t alignment;      /* of spans, a power of two */
  uint64_t dtypes;         /* bit 1 << hd_dtype for each the device stores */
  uint64_t flags;          /* hd_info_flags */
} hd_info;

/* Services the host lends to a device from `open` to the end of the process. Any may be called from any
 * thread. */
typedef struct hd_host {
  uint32_t size;
  uint32_t abi_major;
  uint32_t abi_minor;
  void (*log)(int32_t level, const char* text); /* level: 0 debug, 1 info, 2 warning, 3 error */
  uint64_t (*clock_ns)(void);                   /* monotonic wall clock */
} hd_host;

/* ---- the device ---- */

typedef struct hd_device_vtable {
  uint32_t size;

  /* Facts about the device. The strings live as long as the device. Does not block. */
  void (*info)(hd_device*, hd_info* info);

  /* `bytes` of device memory at hd_info.alignment; uninitialised. Bytes 0 is allowed and gives a valid
   * buffer. May block. HD_ERROR_OUT_OF_MEMORY with requested, used and total bytes in the text. Any thread.
   */
  int32_t (*alloc)(hd_device*, uint64_t bytes, hd_buffer** out, hd_status*);

  /* No launched work may still use the buffer. NULL does nothing. Any thread. */
  void (*free)(hd_device*, hd_buffer*);

  /* A new in-order queue. Released with `release_stream`. */
  int32_t (*stream)(hd_device*, hd_stream** out, hd_status*);
  void (*release_stream)(hd_device*, hd_stream*);

  /* Enqueues a copy of equal-sized spans, either of which may be host memory; host memory must stay valid
   * until `*tick` is reached. A tick is a number per stream that only grows; a synchronous device returns it
   * reached. Spans of different sizes, or that leave their buffer, are HD_ERROR_INVALID_ARGUMENT. */
  int32_t (*copy)(hd_device*, hd_stream*, hd_span dst, hd_span src, uint64_t* tick, hd_status*);

  /* Whether the device can run node `node` of `graph`, with the shapes and dtypes given. Pure, cheap, and a
   * promise: an offered node compiles in any partition. Ops, attributes and hd_node.versions that the device
   * does not know are refused with a reason, like everything else it cannot do. Never blocks. Any thread. */
  int32_t (*offer)(hd_device*, const hd_graph* graph, uint32_t node, hd_offer* offer);

  /* Compiles a partition whose every node was offered. Nothing of `graph` may be kept after the call. May
   * block. */
  int32_t (*compile)(hd_device*, const hd_graph* graph, hd_program** out, hd_status*);
  void (*release_program)(hd_device*, hd_program*);

  /* What the runtime must know to plan memory; the arrays live as long as the program. */
  void (*describe)(hd_device*, hd_program*, hd_program_info* info);

  /* Spans for every value of the partition (index = value index; intermediates zero), then the scratch span:
   * n = n_value + 1. Spans are copied; the memory must outlive the binding. A program may have several
   * bindings. */
  int32_t (*bind)(hd_device*, hd_program*, const hd_span* span, uint32_t n, hd_binding** out, hd_status*);
  void (*release_binding)(hd_device*, hd_binding*);

  /* Replaces the span of one value by another of the same size. Required with HD_INFO_HOST_MEMORY, else may
   * be NULL. Not while the binding runs. Does not allocate. */
  int32_t (*rebind)(hd_device*, hd_binding*, uint32_t value, hd_span span, hd_status*);

  /* Enqueues one run. Does not allocate. Errors found later surface in `wait`. */
  int32_t (*launch)(hd_device*, hd_stream*, hd_binding*, uint64_t* tick, hd_status*);

  /* Blocks until the stream reached `tick`; returns the first error of the work up to it, once. */
  int32_t (*wait)(hd_device*, hd_stream*, uint64_t tick, hd_status*);

  /* Does not block; 1 when the stream reached `tick`, else 0. */
  int32_t (*poll)(hd_device*, hd_stream*, uint64_t tick);

  /* Stops the device's threads and frees it. Every object of it was released before. */
  void (*close)(hd_device*);

  /* An optional family of functions by name, or NULL. The ones Heddle knows are below. */
  const void* (*extension)(hd_device*, const char* name);
} hd_device_vtable;

/* ---- extensions ---- */

/* "heddle.simulated.v1": figures of a device whose clock is simulated. */
typedef struct hd_simulated_v1 {
  uint32_t size;
  uint32_t reserved;
  /* Simulated picoseconds of one launch of the program. */
  uint64_t (*program_picoseconds)(hd_device*, hd_program*);
  /* A JSON object with the profiler's metrics of one launch; lives as long as the program. */
  const char* (*program_report)(hd_device*, hd_program*);
  /* Trace of one launch: a JSON array of Chrome trace events (Perfetto reads them), times in simulated
   * microseconds, one track per engine and DMA queue; lives as long as the program. */
  const char* (*program_trace)(hd_device*, hd_program*);
} hd_simulated_v1;
#define HD_EXTENSION_SIMULATED "heddle.simulated.v1"

/* "heddle.spans.v1": wall-clock spans per kernel of a launch, for tracing. `on` makes later launches record.
 */
typedef struct hd_span_record {
  uint32_t size;
  uint32_t node; /* index in the partition */
  uint64_t begin_ns;
  uint64_t end_ns; /* hd_host.clock_ns */
} hd_span_record;
typedef struct hd_spans_v1 {
  uint32_t size;
  uint32_t reserved;
  void (*record)(hd_device*, hd_binding*, int32_t on);
  /* The spans of the last launch, one per kernel run; valid until the next launch of the binding. */
  uint32_t (*last)(hd_device*, hd_binding*, const hd_span_record* const** records);
} hd_spans_v1;
#define HD_EXTENSION_SPANS "heddle.spans.v1"

/* "heddle.trim.v1": void (*)(hd_device*): gives cached memory (packed weights, pools) back. */
typedef struct hd_trim_v1 {
  uint32_t size;
  uint32_t reserved;
  void (*trim)(hd_device*);
  uint64_t (*cached_bytes)(hd_device*);
} hd_trim_v1;
#define HD_EXTENSION_TRIM "heddle.trim.v1"

/* ---- the plugin ---- */

typedef struct hd_plugin {
  uint32_t size;
  uint32_t
      abi_major; /* HD_ABI_MAJOR it was built with; another major is refused with both numbers in the text */
  uint32_t abi_minor;
  const char* name;    /* of the backend: "toy" */
  const char* version; /* of the backend: "0.1" */
  /* The device names this backend offers: name(0) .. name(count-1); each is what a user passes to --device.
   */
  uint32_t (*count)(void);
  const char* (*device_name)(uint32_t index);
  /* Opens device `index`. `options` is what followed the colon in "name:options", or "". Unknown options are
   * HD_ERROR_INVALID_ARGUMENT listing the known ones. */
  int32_t (*open)(uint32_t index, const char* options, const hd_host*, hd_device** out,
                  const hd_device_vtable** vtable, hd_status*);
} hd_plugin;

/* The one symbol of a backend library. The struct lives for ever. */
HD_EXPORT const hd_plugin* heddle_plugin_v1(void);

#ifdef __cplusplus
}
#endif

#endif /* HEDDLE_DEVICE_ABI_H */
