// Runs a kernel on host vectors: declare values, emit, run.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "heddle/systolic/builder.h"
#include "heddle/systolic/program.h"
#include "heddle/tensor.h"

namespace heddle::test {

using namespace heddle::systolic;

// Memory that a program runs in, aligned as it asks.
class WorkingMemory {
 public:
  explicit WorkingMemory(uint64_t bytes) : bytes_(bytes + 64) {}
  std::byte* data() {
    const auto at = reinterpret_cast<uintptr_t>(bytes_.data());
    return bytes_.data() + (64 - at % 64) % 64;
  }

 private:
  std::vector<std::byte> bytes_;
};

// Values in order of declaration, bound to tensors that are modified in place.
class KernelRun {
 public:
  explicit KernelRun(const std::string& device = "trn1") : nc(load_description(device)) {}

  Hbm value(const Tensor& tensor, const std::string& name = "value") {
    tensors.push_back(tensor.contiguous());
    return nc.hbm(name + std::to_string(tensors.size() - 1), tensor.shape(), tensor.dtype());
  }
  // Compiles and runs; tensors[i] is then the i-th value.
  Program run(const CompileOptions& options = {}) {
    Program program = compile(std::move(nc).finish(), options);
    run(program);
    return program;
  }
  void run(const Program& program) {
    WorkingMemory memory(program.memory_bytes());
    std::vector<std::byte*> values;
    for (Tensor& t : tensors) values.push_back(static_cast<std::byte*>(t.data()));
    program.run(values, memory.data());
  }

  NeuronCore nc;
  std::vector<Tensor> tensors;
};

inline Tensor random_tensor(std::mt19937_64& random, DType dtype, const Shape& shape, double low = -1,
                            double high = 1) {
  Tensor t(dtype, shape);
  std::uniform_real_distribution<double> uniform(low, high);
  for (int64_t i = 0; i < t.elements(); ++i) t.set(i, uniform(random));
  return t;
}

}  // namespace heddle::test
