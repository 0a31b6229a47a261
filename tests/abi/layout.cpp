// The layout of the device contract never changes: a plugin built years ago reads today's structs. Fields are
// only appended, each with a line here.
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "heddle/device_abi.h"
#include "heddle/dtype.h"
#include "heddle/error.h"
#include "heddle/shape.h"
#include "tests/catch.h"

namespace {

struct Place {
  size_t offset;
  size_t bytes;
  bool operator==(const Place&) const = default;
};
std::ostream& operator<<(std::ostream& os, const Place& p) {
  return os << p.bytes << " bytes at offset " << p.offset;
}

template <class Struct, class Member>
Place place(Member Struct::*member) {
  const Struct s{};
  const auto base = reinterpret_cast<uintptr_t>(&s), field = reinterpret_cast<uintptr_t>(&(s.*member));
  return {field - base, sizeof(Member)};
}

struct Row {
  const char* name;  // "struct" or "struct.field"
  Place is;
  Place golden;  // on every platform with 64-bit pointers
};

const Row rows[] = {
    {"hd_shape", {0, sizeof(hd_shape)}, {0, 72}},
    {"hd_shape.dtype", place(&hd_shape::dtype), {0, 4}},
    {"hd_shape.rank", place(&hd_shape::rank), {4, 4}},
    {"hd_shape.dim", place(&hd_shape::dim), {8, 64}},
    {"hd_span", {0, sizeof(hd_span)}, {0, 24}},
    {"hd_span.buffer", place(&hd_span::buffer), {0, 8}},
    {"hd_span.offset", place(&hd_span::offset), {8, 8}},
    {"hd_span.bytes", place(&hd_span::bytes), {16, 8}},
    {"hd_pair", {0, sizeof(hd_pair)}, {0, 8}},
    {"hd_pair.first", place(&hd_pair::first), {0, 4}},
    {"hd_pair.second", place(&hd_pair::second), {4, 4}},
    {"hd_status", {0, sizeof(hd_status)}, {0, 1024}},
    {"hd_status.size", place(&hd_status::size), {0, 4}},
    {"hd_status.code", place(&hd_status::code), {4, 4}},
    {"hd_status.text", place(&hd_status::text), {8, 1016}},
    {"hd_attr", {0, sizeof(hd_attr)}, {0, 56}},
    {"hd_attr.size", place(&hd_attr::size), {0, 4}},
    {"hd_attr.kind", place(&hd_attr::kind), {4, 4}},
    {"hd_attr.name", place(&hd_attr::name), {8, 8}},
    {"hd_attr.ints", place(&hd_attr::ints), {16, 8}},
    {"hd_attr.floats", place(&hd_attr::floats), {24, 8}},
    {"hd_attr.text", place(&hd_attr::text), {32, 8}},
    {"hd_attr.graph", place(&hd_attr::graph), {40, 8}},
    {"hd_attr.n", place(&hd_attr::n), {48, 4}},
    {"hd_attr.reserved", place(&hd_attr::reserved), {52, 4}},
    {"hd_value", {0, sizeof(hd_value)}, {0, 120}},
    {"hd_value.size", place(&hd_value::size), {0, 4}},
    {"hd_value.kind", place(&hd_value::kind), {4, 4}},
    {"hd_value.type", place(&hd_value::type), {8, 72}},
    {"hd_value.name", place(&hd_value::name), {80, 8}},
    {"hd_value.data", place(&hd_value::data), {88, 8}},
    {"hd_value.uid", place(&hd_value::uid), {96, 8}},
    {"hd_value.generation", place(&hd_value::generation), {104, 8}},
    {"hd_value.frozen", place(&hd_value::frozen), {112, 4}},
    {"hd_value.reserved", place(&hd_value::reserved), {116, 4}},
    {"hd_node", {0, sizeof(hd_node)}, {0, 64}},
    {"hd_node.size", place(&hd_node::size), {0, 4}},
    {"hd_node.version", place(&hd_node::version), {4, 4}},
    {"hd_node.op", place(&hd_node::op), {8, 8}},
    {"hd_node.name", place(&hd_node::name), {16, 8}},
    {"hd_node.in", place(&hd_node::in), {24, 8}},
    {"hd_node.out", place(&hd_node::out), {32, 8}},
    {"hd_node.n_in", place(&hd_node::n_in), {40, 4}},
    {"hd_node.n_out", place(&hd_node::n_out), {44, 4}},
    {"hd_node.attr", place(&hd_node::attr), {48, 8}},
    {"hd_node.n_attr", place(&hd_node::n_attr), {56, 4}},
    {"hd_node.reserved", place(&hd_node::reserved), {60, 4}},
    {"hd_graph", {0, sizeof(hd_graph)}, {0, 64}},
    {"hd_graph.size", place(&hd_graph::size), {0, 4}},
    {"hd_graph.n_value", place(&hd_graph::n_value), {4, 4}},
    {"hd_graph.value", place(&hd_graph::value), {8, 8}},
    {"hd_graph.node", place(&hd_graph::node), {16, 8}},
    {"hd_graph.n_node", place(&hd_graph::n_node), {24, 4}},
    {"hd_graph.n_update", place(&hd_graph::n_update), {28, 4}},
    {"hd_graph.update", place(&hd_graph::update), {32, 8}},
    {"hd_graph.input", place(&hd_graph::input), {40, 8}},
    {"hd_graph.output", place(&hd_graph::output), {48, 8}},
    {"hd_graph.n_input", place(&hd_graph::n_input), {56, 4}},
    {"hd_graph.n_output", place(&hd_graph::n_output), {60, 4}},
    {"hd_offer", {0, sizeof(hd_offer)}, {0, 256}},
    {"hd_offer.size", place(&hd_offer::size), {0, 4}},
    {"hd_offer.verdict", place(&hd_offer::verdict), {4, 4}},
    {"hd_offer.reason", place(&hd_offer::reason), {8, 248}},
    {"hd_program_info", {0, sizeof(hd_program_info)}, {0, 56}},
    {"hd_program_info.size", place(&hd_program_info::size), {0, 4}},
    {"hd_program_info.n_in_place", place(&hd_program_info::n_in_place), {4, 4}},
    {"hd_program_info.scratch_bytes", place(&hd_program_info::scratch_bytes), {8, 8}},
    {"hd_program_info.scratch_align", place(&hd_program_info::scratch_align), {16, 8}},
    {"hd_program_info.in_place", place(&hd_program_info::in_place), {24, 8}},
    {"hd_program_info.kernel", place(&hd_program_info::kernel), {32, 8}},
    {"hd_program_info.n_kernel", place(&hd_program_info::n_kernel), {40, 4}},
    {"hd_program_info.inline_launch", place(&hd_program_info::inline_launch), {44, 4}},
    {"hd_program_info.scratch_lower_bound", place(&hd_program_info::scratch_lower_bound), {48, 8}},
    {"hd_info", {0, sizeof(hd_info)}, {0, 56}},
    {"hd_info.size", place(&hd_info::size), {0, 4}},
    {"hd_info.clock", place(&hd_info::clock), {4, 4}},
    {"hd_info.name", place(&hd_info::name), {8, 8}},
    {"hd_info.description", place(&hd_info::description), {16, 8}},
    {"hd_info.memory_bytes", place(&hd_info::memory_bytes), {24, 8}},
    {"hd_info.alignment", place(&hd_info::alignment), {32, 8}},
    {"hd_info.dtypes", place(&hd_info::dtypes), {40, 8}},
    {"hd_info.flags", place(&hd_info::flags), {48, 8}},
    {"hd_host", {0, sizeof(hd_host)}, {0, 32}},
    {"hd_host.size", place(&hd_host::size), {0, 4}},
    {"hd_host.abi_major", place(&hd_host::abi_major), {4, 4}},
    {"hd_host.abi_minor", place(&hd_host::abi_minor), {8, 4}},
    {"hd_host.log", place(&hd_host::log), {16, 8}},
    {"hd_host.clock_ns", place(&hd_host::clock_ns), {24, 8}},
    {"hd_device_vtable", {0, sizeof(hd_device_vtable)}, {0, 152}},
    {"hd_device_vtable.size", place(&hd_device_vtable::size), {0, 4}},
    {"hd_device_vtable.info", place(&hd_device_vtable::info), {8, 8}},
    {"hd_device_vtable.alloc", place(&hd_device_vtable::alloc), {16, 8}},
    {"hd_device_vtable.free", place(&hd_device_vtable::free), {24, 8}},
    {"hd_device_vtable.stream", place(&hd_device_vtable::stream), {32, 8}},
    {"hd_device_vtable.release_stream", place(&hd_device_vtable::release_stream), {40, 8}},
    {"hd_device_vtable.copy", place(&hd_device_vtable::copy), {48, 8}},
    {"hd_device_vtable.offer", place(&hd_device_vtable::offer), {56, 8}},
    {"hd_device_vtable.compile", place(&hd_device_vtable::compile), {64, 8}},
    {"hd_device_vtable.release_program", place(&hd_device_vtable::release_program), {72, 8}},
    {"hd_device_vtable.describe", place(&hd_device_vtable::describe), {80, 8}},
    {"hd_device_vtable.bind", place(&hd_device_vtable::bind), {88, 8}},
    {"hd_device_vtable.release_binding", place(&hd_device_vtable::release_binding), {96, 8}},
    {"hd_device_vtable.rebind", place(&hd_device_vtable::rebind), {104, 8}},
    {"hd_device_vtable.launch", place(&hd_device_vtable::launch), {112, 8}},
    {"hd_device_vtable.wait", place(&hd_device_vtable::wait), {120, 8}},
    {"hd_device_vtable.poll", place(&hd_device_vtable::poll), {128, 8}},
    {"hd_device_vtable.close", place(&hd_device_vtable::close), {136, 8}},
    {"hd_device_vtable.extension", place(&hd_device_vtable::extension), {144, 8}},
    {"hd_simulated_v1", {0, sizeof(hd_simulated_v1)}, {0, 32}},
    {"hd_simulated_v1.size", place(&hd_simulated_v1::size), {0, 4}},
    {"hd_simulated_v1.reserved", place(&hd_simulated_v1::reserved), {4, 4}},
    {"hd_simulated_v1.program_picoseconds", place(&hd_simulated_v1::program_picoseconds), {8, 8}},
    {"hd_simulated_v1.program_report", place(&hd_simulated_v1::program_report), {16, 8}},
    {"hd_simulated_v1.program_trace", place(&hd_simulated_v1::program_trace), {24, 8}},
    {"hd_span_record", {0, sizeof(hd_span_record)}, {0, 24}},
    {"hd_span_record.size", place(&hd_span_record::size), {0, 4}},
    {"hd_span_record.node", place(&hd_span_record::node), {4, 4}},
    {"hd_span_record.begin_ns", place(&hd_span_record::begin_ns), {8, 8}},
    {"hd_span_record.end_ns", place(&hd_span_record::end_ns), {16, 8}},
    {"hd_spans_v1", {0, sizeof(hd_spans_v1)}, {0, 24}},
    {"hd_spans_v1.size", place(&hd_spans_v1::size), {0, 4}},
    {"hd_spans_v1.reserved", place(&hd_spans_v1::reserved), {4, 4}},
    {"hd_spans_v1.record", place(&hd_spans_v1::record), {8, 8}},
    {"hd_spans_v1.last", place(&hd_spans_v1::last), {16, 8}},
    {"hd_trim_v1", {0, sizeof(hd_trim_v1)}, {0, 24}},
    {"hd_trim_v1.size", place(&hd_trim_v1::size), {0, 4}},
    {"hd_trim_v1.reserved", place(&hd_trim_v1::reserved), {4, 4}},
    {"hd_trim_v1.trim", place(&hd_trim_v1::trim), {8, 8}},
    {"hd_trim_v1.cached_bytes", place(&hd_trim_v1::cached_bytes), {16, 8}},
    {"hd_plugin", {0, sizeof(hd_plugin)}, {0, 56}},
    {"hd_plugin.size", place(&hd_plugin::size), {0, 4}},
    {"hd_plugin.abi_major", place(&hd_plugin::abi_major), {4, 4}},
    {"hd_plugin.abi_minor", place(&hd_plugin::abi_minor), {8, 4}},
    {"hd_plugin.name", place(&hd_plugin::name), {16, 8}},
    {"hd_plugin.version", place(&hd_plugin::version), {24, 8}},
    {"hd_plugin.count", place(&hd_plugin::count), {32, 8}},
    {"hd_plugin.device_name", place(&hd_plugin::device_name), {40, 8}},
    {"hd_plugin.open", place(&hd_plugin::open), {48, 8}},
};

}  // namespace

