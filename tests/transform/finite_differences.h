// Checks gradients against finite differences of the oracle, in double precision.
#pragma once

#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "heddle/autodiff.h"
#include "heddle/ops/pointwise.h"
#include "heddle/ops/reduce.h"
#include "kernels/evaluate.h"
#include "tests/catch.h"
#include "tests/kernels/random_tensor.h"

namespace heddle::test {

// `build` makes values from the inputs of the graph. The loss is the sum of their products with random
// weights, so that every element of every result counts. `inputs` are tensors; those of dtype float64 are
// derived by.
inline void check_gradients(
    std::mt19937_64& random, const std::vector<Tensor>& inputs,
    const std::function<std::vector<Value>(Graph, const std::vector<Value>&)>& build) {
  Graph g;
  std::vector<Value> values, wrt;
  std::map<ValueId, Tensor> known;
  for (size_t i = 0; i < inputs.size(); ++i) {
    values.push_back(g.input("x" + std::to_string(i), inputs[i].dtype(), Dims(inputs[i].shape())));
    known[values[i].id()] = inputs[i].clone();
    if (inputs[i].dtype() == DType::float64) wrt.push_back(values[i]);
  }
  Value loss;
  for (const Value& y : build(g, values)) {
    if (y.dtype() != DType::float64) continue;
    const Value weighted = sum(mul(y, g.constant(random_tensor(random, f64, y.dims().shape(), 0.5, 1.5))));
    loss = loss ? add(loss, weighted) : weighted;
  }
  const std::vector<Value> grads = gradients(loss, wrt);
  INFO(g.to_string());
  std::vector<ValueId> wanted;
  for (const Value& v : grads) wanted.push_back(v.id());
  const std::vector<Tensor> analytic = evaluate_values(g, wanted, known);
  const ValueId loss_id = loss.id();
  const auto loss_at = [&] { return evaluate_values(g, {&loss_id, 1}, known)[0].at(0); };
  const double scale = std::fabs(loss_at()) + 1;
  for (size_t k = 0; k < wrt.size(); ++k) {
    Tensor& x = known[wrt[k].id()];
    REQUIRE(analytic[k].shape() == x.shape());
    for (int64_t i = 0; i < x.elements(); ++i) {
      // Central differences with Richardson's step: the error left is h^4 f''''' / 30 and 2^-53 |f| / h times
      // a few. With h = 1e-3 the first is below 1e-12 |f'''''|, the second below 1e-12 |f|; 1e-8 leaves room
      // for functions whose fifth derivative is large.
      const double at = x.at(i), h = 1e-3;
      const auto central = [&](double step) {
        x.set(i, at + step);
        const double above = loss_at();
        x.set(i, at - step);
        const double below = loss_at();
        x.set(i, at);
        return (above - below) / (2 * step);
      };
      const double numeric = (4 * central(h / 2) - central(h)) / 3;
      CAPTURE(k, i, at);
      CHECK(std::fabs(analytic[k].at(i) - numeric) <= 1e-8 * (scale + std::fabs(numeric)));
    }
  }
}

}  // namespace heddle::test
