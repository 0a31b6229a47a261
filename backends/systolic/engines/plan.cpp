#include "systolic/engines/plan.h"

#include <algorithm>
#include <numeric>

#include "heddle/error.h"
#include "heddle/systolic/tile.h"
#include "systolic/engines/binder.h"
#include "systolic/isa/builder_impl.h"

namespace heddle::systolic {

Plan::Plan(const Stream& stream, std::span<const uint32_t> order, std::optional<uint64_t> stochastic)
    : stream_(stream), stochastic_(stochastic) {
  Binder(*this, order).bind_all();
}

void Plan::run(std::byte* const* base, std::byte* scratch) const {
  const Context context{base, scratch};
  for (const Step& step : steps_) {
    const Fault fault = step.run(step.arguments, context);
    if (fault == Fault::ok) continue;
    const Instruction& i = stream_.instructions[step.instruction];
    std::string rule = "an index lies outside the table; check the indices, or use Bounds::skip";
    if (fault == Fault::not_onezero)
      rule = "an operand promised to hold only 0 and 1 (onezero) holds something else";
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
  flush_products();
}

HostOperand Binder::operand(const View& view) const {
  const TilePlace& tile = placement_.tile[view.tile];
  HostOperand o;
  o.place = {tile.place.base,
             tile.place.offset + view.partition_start * tile.row_stride + view.offset * tile.element_stride};
  o.dtype = view.dtype;
  o.rank = view.rank + 1;
  o.size[0] = view.partitions, o.stride[0] = tile.row_stride;
  for (size_t a = 0; a < view.rank; ++a)
    o.size[a + 1] = view.size[a], o.stride[a + 1] = view.stride[a] * tile.element_stride;
  return o;
}

HostOperand Binder::operand(const Region& region) const {
  const auto width = static_cast<int64_t>(size_of(region.dtype));
  HostOperand o;
  o.place = {1 + region.value, region.offset * width};
  o.dtype = region.dtype;
  o.rank = region.rank;
  for (size_t a = 0; a < region.rank; ++a) o.size[a] = region.size[a], o.stride[a] = region.stride[a] * width;
  return o;
}

HostOperand Binder::operand(const Instruction& i, Role role) const {
  return operand(*stream().view_of(i, role));
}

void Binder::add_map(const Instruction& i, const MapBuilder& builder) {
  MapBuilder made = builder;
  auto map = made.finish();
  if (!map) reject(i, "the free dimensions of its operands do not nest; reshape them alike");
  if (const auto chain = made.chain(*map)) return add(run_chain, *chain);
  const DType out = stream().view_of(i, Role::out)->dtype;
  if (plan_.stochastic_ && !i.integer && can_round_stochastically(out))
    map->rounding = {out, stochastic_key(*plan_.stochastic_, current_)};
  add(run_map, *map);
}

void Binder::reject(const Instruction& i, const std::string& why) const {
  throw Error(ErrorCode::shape_mismatch, describe(stream(), i) + ": " + why);
}

void Binder::flush_products() {
  if (!products_) return;
  const uint32_t resume = current_;
  current_ = products_first_;
  add(run_products, std::move(*products_));
  products_.reset();
  current_ = resume;
}

void Binder::bind_matmul(uint32_t index) {
  const Instruction& i = stream().instructions[index];
  const View &psum = *stream().view_of(i, Role::out), &stationary = *stream().view_of(i, Role::stationary),
             &moving = *stream().view_of(i, Role::moving);
  const auto same = [](const View& a, const View& b) {
    return a.tile == b.tile && a.offset == b.offset && a.partition_start == b.partition_start &&
           a.partitions == b.partitions && a.rank == b.rank && a.size == b.size && a.stride == b.stride &&
           a.dtype == b.dtype;
  };
  const auto matrix = [&](const View& view, HostMatrix& m) {
    Nest nest;
    if (!make_matrix(operand(view), m, nest)) reject(i, "an operand's free dimensions cannot be walked");
    if (m.walk != nullptr) m.walk = keep(nest);
  };
  ProductTile tile;
  matrix(psum, tile.psum);
  tile.k = stationary.partitions, tile.m = psum.partitions, tile.n = static_cast<int>(psum.free_elements());
  tile.load_psum = tile.psum.load;
  if (tile.psum.load != nullptr)
    tile.store_psum = row_storer(psum.dtype, tile.psum.step == static_cast<int64_t>(size_of(psum.dtype)),
                                 Arithmetic::float32);
  if (i.onezero_stationary) bind_onezero(*this, i, Role::stationary);
  if (i.onezero_moving) bind_onezero(*this, i, Role::moving);
  const bool follows = products_ != nullptr;
  if (!follows) products_ = std::make_unique<Products>(), products_first_ = index;
  // Narrow PSUM is rounded after every instruction.
  tile.same_psum = follows && !i.start && psum.dtype == DType::float32 && same(psum, last_psum_);
  for (int row = 0; row < (i.double_row ? 2 : 1); ++row) {
    matrix(i.double_row ? Tile(stationary, Memory::sbuf).at(0, row).view() : stationary, tile.stationary);
    matrix(i.double_row ? Tile(moving, Memory::sbuf).at(0, row).view() : moving, tile.moving);
    tile.same_moving = follows && !i.double_row && same(moving, last_moving_);
    tile.overwrite = i.start && row == 0;
    tile.same_psum = tile.same_psum || row > 0;
    products_->tile.push_back(tile);
  }
  last_psum_ = psum, last_moving_ = i.double_row ? View() : moving;
}

void Binder::bind(uint32_t index) {
  if (placement_.done[index]) return;
  const Instruction& i = stream().instructions[index];
  current_ = index;
  if (i.opcode == Opcode::matmul) return bind_matmul(index);
  flush_products();
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
    case Opcode::range_select:
    case Opcode::dropout:
      return bind_select(*this, i);
    case Opcode::stream_shuffle:
    case Opcode::tensor_copy_dynamic_src:
    case Opcode::tensor_copy_dynamic_dst:
    case Opcode::local_gather:
    case Opcode::local_scatter:
      return bind_rearrange(*this, i);
    default:
      return is_dma(i.opcode) ? bind_dma(*this, i) : bind_vector(*this, i);
  }
}

}  // namespace heddle::systolic
