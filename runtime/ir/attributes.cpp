#include "heddle/attributes.h"

#include <algorithm>

#include "heddle/error.h"
#include "ir/number_text.h"
#include "ir/scalar_program.h"

namespace heddle {
namespace {

template <class T>
std::string list_text(const std::vector<T>& values) {
  std::string text = "[";
  for (const T& v : values) {
    if (text.size() > 1) text += ",";
    text += number_text(v);
  }
  return text + "]";
}

template <class... F>
struct Overload : F... {
  using F::operator()...;
};
template <class... F>
Overload(F...) -> Overload<F...>;  // clang 14 does not deduce aggregates yet

}  // namespace

const char* attribute_kind_name(const AttributeValue& value) {
  constexpr const char* names[] = {"bool", "int",    "float", "string", "dtype",
                                   "ints", "floats", "dims",  "program"};
  static_assert(std::size(names) == std::variant_size_v<AttributeValue>);
  return names[value.index()];
}

std::string to_string(const AttributeValue& value) {
  return std::visit(Overload{
                        [](bool v) { return std::string(v ? "true" : "false"); },
                        [](int64_t v) { return number_text(v); },
                        [](double v) { return number_text(v); },
                        [](const std::string& v) { return "\"" + v + "\""; },
                        [](DType v) { return std::string(dtype_name(v)); },
                        [](const std::vector<int64_t>& v) { return list_text(v); },
                        [](const std::vector<double>& v) { return list_text(v); },
                        [](const Dims& v) { return to_string(v); },
                        [](const ScalarProgramPtr& v) { return v ? to_string(*v) : std::string("(none)"); },
                    },
                    value);
}

const AttributeValue* Attributes::find(std::string_view name) const {
  const auto at =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.first == name; });
  return at == entries_.end() ? nullptr : &at->second;
}

const AttributeValue& Attributes::value(std::string_view name) const {
  if (const AttributeValue* v = find(name)) return *v;
  throw Error(ErrorCode::not_found, "there is no attribute '" + std::string(name) + "'");
}

void Attributes::set(std::string_view name, AttributeValue value) {
  for (Entry& e : entries_) {
    if (e.first == name) {
      e.second = std::move(value);
      return;
    }
  }
  entries_.emplace_back(name, std::move(value));
}

void Attributes::erase(std::string_view name) {
  std::erase_if(entries_, [&](const Entry& e) { return e.first == name; });
}

bool Attributes::operator==(const Attributes& other) const {
  if (entries_.size() != other.entries_.size()) return false;
  return std::all_of(entries_.begin(), entries_.end(), [&](const Entry& e) {
    const AttributeValue* v = other.find(e.first);
    if (v == nullptr || v->index() != e.second.index()) return false;
    const auto* mine = std::get_if<ScalarProgramPtr>(&e.second);
    if (mine == nullptr) return *v == e.second;
    const auto& theirs = std::get<ScalarProgramPtr>(*v);
    return *mine == theirs || (*mine && theirs && **mine == *theirs);  // programs by what they compute
  });
}

void Attributes::wrong_kind(std::string_view name, const AttributeValue& value) {
  throw Error(ErrorCode::invalid_argument, "attribute '" + std::string(name) + "' is a " +
                                               attribute_kind_name(value) + " (" + to_string(value) +
                                               "), which is not the kind asked for");
}

}  // namespace heddle
