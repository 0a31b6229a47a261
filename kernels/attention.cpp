#include "heddle/ops/attention.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "heddle/ops/convert.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/matmul.h"
#include "heddle/ops/reduce.h"
#include "kernels/attention_oracle.h"
#include "kernels/catalogue.h"
#include "kernels/dim_value.h"
#include "kernels/formula.h"
#include "kernels/reference_math.h"
#include "kernels/type_rules.h"

namespace heddle {
namespace {

using namespace kernels;

const OpSchema& attention_op();
const OpSchema& attention_grad_op();

// ---- shapes -----------------------------------------------------------------------------------

// The sizes, named or numbers: B, H, Hk, S, T, D, Dv of the equations.
struct Sizes {
  bool bshd;
  Dim batch, heads, key_heads, queries, keys, size, value_size;

  Sizes(const Attributes& attributes, const Dims& q, const Dims& k, const Dims& v)
      : bshd(positions_before_heads(attributes)),
        batch(q[0]),
        heads(q[bshd ? 2 : 1]),
        key_heads(k[bshd ? 2 : 1]),
        queries(q[bshd ? 1 : 2]),
        keys(k[bshd ? 1 : 2]),
        size(q[3]),
        value_size(v[3]) {}

  Dims of_layout(const Dim& count, const Dim& positions, const Dim& width) const {
    return bshd ? Dims{batch, positions, count, width} : Dims{batch, count, positions, width};
  }
  // Queries per key head.
  Dim group() const { return *Dim::divide(heads, key_heads); }
};

// Checks q, k, v and the mask, which both ops take first.
Sizes expect_heads(const InferCall& call) {
  const ValueType &q = *call.inputs[0], &k = *call.inputs[1], &v = *call.inputs[2];
  expect_float("q", q);
  expect_same_dtype("q", q, "k", k);
  expect_same_dtype("q", q, "v", v);
  expect_rank("q", q, 4);
  expect_rank("k", k, 4);
  expect_rank("v", v, 4);
  const Sizes sizes(call.attributes, q.dims, k.dims, v.dims);
  expect_dims("k", k, sizes.of_layout(sizes.key_heads, sizes.keys, sizes.size), "q's batch and head size");
  expect_dims("v", v, sizes.of_layout(sizes.key_heads, sizes.keys, sizes.value_size),
              "k's batch, heads and positions");
  const bool divides = !(sizes.key_heads == Dim(0)) && Dim::divide(sizes.heads, sizes.key_heads).has_value();
  if (!divides) {
    refuse_shape("the " + to_string(sizes.key_heads) + " heads of k and v must divide the " +
                 to_string(sizes.heads) + " heads of q");
  }
  if (call.inputs.size() > 3 && call.inputs[3] != nullptr) {
    const ValueType& mask = *call.inputs[3];
    if (mask.dtype != DType::boolean && mask.dtype != q.dtype) {
      refuse_dtype(std::string("mask must be bool or ") + dtype_name(q.dtype) + " like q, but got " +
                   to_string(mask) + "; use convert");
    }
    expect_broadcast("mask", mask, {sizes.batch, sizes.heads, sizes.queries, sizes.keys},
                     "batch, heads of q, queries, keys");
  }
  return sizes;
}

std::vector<ValueType> infer_attention(const InferCall& call) {
  const Sizes s = expect_heads(call);
  const DType dtype = call.inputs[0]->dtype;
  return {{dtype, s.of_layout(s.heads, s.queries, s.value_size)},
          {accumulation_dtype(dtype), {s.batch, s.heads, s.queries}}};
}

std::vector<ValueType> infer_attention_grad(const InferCall& call) {
  const Sizes s = expect_heads(call);
  const ValueType &q = *call.inputs[0], &out = *call.inputs[4], &lse = *call.inputs[5],
                  &dout = *call.inputs[6];
  const Dims result = s.of_layout(s.heads, s.queries, s.value_size);
  expect_same_dtype("q", q, "out", out);
  expect_same_dtype("q", q, "dout", dout);
  expect_dims("out", out, result, "the result of attention");
  expect_dims("dout", dout, result, "the shape of out");
  expect_dtype("lse", lse, accumulation_dtype(q.dtype), "statistics are kept wide");
  expect_dims("lse", lse, {s.batch, s.heads, s.queries}, "one per query");
  return {q, *call.inputs[1], *call.inputs[2]};
}

// ---- cost -------------------------------------------------------------------------------------

// Pairs of a query and a key it sees; masks are data and count as seen.
double visible_pairs(const CostCall& call) {
  const Sizes s(call.attributes, call.inputs[0]->dims, call.inputs[1]->dims, call.inputs[2]->dims);
  const int64_t queries = s.queries.number(), keys = s.keys.number();
  double pairs = static_cast<double>(queries) * static_cast<double>(keys);
  if (call.attributes.get<bool>("causal")) {
    pairs = 0;
    for (int64_t i = 0; i < queries; ++i)
      pairs += static_cast<double>(std::clamp<int64_t>(i + 1 + keys - queries, 0, keys));
  }
  return pairs * static_cast<double>(s.batch.number() * s.heads.number());
}

double width(const CostCall& call, size_t operand) {
  return static_cast<double>(call.inputs[operand]->dims[3].number());
}

// Two products (2 flops per term), and per pair: scale, max, subtract, exp (8), sum.
Cost cost_attention(const CostCall& call) {
  return streaming_cost(call, visible_pairs(call) * (2 * width(call, 0) + 2 * width(call, 2) + 12));
}
// The scores again and four products more; per pair: scale, subtract, exp (8), subtract, two products.
Cost cost_attention_grad(const CostCall& call) {
  return streaming_cost(call, visible_pairs(call) * (6 * width(call, 0) + 4 * width(call, 2) + 13));
}

// ---- meaning in core ops ----------------------------------------------------------------------

// The decomposition works on [B, Hk, G*S, .]: the queries of one key head stand together, so that grouped
// attention is a plain batched product and the gradients of k and v sum over the group by themselves.
// Everything is widened first: a 16-bit score would lose the low bits that the exponential magnifies.
struct Folded {
  Sizes sizes;
  DType sums;

