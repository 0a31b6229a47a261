#include "heddle/optimizer.h"

#include <algorithm>
#include <map>

#include "heddle/autodiff.h"
#include "heddle/error.h"
#include "heddle/ops/convert.h"
#include "heddle/ops/optimizer.h"
#include "kernels/formula.h"
#include "kernels/type_rules.h"

namespace heddle {
namespace {

using kernels::formula;
using kernels::Scalar;
using kernels::Scalars;

// A variable that is trained.
struct Parameter {
  std::string name;
  Value variable;
  Value weights;  // what is stepped: the variable, or its float32 master
  Value master;   // the variable "<name>.master", or no value
  Value gradient;
  double weight_decay = 0;
  double learning_rate_scale = 1;
  Value stepped;  // the weights after the step
  struct State {
    Value variable, stepped;
  };
  std::vector<State> states;
  Value grad_sum, new_grad_sum;  // when gradients accumulate
};

// Which values of the graph the loss is computed from.
std::vector<bool> needed_by(Value loss) {
  const Graph graph = loss.graph();
  std::vector<bool> needed(graph.value_count());
  needed[loss.id()] = true;
  for (NodeId id = static_cast<NodeId>(graph.node_count()); id-- > 0;) {
    const Node& node = graph.node(id);
    if (std::none_of(node.outputs.begin(), node.outputs.end(), [&](ValueId v) { return needed[v]; }))
      continue;
    for (const ValueId v : node.inputs)
      if (v != no_value) needed[v] = true;
  }
  return needed;
}

std::vector<Parameter> trained_parameters(Value loss, const MinimizeOptions& options) {
  const Graph graph = loss.graph();
  const std::vector<bool> needed = needed_by(loss);
  std::vector<bool> updated(graph.variables().size());
  for (const Update& u : graph.updates()) updated[u.variable] = true;
  std::vector<Value> variables;
  for (size_t i = 0; i < graph.variables().size(); ++i) {
    const VariableInfo& v = graph.variables()[i];
    if (!is_float(v.dtype) || !needed[v.value] || updated[i]) continue;
    if (options.frozen && options.frozen(v.name)) continue;
    variables.push_back(graph.value(v.value));
  }
  if (variables.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "minimize: there is nothing to train: the loss depends on no float variable that is neither "
                "frozen nor updated already");
  }
  const std::vector<Value> grads = gradients(loss, variables);
  std::vector<Parameter> parameters(variables.size());
  for (size_t i = 0; i < variables.size(); ++i) {
    parameters[i].name = variables[i].name();
    parameters[i].variable = parameters[i].weights = variables[i];
    parameters[i].gradient = grads[i];
  }
  return parameters;
}

void apply_groups(std::vector<Parameter>& parameters, double weight_decay,
                  const std::vector<ParameterGroup>& groups) {
  for (Parameter& p : parameters) {
    p.weight_decay = weight_decay;
    const auto group = std::find_if(groups.begin(), groups.end(),
                                    [&](const ParameterGroup& g) { return g.matches && g.matches(p.name); });
    if (group == groups.end()) continue;
    p.weight_decay = group->weight_decay.value_or(weight_decay);
    p.learning_rate_scale = group->learning_rate_scale;
  }
}

// `weights` of narrow parameters become float32. `no_step_yet` is bool [].
void use_masters(std::vector<Parameter>& parameters, Value no_step_yet) {
  for (Parameter& p : parameters) {
    if (p.variable.dtype() == DType::float32 || p.variable.dtype() == DType::float64) continue;
    Graph graph = p.variable.graph();
    p.master = graph.variable(p.name + ".master", DType::float32, p.variable.dims().shape(), init::zeros());
    p.weights = formula({no_step_yet, p.variable, p.master}, DType::float32,
                        [](const Scalars& in) { return select(in[0], in[1], in[2]); });
  }
}

// Adds this run's share to the sums; the gradients become the sums so far.
void accumulate_gradients(std::vector<Parameter>& parameters, int64_t runs) {
  for (Parameter& p : parameters) {
    const DType sums = accumulation_dtype(p.gradient.dtype());
    p.grad_sum =
        p.variable.graph().variable(p.name + ".grad_sum", sums, p.variable.dims().shape(), init::zeros());
    p.gradient = p.new_grad_sum = formula({p.grad_sum, p.gradient}, sums, [&](const Scalars& in) {
      return in[0] + in[1] * (1 / static_cast<double>(runs));
    });
  }
}

// One optimizer node over `group`: sets `stepped` and `states`.
class GroupStep {
 public:
  GroupStep(Value learning_rate, Value step, std::vector<Parameter*> group)
      : learning_rate_(learning_rate), step_(step), group_(std::move(group)) {
    for (Parameter* p : group_) {
      weights_.push_back(p->weights);
      gradients_.push_back(p->gradient);
    }
  }

