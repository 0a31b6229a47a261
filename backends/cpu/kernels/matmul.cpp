#include "cpu/kernels/matmul.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "cpu/kernels/matmul_own.h"
#include "cpu/kernels/matmul_table.h"
#include "cpu/onednn.h"
#include "cpu/openblas.h"
#include "heddle/error.h"

namespace heddle::cpu {
namespace {

[[noreturn]] void refuse(ErrorCode code, const char* why, const Shape& a, const Shape& b) {
  throw Error(code, std::string("matmul of ") + to_string(a) + " and " + to_string(b) + ": " + why);
}

// Merges each batch dimension into its outer neighbour where one step per operand then walks both.
void merge_batch(MatmulShape& s) {
  int rank = 0;
  for (int i = 0; i < s.batch_rank; ++i) {
    const auto from = static_cast<size_t>(i);
    if (s.batch[from] == 1) continue;
    if (rank > 0) {
      const auto outer = static_cast<size_t>(rank - 1);
      if (s.a_step[outer] == s.a_step[from] * s.batch[from] &&
          s.b_step[outer] == s.b_step[from] * s.batch[from]) {
        s.batch[outer] *= s.batch[from];
        s.a_step[outer] = s.a_step[from];
        s.b_step[outer] = s.b_step[from];
        continue;
      }
    }
    const auto to = static_cast<size_t>(rank++);
    s.batch[to] = s.batch[from];
    s.a_step[to] = s.a_step[from];
    s.b_step[to] = s.b_step[from];
  }
  s.batch_rank = rank;
  // The matrices of a lie below each other: they are one matrix of more rows.
  if (rank > 0 && !s.transpose_a && s.a_step[static_cast<size_t>(rank - 1)] == 1 &&
      s.b_step[static_cast<size_t>(rank - 1)] == 0) {
    const int64_t folded = s.batch[static_cast<size_t>(--s.batch_rank)];
    s.m *= folded;
    for (int i = 0; i < s.batch_rank; ++i) s.a_step[static_cast<size_t>(i)] /= folded;
  }
}

}  // namespace

int64_t MatmulShape::batches() const {
  int64_t count = 1;
  for (int i = 0; i < batch_rank; ++i) count *= batch[static_cast<size_t>(i)];
  return count;
}

double MatmulShape::flops() const {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) *
         static_cast<double>(batches());
}

MatmulShape matmul_shape(DType dtype, const Shape& a, const Shape& b, bool transpose_a, bool transpose_b) {
  MatmulShape s;
  s.dtype = dtype;
  switch (dtype) {
    case DType::float64:
    case DType::float32:
    case DType::bfloat16:
    case DType::float16:
      s.out_dtype = dtype;
      break;
    case DType::int8:
      s.out_dtype = DType::int32;
      break;
    default:
      throw Error(ErrorCode::dtype_mismatch,
                  std::string("matmul on cpu takes float64, float32, bfloat16, float16 and int8, not ") +
                      dtype_name(dtype));
  }
  if (a.rank() < 2 || b.rank() < 2)
    refuse(ErrorCode::shape_mismatch, "each operand needs at least two dimensions", a, b);
  s.transpose_a = transpose_a;
  s.transpose_b = transpose_b;
  s.m = a.at(transpose_a ? -1 : -2);
  s.k = a.at(transpose_a ? -2 : -1);
  s.n = b.at(transpose_b ? -2 : -1);
  if (b.at(transpose_b ? -1 : -2) != s.k)
    refuse(ErrorCode::shape_mismatch, "the inner dimensions differ", a, b);

  s.batch_rank = std::max(a.rank(), b.rank()) - 2;
  int64_t a_matrices = 1, b_matrices = 1;
  for (int i = s.batch_rank; i-- > 0;) {
    const int from_end = s.batch_rank - i + 2;  // the axis is -from_end
    const int64_t in_a = from_end <= a.rank() ? a.at(-from_end) : 1;
    const int64_t in_b = from_end <= b.rank() ? b.at(-from_end) : 1;
    if (in_a != in_b && in_a != 1 && in_b != 1)
      refuse(ErrorCode::shape_mismatch, "the batch dimensions do not broadcast", a, b);
    const auto at = static_cast<size_t>(i);
    s.batch[at] = in_a == 1 ? in_b : in_a;
    s.a_step[at] = in_a == 1 ? 0 : a_matrices;
    s.b_step[at] = in_b == 1 ? 0 : b_matrices;
    a_matrices *= in_a;
    b_matrices *= in_b;
  }
  merge_batch(s);
  return s;
}

MatmulOperands matmul_operands(const MatmulShape& s, int64_t index) {
  MatmulOperands at;
  for (int i = s.batch_rank; i-- > 0;) {
    const auto axis = static_cast<size_t>(i);
    const int64_t here = index % s.batch[axis];
    index /= s.batch[axis];
    at.a += here * s.a_step[axis];
    at.b += here * s.b_step[axis];
  }
  return at;
}