  explicit Folded(std::span<const Value> in, const Attributes& attributes)
      : sizes(attributes, in[0].dims(), in[1].dims(), in[2].dims()),
        sums(accumulation_dtype(in[0].dtype())) {}

  Value widen(Value x) const { return convert(x, sums); }
  Value swap_layout(Value x) const { return sizes.bshd ? transpose(x, {0, 2, 1, 3}) : x; }
  // From a query-shaped operand of the op, and to one.
  Value fold(Value x) const {
    return reshape(swap_layout(widen(x)),
                   {sizes.batch, sizes.key_heads, sizes.group() * sizes.queries, x.dims()[3]});
  }
  Value unfold(Value x, DType dtype) const {
    return swap_layout(convert(reshape(x, {sizes.batch, sizes.heads, sizes.queries, x.dims()[3]}), dtype));
  }
  Value key_like(Value x) const { return swap_layout(widen(x)); }
  // [B,Hk,G*S,T] and [B,H,S,T] are the same memory.
  Value per_head(Value x) const { return reshape(x, {sizes.batch, sizes.heads, sizes.queries, x.dims()[3]}); }
  Value per_key_head(Value x) const {
    return reshape(x, {sizes.batch, sizes.key_heads, sizes.group() * sizes.queries, x.dims()[3]});
  }
};

double scale_of(const Attributes& attributes, const Sizes& sizes) {
  const double scale = attributes.get<double>("scale");
  return scale != 0 ? scale : 1 / std::sqrt(static_cast<double>(sizes.size.number()));
}

// [B,H,S,T]; minus infinity where a key is hidden. `mask` may be no value.
Value masked_scores(Graph graph, const Attributes& attributes, const Folded& f, Value q, Value k,
                    Value mask) {
  const bool causal = attributes.get<bool>("causal");
  const double scale = scale_of(attributes, f.sizes);
  const Dim offset = f.sizes.keys - f.sizes.queries;
  std::vector<Value> operands = {f.per_head(matmul(q, k, false, true))};
  if (mask) operands.push_back(mask);
  const size_t first = operands.size();
  if (causal) {
    operands.push_back(iota(graph, {f.sizes.queries, 1}, 0, DType::int32));
    operands.push_back(iota(graph, {1, f.sizes.keys}, 1, DType::int32));
    if (!offset.is_number()) {
      operands.push_back(convert(dim_value(graph, f.sizes.queries), DType::int32));
      operands.push_back(convert(dim_value(graph, f.sizes.keys), DType::int32));
    }
  }
  return formula(operands, f.sums, [&](const Scalars& in) {
    Scalar s = in[0] * scale;
    if (mask) s = mask.dtype() == DType::boolean ? select(in[1], s, -INFINITY) : s + in[1];
    if (!causal) return s;
    const Scalar query = in[first], key = in[first + 1];
    const Scalar last_seen = offset.is_number() ? query + static_cast<double>(offset.number())
                                                : query + (in[first + 3] - in[first + 2]);
    return select(key <= last_seen, s, -INFINITY);
  });
}

std::vector<Value> decompose_attention(const DecomposeCall& call) {
  const Folded f(call.inputs, call.node.attributes);
  const DType dtype = call.inputs[0].dtype();
  const Value s = masked_scores(call.graph, call.node.attributes, f, f.fold(call.inputs[0]),
                                f.key_like(call.inputs[1]), call.inputs[3]);
  const Value top = max(s, {3}, true);
  // A query that sees nothing has the maximum minus infinity; measured from 0 its weights are exp(-inf) = 0.
  const Value e = formula({s, top}, f.sums, [](const Scalars& in) {
    return exp(in[0] - select(in[1] == -INFINITY, 0.0, in[1]));
  });
  const Value total = sum(e, {3}, true);
  const Value lse = formula({top, total}, f.sums, [](const Scalars& in) {
    return select(in[0] == -INFINITY, -INFINITY, in[0] + log(in[1]));
  });
  const Value weighted = f.per_head(matmul(f.per_key_head(e), f.key_like(call.inputs[2])));
  const Value out = formula({weighted, total}, f.sums, [&](const Scalars& in) {
    return (in[0] / select(in[1] == 0.0, 1.0, in[1])).as(dtype);
  });
  return {f.swap_layout(out), reshape(lse, {f.sizes.batch, f.sizes.heads, f.sizes.queries})};
}

// The weights p and `factor` times the gradient of the scores, both [B,H,S,T]. `in` holds the operands of
// attention_grad.
std::vector<Value> weights_and_gradients(Graph graph, const Attributes& attributes, const Folded& f,
                                         std::span<const Value> in, double factor) {
  const Value out = in[4], dout = in[6];
  const Value lse = reshape(in[5], {f.sizes.batch, f.sizes.heads, f.sizes.queries, 1});
  const Value s = masked_scores(graph, attributes, f, f.fold(in[0]), f.key_like(in[1]), in[3]);
  const Value products = formula({dout, out}, f.sums, [](const Scalars& x) { return x[0] * x[1]; });
  const Value delta = sum(f.swap_layout(products), {3}, true);
  const Value dp = f.per_head(matmul(f.fold(dout), f.key_like(in[2]), false, true));
  return formula({s, lse, dp, delta}, f.sums, [&](const Scalars& x) {
    const Scalar p = select(x[1] == -INFINITY, 0.0, exp(x[0] - x[1]));
    return Scalars{p, p * (x[2] - x[3]) * factor};
  });
}

std::vector<Value> decompose_attention_grad(const DecomposeCall& call) {
  const Folded f(call.inputs, call.node.attributes);
  const DType dtype = call.inputs[0].dtype();
  const std::vector<Value> weights = weights_and_gradients(call.graph, call.node.attributes, f, call.inputs,
                                                           scale_of(call.node.attributes, f.sizes));
  const Value p = f.per_key_head(weights[0]), ds = f.per_key_head(weights[1]);
  const auto key_result = [&](Value x) { return f.swap_layout(convert(x, dtype)); };
  return {f.unfold(matmul(ds, f.key_like(call.inputs[1])), dtype),
          key_result(matmul(ds, f.fold(call.inputs[0]), true)),
          key_result(matmul(p, f.fold(call.inputs[6]), true))};
}

// ---- gradient ------------------------------------------------------------------------------------

// The gradients of q, k and v are one op. That of an added mask is the gradient of the scores, which that op
// keeps to itself: it is computed again, in core ops, for whoever needs it.
std::vector<Value> gradient_attention(const GradientCall& call) {
  if (call.output_gradients[1]) {
    refuse(ErrorCode::unsupported, "attention has a gradient for out alone; the loss depends on its lse");
  }
  const Value mask = call.inputs[3];
  const std::array operands = {call.inputs[0],  call.inputs[1],  call.inputs[2],          mask,
                               call.outputs[0], call.outputs[1], call.output_gradients[0]};
  std::vector<Value> gradients = Graph(call.graph).add(attention_grad_op(), operands, call.node.attributes);
  gradients.emplace_back();
  if (mask && mask.dtype() != DType::boolean) {
    const Folded f(call.inputs, call.node.attributes);
    const Value ds = weights_and_gradients(call.graph, call.node.attributes, f, operands, 1)[1];
    gradients[3] = convert(sum_to(ds, mask.dims()), mask.dtype());
  }
  return gradients;
}

// ---- schemas ----------------------------------------------------------------------------------

const std::vector<AttributeDoc>& attention_attributes() {
  static const auto* const docs = new std::vector<AttributeDoc>{
      {"causal", "bool", "false", "query i sees key j only when j <= i + (T - S)"},
      {"scale", "float", "0", "factor of the scores; 0 means 1 / sqrt(D)"},
      {"layout", "string", "bhsd",
       "bhsd: [B,H,S,D]; bshd: [B,S,H,D]; lse and mask keep [B,H,S] and [B,H,S,T]"},
  };
  return *docs;
}
const OperandDoc q_doc = {"q", "any float [B,H,S,D]"};
const OperandDoc k_doc = {"k", "like q, [B,Hk,T,D]; Hk divides H, and head h uses key head h / (H / Hk)"};
const OperandDoc v_doc = {"v", "like q, [B,Hk,T,Dv]"};
const OperandDoc mask_doc = {"mask", "bool (true: may look) or like q (added), broadcastable to [B,H,S,T]",
                             OperandDoc::Arity::optional};

const OpSchema& attention_op() {
  static const auto* const op = new OpSchema{
      .name = "attention",
      .family = "attention",
      .summary =
          "out = softmax(scale * q @ transpose(k) + mask) @ v, lse = log(sum(exp(scores))); a query that "
          "sees "
          "no key gives 0 and -inf",
      .inputs = {q_doc, k_doc, v_doc, mask_doc},
      .outputs = {{"out", "like q, [B,H,S,Dv]"}, {"lse", "float32 (float64 for float64) [B,H,S]"}},
      .attributes = attention_attributes(),
      .infer = infer_attention,
      .cost = cost_attention,
      .gradient = gradient_attention,
      .decompose = decompose_attention,
      .reference = reference_attention,
      .accuracy = {.c = attention_c, .depth = attention_depth, .magnitude = magnitude_attention},
  };
  return *op;
}

const OpSchema& attention_grad_op() {
  static const auto* const op = new OpSchema{
      .name = "attention_grad",
      .family = "attention",
      .summary =
          "p = exp(scores - lse), ds = p * (dout @ transpose(v) - sum(dout * out)): dq = scale * ds @ k, "
          "dk = scale * transpose(ds) @ q, dv = transpose(p) @ dout",
      .inputs = {q_doc,
                 k_doc,
                 v_doc,
                 mask_doc,
                 {"out", "the result of attention"},
                 {"lse", "the result of attention"},
                 {"dout", "like out: its gradient"}},
      .outputs = {{"dq", "like q"}, {"dk", "like k"}, {"dv", "like v"}},
      .attributes = attention_attributes(),
      .infer = infer_attention_grad,
      .cost = cost_attention_grad,
      .no_gradient =
          "second derivatives of fused attention are not defined; build it from matmul and softmax to get "
          "them",
      .decompose = decompose_attention_grad,
      .reference = reference_attention_grad,
      .accuracy = {.c = attention_grad_c,
                   .depth = attention_grad_depth,
                   .magnitude = magnitude_attention_grad},
  };
  return *op;
}

}  // namespace

Value attention(Value q, Value k, Value v, const AttentionOptions& options, Value mask) {
  return q.graph().add(attention_op(), std::array{q, k, v, mask},
                       {{"causal", options.causal},
                        {"scale", options.scale},
                        {"layout", std::string(head_layout_name(options.layout))}})[0];
}

OpList attention_ops() {
  static const OpSchema* const ops[] = {&attention_op(), &attention_grad_op()};
  return ops;
}

}  // namespace heddle
