// What crosses the device contract comes back as it was, and what is malformed is refused, not trusted.
#include "ir/abi_codec.h"

#include <array>

#include "heddle/error.h"
#include "ir/graph_data.h"
#include "tests/expect_error.h"
#include "tests/ir/random_program.h"

using namespace heddle;
using namespace heddle::test;

namespace {

const OpSchema& every_kind() {
  static const OpSchema op = {.name = "every_kind",
                              .family = "test",
                              .summary = "",
                              .inputs = {},
                              .outputs = {},
                              .attributes = {{"b", "bool", nullptr, ""},
                                             {"i", "int", nullptr, ""},
                                             {"f", "float", nullptr, ""},
                                             {"s", "string", nullptr, ""},
                                             {"d", "dtype", nullptr, ""},
                                             {"n", "ints", nullptr, ""},
                                             {"r", "floats", nullptr, ""},
                                             {"z", "dims", nullptr, ""},
                                             {"p", "program", nullptr, ""},
                                             {"o", "int", "7", ""}}};
  return op;
}

ScalarProgram small_program() {
  ScalarProgram p;
  const uint32_t x = p.input(f32), n = p.input(u64);
  const uint32_t scaled = p.add(ScalarOp::mul, x, p.constant(0.5, f32));
  p.outputs = {p.cast(scaled, bf16), x, n};
  return p;
}

Attributes some_attributes() {
  return {{"b", true},
          {"i", int64_t{-5}},
          {"f", 0.25},
          {"s", std::string("text")},
          {"d", bf16},
          {"n", std::vector<int64_t>{3, -1}},
          {"r", std::vector<double>{}},
          {"z", Dims{2, 3}},
          {"p", std::make_shared<const ScalarProgram>(small_program())},
          {"o", int64_t{8}}};
}

hd_node node_of(const EncodedAttributes& encoded) {
  hd_node node{};
  node.size = sizeof(node);
  node.op = "every_kind";
  node.name = "n0";
  node.attr = encoded.data();
  node.n_attr = encoded.size();
  return node;
}

}  // namespace

TEST_CASE("attributes of every kind come back, also after the encoding moved") {
  EncodedAttributes encoded(some_attributes());
  const EncodedAttributes moved = std::move(encoded);
  CHECK(decode_attributes(node_of(moved), every_kind()) == some_attributes());
}

TEST_CASE("defaults may be left out, nothing else") {
  Attributes a = some_attributes();
  a.erase("o");
  const EncodedAttributes without_default(a);
  CHECK(decode_attributes(node_of(without_default), every_kind()).get<int64_t>("o") == 7);
  a.erase("f");
  const EncodedAttributes without_required(a);
  expect_error(ErrorCode::corrupt, "every_kind 'n0': attribute 'f' (float) is missing",
               [&] { decode_attributes(node_of(without_required), every_kind()); });
  a = some_attributes();
  a.set("unknown", int64_t{1});
  const EncodedAttributes with_unknown(a);
  expect_error(ErrorCode::corrupt, "unknown",
               [&] { decode_attributes(node_of(with_unknown), every_kind()); });
}

TEST_CASE("malformed attributes are refused") {
  const EncodedAttributes encoded(some_attributes());
  const auto refuses = [&](const char* name, const char* part, const std::function<void(hd_attr&)>& spoil) {
    std::vector<hd_attr> attrs;
    std::vector<const hd_attr*> pointers;
    for (uint32_t i = 0; i < encoded.size(); ++i) attrs.push_back(*encoded.data()[i]);
    for (hd_attr& a : attrs) {
      if (std::string_view(a.name) == name) spoil(a);
      pointers.push_back(&a);
    }
    hd_node node = node_of(encoded);
    node.attr = pointers.data();
    expect_error(ErrorCode::corrupt, part, [&] { decode_attributes(node, every_kind()); });
  };
  for (const char* name : {"b", "i", "f", "s", "d", "n", "r", "z", "p"}) {
    CAPTURE(name);
    refuses(name, "got kind 77", [](hd_attr& a) { a.kind = 77; });
  }
  for (const char* name : {"b", "i", "f", "s", "d", "n", "z", "p"}) {
    CAPTURE(name);
    refuses(name, "null", [](hd_attr& a) {
      a.ints = nullptr;
      a.floats = nullptr;
      a.text = nullptr;
      a.graph = nullptr;
    });
  }
  refuses("i", "has no name", [](hd_attr& a) { a.name = nullptr; });
  static const int64_t bad_dtype = 99, negative[] = {2, -3}, many[9] = {};
  refuses("d", "no dtype number 99", [](hd_attr& a) { a.ints = &bad_dtype; });
  refuses("z", "-3 is negative", [](hd_attr& a) { a.ints = negative; });
  refuses("z", "9 sizes are too many", [](hd_attr& a) {
    a.ints = many;
    a.n = 9;
  });
  hd_node node = node_of(encoded);
  node.attr = nullptr;
  expect_error(ErrorCode::corrupt, "null", [&] { decode_attributes(node, every_kind()); });
  node = node_of(encoded);
  node.size = offsetof(hd_node, n_attr);  // an older sender without attributes
  expect_error(ErrorCode::corrupt, "is missing", [&] { decode_attributes(node, every_kind()); });
}

