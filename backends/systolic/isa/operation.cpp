#include "heddle/systolic/operation.h"

#include <array>

namespace heddle::systolic {
namespace {

struct OpcodeNames {
  const char* call;
  const char* mnemonic;
};
constexpr std::array<OpcodeNames, opcode_count> opcodes = {{
    {"nc_matmul", "MATMUL"},
    {"nc_transpose", "TRANSPOSE"},
    {"activation", "ACTIVATE"},
    {"activation_reduce", "ACTIVATE_REDUCE"},
    {"tensor_tensor", "TENSOR_TENSOR"},
    {"tensor_scalar", "TENSOR_SCALAR"},
    {"scalar_tensor_tensor", "SCALAR_TENSOR_TENSOR"},
    {"tensor_scalar_reduce", "TENSOR_SCALAR_REDUCE"},
    {"tensor_reduce", "TENSOR_REDUCE"},
    {"tensor_tensor_scan", "TENSOR_TENSOR_SCAN"},
    {"tensor_copy", "TENSOR_COPY"},
    {"tensor_copy_predicated", "TENSOR_COPY_PREDICATED"},
    {"select", "SELECT"},
    {"reciprocal", "RECIPROCAL"},
    {"bn_stats", "BN_STATS"},
    {"bn_aggr", "BN_AGGR"},
    {"memset", "MEMSET"},
    {"iota", "IOTA"},
    {"affine_select", "AFFINE_SELECT"},
    {"max8", "MAX8"},
    {"find_index8", "FIND_INDEX8"},
    {"partition_reduce", "PARTITION_REDUCE"},
    {"random_bits", "RANDOM_BITS"},
    {"gpsimd_program", "GPSIMD_PROGRAM"},
    {"range_select", "RANGE_SELECT"},
    {"dropout", "DROPOUT"},
    {"stream_shuffle", "STREAM_SHUFFLE"},
    {"tensor_copy_dynamic_src", "TENSOR_COPY_DYNAMIC_SRC"},
    {"tensor_copy_dynamic_dst", "TENSOR_COPY_DYNAMIC_DST"},
    {"local_gather", "LOCAL_GATHER"},
    {"local_scatter", "LOCAL_SCATTER"},
    {"dma_load", "DMA_LOAD"},
    {"dma_store", "DMA_STORE"},
    {"dma_copy", "DMA_COPY"},
    {"dma_copy", "DMA_HBM"},
    {"dma_gather", "DMA_GATHER"},
    {"dma_scatter", "DMA_SCATTER"},
}};

constexpr std::array<const char*, alu_op_count> alu_ops = {"bypass",
                                                           "add",
                                                           "subtract",
                                                           "multiply",
                                                           "divide",
                                                           "maximum",
                                                           "minimum",
                                                           "power",
                                                           "mod",
                                                           "equal",
                                                           "not_equal",
                                                           "greater",
                                                           "greater_equal",
                                                           "less",
                                                           "less_equal",
                                                           "logical_and",
                                                           "logical_or",
                                                           "logical_xor",
                                                           "bitwise_and",
                                                           "bitwise_or",
                                                           "bitwise_xor",
                                                           "left_shift",
                                                           "logical_right_shift",
                                                           "arithmetic_right_shift"};

constexpr std::array<const char*, function_count> functions = {
    "copy",    "identity",   "square",  "abs",        "sign",         "relu",         "prelu",
    "exp",     "log",        "sigmoid", "tanh",       "softplus",     "mish",         "silu",
    "silu_dx", "gelu",       "gelu_dx", "gelu_tanh",  "gelu_tanh_dx", "gelu_sigmoid", "gelu_sigmoid_dx",
    "erf",     "erf_dx",     "tanh_dx", "sigmoid_dx", "sin",          "arctan",       "sqrt",
    "rsqrt",   "reciprocal", "floor",   "ceil",       "round",        "cos",          "is_nan"};

}  // namespace

const char* opcode_name(Opcode opcode) { return opcodes[static_cast<size_t>(opcode)].call; }
const char* opcode_mnemonic(Opcode opcode) { return opcodes[static_cast<size_t>(opcode)].mnemonic; }
const char* alu_op_name(AluOp op) { return alu_ops[static_cast<size_t>(op)]; }
const char* function_name(Function function) { return functions[static_cast<size_t>(function)]; }

std::optional<Function> parse_function(std::string_view name) {
  for (size_t i = 0; i < functions.size(); ++i)
    if (name == functions[i]) return static_cast<Function>(i);
  return std::nullopt;
}

std::optional<FunctionRange> function_range(Function function) {
  switch (function) {  // SHARED of the data sheet (aws-neuron-sdk, nki/api/nki.api.shared)
    case Function::log:
      return FunctionRange{0x1p-64f, 0x1p64f, false};
    case Function::sin:
      return FunctionRange{0.0f, 3.14159274f, true};
    case Function::arctan:
      return FunctionRange{0.0f, 1.57079637f, true};
    case Function::sqrt:
      return FunctionRange{0x1p-116f, 0x1p118f, false};
    case Function::rsqrt:
      return FunctionRange{0x1p-87f, 0x1p97f, false};
    case Function::reciprocal:
      return FunctionRange{0x1p-42f, 0x1p42f, true};
    default:
      return std::nullopt;
  }
}

}  // namespace heddle::systolic
