#include "cpu/kernels/pointwise.h"

#include <algorithm>
#include <cstring>

#include "cpu/kernels/pointwise_steps.h"

namespace heddle::cpu {
namespace {

constexpr int64_t parallel_elements = 1 << 17;  // per thread: some 50 microseconds of a memory-bound program

bool is_narrow(DType d) { return d == DType::float32 || d == DType::bfloat16 || d == DType::float16; }

void round_to(DType dtype, const float* from, float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    to[i] = dtype == DType::bfloat16  ? to_float(to_bfloat16(from[i]))
            : dtype == DType::float16 ? to_float(to_float16(from[i]))
            : dtype == DType::boolean ? (from[i] != 0 ? 1.0f : 0.0f)
                                      : from[i];
}
void round_to(DType dtype, const double* from, double* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = dtype == DType::boolean ? (from[i] != 0 ? 1.0 : 0.0) : from[i];
}

}  // namespace

bool pointwise_supported(const ScalarProgram& program) {
  bool narrow = false, wide = false;
  for (uint32_t r = 0; r < program.registers(); ++r) {
    const DType d = program.dtype(r);
    if (is_narrow(d))
      narrow = true;
    else if (d == DType::float64)
      wide = true;
    else if (d != DType::boolean)
      return false;
  }
  return !(narrow && wide);
}

PointwisePlan::PointwisePlan(const ScalarProgram& program, const Shape& common, std::span<const Shape> inputs)
    : program_(program) {
  for (uint32_t r = 0; r < program.registers(); ++r) wide_ |= program.dtype(r) == DType::float64;
  // As few axes as the operands allow: neighbours merge when every operand has both in full or stretches
  // both.
  stride_.resize(inputs.size());
  std::vector<std::vector<int64_t>> full(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    full[i].assign(static_cast<size_t>(common.rank()), 0);
    int64_t step = 1;
    for (int axis = common.rank() - 1, own = inputs[i].rank() - 1; axis >= 0 && own >= 0; --axis, --own) {
      if (inputs[i][own] != 1) full[i][static_cast<size_t>(axis)] = step;
      step *= inputs[i][own];
    }
  }
  for (int axis = 0; axis < common.rank(); ++axis) {
    const size_t a = static_cast<size_t>(axis);
    if (common[axis] == 1) continue;
    bool merge = !size_.empty();
    for (size_t i = 0; merge && i < inputs.size(); ++i)
      merge = full[i][a] == 0 ? stride_[i].back() == 0 : stride_[i].back() == full[i][a] * common[axis];
    if (merge)
      size_.back() *= common[axis];
    else
      size_.push_back(common[axis]);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (merge)
        stride_[i].back() = full[i][a];
      else
        stride_[i].push_back(full[i][a]);
    }
  }
  if (size_.empty()) {
    size_.push_back(1);
    for (auto& s : stride_) s.push_back(0);
  }
  columns_ = size_.back();
  for (size_t a = 0; a + 1 < size_.size(); ++a) rows_ *= size_[a];

  // Registers that only leave, in the arithmetic's own dtype, are written where they go.
  const DType own = wide_ ? DType::float64 : DType::float32;
  direct_output_.assign(program.registers(), -1);
  for (size_t o = 0; o < program.outputs.size(); ++o) {
    const uint32_t r = program.outputs[o];
    if (r < program.inputs.size() || program.steps[r - program.inputs.size()].op == ScalarOp::constant)
      continue;
    if (program.dtype(r) == own && direct_output_[r] < 0) direct_output_[r] = static_cast<int>(o);
  }
  std::vector<uint32_t> last(program.registers(), 0);
  for (uint32_t s = 0; s < program.steps.size(); ++s)
    for (int k = 0; k < scalar_op_info(program.steps[s].op).operands; ++k)
      last[program.steps[s].operand[k]] = s + 1;
  const uint32_t end = static_cast<uint32_t>(program.steps.size()) + 1;
  for (const uint32_t r : program.outputs) last[r] = end;
  slot_.assign(program.registers(), -1);
  std::vector<uint32_t> busy_until;
  const auto take = [&](uint32_t r, uint32_t from, uint32_t until) {
    for (size_t k = 0; k < busy_until.size(); ++k) {
      if (busy_until[k] > from) continue;
      busy_until[k] = std::max(until, from + 1);
      slot_[r] = static_cast<int>(k);
      return;
    }
    slot_[r] = static_cast<int>(busy_until.size());
    busy_until.push_back(std::max(until, from + 1));
  };
  const uint32_t n_in = static_cast<uint32_t>(program.inputs.size());
  for (uint32_t r = 0; r < n_in; ++r)
    if (program.inputs[r] != own || stride_[r].back() == 0)
      take(r, 0, end);  // converted or spread, for the whole block
  for (uint32_t s = 0; s < program.steps.size(); ++s) {
    const ScalarStep& step = program.steps[s];
    const uint32_t r = n_in + s;
    if (step.op == ScalarOp::constant) take(r, 0, end);  // filled once
  }
  for (uint32_t s = 0; s < program.steps.size(); ++s) {
    const ScalarStep& step = program.steps[s];
    const uint32_t r = n_in + s;
    if (step.op == ScalarOp::constant) continue;
    if (direct_output_[r] < 0) take(r, s + 1, last[r]);
    steps_.push_back({step.op, r, step.operand[0], step.operand[1], step.operand[2]});
  }
  slots_ = static_cast<int>(busy_until.size());
}

bool PointwisePlan::parallel(Threads threads) const {
  return threads.count > 1 && rows_ * columns_ >= 2 * parallel_elements;
}

