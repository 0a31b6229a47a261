// Values that no device holds are refused before anything is prepared for them.
#include "heddle/ops.h"
#include "heddle/session.h"
#include "tests/catch.h"
#include "tests/expect_error.h"

using namespace heddle;
using heddle::test::expect_error;

TEST_CASE("a value beyond the memory of the simulated device is refused at once, by node and shape") {
  Graph g;
  g.output("y", g.input("x", f32, {"n"}) * 2.0);
  Session session(g, {Device::open("trn1")});
  for (const int64_t n : {int64_t{1} << 36, int64_t{1} << 44, int64_t{1} << 60})
    expect_error(ErrorCode::out_of_memory, "float32[" + std::to_string(n) + "]", [&] {
      session.explain({{"n", n}});
    });
}
