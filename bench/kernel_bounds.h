// One op's kernel on the simulated NeuronCore, timing alone: how long it takes, what each resource alone
// would need, and which of them bounds it. No tensors exist, so shapes may be of any size.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "heddle/schema.h"
#include "heddle/systolic/builder.h"
#include "heddle/systolic/program.h"
#include "ir/graph_data.h"
#include "kernels/catalogue.h"
#include "systolic/kernels/lowering.h"
#include "systolic/machine/cost.h"

namespace heddle::bench {

struct KernelCase {
  std::string op;
  Attributes attributes;
  std::vector<std::optional<ValueType>> inputs;  // nullopt: a missing optional operand
};

// Microseconds that each resource needs when it never waits; `time` is the simulated time of the whole
// kernel.
struct KernelBounds {
  double time = 0;
  double pe = 0, act = 0, dve = 0, gpsimd = 0;  // sums of issue intervals
  double psum_port = 0;                         // DVE and ACT take turns on PSUM: the time either holds it
  double dma = 0;                               // engine time of all transfers, spread over the engines
  double hbm = 0;                               // bytes at the rate of HBM
  int64_t instructions = 0;

  struct Bound {
    const char* name;
    double microseconds;
  };
  Bound binding() const {
    const Bound all[] = {
        {"pe", pe},   {"act", act}, {"dve", dve}, {"gpsimd", gpsimd}, {"psum port", psum_port},
        {"dma", dma}, {"hbm", hbm}};
    return *std::max_element(std::begin(all), std::end(all),
                             [](const Bound& a, const Bound& b) { return a.microseconds < b.microseconds; });
  }
  double percent_of(double bound) const { return time > 0 ? 100 * bound / time : 0; }
};

inline systolic::Program compile_kernel(const KernelCase& c, const std::string& device) {
  const OpSchema* op = find_op(c.op);
  const systolic::Lowering* lowering = systolic::find_lowering(c.op);
  if (op == nullptr || lowering == nullptr)
    throw Error(ErrorCode::not_found, "no kernel for op '" + c.op + "'");
  const Attributes attributes = ir::complete_attributes(*op, c.attributes);
  std::vector<const ValueType*> given;
  for (const auto& t : c.inputs) given.push_back(t ? &*t : nullptr);
  const std::vector<ValueType> results = ir::infer_types(*op, c.op, given, attributes);

  systolic::NeuronCore nc(systolic::load_description(device));
  const auto operand = [&nc](const ValueType& type, const std::string& name) {
    systolic::Operand o;
    o.dtype = type.dtype;
    for (const Dim& d : type.dims) o.shape.push_back(d.number());
    o.present = true;
    o.hbm = nc.hbm(name, Shape{o.shape.elements()}, o.dtype);
    return o;
  };
  std::vector<systolic::Operand> inputs, outputs;
  for (size_t i = 0; i < c.inputs.size(); ++i)
    inputs.push_back(c.inputs[i] ? operand(*c.inputs[i], "in" + std::to_string(i)) : systolic::Operand{});
  for (size_t i = 0; i < results.size(); ++i)
    outputs.push_back(operand(results[i], "out" + std::to_string(i)));
  nc.scope(c.op);
  lowering->emit({nc, c.op, c.op, attributes, inputs, outputs});
  systolic::CompileOptions timing_alone;
  timing_alone.numerics = false;
  return systolic::compile(std::move(nc).finish(), timing_alone);
}

inline KernelBounds bounds_of(const systolic::Program& program) {
  using namespace systolic;
  const Timing& t = program.timing();
  const Stream& stream = program.stream();
  const auto microseconds = [](double ps) { return ps * 1e-6; };
  const auto intervals = [&](Engine e) {
    return microseconds(static_cast<double>(t.queue[static_cast<size_t>(e)].interval_time));
  };
  KernelBounds b;
  b.time = microseconds(static_cast<double>(t.total));
  b.pe = intervals(Engine::pe), b.act = intervals(Engine::act), b.dve = intervals(Engine::dve),
  b.gpsimd = intervals(Engine::gpsimd);
  b.dma = microseconds(static_cast<double>(t.dma.packet_time)) / stream.device->dma.engines;
  b.hbm = static_cast<double>(t.dma.read_bytes + t.dma.write_bytes) / (stream.device->hbm.core_gbps() * 1e3);
  b.instructions = static_cast<int64_t>(stream.instructions.size());
  const CostModel cost(stream, Column::calibrated);
  int64_t port = 0;
  for (const Instruction& i : stream.instructions) {
    if ((i.engine != Engine::dve && i.engine != Engine::act) || is_dma(i.opcode)) continue;
    const auto views = stream.views_of(i);
    if (std::any_of(views.begin(), views.end(),
                    [&](const View& v) { return stream.tiles[v.tile].memory == Memory::psum; }))
      port += cost.cost(i).work;
  }
  if (stream.device->ports.psum_dve_act) b.psum_port = microseconds(static_cast<double>(port));
  return b;
}

inline KernelBounds measure(const KernelCase& c, const std::string& device = "trn1") {
  return bounds_of(compile_kernel(c, device));
}

// ---- the kernels that have a target, at their full shapes

inline ValueType type(DType dtype, std::initializer_list<int64_t> dims) { return {dtype, Dims(Shape(dims))}; }

// The AWS tutorial's operands: the left one comes as [K, M].
inline KernelCase matmul_case(int64_t m, int64_t k, int64_t n, DType dtype, bool transpose_a) {
  return {"matmul",
          {{"transpose_a", transpose_a}},
          {transpose_a ? type(dtype, {k, m}) : type(dtype, {m, k}), type(dtype, {k, n})}};
}
inline KernelCase attention_case(int64_t heads, int64_t s, int64_t d, bool causal) {
  const ValueType x = type(bf16, {1, heads, s, d});
  return {"attention", {{"causal", causal}, {"layout", std::string("bhsd")}}, {x, x, x}};
}
inline KernelCase attention_grad_case(int64_t heads, int64_t s, int64_t d, bool causal) {
  const ValueType x = type(bf16, {1, heads, s, d}), lse = type(f32, {1, heads, s});
  return {"attention_grad",
          {{"causal", causal}, {"layout", std::string("bhsd")}},
          {x, x, x, std::nullopt, x, lse, x}};
}
// Tensors of an optimizer step; `small` vectors of a few hundred elements beside the matrices, as a
// transformer has.
inline KernelCase adamw_case(int64_t matrices, int64_t rows, int64_t columns, int64_t small) {
  KernelCase c{"adamw", {{"count", matrices + small}}, {type(f32, {}), type(f32, {})}};
  for (int role = 0; role < 4; ++role) {
    for (int64_t i = 0; i < matrices; ++i) c.inputs.push_back(type(f32, {rows, columns}));
    for (int64_t i = 0; i < small; ++i) c.inputs.push_back(type(f32, {columns}));
  }
  return c;
}

}  // namespace heddle::bench
