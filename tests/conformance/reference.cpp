#include "tests/conformance/expect_conforms.h"

TEST_CASE("The reference device runs every case") {
  const auto report = heddle::test::expect_conforms("reference");
  for (const auto& op : report.ops()) {
    INFO(op.op);
    if (op.op != "contract") CHECK(op.unsupported == 0);
  }
}
