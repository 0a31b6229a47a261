#include "kernels/matmul.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "heddle/ops/matmul.h"
#include "kernels/catalogue.h"
#include "kernels/pointwise.h"
#include "kernels/reference_math.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

// ---- shapes

ValueType product_type(const InferCall& call) {
  const ValueType &a = operand(call, 0), &b = operand(call, 1);
  expect_rank_at_least("a", a, 2);
  expect_rank_at_least("b", b, 2);
  expect_same_dtype("a", a, "b", b);
  if (a.dtype == DType::boolean) refuse_dtype("a and b are bool; convert them to numbers");
  const bool ta = call.attributes.get<bool>("transpose_a"), tb = call.attributes.get<bool>("transpose_b");
  const int ra = a.dims.rank(), rb = b.dims.rank();
  const Dim &m = a.dims[ra - (ta ? 1 : 2)], &ka = a.dims[ra - (ta ? 2 : 1)];
  const Dim &kb = b.dims[rb - (tb ? 1 : 2)], &n = b.dims[rb - (tb ? 2 : 1)];
  if (ka != kb) {
    refuse_shape("a" + std::string(ta ? " (transposed) has " : " has ") + to_string(ka) + " columns, but b" +
                 (tb ? " (transposed) has " : " has ") + to_string(kb) + " rows");
  }
  Dims dims = broadcast_dims(Dims(std::vector<Dim>(a.dims.begin(), a.dims.end() - 2)),
                             Dims(std::vector<Dim>(b.dims.begin(), b.dims.end() - 2)));
  dims.push_back(m);
  dims.push_back(n);
  return {a.dtype == DType::int8 ? DType::int32 : a.dtype, dims};
}

std::vector<ValueType> infer_matmul(const InferCall& call) { return {product_type(call)}; }

std::vector<ValueType> infer_matmul_pointwise(const InferCall& call) {
  const ValueType product = product_type(call);
  std::vector<const ValueType*> operands = {&product};
  for (size_t i = 2; i < call.inputs.size(); ++i) operands.push_back(call.inputs[i]);
  std::vector<ValueType> results =
      pointwise_op().infer({operands, Attributes{{"body", call.attributes.value("body")}}});
  if (results[0].dims != product.dims) {
    refuse_shape("the operands of the program broadcast to " + to_string(results[0].dims) +
                 ", which is not the shape of the product, " + to_string(product.dims));
  }
  return results;
}

// ---- cost

double inner_size(const ValueType& a, const Attributes& attributes) {
  return static_cast<double>(a.dims[a.dims.rank() - (attributes.get<bool>("transpose_a") ? 2 : 1)].number());
}
double depth_matmul(const CostCall& call) { return inner_size(*call.inputs[0], call.attributes); }
Cost cost_matmul(const CostCall& call) {
  return streaming_cost(call,
                        2 * inner_size(*call.inputs[0], call.attributes) * elements_of(call.outputs[0]));
}
Cost cost_matmul_pointwise(const CostCall& call) {
  const double per_element =
      2 * inner_size(*call.inputs[0], call.attributes) + program_flops(body_of(call.attributes));
  return streaming_cost(call, per_element * elements_of(call.outputs[0]));
}

// ---- references

// The product of two tensors whose elements are given in row-major order. T: double, or uint64_t where sums
// wrap.
template <class T>
class Product {
 public:
  Product(const Tensor& a, const Tensor& b, const Attributes& attributes, const Shape& result)
      : ta_(attributes.get<bool>("transpose_a")),
        tb_(attributes.get<bool>("transpose_b")),
        result_(result),
        m_(result.at(-2)),
        n_(result.at(-1)),
        k_(a.shape().at(ta_ ? -2 : -1)),
        a_shape_(a.shape()),
        b_shape_(b.shape()) {}

  std::vector<T> operator()(const std::vector<T>& a, const std::vector<T>& b) const {
    std::vector<T> y(static_cast<size_t>(result_.elements()), T{0});
    Shape batch;
    for (int i = 0; i < result_.rank() - 2; ++i) batch.push_back(result_[i]);
    int64_t matrix = 0;
    reference::for_each_index(batch, [&](std::span<const int64_t> index) {
      const int64_t at_a = matrix_of(a_shape_, index) * m_ * k_, at_b = matrix_of(b_shape_, index) * k_ * n_;
      T* to = y.data() + matrix++ * m_ * n_;
      for (int64_t i = 0; i < m_; ++i) {
        for (int64_t k = 0; k < k_; ++k) {
          const T left = a[static_cast<size_t>(at_a + (ta_ ? k * m_ + i : i * k_ + k))];
          for (int64_t j = 0; j < n_; ++j)
            to[i * n_ + j] += left * b[static_cast<size_t>(at_b + (tb_ ? j * k_ + k : k * n_ + j))];
        }
      }
    });
    return y;
  }

