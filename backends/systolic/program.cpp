#include "heddle/systolic/program.h"

#include <optional>
#include <vector>

#include "heddle/error.h"
#include "heddle/systolic/builder.h"
#include "systolic/engines/plan.h"
#include "systolic/lower/scheduler.h"
#include "systolic/lower/scratch.h"
#include "systolic/report/profile.h"
#include "systolic/report/trace.h"

namespace heddle::systolic {
namespace {

constexpr uint64_t rounded(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

class Program::Impl {
 public:
  Impl(Stream made, const CompileOptions& options) : stream(std::move(made)) {
    std::vector<uint32_t> order;
    if (options.timing || options.execute_scheduled) {
      const Dependencies dependencies = find_dependencies(stream);
      const CostModel cost(stream, options.column);
      order = schedule(stream, dependencies, cost, options.window);
      if (options.timing) timing = run_timeline(stream, dependencies, order, cost);
    }
    if (options.numerics) {
      // Numbers run in the emitted order: it is what they mean, and K loops stay together.
      plan.emplace(stream,
                   options.execute_scheduled ? std::span<const uint32_t>(order) : std::span<const uint32_t>(),
                   options.stochastic_rounding);
      scratch = plan_scratch(stream, plan->lives());
      table_bytes = rounded((stream.values.size() + 1) * sizeof(std::byte*));
    }
  }

  Stream stream;
  Timing timing;
  std::optional<Plan> plan;
  ScratchLayout scratch;
  uint64_t table_bytes = 0;
};

Program::Program(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Program::Program(Program&&) noexcept = default;
Program& Program::operator=(Program&&) noexcept = default;
Program::~Program() = default;

const Stream& Program::stream() const { return impl_->stream; }
const Timing& Program::timing() const { return impl_->timing; }
uint64_t Program::scratch_bytes() const { return impl_->scratch.bytes; }

uint64_t Program::memory_bytes() const {
  if (!impl_->plan) return 0;
  return impl_->table_bytes + systolic::scratch_bytes + rounded(impl_->plan->on_chip_bytes()) +
         impl_->scratch.bytes;
}

void Program::run(std::span<std::byte* const> values, std::byte* memory) const {
  if (!impl_->plan)
    throw Error(ErrorCode::unsupported, "the program was compiled for timing alone (numerics=off)");
  // Working memory: the table of bases, staging, on-chip memory, scratch HBM.
  auto** base = static_cast<std::byte**>(static_cast<void*>(memory));
  std::byte* const staging = memory + impl_->table_bytes;
  std::byte* const chip = staging + systolic::scratch_bytes;
  std::byte* const scratch = chip + rounded(impl_->plan->on_chip_bytes());
  base[0] = chip;
  size_t given = 0;
  for (size_t v = 0; v < impl_->stream.values.size(); ++v) {
    if (impl_->stream.values[v].scratch) {
      base[1 + v] = scratch + impl_->scratch.offset[v];
    } else {
      if (given == values.size()) {
        throw Error(ErrorCode::invalid_argument,
                    "the program has more HBM values than the " + std::to_string(given) + " that were given");
      }
      base[1 + v] = values[given++];
    }
  }
  impl_->plan->run(base, staging);
}

void Program::run(std::span<const Tensor> tensors) const {
  std::vector<std::byte*> values;
  for (const Value& value : impl_->stream.values) {
    if (value.scratch) continue;
    if (values.size() == tensors.size()) {
      throw Error(ErrorCode::invalid_argument, "the program needs more tensors than the " +
                                                   std::to_string(tensors.size()) + " given: none for '" +
                                                   value.name + "'");
    }
    Tensor tensor = tensors[values.size()];
    if (!tensor.defined() || tensor.dtype() != value.dtype || tensor.elements() != value.elements ||
        !tensor.is_contiguous()) {
      throw Error(ErrorCode::invalid_argument, "tensor " + std::to_string(values.size()) + " must be '" +
                                                   value.name + "': " + std::to_string(value.elements) +
                                                   " elements of " + dtype_name(value.dtype) +
                                                   ", dense; it has " + std::to_string(tensor.elements()) +
                                                   " of " + dtype_name(tensor.dtype()));
    }
    values.push_back(static_cast<std::byte*>(tensor.data()));
  }
  if (values.size() != tensors.size()) {
    throw Error(ErrorCode::invalid_argument, "the program has " + std::to_string(values.size()) +
                                                 " values, and " + std::to_string(tensors.size()) +
                                                 " tensors were given");
  }
  Tensor memory(DType::uint8, {static_cast<int64_t>(memory_bytes())});  // aligned as a program asks
  run(values, static_cast<std::byte*>(memory.data()));
}

std::string Program::table() const { return profile_table(impl_->stream, impl_->timing); }
std::string Program::report() const { return profile_json(impl_->stream, impl_->timing); }
std::string Program::trace() const { return trace_json(impl_->stream, impl_->timing); }

Program compile(Stream stream, const CompileOptions& options) {
  return Program(std::make_unique<Program::Impl>(std::move(stream), options));
}

Program compile(NeuronCore&& core, const CompileOptions& options) {
  return compile(std::move(core).finish(), options);
}

}  // namespace heddle::systolic
