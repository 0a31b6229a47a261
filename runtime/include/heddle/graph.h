// Graphs: what is computed, on no device in particular. Build one with the functions of heddle/ops/*.h:
//
//   heddle::Graph g;
//   auto x = g.input("x", heddle::f32, {"batch", 784});
//   auto w = g.variable("w", heddle::f32, {784, 10}, heddle::init::normal(0.02));
//   g.output("p", heddle::softmax(heddle::matmul(x, w)));
//
// A Graph is a handle: copies name the same graph; clone() makes another. Every call checks dtypes and shapes
// at once and throws heddle::Error naming the op and the operands. Threads: one at a time per graph.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "heddle/attributes.h"
#include "heddle/dtype.h"
#include "heddle/shape.h"
#include "heddle/tensor.h"

namespace heddle {

struct OpSchema;
class Graph;
namespace ir {
struct GraphData;
}

using ValueId = uint32_t;
using NodeId = uint32_t;
inline constexpr ValueId no_value = 0xffffffffu;

// One SSA value of a graph: the result of a node, an input, a constant or a variable's contents at the start
// of a run. A small handle, valid while its Graph lives. A default-made Value is "no value" (a missing
// optional operand).
class Value {
 public:
  Value() = default;
  Value(ir::GraphData* graph, ValueId id) : graph_(graph), id_(id) {}

  explicit operator bool() const { return graph_ != nullptr; }
  DType dtype() const;
  const Dims& dims() const;
  int rank() const { return dims().rank(); }
  const std::string& name() const;
  ValueId id() const { return id_; }
  Graph graph() const;
  bool operator==(const Value&) const = default;

 private:
  ir::GraphData* graph_ = nullptr;
  ValueId id_ = no_value;
};

enum class ValueKind : uint8_t { input, constant, variable, result };

struct ValueInfo {
  ValueKind kind = ValueKind::result;
  DType dtype = DType::float32;
  Dims dims;
  std::string name;     // inputs and variables: unique; results: may be empty
  NodeId producer = 0;  // result: the node and which of its outputs
  uint32_t output_index = 0;
  Tensor constant;        // constant: its contents
  uint32_t variable = 0;  // variable: index into Graph::variables()
};

struct Node {
  const OpSchema* op = nullptr;
  std::string name;             // "layer0/qkv.matmul"; unique in the graph
  std::vector<ValueId> inputs;  // no_value for a missing optional operand
  std::vector<ValueId> outputs;
  Attributes attributes;
  std::string device;  // pin: run on this device only; empty: wherever it is placed
};

// How a variable starts. The draw depends on the variable's name and the seed alone (Philox), so that it is
// the same on every device and in any order.
struct Initializer {
  enum class Kind : uint8_t { constant, normal, uniform, tensor };
  Kind kind = Kind::constant;
  double a = 0, b = 0;  // constant: a; normal: mean a, standard deviation b; uniform: [a, b)
  Tensor values;
};
namespace init {
Initializer zeros();
Initializer constant(double value);
Initializer normal(double standard_deviation, double mean = 0);
Initializer uniform(double low, double high);
Initializer tensor(Tensor values);
}  // namespace init
// The contents `initializer` gives variable `name` under `seed`.
Tensor initial_value(const Initializer& initializer, const std::string& name, DType dtype, const Shape& shape,
                     uint64_t seed);

struct VariableInfo {
  std::string name;
  DType dtype;
  Shape shape;
  Initializer initializer;
  ValueId value;  // its contents at the start of a run
};

struct NamedValue {
  std::string name;
  ValueId value;
};

// At the end of a run, `variable` (index into variables()) takes the contents of `value`.
struct Update {
  uint32_t variable;
  ValueId value;
};

class Graph {
 public:
  Graph();

  // A value given to every run. Dims may be named; the same name means the same size everywhere in the graph.
  Value input(const std::string& name, DType dtype, const Dims& dims);
  Value constant(Tensor contents, const std::string& name = "");
  // Rank 0.
  Value scalar(double value, DType dtype = DType::float32);
  // State that outlives runs and is shared, by name, between the sessions that use one `Variables`.
  // Declaring the same name again returns the same Value and throws unless dtype and shape agree. Throws for
  // an initializer that does not fit: a tensor of another type, random values for a dtype that is no float.
  Value variable(const std::string& name, DType dtype, const Shape& shape,
                 const Initializer& initializer = {});
  // All reads of a variable in a run see its value at the start; all updates commit together at the end.
  // One update per variable.
  void update(Value variable, Value value);
  // Names a result of the run.
  void output(const std::string& name, Value value);

  // Adds a node of any op: `inputs` in the schema's order. The functions of heddle/ops/ call this.
  std::vector<Value> add(const OpSchema& op, std::span<const Value> inputs, const Attributes& attributes = {},
                         const std::string& name = "");
  // Nodes added while the returned object lives are named "prefix/...": `auto s = g.scope("layer0");`
  class Scope {
   public:
    Scope(ir::GraphData* graph, size_t length) : graph_(graph), length_(length) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope();

   private:
    ir::GraphData* graph_;
    size_t length_;
  };
  [[nodiscard]] Scope scope(const std::string& prefix);
  // Nodes added later are pinned to `device` ("" ends it): a device as a session was given it
  // ("cpu:threads=1"), or its name ("cpu") when only one device of the session has that name. A session that
  // has no such device, or several, throws when it plans.
  void pin(const std::string& device);

  size_t node_count() const;
  size_t value_count() const;
  const Node& node(NodeId id) const;
  const ValueInfo& info(ValueId id) const;
  Value value(ValueId id) const { return Value(data_.get(), id); }
  const std::vector<ValueId>& inputs() const;
  const std::vector<VariableInfo>& variables() const;
  const std::vector<NamedValue>& outputs() const;
  const std::vector<Update>& updates() const;
  // Every name used in the dims of the inputs, with its range.
  std::map<std::string, DimRange> dim_names() const;

  Graph clone() const;
  // The same graph with numbers for names. Throws not_found for a name without a number, invalid_argument for
  // a number outside the name's range.
  Graph bind(const DimBinding& binding) const;
  // Readable text, one node a line.
  std::string to_string() const;

  ir::GraphData* data() const { return data_.get(); }
  explicit Graph(std::shared_ptr<ir::GraphData> data) : data_(std::move(data)) {}

 private:
  std::shared_ptr<ir::GraphData> data_;
};

}  // namespace heddle
