#include "systolic/engines/plan.h"

#include <algorithm>
#include <numeric>

#include "heddle/error.h"
#include "systolic/engines/binder.h"
#include "systolic/isa/builder_impl.h"

namespace heddle::systolic {

Plan::Plan(const Stream& stream, std::span<const uint32_t> order) : stream_(stream) {
  Binder(*this, order).bind_all();
}

void Plan::run(std::byte* const* base, std::byte* scratch) const {
  const Context context{base, scratch};
  for (const Step& step : steps_) {
    const Fault fault = step.run(step.arguments, context);
    if (fault == Fault::ok) continue;
    const Instruction& i = stream_.instructions[step.instruction];
    std::string rule = "an index lies outside the table; check the indices, or use Bounds::skip";
    if (fault == Fault::function_range) {
      const auto range = function_range(i.function);
      char text[96];
      std::snprintf(text, sizeof text, " has an argument outside %s[%g, %g]", range->magnitude ? "+-" : "",
                    static_cast<double>(range->low), static_cast<double>(range->high));
      rule = function_name(i.function) + std::string(text) +
             ", where the scalar engine's table is not valid; scale it, or use GpSimd";
    }
    throw Error(ErrorCode::device, describe(stream_, i) + ": " + rule);
  }
}

Binder::Binder(Plan& plan, std::span<const uint32_t> order)
    : plan_(plan), order_(order.begin(), order.end()) {
  if (order_.empty()) {
    order_.resize(stream().instructions.size());
    std::iota(order_.begin(), order_.end(), 0u);
  }
}

void Binder::bind_all() {
  placement_ = place_tiles(stream(), order_);
  plan_.on_chip_bytes_ = placement_.on_chip_bytes;
  plan_.lives_ = placement_.life;
  plan_.steps_.reserve(order_.size());
  for (uint32_t index : order_) bind(index);
  flush_product();
}

Operand Binder::operand(const View& view) const {
  const TilePlace& tile = placement_.tile[view.tile];
  Operand o;
  o.place = {tile.place.base,
             tile.place.offset + view.partition_start * tile.row_stride + view.offset * tile.element_stride};
  o.dtype = view.dtype;
  o.rank = view.rank + 1;
  o.size[0] = view.partitions, o.stride[0] = tile.row_stride;
  for (size_t a = 0; a < view.rank; ++a)
    o.size[a + 1] = view.size[a], o.stride[a + 1] = view.stride[a] * tile.element_stride;
  return o;
}

Operand Binder::operand(const Region& region) const {
  const auto width = static_cast<int64_t>(size_of(region.dtype));
  Operand o;
  o.place = {1 + region.value, region.offset * width};
  o.dtype = region.dtype;
  o.rank = region.rank;
  for (size_t a = 0; a < region.rank; ++a) o.size[a] = region.size[a], o.stride[a] = region.stride[a] * width;
  return o;
}

Operand Binder::operand(const Instruction& i, Role role) const { return operand(*stream().view_of(i, role)); }

void Binder::add_map(const Instruction& i, const MapBuilder& builder) {
  MapBuilder made = builder;
  auto map = made.finish();
  if (!map) reject(i, "the free dimensions of its operands do not nest; reshape them alike");
  add(run_map, *map);
}

void Binder::reject(const Instruction& i, const std::string& why) const {
  throw Error(ErrorCode::shape_mismatch, describe(stream(), i) + ": " + why);
}

void Binder::flush_product() {
  if (!product_) return;
  const uint32_t resume = current_;
  current_ = product_first_;
  add(run_product, std::move(*product_));
  product_.reset();
  current_ = resume;
}

void Binder::bind_matmul(uint32_t index) {
  const Instruction& i = stream().instructions[index];
  const View& psum = *stream().view_of(i, Role::out);
  const View& stationary = *stream().view_of(i, Role::stationary);
  const auto same = [](const View& a, const View& b) {
    return a.tile == b.tile && a.offset == b.offset && a.partition_start == b.partition_start &&
           a.partitions == b.partitions && a.rank == b.rank && a.size == b.size && a.stride == b.stride;
  };
  if (product_ && (i.start || !same(psum, product_psum_))) flush_product();
  const auto matrix = [&](const View& view, MatrixOperand& m) {
    if (!make_matrix(operand(view), m)) reject(i, "an operand's free dimensions cannot be walked");
  };
  if (!product_) {
    product_ = std::make_unique<Product>();
    product_first_ = index;
    product_psum_ = psum;
    Product& p = *product_;
    matrix(psum, p.psum);
    p.m = psum.partitions, p.n = static_cast<int>(psum.free_elements());
    p.overwrite = i.start;
    if (p.psum.load != nullptr) {
      const bool dense = p.psum.columns.stride[0][0] == static_cast<int64_t>(size_of(psum.dtype));
      p.load_psum = p.psum.load;
      p.store_psum = row_storer(psum.dtype, dense, Arithmetic::float32);
    }
  }
  ProductTile tile;
  tile.rows = stationary.partitions;
  matrix(stationary, tile.stationary);
  matrix(*stream().view_of(i, Role::moving), tile.moving);
  product_->tile.push_back(tile);
}

void Binder::bind(uint32_t index) {
  if (placement_.done[index]) return;
  const Instruction& i = stream().instructions[index];
  current_ = index;
  if (i.opcode == Opcode::matmul) return bind_matmul(index);
  flush_product();
  switch (i.opcode) {
    case Opcode::transpose:
      return bind_transpose(*this, i);
    case Opcode::activation:
    case Opcode::activation_reduce:
      return bind_activation(*this, i);
    case Opcode::iota:
    case Opcode::affine_select:
    case Opcode::partition_reduce:
    case Opcode::random_bits:
    case Opcode::gpsimd_program:
      return bind_gpsimd(*this, i);
    default:
      return is_dma(i.opcode) ? bind_dma(*this, i) : bind_vector(*this, i);
  }
}

}  // namespace heddle::systolic