  void operator()(const Sgd& o) {
    std::vector<Value> momenta;
    if (o.momentum != 0) momenta = state("momentum");
    const SgdStep s = sgd(learning_rate_, weights_, gradients_, momenta,
                          {.momentum = o.momentum, .weight_decay = decay(), .nesterov = o.nesterov});
    commit(s.parameters, {{momenta, s.momenta}});
  }
  void operator()(const Adam& o) { adam_like(adam, o.beta1, o.beta2, o.epsilon); }
  void operator()(const AdamW& o) { adam_like(adamw, o.beta1, o.beta2, o.epsilon); }

 private:
  double decay() const { return group_[0]->weight_decay; }

  std::vector<Value> state(const char* suffix) {
    std::vector<Value> variables;
    for (const Parameter* p : group_) {
      variables.push_back(p->variable.graph().variable(p->name + "." + suffix,
                                                       accumulation_dtype(p->weights.dtype()),
                                                       p->variable.dims().shape(), init::zeros()));
    }
    return variables;
  }

  void adam_like(decltype(adam)& op, double beta1, double beta2, double epsilon) {
    const std::vector<Value> m = state("adam_m"), v = state("adam_v");
    const AdamStep s = op(learning_rate_, step_, weights_, gradients_, m, v,
                          {.beta1 = beta1, .beta2 = beta2, .epsilon = epsilon, .weight_decay = decay()});
    commit(s.parameters, {{m, s.m}, {v, s.v}});
  }

  struct StateStep {
    const std::vector<Value>& variables;
    const std::vector<Value>& stepped;
  };
  void commit(const std::vector<Value>& stepped, std::initializer_list<StateStep> states) {
    for (size_t i = 0; i < group_.size(); ++i) {
      group_[i]->stepped = stepped[i];
      for (const StateStep& s : states)
        if (!s.variables.empty()) group_[i]->states.push_back({s.variables[i], s.stepped[i]});
    }
  }

  Value learning_rate_, step_;
  std::vector<Parameter*> group_;
  std::vector<Value> weights_, gradients_;
};

// Keeps weights and state unless `take` (bool []), and starts the sums again when it is.
void step_only_when(Value take, std::vector<Parameter>& parameters) {
  for (Parameter& p : parameters) {
    const DType sums = accumulation_dtype(p.weights.dtype());
    std::vector<Value> operands = {take, p.new_grad_sum, p.weights, p.stepped};
    for (const Parameter::State& s : p.states) {
      operands.push_back(s.variable);
      operands.push_back(s.stepped);
    }
    const std::vector<Value> kept = formula(operands, sums, [&](const Scalars& in) {
      Scalars out = {select(in[0], 0.0, in[1]).as(p.grad_sum.dtype())};
      for (size_t i = 2; i < in.size(); i += 2)
        out.push_back(select(in[0], in[i + 1], in[i]).as(operands[i].dtype()));
      return out;
    });
    p.new_grad_sum = kept[0];
    p.stepped = kept[1];
    for (size_t i = 0; i < p.states.size(); ++i) p.states[i].stepped = kept[i + 2];
  }
}

void add_updates(Graph graph, const std::vector<Parameter>& parameters) {
  for (const Parameter& p : parameters) {
    if (p.master) graph.update(p.master, p.stepped);
    graph.update(p.variable, convert(p.stepped, p.variable.dtype()));
    for (const Parameter::State& s : p.states) graph.update(s.variable, s.stepped);
    if (p.grad_sum) graph.update(p.grad_sum, p.new_grad_sum);
  }
}

// Groups of equal weight decay and learning rate, in order of first appearance.
std::vector<std::vector<Parameter*>> fused_groups(std::vector<Parameter>& parameters) {
  std::vector<std::vector<Parameter*>> groups;
  for (Parameter& p : parameters) {
    const auto same = std::find_if(groups.begin(), groups.end(), [&](const std::vector<Parameter*>& g) {
      return g[0]->weight_decay == p.weight_decay && g[0]->learning_rate_scale == p.learning_rate_scale;
    });
    if (same != groups.end())
      same->push_back(&p);
    else
      groups.push_back({&p});
  }
  return groups;
}

void check(Value loss, const MinimizeOptions& options) {
  if (!loss) throw Error(ErrorCode::invalid_argument, "minimize: the loss is no value");
  if (loss.rank() != 0 || !is_float(loss.dtype())) {
    throw Error(loss.rank() != 0 ? ErrorCode::shape_mismatch : ErrorCode::dtype_mismatch,
                "minimize: the loss must be one float of rank 0, but got " +
                    to_string(ValueType{loss.dtype(), loss.dims()}) + "; use mean or sum");
  }
  if (options.accumulate < 1) {
    throw Error(ErrorCode::invalid_argument,
                "minimize: accumulate is " + std::to_string(options.accumulate) + ", but must be 1 or more");
  }
  if (!(options.max_grad_norm >= 0)) {
    throw Error(ErrorCode::invalid_argument, "minimize: max_grad_norm is " +
                                                 std::to_string(options.max_grad_norm) +
                                                 ", but must be positive, or 0 for no clipping");
  }
}

}  // namespace