uint64_t PointwisePlan::scratch_bytes(Threads threads) const {
  const uint64_t per_thread =
      static_cast<uint64_t>(slots_) * block * (wide_ ? sizeof(double) : sizeof(float)) +
      program_.registers() * sizeof(void*);
  return (per_thread + 63) / 64 * 64 * static_cast<uint64_t>(threads.count);
}

std::vector<std::pair<uint32_t, uint32_t>> PointwisePlan::in_place() const {
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  std::vector<int64_t> dense(size_.size(), 1);
  for (size_t a = size_.size() - 1; a-- > 0;) dense[a] = dense[a + 1] * size_[a + 1];
  for (uint32_t i = 0; i < program_.inputs.size(); ++i) {
    bool full = true;
    for (size_t a = 0; a < size_.size(); ++a) full &= size_[a] == 1 || stride_[i][a] == dense[a];
    size_t last_read = 0;
    for (size_t s = 0; s < steps_.size(); ++s)
      for (const uint32_t r : {steps_[s].a, steps_[s].b, steps_[s].c})
        if (r == i) last_read = s;
    const bool leaves =
        std::find(program_.outputs.begin(), program_.outputs.end(), i) != program_.outputs.end();
    if (!full || leaves) continue;
    for (uint32_t o = 0; o < program_.outputs.size(); ++o) {
      const uint32_t r = program_.outputs[o];
      if (program_.dtype(r) != program_.inputs[i]) continue;
      size_t written = steps_.size();
      for (size_t s = 0; s < steps_.size(); ++s)
        if (steps_[s].out == r && direct_output_[r] == static_cast<int>(o)) written = s;
      if (last_read <= written) pairs.emplace_back(o, i);
    }
  }
  return pairs;
}

template <class T>
void PointwisePlan::run_rows(int64_t begin, int64_t end, const void* const* in, void* const* out,
                             T* registers, const T** pointer) const {
  const uint32_t n_in = static_cast<uint32_t>(program_.inputs.size());
  const DType own = wide_ ? DType::float64 : DType::float32;
  const auto buffer = [&](uint32_t r) { return registers + static_cast<int64_t>(slot_[r]) * block; };
  for (uint32_t s = 0; s < program_.steps.size(); ++s) {
    const uint32_t r = n_in + s;
    if (program_.steps[s].op != ScalarOp::constant) continue;
    std::fill_n(buffer(r), block, static_cast<T>(program_.steps[s].value));
    pointer[r] = buffer(r);
  }
  // [begin, end) counts elements; each block lies in one row of the space.
  while (begin < end) {
    const int64_t row = begin / columns_, column = begin % columns_;
    const int64_t n = std::min({block, columns_ - column, end - begin});
    for (uint32_t i = 0; i < n_in; ++i) {
      int64_t at = column * stride_[i].back();
      int64_t rest = row;
      for (size_t a = size_.size() - 1; a-- > 0;) {
        at += rest % size_[a] * stride_[i][a];
        rest /= size_[a];
      }
      const char* from =
          static_cast<const char*>(in[i]) + at * static_cast<int64_t>(size_of(program_.inputs[i]));
      if (slot_[i] < 0) {
        pointer[i] = reinterpret_cast<const T*>(from);
        continue;
      }
      T* to = buffer(i);
      if (stride_[i].back() == 0) {
        load_elements(program_.inputs[i], from, to, 1);
        std::fill_n(to + 1, n - 1, to[0]);
      } else {
        load_elements(program_.inputs[i], from, to, n);
      }
      pointer[i] = to;
    }
    for (const Step& step : steps_) {
      T* to = direct_output_[step.out] >= 0 ? static_cast<T*>(out[direct_output_[step.out]]) + begin
                                            : buffer(step.out);
      if (step.op == ScalarOp::cast)
        round_to(program_.dtype(step.out), pointer[step.a], to, n);
      else
        run_step(step.op, pointer[step.a], pointer[step.b], pointer[step.c], to, n);
      pointer[step.out] = to;
    }
    for (uint32_t o = 0; o < program_.outputs.size(); ++o) {
      const uint32_t r = program_.outputs[o];
      if (direct_output_[r] == static_cast<int>(o)) continue;
      const DType dtype = program_.dtype(r);
      store_elements(dtype == own ? own : dtype, pointer[r],
                     static_cast<char*>(out[o]) + begin * static_cast<int64_t>(size_of(dtype)), n);
    }
    begin += n;
  }
}

template <class T>
void PointwisePlan::run_typed(Threads threads, const void* const* in, void* const* out, void* scratch) const {
  const uint64_t per_thread = scratch_bytes({1});
  const Threads used = parallel(threads) ? threads : Threads{1};
  parallel_for(used, rows_ * columns_, block * 8, [&](int64_t begin, int64_t end) {
    const int thread = used.count > 1 ? omp_get_thread_num() : 0;
    char* mine = static_cast<char*>(scratch) + per_thread * static_cast<uint64_t>(thread);
    T* registers = reinterpret_cast<T*>(mine);
    const T** pointers =
        reinterpret_cast<const T**>(mine + static_cast<uint64_t>(slots_) * block * sizeof(T));
    std::fill_n(pointers, program_.registers(), nullptr);
    run_rows<T>(begin, end, in, out, registers, pointers);
  });
}

void PointwisePlan::run(Threads threads, const void* const* in, void* const* out, void* scratch) const {
  if (wide_)
    run_typed<double>(threads, in, out, scratch);
  else
    run_typed<float>(threads, in, out, scratch);
}

}  // namespace heddle::cpu
