// KernelDevice: runs a partition node by node from a table of kernels, on planned scratch.
#pragma once

#include <time.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "heddle/backend/device.h"
#include "heddle/memory_plan.h"

namespace heddle::backend {

// Where a program with parallel kernels runs: one thread that owns the device's pool. submit must not
// allocate.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual uint64_t submit(void (*work)(void*), void* argument) = 0;
  virtual void wait(uint64_t tick) = 0;
  virtual bool reached(uint64_t tick) = 0;
};

// Runs each node with a kernel of the table, in order; intermediates share one planned scratch block.
class KernelDevice : public Device {
 public:
  KernelDevice(DeviceFacts facts, KernelTable table, std::unique_ptr<Executor> executor = nullptr)
      : Device(std::move(facts)), table_(std::move(table)), executor_(std::move(executor)) {}

  Offer offer(const NodeRef& node) override {
    const auto entry = table_.find(std::string_view(node.op()));
    if (entry == table_.end()) return no("has no kernel for this op");
    return entry->second.offer(node);
  }
  std::unique_ptr<Program> compile(const hd_graph& graph) override;
  std::unique_ptr<Binding> bind(Program& program, std::vector<void*> addresses) override;
  uint64_t launch(Binding& binding) override;
  void wait(uint64_t tick) override {
    if (executor_ && tick != 0) executor_->wait(tick);
    if (failed_.load(std::memory_order_relaxed) && failed_.exchange(false))
      std::rethrow_exception(std::exchange(failure_, nullptr));
  }
  bool reached(uint64_t tick) override { return !executor_ || tick == 0 || executor_->reached(tick); }
  const void* extension(std::string_view name) override;
  Executor* executor() { return executor_.get(); }

 private:
  struct Step {
    Kernel kernel;
    std::vector<uint32_t> in, out;  // value indices
    uint32_t node = 0;
  };
  // Where a value lives: an external value's span or an offset of the scratch block.
  struct Storage {
    bool external = true;
    uint32_t value = HD_NO_VALUE;  // external: whose span
    uint64_t offset = 0;           // scratch
  };
  struct KernelProgram final : Program {
    std::vector<Step> steps;
    std::vector<Storage> storage;          // per value
    std::vector<uint64_t> scratch_offset;  // per step: its kernel's scratch
    bool parallel = false;
  };
  struct KernelBinding final : Binding {
    KernelDevice* device = nullptr;
    KernelProgram* program = nullptr;
    std::vector<void*> address;       // per value + scratch, as bound
    std::vector<const void*> inputs;  // flattened operand pointers of all steps
    std::vector<void*> outputs;
    std::vector<Arguments> arguments;                              // per step
    std::vector<std::vector<uint32_t>> input_slots, output_slots;  // per external value: places to patch
    std::vector<hd_span_record> records;
    std::vector<const hd_span_record*> record_pointers;
    bool recording = false;
    void rebind(uint32_t value, void* to) override {
      address[value] = to;
      for (uint32_t slot : input_slots[value]) inputs[slot] = to;
      for (uint32_t slot : output_slots[value]) outputs[slot] = to;
    }
  };
  static void run_steps(KernelBinding& binding);
  static void run_on_executor(void* binding);
  static uint64_t now_ns();

  KernelTable table_;
  std::unique_ptr<Executor> executor_;
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
};

inline uint64_t KernelDevice::now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
}

