#include "kernels/reference_math.h"

#include <type_traits>

namespace heddle::reference {

std::vector<double> reals(const Tensor& tensor) {
  const Tensor dense = tensor.contiguous();
  std::vector<double> values(static_cast<size_t>(dense.elements()));
  visit_dtype(dense.dtype(), [&]<class T>(std::type_identity<T>) {
    const T* from = static_cast<const T*>(dense.data());
    for (size_t i = 0; i < values.size(); ++i) values[i] = load_as_double(from[i]);
  });
  return values;
}

std::vector<double> reals(const Tensor& tensor, const Shape& shape) { return reals(tensor.broadcast(shape)); }

std::vector<int64_t> integers(const Tensor& tensor) {
  const Tensor dense = tensor.contiguous();
  std::vector<int64_t> values(static_cast<size_t>(dense.elements()));
  visit_dtype(dense.dtype(), [&]<class T>(std::type_identity<T>) {
    const T* from = static_cast<const T*>(dense.data());
    for (size_t i = 0; i < values.size(); ++i) {
      if constexpr (std::is_same_v<T, bool>)
        values[i] = load_as_double(from[i]) != 0;
      else if constexpr (std::is_integral_v<T>)
        values[i] = static_cast<int64_t>(from[i]);
      else
        values[i] = store_from_double<int64_t>(load_as_double(from[i]));
    }
  });
  return values;
}

void store(Tensor& tensor, std::span<const double> values) {
  visit_dtype(tensor.dtype(), [&]<class T>(std::type_identity<T>) {
    T* to = static_cast<T*>(tensor.data());
    for (size_t i = 0; i < values.size(); ++i) to[i] = store_from_double<T>(values[i]);
  });
}

void store(Tensor& tensor, std::span<const int64_t> values) {
  visit_dtype(tensor.dtype(), [&]<class T>(std::type_identity<T>) {
    T* to = static_cast<T*>(tensor.data());
    for (size_t i = 0; i < values.size(); ++i) to[i] = convert_element<T>(values[i]);
  });
}

AxisView::AxisView(const Shape& shape, int axis) : length(shape[axis]) {
  for (int i = 0; i < axis; ++i) outer *= shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
}

void copy_view(Tensor& to, const Tensor& view) { copy_element(to, 0, view.contiguous(), 0, to.elements()); }

}  // namespace heddle::reference
