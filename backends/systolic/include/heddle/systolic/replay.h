// Replaying kernels that others measured: a loop nest in JSON, lowered by one policy and timed like our own
// kernels.
//
//   ReplayKernel kernel = load_kernel("matmul");              // built in, or "mine.json"
//   ReplayResult r = replay_kernel(kernel, ReplayLevel::as_executed);
//   r.seconds, r.hbm_read_bytes, r.busy_seconds[...]
//
// Real hardware ran what a compiler made of a kernel's text. Hence two levels:
//   as_written   the nest, lowered by the frozen policy (docs/systolic.md): values made once while memory
//   lasts,
//                dropped and reloaded (or spilled) where it does not, one engine rule, list scheduling.
//   as_executed  in place of the policy's own choice of what is hoisted, reloaded and spilled: the kernel's
//   `facts`, which
//                state what the published byte and flop counts imply and nothing else.
// Everything is simulated; calibrated on public figures, never run on Trainium. Numbers are not computed.
// Threads: all functions may be called from several threads.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "heddle/systolic/description.h"

namespace heddle::systolic {

// What was published about a kernel's run. Zero: not published.
struct Published {
  double seconds = 0;
  double profile_seconds = 0;  // of the run that the activities belong to
  int64_t hbm_read_bytes = 0, hbm_write_bytes = 0;
  double act_active = 0, dve_active = 0, gpsimd_active = 0, pe_active = 0,
         dma_active = 0;  // shares of profile_seconds
  double hardware_flops = 0, transpose_flops = 0;
  std::string source;
};

enum class ReplayLevel : uint8_t { as_written, as_executed };

struct ReplayLine {  // the policy's choices, in words
  std::string text;
};

struct ReplayResult {
  std::string kernel, device;
  ReplayLevel level = ReplayLevel::as_written;
  double seconds = 0;
  int64_t hbm_read_bytes = 0, hbm_write_bytes = 0;
  int64_t spill_save_bytes = 0, spill_reload_bytes = 0;
  std::array<double, engine_count> busy_seconds{};  // union of issue to completion, by Engine
  double dma_active_seconds = 0;
  int64_t instructions = 0, matmuls = 0, transposes = 0;
  // No machine of this description is faster: the largest of the documented issue intervals of PE, ACT and
  // DVE (without reciprocal), and of the bytes that the nest must move (each input once) at the rate of a
  // core's share of its domain.
  double lower_bound_seconds = 0;
  std::vector<std::string> decisions;
};

class ReplayKernel {
 public:
  const std::string& name() const;
  const std::string& device() const;  // the device it was measured on
  const std::string& source() const;
  const Published& published() const;
  // The facts of as_executed, in words.
  std::vector<std::string> facts() const;

  struct Impl;
  explicit ReplayKernel(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

// Names of the kernels that are built in.
std::vector<std::string> builtin_kernels();
std::string_view builtin_kernel_text(std::string_view name);  // throws not_found listing the names
// A built-in kernel, or a file when `name` ends in ".json". Throws not_found, corrupt (not JSON) and
// invalid_argument naming the file, the place in it as a JSON pointer, and what is wrong.
ReplayKernel load_kernel(std::string_view name);
ReplayKernel parse_kernel(std::string_view json, const std::string& source);

struct ReplayOptions {
  int window = 1024;  // of the list scheduler
  Column column = Column::calibrated;
};

// Throws Error when the kernel breaks a rule of the machine, naming the statement.
ReplayResult replay_kernel(const ReplayKernel& kernel, const Description& device, ReplayLevel level,
                           const ReplayOptions& options = {});

}  // namespace heddle::systolic
