// A device without room for the cases proves nothing about its kernels.
#include "heddle/conformance.h"
#include "tests/expect_error.h"

namespace heddle::test {

TEST_CASE("a device with too little memory ends the run with one error that says so") {
  for (const char* spec : {"trn1:memory=1", "reference:memory=1000"}) {
    const Device device = Device::open(spec);
    const std::string text = expect_error(ErrorCode::out_of_memory, "too little for the cases",
                                          [&] { conformance::run(device, {.op = "softmax", .id = {}, .progress = {}}); });
    CHECK_THAT(text, ContainsSubstring(spec));
  }
}

}  // namespace heddle::test
