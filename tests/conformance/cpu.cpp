#include "tests/conformance/expect_conforms.h"

TEST_CASE("The cpu device conforms") { heddle::test::expect_conforms("cpu"); }
