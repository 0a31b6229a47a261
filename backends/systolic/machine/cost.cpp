#include "systolic/machine/cost.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "systolic/isa/large_vector.h"

namespace heddle::systolic {
namespace {

int64_t from_nanoseconds(double ns) { return static_cast<int64_t>(ns * 1000 + 0.5); }

bool is_16bit(const View& v) { return size_of(v.dtype) == 2; }

// Whether each row of the view is one run of elements.
bool is_contiguous(const View& v) {
  int64_t stride = 1;
  for (size_t a = v.rank; a-- > 0;) {
    if (v.size[a] != 1 && v.stride[a] != stride) return false;
    stride *= v.size[a];
  }
  return true;
}

// Whether neighbours of the innermost dimension lie side by side.
bool has_runs(const View& v) {
  for (size_t a = v.rank; a-- > 0;)
    if (v.size[a] > 1) return v.stride[a] == 1;
  return true;
}

// Bytes between neighbours of the innermost dimension that steps.
double inner_stride_bytes(const View& v) {
  for (size_t a = v.rank; a-- > 0;)
    if (v.size[a] > 1) return static_cast<double>(v.stride[a]) * static_cast<double>(size_of(v.dtype));
  return 0;
}

// Whether two instructions cost the same because they are the same but for which tiles and values they name,
// and but for numbers that no cost looks at.
bool alike(const Stream& stream, const Instruction& a, const Instruction& b) {
  static_assert(sizeof(Instruction) == 56, "a new field belongs here, if a cost may depend on it");
  const auto fields = [](const Instruction& i) {
    return std::tuple(i.opcode, i.engine, i.op0, i.op1, i.reduce, i.function, i.view_count,
                      bool{i.transposed}, bool{i.skip}, bool{i.integer}, bool{i.double_row},
                      bool{i.onezero_stationary}, bool{i.onezero_moving}, i.array_rows, i.array_columns,
                      i.extra, i.imm2 == 0, i.region == none, i.region_out == none);
  };
  if (fields(a) != fields(b)) return false;
  for (size_t v = 0; v < a.view_count; ++v) {
    const View &p = stream.views[a.view + v], &q = stream.views[b.view + v];
    if (p.partitions != q.partitions || p.partition_start != q.partition_start || p.rank != q.rank ||
        p.role != q.role || p.dtype != q.dtype || p.size != q.size || p.stride != q.stride ||
        stream.tiles[p.tile].memory != stream.tiles[q.tile].memory)
      return false;
  }
  const auto same_box = [&](uint32_t r, uint32_t s) {
    if (r == none) return true;
    const Region &p = stream.regions[r], &q = stream.regions[s];
    return p.dtype == q.dtype && p.rank == q.rank && p.dynamic == q.dynamic && p.size == q.size &&
           p.stride == q.stride;
  };
  return same_box(a.region, b.region) && same_box(a.region_out, b.region_out);
}

// Numbers for stationary operands: the same number for the same part of the same tile.
class StationaryNames {
 public:
  explicit StationaryNames(const Stream& stream) : first_(stream.tiles.size(), none) {}
  uint32_t name(const View& view) {
    uint32_t& first = first_[view.tile];
    for (uint32_t k = first; k != none; k = known_[k].next) {
      const View& v = known_[k].view;
      if (v.offset == view.offset && v.partition_start == view.partition_start &&
          v.partitions == view.partitions && v.size == view.size && v.stride == view.stride)
        return k;
    }
    known_.push_back({view, first});
    return first = static_cast<uint32_t>(known_.size() - 1);
  }

