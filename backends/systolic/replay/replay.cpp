#include "heddle/systolic/replay.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "heddle/error.h"
#include "heddle/systolic/program.h"
#include "systolic/machine/cost.h"
#include "systolic/replay/builtin.h"
#include "systolic/replay/emit.h"
#include "systolic/replay/placement.h"

namespace heddle::systolic {

struct ReplayKernel::Impl {
  replay::Nest nest;
};

const std::string& ReplayKernel::name() const { return impl_->nest.name; }
const std::string& ReplayKernel::device() const { return impl_->nest.device; }
const std::string& ReplayKernel::source() const { return impl_->nest.source; }
const Published& ReplayKernel::published() const { return impl_->nest.published; }

std::vector<std::string> ReplayKernel::facts() const {
  std::vector<std::string> list;
  for (const replay::Fact& f : impl_->nest.facts) {
    std::string loops;
    for (int l : f.loops)
      loops += (loops.empty() ? "" : ", ") + impl_->nest.loops[static_cast<size_t>(l)].name;
    const char* kind = f.kind == replay::Fact::Kind::hoist    ? "hoisted out of "
                       : f.kind == replay::Fact::Kind::reload ? "loaded again in each iteration of "
                                                              : "spilled between iterations of ";
    list.push_back(impl_->nest.tiles[static_cast<size_t>(f.family)].name + " is " + kind + loops + ": " +
                   f.because);
  }
  return list;
}

std::vector<std::string> builtin_kernels() {
  std::vector<std::string> names;
  for (const replay::BuiltinKernel& k : replay::builtin_kernel_files()) names.emplace_back(k.name);
  return names;
}

std::string_view builtin_kernel_text(std::string_view name) {
  std::string names;
  for (const replay::BuiltinKernel& k : replay::builtin_kernel_files()) {
    if (name == k.name) return k.text;
    names += (names.empty() ? "" : ", ") + std::string(k.name);
  }
  throw Error(ErrorCode::not_found, "there is no kernel '" + std::string(name) + "' to replay; there are " +
                                        names + ", and any file that ends in .json");
}

ReplayKernel parse_kernel(std::string_view json, const std::string& source) {
  return ReplayKernel(
      std::make_shared<ReplayKernel::Impl>(ReplayKernel::Impl{replay::parse_nest(json, source)}));
}

ReplayKernel load_kernel(std::string_view name) {
  if (name.size() < 5 || name.substr(name.size() - 5) != ".json")
    return parse_kernel(builtin_kernel_text(name), std::string(name));
  std::ifstream file{std::string(name)};
  if (!file) throw Error(ErrorCode::not_found, "replay file " + std::string(name) + " cannot be opened");
  std::ostringstream text;
  text << file.rdbuf();
  return parse_kernel(text.str(), std::string(name));
}

namespace {

// Of HBM: what the nest reads, every value once, and what it writes.
int64_t compulsory_bytes(const replay::Nest& nest, replay::Trace trace, const replay::Capacity& capacity) {
  // Whether that fits does not matter here: the plan turns off the steps that repeat others.
  replay::make_plan(nest, trace, ReplayLevel::as_written, capacity, replay::no_gap, true);
  int64_t bytes = 0;
  for (const replay::Step& step : trace.step) {
    const replay::Statement& s = nest.statements[step.statement];
    if (!step.active || s.hbm < 0) continue;
    const replay::HbmValue& value = nest.hbm[static_cast<size_t>(s.hbm)];
    std::vector<int> counter;
    for (size_t l = 0; l < nest.loops.size(); ++l) counter.push_back(trace.at(step, static_cast<int>(l)));
    auto region = static_cast<int64_t>(size_of(value.dtype));
    bool first = true;  // the dimension along the partitions
    for (size_t d = 0; d < value.shape.size(); ++d) {
      const replay::Range range = s.region.box.empty() ? replay::Range{} : s.region.box[d];
      if (range.kind == replay::Range::Kind::index) continue;
      int64_t count = range.kind == replay::Range::Kind::all ? value.shape[d] : range.count;
      if ((s.mask_rows && first) || (s.mask_columns && d + 1 == value.shape.size()))
        count = std::min(count, s.limit.at(counter));
      region *= count, first = false;
    }
    bytes += region;
  }
  return bytes;
}

// Seconds of documented issue intervals of the busiest of PE, ACT and DVE; reciprocal's cost is disputed.
double issue_bound(const Stream& stream) {
  const CostModel cost(stream, Column::documented);
  std::array<double, engine_count> busy{};
  for (const Instruction& i : stream.instructions) {
    if (is_dma(i.opcode) || i.opcode == Opcode::reciprocal) continue;
    busy[static_cast<size_t>(i.engine)] += static_cast<double>(cost.cost(i).interval) * 1e-12;
  }
  double bound = 0;
  for (Engine e : {Engine::pe, Engine::act, Engine::dve})
    bound = std::max(bound, busy[static_cast<size_t>(e)]);
  return bound;
}

}  // namespace

namespace {

constexpr uint64_t gap_min = 4;  // steps; below that every use would be a reload

ReplayResult time_plan(const replay::Nest& nest, const replay::Trace& trace, replay::Plan plan,
                       const Description& device, ReplayLevel level, const ReplayOptions& options) {
  ReplayResult r;
  NeuronCore core(device);
  core.scope(nest.name);
  const replay::Spilled spilled = replay::emit(core, nest, trace, plan);
  r.spill_save_bytes = spilled.saved, r.spill_reload_bytes = spilled.restored;
  CompileOptions compile_options;
  compile_options.column = options.column;
  compile_options.window = options.window;
  compile_options.numerics = false;
  const Program program = compile(std::move(core).finish(), compile_options);
  const Timing& t = program.timing();
  r.kernel = nest.name, r.device = device.name, r.level = level;
  r.seconds = static_cast<double>(t.total) * 1e-12;
  r.hbm_read_bytes = t.dma.read_bytes, r.hbm_write_bytes = t.dma.write_bytes;
  for (size_t q = 0; q < engine_count; ++q) r.busy_seconds[q] = static_cast<double>(t.queue[q].busy) * 1e-12;
  r.dma_active_seconds = static_cast<double>(t.dma.active) * 1e-12;
  r.instructions = static_cast<int64_t>(program.stream().instructions.size());
  for (const Instruction& i : program.stream().instructions) {
    r.matmuls += i.opcode == Opcode::matmul;
    r.transposes += i.opcode == Opcode::transpose && i.engine == Engine::pe;
  }
  r.lower_bound_seconds = issue_bound(program.stream());
  r.decisions = std::move(plan.decisions);
  r.decisions.push_back(plan.rotating ? "pools rotate" : "tiles of one size share slots");
  return r;
}

// With the largest gap that fits; nothing when none does.
std::optional<ReplayResult> replay_with(const replay::Nest& nest, const replay::Trace& written, bool rotating,
                                        const Description& device, ReplayLevel level,
                                        const ReplayOptions& options) {
  const replay::Capacity capacity{device.sbuf.usable_bytes(), device.psum.banks, device.psum.bank_bytes};
  const auto plan_for = [&](uint64_t gap, replay::Trace& trace) {
    trace = written;
    return replay::make_plan(nest, trace, level, capacity, gap, rotating);
  };
  replay::Trace trace;
  auto plan = plan_for(replay::no_gap, trace);
  uint64_t gap = replay::no_gap;
  if (!plan) {
    // The largest that fits, to within a sixteenth.
    uint64_t low = 0, high = written.step.size();
    while (high > gap_min && high - low > high / 16) {
      const uint64_t middle = low + (high - low + 1) / 2;
      (plan_for(middle, trace) ? low : high) = middle;
      if (high == low + 1) break;
    }
    gap = low;
  }
  for (; gap >= gap_min;
       gap = gap == replay::no_gap ? written.step.size() : gap - std::max<uint64_t>(gap / 8, 1)) {
    plan = plan_for(gap, trace);
    if (!plan) continue;
    try {
      return time_plan(nest, trace, std::move(*plan), device, level, options);
    } catch (const Error& e) {
      // The pieces that are free may be too small for a tile.
      if (e.code() != ErrorCode::out_of_memory) throw;
    }
  }
  return std::nullopt;
}

}  // namespace

ReplayResult replay_kernel(const ReplayKernel& kernel, const Description& given, ReplayLevel level,
                           const ReplayOptions& options) {
  replay::Nest nest = kernel.impl().nest;
  replay::place_in_psum(nest, given.psum.bank_bytes);
  // The part of SBUF that the compiler keeps for itself (the allocation guide's 16 KiB) is the compiler's to
  // use, and replayed kernels were compiled.
  Description device = given;
  device.sbuf.reserved_kib = 0;
  const replay::Trace written = replay::write_out(nest);
  auto best = replay_with(nest, written, true, device, level, options);
  auto other = replay_with(nest, written, false, device, level, options);
  if (!best || (other && other->seconds < best->seconds)) best = std::move(other);
  if (!best)
    throw Error(ErrorCode::out_of_memory, "the kernel '" + nest.name + "' does not fit the memory of " +
                                              device.name +
                                              " however its tiles are spilled; use smaller tiles");
  // At the rate of a core when all share the HBM domain.
  const HbmDescription& hbm = device.hbm;
  const replay::Capacity capacity{device.sbuf.usable_bytes(), device.psum.banks, device.psum.bank_bytes};
  best->lower_bound_seconds =
      std::max(best->lower_bound_seconds, static_cast<double>(compulsory_bytes(nest, written, capacity)) /
                                              (hbm.gbps / hbm.cores_per_domain * 1e9));
  return std::move(*best);
}

}  // namespace heddle::systolic
