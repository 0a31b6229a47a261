// Reads the files of this folder, which make_golden.py writes.
#pragma once

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "heddle/tensor.h"
#include "tests/catch.h"

namespace heddle::test {

inline nlohmann::json golden_file(const std::string& name) {
  const std::string file = std::string(HEDDLE_SOURCE_DIR) + "/tests/golden/" + name;
  std::ifstream stream(file);
  INFO(file);
  REQUIRE(stream.good());
  return nlohmann::json::parse(stream);
}

// Undefined for null. JSON has no infinities: they are the strings "inf", "-inf" and "nan".
inline Tensor golden_tensor(const nlohmann::json& j) {
  if (j.is_null()) return {};
  const auto sizes = j.at("shape").get<std::vector<int64_t>>();
  Tensor t(*parse_dtype(j.at("dtype").get<std::string>()), Shape(sizes));
  for (int64_t i = 0; i < t.elements(); ++i) {
    const nlohmann::json& v = j.at("values").at(static_cast<size_t>(i));
    const std::string text = v.is_string() ? v.get<std::string>() : "";
    t.set(i, text.empty() ? v.get<double>() : text == "nan" ? NAN : text == "inf" ? INFINITY : -INFINITY);
  }
  return t;
}

}  // namespace heddle::test
