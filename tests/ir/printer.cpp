#include "heddle/ops.h"
#include "tests/catch.h"

using namespace heddle;

TEST_CASE("a graph prints as text, one node a line") {
  Graph g;
  const Value x = g.input("x", f32, {"batch", 4});
  const Value w = g.variable("w", f32, {4, 2}, init::normal(0.5));
  const Value table = g.constant(Tensor::of<int64_t>({1, 0}, {2}), "order");
  Value h;
  {
    const auto s = g.scope("layer0");
    h = gelu(matmul(x, w));
  }
  g.pin("trn1");
  const Value y = topk(gather(h * 2.0, table, 1), 1).values;
  g.pin("");
  g.update(w, w - sum(transpose(w)) * 0.125);
  g.output("y", y);
  CHECK(g.to_string() == R"(input x: float32[batch,4]
variable w: float32[4,2] = normal(0, 0.5)
constant %order = int64[2] {1, 0}
%layer0/matmul_0 = matmul(x, w) : float32[batch,2]
%layer0/gelu_erf_0 = gelu_erf(%layer0/matmul_0) : float32[batch,2]
%mul_0 = mul(%layer0/gelu_erf_0, 2) : float32[batch,2] @trn1
%gather_0 = gather(%mul_0, %order) {axis=1} : float32[batch,2] @trn1
%topk_0, %topk_0.1 = topk(%gather_0) {axis=1, k=1} : float32[batch,1], int64[batch,1] @trn1
%transpose_0 = transpose(w) {order=[1,0]} : float32[2,4]
%reduce_0 = reduce(%transpose_0) {kind="sum", axes=[0,1]} : float32[]
%mul_1 = mul(%reduce_0, 0.125) : float32[]
%sub_0 = sub(w, %mul_1) : float32[4,2]
update w = %sub_0
output y = %topk_0
)");
}
