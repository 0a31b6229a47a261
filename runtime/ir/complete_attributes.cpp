#include <algorithm>
#include <charconv>
#include <limits>
#include <string_view>

#include "heddle/error.h"
#include "ir/graph_data.h"

namespace heddle::ir {
namespace {

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorCode::invalid_argument, text); }

template <class T>
T parse_number(const AttributeDoc& doc, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw Error(ErrorCode::internal, std::string("the default '") + doc.fallback + "' of attribute '" +
                                         doc.name + "' is not " + doc.kind + "; correct the schema");
  }
  return value;
}

// "[1,2]" or "[]".
std::vector<int64_t> parse_ints(const AttributeDoc& doc, std::string_view text) {
  std::vector<int64_t> values;
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return {parse_number<int64_t>(doc, text)};
  text = text.substr(1, text.size() - 2);
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    values.push_back(parse_number<int64_t>(doc, text.substr(0, comma)));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return values;
}

// The default a schema gives as text.
AttributeValue parse_default(const AttributeDoc& doc) {
  const std::string_view kind = doc.kind, text = doc.fallback;
  if (kind == "bool") return text == "true";
  if (kind == "int") return parse_number<int64_t>(doc, text);
  if (kind == "float") return parse_number<double>(doc, text);
  if (kind == "string") return std::string(text);
  if (kind == "dtype") {
    if (const auto dtype = parse_dtype(text)) return *dtype;
  }
  if (kind == "ints") return parse_ints(doc, text);
  if (kind == "floats") {
    const std::vector<int64_t> ints = parse_ints(doc, text);
    return std::vector<double>(ints.begin(), ints.end());
  }
  throw Error(ErrorCode::internal, std::string("attribute '") + doc.name + "' of kind '" + doc.kind +
                                       "' cannot have the default '" + doc.fallback +
                                       "'; correct the schema");
}

// `value` as `kind`, where no information is lost.
AttributeValue bring_to_kind(const AttributeDoc& doc, const AttributeValue& value) {
  const std::string_view kind = doc.kind;
  if (const DType* dtype = std::get_if<DType>(&value); dtype != nullptr && !is_dtype(*dtype))
    refuse(std::string("attribute '") + doc.name + "': there is no dtype " +
           std::to_string(static_cast<uint32_t>(*dtype)));
  if (kind == attribute_kind_name(value)) return value;
  if (const auto* i = std::get_if<int64_t>(&value); i != nullptr && kind == "float")
    return static_cast<double>(*i);
  if (const auto* v = std::get_if<std::vector<int64_t>>(&value)) {
    if (kind == "dims") return Dims(std::vector<Dim>(v->begin(), v->end()));
    if (kind == "floats") return std::vector<double>(v->begin(), v->end());
  }
  if (const auto* d = std::get_if<Dims>(&value); d != nullptr && kind == "ints" && d->is_concrete()) {
    const Shape shape = d->shape();
    return std::vector<int64_t>(shape.dims().begin(), shape.dims().end());
  }
  refuse(std::string("attribute '") + doc.name + "' is " + doc.kind + ", but got " +
         attribute_kind_name(value) + " (" + to_string(value) + ")");
}

}  // namespace

Attributes complete_attributes(const OpSchema& op, const Attributes& given) {
  Attributes complete;
  for (const AttributeDoc& doc : op.attributes) {
    if (const AttributeValue* v = given.find(doc.name)) {
      complete.set(doc.name, bring_to_kind(doc, *v));
    } else if (doc.fallback != nullptr) {
      complete.set(doc.name, parse_default(doc));
    } else {
      refuse(std::string("attribute '") + doc.name + "' (" + doc.kind + ") is missing; it has no default");
    }
  }
  for (const auto& [name, value] : given.entries()) {
    if (complete.find(name) != nullptr) continue;
    std::string known;
    for (const AttributeDoc& doc : op.attributes)
      known += (known.empty() ? "" : ", ") + std::string(doc.name);
    refuse("there is no attribute '" + name + "'; the op has " + (known.empty() ? "none" : known));
  }
  return complete;
}

}  // namespace heddle::ir