inline std::unique_ptr<Program> KernelDevice::compile(const hd_graph& graph) {
  auto program = std::make_unique<KernelProgram>();
  constexpr uint32_t none = HD_NO_VALUE;
  for (uint32_t i = 0; i < graph.n_node; ++i) {
    const NodeRef node(&graph, i);
    const auto entry = table_.find(std::string_view(node.op()));
    if (entry == table_.end())
      throw Failure(HD_ERROR_UNSUPPORTED, std::string(node.name()) + ": no kernel for " + node.op());
    Step step;
    step.kernel = entry->second.make(node);
    step.in.assign(node.get()->in, node.get()->in + node.inputs());
    step.out.assign(node.get()->out, node.get()->out + node.outputs());
    step.node = i;
    program->parallel |= step.kernel.parallel;
    program->facts.kernels.push_back(step.kernel.name);
    program->steps.push_back(std::move(step));
  }

  // Storage groups: aliases and in-place results join the group of their input.
  const uint32_t values = graph.n_value;
  std::vector<uint32_t> group(values), last_read(values, 0), first_write(values, 0);
  std::vector<bool> intermediate(values);
  for (uint32_t v = 0; v < values; ++v) {
    group[v] = v;
    intermediate[v] = graph.value[v]->kind == HD_VALUE_INTERMEDIATE;
  }
  const auto root = [&](uint32_t v) { return group[v]; };
  const auto bytes = [&](uint32_t v) { return ValueRef(graph.value[v], v).bytes(); };
  // Last step that reads any member of the value's group, over the aliases known so far.
  std::vector<std::vector<uint32_t>> readers(values);
  const uint32_t steps = static_cast<uint32_t>(program->steps.size());
  for (uint32_t s = 0; s < steps; ++s)
    for (uint32_t v : program->steps[s].in)
      if (v != none) readers[v].push_back(s);
  for (uint32_t v = 0; v < values; ++v) last_read[v] = readers[v].empty() ? 0 : readers[v].back();
  // Aliases first: an alias extends the life of what it shares.
  for (uint32_t s = 0; s < steps; ++s) {
    const Step& step = program->steps[s];
    for (uint32_t v : step.out) first_write[v] = s, last_read[v] = std::max(last_read[v], s);
    if (!step.kernel.alias || !intermediate[step.out[0]]) continue;
    const uint32_t r = root(step.in[0]);
    group[step.out[0]] = r;
    last_read[r] = std::max(last_read[r], last_read[step.out[0]]);
  }
  // In place: the result takes the memory of an operand that dies here. Lives only grow along a chain, in
  // order.
  for (uint32_t s = 0; s < steps; ++s) {
    const Step& step = program->steps[s];
    for (const hd_pair& pair : step.kernel.in_place) {
      const uint32_t out = step.out[pair.first], in = step.in[pair.second];
      if (in == none) continue;
      const uint32_t r = root(in);
      if (last_read[r] != s || std::count(step.in.begin(), step.in.end(), in) > 1) continue;
      // Another operand of this step in the same group, or another result already there, would be
      // overwritten.
      const bool shared =
          std::any_of(step.in.begin(), step.in.end(),
                      [&](uint32_t v) { return v != none && v != in && root(v) == r; }) ||
          std::any_of(step.out.begin(), step.out.end(), [&](uint32_t v) { return v != out && root(v) == r; });
      if (shared) continue;
      if (intermediate[out] && intermediate[r] && root(out) == out && bytes(out) == bytes(r)) {
        group[out] = r;
        last_read[r] = last_read[out];
        for (uint32_t v = 0; v < values; ++v)  // aliases of `out` follow it
          if (group[v] == out) group[v] = r;
      } else if (r == in && graph.value[in]->kind == HD_VALUE_VARIABLE &&
                 graph.value[out]->kind == HD_VALUE_OUTPUT) {
        for (uint32_t u = 0; u < graph.n_update; ++u)
          if (graph.update[u].first == in && graph.update[u].second == out)
            program->facts.in_place.push_back({out, in});
      }
    }
  }

  std::vector<Lifetime> lifetimes;
  std::vector<uint32_t> lifetime_of(values, none);
  for (uint32_t v = 0; v < values; ++v) {
    if (!intermediate[v] || root(v) != v) continue;
    lifetime_of[v] = static_cast<uint32_t>(lifetimes.size());
    lifetimes.push_back({first_write[v], std::max(first_write[v], last_read[v]), bytes(v)});
  }
  const size_t kernel_scratch = lifetimes.size();
  for (uint32_t s = 0; s < steps; ++s) lifetimes.push_back({s, s, program->steps[s].kernel.scratch_bytes});
  const MemoryPlan plan = plan_memory(lifetimes, 64);
  program->facts.scratch_bytes = plan.total;
  program->facts.scratch_lower_bound = plan.lower_bound;
  program->facts.inline_launch = !(program->parallel && executor_);
  program->storage.resize(values);
  for (uint32_t v = 0; v < values; ++v) {
    const uint32_t r = root(v);
    if (intermediate[r])
      program->storage[v] = {false, none, plan.offset[lifetime_of[r]]};
    else
      program->storage[v] = {true, r, 0};
  }
  for (uint32_t s = 0; s < steps; ++s) program->scratch_offset.push_back(plan.offset[kernel_scratch + s]);
  return program;
}

