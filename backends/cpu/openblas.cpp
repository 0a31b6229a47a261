#include "cpu/openblas.h"

#include <dlfcn.h>
#include <glob.h>
#include <link.h>
#include <omp.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "cpu/isa.h"

namespace heddle::cpu::openblas {
namespace {

// CBLAS, as declared in cblas.h.
constexpr int row_major = 101, no_transpose = 111, transpose = 112;
template <class T>
using Gemm = void (*)(int order, int transpose_a, int transpose_b, int m, int n, int k, T alpha, const T* a,
                      int lda, const T* b, int ldb, T beta, T* c, int ldc);

struct Library {
  Status status;
  Gemm<float> sgemm = nullptr;
  Gemm<double> dgemm = nullptr;
};

std::vector<std::string> candidates() {
  std::vector<std::string> paths;
  for (const char* pattern :
       {"/usr/lib/*/openblas-openmp/libopenblasp-r*.so", "/usr/lib/*/openblas-openmp/libopenblas.so.0"}) {
    glob_t found{};
    if (glob(pattern, 0, nullptr, &found) == 0)
      for (size_t i = 0; i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
    globfree(&found);
  }
  return paths;
}

bool process_has_openblas() {
  return dl_iterate_phdr(
             [](dl_phdr_info* info, size_t, void*) -> int {
               return info->dlpi_name != nullptr && std::strstr(info->dlpi_name, "openblas") != nullptr;
             },
             nullptr) != 0;
}

// OPENBLAS_CORETYPE for as long as this lives, where it helps.
class CoreType {
 public:
  CoreType() {
    if (this_cpu().isa < Isa::avx512 || std::getenv(variable) != nullptr || process_has_openblas()) return;
    set_ = setenv(variable, "SkylakeX", 0) == 0;
  }
  ~CoreType() {
    if (set_) unsetenv(variable);
  }
  CoreType(const CoreType&) = delete;
  CoreType& operator=(const CoreType&) = delete;

 private:
  static constexpr const char* variable = "OPENBLAS_CORETYPE";
  bool set_ = false;
};

// Whether the address space holds what OpenBLAS takes when it is loaded: a buffer of 128 MiB per thread
// (BUFFER_SIZE of 0.3 on x86-64) beside itself. It asks again for ever when it gets none (ulimit -v).
bool has_address_space() {
  const size_t bytes = (static_cast<size_t>(omp_get_num_procs()) + 1) * (size_t{129} << 20);
  void* const room =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return false;
  munmap(room, bytes);
  return true;
}

template <class F>
bool load(void* handle, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(handle, name));
  return function != nullptr;
}

Library open_library() {
  Library library;
  Status& status = library.status;
#if HEDDLE_HAVE_OPENBLAS
  status.reason =
      "no OpenMP build of OpenBLAS in /usr/lib/*/openblas-openmp (Debian: apt install libopenblas0-openmp)";
  for (const std::string& path : candidates()) {
    if (!has_address_space()) {
      status.reason = path + " needs more address space than this process may have (ulimit -v)";
      break;
    }
    const CoreType core_type;
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* why = dlerror();
      status.reason = why != nullptr ? why : path + " cannot be opened";
      continue;
    }
    int (*parallel)() = nullptr;
    char* (*configuration)() = nullptr;
    if (!load(handle, "openblas_get_parallel", parallel) ||
        !load(handle, "openblas_get_config", configuration) || !load(handle, "cblas_sgemm", library.sgemm) ||
        !load(handle, "cblas_dgemm", library.dgemm)) {
      status.reason = path + " lacks a function of OpenBLAS";
      continue;  // never closed: it may have started threads
    }
    if (constexpr int openmp = 2; parallel() != openmp) {
      status.reason =
          path + " is not the OpenMP build of OpenBLAS; its threads would compete with the device's";
      continue;
    }
    status = {true, path, configuration(), {}};
    break;
  }
#else
  status.reason = "this build of Heddle has OpenBLAS switched off";
#endif
  return library;
}

const Library& library() {
  static const Library opened = open_library();
  return opened;
}

template <class T>
void multiply(Gemm<T> gemm, const MatmulShape& s, const void* a, const void* b, void* y) {
  const int m = static_cast<int>(s.m), n = static_cast<int>(s.n), k = static_cast<int>(s.k);
  const int64_t batches = s.batches();
  for (int64_t i = 0; i < batches; ++i) {
    const MatmulOperands at = matmul_operands(s, i);
    gemm(row_major, s.transpose_a ? transpose : no_transpose, s.transpose_b ? transpose : no_transpose, m, n,
         k, T{1}, static_cast<const T*>(a) + at.a * s.m * s.k, s.transpose_a ? m : k,
         static_cast<const T*>(b) + at.b * s.k * s.n, s.transpose_b ? k : n, T{0},
         static_cast<T*>(y) + i * s.m * s.n, n);
  }
}

}  // namespace

const Status& status() { return library().status; }

void matmul(const MatmulShape& shape, Threads threads, const void* a, const void* b, void* y) {
  const Library& blas = library();
  // OpenBLAS runs with the OpenMP thread count of the calling thread.
  const int before = omp_get_max_threads();
  if (before != threads.count) omp_set_num_threads(threads.count);
  if (shape.dtype == DType::float64)
    multiply(blas.dgemm, shape, a, b, y);
  else
    multiply(blas.sgemm, shape, a, b, y);
  if (before != threads.count) omp_set_num_threads(before);
}

}  // namespace heddle::cpu::openblas
