#include "tests/conformance/expect_conforms.h"

using heddle::test::expect_conforms;

TEST_CASE("The simulated NeuronCore-v2 conforms, and runs a training step's ops natively") {
  const auto report = expect_conforms("trn1");
  for (const char* op :
       {"matmul", "pointwise", "reduce", "softmax", "softmax_grad", "layer_norm", "layer_norm_grad",
        "rms_norm", "rms_norm_grad", "attention", "attention_grad", "embedding", "embedding_grad",
        "cross_entropy", "cross_entropy_grad", "adamw", "clip_by_global_norm"}) {
    INFO(op);
    bool ran = false;
    for (const auto& summary : report.ops()) ran = ran || (summary.op == op && summary.passed > 0);
    CHECK(ran);
  }
}

TEST_CASE("The later NeuronCores conform") {
  expect_conforms("trn2");
  expect_conforms("trn3");
}
