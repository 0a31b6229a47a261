// 32-bit integer operators: GpSimd's native arithmetic, and the bitwise operators of the vector engine. They
// wrap; division by zero gives 0, shifts by 32 or more shift everything out.
#include <algorithm>
#include <cstdint>

#include "systolic/engines/row.h"

namespace heddle::systolic {
namespace {

template <class T, AluOp op>
T apply(T a, T b) {
  const auto ua = static_cast<uint32_t>(a), ub = static_cast<uint32_t>(b);
  const auto sa = static_cast<int32_t>(a);
  if constexpr (op == AluOp::bypass) return a;
  if constexpr (op == AluOp::add) return static_cast<T>(ua + ub);
  if constexpr (op == AluOp::subtract) return static_cast<T>(ua - ub);
  if constexpr (op == AluOp::multiply) return static_cast<T>(ua * ub);
  if constexpr (op == AluOp::divide)
    return b == 0 ? T{0} : static_cast<T>(static_cast<int64_t>(a) / static_cast<int64_t>(b));
  if constexpr (op == AluOp::mod) {
    if (b == 0) return T{0};
    const int64_t m = static_cast<int64_t>(a) % static_cast<int64_t>(b);
    return static_cast<T>(m != 0 && (m < 0) != (static_cast<int64_t>(b) < 0) ? m + static_cast<int64_t>(b)
                                                                             : m);
  }
  if constexpr (op == AluOp::maximum) return std::max(a, b);
  if constexpr (op == AluOp::minimum) return std::min(a, b);
  if constexpr (op == AluOp::power) {
    if (static_cast<int64_t>(b) < 0) return a == T{1} ? T{1} : T{0};
    uint32_t result = 1, square = ua;
    for (uint32_t e = ub; e != 0; e >>= 1, square *= square)
      if (e & 1) result *= square;
    return static_cast<T>(result);
  }
  if constexpr (op == AluOp::equal) return a == b;
  if constexpr (op == AluOp::not_equal) return a != b;
  if constexpr (op == AluOp::greater) return a > b;
  if constexpr (op == AluOp::greater_equal) return a >= b;
  if constexpr (op == AluOp::less) return a < b;
  if constexpr (op == AluOp::less_equal) return a <= b;
  if constexpr (op == AluOp::logical_and) return a != 0 && b != 0;
  if constexpr (op == AluOp::logical_or) return a != 0 || b != 0;
  if constexpr (op == AluOp::logical_xor) return (a != 0) != (b != 0);
  if constexpr (op == AluOp::bitwise_and) return a & b;
  if constexpr (op == AluOp::bitwise_or) return a | b;
  if constexpr (op == AluOp::bitwise_xor) return a ^ b;
  if constexpr (op == AluOp::left_shift) return ub > 31 ? T{0} : static_cast<T>(ua << ub);
  if constexpr (op == AluOp::logical_right_shift) return ub > 31 ? T{0} : static_cast<T>(ua >> ub);
  if constexpr (op == AluOp::arithmetic_right_shift) return static_cast<T>(sa >> std::min(ub, 31u));
}

template <class T, AluOp op, Form form>
Fault loop(void* out, const void* a, const void* b, const void*, size_t n) {
  const auto* x = static_cast<const T*>(a);
  const auto* y = static_cast<const T*>(b);
  auto* o = static_cast<T*>(out);
  for (size_t i = 0; i < n; ++i)
    o[i] = apply<T, op>(x[form == Form::scalar_vector ? 0 : i], y[form == Form::vector_scalar ? 0 : i]);
  return Fault::ok;
}

template <class T, size_t... ops>
RowKernel pick(AluOp op, Form form, std::index_sequence<ops...>) {
  static constexpr RowKernel table[3][sizeof...(ops)] = {
      {loop<T, static_cast<AluOp>(ops), Form::vector_vector>...},
      {loop<T, static_cast<AluOp>(ops), Form::vector_scalar>...},
      {loop<T, static_cast<AluOp>(ops), Form::scalar_vector>...}};
  return table[static_cast<size_t>(form)][static_cast<size_t>(op)];
}

}  // namespace

RowKernel integer_binary_kernel(AluOp op, Form form, bool is_unsigned);

RowKernel integer_binary_kernel(AluOp op, Form form, bool is_unsigned) {
  const auto all = std::make_index_sequence<alu_op_count>{};
  return is_unsigned ? pick<uint32_t>(op, form, all) : pick<int32_t>(op, form, all);
}

}  // namespace heddle::systolic
