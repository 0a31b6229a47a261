// What a simulated NeuronCore is: every number of the machine, read from a device file.
//
// devices/trn1.toml, trn2.toml and trn3.toml are built in; each of their figures carries its source or the
// word assumption. A user's file has the same keys, or names a `base` and only what differs:
//
//   base = "trn2"            # or trn1, trn3
//   name = "wide"
//   [pe]
//   ghz = 3.0
//   latency = { documented = 0, calibrated = 350 }
//
// Loading throws not_found (no such device or file), corrupt (not TOML) and invalid_argument (a key that does
// not exist, is missing, has the wrong type or an impossible value), with file, line and key in the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace heddle::systolic {

// Which of its two costs an instruction has: the published cost tables, or the ones fitted to published
// measurements. Timelines use `calibrated`; the two are never mixed.
enum class Column : uint8_t { documented, calibrated };

// A figure with a value per column; a plain number in the file is both.
struct Figure {
  double documented = 0;
  double calibrated = 0;
  double in(Column column) const { return column == Column::documented ? documented : calibrated; }
};

// The five instruction queues.
enum class Engine : uint8_t {
  pe,      // tensor engine: matrix products and transposes
  act,     // scalar engine: functions of one operand
  dve,     // vector engine: functions of two operands, reductions
  gpsimd,  // general-purpose engine: everything else, slowly
  sp,      // synchronisation engine: triggers DMA
};
inline constexpr int engine_count = 5;
const char* engine_name(
    Engine engine);  // "tensor", "scalar", "vector", "gpsimd", "sync", as the profiler says

struct PeDescription {
  int rows, columns, moving_max;
  double ghz;
  double min_interval;  // cycles between multiplies at least
  Figure latency;       // cycles from the last column in to the last result out
  double load_divisor,
      load_min;        // cycles to load a stationary operand: max(load_min, columns / load_divisor)
  Figure pair_bubble;  // cycles lost per pass
  double passes_fp32, passes_fp32_transpose;
  double passes_fp32_onezero;  // one operand holds only 0 and 1
  double passes_fp8;           // per 128 rows of K, two rows to a partition; 1: there is no such mode
  int tile_min;                // rows and columns of the smallest part of the array a small product may use
  bool transpose_exact;        // false: NaN and Inf spread when transposed
  bool psum_bf16;              // results may be bfloat16
};

struct DveDescription {
  double ghz, min_interval;
  Figure interval_add, latency;                    // cycles
  Figure copy_16bit, copy_32bit, copy_16bit_slow;  // elements per cycle and lane: copy, tensor_scalar
  Figure copy_8bit;
  Figure tensor_16bit, tensor_32bit, tensor_psum;         // elements per cycle and lane: two tensors
  Figure reduce_16bit, memset_16bit;                      // elements per cycle and lane
  Figure scan_factor, reciprocal_factor, bn_aggr_factor;  // cycles per element and lane
  double stride_factor;  // times slower with a free stride of stride_bytes or more
  double stride_bytes;
  double dynamic_copy;  // cycles of a tensor_copy_dynamic at least
  bool range_select;    // the instruction exists
};

struct ActDescription {
  double ghz, min_interval;
  Figure interval_add, latency;           // cycles
  double elements_16bit, elements_32bit;  // per cycle and lane
  double accumulate;                      // cycles that activation_reduce costs more
  Figure table_load_ns;
  // Sets of functions held in one table, by name; "any" is in every table.
  std::vector<std::pair<std::string, std::vector<std::string>>> tables;
};

struct GpSimdDescription {
  double ghz, start, elements, function_factor, random_factor;
  double partition_reduce_factor;  // cycles per element of a row
  double gather_start;             // cycles per index of local_gather, beside ...
  double gather_element;           // ... these per element
  Figure latency;                  // cycles
};

struct SyncDescription {
  double ghz, hop_ns;
  double launch_us;  // of a kernel, reported apart from its time
};

struct SbufDescription {
  int partitions;
  int64_t kib, reserved_kib;  // per partition
  int64_t usable_bytes() const { return (kib - reserved_kib) * 1024; }
};

struct PsumDescription {
  int banks;
  int64_t bank_bytes;  // per partition
};

struct PortsDescription {
  bool sbuf_dve_gpsimd, psum_dve_act;  // true: the two engines take turns
};

struct DmaDescription {
  int engines, queues;       // queues: per engine
  double gbps;               // peak of one engine
  double descriptor_ns;      // overhead of each descriptor
  int64_t descriptor_bytes;  // largest run of one descriptor
  int partitions_per_engine;
  Figure start_ns, done_ns;
  double issue_ns;                                 // on the triggering queue
  double dynamic_issue_ns, dynamic_descriptor_ns;  // descriptors made at run time: indices, dynamic offsets
  double transpose_rate, compute_rate;  // share of the rate while transposing; casting or accumulating
  Engine load_trigger, store_trigger;
};

struct HbmDescription {
  double gib, gbps;  // gbps: of the domain
  int cores_per_domain, cores_active;
  double core_gbps() const { return gbps / cores_active; }
};

struct ThrottleDescription {
  bool enabled;
  double start_rate, ramp_us, window_us;
};

struct ChipDescription {
  int cores;
  double link_gbps, flops_bf16_tera, usd_per_hour;
};

struct Description {
  std::string name, core;
  PeDescription pe;
  DveDescription dve;
  ActDescription act;
  GpSimdDescription gpsimd;
  SyncDescription sync;
  SbufDescription sbuf;
  PsumDescription psum;
  PortsDescription ports;
  DmaDescription dma;
  HbmDescription hbm;
  ThrottleDescription throttle;
  ChipDescription chip;
};

// "trn1", "trn2", "trn3".
std::vector<std::string> builtin_devices();
// The text of a built-in device file; throws not_found listing the names.
std::string_view builtin_device_text(std::string_view name);
// A built-in device, or a file when `name` ends in ".toml".
Description load_description(std::string_view name);
// `source` names the text in messages.
Description parse_description(std::string_view toml, std::string_view source);
// Replaces one number, `key` as in the file ("dma.gbps", "pe.latency"); both columns of a two-column figure.
// For sweeps: parses the device again, so every check is made.
Description with(std::string_view device, const std::vector<std::pair<std::string, double>>& changes);

}  // namespace heddle::systolic
