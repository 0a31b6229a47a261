#include "systolic/report/work.h"

#include <algorithm>
#include <vector>

namespace heddle::systolic {
namespace {

double bytes_of(const View& v) {
  return static_cast<double>(v.partitions * v.free_elements()) * static_cast<double>(size_of(v.dtype));
}

double passes_of(DType dtype, const PeDescription& pe) {
  return dtype == DType::float32 ? pe.passes_fp32 : size_of(dtype) == 1 ? pe.passes_fp8 : 1;
}

bool is_dynamic(const Stream& stream, const Instruction& i) {
  if (i.opcode == Opcode::dma_gather || i.opcode == Opcode::dma_scatter) return true;
  return (i.region != none && stream.regions[i.region].dynamic) ||
         (i.region_out != none && stream.regions[i.region_out].dynamic);
}

void add_product(Work& w, const Stream& stream, const Instruction& i) {
  const PeDescription& pe = stream.device->pe;
  if (i.opcode == Opcode::matmul) {
    const View& s = *stream.view_of(i, Role::stationary);
    const View& m = *stream.view_of(i, Role::moving);
    const double flops =
        2.0 * s.partitions * static_cast<double>(s.free_elements()) * static_cast<double>(m.free_elements());
    w.matmul_flops += flops;
    w.adjusted_flops += flops * passes_of(m.dtype, pe);
    w.matmuls += m.dtype == DType::float32 ? 2 : 1;
  } else {
    const View& in = *stream.view_of(i, Role::in0);
    const double flops = 2.0 * in.partitions * in.partitions * static_cast<double>(in.free_elements());
    w.transpose_flops += flops;
    w.adjusted_flops += flops * (in.dtype == DType::float32 ? pe.passes_fp32_transpose : 1);
    ++w.transposes;
  }
}

}  // namespace

void add_work(Work& w, const Stream& stream, const Instruction& i) {
  double psum_read = 0;
  bool writes_sbuf = false;
  for (const View& v : stream.views_of(i)) {
    const double bytes = bytes_of(v);
    const bool psum = stream.tiles[v.tile].memory == Memory::psum;
    if (is_written(v.role)) {
      (psum ? w.psum_write : w.sbuf_write) += bytes;
      writes_sbuf = writes_sbuf || !psum;
    } else {
      (psum ? w.psum_read : w.sbuf_read) += bytes;
      if (psum) psum_read += bytes;
    }
  }
  if (writes_sbuf) w.psum_read_sbuf_write += psum_read;
  if (i.engine == Engine::pe && (i.opcode == Opcode::matmul || i.opcode == Opcode::transpose))
    add_product(w, stream, i);
  if (!is_dma(i.opcode)) return;
  const uint32_t region = i.region != none ? i.region : i.region_out;
  double bytes = 0;
  if (region != none)
    bytes = static_cast<double>(stream.regions[region].elements()) *
            static_cast<double>(size_of(stream.regions[region].dtype));
  else if (const View* out = stream.view_of(i, Role::out))
    bytes = bytes_of(*out);
  const bool dynamic = is_dynamic(stream, i);
  ++(dynamic ? w.dynamic_transfers : w.static_transfers);
  (dynamic ? w.dynamic_bytes : w.static_bytes) += bytes;
}

Work work_of(const Stream& stream) {
  Work w;
  for (const Instruction& i : stream.instructions) add_work(w, stream, i);
  return w;
}

double input_bytes(const Stream& stream) {
  std::vector<bool> read(stream.values.size(), false);
  for (const Instruction& i : stream.instructions) {
    const bool reads_region =
        i.opcode == Opcode::dma_load || i.opcode == Opcode::dma_hbm || i.opcode == Opcode::dma_gather;
    if (reads_region && i.region != none) read[stream.regions[i.region].value] = true;
  }
  double bytes = 0;
  for (size_t v = 0; v < read.size(); ++v)
    if (read[v] && !stream.values[v].scratch) bytes += static_cast<double>(stream.values[v].bytes());
  return bytes;
}

double scratch_peak_bytes(const Stream& stream) {
  // Changes of the bytes alive, by instruction.
  std::vector<double> change(stream.instructions.size() + 1, 0);
  std::vector<size_t> first(stream.values.size(), stream.instructions.size()), last(stream.values.size(), 0);
  const auto touch = [&](uint32_t region, size_t at) {
    if (region == none) return;
    const uint32_t storage = stream.values[stream.regions[region].value].storage;
    first[storage] = std::min(first[storage], at);
    last[storage] = std::max(last[storage], at);
  };
  for (size_t i = 0; i < stream.instructions.size(); ++i) {
    touch(stream.instructions[i].region, i);
    touch(stream.instructions[i].region_out, i);
  }
  for (size_t v = 0; v < first.size(); ++v) {
    if (!stream.values[v].scratch || first[v] > last[v]) continue;
    change[first[v]] += static_cast<double>(stream.values[v].bytes());
    change[last[v] + 1] -= static_cast<double>(stream.values[v].bytes());
  }
  double alive = 0, peak = 0;
  for (const double c : change) peak = std::max(peak, alive += c);
  return peak;
}

}  // namespace heddle::systolic
