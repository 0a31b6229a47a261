#include "tests/kernels/composite_cases.h"

#include <cmath>
#include <limits>

#include "tests/kernels/op_case.h"

namespace heddle::test {
namespace {

class Cases {
 public:
  Cases(uint64_t seed, DType dtype) : seed_(seed), dtype_(dtype) {}

  Tensor draw(const Shape& shape, double scale = 1, double shift = 0) {
    return draw_as(dtype_, shape, scale, shift);
  }
  Tensor draw_as(DType dtype, const Shape& shape, double scale = 1, double shift = 0) {
    return normal_tensor(seed_++, dtype, shape, scale, shift);
  }
  DType wide() const { return dtype_ == DType::float64 ? dtype_ : DType::float32; }
  void add(const std::string& op, Attributes attributes, std::vector<Tensor> inputs) {
    list.push_back({op, std::move(attributes), std::move(inputs)});
  }

  void softmax();
  void normalize();
  void attention();
  void rope();
  void loss();
  void optimizer();

  std::vector<OpCase> list;

 private:
  void attention_pair(const Attributes& attributes, const Shape& q, const Shape& k, const Shape& v,
                      const Tensor& mask);

  uint64_t seed_;
  DType dtype_;
};

void Cases::softmax() {
  for (const auto& [shape, axis] :
       {std::pair{Shape{3, 7}, 1}, {Shape{4, 3, 2}, 1}, {Shape{5}, 0}, {Shape{2, 1}, 1}}) {
    const Attributes attributes = {{"axis", int64_t{axis}}};
    const Tensor x = draw(shape, 4);
    add("softmax", attributes, {x});
    add("log_softmax", attributes, {x});
    const OpCase forward{"softmax", attributes, {x}};
    add("softmax_grad", attributes, {run_reference(forward)[0], draw(shape)});
  }
  Tensor hidden = draw({2, 4});
  hidden.set(1, -std::numeric_limits<double>::infinity());
  add("softmax", {{"axis", int64_t{1}}}, {hidden});
  add("softmax", {{"axis", int64_t{1}}}, {draw({2, 40}, 30)});
}

void Cases::normalize() {
  for (const Shape& shape : {Shape{4, 8}, Shape{2, 3, 5}, Shape{6}, Shape{3, 1}}) {
    const Shape row = {shape.at(-1)};
    // Weights in x's dtype, or wide.
    const Tensor scale = shape.rank() == 2 ? draw_as(wide(), row, 0.5, 1) : draw(row, 0.5, 1);
    const Tensor bias = shape.rank() == 2 ? draw_as(wide(), row) : draw(row);
    const Tensor x = draw(shape, 2, 1), dy = draw(shape);
    const Attributes epsilon = {{"epsilon", 0.25}};
    add("layer_norm", epsilon, {x, scale, bias});
    const std::vector<Tensor> layer = run_reference(list.back());
    add("layer_norm_grad", {}, {dy, x, scale, layer[1], layer[2]});
    add("rms_norm", epsilon, {x, scale});
    add("rms_norm_grad", {}, {dy, x, scale, run_reference(list.back())[1]});
  }
}

void Cases::attention_pair(const Attributes& attributes, const Shape& q, const Shape& k, const Shape& v,
                           const Tensor& mask) {
  const std::vector<Tensor> inputs = {draw(q), draw(k), draw(v), mask};
  add("attention", attributes, inputs);
  const std::vector<Tensor> results = run_reference(list.back());
  add("attention_grad", attributes,
      {inputs[0], inputs[1], inputs[2], mask, results[0], results[1], draw(results[0].shape())});
}

void Cases::attention() {
  const auto options = [](bool causal, double scale, const char* layout) {
    return Attributes{{"causal", causal}, {"scale", scale}, {"layout", std::string(layout)}};
  };
  attention_pair(options(false, 0, "bhsd"), {2, 2, 3, 4}, {2, 2, 5, 4}, {2, 2, 5, 3}, {});
  attention_pair(options(true, 0.3, "bhsd"), {1, 4, 5, 2}, {1, 2, 5, 2}, {1, 2, 5, 2}, {});
  // More keys than queries, and queries that see nothing.
  attention_pair(options(true, 0, "bshd"), {2, 3, 4, 2}, {2, 6, 1, 2}, {2, 6, 1, 2}, {});
  attention_pair(options(true, 0, "bshd"), {1, 6, 2, 2}, {1, 3, 2, 2}, {1, 3, 2, 2}, {});
  Tensor visible(DType::boolean, {4, 3});
  for (const int64_t i : {1, 2, 5, 9, 10, 11})
    visible.set(i, 1);  // row 2 sees only its last key, none are all hidden
  attention_pair(options(false, 0, "bhsd"), {1, 2, 4, 3}, {1, 2, 3, 3}, {1, 2, 3, 3}, visible);
  Tensor nothing(DType::boolean, {2, 1, 1, 1});
  nothing.set(1, 1);  // the first batch sees nothing
  attention_pair(options(true, 0, "bhsd"), {2, 1, 3, 2}, {2, 1, 3, 2}, {2, 1, 3, 2}, nothing);
  Tensor added = draw({2, 1, 3});
  added.set(4, -std::numeric_limits<double>::infinity());
  attention_pair(options(false, 0, "bshd"), {1, 4, 2, 3}, {1, 3, 2, 3}, {1, 3, 2, 3}, added);
}

void Cases::rope() {
  for (const char* layout : {"bhsd", "bshd"}) {
    for (const bool interleaved : {false, true}) {
      for (const bool inverse : {false, true}) {
        const Shape table = std::string(layout) == "bhsd" ? Shape{3, 2} : Shape{2, 2};
        add("rope", {{"layout", std::string(layout)}, {"interleaved", interleaved}, {"inverse", inverse}},
            {draw({2, 2, 3, 4}), draw_as(wide(), table), draw_as(wide(), table)});
      }
    }
  }
}

void Cases::loss() {
  const Tensor targets = Tensor::of<int64_t>({2, -100, 0, 4, 9, -1}, {2, 3});  // 9 and -1 are no classes
  const Tensor logits = draw({2, 3, 5}, 3);
  add("cross_entropy", {}, {logits, targets});
  add("cross_entropy_grad", {}, {draw_as(wide(), {2, 3}), logits, targets, run_reference(list.back())[1]});
  const Tensor narrow = Tensor::of<uint8_t>({1, 0, 2}, {3}), few = draw({3, 3});
  add("cross_entropy", {{"ignore_index", int64_t{2}}}, {few, narrow});
  add("cross_entropy_grad", {{"ignore_index", int64_t{2}}},
      {draw_as(wide(), {3}), few, narrow, run_reference(list.back())[1]});
  add("cross_entropy", {}, {draw({4}), Tensor::of<int32_t>({3}, {})});
}

void Cases::optimizer() {
  const Tensor rate = Tensor::scalar(0.01), step = Tensor::scalar(3);
  const Shape first = {2, 3}, second = {4};
  for (const double momentum : {0.0, 0.9}) {
    for (const double decay : {0.0, 0.1}) {
      std::vector<Tensor> inputs = {rate, draw(first), draw(second), draw(first), draw(second)};
      if (momentum != 0) {
        inputs.push_back(draw_as(wide(), first));
        inputs.push_back(draw_as(wide(), second));
      }
      add("sgd",
          {{"momentum", momentum},
           {"weight_decay", decay},
           {"nesterov", momentum != 0 && decay != 0},
           {"count", int64_t{2}}},
          inputs);
    }
  }
  const auto squares = [&](const Shape& shape) {
    Tensor v = draw_as(wide(), shape);
    for (int64_t i = 0; i < v.elements(); ++i) v.set(i, v.at(i) * v.at(i));
    return v;
  };
  for (const char* op : {"adam", "adamw"}) {
    for (const double decay : {0.0, 0.1}) {
      add(op, {{"weight_decay", decay}, {"count", int64_t{2}}},
          {rate, step, draw(first), draw(second), draw(first), draw(second), draw_as(wide(), first),
           draw_as(wide(), second), squares(first), squares(second)});
      // The first step, where 1 - beta2^step cancels.
      const Tensor zeros(wide(), second);
      add(op, {{"weight_decay", decay}, {"count", int64_t{1}}},
          {rate, Tensor::scalar(1), draw(second), draw(second), zeros, zeros});
    }
  }
  add("global_norm", {}, {draw(first), draw(second), draw({})});
  add("global_norm", {}, {draw(second)});
  add("clip_by_global_norm", {{"max_norm", 0.5}}, {draw(first), draw(second)});
  add("clip_by_global_norm", {{"max_norm", 50.0}}, {draw(first), draw(second)});
}

}  // namespace

std::vector<OpCase> composite_cases(uint64_t seed, DType dtype) {
  Cases cases(seed, dtype);
  cases.softmax();
  cases.normalize();
  cases.attention();
  cases.rope();
  cases.loss();
  cases.optimizer();
  return cases.list;
}

}  // namespace heddle::test
