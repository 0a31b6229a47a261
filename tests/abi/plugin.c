/* A device in plain C11, written against device_abi.h alone: it copies (the op "contiguous"). Definitions
 * make it an older, newer or broken plugin: DEVICE_NAME   what it calls its device          ABI_MAJOR     the
 * contract it says it was built for PLUGIN_SIZE   hd_plugin.size                    VTABLE_SIZE
 * hd_device_vtable.size INFO_SIZE     how much of hd_info it knows      DEVICES       how many devices it
 * lists OPEN_FAILS    open returns an error             NO_COUNT      hd_plugin.count is NULL */
#include "heddle/device_abi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef DEVICE_NAME
#define DEVICE_NAME "plain_c"
#endif
#ifndef ABI_MAJOR
#define ABI_MAJOR HD_ABI_MAJOR
#endif
#ifndef PLUGIN_SIZE
#define PLUGIN_SIZE sizeof(hd_plugin)
#endif
#ifndef VTABLE_SIZE
#define VTABLE_SIZE sizeof(hd_device_vtable)
#endif
#ifndef INFO_SIZE
#define INFO_SIZE sizeof(hd_info)
#endif
#ifndef DEVICES
#define DEVICES 1
#endif

struct hd_device {
  int open;
};
struct hd_buffer {
  uint64_t bytes;
  unsigned char* memory;
};
struct hd_stream {
  uint64_t tick;
};
struct hd_program {
  uint32_t from, to, values;
  uint64_t bytes;
  const char* kernel;
};
struct hd_binding {
  const hd_program* program;
  unsigned char *from, *to;
};

static int32_t fail(hd_status* status, int32_t code, const char* text) {
  const size_t room = status->size > offsetof(hd_status, text) ? status->size - offsetof(hd_status, text) : 0;
  status->code = code;
  if (room > 0) snprintf(status->text, room < sizeof(status->text) ? room : sizeof(status->text), "%s", text);
  return code;
}

static unsigned char* address(hd_span span) {
  return span.buffer ? span.buffer->memory + span.offset : (unsigned char*)(uintptr_t)span.offset;
}
static int leaves_buffer(hd_span span) {
  return span.buffer && (span.offset > span.buffer->bytes || span.bytes > span.buffer->bytes - span.offset);
}

static uint64_t bytes_of(const hd_value* value) {
  static const uint64_t sizes[] = {0, 8, 4, 2, 2, 1, 1, 1, 2, 4, 8, 1, 2, 4, 8, 1};
  uint64_t bytes = sizes[value->type.dtype];
  for (uint32_t i = 0; i < value->type.rank; ++i) bytes *= (uint64_t)value->type.dim[i];
  return bytes;
}

static void info(hd_device* device, hd_info* out) {
  hd_info all;
  (void)device;
  memset(&all, 0, sizeof(all));
  all.size = (uint32_t)(out->size < INFO_SIZE ? out->size : INFO_SIZE);
  all.clock = HD_CLOCK_WALL;
  all.name = DEVICE_NAME;
  all.description = "copies bytes, in C";
  all.alignment = 16;
  all.dtypes = 0xfffe;
  all.flags = HD_INFO_HOST_MEMORY;
  memcpy(out, &all, all.size);
}

static int32_t alloc(hd_device* device, uint64_t bytes, hd_buffer** out, hd_status* status) {
  hd_buffer* buffer = malloc(sizeof(hd_buffer));
  unsigned char* memory = bytes < (UINT64_C(1) << 40) ? malloc(bytes ? bytes : 1) : NULL;
  (void)device;
  if (!buffer || !memory) {
    free(buffer);
    free(memory);
    return fail(status, HD_ERROR_OUT_OF_MEMORY, "out of memory");
  }
  buffer->bytes = bytes;
  buffer->memory = memory;
  *out = buffer;
  return HD_OK;
}
static void free_buffer(hd_device* device, hd_buffer* buffer) {
  (void)device;
  if (buffer) free(buffer->memory);
  free(buffer);
}

static int32_t stream(hd_device* device, hd_stream** out, hd_status* status) {
  (void)device;
  *out = calloc(1, sizeof(hd_stream));
  return *out ? HD_OK : fail(status, HD_ERROR_OUT_OF_MEMORY, "out of memory");
}
static void release_stream(hd_device* device, hd_stream* s) {
  (void)device;
  free(s);
}

static int32_t copy(hd_device* device, hd_stream* s, hd_span to, hd_span from, uint64_t* tick,
                    hd_status* status) {
  (void)device;
  if (to.bytes != from.bytes) return fail(status, HD_ERROR_INVALID_ARGUMENT, "spans of different sizes");
  if (leaves_buffer(to) || leaves_buffer(from))
    return fail(status, HD_ERROR_INVALID_ARGUMENT, "a span leaves its buffer");
  if (to.bytes) memmove(address(to), address(from), to.bytes);
  *tick = ++s->tick;
  return HD_OK;
}