Minimized minimize(Value loss, const Optimizer& optimizer, const MinimizeOptions& options) {
  check(loss, options);
  Graph graph = loss.graph();
  const Graph::Scope scope = graph.scope(options.name);
  std::vector<Parameter> parameters = trained_parameters(loss, options);
  apply_groups(parameters, std::visit([](const auto& o) { return o.weight_decay; }, optimizer),
               options.groups);

  const Value steps = graph.variable(options.name + ".step", DType::float32, {}, init::zeros());
  const bool wide = std::any_of(parameters.begin(), parameters.end(),
                                [](const Parameter& p) { return p.variable.dtype() == DType::float64; });
  const DType dtype = wide ? DType::float64 : DType::float32;
  const Value next = formula({steps}, DType::float32, [](const Scalars& in) { return in[0] + 1.0; });

  Minimized result;
  result.step = convert(next, dtype);
  result.learning_rate =
      std::visit([&](const auto& o) { return o.learning_rate.at(result.step); }, optimizer);
  for (const Parameter& p : parameters) result.parameters.push_back(p.name);

  if (options.master_weights) {
    use_masters(parameters, formula({steps}, DType::float32, [](const Scalars& in) { return in[0] == 0.0; }));
  }
  if (options.accumulate > 1) accumulate_gradients(parameters, options.accumulate);
  if (options.max_grad_norm > 0) {
    std::vector<Value> raw;
    for (const Parameter& p : parameters) raw.push_back(p.gradient);
    const Clipped clipped = clip_by_global_norm(raw, options.max_grad_norm);
    result.gradient_norm = clipped.norm;
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i].gradient = clipped.tensors[i];
  }
  for (const std::vector<Parameter*>& group : fused_groups(parameters)) {
    const double scale = group[0]->learning_rate_scale;
    const Value rate =
        scale == 1 ? result.learning_rate
                   : formula({result.learning_rate}, dtype, [&](const Scalars& in) { return in[0] * scale; });
    std::visit(GroupStep(rate, result.step, group), optimizer);
  }
  Value counted = next;
  if (options.accumulate > 1) {
    const Value micro = graph.variable(options.name + ".micro_step", DType::float32, {}, init::zeros());
    const auto last = static_cast<double>(options.accumulate);
    const std::vector<Value> count = formula({micro, steps, next}, DType::float32, [&](const Scalars& in) {
      const Scalar take = in[0] + 1.0 >= last;
      return Scalars{take, select(take, 0.0, in[0] + 1.0), select(take, in[2], in[1])};
    });
    step_only_when(count[0], parameters);
    graph.update(micro, count[1]);
    counted = count[2];
  }
  add_updates(graph, parameters);
  graph.update(steps, counted);
  return result;
}

}  // namespace heddle
