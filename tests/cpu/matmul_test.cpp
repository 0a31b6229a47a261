// Every matmul implementation against a double loop, over odd shapes, transpositions and batches.
#include "cpu/kernels/matmul.h"

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "cpu/kernels/matmul_table.h"
#include "cpu/openblas.h"
#include "heddle/error.h"
#include "heddle/tensor.h"
#include "tests/catch.h"

using namespace heddle;
using namespace heddle::cpu;

namespace {

Tensor random_operand(std::mt19937& random, DType dtype, const Shape& shape) {
  Tensor t(dtype, shape);
  std::uniform_real_distribution<double> floats(-1, 1);
  std::uniform_int_distribution<int> ints(-128, 127);
  for (int64_t i = 0; i < t.elements(); ++i) t.set(i, dtype == DType::int8 ? ints(random) : floats(random));
  return t;
}

struct Case {
  Shape a, b;
  bool transpose_a = false, transpose_b = false;
};

// Calls the epilogue's counter for each element; negates y, to see that it ran on complete elements.
struct Counter {
  std::vector<int> hits;
  int64_t columns;
};

void count_block(void* context, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  auto* counter = static_cast<Counter*>(context);
  for (int64_t r = row; r < row + rows; ++r)
    for (int64_t c = column; c < column + columns; ++c)
      ++counter->hits[static_cast<size_t>(r * counter->columns + c)];
}

std::vector<double> values(const Tensor& t) {
  std::vector<double> v(static_cast<size_t>(t.elements()));
  for (size_t i = 0; i < v.size(); ++i) v[i] = t.at(static_cast<int64_t>(i));
  return v;
}

// Largest |got - ref| in units of the bound c * u_acc * sqrt(K) * (|A||B|) + u_out * |ref|.
double worst_error(const MatmulShape& s, const Tensor& a, const Tensor& b, const std::vector<double>& got) {
  const std::vector<double> x = values(a), w = values(b);
  const double u_acc = s.dtype == DType::int8 ? 0 : unit_roundoff(s.dtype == f64 ? f64 : f32);
  const double u_out = unit_roundoff(s.out_dtype);
  double worst = 0;
  for (int64_t batch = 0; batch < s.batches(); ++batch) {
    const MatmulOperands at = matmul_operands(s, batch);
    for (int64_t i = 0; i < s.m; ++i)
      for (int64_t j = 0; j < s.n; ++j) {
        double sum = 0, magnitude = 0;
        for (int64_t p = 0; p < s.k; ++p) {
          const double product =
              x[static_cast<size_t>(at.a * s.m * s.k + (s.transpose_a ? p * s.m + i : i * s.k + p))] *
              w[static_cast<size_t>(at.b * s.k * s.n + (s.transpose_b ? j * s.k + p : p * s.n + j))];
          sum += product;
          magnitude += std::fabs(product);
        }
        const double difference = std::fabs(got[static_cast<size_t>((batch * s.m + i) * s.n + j)] - sum);
        // Sixteen-bit results are rounded to nearest; half floats also underflow.
        const double bound = 2 * u_acc * std::sqrt(static_cast<double>(s.k)) * magnitude +
                             u_out * std::fabs(sum) + (s.out_dtype == f16 ? 6e-8 : 0);
        worst = std::max(worst, difference == 0 ? 0 : difference / bound);
      }
  }
  return worst;
}

// Runs one implementation, or returns false where it does not take the shape.
bool check(const Case& c, DType dtype, int threads, MatmulKind kind, std::mt19937& random) {
  const MatmulShape s = matmul_shape(dtype, c.a, c.b, c.transpose_a, c.transpose_b);
  std::unique_ptr<Matmul> matmul;
  try {
    matmul = std::make_unique<Matmul>(s, Threads{threads}, kind);
  } catch (const Error& e) {
    CHECK(e.code() == ErrorCode::unsupported);
    return false;
  }
  const Tensor a = random_operand(random, dtype, c.a), b = random_operand(random, dtype, c.b);
  Tensor y = Tensor::full(dtype == DType::int8 ? 77 : NAN, s.out_dtype, Shape{s.batches(), s.m, s.n});
  Tensor scratch(u8, Shape{static_cast<int64_t>(matmul->plan().scratch_bytes)});
  std::memset(scratch.data(), 0xff, scratch.bytes());
  Counter counter{std::vector<int>(static_cast<size_t>(y.elements())), s.n};
  matmul->run(a.data(), b.data(), y.data(), scratch.data(), {count_block, &counter});
  INFO(matmul->plan().name << " " << dtype_name(dtype) << " " << to_string(c.a) << (c.transpose_a ? "'" : "")
                           << " x " << to_string(c.b) << (c.transpose_b ? "'" : "") << ", threads "
                           << threads);
  CHECK(worst_error(s, a, b, values(y)) <= 1);
  CHECK(counter.hits == std::vector<int>(static_cast<size_t>(y.elements()), 1));
  // The same bits again.
  Tensor again = y.clone();
  matmul->run(a.data(), b.data(), again.data(), scratch.data());
  CHECK(std::memcmp(again.data(), y.data(), y.bytes()) == 0);
  return true;
}

Case cube(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b) {
  return {transpose_a ? Shape{k, m} : Shape{m, k}, transpose_b ? Shape{n, k} : Shape{k, n}, transpose_a,
          transpose_b};
}

const MatmulKind kinds[] = {MatmulKind::nothing,  MatmulKind::zero,    MatmulKind::tiled,
                            MatmulKind::streamed, MatmulKind::dot,     MatmulKind::integer,
                            MatmulKind::onednn,   MatmulKind::openblas};

}  // namespace

