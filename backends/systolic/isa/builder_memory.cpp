// Pools, tiles and HBM values of the kernel builder.
#include <algorithm>

#include "systolic/isa/builder_impl.h"
#include "systolic/isa/large_vector.h"
#include "systolic/isa/refusal.h"

namespace heddle::systolic {
namespace {

constexpr int64_t sbuf_alignment =
    64;  // bytes of a partition; also keeps host rows of tiles apart by cache lines

bool on_chip(DType d) { return size_of(d) <= 4; }

}  // namespace

NeuronCore::Impl::Impl(Description description)
    : device(std::make_shared<const Description>(std::move(description))),
      sbuf(device->sbuf.usable_bytes(), sbuf_alignment),
      psum(device->psum.banks * device->psum.bank_bytes, device->psum.bank_bytes) {
  stream.device = device;
}

Hbm NeuronCore::Impl::declare(std::string name, const Shape& shape, DType dtype, uint32_t alias, bool scratch,
                              Where where) {
  const auto index = static_cast<uint32_t>(stream.values.size());
  const Hbm hbm(index, dtype, shape, where);
  Value value{std::move(name), dtype, shape.elements(), index, scratch};
  if (alias != none) {
    const Value& of = stream.values[alias];
    if (of.bytes() != value.bytes())
      refuse(where, "hbm_alias",
             "'" + value.name + "' has " + std::to_string(value.bytes()) + " bytes, '" + of.name + "' has " +
                 std::to_string(of.bytes()));
    value.storage = of.storage;
    value.scratch = of.scratch;
  }
  stream.values.push_back(std::move(value));
  return hbm;
}

uint32_t NeuronCore::Impl::open_pool(std::string name, Memory memory, int buffers, Where where) {
  if (buffers < 1) refuse(where, "pool '" + name + "'", "needs at least one buffer");
  stream.pools.push_back({std::move(name), memory, buffers});
  pools_.emplace_back();
  pools_.back().memory = memory;
  pools_.back().buffers.reserve(static_cast<size_t>(buffers));
  return static_cast<uint32_t>(pools_.size() - 1);
}

void NeuronCore::Impl::close_pool(uint32_t pool) {
  Allocator& memory = pools_[pool].memory == Memory::sbuf ? sbuf : psum;
  for (const Buffer& b : pools_[pool].buffers) {
    memory.give(b.address, b.bytes, b.tile);
    tiles_[b.tile].live = false;
  }
  pools_[pool].buffers.clear();
  pools_[pool].open = false;
}

Tile NeuronCore::Impl::take(uint32_t pool, int partitions, std::span<const int> free_sizes, DType dtype,
                            Where where) {
  const PoolInfo& info = stream.pools[pool];
  const auto what = [&] { return "tile of pool '" + info.name + "'"; };  // for refusals only
  if (partitions < 1 || partitions > device->sbuf.partitions)
    refuse(where, what(),
           "has " + std::to_string(partitions) + " partitions; there are 1 to " +
               std::to_string(device->sbuf.partitions));
  if (free_sizes.empty() || free_sizes.size() > free_rank_max)
    refuse(where, what(), "needs one to four free dimensions");
  if (!on_chip(dtype)) refuse(where, what(), std::string("cannot hold ") + dtype_name(dtype));
  int64_t bytes = static_cast<int64_t>(size_of(dtype));
  for (int s : free_sizes) {
    if (s < 1) refuse(where, what(), "has an empty free dimension");
    bytes *= s;
  }

  Pool& state = pools_[pool];
  Allocator& memory = info.memory == Memory::sbuf ? sbuf : psum;
  const auto tile = static_cast<uint32_t>(stream.tiles.size());
  TileInfo made;
  made.pool = pool, made.bytes = static_cast<uint32_t>(bytes),
  made.partitions = static_cast<uint8_t>(partitions);
  made.memory = info.memory, made.dtype = dtype;
  made.first_previous = static_cast<uint32_t>(stream.previous.size());

  const auto full = [&](const std::optional<Allocator::Place>& place) -> const Allocator::Place& {
    if (place) return *place;
    std::string holders;
    for (size_t p = 0; p < pools_.size(); ++p) {
      if (!pools_[p].open || stream.pools[p].memory != info.memory) continue;
      int64_t held = 0;
      for (const Buffer& b : pools_[p].buffers) held += b.bytes;
      holders += (holders.empty() ? "" : ", ") + stream.pools[p].name + " " + std::to_string(held);
    }
    refuse(where, what(),
           std::string(info.memory == Memory::sbuf ? "SBUF" : "PSUM") + " is full: " + std::to_string(bytes) +
               " bytes per partition asked, " + std::to_string(memory.largest_free()) + " of " +
               std::to_string(memory.capacity()) + " free in one piece; held by " + holders,
           ErrorCode::out_of_memory);
  };

  if (state.buffers.size() < static_cast<size_t>(info.buffers)) {
    const auto place = memory.take(bytes);
    state.buffers.push_back({full(place).address, bytes, tile});
    made.address = static_cast<uint32_t>(place->address);
    stream.previous.insert(stream.previous.end(), place->previous.begin(), place->previous.end());
  } else {
    Buffer& buffer = state.buffers[state.next];
    tiles_[buffer.tile].live = false;
    if (memory.rounded(bytes) > memory.rounded(buffer.bytes)) {
      memory.give(buffer.address, buffer.bytes, buffer.tile);
      const auto place = memory.take(bytes);
      if (!place) {  // keep the pool consistent for whoever catches the error
        auto back = memory.take(buffer.bytes);
        buffer.address = back->address;
        stream.previous.insert(stream.previous.end(), back->previous.begin(), back->previous.end());
      }
      buffer = {full(place).address, bytes, tile};
      stream.previous.insert(stream.previous.end(), place->previous.begin(), place->previous.end());
    } else {
      stream.previous.push_back(buffer.tile);
      buffer.tile = tile;
    }
    made.address = static_cast<uint32_t>(buffer.address);
    state.next = (state.next + 1) % state.buffers.size();
  }
  made.previous_count = static_cast<uint32_t>(stream.previous.size()) - made.first_previous;

  append(stream.tiles, made);
  tiles_.emplace_back();
  View view;
  view.tile = tile, view.partitions = made.partitions, view.rank = static_cast<uint8_t>(free_sizes.size());
  view.dtype = dtype;
  int64_t stride = 1;
  for (size_t i = free_sizes.size(); i-- > 0;) {
    view.size[i] = free_sizes[i], view.stride[i] = static_cast<int32_t>(stride);
    stride *= free_sizes[i];
  }
  return Tile(view, info.memory);
}

TilePool::~TilePool() {
  if (core_ != nullptr) core_->impl_->close_pool(pool_);
}

Tile TilePool::tile(int partitions, std::span<const int> free_sizes, DType dtype, Where where) {
  return core_->impl_->take(pool_, partitions, free_sizes, dtype, where);
}
Tile TilePool::tile(int partitions, std::initializer_list<int> free_sizes, DType dtype, Where where) {
  return tile(partitions, std::span<const int>(free_sizes.begin(), free_sizes.size()), dtype, where);
}

}  // namespace heddle::systolic