 private:
  struct Known {
    View view;
    uint32_t next;
  };
  std::vector<uint32_t> first_;  // by tile
  std::vector<Known> known_;
};

}  // namespace

int64_t picoseconds(double cycles, double ghz) { return static_cast<int64_t>(cycles * 1000.0 / ghz + 0.5); }

CostModel::CostModel(const Stream& stream, Column column)
    : stream_(stream), device_(*stream.device), column_(column), table_(function_count, -1) {
  int index = 0;
  for (const auto& [name, functions] : device_.act.tables) {
    for (const std::string& f : functions)
      if (const auto function = parse_function(f))
        table_[static_cast<size_t>(*function)] = name == "any" ? -1 : index;
    ++index;
  }
  table_load_ = from_nanoseconds(device_.act.table_load_ns.in(column));
  hop_ = from_nanoseconds(device_.sync.hop_ns);
  dma_start_ = from_nanoseconds(device_.dma.start_ns.in(column));
  dma_done_ = from_nanoseconds(device_.dma.done_ns.in(column));
  // Loops emit the same instruction again and again: the last one from the same place is asked first.
  const auto n = static_cast<uint32_t>(stream.instructions.size());
  std::array<uint32_t, 256> recent;
  recent.fill(none);
  reserve_large(kind_, n), reserve_large(stationary_, n);
  kind_.resize(n), stationary_.resize(n, none);
  StationaryNames names(stream);
  for (uint32_t k = 0; k < n; ++k) {
    const Instruction& i = stream.instructions[k];
    uint32_t& last = recent[(i.where.line() * 31 + static_cast<uint32_t>(i.opcode)) % recent.size()];
    if (last != none && alike(stream, stream.instructions[last], i)) {
      kind_[k] = kind_[last];
    } else {
      kind_[k] = static_cast<uint32_t>(kinds_.size());
      kinds_.push_back(kind_of(i));
    }
    last = k;
    if (i.opcode == Opcode::matmul) stationary_[k] = names.name(*stream.view_of(i, Role::stationary));
  }
}

CostKind CostModel::kind_of(const Instruction& i) const {
  CostKind k;
  k.engine = i.engine;
  k.asynchronous = is_dma(i.opcode);
  k.matmul = i.opcode == Opcode::matmul, k.transpose = i.opcode == Opcode::transpose;
  if (k.asynchronous) k.dma = dma_of(i);
  k.cost = cost_of(i, k.dma);
  if (i.engine == Engine::act && (i.opcode == Opcode::activation || i.opcode == Opcode::activation_reduce))
    k.table = table_[static_cast<size_t>(i.function)];
  for (const View& v : stream_.views_of(i))
    (stream_.tiles[v.tile].memory == Memory::psum ? k.in_psum : k.in_sbuf) = true;
  return k;
}

Cost CostModel::pe(const Instruction& i) const {
  const PeDescription& pe = device_.pe;
  double moving, stationary, passes;
  if (i.opcode == Opcode::transpose) {
    const View& in = *stream_.view_of(i, Role::in0);
    moving = in.partitions, stationary = static_cast<double>(in.free_elements());
    passes = in.dtype == DType::float32 ? pe.passes_fp32_transpose : 1;
  } else {
    const View& s = *stream_.view_of(i, Role::stationary);
    const View& m = *stream_.view_of(i, Role::moving);
    moving = static_cast<double>(m.free_elements()), stationary = static_cast<double>(s.free_elements());
    const bool onezero = i.onezero_stationary || i.onezero_moving;
    passes = m.dtype != DType::float32 ? 1 : onezero ? pe.passes_fp32_onezero : pe.passes_fp32;
    // passes_fp8 is per 128 rows of K, and a double-row product has up to 256.
    if (i.double_row) moving /= 2, stationary /= 2, passes = 2 * pe.passes_fp8;
  }
  const double work = std::max(std::min(pe.min_interval, stationary), moving);
  Cost c;
  c.work = picoseconds(passes * work, pe.ghz);
  c.interval = picoseconds(passes * (work + pe.pair_bubble.in(column_)), pe.ghz);
  c.latency = c.work + picoseconds(pe.latency.in(column_), pe.ghz);
  c.load = picoseconds(passes >= 1 ? passes * std::max(pe.load_min, stationary / pe.load_divisor)
                                   : std::max(pe.load_min, stationary / pe.load_divisor),
                       pe.ghz);
  if (i.opcode == Opcode::matmul && (i.array_rows < 128 || i.array_columns < 128)) {
    // Bit 4*r + c: rows 32r.. and columns 32c.. of the array.
    const int row = stream_.view_of(i, Role::stationary)->partition_start / i.array_rows * i.array_rows;
    const int column = stream_.view_of(i, Role::out)->partition_start / i.array_columns * i.array_columns;
    for (int r = row; r < row + i.array_rows; r += 32)
      for (int k = column; k < column + i.array_columns; k += 32)
        c.part = static_cast<uint16_t>(c.part | 1 << (4 * (r / 32) + k / 32));
    c.issue = std::min(c.interval, picoseconds(pe.min_interval, pe.ghz));
  }
  return c;
}

Cost CostModel::act(const Instruction& i) const {
  const ActDescription& a = device_.act;
  const View& in = *stream_.view_of(i, Role::in0);
  const auto n = static_cast<double>(in.free_elements());
  const double rate = size_of(in.dtype) <= 2 ? a.elements_16bit : a.elements_32bit;
  const double extra = i.opcode == Opcode::activation_reduce ? a.accumulate : 0;
  const double work = n / rate;
  const double interval =
      (column_ == Column::documented ? std::max(a.min_interval, work) : work + a.interval_add.calibrated) +
      extra;
  return {picoseconds(interval, a.ghz), picoseconds(work + extra + a.latency.in(column_), a.ghz),
          picoseconds(work, a.ghz)};
}

double CostModel::dve_work(const Instruction& i) const {
  const DveDescription& v = device_.dve;
  int64_t elements = 0;
  bool psum = false, all16 = true, all8 = true, contiguous = true, runs = true;
  double stride = 0;
  int psum_operands = 0;
  const bool dynamic =
      i.opcode == Opcode::tensor_copy_dynamic_src || i.opcode == Opcode::tensor_copy_dynamic_dst;
  for (const View& view : stream_.views_of(i)) {
    if (view.role == Role::scalar0 || view.role == Role::scalar1 || view.role == Role::result ||
        view.role == Role::index)
      continue;
    // A dynamic copy moves a window of the larger side; a state of random numbers is no operand.
    if (dynamic)
      elements = elements == 0 ? view.free_elements() : std::min(elements, view.free_elements());
    else
      elements = std::max(elements, view.free_elements());
    const bool in_psum = stream_.tiles[view.tile].memory == Memory::psum;
    psum = psum || in_psum;
    psum_operands += in_psum && !is_written(view.role);
    all16 = all16 && is_16bit(view);
    all8 = all8 && is_float(view.dtype) && size_of(view.dtype) == 1;
    contiguous = contiguous && is_contiguous(view);
    runs = runs && has_runs(view);
    stride = std::max(stride, inner_stride_bytes(view));
  }
  const auto n = static_cast<double>(elements);
  double work = 0;
  switch (i.opcode) {
    case Opcode::tensor_copy:
    case Opcode::tensor_scalar: {
      const Figure& fast = all8 ? v.copy_8bit : v.copy_16bit;
      const Figure& rate = !all16 && !all8 ? v.copy_32bit : psum || !runs ? v.copy_16bit_slow : fast;
      work = n / rate.in(column_);
      break;
    }
    case Opcode::tensor_tensor: {
      const bool simple = i.op0 == AluOp::add || i.op0 == AluOp::subtract || i.op0 == AluOp::multiply;
      const Figure& rate = psum_operands > 0               ? v.tensor_psum
                           : all16 && contiguous && simple ? v.tensor_16bit
                                                           : v.tensor_32bit;
      work = n / rate.in(column_);
      break;
    }
    case Opcode::scalar_tensor_tensor: {
      const bool fast = all16 && i.op0 == AluOp::subtract && i.op1 == AluOp::multiply && elements % 2 == 0;
      work = fast ? n : 2 * n;
      break;
    }
    case Opcode::tensor_copy_predicated:
    case Opcode::select:
      work = psum_operands > 0 ? n : 2 * n;
      break;
    case Opcode::tensor_reduce: {
      const bool fast = all16 && (i.reduce == AluOp::add || i.reduce == AluOp::maximum);
      work = fast ? n / v.reduce_16bit.in(column_) : n;
      break;
    }
    case Opcode::tensor_tensor_scan:
      work = n * v.scan_factor.in(column_);
      break;
    case Opcode::reciprocal:
      work = n * v.reciprocal_factor.in(column_);
      break;
    case Opcode::bn_aggr:
      work = n * v.bn_aggr_factor.in(column_);
      break;
    case Opcode::tensor_copy_dynamic_src:
    case Opcode::tensor_copy_dynamic_dst:
      work = std::max(v.dynamic_copy, n);
      break;
    case Opcode::memset:
      work = i.imm2 == 0 && all16 ? n / v.memset_16bit.in(column_) : n;
      break;
    default:
      work = n;
  }
  return stride >= v.stride_bytes ? work * v.stride_factor : work;
}

Cost CostModel::dve(const Instruction& i) const {
  const DveDescription& v = device_.dve;
  const double work = dve_work(i);
  const double extra = i.opcode == Opcode::tensor_scalar_reduce ? v.min_interval : 0;
  const double interval =
      (column_ == Column::documented ? std::max(v.min_interval, work) : work + v.interval_add.calibrated) +
      extra;
  return {picoseconds(interval, v.ghz), picoseconds(work + extra + v.latency.in(column_), v.ghz),
          picoseconds(work, v.ghz)};
}

Cost CostModel::gpsimd(const Instruction& i) const {
  const GpSimdDescription& g = device_.gpsimd;
  int64_t elements = 0;
  for (const View& v : stream_.views_of(i)) elements = std::max(elements, v.free_elements());
  // memset is the one instruction whose table has the same cost on both engines: no start.
  if (i.opcode == Opcode::memset && column_ == Column::documented) {
    const DveDescription& v = device_.dve;
    const bool fast = i.imm2 == 0 && is_16bit(*stream_.view_of(i, Role::out));
    const double cycles = static_cast<double>(elements) / (fast ? v.memset_16bit.documented : 1);
    const int64_t time = picoseconds(std::max(v.min_interval, cycles), g.ghz);
    return {time, time + picoseconds(g.latency.documented, g.ghz), time};
  }
  double n = static_cast<double>(elements) / g.elements;
  if (i.opcode == Opcode::activation) n *= g.function_factor;
  if (i.opcode == Opcode::random_bits) n *= g.random_factor;
  if (i.opcode == Opcode::local_gather || i.opcode == Opcode::local_scatter) {
    // C = ((28 + t E) / (t E)) / min(4 / bytes, E) with t = 4. The published cost divides by it; but a factor
    // that falls with E and with the lanes can only be the cost of an element, so timelines multiply.
    const View& moved = *stream_.view_of(i, i.opcode == Opcode::local_gather ? Role::out : Role::in0);
    const double each = i.extra, lanes = std::min(4.0 / static_cast<double>(size_of(moved.dtype)), each);
    const double factor = (g.gather_start + g.gather_element * each) / each / lanes;
    n = static_cast<double>(moved.free_elements());
    n = column_ == Column::documented ? n / factor : n * factor;
  }
  if (i.opcode == Opcode::partition_reduce) n *= g.partition_reduce_factor;
  if (i.opcode == Opcode::gpsimd_program) n = stream_.programs[i.extra].cycles;
  const double work = g.start + n;
  return {picoseconds(work, g.ghz), picoseconds(work + g.latency.in(column_), g.ghz),
          picoseconds(work, g.ghz)};
}

Cost CostModel::cost_of(const Instruction& i, const DmaCost& transfer) const {
  if (is_dma(i.opcode)) {
    const DmaDescription& d = device_.dma;
    const bool indirect = i.opcode == Opcode::dma_gather || i.opcode == Opcode::dma_scatter;
    const bool dynamic = indirect || (i.region != none && stream_.regions[i.region].dynamic);
    double ns = d.issue_ns;
    if (dynamic) ns = d.dynamic_issue_ns;
    if (indirect) ns += d.dynamic_descriptor_ns * static_cast<double>(transfer.descriptors);
    return {from_nanoseconds(ns), from_nanoseconds(ns)};
  }
  switch (i.engine) {
    case Engine::pe:
      return pe(i);
    case Engine::act:
      return i.opcode == Opcode::tensor_copy || i.opcode == Opcode::activation ||
                     i.opcode == Opcode::activation_reduce
                 ? act(i)
                 : dve(i);
    case Engine::dve:
      return dve(i);
    default:
      return gpsimd(i);
  }
}

DmaCost CostModel::dma_of(const Instruction& i) const {
  const DmaDescription& d = device_.dma;
  DmaCost c;
  const Region* region = i.region == none ? nullptr : &stream_.regions[i.region];
  const View* tile = stream_.view_of(
      i, i.opcode == Opcode::dma_load || i.opcode == Opcode::dma_gather || i.opcode == Opcode::dma_copy
             ? Role::out
             : Role::in0);
  // The longest run of bytes that both sides hold together makes a descriptor.
  const auto run_of = [](const auto& box, size_t begin) {
    int64_t run = 1;
    for (size_t a = box.rank; a-- > begin;) {
      if (box.size[a] != 1 && box.stride[a] != run) break;
      run *= box.size[a];
    }
    return run;
  };
  const bool indirect = i.opcode == Opcode::dma_gather || i.opcode == Opcode::dma_scatter;
  c.dynamic = indirect || (region != nullptr && region->dynamic);
  const int64_t elements = tile != nullptr ? tile->partitions * tile->free_elements() : region->elements();
  const auto width = static_cast<int64_t>(
      std::max(region != nullptr ? size_of(region->dtype) : 0, tile != nullptr ? size_of(tile->dtype) : 0));
  c.bytes = elements * width;
  double rate = 1;
  bool casts = region != nullptr && tile != nullptr && region->dtype != tile->dtype;
  if (i.region_out != none) casts = stream_.regions[i.region_out].dtype != region->dtype;
  if (casts || i.op0 == AluOp::add) rate *= d.compute_rate;
  if (i.transposed) rate *= d.transpose_rate;

  int64_t run = elements;
  if (tile != nullptr) run = std::min(run, run_of(*tile, 0));
  if (region != nullptr && i.opcode != Opcode::dma_hbm) {
    // A transposed load reads rows along the partitions; the engine turns them, in runs of what HBM holds
    // together.
    run = i.transposed ? run_of(*region, 0) : std::min(run, run_of(*region, 1));
  } else if (i.opcode == Opcode::dma_hbm) {
    run = std::min(run_of(*region, 0), run_of(stream_.regions[i.region_out], 0));
  }
  const int64_t run_bytes = std::max<int64_t>(run * width, 1);
  const auto time = [&](double bytes, double descriptors) {
    return from_nanoseconds(bytes / (d.gbps * rate) + descriptors * d.descriptor_ns);
  };
  const int64_t per_run = (run_bytes + d.descriptor_bytes - 1) / d.descriptor_bytes;
  if (tile != nullptr && i.opcode != Opcode::dma_hbm) {
    c.partitions = tile->partitions;
    const int64_t row_bytes = tile->free_elements() * width;
    const int64_t row_descriptors =
        std::max<int64_t>(1, (row_bytes + run_bytes - 1) / run_bytes) * (row_bytes < run_bytes ? 1 : per_run);
    c.per_partition = time(static_cast<double>(row_bytes), static_cast<double>(row_descriptors));
    c.descriptors = row_descriptors * tile->partitions;
  } else {
    c.descriptors = (c.bytes + run_bytes - 1) / run_bytes * per_run;
    c.spread = time(static_cast<double>(c.bytes) / d.engines,
                    std::ceil(static_cast<double>(c.descriptors) / d.engines));
  }
  const int64_t hbm_width = region != nullptr ? static_cast<int64_t>(size_of(region->dtype)) : 0;
  const bool writes = i.opcode == Opcode::dma_store || i.opcode == Opcode::dma_scatter;
  if (region != nullptr && (!writes || i.op0 == AluOp::add)) c.read_bytes = elements * hbm_width;
  if (writes) c.write_bytes = elements * hbm_width;
  if (i.region_out != none) {
    const auto out_width = static_cast<int64_t>(size_of(stream_.regions[i.region_out].dtype));
    c.write_bytes = elements * out_width;
    if (i.op0 == AluOp::add) c.read_bytes += elements * out_width;
  }
  c.hbm = from_nanoseconds(static_cast<double>(c.read_bytes + c.write_bytes) / device_.hbm.core_gbps());
  return c;
}

}  // namespace heddle::systolic
