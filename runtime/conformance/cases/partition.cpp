// Several nodes compiled together: intermediates, values read twice, results that are also intermediates,
// chains of views, constants, and a graph that returns what it was given. The fills are whole numbers, so
// that every device agrees exactly.
#include "conformance/cases/families.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/matmul.h"
#include "heddle/ops/pointwise.h"
#include "heddle/ops/reduce.h"

namespace heddle::conformance {
namespace {

class Builder {
 public:
  explicit Builder(const std::string& seed, DType dtype) : seed_(seed), dtype_(dtype) {
    problem_.exact = true;
  }

  Value input(const Shape& shape) {
    const std::string name = "x" + std::to_string(problem_.inputs.size());
    problem_.inputs.push_back(tensor(shape, name));
    return problem_.graph.input(name, dtype_, shape);
  }
  Value variable(const Shape& shape) {
    const std::string name = "v" + std::to_string(problem_.variables.size());
    problem_.variables.push_back(tensor(shape, name));
    return problem_.graph.variable(name, dtype_, shape);
  }
  void update(Value variable, Value v) {
    problem_.graph.update(variable, v);
    output(v);
  }
  Value constant(const Shape& shape) { return problem_.graph.constant(tensor(shape, "c"), "c"); }
  void output(Value v) { problem_.graph.output("y" + std::to_string(problem_.graph.outputs().size()), v); }
  Problem finish() { return std::move(problem_); }

 private:
  Tensor tensor(const Shape& shape, const std::string& name) {
    Tensor t(dtype_, shape);
    Random random(seed_ + "#" + name);
    fill::integers(-1, 1)(t, random);
    return t;
  }
  std::string seed_;
  DType dtype_;
  Problem problem_;
};

using Build = void (*)(Builder&);

struct Partition {
  const char* name;
  Build build;
};

const Partition partitions[] = {
    {"chain",
     [](Builder& b) {
       Value x = b.input({5, 127});
       for (int i = 0; i < 6; ++i) x = i % 2 ? relu(x) : x + 1.0;
       b.output(x);
     }},
    {"diamond",
     [](Builder& b) {
       const Value x = relu(b.input({7, 33}));
       const Value left = x + 1.0, right = x * 2.0;
       b.output(left - right);
       b.output(x);
     }},
    {"perceptron",
     [](Builder& b) {
       const Value x = b.input({9, 13}), w1 = b.input({13, 17}), w2 = b.constant({17, 5}),
                   bias = b.input({17});
       b.output(matmul(relu(matmul(x, w1) + bias), w2));
     }},
    {"views",
     [](Builder& b) {
       const Value x = b.input({4, 6, 5});
       const Value t = transpose(reshape(x, Dims{24, 5}), {1, 0});
       b.output(reshape(t + 1.0, Dims{5, 4, 6}));
       b.output(reshape(t, Dims{120}));
     }},
    {"returned-and-read",
     [](Builder& b) {
       const Value x = b.input({3, 8}), y = x + 2.0;
       b.output(y);
       b.output(sum(y, {1}));
       b.output(reshape(y, Dims{24}));
     }},
    {"wide",
     [](Builder& b) {
       // Many values alive at once, read in another order than they were made.
       const Value x = b.input({33});
       std::vector<Value> made;
       for (int i = 0; i < 12; ++i) made.push_back(x * static_cast<double>(i % 3 - 1));
       Value total = made[11];
       for (int i = 0; i < 11; ++i) total = total + made[static_cast<size_t>((i * 5) % 11)];
       b.output(total);
     }},
    {"updates",
     [](Builder& b) {
       // Both variables are read before they change, one by two nodes and one only by its own update.
       const Value w = b.variable({13, 5}), count = b.variable({1}), x = b.input({9, 13});
       b.output(matmul(x, w));
       b.update(w, w - b.input({13, 5}) * 0.5);
       b.update(count, count + 1.0);
     }},
    {"updates-crossed",
     [](Builder& b) {
       // Each variable takes a value made of the other: neither may be overwritten before both are read.
       const Value v = b.variable({7, 9}), w = b.variable({7, 9});
       b.update(v, w + 1.0);
       b.update(w, v * 2.0);
     }},
    {"same-operand-twice",
     [](Builder& b) {
       const Value x = b.input({9, 9});
       b.output(matmul(x, x));
       b.output(x * x);
     }},
};

}  // namespace

void add_partition_cases(CaseList& list) {
  for (const DType dtype : compute_floats)
    for (const Partition& p : partitions) {
      const std::string seed = std::string(p.name) + "/" + short_name(dtype);
      list.add("partition", {p.name, short_name(dtype)}, [seed, dtype, build = p.build] {
        Builder b(seed, dtype);
        build(b);
        return b.finish();
      });
    }
}

}  // namespace heddle::conformance
