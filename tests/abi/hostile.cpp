// Backends that throw, leave things out and make things up: each is an Error that says which and where.
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "device/plugin_text.h"
#include "heddle/estimate.h"
#include "heddle/ops.h"
#include "heddle/session.h"
#include "heddle/trace.h"
#include "tests/expect_error.h"
#include "tests/overridden_device.h"

namespace heddle::test {
namespace {

Graph counter() {
  Graph g;
  const Value v = g.variable("v", f32, {2}, init::constant(1));
  g.update(v, v + 1.0);
  g.output("y", v * 2.0);
  return g;
}

// Everything that a session asks of a device.
void use(const Device& device) {
  Trace trace;
  Session session(counter(), {device});
  session.set_trace(&trace);
  session.run({});
  session.run({});
  session.explain();
  session.simulated_reports();
  session.variables().read("v");
  Device(device).trim();
}

struct NoException {};

// Fills a struct that begins with its size as far as both sides know it.
template <class Struct>
void give(Struct* to, Struct all) {
  const uint32_t size = std::min<uint32_t>(to->size, sizeof(all));
  all.size = size;
  std::memcpy(to, &all, size);
}

hd_program_info described(hd_device* device, hd_program* program) {
  hd_program_info info{};
  info.size = sizeof(info);
  reference_table().describe(device, program, &info);
  return info;
}

hd_info facts(hd_device* device) {
  hd_info info{};
  info.size = sizeof(info);
  reference_table().info(device, &info);
  return info;
}

struct Fault {
  const char* name;
  const char* part;  // of the error
  Override change;
};

const Fault throwing[] = {
    {"info_throws", "telling its facts: it threw",
     [](hd_device_vtable& t) { t.info = [](hd_device*, hd_info*) { throw std::runtime_error("why"); }; }},
    {"extension_throws", "naming its extensions: it threw",
     [](hd_device_vtable& t) {
       t.extension = [](hd_device*, const char*) -> const void* { throw NoException(); };
     }},
    {"alloc_throws", "allocating memory: it threw",
     [](hd_device_vtable& t) {
       t.alloc = [](hd_device*, uint64_t, hd_buffer**, hd_status*) -> int32_t { throw NoException(); };
     }},
    {"stream_throws", "making a stream: it threw",
     [](hd_device_vtable& t) {
       t.stream = [](hd_device*, hd_stream**, hd_status*) -> int32_t { throw NoException(); };
     }},
    {"offer_throws", "answering whether it runs a node: it threw",
     [](hd_device_vtable& t) {
       t.offer = [](hd_device*, const hd_graph*, uint32_t, hd_offer*) -> int32_t { throw NoException(); };
     }},
    {"compile_throws", "compiling: it threw an exception, which the device contract forbids: no\tgood ",
     [](hd_device_vtable& t) {
       t.compile = [](hd_device*, const hd_graph*, hd_program**, hd_status*) -> int32_t {
         throw std::runtime_error("no\tgood\r");
       };
     }},
    {"describe_throws", "describing a program: it threw",
     [](hd_device_vtable& t) {
       t.describe = [](hd_device*, hd_program*, hd_program_info*) { throw NoException(); };
     }},
    {"bind_throws", "binding memory: it threw",
     [](hd_device_vtable& t) {
       t.bind = [](hd_device*, hd_program*, const hd_span*, uint32_t, hd_binding**, hd_status*) -> int32_t {
         throw NoException();
       };
     }},
    {"rebind_throws", "rebinding memory: it threw",
     [](hd_device_vtable& t) {
       t.rebind = [](hd_device*, hd_binding*, uint32_t, hd_span, hd_status*) -> int32_t {
         throw NoException();
       };
     }},
    {"copy_throws", "copying: it threw",
     [](hd_device_vtable& t) {
       t.copy = [](hd_device*, hd_stream*, hd_span, hd_span, uint64_t*, hd_status*) -> int32_t {
         throw std::bad_alloc();
       };
     }},
    {"launch_throws", "running: it threw",
     [](hd_device_vtable& t) {
       t.launch = [](hd_device*, hd_stream*, hd_binding*, uint64_t*, hd_status*) -> int32_t {
         throw NoException();
       };
     }},
    {"wait_throws", "running: it threw",
     [](hd_device_vtable& t) {
       t.wait = [](hd_device*, hd_stream*, uint64_t, hd_status*) -> int32_t { throw NoException(); };
     }},
};

const Fault lying[] = {
    {"no_buffer", "alloc() succeeded and gave no buffer",
     [](hd_device_vtable& t) {
       t.alloc = [](hd_device*, uint64_t, hd_buffer**, hd_status*) -> int32_t { return HD_OK; };
     }},
    {"no_stream", "stream() succeeded and gave no stream",
     [](hd_device_vtable& t) {
       t.stream = [](hd_device*, hd_stream**, hd_status*) -> int32_t { return HD_OK; };
     }},
    {"no_program", "compile() succeeded and gave no program",
     [](hd_device_vtable& t) {
       t.compile = [](hd_device*, const hd_graph*, hd_program**, hd_status*) -> int32_t { return HD_OK; };
     }},
    {"no_binding", "bind() succeeded and gave no binding",
     [](hd_device_vtable& t) {
       t.bind = [](hd_device*, hd_program*, const hd_span*, uint32_t, hd_binding**, hd_status*) -> int32_t {
         return HD_OK;
       };
     }},
    {"no_pairs", "3 in-place pairs and gives none",
     [](hd_device_vtable& t) {
       t.describe = [](hd_device* device, hd_program* program, hd_program_info* out) {
         hd_program_info info = described(device, program);
         info.n_in_place = 3;
         info.in_place = nullptr;
         give(out, info);
       };
     }},
    {"no_kernels", "kernels and gives none",
     [](hd_device_vtable& t) {
       t.describe = [](hd_device* device, hd_program* program, hd_program_info* out) {
         hd_program_info info = described(device, program);
         info.kernel = nullptr;
         give(out, info);
       };
     }},
    {"much_scratch", "bytes of scratch memory",
     [](hd_device_vtable& t) {
       t.describe = [](hd_device* device, hd_program* program, hd_program_info* out) {
         hd_program_info info = described(device, program);
         info.scratch_bytes = ~uint64_t{0};
         give(out, info);
       };
     }},
    {"odd_alignment", "alignment of 3 bytes",
     [](hd_device_vtable& t) {
       t.info = [](hd_device* device, hd_info* out) {
         hd_info info = facts(device);
         info.alignment = 3;
         give(out, info);
       };
     }},
    {"vast_alignment", "alignment of 9223372036854775808 bytes",
     [](hd_device_vtable& t) {
       t.info = [](hd_device* device, hd_info* out) {
         hd_info info = facts(device);
         info.alignment = uint64_t{1} << 63;
         give(out, info);
       };
     }},
    {"endless_text", "running: xxxx",
     [](hd_device_vtable& t) {
       t.launch = [](hd_device*, hd_stream*, hd_binding*, uint64_t*, hd_status* status) -> int32_t {
         std::memset(status->text, 'x', sizeof(status->text));
         return HD_ERROR_DEVICE;
       };
     }},
};

template <class Extension>
const void* extension_of(const char* asked, const char* name, const Extension& extension) {
  return std::strcmp(asked, name) == 0 ? &extension : nullptr;
}

hd_plugin backend(uint32_t (*count)(), const char* (*name)(uint32_t)) {
  return {sizeof(hd_plugin), HD_ABI_MAJOR, HD_ABI_MINOR, "hostile", "1", count, name, open_overridden};
}

void expect_refused(ErrorCode code, const char* part, const hd_plugin& plugin) {
  expect_error(code, part, [&] { device::Registry::instance().add(&plugin, "hostile.so"); });
}

}  // namespace

TEST_CASE("what a function of a device throws is an error that names the device and what it did") {
  for (const Fault& fault : throwing) {
    INFO(fault.name);
    expect_error(ErrorCode::device, fault.part, [&] { use(open_with(fault.name, fault.change)); });
  }
}

TEST_CASE("a device that succeeds and gives nothing, or nonsense, is refused") {
  for (const Fault& fault : lying) {
    INFO(fault.name);
    expect_error(ErrorCode::device, fault.part, [&] { use(open_with(fault.name, fault.change)); });
  }
}

TEST_CASE("what releasing and closing throw is logged, and the process goes on") {
  use(open_with("cannot_release", [](hd_device_vtable& t) {
    // They release first: what they leave behind is not the question.
    t.free = [](hd_device* d, hd_buffer* b) {
      reference_table().free(d, b);
      throw std::runtime_error("free");
    };
    t.release_stream = [](hd_device* d, hd_stream* s) {
      reference_table().release_stream(d, s);
      throw NoException();
    };
    t.release_program = [](hd_device* d, hd_program* p) {
      reference_table().release_program(d, p);
      throw NoException();
    };
    t.release_binding = [](hd_device* d, hd_binding* b) {
      reference_table().release_binding(d, b);
      throw NoException();
    };
    t.close = [](hd_device* d) {
      reference_table().close(d);
      throw NoException();
    };
  }));
}

TEST_CASE("extensions without functions, or too small for them, are absent") {
  const Device device = open_with("empty_extensions", [](hd_device_vtable& t) {
    t.extension = [](hd_device*, const char* name) -> const void* {
      static const hd_simulated_v1 simulated{offsetof(hd_simulated_v1, program_picoseconds), 0,
                                             [](hd_device*, hd_program*) -> uint64_t { std::abort(); },
                                             nullptr, nullptr};
      static const hd_spans_v1 spans{sizeof(hd_spans_v1), 0, nullptr, nullptr};
      static const hd_trim_v1 trim{sizeof(hd_trim_v1), 0, nullptr, nullptr};
      if (const void* found = extension_of(name, HD_EXTENSION_SIMULATED, simulated)) return found;
      if (const void* found = extension_of(name, HD_EXTENSION_SPANS, spans)) return found;
      return extension_of(name, HD_EXTENSION_TRIM, trim);
    };
  });
  use(device);
  expect_error(ErrorCode::invalid_argument, "no model of time", [&] { estimate(counter(), device); });
}

TEST_CASE("a simulated device without reports, and spans without records, are empty") {
  const Device device = open_with("null_reports", [](hd_device_vtable& t) {
    t.extension = [](hd_device*, const char* name) -> const void* {
      static const hd_simulated_v1 simulated{
          sizeof(hd_simulated_v1), 0, [](hd_device*, hd_program*) { return uint64_t{7}; },
          [](hd_device*, hd_program*) -> const char* { return nullptr; }, nullptr};
      static const hd_spans_v1 spans{
          sizeof(hd_spans_v1), 0, [](hd_device*, hd_binding*, int32_t) {},
          [](hd_device*, hd_binding*, const hd_span_record* const**) { return uint32_t{9}; }};
      if (const void* found = extension_of(name, HD_EXTENSION_SIMULATED, simulated)) return found;
      return extension_of(name, HD_EXTENSION_SPANS, spans);
    };
  });
  use(device);
  const Estimate estimated = estimate(counter(), device);
  CHECK(estimated.simulated_ps() == 7);
  CHECK(estimated.report() == "{}");
  CHECK(estimated.trace() == "[]");
}

TEST_CASE("a backend that cannot list its devices is refused") {
  const auto one = [] { return uint32_t{1}; };
  const auto named = [](uint32_t) { return "hostile"; };
  expect_refused(ErrorCode::device, "counting its devices: it threw",
                 backend([]() -> uint32_t { throw NoException(); }, named));
  expect_refused(ErrorCode::device, "naming its devices: it threw",
                 backend(one, [](uint32_t) -> const char* { throw std::runtime_error("no name"); }));
  expect_refused(ErrorCode::invalid_argument, "4294967295 devices",
                 backend([] { return ~uint32_t{0}; }, named));
  expect_refused(ErrorCode::invalid_argument, "no usable name",
                 backend(one, [](uint32_t) { return "a\nb"; }));
  expect_refused(ErrorCode::invalid_argument, "no usable name",
                 backend(one, [](uint32_t) { return "a\xff"; }));
  expect_refused(ErrorCode::invalid_argument, "no usable name", backend(one, [](uint32_t) { return "a:b"; }));
}

TEST_CASE("a device whose open throws, or gives no device, does not open") {
  static hd_plugin plugin = backend([] { return uint32_t{2}; },
                                    [](uint32_t i) { return i == 0 ? "open_throws" : "opens_nothing"; });
  plugin.open = [](uint32_t i, const char*, const hd_host*, hd_device**, const hd_device_vtable**,
                   hd_status*) -> int32_t {
    if (i == 0) throw NoException();
    return HD_OK;
  };
  device::Registry::instance().add(&plugin, "");
  expect_error(ErrorCode::device, "cannot open device open_throws: it threw",
               [] { Device::open("open_throws"); });
  expect_error(ErrorCode::device, "gave no device", [] { Device::open("opens_nothing"); });
}

TEST_CASE("text of a backend is made printable, and UTF-8 is left alone") {
  CHECK(device::printable("x\x01y\x7f\n") == "x y \n");
  CHECK(device::printable("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80") ==
        "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
  CHECK(device::printable("\xff\xc3") == "??");
  CHECK(device::printable("\xc0\xaf\xed\xa0\x80") == "?????");  // overlong, and a surrogate
  CHECK(device::printable(static_cast<const char*>(nullptr)).empty());
  CHECK(device::printable_field("abcdef", 3) == "abc");
}

}  // namespace heddle::test
