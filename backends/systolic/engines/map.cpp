#include "systolic/engines/map.h"

#include <algorithm>
#include <cstring>

namespace heddle::systolic {
namespace {

// A row, and some lines more, so that equal places of two registers do not share the low address bits.
constexpr size_t register_bytes = row_max * sizeof(float) + 5 * 64;

// One chunk of a row: brings operands into registers, runs the stages, stores the result. Returns the
// registers of the result, for a reduction.
const void* run_chunk(const Map& map, const std::array<std::byte*, nest_operands_max>& row, size_t done,
                      size_t n, std::byte* scratch, uint64_t rounded, Fault& fault) {
  std::array<void*, register_count> registers;
  for (int o = 0; o < map.nest.operands; ++o) {
    const auto i = static_cast<size_t>(o);
    const int64_t stride = map.nest.stride[i][0];
    std::byte* at = map.scalar[i] ? row[i] : row[i] + static_cast<int64_t>(done) * stride;
    const bool in_place = o == 0 ? map.store == nullptr : map.load[i] == nullptr;
    registers[i] = in_place ? at : scratch + i * register_bytes;
    if (!in_place && (o > 0 || map.reads_out)) map.load[i](registers[i], at, stride, map.scalar[i] ? 1 : n);
  }
  registers[register_temp0] = scratch + register_temp0 * register_bytes;
  registers[register_temp1] = scratch + register_temp1 * register_bytes;
  for (size_t i = 0; i < immediates_max; ++i)
    registers[register_immediate0 + i] = const_cast<float*>(&map.immediate[i]);  // stages never write them
  for (int s = 0; s < map.stages; ++s) {
    const Stage& stage = map.stage[static_cast<size_t>(s)];
    const Fault f =
        stage.kernel(registers[stage.out], registers[stage.a], registers[stage.b], registers[stage.c], n);
    fault = std::max(fault, f);
  }
  if (map.rounding) round_stochastically(*map.rounding, static_cast<float*>(registers[0]), n, rounded);
  if (map.store != nullptr)
    map.store(row[0] + static_cast<int64_t>(done) * map.nest.stride[0][0], map.nest.stride[0][0],
              registers[0], n);
  return registers[0];
}

// Powers that have an instruction of their own on every host: x^(1/2), x^(-1/2), x^2, x^-1, rounded correctly
// (x^(-1/2) twice). Null for others.
RowKernel root_kernel(float exponent) {
  if (exponent == 0.5f) return function_kernel(Function::sqrt, false);
  if (exponent == -0.5f) return function_kernel(Function::rsqrt, false);
  if (exponent == 2.0f) return function_kernel(Function::square, false);
  if (exponent == -1.0f) return function_kernel(Function::reciprocal, false);
  return nullptr;
}

template <class PerChunk>
Fault run_rows(const Map& map, const Context& context, const std::array<std::byte*, nest_operands_max>& begin,
               const Nest& nest, uint64_t rounded, const PerChunk& per_chunk) {
  Fault fault = Fault::ok;
  const auto length = static_cast<size_t>(nest.row());
  for_each_row(nest, begin, [&](const std::array<std::byte*, nest_operands_max>& row) {
    for (size_t done = 0; done < length; done += row_max) {
      const size_t n = std::min(row_max, length - done);
      per_chunk(run_chunk(map, row, done, n, context.scratch, rounded, fault), n);
      rounded += n;
    }
  });
  return fault;
}

}  // namespace

Fault run_map(const void* arguments, const Context& context) {
  const Map& map = *static_cast<const Map*>(arguments);
  std::array<std::byte*, nest_operands_max> begin{};
  for (int o = 0; o < map.nest.operands; ++o)
    begin[static_cast<size_t>(o)] = map.place[static_cast<size_t>(o)].in(context);
  if (!map.reduces) return run_rows(map, context, begin, map.nest, 0, [](const void*, size_t) {});

  // One partition at a time: the nest without its outermost dimension.
  Nest inner = map.nest;
  const auto outer = static_cast<size_t>(inner.rank - 1);
  --inner.rank;
  Fault fault = Fault::ok;
  std::byte* reduced = map.reduced.in(context);
  for (int64_t p = 0; p < map.nest.size[outer]; ++p) {
    const auto rounded = static_cast<uint64_t>(p * inner.row() * inner.rows());
    float total;
    if (inner.rank == 1 && inner.row() <= static_cast<int64_t>(row_max)) {
      const auto n = static_cast<size_t>(inner.row());
      total = map.reduction.whole(
          static_cast<const float*>(run_chunk(map, begin, 0, n, context.scratch, rounded, fault)), n);
    } else {
      alignas(64) float partial[partial_count];
      std::fill_n(partial, partial_count, map.reduction.identity);
      const Fault f = run_rows(map, context, begin, inner, rounded, [&](const void* result, size_t n) {
        map.reduction.row(partial, static_cast<const float*>(result), n);
      });
      fault = std::max(fault, f);
      total = map.reduction.finish(partial);
    }
    map.store_reduced(reduced, 0, &total, 1);
    reduced += map.reduced_stride;
    for (int o = 0; o < map.nest.operands; ++o)
      begin[static_cast<size_t>(o)] += map.nest.stride[static_cast<size_t>(o)][outer];
  }
  return fault;
}

MapBuilder::MapBuilder(const HostOperand& out, Arithmetic arithmetic) : arithmetic_(arithmetic) {
  operand_[0] = out;
  registers_[0] = arithmetic;
}

Register MapBuilder::read(const HostOperand& operand) { return read(operand, arithmetic_); }

Register MapBuilder::read(const HostOperand& operand, Arithmetic registers) {
  operand_[static_cast<size_t>(count_)] = operand;
  registers_[static_cast<size_t>(count_)] = registers;
  return static_cast<Register>(count_++);
}

Register MapBuilder::read_scalar(const HostOperand& operand) {
  per_partition_[static_cast<size_t>(count_)] = true;
  return read(operand);
}

Register MapBuilder::number(float bits) {
  immediate_[static_cast<size_t>(immediates_)] = bits;
  return static_cast<Register>(register_immediate0 + immediates_++);
}

void MapBuilder::reduce(AluOp op, const HostOperand& into) { reduce_ = op, reduced_ = into; }

void MapBuilder::binary(Register out, AluOp op, Register a, Register b) {
  pending_[static_cast<size_t>(stages_++)] = {Kind::binary, out, a, b, 0, op};
}
void MapBuilder::scale_bias(Register out, Register a, Register scale, Register bias) {
  pending_[static_cast<size_t>(stages_++)] = {Kind::scale_bias, out, a, scale, bias};
}
void MapBuilder::unary(Register out, Function f, bool checked, Register a, Register alpha) {
  pending_[static_cast<size_t>(stages_++)] = {Kind::unary, out, a, alpha, 0, AluOp::bypass, f, checked};
}
void MapBuilder::select(Register out, Register a, Register predicate, Register other) {
  pending_[static_cast<size_t>(stages_++)] = {Kind::select, out, a, predicate, other};
}

void MapBuilder::emit(Map& map, const Pending& p) {
  const auto is_scalar = [&](Register r) {
    return r >= register_immediate0 || (r < register_temp0 && map.scalar[r]);
  };
  // An operand that repeats along the row is one element where a kernel has that form, else it is spread out.
  const auto spread = [&](Register r) {
    if (r < register_temp0) map.scalar[r] = false;
  };
  Stage stage{nullptr, p.out, p.a, p.b, p.c};
  switch (p.kind) {
    case Kind::binary: {
      if (is_scalar(p.a) && is_scalar(p.b)) spread(p.a);
      const Form form = is_scalar(p.a)   ? Form::scalar_vector
                        : is_scalar(p.b) ? Form::vector_scalar
                                         : Form::vector_vector;
      stage.kernel = binary_kernel(p.op, form, arithmetic_);
      if (p.op == AluOp::power && p.b >= register_immediate0 && arithmetic_ == Arithmetic::float32)
        if (const RowKernel exact = root_kernel(immediate_[p.b - register_immediate0])) stage.kernel = exact;
      break;
    }
    case Kind::scale_bias:
      spread(p.a);
      if (!is_scalar(p.b) || !is_scalar(p.c)) {
        emit(map, {Kind::binary, p.out, p.a, p.b, 0, AluOp::multiply});
        emit(map, {Kind::binary, p.out, p.out, p.c, 0, AluOp::add});
        return;
      }
      stage.kernel = scale_bias_kernel();
      break;
    case Kind::unary:
      spread(p.a);
      stage.kernel = function_kernel(p.function, p.checked);
      break;
    case Kind::select:
      spread(p.a), spread(p.b);
      stage.kernel = select_kernel(is_scalar(p.c));
      break;
  }
  map.stage[static_cast<size_t>(map.stages++)] = stage;
}

std::optional<Map> MapBuilder::finish() {
  Map map;
  const auto count = static_cast<size_t>(count_);
  if (!make_nest({operand_.data(), count}, {per_partition_.data(), count}, reduce_.has_value(), map.nest))
    return std::nullopt;
  map.immediate = immediate_;
  map.reads_out = reads_out_;
  for (size_t o = 0; o < count; ++o) {
    map.place[o] = operand_[o].place;
    map.scalar[o] = o > 0 && map.nest.stride[o][0] == 0 && map.nest.row() > 1;
  }
  // Spreading an operand for one stage changes the form of another: forms settle in a second pass.
  for (int s = 0; s < stages_; ++s) emit(map, pending_[static_cast<size_t>(s)]);
  map.stages = 0;
  for (int s = 0; s < stages_; ++s) emit(map, pending_[static_cast<size_t>(s)]);
  for (size_t o = 0; o < count; ++o) {
    const DType dtype = operand_[o].dtype;
    const bool dense = map.nest.stride[o][0] == static_cast<int64_t>(size_of(dtype)) || map.nest.row() == 1;
    if (is_register(dtype, registers_[o]) && (dense || map.scalar[o])) continue;
    map.load[o] = row_loader(dtype, dense || map.scalar[o], registers_[o]);
    if (o == 0) map.store = row_storer(dtype, dense, registers_[o]);
  }
  if (reduce_) {
    map.reduces = true;
    map.reduction = reduction(*reduce_);
    map.reduced = reduced_.place;
    map.reduced_stride = reduced_.stride[0];
    map.store_reduced = row_storer(reduced_.dtype, true, Arithmetic::float32);
  }
  return map;
}

bool MapBuilder::link(Chain& chain, const Map& map, AluOp op, Register operand, bool swapped) const {
  if (op == AluOp::bypass || chain.links == Chain::steps_max) return false;
  const auto l = static_cast<size_t>(chain.links++);
  Chain::Link& made = chain.link[l];
  made.swapped = swapped;
  made.scalar = operand >= register_immediate0 || (map.nest.stride[operand][0] == 0 && map.nest.row() > 1);
  const Form form = !made.scalar ? Form::vector_vector : swapped ? Form::scalar_vector : Form::vector_scalar;
  made.kernel = binary_kernel(op, form, Arithmetic::float32);
  if (operand >= register_immediate0) {
    made.operand = Chain::first_immediate;
    chain.immediate[l] = immediate_[static_cast<size_t>(operand - register_immediate0)];
    if (op == AluOp::power && !swapped)
      if (const RowKernel exact = root_kernel(chain.immediate[l])) made.kernel = exact;
    return true;
  }
  if (operand == register_out || operand >= register_temp0 || chain.operands == Chain::operands_max)
    return false;
  const auto to = static_cast<size_t>(chain.operands++);
  chain.place[to] = map.place[operand];
  chain.row_stride[to] = map.nest.rank == 2 ? map.nest.stride[operand][1] : 0;
  made.operand = static_cast<uint8_t>(to);
  return true;
}

std::optional<Chain> MapBuilder::chain(const Map& map) const {
  const Nest& nest = map.nest;
  if (arithmetic_ != Arithmetic::float32 || reads_out_ || nest.rank > 2 || map.store != nullptr) return {};
  // Rows of float32, or one element for the row.
  for (size_t o = 0; o < static_cast<size_t>(count_); ++o) {
    const bool dense = nest.stride[o][0] == static_cast<int64_t>(sizeof(float)) || nest.row() == 1;
    if (operand_[o].dtype != DType::float32 || registers_[o] != Arithmetic::float32) return {};
    if (!dense && (o == 0 || nest.stride[o][0] != 0)) return {};
  }
  Chain chain;
  chain.count = nest.row(), chain.rows = nest.rank == 2 ? nest.size[1] : 1;
  const auto is_row = [&](Register r) {
    return r > register_out && r < register_temp0 && (nest.stride[r][0] != 0 || nest.row() == 1);
  };
  const auto begin = [&](Register r) {
    chain.place[0] = map.place[0], chain.place[1] = map.place[r];
    if (nest.rank == 2) chain.row_stride[0] = nest.stride[0][1], chain.row_stride[1] = nest.stride[r][1];
    chain.operands = 2;
  };
  Register x = register_out;  // where the value is: an operand at first, then what the last stage wrote
  for (int s = 0; s < stages_; ++s) {
    const Pending& p = pending_[static_cast<size_t>(s)];
    if (p.kind == Kind::select || chain.function != nullptr) return {};
    bool swapped = false;
    if (s > 0) {
      swapped = p.a != x;
      if (swapped && (p.kind != Kind::binary || p.b != x)) return {};
    } else {
      swapped = p.kind == Kind::binary && !is_row(p.a);
      if (!is_row(swapped ? p.b : p.a)) return {};
      begin(swapped ? p.b : p.a);
    }
    switch (p.kind) {
      case Kind::binary:
        if (!link(chain, map, p.op, swapped ? p.a : p.b, swapped)) return {};
        break;
      case Kind::scale_bias:
        if (!link(chain, map, AluOp::multiply, p.b, false) || !link(chain, map, AluOp::add, p.c, false))
          return {};
        break;
      default:
        chain.function = function_kernel(p.function, p.checked);
        if (p.b >= register_immediate0)
          chain.alpha = immediate_[static_cast<size_t>(p.b - register_immediate0)];
    }
    x = p.out;
  }
  if (x != register_out) return {};
  if (map.reduces) {
    if (nest.rank != 2 || reduced_.dtype != DType::float32) return {};
    chain.whole = map.reduction.whole;
    chain.reduced = map.reduced, chain.reduced_stride = map.reduced_stride;
  }
  return chain;
}

}  // namespace heddle::systolic