TEST_CASE("Every struct of the contract has its golden layout") {
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(row.is == row.golden);
  }
}

TEST_CASE("A struct that grows ends with a field, not with padding in which a new field would hide") {
  std::string current;
  size_t size = 0, end = 0;
  const auto check = [&] {
    INFO(current);
    CHECK(end == size);
  };
  for (const Row& row : rows) {
    if (std::string_view(row.name).find('.') == std::string_view::npos) {
      check();
      current = row.name;
      size = row.is.bytes;
    } else {
      end = row.is.offset + row.is.bytes;
    }
  }
  check();
}

TEST_CASE("Structs that grow begin with their size; frozen ones do not grow") {
  CHECK(sizeof(hd_shape) == 72);
  CHECK(sizeof(hd_span) == 24);
  CHECK(sizeof(hd_pair) == 8);
  for (const Row& row : rows) {
    const std::string_view name(row.name);
    if (name.find('.') != std::string_view::npos || name == "hd_shape" || name == "hd_span" ||
        name == "hd_pair")
      continue;
    INFO(name);
    const Row& first = (&row)[1];
    CHECK(std::string_view(first.name) == std::string(name) + ".size");
    CHECK(first.is == Place{0, 4});
  }
}

TEST_CASE("Enumerators of the contract keep their numbers, and the C++ API has the same") {
  using heddle::DType;
  using heddle::ErrorCode;
  const auto same = [](auto api, int abi, int golden) {
    CHECK(static_cast<int>(api) == golden);
    CHECK(abi == golden);
  };
  same(DType::float64, HD_DTYPE_FLOAT64, 1);
  same(DType::float32, HD_DTYPE_FLOAT32, 2);
  same(DType::bfloat16, HD_DTYPE_BFLOAT16, 3);
  same(DType::float16, HD_DTYPE_FLOAT16, 4);
  same(DType::float8_e4m3, HD_DTYPE_FLOAT8_E4M3, 5);
  same(DType::float8_e5m2, HD_DTYPE_FLOAT8_E5M2, 6);
  same(DType::int8, HD_DTYPE_INT8, 7);
  same(DType::int16, HD_DTYPE_INT16, 8);
  same(DType::int32, HD_DTYPE_INT32, 9);
  same(DType::int64, HD_DTYPE_INT64, 10);
  same(DType::uint8, HD_DTYPE_UINT8, 11);
  same(DType::uint16, HD_DTYPE_UINT16, 12);
  same(DType::uint32, HD_DTYPE_UINT32, 13);
  same(DType::uint64, HD_DTYPE_UINT64, 14);
  same(DType::boolean, HD_DTYPE_BOOL, 15);
  same(0, HD_OK, 0);
  same(ErrorCode::invalid_argument, HD_ERROR_INVALID_ARGUMENT, 1);
  same(ErrorCode::shape_mismatch, HD_ERROR_SHAPE_MISMATCH, 2);
  same(ErrorCode::dtype_mismatch, HD_ERROR_DTYPE_MISMATCH, 3);
  same(ErrorCode::unsupported, HD_ERROR_UNSUPPORTED, 4);
  same(ErrorCode::not_found, HD_ERROR_NOT_FOUND, 5);
  same(ErrorCode::out_of_memory, HD_ERROR_OUT_OF_MEMORY, 6);
  same(ErrorCode::io, HD_ERROR_IO, 7);
  same(ErrorCode::corrupt, HD_ERROR_CORRUPT, 8);
  same(ErrorCode::device, HD_ERROR_DEVICE, 9);
  same(ErrorCode::poisoned, HD_ERROR_POISONED, 10);
  same(ErrorCode::cancelled, HD_ERROR_CANCELLED, 11);
  same(ErrorCode::internal, HD_ERROR_INTERNAL, 12);
  CHECK(std::vector<int>{HD_VALUE_INPUT, HD_VALUE_OUTPUT, HD_VALUE_INTERMEDIATE, HD_VALUE_CONSTANT,
                         HD_VALUE_VARIABLE} == std::vector<int>{1, 2, 3, 4, 5});
  CHECK(std::vector<int>{HD_ATTR_INT, HD_ATTR_FLOAT, HD_ATTR_STRING, HD_ATTR_INTS, HD_ATTR_FLOATS,
                         HD_ATTR_GRAPH} == std::vector<int>{1, 2, 3, 4, 5, 6});
  CHECK(std::vector<int>{HD_OFFER_NO, HD_OFFER_YES, HD_CLOCK_WALL, HD_CLOCK_SIMULATED, HD_INFO_HOST_MEMORY} ==
        std::vector<int>{0, 1, 1, 2, 1});
  CHECK(HD_ABI_MAJOR == 1);
  CHECK(HD_MAX_RANK == 8);
  CHECK(heddle::max_rank == HD_MAX_RANK);
}
