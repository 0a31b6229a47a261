// Dead steps dropped, equal steps merged, casts that change nothing removed; and inputs nobody reads.
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "ir/scalar_program.h"

namespace heddle {
namespace {

using enum ScalarOp;

// Bit for bit the same with its operands exchanged.
bool is_commutative(ScalarOp op) {
  switch (op) {
    case add:
    case mul:
    case bit_and:
    case bit_or:
    case bit_xor:
    case logical_and:
    case logical_or:
    case logical_xor:
    case equal:
    case not_equal:
      return true;
    default:
      return false;
  }
}

bool is_narrow(DType d) { return is_float(d) && size_of(d) < 4; }

// Whether register `reg` of a narrow float dtype holds a value of that dtype, so that rounding it changes
// nothing.
bool is_rounded(const ScalarProgram& p, uint32_t reg) {
  if (reg < p.inputs.size()) return true;
  const ScalarStep& s = p.steps[reg - p.inputs.size()];
  switch (s.op) {
    case constant:
    case cast:
      return true;
    case neg:
    case abs:
    case sign:
    case relu:
      return is_rounded(p, s.operand[0]);
    case min:
    case max:
      return is_rounded(p, s.operand[0]) && is_rounded(p, s.operand[1]);
    case select:
      return is_rounded(p, s.operand[1]) && is_rounded(p, s.operand[2]);
    default:
      return false;
  }
}

// The register that holds what cast `s` would compute, if there is one: the operand when it has the dtype
// already, or what a cast to a wider float, now undone, started from.
std::optional<uint32_t> unchanged_by_cast(const ScalarProgram& p, const ScalarStep& s) {
  const uint32_t x = s.operand[0];
  if (p.dtype(x) == s.dtype) return !is_narrow(s.dtype) || is_rounded(p, x) ? std::optional(x) : std::nullopt;
  if (x < p.inputs.size() || !is_float(s.dtype) || !is_float(p.dtype(x))) return std::nullopt;
  const ScalarStep& wider = p.steps[x - p.inputs.size()];
  const uint32_t origin = wider.operand[0];
  const bool undone = wider.op == cast && size_of(wider.dtype) >= 4 &&
                      size_of(s.dtype) < size_of(wider.dtype) && p.dtype(origin) == s.dtype &&
                      is_rounded(p, origin);
  return undone ? std::optional(origin) : std::nullopt;
}

std::vector<bool> live_registers(const ScalarProgram& p) {
  std::vector<bool> live(p.registers(), false);
  for (const uint32_t r : p.outputs) live[r] = true;
  for (size_t i = p.steps.size(); i-- > 0;) {
    if (!live[p.inputs.size() + i]) continue;
    for (int k = 0; k < scalar_op_info(p.steps[i].op).operands; ++k) live[p.steps[i].operand[k]] = true;
  }
  return live;
}

}  // namespace

ScalarProgram simplify(const ScalarProgram& p) {
  // Merge first, then drop what the merging made dead.
  ScalarProgram merged;
  merged.inputs = p.inputs;
  std::vector<uint32_t> now(p.registers());
  for (uint32_t i = 0; i < p.inputs.size(); ++i) now[i] = i;
  using Key = std::tuple<ScalarOp, DType, uint32_t, uint32_t, uint32_t, double, bool, int64_t>;
  std::map<Key, uint32_t> seen;
  for (size_t i = 0; i < p.steps.size(); ++i) {
    ScalarStep s = p.steps[i];
    const int operands = scalar_op_info(s.op).operands;
    for (int k = 0; k < operands; ++k) s.operand[k] = now[s.operand[k]];
    uint32_t& result = now[p.inputs.size() + i];
    if (s.op == cast) {
      if (const auto same = unchanged_by_cast(merged, s)) {
        result = *same;
        continue;
      }
    }
    if (is_commutative(s.op) && s.operand[0] > s.operand[1]) std::swap(s.operand[0], s.operand[1]);
    const bool comparable = s.value == s.value;  // a NaN constant is equal to none
    const Key key{s.op,
                  s.dtype,
                  s.operand[0],
                  s.operand[1],
                  s.operand[2],
                  comparable ? s.value : 0,
                  comparable && __builtin_signbit(s.value) != 0,
                  s.integer};
    const auto known = comparable ? seen.find(key) : seen.end();
    if (known != seen.end()) {
      result = known->second;
      continue;
    }
    merged.steps.push_back(s);
    result = merged.registers() - 1;
    if (comparable) seen.emplace(key, result);
  }
  for (const uint32_t r : p.outputs) merged.outputs.push_back(now[r]);

  const std::vector<bool> live = live_registers(merged);
  ScalarProgram result;
  result.inputs = merged.inputs;
  now.resize(merged.registers());
  for (size_t i = 0; i < merged.steps.size(); ++i) {
    if (!live[merged.inputs.size() + i]) continue;
    ScalarStep s = merged.steps[i];
    for (int k = 0; k < scalar_op_info(s.op).operands; ++k) s.operand[k] = now[s.operand[k]];
    result.steps.push_back(s);
    now[merged.inputs.size() + i] = result.registers() - 1;
  }
  for (const uint32_t r : merged.outputs) result.outputs.push_back(now[r]);
  return result;
}

std::vector<uint32_t> drop_unread_inputs(ScalarProgram& p) {
  const std::vector<bool> live = live_registers(p);
  std::vector<uint32_t> kept, now(p.registers());
  ScalarProgram result;
  for (uint32_t i = 0; i < p.inputs.size(); ++i) {
    if (!live[i]) continue;
    now[i] = result.input(p.inputs[i]);
    kept.push_back(i);
  }
  for (size_t i = 0; i < p.steps.size(); ++i) {
    ScalarStep s = p.steps[i];
    for (int k = 0; k < scalar_op_info(s.op).operands; ++k) s.operand[k] = now[s.operand[k]];
    result.steps.push_back(s);
    now[p.inputs.size() + i] = result.registers() - 1;
  }
  for (const uint32_t r : p.outputs) result.outputs.push_back(now[r]);
  p = std::move(result);
  return kept;
}

}  // namespace heddle