Matmul::Matmul(const MatmulShape& shape, Threads threads)
    : Matmul(shape, threads, choose_matmul(shape, threads, this_cpu().isa, matmul_libraries())) {}

Matmul::Matmul(const MatmulShape& shape, Threads threads, MatmulKind kind) : shape_(shape) {
  plan_.kind = kind;
  plan_.threads = matmul_threads(shape, threads);
  const bool floats = shape.dtype != DType::int8;
  const auto need = [](bool condition, const char* why) {
    if (!condition) throw Error(ErrorCode::unsupported, why);
  };
  const bool zeros = shape.m == 0 || shape.n == 0 || shape.k == 0 || shape.batches() == 0;
  if (kind != MatmulKind::nothing && kind != MatmulKind::zero)
    need(!zeros, "this matmul has a dimension of size zero: there is nothing to multiply");
  switch (kind) {
    case MatmulKind::nothing:
      need(zeros, "this matmul has a result: it needs a kernel");
      plan_.name = "cpu.matmul.nothing";
      break;
    case MatmulKind::zero:
      need(shape.k == 0, "this matmul has something to sum: its result need not be zero");
      plan_.name = "cpu.matmul.zero";
      break;
    case MatmulKind::tiled:
      need(floats, "the tiled matmul takes floats");
      plan_.name = "cpu.matmul.tiled";
      plan_.scratch_bytes = tiled_matmul_scratch(shape, plan_.threads);
      break;
    case MatmulKind::streamed:
      need(floats && streamed_matmul_takes(shape),
           "the streamed matmul takes floats, few rows and b not transposed");
      plan_.name = "cpu.matmul.streamed";
      plan_.scratch_bytes = streamed_matmul_scratch(shape, plan_.threads);
      break;
    case MatmulKind::dot:
      need(floats && dot_matmul_takes(shape), "the dot matmul takes floats, few rows and b transposed");
      plan_.name = "cpu.matmul.dot";
      plan_.scratch_bytes = dot_matmul_scratch(shape, plan_.threads);
      break;
    case MatmulKind::integer:
      need(!floats, "the integer matmul takes int8");
      plan_.name = "cpu.matmul.integer";
      plan_.scratch_bytes = integer_matmul_scratch(shape, plan_.threads);
      break;
    case MatmulKind::onednn:
      plan_.name = "cpu.matmul.onednn";
      primitive_ = std::make_unique<onednn::MatmulPrimitive>(shape, plan_.threads);
      plan_.scratch_bytes = primitive_->scratch_bytes();
      break;
    case MatmulKind::openblas:
      need(shape.dtype == DType::float32 || shape.dtype == DType::float64,
           "OpenBLAS multiplies float32 and float64");
      if (!openblas::status().available) throw Error(ErrorCode::unsupported, openblas::status().reason);
      plan_.name = "cpu.matmul.openblas";
      break;
  }
}

Matmul::~Matmul() = default;
Matmul::Matmul(Matmul&&) noexcept = default;
Matmul& Matmul::operator=(Matmul&&) noexcept = default;

void Matmul::run(const void* a, const void* b, void* y, void* scratch, const MatmulEpilogue& epilogue) {
  const MatmulPointers at{a, b, y, scratch};
  switch (plan_.kind) {
    case MatmulKind::nothing:
      return;
    case MatmulKind::tiled:
      return tiled_matmul(shape_, plan_.threads, at, epilogue);
    case MatmulKind::streamed:
      return streamed_matmul(shape_, plan_.threads, at, epilogue);
    case MatmulKind::dot:
      return dot_matmul(shape_, plan_.threads, at, epilogue);
    case MatmulKind::integer:
      return integer_matmul(shape_, plan_.threads, at, epilogue);
    case MatmulKind::onednn:
      primitive_->run(a, b, y, scratch);
      break;
    case MatmulKind::openblas:
      openblas::matmul(shape_, plan_.threads, a, b, y);
      break;
    case MatmulKind::zero:
      std::memset(y, 0,
                  static_cast<size_t>(shape_.batches() * shape_.m * shape_.n) * size_of(shape_.out_dtype));
      break;
  }
  if (epilogue.run == nullptr) return;
  parallel_for(plan_.threads, shape_.batches() * shape_.m, 16, [&](int64_t begin, int64_t end) {
    constexpr int64_t rows = 16;  // few enough to be in a cache between the reads and writes of the epilogue
    for (int64_t row = begin; row < end; row += rows)
      epilogue.run(epilogue.context, row, std::min(rows, end - row), 0, shape_.n);
  });
}

}  // namespace heddle::cpu
