#include "cpu/onednn.h"

#include <omp.h>

#include "heddle/error.h"

#if HEDDLE_HAVE_ONEDNN
#include "cpu/onednn_api.h"
#endif

namespace heddle::cpu::onednn {

#if HEDDLE_HAVE_ONEDNN

namespace {

dnnl::memory::data_type data_type(DType dtype) {
  using T = dnnl::memory::data_type;
  switch (dtype) {
    case DType::float32:
      return T::f32;
    case DType::bfloat16:
      return T::bf16;
    case DType::float16:
      return T::f16;
    case DType::int8:
      return T::s8;
    case DType::int32:
      return T::s32;
    default:
      break;
  }
  throw Error(ErrorCode::unsupported, std::string("oneDNN has no matmul of ") + dtype_name(dtype));
}

// oneDNN plans for, and runs with, the OpenMP thread count of the calling thread.
class ThreadCount {
 public:
  explicit ThreadCount(Threads threads) : before_(omp_get_max_threads()) {
    if (before_ != threads.count) omp_set_num_threads(threads.count);
    changed_ = before_ != threads.count;
  }
  ~ThreadCount() {
    if (changed_) omp_set_num_threads(before_);
  }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
  bool changed_ = false;
};

// One operand: its batches (1 where it is broadcast) and its matrix, `rows` x `columns` after any
// transposition.
dnnl::memory::desc describe(const MatmulShape& s, DType dtype, const std::array<int64_t, max_rank>& step,
                            int64_t rows, int64_t columns, bool transposed) {
  dnnl::memory::dims dims, strides;
  for (int i = 0; i < s.batch_rank; ++i) {
    const int64_t matrices = step[static_cast<size_t>(i)];
    dims.push_back(matrices == 0 ? 1 : s.batch[static_cast<size_t>(i)]);
    strides.push_back((matrices == 0 ? 1 : matrices) * rows * columns);
  }
  dims.insert(dims.end(), {rows, columns});
  if (transposed)
    strides.insert(strides.end(), {1, rows});
  else
    strides.insert(strides.end(), {columns, 1});
  return {dims, data_type(dtype), strides};
}

}  // namespace

struct MatmulPrimitive::State {
  Threads threads;
  std::string implementation;
  uint64_t scratch_bytes = 0;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul primitive;
  dnnl::memory a, b, y, scratch;
};

std::string version() {
  const dnnl_version_t* v = dnnl_version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

MatmulPrimitive::MatmulPrimitive(const MatmulShape& s, Threads threads) : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.threads = threads;
  try {
    const ThreadCount count(threads);
    std::array<int64_t, max_rank> y_step{};
    int64_t matrices = 1;
    for (int i = s.batch_rank; i-- > 0;) {
      y_step[static_cast<size_t>(i)] = matrices;
      matrices *= s.batch[static_cast<size_t>(i)];
    }
    const auto a = describe(s, s.dtype, s.a_step, s.m, s.k, s.transpose_a);
    const auto b = describe(s, s.dtype, s.b_step, s.k, s.n, s.transpose_b);
    const auto y = describe(s, s.out_dtype, y_step, s.m, s.n, false);
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const auto description = describe_matmul(state.engine, a, b, y, attr);
    state.implementation = description.impl_info_str();
    if (state.implementation.rfind("ref", 0) == 0)
      throw Error(ErrorCode::unsupported,
                  std::string("oneDNN ") + version() +
                      " multiplies this only with its reference loops on this processor");
    state.primitive = dnnl::matmul(description);
    const auto scratch = description.scratchpad_desc();
    state.scratch_bytes = scratch.get_size();
    state.a = dnnl::memory(a, state.engine, DNNL_MEMORY_NONE);
    state.b = dnnl::memory(b, state.engine, DNNL_MEMORY_NONE);
    state.y = dnnl::memory(y, state.engine, DNNL_MEMORY_NONE);
    state.scratch = dnnl::memory(scratch, state.engine, DNNL_MEMORY_NONE);
  } catch (const dnnl::error& e) {
    throw Error(ErrorCode::unsupported,
                "oneDNN " + version() + " does not offer this multiplication: " + e.what());
  }
}

MatmulPrimitive::~MatmulPrimitive() = default;

uint64_t MatmulPrimitive::scratch_bytes() const { return state_->scratch_bytes; }

const std::string& MatmulPrimitive::implementation() const { return state_->implementation; }

void MatmulPrimitive::run(const void* a, const void* b, void* y, void* scratch) {
  State& state = *state_;
  const ThreadCount count(state.threads);
  // The C functions, because the C++ one builds a map for each call.
  bool good = dnnl_memory_set_data_handle(state.a.get(), const_cast<void*>(a)) == dnnl_success;
  good = good && dnnl_memory_set_data_handle(state.b.get(), const_cast<void*>(b)) == dnnl_success;
  good = good && dnnl_memory_set_data_handle(state.y.get(), y) == dnnl_success;
  dnnl_exec_arg_t arguments[4] = {{DNNL_ARG_SRC, state.a.get()},
                                  {DNNL_ARG_WEIGHTS, state.b.get()},
                                  {DNNL_ARG_DST, state.y.get()},
                                  {DNNL_ARG_SCRATCHPAD, state.scratch.get()}};
  if (state.scratch_bytes != 0)
    good = good && dnnl_memory_set_data_handle(state.scratch.get(), scratch) == dnnl_success;
  good =
      good && dnnl_primitive_execute(state.primitive.get(), state.stream.get(), 4, arguments) == dnnl_success;
  if (!good)
    throw Error(ErrorCode::device,
                "oneDNN " + version() + " failed to run a matmul (" + state.implementation + ")");
}

#else  // built without oneDNN

struct MatmulPrimitive::State {
  std::string implementation;
};

std::string version() { return {}; }

MatmulPrimitive::MatmulPrimitive(const MatmulShape&, Threads) {
  throw Error(ErrorCode::unsupported, "this build of Heddle has no oneDNN");
}
MatmulPrimitive::~MatmulPrimitive() = default;
uint64_t MatmulPrimitive::scratch_bytes() const { return 0; }
const std::string& MatmulPrimitive::implementation() const { return state_->implementation; }
void MatmulPrimitive::run(const void*, const void*, void*, void*) {}

#endif

}  // namespace heddle::cpu::onednn