 private:
  // Which matrix of an operand belongs to matrix `index` of the result: size 1 and missing axes repeat.
  static int64_t matrix_of(const Shape& shape, std::span<const int64_t> index) {
    int64_t flat = 0;
    const int lead = static_cast<int>(index.size()) - (shape.rank() - 2);
    for (int i = 0; i < shape.rank() - 2; ++i)
      flat = flat * shape[i] + (shape[i] == 1 ? 0 : index[static_cast<size_t>(lead + i)]);
    return flat;
  }
  bool ta_, tb_;
  Shape result_;
  int64_t m_, n_, k_;
  Shape a_shape_, b_shape_;
};

std::vector<double> real_product(const ReferenceCall& call, const Shape& shape) {
  return Product<double>(call.inputs[0], call.inputs[1], call.attributes, shape)(
      reference::reals(call.inputs[0]), reference::reals(call.inputs[1]));
}
std::vector<int64_t> integer_product(const ReferenceCall& call, const Shape& shape) {
  const auto words = [](const Tensor& t) {
    const std::vector<int64_t> bits = reference::integers(t);
    return std::vector<uint64_t>(bits.begin(), bits.end());
  };
  const auto y = Product<uint64_t>(call.inputs[0], call.inputs[1], call.attributes, shape)(
      words(call.inputs[0]), words(call.inputs[1]));
  return {y.begin(), y.end()};
}
// |a| @ |b|
std::vector<double> absolute_product(const ReferenceCall& call, const Shape& shape) {
  std::vector<double> a = reference::reals(call.inputs[0]), b = reference::reals(call.inputs[1]);
  for (double& v : a) v = std::fabs(v);
  for (double& v : b) v = std::fabs(v);
  return Product<double>(call.inputs[0], call.inputs[1], call.attributes, shape)(a, b);
}

void reference_matmul(const ReferenceCall& call) {
  Tensor& y = call.outputs[0];
  if (is_float(y.dtype()))
    reference::store(y, real_product(call, y.shape()));
  else
    reference::store(y, integer_product(call, y.shape()));
}
void magnitude_matmul(const ReferenceCall& call) {
  reference::store(call.outputs[0], absolute_product(call, call.outputs[0].shape()));
}

// The program's operands: the product, unrounded, then the others.
std::vector<Tensor> program_operands(const ReferenceCall& call) {
  const Shape& shape = call.outputs[0].shape();
  const bool real = is_float(call.inputs[0].dtype());
  Tensor product(real                                    ? DType::float64
                 : call.inputs[0].dtype() == DType::int8 ? DType::int32
                                                         : call.inputs[0].dtype(),
                 shape);
  if (real)
    reference::store(product, real_product(call, shape));
  else
    reference::store(product, integer_product(call, shape));
  std::vector<Tensor> operands = {product};
  operands.insert(operands.end(), call.inputs.begin() + 2, call.inputs.end());
  return operands;
}
void reference_matmul_pointwise(const ReferenceCall& call) {
  evaluate_program(body_of(call.attributes), program_operands(call), call.outputs);
}

// The bound of the product's error, sqrt(K) |a||b| and a rounding to its dtype, carried through the program.
void magnitude_matmul_pointwise(const ReferenceCall& call) {
  const Shape& shape = call.outputs[0].shape();
  const DType dtype = call.inputs[0].dtype();
  const double unit = unit_roundoff(dtype == DType::float64 ? dtype : DType::float32);
  const double depth =
      static_cast<double>(call.inputs[0].shape().at(call.attributes.get<bool>("transpose_a") ? -2 : -1));
  std::vector<double> error = absolute_product(call, shape);
  const std::vector<double> product = real_product(call, shape);
  for (size_t i = 0; i < error.size(); ++i) {
    error[i] *= unit * std::sqrt(depth);
    if (is_float(dtype))
      error[i] += unit_roundoff(dtype) * std::fabs(product[i]);
    else
      error[i] = 0;
  }
  program_error(body_of(call.attributes), program_operands(call), call.outputs, error);
}

// ---- gradients

// da and db of y = a' @ b' from dy, summed over the leading axes along which a and b were repeated.
std::vector<Value> product_gradients(Value a, Value b, bool ta, bool tb, Value dy) {
  const Value da = ta ? matmul(b, dy, tb, true) : matmul(dy, b, false, !tb);
  const Value db = tb ? matmul(dy, a, true, ta) : matmul(a, dy, !ta, false);
  return {sum_to(da, a.dims()), sum_to(db, b.dims())};
}