static int32_t offer(hd_device* device, const hd_graph* graph, uint32_t node, hd_offer* out) {
  const hd_node* n = graph->node[node];
  const size_t room = out->size > offsetof(hd_offer, reason) ? out->size - offsetof(hd_offer, reason) : 0;
  (void)device;
  out->verdict =
      strcmp(n->op, "contiguous") == 0 && n->version == 1 && graph->n_node == 1 ? HD_OFFER_YES : HD_OFFER_NO;
  if (room > 0)
    snprintf(out->reason, room < sizeof(out->reason) ? room : sizeof(out->reason), "%s",
             out->verdict == HD_OFFER_YES ? "" : "only copies one value");
  return HD_OK;
}

static int32_t compile(hd_device* device, const hd_graph* graph, hd_program** out, hd_status* status) {
  hd_program* program = malloc(sizeof(hd_program));
  (void)device;
  if (!program) return fail(status, HD_ERROR_OUT_OF_MEMORY, "out of memory");
  program->from = graph->node[0]->in[0];
  program->to = graph->node[0]->out[0];
  program->values = graph->n_value;
  program->bytes = bytes_of(graph->value[program->to]);
  program->kernel = "plain_c.copy";
  *out = program;
  return HD_OK;
}
static void release_program(hd_device* device, hd_program* program) {
  (void)device;
  free(program);
}
static void describe(hd_device* device, hd_program* program, hd_program_info* out) {
  hd_program_info all;
  (void)device;
  memset(&all, 0, sizeof(all));
  all.size = (uint32_t)(out->size < sizeof(all) ? out->size : sizeof(all));
  all.scratch_align = 16;
  all.kernel = &program->kernel;
  all.n_kernel = 1;
  all.inline_launch = 1;
  memcpy(out, &all, all.size);
}

static int32_t bind(hd_device* device, hd_program* program, const hd_span* span, uint32_t n, hd_binding** out,
                    hd_status* status) {
  hd_binding* binding;
  (void)device;
  if (n != program->values + 1)
    return fail(status, HD_ERROR_INVALID_ARGUMENT, "needs a span per value and one more");
  binding = malloc(sizeof(hd_binding));
  if (!binding) return fail(status, HD_ERROR_OUT_OF_MEMORY, "out of memory");
  binding->program = program;
  binding->from = address(span[program->from]);
  binding->to = address(span[program->to]);
  *out = binding;
  return HD_OK;
}
static void release_binding(hd_device* device, hd_binding* binding) {
  (void)device;
  free(binding);
}
static int32_t rebind(hd_device* device, hd_binding* binding, uint32_t value, hd_span span,
                      hd_status* status) {
  (void)device;
  (void)status;
  if (value == binding->program->from) binding->from = address(span);
  if (value == binding->program->to) binding->to = address(span);
  return HD_OK;
}

static int32_t launch(hd_device* device, hd_stream* s, hd_binding* binding, uint64_t* tick,
                      hd_status* status) {
  (void)device;
  (void)status;
  if (binding->program->bytes) memmove(binding->to, binding->from, binding->program->bytes);
  *tick = ++s->tick;
  return HD_OK;
}
static int32_t wait_for(hd_device* device, hd_stream* s, uint64_t tick, hd_status* status) {
  (void)device;
  (void)s;
  (void)tick;
  (void)status;
  return HD_OK;
}
static int32_t poll(hd_device* device, hd_stream* s, uint64_t tick) {
  (void)device;
  return s->tick >= tick;
}
static void close_device(hd_device* device) { (void)device; }
static const void* extension(hd_device* device, const char* name) {
  (void)device;
  (void)name;
  return NULL;
}

/* A newer contract has a larger table: what follows is what this Heddle does not know. */
static const struct {
  hd_device_vtable known;
  void (*unknown)(void);
} table = {
    {VTABLE_SIZE, info, alloc, free_buffer, stream, release_stream, copy, offer, compile, release_program,
     describe, bind, release_binding, rebind, launch, wait_for, poll, close_device, extension},
    NULL};

#ifndef NO_COUNT
static uint32_t count(void) { return DEVICES; }
#endif
static const char* device_name(uint32_t index) {
  (void)index;
  return DEVICE_NAME;
}
static int32_t open_device(uint32_t index, const char* options, const hd_host* host, hd_device** out,
                           const hd_device_vtable** vtable, hd_status* status) {
  (void)index;
  (void)options;
  (void)host;
  static hd_device the_device;
  (void)status;
  *out = &the_device;
  *vtable = &table.known;
#ifdef OPEN_FAILS
  return fail(status, HD_ERROR_NOT_FOUND, "the board is not plugged in");
#else
  return HD_OK;
#endif
}

const hd_plugin* heddle_plugin_v1(void) {
  static const hd_plugin plugin = {PLUGIN_SIZE, ABI_MAJOR,  HD_ABI_MINOR, "plain_c", "0.1",
#ifdef NO_COUNT
                                   NULL,
#else
                                   count,
#endif
                                   device_name, open_device};
  return &plugin;
}
