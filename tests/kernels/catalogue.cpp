// What every schema of the catalogue promises.
#include "kernels/catalogue.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "ir/graph_data.h"
#include "ir/scalar_program.h"
#include "kernels/document.h"
#include "tests/catch.h"

namespace heddle::test {
namespace {

TEST_CASE("ops have one name each, by which they are found") {
  std::set<std::string> names;
  for (const OpSchema* op : all_ops()) {
    INFO(op->name);
    CHECK(names.insert(op->name).second);
    CHECK(find_op(op->name) == op);
    CHECK(std::string(op->name).find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string::npos);
  }
  CHECK(find_op("no_such_op") == nullptr);
  CHECK(find_op("") == nullptr);
}

TEST_CASE("every op has its rules and says why it has no gradient") {
  for (const OpSchema* op : all_ops()) {
    INFO(op->name);
    CHECK(op->infer != nullptr);
    CHECK(op->cost != nullptr);
    CHECK(op->reference != nullptr);
    CHECK((op->gradient != nullptr || std::string(op->no_gradient) != ""));
    CHECK(std::string(op->family) != "");
    CHECK(std::string(op->summary) != "");
    CHECK_FALSE(op->outputs.empty());
  }
}

TEST_CASE("every op documents its operands and attributes, with defaults of their kind") {
  const std::set<std::string> kinds = {"int",  "float", "string", "ints",   "floats",
                                       "dims", "dtype", "bool",   "program"};
  for (const OpSchema* op : all_ops()) {
    INFO(op->name);
    std::set<std::string> names;
    for (const OperandDoc& d : op->inputs) {
      CHECK(names.insert(d.name).second);
      CHECK(std::string(d.doc) != "");
    }
    for (const OperandDoc& d : op->outputs) CHECK(std::string(d.doc) != "");
    OpSchema defaults = *op;
    std::erase_if(defaults.attributes, [](const AttributeDoc& a) { return a.fallback == nullptr; });
    const Attributes parsed = ir::complete_attributes(defaults, {});
    for (const AttributeDoc& a : op->attributes) {
      INFO(a.name);
      CHECK(kinds.count(a.kind) == 1);
      CHECK(std::string(a.doc) != "");
      if (a.fallback != nullptr) CHECK(std::string(attribute_kind_name(parsed.value(a.name))) == a.kind);
    }
  }
}

TEST_CASE("the families come in order") {
  const OpList ops = all_ops();
  CHECK(std::is_sorted(ops.begin(), ops.end(), [](const OpSchema* a, const OpSchema* b) {
    return std::string_view(a->family) < std::string_view(b->family);
  }));
}

TEST_CASE("the core is what the design says, everything else has parts") {
  std::set<std::string> core;
  for (const OpSchema* op : all_ops())
    if (!op->is_composite()) core.insert(op->name);
  CHECK(core ==
        std::set<std::string>{"matmul",    "pointwise", "reduce",  "argmax",        "sort",
                              "topk",      "cumsum",    "reshape", "transpose",     "broadcast",
                              "slice",     "concat",    "pad",     "dynamic_slice", "dynamic_update_slice",
                              "gather",    "scatter",   "iota",    "random_bits",   "convert",
                              "contiguous"});
}

TEST_CASE("docs/ops.md is what the schemas say") {
  const std::string text = ops_markdown();
  for (const OpSchema* op : all_ops())
    CHECK(text.find(std::string("### ") + op->name + "\n") != std::string::npos);
  for (const ScalarOpInfo& s : all_scalar_ops())
    CHECK(text.find(std::string("| `") + s.name + "` |") != std::string::npos);
  std::ifstream file(HEDDLE_SOURCE_DIR "/docs/ops.md");
  std::ostringstream stored;
  stored << file.rdbuf();
  INFO("write it anew: heddle ops --markdown > docs/ops.md");
  CHECK((stored.str() == text));  // not printed: it is long
}

}  // namespace
}  // namespace heddle::test