inline std::unique_ptr<Binding> KernelDevice::bind(Program& base, std::vector<void*> addresses) {
  auto& program = static_cast<KernelProgram&>(base);
  auto binding = std::make_unique<KernelBinding>();
  binding->device = this;
  binding->program = &program;
  binding->address = std::move(addresses);
  auto* scratch = static_cast<char*>(binding->address.back());
  binding->input_slots.resize(program.storage.size());
  binding->output_slots.resize(program.storage.size());
  const auto resolve = [&](uint32_t v) -> void* {
    if (v == HD_NO_VALUE) return nullptr;
    const Storage& s = program.storage[v];
    return s.external ? binding->address[s.value] : scratch + s.offset;
  };
  for (const Step& step : program.steps) {
    for (uint32_t v : step.in) {
      if (v != HD_NO_VALUE && program.storage[v].external)
        binding->input_slots[program.storage[v].value].push_back(
            static_cast<uint32_t>(binding->inputs.size()));
      binding->inputs.push_back(resolve(v));
    }
    for (uint32_t v : step.out) {
      if (program.storage[v].external)
        binding->output_slots[program.storage[v].value].push_back(
            static_cast<uint32_t>(binding->outputs.size()));
      binding->outputs.push_back(resolve(v));
    }
  }
  size_t in = 0, out = 0;
  for (size_t s = 0; s < program.steps.size(); ++s) {
    binding->arguments.push_back(
        {binding->inputs.data() + in, binding->outputs.data() + out, scratch + program.scratch_offset[s]});
    in += program.steps[s].in.size();
    out += program.steps[s].out.size();
  }
  binding->records.resize(program.steps.size());
  for (hd_span_record& r : binding->records) binding->record_pointers.push_back(&r);
  return binding;
}

inline void KernelDevice::run_steps(KernelBinding& b) {
  const KernelProgram& program = *b.program;
  for (size_t s = 0; s < program.steps.size(); ++s) {
    const Kernel& kernel = program.steps[s].kernel;
    const uint64_t begin = b.recording ? now_ns() : 0;
    if (!kernel.alias || b.arguments[s].inputs[0] != b.arguments[s].outputs[0]) kernel.run(b.arguments[s]);
    if (b.recording) b.records[s] = {sizeof(hd_span_record), program.steps[s].node, begin, now_ns()};
  }
}

inline void KernelDevice::run_on_executor(void* argument) {
  auto& binding = *static_cast<KernelBinding*>(argument);
  try {
    run_steps(binding);
  } catch (...) {  // surfaces in wait
    binding.device->failure_ = std::current_exception();
    binding.device->failed_.store(true);
  }
}

inline uint64_t KernelDevice::launch(Binding& base) {
  auto& binding = static_cast<KernelBinding&>(base);
  if (executor_ && binding.program->parallel) return executor_->submit(run_on_executor, &binding);
  run_steps(binding);
  return 0;
}

inline const void* KernelDevice::extension(std::string_view name) {
  if (name != HD_EXTENSION_SPANS) return nullptr;
  static const hd_spans_v1 spans = {
      sizeof(hd_spans_v1), 0,
      [](hd_device*, hd_binding* b, int32_t on) {
        static_cast<KernelBinding*>(reinterpret_cast<Binding*>(b))->recording = on != 0;
      },
      [](hd_device*, hd_binding* b, const hd_span_record* const** records) -> uint32_t {
        auto* binding = static_cast<KernelBinding*>(reinterpret_cast<Binding*>(b));
        *records = binding->record_pointers.data();
        return static_cast<uint32_t>(binding->record_pointers.size());
      }};
  return &spans;
}

}  // namespace heddle::backend
