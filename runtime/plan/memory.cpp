// The planner's last phases: arenas, constants, bindings, and the spans of the steps.
#include <algorithm>
#include <cstring>
#include <limits>

#include "heddle/memory_plan.h"
#include "heddle/schema.h"
#include "plan/planner.h"

namespace heddle::plan {
namespace {

uint64_t round_up(uint64_t bytes, uint64_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

}  // namespace

std::string memory_remedy(const device::OpenDevice& device) {
  return device.spec().find("memory=") == std::string::npos
             ? "; use a smaller batch or model"
             : "; open the device with a larger memory=BYTES, or use a smaller batch or model";
}

void fill_hollow(std::span<std::byte> bytes, DType dtype) {
  if (bytes.empty()) return;
  const size_t one = size_of(dtype);
  Tensor element(dtype, Shape{1});
  element.set(0, is_float(dtype) ? std::numeric_limits<double>::quiet_NaN() : 0.0);
  std::memcpy(bytes.data(), element.data(), one);
  for (size_t done = one; done < bytes.size(); done *= 2)
    std::memcpy(bytes.data() + done, bytes.data(), std::min(done, bytes.size() - done));
}

void Planner::place_memory() {
  const uint32_t end = static_cast<uint32_t>(drafts_.size());
  scratch_offset_.assign(plan_->partitions.size(), 0);
  for (uint32_t d = 0; d < plan_->devices.size(); ++d) {
    DeviceUse& use = plan_->devices[d];
    std::vector<Lifetime> lifetimes;
    std::vector<Location*> places;
    for (auto& [key, place] : locations_) {
      const auto [v, on] = key;
      if (on != d || place.kind != Location::Kind::arena) continue;
      // Written by the launch, upload or transfer that first names it; read until the last draft that names
      // it.
      Lifetime life{end, 0, bytes_of(v)};
      for (uint32_t i = 0; i < end; ++i) {
        const Draft& draft = drafts_[i];
        bool touches = false;
        if (draft.kind == Step::Kind::launch) {
          const CompiledPartition& part = plan_->partitions[draft.partition];
          touches =
              part.device == d && std::find(part.values.begin(), part.values.end(), v) != part.values.end();
        } else {
          const bool reads = draft.from == d && draft.kind != Step::Kind::upload;
          const bool writes =
              draft.to == d && (draft.kind == Step::Kind::upload || draft.kind == Step::Kind::transfer);
          touches = draft.value == v && (reads || writes);
        }
        if (!touches) continue;
        life.first = std::min(life.first, i);
        life.last = std::max(life.last, i);
      }
      lifetimes.push_back(life);
      places.push_back(&place);
    }
    const size_t crossing = lifetimes.size();
    std::vector<uint32_t> owner;
    for (uint32_t p = 0; p < plan_->partitions.size(); ++p) {
      if (plan_->partitions[p].device != d) continue;
      lifetimes.push_back({launch_draft_[p], launch_draft_[p], plan_->partitions[p].scratch_bytes});
      owner.push_back(p);
    }
    const MemoryPlan memory = plan_memory(lifetimes, use.device->alignment());
    for (size_t i = 0; i < crossing; ++i) places[i]->offset = memory.offset[i];
    for (size_t i = 0; i < owner.size(); ++i) {
      scratch_offset_[owner[i]] = memory.offset[crossing + i];
      lifetimes[crossing + i].bytes = plan_->partitions[owner[i]].scratch_lower_bound;
    }
    use.arena_bytes = memory.total;
    use.lower_bound = plan_memory(lifetimes, use.device->alignment()).lower_bound;
    try {
      if (memory.total > 0) use.arena = use.device->alloc(memory.total);
      place_constants(d);
    } catch (const Error& e) {
      if (e.code() != ErrorCode::out_of_memory) throw;
      throw Error(e.code(), std::string(e.what()) + "; the plan needs " + std::to_string(use.arena_bytes) +
                                " bytes there for intermediates, " + std::to_string(use.variable_bytes) +
                                " for variables and " + std::to_string(use.constant_bytes) +
                                " for constants" + memory_remedy(*use.device));
    }
  }
}

void Planner::place_constants(uint32_t d) {
  DeviceUse& use = plan_->devices[d];
  const uint64_t alignment = use.device->alignment();
  for (auto& [key, place] : locations_) {
    if (key.second != d || place.kind != Location::Kind::constant) continue;
    place.offset = use.constant_bytes;
    use.constant_bytes = round_up(use.constant_bytes + bytes_of(key.first), alignment);
  }
  if (use.constant_bytes == 0) return;
  use.constants = use.device->alloc(use.constant_bytes);
  for (auto& [key, place] : locations_) {
    if (key.second != d || place.kind != Location::Kind::constant) continue;
    const uint64_t bytes = bytes_of(key.first);
    const Tensor dense = plan_->graph.info(key.first).constant.contiguous();
    use.device->copy_now(use.stream, device::span_of(use.constants, place.offset, bytes),
                         device::host_span(dense.data(), bytes));
  }
}

hd_span Planner::span(const Location& place, uint32_t d, uint64_t bytes) const {
  const DeviceUse& use = plan_->devices[d];
  switch (place.kind) {
    case Location::Kind::arena:
      return device::span_of(use.arena, place.offset, bytes);
    case Location::Kind::constant:
      return device::span_of(use.constants, place.offset, bytes);
    case Location::Kind::variable:
      return {variables_[place.index].buffer, 0, bytes};
    case Location::Kind::host:  // bound at every run
    case Location::Kind::none:
      break;
  }
  return device::host_span(nullptr, bytes);
}

void Planner::bind_partitions() {
  for (uint32_t p = 0; p < plan_->partitions.size(); ++p) {
    CompiledPartition& part = plan_->partitions[p];
    DeviceUse& use = plan_->devices[part.device];
    std::vector<hd_span> spans;
    for (uint32_t i = 0; i < part.values.size(); ++i) {
      const ValueId v = part.values[i];
      if (kind_in(p, v) == HD_VALUE_INTERMEDIATE) {
        spans.push_back({});
        continue;
      }
      const Location& place = location(v, part.device);
      spans.push_back(span(place, part.device, bytes_of(v)));
      if (place.kind == Location::Kind::host)
        (place.output ? plan_->host_outputs : plan_->host_inputs).push_back({p, i, place.index});
    }
    spans.push_back(device::span_of(use.arena, scratch_offset_[p], part.scratch_bytes));
    if (part.scratch_bytes == 0) spans.back() = {};
    part.binding = use.device->bind(part.program, spans);
  }
}

void Planner::emit_steps() {
  for (const Draft& draft : drafts_) {
    Step step{};
    step.kind = draft.kind;
    step.partition = draft.partition;
    step.from = draft.from;
    step.to = draft.to;
    step.index = draft.index;
    step.value = draft.value;
    step.hollow = draft.value != no_value && hollow_[draft.value];
    if (draft.kind != Step::Kind::launch) {
      step.bytes = bytes_of(draft.value);
      const bool to_device = draft.kind == Step::Kind::upload || draft.kind == Step::Kind::transfer;
      if (draft.kind != Step::Kind::upload)
        step.source = span(location(draft.value, draft.from), draft.from, step.bytes);
      if (to_device) step.target = span(location(draft.value, draft.to), draft.to, step.bytes);
      if (draft.kind == Step::Kind::commit) step.target = {variables_[draft.index].buffer, 0, step.bytes};
    }
    const bool staged =
        draft.kind == Step::Kind::transfer || (draft.kind == Step::Kind::commit && draft.from != draft.to);
    std::vector<std::byte>& staging = plan_->staging.emplace_back(staged ? step.bytes : 0);
    if (staged && step.hollow) fill_hollow(staging, plan_->graph.info(draft.value).dtype);
    plan_->steps.push_back(step);
  }
}

}  // namespace heddle::plan
