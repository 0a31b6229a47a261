#include "tests/kernels/core_cases.h"

#include "ir/scalar_program.h"

namespace heddle::test {

std::vector<OpCase> small_composite_cases(uint64_t seed, DType dtype) {
  std::vector<OpCase> list;
  const auto draw = [&](const Shape& shape) { return normal_tensor(seed++, dtype, shape); };
  const Tensor rows = Tensor::of<int32_t>({0, 4, -1, 9, 2, 0}, {2, 3});  // one does not exist
  list.push_back({"embedding", {}, {draw({5, 3}), rows}});
  list.push_back({"embedding_grad", {{"rows", int64_t{5}}}, {draw({2, 3, 4}), rows}});
  list.push_back({"embedding_grad", {{"rows", int64_t{3}}}, {draw({4}), Tensor::of<int64_t>({1}, {})}});
  for (const DType to : {f32, i8, boolean, bf16})
    list.push_back({"one_hot", {{"depth", int64_t{5}}, {"dtype", to}}, {rows}});
  list.push_back({"one_hot", {{"depth", int64_t{300}}}, {Tensor::of<int8_t>({-1, 44, 127}, {3})}});
  const Tensor key = Tensor::of<uint64_t>({5}, {1}), last = Tensor::of<uint64_t>({~0ull}, {1});
  for (const double rate : {0.0, 0.3, 0.9})
    list.push_back({"dropout", {{"rate", rate}}, {draw({7, 9}), key, last}});
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      ScalarProgram p;
      const uint32_t product = p.input(dtype), bias = p.input(dtype), scale = p.input(dtype);
      const uint32_t biased = p.add(ScalarOp::add, product, bias);
      p.outputs = {p.add(ScalarOp::gelu_tanh, p.add(ScalarOp::mul, biased, scale)), p.cast(biased, f32)};
      const auto body = std::make_shared<const ScalarProgram>(p);
      const Tensor a = draw(ta ? Shape{2, 33, 4} : Shape{2, 4, 33}),
                   b = draw(tb ? Shape{6, 33} : Shape{33, 6});
      list.push_back({"matmul_pointwise",
                      {{"transpose_a", ta}, {"transpose_b", tb}, {"body", body}},
                      {a, b, draw({6}), draw({2, 1, 1})}});
    }
  }
  return list;
}

}  // namespace heddle::test
