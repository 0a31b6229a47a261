#include "systolic/engines/chain.h"

#include <algorithm>

namespace heddle::systolic {

Fault run_chain(const void* arguments, const Context& context) {
  const Chain& chain = *static_cast<const Chain*>(arguments);
  std::array<std::byte*, Chain::operands_max> at{};
  for (int o = 0; o < chain.operands; ++o)
    at[static_cast<size_t>(o)] = chain.place[static_cast<size_t>(o)].in(context);
  std::byte* reduced = chain.whole != nullptr ? chain.reduced.in(context) : nullptr;
  const auto n = static_cast<size_t>(chain.count);
  Fault fault = Fault::ok;
  for (int64_t r = 0; r < chain.rows; ++r) {
    // Long rows in pieces that stay in the first-level cache until the last kernel has seen them.
    for (size_t begin = 0; begin < n; begin += row_max) {
      const size_t count = std::min(n - begin, row_max), skip = begin * sizeof(float);
      const void* x = at[1] + skip;
      for (int l = 0; l < chain.links; ++l) {
        const Chain::Link& link = chain.link[static_cast<size_t>(l)];
        // What comes last is written; what comes before must not touch operands that are still to be read.
        const bool last = l + 1 == chain.links && chain.function == nullptr;
        void* const to = last ? at[0] + skip : context.scratch;
        const void* operand = link.operand >= Chain::first_immediate
                                  ? static_cast<const void*>(&chain.immediate[static_cast<size_t>(l)])
                                  : at[link.operand] + (link.scalar ? 0 : skip);
        if (link.swapped)
          link.kernel(to, operand, x, nullptr, count);
        else
          link.kernel(to, x, operand, nullptr, count);
        x = to;
      }
      if (chain.function != nullptr)
        fault = std::max(fault, chain.function(at[0] + skip, x, &chain.alpha, nullptr, count));
    }
    if (reduced != nullptr) {
      *static_cast<float*>(static_cast<void*>(reduced)) =
          chain.whole(static_cast<const float*>(static_cast<const void*>(at[0])), n);
      reduced += chain.reduced_stride;
    }
    for (int o = 0; o < chain.operands; ++o)
      at[static_cast<size_t>(o)] += chain.row_stride[static_cast<size_t>(o)];
  }
  return fault;
}

}  // namespace heddle::systolic
