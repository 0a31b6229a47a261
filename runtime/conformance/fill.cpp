#include "conformance/fill.h"

#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <type_traits>
#include <utility>

#include "core/element.h"
#include "core/philox.h"

namespace heddle::conformance {
namespace {

// 64-bit FNV-1a.
uint64_t hash(std::string_view text) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

// The largest finite and the smallest normal number of a float dtype.
std::pair<double, double> float_range(DType dtype) {
  switch (dtype) {
    case DType::float64:
      return {std::numeric_limits<double>::max(), std::numeric_limits<double>::min()};
    case DType::float16:
      return {65504, 0x1p-14};
    case DType::float8_e4m3:
      return {448, 0x1p-6};
    case DType::float8_e5m2:
      return {57344, 0x1p-14};
    case DType::bfloat16:
      return {0x1.fep127, 0x1p-126};
    default:
      return {std::numeric_limits<float>::max(), std::numeric_limits<float>::min()};
  }
}

template <class F>
Fill each(F number) {
  return [number](Tensor& t, Random& random) {
    for (int64_t i = 0; i < t.elements(); ++i) t.set(i, number(i, random));
  };
}

void set_special_integer(Tensor& t, int64_t i, int64_t turn) {
  visit_dtype(t.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, bool>) {
      static_cast<uint8_t*>(t.data())[i] = turn % 2;
    } else if constexpr (std::is_integral_v<T>) {
      using Limits = std::numeric_limits<T>;
      const T all[] = {T{0},
                       T{1},
                       static_cast<T>(-1),
                       Limits::max(),
                       Limits::min(),
                       T{2},
                       static_cast<T>(Limits::max() / 2),
                       static_cast<T>(Limits::min() + T{1}),
                       T{3}};
      static_assert(std::size(all) == fill::special_count);
      static_cast<T*>(t.data())[i] = all[turn];
    }
  });
}

}  // namespace

Random::Random(std::string_view seed) : key_(hash(seed)) {}

uint32_t Random::bits() {
  if (next_ == 4) {
    words_ = philox_block(block_++, key_);
    next_ = 0;
  }
  return words_[next_++];
}

double Random::uniform(double low, double high) { return low + (bits() >> 8) * 0x1p-24 * (high - low); }

int64_t Random::integer(int64_t low, int64_t high) {
  const uint64_t wide = (uint64_t{bits()} << 32) | bits();
  return low + static_cast<int64_t>(wide % static_cast<uint64_t>(high - low + 1));
}

namespace fill {

Fill constant(double value) {
  return each([value](int64_t, Random&) { return value; });
}

Fill uniform(double low, double high) {
  return each([low, high](int64_t, Random& random) { return random.uniform(low, high); });
}

Fill integers(int64_t low, int64_t high) {
  return each(
      [low, high](int64_t, Random& random) { return static_cast<double>(random.integer(low, high)); });
}

Fill bits() {
  return [](Tensor& t, Random& random) {
    auto* bytes = static_cast<uint8_t*>(t.data());
    const uint32_t mask = t.dtype() == DType::boolean ? 1 : 0xff;
    for (uint64_t i = 0; i < t.bytes(); ++i) bytes[i] = static_cast<uint8_t>(random.bits() & mask);
  };
}

Fill special(int64_t stride) {
  return [stride](Tensor& t, Random&) {
    const auto [largest, smallest] = is_float(t.dtype()) ? float_range(t.dtype()) : std::pair(0.0, 0.0);
    const double all[] = {0, 1, NAN, INFINITY, -INFINITY, -0.0, -1, largest, smallest};
    static_assert(std::size(all) == special_count);
    for (int64_t i = 0; i < t.elements(); ++i) {
      const int64_t turn = i / stride % special_count;
      if (is_float(t.dtype()))
        t.set(i, all[turn]);
      else
        set_special_integer(t, i, turn);
    }
  };
}

Fill permutation() {
  return [](Tensor& t, Random& random) {
    std::vector<int64_t> order(static_cast<size_t>(t.elements()));
    std::iota(order.begin(), order.end(), 0);
    for (size_t i = order.size(); i > 1; --i)
      std::swap(order[i - 1], order[static_cast<size_t>(random.integer(0, static_cast<int64_t>(i) - 1))]);
    for (size_t i = 0; i < order.size(); ++i)
      t.set(static_cast<int64_t>(i), static_cast<double>(order[i]) * (is_float(t.dtype()) ? 0.5 : 1));
  };
}

Fill indices(int64_t size, bool outside) {
  return each([size, outside](int64_t, Random& random) {
    if (outside && random.bits() % 3 == 0) {
      const int64_t beyond = random.integer(0, 40);
      return static_cast<double>(random.bits() % 2 ? size + beyond : -size - 1 - beyond);
    }
    return static_cast<double>(random.integer(-size, size - 1));
  });
}

Fill values(std::vector<double> numbers) {
  return each([numbers = std::move(numbers)](int64_t i, Random&) {
    return numbers[static_cast<size_t>(i) % numbers.size()];
  });
}

Fill sprinkled(Fill base, double number, int64_t period) {
  return [base = std::move(base), number, period](Tensor& t, Random& random) {
    base(t, random);
    for (int64_t i = period - 1; i < t.elements(); i += period) t.set(i, number);
  };
}

}  // namespace fill
}  // namespace heddle::conformance
