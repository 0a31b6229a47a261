// One step over many tensors at once: one, several of odd sizes, and hundreds of small ones.
#include "conformance/cases/families.h"

namespace heddle::conformance {
namespace {

struct Tensors {
  const char* name;
  std::vector<Shape> shapes;
};

const std::vector<Tensors>& lists() {
  static const std::vector<Tensors> all = [] {
    std::vector<Tensors> made = {{"one", {{129}}},
                                 {"scalar", {{}}},
                                 {"odd", {{1}, {127, 3}, {13}, {2, 3, 5}, {129, 128}}},
                                 {"empty", {{0, 3}, {7}}},
                                 {"many", {}}};
    for (int64_t i = 0; i < 200; ++i) made.back().shapes.push_back({1 + i % 7});
    return made;
  }();
  return all;
}

// Dtypes of parameters and gradients; the moments are wide.
struct Mix {
  DType parameter, gradient;
};
const Mix mixes[] = {{f32, f32}, {f64, f64}, {bf16, bf16}, {f16, f16}, {f32, bf16}, {bf16, f32}};

std::string text(const Mix& m) {
  return m.parameter == m.gradient ? short_name(m.parameter)
                                   : std::string(short_name(m.parameter)) + "+" + short_name(m.gradient);
}

void append(NodeCase& node, const Tensors& tensors, DType dtype, const Fill& fill) {
  for (const Shape& s : tensors.shapes) node.operands.push_back({dtype, s, fill});
}

Operand rate(double value) { return {f32, {}, fill::constant(value)}; }

void add_sgd(CaseList& list, const Tensors& tensors, const Mix& mix) {
  struct Settings {
    const char* name;
    double momentum, decay;
    bool nesterov;
  };
  for (const Settings& s : {Settings{"plain", 0, 0, false}, Settings{"decay", 0, 0.1, false},
                            Settings{"momentum", 0.9, 0.01, false}, Settings{"nesterov", 0.9, 0, true}}) {
    NodeCase node{.op = "sgd",
                  .operands = {rate(0.125)},
                  .attributes = {{"momentum", s.momentum},
                                 {"weight_decay", s.decay},
                                 {"nesterov", s.nesterov},
                                 {"count", static_cast<int64_t>(tensors.shapes.size())}}};
    append(node, tensors, mix.parameter, fill::uniform(-1, 1));
    append(node, tensors, mix.gradient, fill::uniform(-1, 1));
    if (s.momentum != 0) append(node, tensors, wide(mix.parameter), fill::uniform(-1, 1));
    list.add(std::move(node), {text(mix), tensors.name, s.name});
  }
}

void add_adam(CaseList& list, const Tensors& tensors, const Mix& mix) {
  for (const char* op : {"adam", "adamw"})
    for (const double step : {1.0, 1000.0})
      for (const double decay : {0.0, 0.1}) {
        NodeCase node{.op = op,
                      .operands = {rate(0.01), rate(step)},
                      .attributes = {{"beta1", 0.9},
                                     {"beta2", 0.999},
                                     {"epsilon", 1e-8},
                                     {"weight_decay", decay},
                                     {"count", static_cast<int64_t>(tensors.shapes.size())}}};
        append(node, tensors, mix.parameter, fill::uniform(-1, 1));
        append(node, tensors, mix.gradient, fill::uniform(-1, 1));
        append(node, tensors, wide(mix.parameter), fill::uniform(-0.1, 0.1));
        append(node, tensors, wide(mix.parameter), fill::uniform(1e-4, 0.1));
        list.add(std::move(node), {text(mix), tensors.name, numbered("step", static_cast<int64_t>(step)),
                                   decay != 0 ? "decay" : "plain"});
      }
}

void add_norms(CaseList& list, const Tensors& tensors, DType dtype) {
  NodeCase norm{.op = "global_norm", .operands = {}};
  append(norm, tensors, dtype, fill::uniform(-1, 1));
  NodeCase clip = norm, keep = norm;
  list.add(std::move(norm), {short_name(dtype), tensors.name});
  clip.op = keep.op = "clip_by_global_norm";
  clip.attributes = {{"max_norm", 0.25}};
  keep.attributes = {{"max_norm", 1e6}};
  list.add(std::move(clip), {short_name(dtype), tensors.name, "clips"});
  list.add(std::move(keep), {short_name(dtype), tensors.name, "keeps"});
}

}  // namespace

void add_optimizer_cases(CaseList& list) {
  for (const Tensors& tensors : lists()) {
    for (const Mix& mix : mixes) {
      add_sgd(list, tensors, mix);
      add_adam(list, tensors, mix);
    }
    for (const DType dtype : compute_floats) add_norms(list, tensors, dtype);
  }
  for (const DType dtype : compute_floats)
    list.add({.op = "clip_by_global_norm",
              .operands = {{dtype, {7}, fill::constant(0)}, {dtype, {3, 5}, fill::constant(0)}},
              .attributes = {{"max_norm", 1.0}}},
             {short_name(dtype), "zeros"});
}

}  // namespace heddle::conformance
