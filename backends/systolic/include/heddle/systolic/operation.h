// The names of the instruction set: opcodes, ALU operators, functions of the scalar engine.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace heddle::systolic {

enum class Opcode : uint8_t {
  matmul,
  transpose,
  activation,
  activation_reduce,
  tensor_tensor,
  tensor_scalar,
  scalar_tensor_tensor,
  tensor_scalar_reduce,
  tensor_reduce,
  tensor_tensor_scan,
  tensor_copy,
  tensor_copy_predicated,
  select,
  reciprocal,
  bn_stats,
  bn_aggr,
  memset,
  iota,
  affine_select,
  max8,
  find_index8,
  partition_reduce,
  random_bits,
  gpsimd_program,
  range_select,
  dropout,
  stream_shuffle,
  tensor_copy_dynamic_src,
  tensor_copy_dynamic_dst,
  local_gather,
  local_scatter,
  dma_load,
  dma_store,
  dma_copy,
  dma_hbm,
  dma_gather,
  dma_scatter,
};
inline constexpr int opcode_count = static_cast<int>(Opcode::dma_scatter) + 1;
const char* opcode_name(Opcode opcode);      // as a kernel author writes it: "nc_matmul", "tensor_tensor"
const char* opcode_mnemonic(Opcode opcode);  // as the profiler prints it: "MATMUL", "TENSOR_TENSOR"
constexpr bool is_dma(Opcode opcode) { return opcode >= Opcode::dma_load; }

// a (op) b. Arithmetic is float32 whatever the tiles hold, except that GpSimd computes int32/uint32 tiles
// natively. Comparisons and logical operators give 1 or 0; logical operators take non-zero as true. Bitwise
// operators and shifts work on the raw bits of integer tiles, on DVE and GpSimd.
enum class AluOp : uint8_t {
  bypass,  // the first operand, or "no operation" where an operator is optional
  add,
  subtract,
  multiply,
  divide,
  maximum,
  minimum,  // of a number and NaN: NaN
  power,    // a^b as powf; the exponents 1/2, -1/2, 2 and -1 as roots and products
  mod,      // floored: the result has the sign of b
  equal,
  not_equal,
  greater,
  greater_equal,
  less,
  less_equal,
  logical_and,
  logical_or,
  logical_xor,
  bitwise_and,
  bitwise_or,
  bitwise_xor,
  left_shift,
  logical_right_shift,
  arithmetic_right_shift,
};
inline constexpr int alu_op_count = static_cast<int>(AluOp::arithmetic_right_shift) + 1;
const char* alu_op_name(AluOp op);
constexpr bool is_bitwise(AluOp op) { return op >= AluOp::bitwise_and; }

// y = f(x). Accurate to about 2 units in the last place of float32 in the given range. On the scalar engine
// an argument outside the range is an error (its tables give garbage there); GpSimd computes every argument
// as IEEE does, at four times the cost. NaN gives NaN everywhere.
enum class Function : uint8_t {
  copy,
  identity,  // x; the scalar engine's scale and bias apply
  square,
  abs,
  sign,  // sign(0) = 0
  relu,
  prelu,  // prelu: x < 0 ? alpha*x : x
  exp,
  log,  // log: [2^-64, 2^64]
  sigmoid,
  tanh,
  softplus,
  mish,  // log(1 + e^x); x*tanh(softplus(x))
  silu,
  silu_dx,  // x*sigmoid(x), and its derivative
  gelu,
  gelu_dx,  // x*Phi(x) by erf, and its derivative
  gelu_tanh,
  gelu_tanh_dx,  // 0.5x(1 + tanh(sqrt(2/pi)(x + 0.044715x^3))), and its derivative
  gelu_sigmoid,
  gelu_sigmoid_dx,  // x*sigmoid(1.702x), and its derivative
  erf,
  erf_dx,
  tanh_dx,
  sigmoid_dx,
  sin,
  arctan,  // sin: [-pi, pi], there is no range reduction; arctan: [-pi/2, pi/2]
  sqrt,
  rsqrt,       // [2^-116, 2^118]; [2^-87, 2^97]
  reciprocal,  // +-[2^-42, 2^42]
  // GpSimd only: no table of the scalar engine holds these.
  floor,
  ceil,
  round,  // round: half to even
  cos,
  is_nan,
};
inline constexpr int function_count = static_cast<int>(Function::is_nan) + 1;
const char* function_name(Function function);
std::optional<Function> parse_function(std::string_view name);
constexpr bool only_on_gpsimd(Function function) { return function >= Function::floor; }

// The range of |x| (or x, where low is not negative) in which the scalar engine's table is valid.
struct FunctionRange {
  float low, high;
  bool magnitude;  // true: low <= |x| <= high
};
std::optional<FunctionRange> function_range(Function function);

}  // namespace heddle::systolic
