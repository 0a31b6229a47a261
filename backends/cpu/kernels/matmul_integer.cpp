// int8 matmul with int32 sums; a plain kernel.
#include <algorithm>
#include <cstring>

#include "cpu/kernels/matmul_own.h"

namespace heddle::cpu {
namespace {

constexpr int64_t rows_task = 16;

}  // namespace

uint64_t integer_matmul_scratch(const MatmulShape& s, Threads threads) {
  // b with its rows along k, for each thread.
  return s.transpose_b ? static_cast<uint64_t>(s.k * s.n * threads.count) : 0;
}

void integer_matmul(const MatmulShape& s, Threads threads, const MatmulPointers& at,
                    const MatmulEpilogue& epilogue) {
  const int64_t blocks = (s.m + rows_task - 1) / rows_task;
  // Neighbouring tasks share b: a thread takes a run of them and transposes b once for each matrix it meets.
  parallel_tasks(threads, threads.count, [&](int64_t part, int thread) {
    const int64_t tasks = s.batches() * blocks;
    int64_t transposed = -1;
    for (int64_t task = tasks * part / threads.count; task < tasks * (part + 1) / threads.count; ++task) {
      const int64_t batch = task / blocks, first = task % blocks * rows_task;
      const int64_t rows = std::min(rows_task, s.m - first);
      const MatmulOperands of = matmul_operands(s, batch);
      const auto* a = static_cast<const int8_t*>(at.a) + of.a * s.m * s.k;
      const auto* b = static_cast<const int8_t*>(at.b) + of.b * s.k * s.n;
      if (s.transpose_b) {
        auto* to = static_cast<int8_t*>(at.scratch) + thread * s.k * s.n;
        if (transposed != of.b)
          for (int64_t j = 0; j < s.n; ++j)
            for (int64_t p = 0; p < s.k; ++p) to[p * s.n + j] = b[j * s.k + p];
        transposed = of.b;
        b = to;
      }
      for (int64_t i = first; i < first + rows; ++i) {
        // Unsigned sums wrap where signed ones would be undefined.
        auto* y = static_cast<uint32_t*>(at.y) + (batch * s.m + i) * s.n;
        std::memset(y, 0, static_cast<size_t>(s.n) * sizeof(uint32_t));
        for (int64_t p = 0; p < s.k; ++p) {
          const int32_t left = s.transpose_a ? a[p * s.m + i] : a[i * s.k + p];
          const int8_t* row = b + p * s.n;
          for (int64_t j = 0; j < s.n; ++j) y[j] += static_cast<uint32_t>(left * row[j]);
        }
      }
      if (epilogue.run != nullptr) epilogue.run(epilogue.context, batch * s.m + first, rows, 0, s.n);
    }
  });
}

}  // namespace heddle::cpu
