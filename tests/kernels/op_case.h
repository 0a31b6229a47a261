// One op applied to host tensors: its reference, its decomposition, and how far they may be apart.
#pragma once

#include <string>
#include <vector>

#include "heddle/schema.h"
#include "heddle/tensor.h"

namespace heddle::test {

struct OpCase {
  std::string op;
  Attributes attributes;
  std::vector<Tensor> inputs;  // undefined: a missing optional operand
};

// The schema; fails the test when there is no such op.
const OpSchema& schema_of(const OpCase& c);
// "softmax {axis=1} (float32[2,3])"
std::string to_string(const OpCase& c);

// The inferred types of the results. Throws what Graph::add throws.
std::vector<ValueType> infer(const OpCase& c);
Cost cost_of(const OpCase& c);
std::vector<Tensor> run_reference(const OpCase& c);
// The same through the op's decomposition, every node of which is evaluated by its own reference.
std::vector<Tensor> run_decomposition(const OpCase& c);

// Element by element what the schema's accuracy allows: c * u_acc * sqrt(depth) * magnitude + 2 * u_out *
// |reference|.
std::vector<std::vector<double>> error_bounds(const OpCase& c, const std::vector<Tensor>& reference);

// CHECKs that every element of `got` is within `bound` of `want`; NaNs and infinities must be equal.
void check_close(const Tensor& got, const Tensor& want, const std::vector<double>& bound,
                 const std::string& what);

// Gradients of sum(weight * output) with respect to the float inputs listed in `wrt`, by the schema's rule
// and by central differences of the reference, compared. All float inputs are float64. `weights` are the
// output gradients; undefined: none flows into that output.
void check_gradient(const OpCase& c, const std::vector<Tensor>& weights, const std::vector<size_t>& wrt);

// Normal numbers, rounded to `dtype`.
Tensor normal_tensor(uint64_t seed, DType dtype, const Shape& shape, double scale = 1, double shift = 0);

}  // namespace heddle::test