TEST_CASE("matmul implementations agree with a double loop", "[cpu][matmul]") {
  std::mt19937 random(1);
  const int64_t shapes[][3] = {{1, 1, 1},       {1, 7, 129},     {7, 1, 130},   {5, 3, 2},
                               {13, 17, 19},    {2, 300, 61},    {8, 33, 127},  {12, 32, 64},
                               {127, 128, 129}, {129, 127, 128}, {31, 97, 401}, {200, 70, 30},
                               {130, 530, 390}, {3, 5000, 9},    {260, 40, 5}};
  for (const DType dtype : {f64, f32, bf16, f16, i8})
    for (const MatmulKind kind : kinds) {
      int run = 0;
      for (const auto& [m, n, k] : shapes)
        for (int transposed = 0; transposed < 4; ++transposed)
          for (int threads : {1, 3})
            run += check(cube(m, n, k, transposed & 1, transposed & 2), dtype, threads, kind, random);
      UNSCOPED_INFO(dtype_name(dtype) << " kind " << static_cast<int>(kind) << ": " << run << " cases");
    }
  CHECK(matmul_libraries().openblas == openblas::status().available);
}

TEST_CASE("matmul by the table takes every shape", "[cpu][matmul]") {
  std::mt19937 random(2);
  const Case cases[] = {{{0, 5}, {5, 3}},
                        {{4, 5}, {5, 0}},
                        {{4, 0}, {0, 3}},
                        {{0, 0}, {0, 0}},
                        {{2, 0, 3}, {3, 4}},
                        {{0, 2, 3}, {3, 4}},
                        {{3, 17, 19}, {19, 23}},
                        {{3, 17, 19}, {3, 19, 23}},
                        {{3, 19, 17}, {19, 23}, true, false},
                        {{17, 19}, {3, 19, 23}},
                        {{2, 1, 17, 19}, {3, 19, 23}},
                        {{2, 3, 17, 19}, {1, 3, 19, 23}},
                        {{2, 1, 5, 7, 3}, {4, 1, 3, 6}},
                        {{12, 64, 65}, {12, 70, 65}, false, true},
                        {{5, 1, 64}, {5, 70, 64}, false, true},
                        {{5, 30, 64}, {5, 64, 1}},
                        {{6, 64, 30}, {1, 64, 1}, true, false}};
  for (const DType dtype : {f64, f32, bf16, f16, i8})
    for (const Case& c : cases)
      for (int threads : {1, 2, 3}) {
        const MatmulShape s = matmul_shape(dtype, c.a, c.b, c.transpose_a, c.transpose_b);
        const Matmul chosen(s, Threads{threads});
        CHECK(check(c, dtype, threads, chosen.plan().kind, random));
      }
}

TEST_CASE("own matmul kernels give the same bits at any thread count", "[cpu][matmul]") {
  std::mt19937 random(3);
  const Case c = cube(150, 700, 410, false, false);
  const Tensor a = random_operand(random, f32, c.a), b = random_operand(random, f32, c.b);
  Tensor one(f32, {150, 700}), y(f32, {150, 700});
  for (int threads : {1, 2, 4, 7}) {
    Matmul matmul(matmul_shape(f32, c.a, c.b, false, false), {threads}, MatmulKind::tiled);
    Tensor scratch(u8, Shape{static_cast<int64_t>(matmul.plan().scratch_bytes)});
    Tensor& out = threads == 1 ? one : y;
    matmul.run(a.data(), b.data(), out.data(), scratch.data());
    if (threads > 1) CHECK(std::memcmp(one.data(), y.data(), y.bytes()) == 0);
  }
}

TEST_CASE("matmul refuses what does not fit", "[cpu][matmul]") {
  const auto code = [](auto make) {
    try {
      make();
    } catch (const Error& e) {
      return e.code();
    }
    return ErrorCode::internal;
  };
  CHECK(code([] { matmul_shape(f32, {3, 4}, {5, 6}, false, false); }) == ErrorCode::shape_mismatch);
  CHECK(code([] { matmul_shape(f32, {4}, {4, 6}, false, false); }) == ErrorCode::shape_mismatch);
  CHECK(code([] { matmul_shape(f32, {2, 3, 4}, {3, 4, 6}, false, false); }) == ErrorCode::shape_mismatch);
  CHECK(code([] { matmul_shape(i32, {3, 4}, {4, 6}, false, false); }) == ErrorCode::dtype_mismatch);
  CHECK(code([] {
          Matmul(matmul_shape(f16, {3, 4}, {4, 6}, false, false), {1}, MatmulKind::openblas);
        }) == ErrorCode::unsupported);
}

TEST_CASE("the matmul table uses what there is", "[cpu][matmul]") {
  const MatmulShape big = matmul_shape(f32, {512, 512}, {512, 512}, false, false);
  CHECK(choose_matmul(big, {2}, Isa::avx2, {}) == MatmulKind::tiled);
  CHECK(choose_matmul(big, {2}, Isa::avx512, {true, true}) == MatmulKind::onednn);
  const MatmulShape doubles = matmul_shape(f64, {512, 512}, {512, 512}, false, false);
  CHECK(choose_matmul(doubles, {2}, Isa::avx512, {true, true}) == MatmulKind::openblas);
  CHECK(choose_matmul(doubles, {2}, Isa::avx512, {true, false}) == MatmulKind::tiled);
  CHECK(matmul_threads(big, {2}).count == 2);
  CHECK(matmul_threads(matmul_shape(f32, {16, 16}, {16, 16}, false, false), {2}).count == 1);
}
