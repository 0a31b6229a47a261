// Attributes of a node: named values fixed when the graph is built.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "heddle/dtype.h"
#include "heddle/shape.h"

namespace heddle {

struct ScalarProgram;
using ScalarProgramPtr = std::shared_ptr<const ScalarProgram>;

using AttributeValue = std::variant<bool, int64_t, double, std::string, DType, std::vector<int64_t>,
                                    std::vector<double>, Dims, ScalarProgramPtr>;

// "int", "dims", "program", ... for messages and documentation.
const char* attribute_kind_name(const AttributeValue& value);
std::string to_string(const AttributeValue& value);

// A short ordered list of name = value.
class Attributes {
 public:
  using Entry = std::pair<std::string, AttributeValue>;
  Attributes() = default;
  Attributes(std::initializer_list<Entry> entries) : entries_(entries) {}

  // The value; throws not_found when absent, invalid_argument when of another kind.
  template <class T>
  const T& get(std::string_view name) const {
    const AttributeValue& v = value(name);
    if (const T* t = std::get_if<T>(&v)) return *t;
    wrong_kind(name, v);
  }
  template <class T>
  T get_or(std::string_view name, T fallback) const {
    const AttributeValue* v = find(name);
    return v ? get<T>(name) : fallback;
  }
  const AttributeValue* find(std::string_view name) const;
  const AttributeValue& value(std::string_view name) const;
  void set(std::string_view name, AttributeValue value);
  void erase(std::string_view name);
  const std::vector<Entry>& entries() const { return entries_; }
  // Same names and values in any order; programs are equal when their steps are.
  bool operator==(const Attributes& other) const;

 private:
  [[noreturn]] static void wrong_kind(std::string_view name, const AttributeValue& value);
  std::vector<Entry> entries_;
};

}  // namespace heddle