std::vector<Value> gradient_matmul(const GradientCall& call) {
  return product_gradients(call.inputs[0], call.inputs[1], call.node.attributes.get<bool>("transpose_a"),
                           call.node.attributes.get<bool>("transpose_b"), call.output_gradients[0]);
}

std::vector<Value> gradient_matmul_pointwise(const GradientCall& call) {
  const Value a = call.inputs[0], b = call.inputs[1];
  const bool ta = call.node.attributes.get<bool>("transpose_a"),
             tb = call.node.attributes.get<bool>("transpose_b");
  std::vector<Value> operands = {matmul(a, b, ta, tb)};
  operands.insert(operands.end(), call.inputs.begin() + 2, call.inputs.end());
  const std::vector<Value> inner =
      program_gradients(call.graph, body_of(call.node.attributes), operands, call.output_gradients);
  std::vector<Value> gradients(2);
  if (inner[0]) gradients = product_gradients(a, b, ta, tb, inner[0]);
  gradients.insert(gradients.end(), inner.begin() + 1, inner.end());
  return gradients;
}

std::vector<Value> decompose_matmul_pointwise(const DecomposeCall& call) {
  const Attributes& attributes = call.node.attributes;
  std::vector<Value> operands = {matmul(call.inputs[0], call.inputs[1], attributes.get<bool>("transpose_a"),
                                        attributes.get<bool>("transpose_b"))};
  operands.insert(operands.end(), call.inputs.begin() + 2, call.inputs.end());
  return pointwise(call.graph, body_of(attributes), operands);
}

const AttributeDoc transpose_a_doc = {"transpose_a", "bool", "false", "a is [..., K, M]"};
const AttributeDoc transpose_b_doc = {"transpose_b", "bool", "false", "b is [..., N, K]"};

}  // namespace

Value matmul(Value a, Value b, bool transpose_a, bool transpose_b) {
  return a.graph().add(matmul_op(), std::array{a, b},
                       {{"transpose_a", transpose_a}, {"transpose_b", transpose_b}})[0];
}

std::vector<Value> matmul_pointwise(Value a, Value b, bool transpose_a, bool transpose_b,
                                    std::span<const Value> others, ScalarProgram program) {
  std::vector<Value> inputs = {a, b};
  inputs.insert(inputs.end(), others.begin(), others.end());
  return a.graph().add(matmul_pointwise_op(), inputs,
                       {{"transpose_a", transpose_a},
                        {"transpose_b", transpose_b},
                        {"body", std::make_shared<const ScalarProgram>(std::move(program))}});
}

const OpSchema& matmul_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "matmul",
      .family = "matmul",
      .summary = "y = a @ b for the last two axes; leading axes broadcast",
      .inputs = {{"a", "[..., M, K], numbers"}, {"b", "[..., K, N], the dtype of a"}},
      .outputs = {{"y",
                   "[..., M, N] of the same dtype, int32 for int8; sums in float32 or wider, integers wrap"}},
      .attributes = {transpose_a_doc, transpose_b_doc},
      .infer = infer_matmul,
      .cost = cost_matmul,
      .gradient = gradient_matmul,
      .reference = reference_matmul,
      .accuracy = {.c = 2, .depth = depth_matmul, .magnitude = magnitude_matmul},
  };
  return *op;
}

const OpSchema& matmul_pointwise_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "matmul_pointwise",
      .family = "matmul",
      .summary = "y0, y1, ... = body(a @ b, x2, x3, ...) for every element",
      .inputs = {{"a", "[..., M, K], numbers"},
                 {"b", "[..., K, N], the dtype of a"},
                 {"x", "operands of the program after the product; they broadcast to its shape",
                  OperandDoc::Arity::variadic}},
      .outputs = {{"y", "one per output of the program, of the product's shape",
                   OperandDoc::Arity::variadic}},
      .attributes =
          {transpose_a_doc,
           transpose_b_doc,
           {"body", "program", nullptr,
            "the scalar program; its input 0 is the product in the dtype matmul gives it, or wider"}},
      .infer = infer_matmul_pointwise,
      .cost = cost_matmul_pointwise,
      .gradient = gradient_matmul_pointwise,
      .decompose = decompose_matmul_pointwise,
      .reference = reference_matmul_pointwise,
      .accuracy = {.c = 4, .magnitude = magnitude_matmul_pointwise},
  };
  return *op;
}

OpList matmul_ops() {
  static const OpSchema* const ops[] = {&matmul_op(), &matmul_pointwise_op()};
  return ops;
}

}  // namespace heddle