TEST_CASE("random programs come back computing the same") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const std::vector<DType> inputs = {f32, bf16, i32, boolean, u64, f64};
  for (int round = 0; round < 200; ++round) {
    const ScalarProgram p = random_program(random, inputs, 20, 3);
    const EncodedProgram encoded(p);
    const ScalarProgram back = decode_program(encoded.graph());
    CAPTURE(to_string(p), to_string(back));
    CHECK(back.inputs == p.inputs);
    for (int i = 0; i < 3; ++i) {
      const auto in = random_slots(random, p);
      CHECK(same(p, evaluate(p, in), evaluate(back, in)));
    }
  }
}

TEST_CASE("constants keep every bit") {
  ScalarProgram p;
  p.steps.push_back({ScalarOp::constant, u64, {0, 0, 0}, 0, -1});
  p.steps.push_back({ScalarOp::constant, i64, {0, 0, 0}, 0, std::numeric_limits<int64_t>::min() + 1});
  p.outputs = {0,
               1,
               p.constant(-0.0, f32),
               p.constant(0.1, f16),
               p.constant(1, boolean),
               p.constant(-7, i8),
               p.constant(1e300, f64)};
  const EncodedProgram encoded(p);
  const ScalarProgram back = decode_program(encoded.graph());
  CHECK(back == p);
  CHECK(std::signbit(back.steps[2].value));
}

TEST_CASE("the encoding is the contract's: step names, rank 0, constants with bytes, cast with its dtype") {
  const EncodedProgram encoded(small_program());
  const hd_graph& g = encoded.graph();
  REQUIRE(g.n_node == 2);  // constants are values, not nodes
  CHECK(std::string(g.node[0]->op) == "mul");
  CHECK(std::string(g.node[1]->op) == "cast");
  REQUIRE(g.node[1]->n_attr == 1);
  CHECK(std::string(g.node[1]->attr[0]->name) == "dtype");
  CHECK(g.node[1]->attr[0]->ints[0] == HD_DTYPE_BFLOAT16);
  CHECK(g.n_input == 2);
  CHECK(g.n_output == 3);
  int constants = 0;
  for (uint32_t v = 0; v < g.n_value; ++v) {
    CHECK(g.value[v]->type.rank == 0);
    CHECK(g.value[v]->size == sizeof(hd_value));
    if (g.value[v]->kind != HD_VALUE_CONSTANT) continue;
    ++constants;
    CHECK(*static_cast<const float*>(g.value[v]->data) == 0.5f);
  }
  CHECK(constants == 1);
}

TEST_CASE("malformed programs are refused") {
  const EncodedProgram encoded(small_program());
  const auto refuses =
      [&](const char* part,
          const std::function<void(hd_graph&, std::vector<hd_value>&, std::vector<hd_node>&)>& spoil) {
        hd_graph g = encoded.graph();
        std::vector<hd_value> values;
        std::vector<hd_node> nodes;
        for (uint32_t i = 0; i < g.n_value; ++i) values.push_back(*g.value[i]);
        for (uint32_t i = 0; i < g.n_node; ++i) nodes.push_back(*g.node[i]);
        std::vector<const hd_value*> value_pointers;
        std::vector<const hd_node*> node_pointers;
        for (const hd_value& v : values) value_pointers.push_back(&v);
        for (const hd_node& n : nodes) node_pointers.push_back(&n);
        g.value = value_pointers.data();
        g.node = node_pointers.data();
        spoil(g, values, nodes);
        expect_error(ErrorCode::corrupt, part, [&] { decode_program(g); });
      };
  static const uint32_t far_away[] = {99, 99, 99}, itself[] = {4, 4}, again[] = {0, 0};
  refuses("unknown step 'nonsense'", [](hd_graph&, auto&, auto& n) { n[0].op = "nonsense"; });
  refuses("unknown step 'constant'", [](hd_graph&, auto&, auto& n) { n[0].op = "constant"; });
  refuses("no name", [](hd_graph&, auto&, auto& n) { n[0].op = nullptr; });
  refuses("has 1 operands", [](hd_graph&, auto&, auto& n) { n[0].n_in = 1; });
  refuses("3 results", [](hd_graph&, auto&, auto& n) { n[0].n_out = 3; });
  refuses("names value 99", [](hd_graph&, auto&, auto& n) { n[0].in = far_away; });
  refuses("names value 99", [](hd_graph&, auto&, auto& n) { n[0].out = far_away; });
  refuses("names value 99", [](hd_graph& g, auto&, auto&) { g.output = far_away; });
  refuses("names value 99", [](hd_graph& g, auto&, auto&) { g.input = far_away; });
  refuses("null", [](hd_graph& g, auto&, auto&) { g.input = nullptr; });
  refuses("null", [](hd_graph& g, auto&, auto&) { g.node = nullptr; });
  refuses("null", [](hd_graph& g, auto&, auto&) { g.value = nullptr; });
  refuses("null", [](hd_graph&, auto&, auto& n) { n[0].in = nullptr; });
  refuses("read before it is made", [](hd_graph&, auto&, auto& n) { n[0].in = itself; });
  refuses("made twice", [](hd_graph& g, auto&, auto&) { g.input = again; });
  refuses("not rank 0", [](hd_graph&, auto& v, auto&) { v[0].type.rank = 1; });
  refuses("no dtype number 0", [](hd_graph&, auto& v, auto&) { v[0].type.dtype = 0; });
  refuses("no dtype number 50", [](hd_graph&, auto& v, auto&) { v[3].type.dtype = 50; });
  refuses("has no data", [](hd_graph&, auto& v, auto&) { v[2].data = nullptr; });
  refuses("computes float32", [](hd_graph&, auto& v, auto&) { v[3].type.dtype = HD_DTYPE_INT8; });
}
