#include "tests/conformance/faulty_device.h"

#include <cmath>
#include <memory>
#include <vector>

#include "device/registry.h"
#include "heddle/backend.h"
#include "heddle/dtype.h"

namespace heddle::test {
namespace {

using namespace heddle::backend;

Offer offer(const NodeRef& n, const std::string& fault) {
  if (fault == "offers_nothing") return no("this device does nothing");
  if (fault == "refuses_without_reason") return no("");
  if (n.input(0).dtype() != HD_DTYPE_FLOAT32) return no("needs float32");
  if (n.input(0).rank() != 2 || n.input(1).rank() != 2) return no("needs matrices");
  if (n.integer("transpose_a") || n.integer("transpose_b")) return no("needs operands as they are");
  return yes();
}

// y = a @ b, as `fault` would have it.
void multiply(const std::string& fault, int64_t m, int64_t k, int64_t n, const Arguments& arguments) {
  const float *a = arguments.in<float>(0), *b = arguments.in<float>(1);
  float* y = arguments.out<float>(0);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t l = 0; l < k; ++l) {
        sum += a[i * k + l] * b[l * n + j];
        if (fault == "rounds_the_sum") sum = to_float(to_bfloat16(sum));
      }
      y[i * n + j] = sum;
    }
  }
  if (m * n == 0) return;
  // Smaller than the rounding of one bfloat16, in one element of many.
  if (fault == "one_element" && m * n > 1000) y[m * n - 17] += 1e-3f;
  if (fault == "writes_beyond") y[m * n] = 0;
  if (fault == "writes_before") y[-1] = 0;
  if (fault == "changes_operand" && k > 0) const_cast<float*>(a)[m * k - 1] += 1;
  static bool odd = false;
  if (fault == "remembers" && (odd = !odd)) y[0] = std::nextafter(y[0], 10.f);
}

Kernel make(const NodeRef& node, const std::string& fault) {
  if (fault == "does_not_compile") throw Failure(HD_ERROR_UNSUPPORTED, "no kernel after all");
  const int64_t m = node.input(0).dim(0), k = node.input(0).dim(1), n = node.input(1).dim(1);
  Kernel kernel;
  kernel.name = "faulty.matmul";
  kernel.run = [=](const Arguments& arguments) {
    if (fault == "does_not_run") throw Failure(HD_ERROR_DEVICE, "the kernel gave up");
    if (fault == "leaves_one_unwritten" && m * n > 1) {
      const float before = arguments.out<float>(0)[m * n - 1];
      multiply(fault, m, k, n, arguments);
      arguments.out<float>(0)[m * n - 1] = before;
      return;
    }
    multiply(fault, m, k, n, arguments);
  };
  return kernel;
}

std::vector<DeviceFactory> devices() {
  return {{"faulty", [](const Options& options) {
             const std::string fault = options.get("fault", "none");
             const KernelTable table = {{"matmul",
                                         {[fault](const NodeRef& n) { return offer(n, fault); },
                                          [fault](const NodeRef& n) { return make(n, fault); }}}};
             DeviceFacts facts{.name = "faulty", .description = "a matmul with a fault: " + fault};
             return std::make_unique<KernelDevice>(facts, table);
           }}};
}

}  // namespace

heddle::Device open_faulty(const std::string& fault) {
  static const bool added = [] {
    heddle::device::Registry::instance().add(plugin<devices>("faulty", "1.0"), "");
    return true;
  }();
  (void)added;
  return heddle::Device::open("faulty:fault=" + fault);
}

}  // namespace heddle::test
